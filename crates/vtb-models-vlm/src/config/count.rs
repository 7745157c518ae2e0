//! How many parameters a configuration makes, known before anything is allocated.

use super::{AttentionStyle, Qwen3VlConfig, TextConfig, VisionConfig, VlmConfig};

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
            .saturating_add(
                self.text
                    .layer_parameters()
                    .saturating_mul(self.text.num_layers as u64),
            )
            .saturating_add(self.text.hidden_size as u64)
    }
}

impl TextConfig {
    /// Parameters of one decoder layer.
    pub fn layer_parameters(&self) -> u64 {
        let width = |n: usize| n as u64;
        let hidden = width(self.hidden_size);
        let attention = hidden * (2 * width(self.q_width()) + 2 * width(self.kv_width()));
        let mlp = 3 * hidden * width(self.intermediate_size);
        let extra = match self.attention {
            AttentionStyle::Normed => 2 * width(self.head_dim),
            AttentionStyle::Biased => width(self.q_width()) + 2 * width(self.kv_width()),
        };
        attention + mlp + 2 * hidden + extra
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

#[cfg(test)]
mod tests {
    use crate::config::{AttentionStyle, Qwen3VlConfig, TextConfig, VisionConfig, VisionIds};

    fn published(
        (hidden, inner, layers, heads): (usize, usize, usize, usize),
        (depth, width, mlp): (usize, usize, usize),
        tie: bool,
    ) -> Qwen3VlConfig {
        Qwen3VlConfig {
            text: TextConfig {
                vocab_size: 151_936,
                hidden_size: hidden,
                intermediate_size: inner,
                num_layers: layers,
                num_heads: heads,
                num_kv_heads: 8,
                head_dim: 128,
                attention: AttentionStyle::Normed,
                rms_norm_eps: 1e-6,
                rope_theta: 5e6,
                mrope_section: [24, 20, 20],
                max_position_embeddings: 262_144,
                initializer_range: 0.02,
            },
            vision: VisionConfig {
                depth,
                hidden_size: width,
                intermediate_size: mlp,
                num_heads: 16,
                in_channels: 3,
                patch_size: 16,
                temporal_patch_size: 2,
                spatial_merge_size: 2,
                out_hidden_size: hidden,
                num_position_embeddings: 2304,
                deepstack_indexes: vec![5, 11, 17],
                rope_theta: 10_000.0,
                initializer_range: 0.02,
            },
            ids: VisionIds {
                image: 151_655,
                video: 151_656,
                vision_start: 151_652,
                vision_end: 151_653,
            },
            tie,
            dtype: String::new(),
        }
    }

    #[test]
    fn published_models_have_their_published_size() {
        let small = (24, 1024, 4096);
        let large = (27, 1152, 4304);
        for (text, vision, tie, expected) in [
            ((2048, 6144, 28, 16), small, true, 2_127_532_032),
            ((2560, 9728, 36, 32), small, true, 4_437_815_808),
            ((4096, 12_288, 36, 32), large, false, 8_767_123_696),
            ((5120, 25_600, 64, 64), large, false, 33_357_390_064),
        ] {
            let config = published(text, vision, tie);
            config.validate().unwrap();
            assert_eq!(config.parameters(), expected);
        }
    }
}
