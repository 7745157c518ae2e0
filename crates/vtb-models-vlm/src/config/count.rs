//! How many parameters a configuration makes, known before anything is allocated.

use super::{AttentionStyle, MoeConfig, Qwen3VlConfig, TextConfig, VisionConfig, VlmConfig};

impl Qwen3VlConfig {
    /// Number of parameters. A tied output head is counted once.
    pub fn parameters(&self) -> u64 {
        self.decoder_parameters()
            .saturating_add(self.vision.parameters())
    }
}

impl<V> VlmConfig<V> {
    /// Parameters of the decoder, its embeddings and head.
    pub fn decoder_parameters(&self) -> u64 {
        let embedding = self.text.vocab_size as u64 * self.text.hidden_size as u64;
        let head = if self.tie { 0 } else { embedding };
        embedding
            .saturating_add(head)
            .saturating_add(self.text.layers_parameters())
            .saturating_add(self.text.hidden_size as u64)
    }
}

impl TextConfig {
    /// Parameters of all decoder layers.
    fn layers_parameters(&self) -> u64 {
        (0..self.num_layers).fold(0, |sum, i| sum.saturating_add(self.layer_parameters(i)))
    }

    /// Parameters of decoder layer `layer`.
    pub fn layer_parameters(&self, layer: usize) -> u64 {
        self.shared_layer_parameters()
            .saturating_add(match self.experts(layer) {
                None => 3 * self.hidden_size as u64 * self.intermediate_size as u64,
                Some(moe) => moe
                    .expert_parameters(self.hidden_size)
                    .saturating_add(self.hidden_size as u64)
                    .saturating_mul(moe.num_experts as u64),
            })
    }

    /// Parameters one token uses of all decoder layers: of experts only the chosen ones.
    pub fn active_layers_parameters(&self) -> u64 {
        let layer = |i| {
            let all = self.layer_parameters(i);
            let Some(moe) = self.experts(i) else {
                return all;
            };
            let idle = moe.num_experts.saturating_sub(moe.experts_per_token) as u64;
            all.saturating_sub(idle.saturating_mul(moe.expert_parameters(self.hidden_size)))
        };
        (0..self.num_layers).fold(0, |sum, i| sum.saturating_add(layer(i)))
    }

    /// Attention and norms of a layer.
    fn shared_layer_parameters(&self) -> u64 {
        let width = |n: usize| n as u64;
        let hidden = width(self.hidden_size);
        let attention = hidden * (2 * width(self.q_width()) + 2 * width(self.kv_width()));
        let extra = match self.attention {
            AttentionStyle::Normed => 2 * width(self.head_dim),
            AttentionStyle::Biased => width(self.q_width()) + 2 * width(self.kv_width()),
        };
        attention + 2 * hidden + extra
    }
}

impl MoeConfig {
    /// Parameters of one expert in a decoder of width `hidden`.
    pub fn expert_parameters(&self, hidden: usize) -> u64 {
        3 * hidden as u64 * self.intermediate_size as u64
    }
}

impl VisionConfig {
    /// Parameters of the vision tower, mergers included.
    pub fn parameters(&self) -> u64 {
        let width = |n: usize| n as u64;
        let (hidden, inner) = (width(self.hidden_size), width(self.intermediate_size));
        let affine = |input: u64, output: u64| input * output + output;
        let patches = affine(width(self.patch_dim()), hidden);
        let table = width(self.num_position_embeddings) * hidden;
        let block = affine(hidden, 3 * hidden)
            + affine(hidden, hidden)
            + affine(hidden, inner)
            + affine(inner, hidden)
            + 4 * hidden;
        let grouped = hidden * width(self.merge_unit());
        let merge = affine(grouped, grouped) + affine(grouped, width(self.out_hidden_size));
        let deepstack = (merge + 2 * grouped).saturating_mul(width(self.deepstack_indexes.len()));
        (patches + table)
            .saturating_add(block.saturating_mul(width(self.depth)))
            .saturating_add(merge + 2 * hidden)
            .saturating_add(deepstack)
    }
}
