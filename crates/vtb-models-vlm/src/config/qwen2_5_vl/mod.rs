//! The configuration of Qwen2.5-VL: a decoder with biases, a vision tower with window attention.

mod parse;
mod write;

use std::path::Path;

use super::validate::{
    MAX_LAYERS, MAX_WIDTH, check_heads, check_joint, check_limits, check_parameters, check_positive,
};
use super::{PatchShape, TowerConfig, VlmConfig};
use crate::VlmError;
use crate::files::ModelDir;
use crate::memory::TowerWidths;

/// Sizes and ids of a Qwen2.5-VL model.
///
/// Read it with [`Qwen2_5VlConfig::from_dir`], or build one and call [`Qwen2_5VlConfig::validate`].
pub type Qwen2_5VlConfig = VlmConfig<WindowVisionConfig>;

/// A vision tower most of whose blocks attend inside square windows.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowVisionConfig {
    /// Number of blocks.
    pub depth: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the gated MLP.
    pub intermediate_size: usize,
    /// Attention heads.
    pub num_heads: usize,
    /// Colour channels.
    pub in_channels: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Frames per patch.
    pub temporal_patch_size: usize,
    /// Side of the square of patches merged into one token.
    pub spatial_merge_size: usize,
    /// Width of the merged tokens: the decoder's `hidden_size`.
    pub out_hidden_size: usize,
    /// Side of a window in pixels.
    pub window_size: usize,
    /// Blocks that attend to the whole frame, ascending.
    pub full_attention_blocks: Vec<usize>,
    /// Steps of the time axis per second of video.
    pub tokens_per_second: usize,
    /// Base of the two-dimensional rotary frequencies.
    pub rope_theta: f64,
    /// Standard deviation of fresh weights; 0.02 where the file does not say.
    pub initializer_range: f64,
}

impl WindowVisionConfig {
    /// Width of an attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_heads
    }

    /// Side of a window in merged units.
    pub fn window_side(&self) -> usize {
        self.window_size / self.spatial_merge_size / self.patch_size
    }

    /// Parameters of the vision tower, merger included.
    pub fn parameters(&self) -> u64 {
        let width = |n: usize| n as u64;
        let (hidden, inner) = (width(self.hidden_size), width(self.intermediate_size));
        let affine = |input: u64, output: u64| input * output + output;
        let patches = width(self.patch_dim()) * hidden;
        let block = affine(hidden, 3 * hidden)
            + affine(hidden, hidden)
            + 2 * affine(hidden, inner)
            + affine(inner, hidden)
            + 2 * hidden;
        let grouped = hidden * width(self.merge_unit());
        let merger =
            hidden + affine(grouped, grouped) + affine(grouped, width(self.out_hidden_size));
        patches
            .saturating_add(block.saturating_mul(width(self.depth)))
            .saturating_add(merger)
    }

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
            ("window_size", self.window_size, MAX_WIDTH),
            ("tokens_per_second", self.tokens_per_second, MAX_WIDTH),
        ];
        check_limits("vision_config", &limits)?;
        check_heads(self.hidden_size, self.num_heads)?;
        if self.window_side() == 0 {
            return Err(format!(
                "vision_config.window_size is {} pixels, less than one merged unit of {}",
                self.window_size,
                self.spatial_merge_size * self.patch_size
            ));
        }
        let full = &self.full_attention_blocks;
        if let Some(index) = full.iter().find(|i| **i >= self.depth) {
            return Err(format!(
                "vision_config.fullatt_block_indexes names block {index}, depth is {}",
                self.depth
            ));
        }
        if !full.is_sorted_by(|a, b| a < b) {
            return Err(format!(
                "vision_config.fullatt_block_indexes is {full:?}, it must be ascending"
            ));
        }
        check_positive("vision_config rope_theta", self.rope_theta)
    }
}

impl Qwen2_5VlConfig {
    /// Checks a configuration that was built in code.
    pub fn validate(&self) -> Result<(), VlmError> {
        self.check().map_err(VlmError::Config)
    }

    fn check(&self) -> Result<(), String> {
        self.text.check()?;
        self.vision.check()?;
        check_joint(self.vision.out_hidden_size, self.text.hidden_size)?;
        self.check_ids()?;
        check_parameters(self.parameters())
    }

    /// Number of parameters. A tied output head is counted once.
    pub fn parameters(&self) -> u64 {
        self.decoder_parameters()
            .saturating_add(self.vision.parameters())
    }
}

impl TowerConfig for WindowVisionConfig {
    const VIDEOS: bool = false;

    fn shape(&self) -> PatchShape {
        PatchShape {
            channels: self.in_channels,
            frames: self.temporal_patch_size,
            patch: self.patch_size,
            merge: self.spatial_merge_size,
        }
    }

    fn widths(&self) -> TowerWidths {
        TowerWidths {
            hidden: self.hidden_size as u64,
            inner: self.intermediate_size as u64,
            gated: true,
            depth: self.depth as u64,
            deepstack: 0,
        }
    }

    fn from_dir(dir: &ModelDir) -> Result<Qwen2_5VlConfig, VlmError> {
        Qwen2_5VlConfig::from_dir(dir)
    }

    fn validate(config: &Qwen2_5VlConfig) -> Result<(), VlmError> {
        config.validate()
    }

    fn write(config: &Qwen2_5VlConfig, dir: &Path) -> Result<(), VlmError> {
        config.write(dir)
    }
}
