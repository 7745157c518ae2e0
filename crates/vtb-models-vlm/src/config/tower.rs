//! What is asked of a vision configuration whatever the tower.

use std::fmt::Debug;
use std::path::Path;

use super::{Qwen3VlConfig, VisionConfig, VlmConfig};
use crate::VlmError;
use crate::files::ModelDir;
use crate::memory::TowerWidths;

/// How pictures are cut: what processor and tower must agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatchShape {
    /// Colour channels.
    pub channels: usize,
    /// Frames per patch.
    pub frames: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Side of the square of patches merged into one token.
    pub merge: usize,
}

/// The configuration of one kind of vision tower, and how `config.json` spells a model that has it.
pub trait TowerConfig: Clone + PartialEq + Debug + Send + Sync + Sized + 'static {
    /// Whether videos are run: a tower under a decoder whose positions of videos are not those of pictures has none
    /// here.
    const VIDEOS: bool;

    /// How pictures are cut.
    fn shape(&self) -> PatchShape;

    /// Reads and checks the `config.json` of a model directory.
    fn from_dir(dir: &ModelDir) -> Result<VlmConfig<Self>, VlmError>;

    /// Checks a configuration that was built in code.
    fn validate(config: &VlmConfig<Self>) -> Result<(), VlmError>;

    /// Writes `config.json` into `dir`.
    fn write(config: &VlmConfig<Self>, dir: &Path) -> Result<(), VlmError>;

    /// Sizes that memory follows from.
    fn widths(&self) -> TowerWidths;

    /// Side of the square of patches merged into one token.
    fn merge_size(&self) -> usize {
        self.shape().merge
    }

    /// Patches merged into one token.
    fn merge_unit(&self) -> usize {
        self.merge_size().pow(2)
    }

    /// Values of one patch row, in the order channel, frame, y, x.
    fn patch_dim(&self) -> usize {
        let shape = self.shape();
        shape.channels * shape.frames * shape.patch * shape.patch
    }
}

impl TowerConfig for VisionConfig {
    const VIDEOS: bool = true;

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
            gated: false,
            depth: self.depth as u64,
            deepstack: self.deepstack_indexes.len() as u64,
        }
    }

    fn from_dir(dir: &ModelDir) -> Result<Qwen3VlConfig, VlmError> {
        Qwen3VlConfig::from_dir(dir)
    }

    fn validate(config: &Qwen3VlConfig) -> Result<(), VlmError> {
        config.validate()
    }

    fn write(config: &Qwen3VlConfig, dir: &Path) -> Result<(), VlmError> {
        config.write(dir)
    }
}
