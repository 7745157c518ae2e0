//! Bounds and relations a configuration must keep before anything is allocated from it.

use super::{MoeConfig, Qwen3VlConfig, TextConfig, VisionConfig, VlmConfig};
use crate::VlmError;

/// More layers than any published model by a factor of ten.
pub(super) const MAX_LAYERS: usize = 1024;
/// Widths are bounded so that products of two of them fit 64 bits with room to spare.
pub(super) const MAX_WIDTH: usize = 1 << 20;
/// Vocabulary rows.
pub(super) const MAX_VOCAB: usize = 1 << 24;
/// Positions.
pub(super) const MAX_POSITIONS: usize = 1 << 28;
/// No parameter count beyond this is an honest configuration.
const MAX_PARAMETERS: u64 = 1 << 42;

impl Qwen3VlConfig {
    /// Checks a configuration that was built in code.
    pub fn validate(&self) -> Result<(), VlmError> {
        self.check().map_err(VlmError::Config)
    }

    /// All relations; the message names the key as `config.json` spells it.
    pub(super) fn check(&self) -> Result<(), String> {
        self.text.check()?;
        self.vision.check()?;
        check_joint(self.vision.out_hidden_size, self.text.hidden_size)?;
        if self.vision.deepstack_indexes.len() > self.text.num_layers {
            return Err(format!(
                "vision_config.deepstack_visual_indexes feeds {} decoder layers, text_config.num_hidden_layers \
                 is {}",
                self.vision.deepstack_indexes.len(),
                self.text.num_layers
            ));
        }
        self.check_ids()?;
        check_parameters(self.parameters())
    }
}

impl<V> VlmConfig<V> {
    pub(super) fn check_ids(&self) -> Result<(), String> {
        let names = [
            "image_token_id",
            "video_token_id",
            "vision_start_token_id",
            "vision_end_token_id",
        ];
        let ids = self.ids.all();
        for (i, (name, id)) in names.iter().zip(ids).enumerate() {
            if id as usize >= self.text.vocab_size {
                return Err(format!(
                    "{name} is {id}, it must be below text_config.vocab_size {}",
                    self.text.vocab_size
                ));
            }
            if ids[..i].contains(&id) {
                return Err(format!(
                    "{name} is {id}, which stands for more than one vision token"
                ));
            }
        }
        Ok(())
    }
}

impl TextConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        let limits = [
            ("vocab_size", self.vocab_size, MAX_VOCAB),
            ("hidden_size", self.hidden_size, MAX_WIDTH),
            ("intermediate_size", self.intermediate_size, MAX_WIDTH),
            ("num_hidden_layers", self.num_layers, MAX_LAYERS),
            ("num_attention_heads", self.num_heads, MAX_WIDTH),
            ("num_key_value_heads", self.num_kv_heads, MAX_WIDTH),
            ("head_dim", self.head_dim, MAX_WIDTH),
            (
                "num_attention_heads times head_dim",
                self.num_heads.saturating_mul(self.head_dim),
                MAX_WIDTH,
            ),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                MAX_POSITIONS,
            ),
        ];
        check_limits("text_config", &limits)?;
        if !self.num_heads.is_multiple_of(self.num_kv_heads) {
            return Err(format!(
                "text_config.num_key_value_heads {} does not divide num_attention_heads {}",
                self.num_kv_heads, self.num_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(format!(
                "text_config.head_dim is {}, it must be even",
                self.head_dim
            ));
        }
        let sum = self.mrope_section.iter().sum::<usize>();
        if sum != self.head_dim / 2 {
            return Err(format!(
                "text_config mrope_section {:?} sums to {sum}, it must sum to head_dim / 2 = {}",
                self.mrope_section,
                self.head_dim / 2
            ));
        }
        if let Some(moe) = &self.moe {
            moe.check(self.num_layers)?;
        }
        check_positive("text_config.rms_norm_eps", self.rms_norm_eps)?;
        check_positive("text_config.rope_theta", self.rope_theta)
    }
}

