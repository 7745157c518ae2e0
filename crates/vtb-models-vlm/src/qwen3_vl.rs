//! Qwen3-VL, dense or with experts: the model type, and the names of its parts.

mod vision;

pub use vision::{VisionContext, VisionTower};

pub use crate::model::{
    BatchPlan, DecoderLayer, Experts, FeedForward, FullTraining, LanguageModel, LayerNorm, Packing,
    RmsNorm, Router, SparseMlp, Table, TextContext, VisionTrace,
};

/// A Qwen3-VL model.
pub type Qwen3Vl = crate::model::Vlm<VisionTower>;
