//! Qwen2.5-VL: a vision tower with window attention under a decoder with biased projections, and its use as the text
//! encoder of image models.

mod encoder;
mod vision;
mod window;

pub use encoder::TextEncoder;
pub use vision::{ExactGelu, Merger, Stem, VisionBlock, VisionContext, VisionMlp, VisionTower};
pub use window::{Windows, window_order};

/// A Qwen2.5-VL model.
pub type Qwen2_5Vl = crate::model::Vlm<VisionTower>;