impl MoeConfig {
    fn check(&self, layers: usize) -> Result<(), String> {
        let limits = [
            ("num_experts", self.num_experts, MAX_WIDTH),
            ("num_experts_per_tok", self.experts_per_token, MAX_WIDTH),
            ("moe_intermediate_size", self.intermediate_size, MAX_WIDTH),
            ("decoder_sparse_step", self.sparse_step, MAX_LAYERS),
        ];
        check_limits("text_config", &limits)?;
        if self.experts_per_token > self.num_experts {
            return Err(format!(
                "text_config.num_experts_per_tok is {}, there are {} experts",
                self.experts_per_token, self.num_experts
            ));
        }
        match self.dense_layers.iter().find(|i| **i >= layers) {
            Some(layer) => Err(format!(
                "text_config.mlp_only_layers names layer {layer}, num_hidden_layers is {layers}"
            )),
            None => Ok(()),
        }
    }
}

impl VisionConfig {
    fn check(&self) -> Result<(), String> {
        let limits = [
            ("depth", self.depth, MAX_LAYERS),
            ("hidden_size", self.hidden_size, MAX_WIDTH),
            ("intermediate_size", self.intermediate_size, MAX_WIDTH),
            ("num_heads", self.num_heads, MAX_WIDTH),
            ("in_channels", self.in_channels, 16),
            ("patch_size", self.patch_size, 256),
            ("temporal_patch_size", self.temporal_patch_size, 16),
            ("spatial_merge_size", self.spatial_merge_size, 16),
            ("out_hidden_size", self.out_hidden_size, MAX_WIDTH),
            (
                "num_position_embeddings",
                self.num_position_embeddings,
                MAX_POSITIONS,
            ),
        ];
        check_limits("vision_config", &limits)?;
        check_heads(self.hidden_size, self.num_heads)?;
        if self.position_side().pow(2) != self.num_position_embeddings {
            return Err(format!(
                "vision_config.num_position_embeddings is {}, it must be a square number",
                self.num_position_embeddings
            ));
        }
        if let Some(index) = self.deepstack_indexes.iter().find(|i| **i >= self.depth) {
            return Err(format!(
                "vision_config.deepstack_visual_indexes names block {index}, depth is {}",
                self.depth
            ));
        }
        if !self.deepstack_indexes.is_sorted_by(|a, b| a < b) {
            return Err(format!(
                "vision_config.deepstack_visual_indexes is {:?}, it must be ascending",
                self.deepstack_indexes
            ));
        }
        check_positive("vision_config rope_theta", self.rope_theta)
    }
}

/// Vision heads must have room for two axes of rotations.
pub(super) fn check_heads(hidden: usize, heads: usize) -> Result<(), String> {
    if !hidden.is_multiple_of(heads) {
        return Err(format!(
            "vision_config.num_heads {heads} does not divide hidden_size {hidden}"
        ));
    }
    if !(hidden / heads).is_multiple_of(4) {
        return Err(format!(
            "vision_config makes heads of width {}, two-dimensional RoPE needs a multiple of 4",
            hidden / heads
        ));
    }
    Ok(())
}

/// Merged tokens must have the decoder's width.
pub(super) fn check_joint(out: usize, hidden: usize) -> Result<(), String> {
    if out == hidden {
        return Ok(());
    }
    Err(format!(
        "vision_config.out_hidden_size is {out}, it must equal text_config.hidden_size {hidden}"
    ))
}

pub(super) fn check_parameters(n: u64) -> Result<(), String> {
    if n <= MAX_PARAMETERS {
        return Ok(());
    }
    Err(format!(
        "the sizes make {n} parameters, more than the {MAX_PARAMETERS} that are believed"
    ))
}

pub(super) fn check_limits(section: &str, limits: &[(&str, usize, usize)]) -> Result<(), String> {
    match limits
        .iter()
        .find(|(_, value, max)| *value == 0 || value > max)
    {
        Some((key, value, max)) => Err(format!(
            "{section}.{key} is {value}, it must be from 1 to {max}"
        )),
        None => Ok(()),
    }
}

pub(super) fn check_positive(key: &str, value: f64) -> Result<(), String> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(format!(
        "{key} is {value}, it must be a finite number above 0"
    ))
}
