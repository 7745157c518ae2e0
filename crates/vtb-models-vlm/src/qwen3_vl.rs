//! Qwen3-VL with a dense decoder: the model type, and the names of its parts.

mod vision;

pub use vision::{VisionContext, VisionTower};

pub use crate::model::{
    BatchPlan, DecoderLayer, FullTraining, LanguageModel, LayerNorm, Packing, RmsNorm, Table,
    TextContext, VisionTrace,
};

/// A Qwen3-VL model.
pub type Qwen3Vl = crate::model::Vlm<VisionTower>;
