//! Tiny models with the files of real ones: everything but the weights.
//!
//! A directory written here loads in `transformers`, and everything in this workspace reads it by the same code
//! as a published checkpoint.

mod directory;
mod qwen2_5_vl;
mod vocab;

use std::path::Path;

use crate::VlmError;
use crate::config::{AttentionStyle, MoeConfig, Qwen3VlConfig, TextConfig, VisionConfig};
use crate::processor::{ImageSettings, VideoSettings};

use directory::Directory;

pub use qwen2_5_vl::TinyQwen2_5Spec;
pub use vocab::{ADDED_TOKENS, MIN_VOCAB, SPECIAL_TOKENS};

const TEMPLATE: &str = include_str!("chat_template.jinja");
const THINKING_TEMPLATE: &str = include_str!("thinking_template.jinja");

/// Sizes of a tiny model.
#[derive(Debug, Clone, PartialEq)]
pub struct TinySpec {
    /// Width of the decoder.
    pub hidden: usize,
    /// Layers of the decoder.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head; need not be `hidden / heads`.
    pub head_dim: usize,
    /// Width of the gated MLP.
    pub intermediate: usize,
    /// Frequencies of time, height and width; they sum to `head_dim / 2`.
    pub mrope_section: [usize; 3],
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Whether the output head is the embedding matrix.
    pub tie: bool,
    /// Experts in place of the MLPs.
    pub moe: Option<MoeConfig>,
    /// Longest sequence.
    pub max_positions: usize,
    /// Blocks of the vision tower.
    pub vision_depth: usize,
    /// Width of the vision tower.
    pub vision_hidden: usize,
    /// Attention heads of the vision tower.
    pub vision_heads: usize,
    /// Width of the vision MLP.
    pub vision_intermediate: usize,
    /// Blocks after which deepstack features are taken.
    pub deepstack: Vec<usize>,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Frames per patch.
    pub temporal: usize,
    /// Side of the square of patches that makes one token.
    pub merge: usize,
    /// Rows of the learned position table, a square number.
    pub position_embeddings: usize,
    /// Fewest pixels after resizing.
    pub min_pixels: usize,
    /// Most pixels after resizing.
    pub max_pixels: usize,
    /// Whether the template is that of a thinking model: prompts open a thought, and those of earlier turns are left
    /// out.
    pub thinking: bool,
}

impl Default for TinySpec {
    /// About 0.9 million parameters with a vocabulary of 512.
    fn default() -> Self {
        Self {
            hidden: 128,
            layers: 3,
            heads: 4,
            kv_heads: 2,
            head_dim: 32,
            intermediate: 256,
            mrope_section: [6, 5, 5],
            rope_theta: 10_000.0,
            tie: true,
            moe: None,
            max_positions: 4096,
            vision_depth: 2,
            vision_hidden: 64,
            vision_heads: 4,
            vision_intermediate: 128,
            deepstack: vec![0, 1],
            patch: 16,
            temporal: 2,
            merge: 2,
            position_embeddings: 64,
            min_pixels: 1024,
            max_pixels: 1 << 20,
            thinking: false,
        }
    }
}

impl TinySpec {
    /// The configuration of the model with a vocabulary of `vocab_size` rows.
    ///
    /// # Errors
    /// The vocabulary is below [`MIN_VOCAB`], or the sizes contradict each other.
    pub fn config(&self, vocab_size: usize) -> Result<Qwen3VlConfig, VlmError> {
        self.config_with(vocab_size, vocab::base_size(vocab_size))
    }

    fn config_with(&self, vocab_size: usize, base: usize) -> Result<Qwen3VlConfig, VlmError> {
        vocab::check_size(vocab_size)?;
        let config = Qwen3VlConfig {
            text: self.text(vocab_size),
            vision: self.vision(),
            ids: vocab::vision_ids(base),
            tie: self.tie,
            dtype: "float32".to_owned(),
        };
        config.validate()?;
        Ok(config)
    }

    /// Writes every file of a model directory but the weights, and returns the configuration to make weights
    /// for. The same corpus gives the same bytes.
    ///
    /// `corpus` holds texts the tokenizer is trained on; `vocab_size` counts the rows of the embedding matrix,
    /// added tokens included. A small corpus may leave some rows without a token.
    ///
    /// # Errors
    /// As [`TinySpec::config`]; or a file cannot be written.
    pub fn write_files(
        &self,
        dir: &Path,
        corpus: &[String],
        vocab_size: usize,
    ) -> Result<Qwen3VlConfig, VlmError> {
        self.config(vocab_size)?;
        let base = self.directory().write(dir, corpus, vocab_size)?;
        let config = self.config_with(vocab_size, base)?;
        config.write(dir)?;
        Ok(config)
    }

    fn text(&self, vocab_size: usize) -> TextConfig {
        TextConfig {
            vocab_size,
            hidden_size: self.hidden,
            intermediate_size: self.intermediate,
            num_layers: self.layers,
            num_heads: self.heads,
            num_kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            attention: AttentionStyle::Normed,
            rms_norm_eps: 1e-6,
            rope_theta: self.rope_theta,
            mrope_section: self.mrope_section,
            max_position_embeddings: self.max_positions,
            initializer_range: 0.06,
            moe: self.moe.clone(),
        }
    }

    fn vision(&self) -> VisionConfig {
        VisionConfig {
            depth: self.vision_depth,
            hidden_size: self.vision_hidden,
            intermediate_size: self.vision_intermediate,
            num_heads: self.vision_heads,
            in_channels: 3,
            patch_size: self.patch,
            temporal_patch_size: self.temporal,
            spatial_merge_size: self.merge,
            out_hidden_size: self.hidden,
            num_position_embeddings: self.position_embeddings,
            deepstack_indexes: self.deepstack.clone(),
            rope_theta: 10_000.0,
            initializer_range: 0.06,
        }
    }

    fn directory(&self) -> Directory {
        let settings = ImageSettings {
            patch: self.patch,
            temporal: self.temporal,
            merge: self.merge,
            min_pixels: self.min_pixels,
            max_pixels: self.max_pixels,
            ..ImageSettings::default()
        };
        let preprocessor = settings.to_json();
        let video = VideoSettings {
            frames: settings,
            ..VideoSettings::default()
        };
        Directory {
            template: match self.thinking {
                true => THINKING_TEMPLATE,
                false => TEMPLATE,
            },
            preprocessor,
            video_preprocessor: Some(video.to_json()),
            max_positions: self.max_positions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_has_about_nine_hundred_thousand_parameters() {
        let n = TinySpec::default().config(512).unwrap().parameters();
        assert!((800_000..1_000_000).contains(&n), "{n}");
    }

    #[test]
    fn contradictions_are_errors() {
        assert!(TinySpec::default().config(MIN_VOCAB - 1).is_err());
        let spec = TinySpec {
            mrope_section: [1, 2, 3],
            ..TinySpec::default()
        };
        let text = spec.config(512).unwrap_err().to_string();
        assert!(text.contains("sums to 6"), "{text}");
    }
}
