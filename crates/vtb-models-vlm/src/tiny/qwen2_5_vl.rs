//! A tiny Qwen2.5-VL with the files of a real one: everything but the weights.

use std::path::Path;

use serde_json::json;

use super::{Directory, vocab};
use crate::VlmError;
use crate::config::{AttentionStyle, Qwen2_5VlConfig, TextConfig, WindowVisionConfig};
use crate::processor::ImageSettings;

const TEMPLATE: &str = include_str!("chat_template_qwen2_5.jinja");

/// Sizes of a tiny Qwen2.5-VL.
#[derive(Debug, Clone, PartialEq)]
pub struct TinyQwen2_5Spec {
    /// Width of the decoder.
    pub hidden: usize,
    /// Layers of the decoder.
    pub layers: usize,
    /// Query heads; a head is `hidden / heads` wide.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of the gated MLP.
    pub intermediate: usize,
    /// Frequencies of time, height and width; they sum to half the width of a head.
    pub mrope_section: [usize; 3],
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Whether the output head is the embedding matrix.
    pub tie: bool,
    /// Longest sequence.
    pub max_positions: usize,
    /// Blocks of the vision tower.
    pub vision_depth: usize,
    /// Width of the vision tower.
    pub vision_hidden: usize,
    /// Attention heads of the vision tower.
    pub vision_heads: usize,
    /// Width of the gated vision MLP.
    pub vision_intermediate: usize,
    /// Side of an attention window in pixels.
    pub window: usize,
    /// Blocks that attend to whole frames.
    pub full_attention: Vec<usize>,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Fewest pixels after resizing.
    pub min_pixels: usize,
    /// Most pixels after resizing.
    pub max_pixels: usize,
}

impl Default for TinyQwen2_5Spec {
    /// About 0.8 million parameters with a vocabulary of 512.
    fn default() -> Self {
        Self {
            hidden: 128,
            layers: 3,
            heads: 4,
            kv_heads: 2,
            intermediate: 256,
            mrope_section: [4, 6, 6],
            rope_theta: 10_000.0,
            tie: true,
            max_positions: 4096,
            vision_depth: 2,
            vision_hidden: 64,
            vision_heads: 4,
            vision_intermediate: 96,
            window: 56,
            full_attention: vec![1],
            patch: 14,
            min_pixels: 784,
            max_pixels: 1 << 20,
        }
    }
}

impl TinyQwen2_5Spec {
    /// The configuration of the model with a vocabulary of `vocab_size` rows.
    ///
    /// # Errors
    /// The vocabulary is below [`MIN_VOCAB`](super::MIN_VOCAB), or the sizes contradict each other.
    pub fn config(&self, vocab_size: usize) -> Result<Qwen2_5VlConfig, VlmError> {
        self.config_with(vocab_size, vocab::base_size(vocab_size))
    }

    fn config_with(&self, vocab_size: usize, base: usize) -> Result<Qwen2_5VlConfig, VlmError> {
        vocab::check_size(vocab_size)?;
        let config = Qwen2_5VlConfig {
            text: self.text(vocab_size)?,
            vision: self.vision(),
            ids: vocab::vision_ids(base),
            tie: self.tie,
            dtype: "float32".to_owned(),
        };
        config.validate()?;
        Ok(config)
    }

    /// Writes every file of a model directory but the weights, and returns the configuration to make weights for.
    /// The same corpus gives the same bytes.
    ///
    /// # Errors
    /// As [`TinyQwen2_5Spec::config`]; or a file cannot be written.
    pub fn write_files(
        &self,
        dir: &Path,
        corpus: &[String],
        vocab_size: usize,
    ) -> Result<Qwen2_5VlConfig, VlmError> {
        self.config(vocab_size)?;
        let images = ImageSettings {
            patch: self.patch,
            min_pixels: self.min_pixels,
            max_pixels: self.max_pixels,
            ..ImageSettings::qwen2_5_vl()
        };
        let mut preprocessor = images.shared_json();
        preprocessor["image_processor_type"] = json!("Qwen2VLImageProcessor");
        preprocessor["processor_class"] = json!("Qwen2_5_VLProcessor");
        let directory = Directory {
            template: TEMPLATE,
            preprocessor,
            video_preprocessor: None,
            max_positions: self.max_positions,
        };
        let base = directory.write(dir, corpus, vocab_size)?;
        let config = self.config_with(vocab_size, base)?;
        config.write(dir)?;
        Ok(config)
    }

    fn text(&self, vocab_size: usize) -> Result<TextConfig, VlmError> {
        let head_dim = self.hidden.checked_div(self.heads).unwrap_or(0);
        if head_dim * self.heads != self.hidden {
            return Err(VlmError::Config(format!(
                "{} heads do not share a width of {}",
                self.heads, self.hidden
            )));
        }
        Ok(TextConfig {
            vocab_size,
            hidden_size: self.hidden,
            intermediate_size: self.intermediate,
            num_layers: self.layers,
            num_heads: self.heads,
            num_kv_heads: self.kv_heads,
            head_dim,
            attention: AttentionStyle::Biased,
            rms_norm_eps: 1e-6,
            rope_theta: self.rope_theta,
            mrope_section: self.mrope_section,
            max_position_embeddings: self.max_positions,
            initializer_range: 0.06,
            moe: None,
        })
    }

    fn vision(&self) -> WindowVisionConfig {
        WindowVisionConfig {
            depth: self.vision_depth,
            hidden_size: self.vision_hidden,
            intermediate_size: self.vision_intermediate,
            num_heads: self.vision_heads,
            in_channels: 3,
            patch_size: self.patch,
            temporal_patch_size: 2,
            spatial_merge_size: 2,
            out_hidden_size: self.hidden,
            window_size: self.window,
            full_attention_blocks: self.full_attention.clone(),
            tokens_per_second: 2,
            rope_theta: 10_000.0,
            initializer_range: 0.06,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_has_about_eight_hundred_thousand_parameters() {
        let n = TinyQwen2_5Spec::default().config(512).unwrap().parameters();
        assert!((700_000..900_000).contains(&n), "{n}");
    }

    #[test]
    fn contradictions_are_errors() {
        assert!(TinyQwen2_5Spec::default().config(100).is_err());
        for heads in [0, 3] {
            let spec = TinyQwen2_5Spec {
                heads,
                ..TinyQwen2_5Spec::default()
            };
            let text = spec.config(512).unwrap_err().to_string();
            assert!(text.contains("do not share a width"), "{text}");
        }
    }
}
