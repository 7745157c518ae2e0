//! Qwen2.5-VL as the text encoder of image models: hidden states in the place of words.

use std::path::Path;

use burn::tensor::{DType, Device, Tensor};
use vtb_nn::NnError;
use vtb_nn::lm::LmRow;

use super::Qwen2_5Vl;
use crate::VlmError;
use crate::config::Qwen2_5VlConfig;
use crate::model::Head;

/// A Qwen2.5-VL without its output head.
///
/// Image models read the hidden states after the final norm. They frame the prompt by a fixed system turn whose tokens
/// carry nothing of the prompt and are dropped: 64 for the Qwen-Image editing pipelines, 34 for text to image.
/// Positions of picture tokens are three-dimensional, as the model was trained.
#[derive(Debug, Clone)]
pub struct TextEncoder {
    model: Qwen2_5Vl,
}

impl TextEncoder {
    /// Loads a model directory. `lm_head.weight` may be absent; where it is stored it is not read.
    ///
    /// # Errors
    /// As [`Vlm::load`](crate::model::Vlm::load).
    pub fn load(dir: impl AsRef<Path>, device: &Device, dtype: DType) -> Result<Self, VlmError> {
        let model = Qwen2_5Vl::load_with(dir.as_ref(), device, dtype, Head::Left)?;
        Ok(Self { model })
    }

    /// Sizes and ids.
    pub fn config(&self) -> &Qwen2_5VlConfig {
        self.model.config()
    }

    /// Number of parameters in memory.
    pub fn parameters(&self) -> u64 {
        self.model.parameters()
    }

    /// Hidden states of every row after the final norm, `[tokens - skip, width]`, without the first `skip` tokens.
    /// Picture tokens are among them. Nothing is traced for a backward pass.
    ///
    /// # Errors
    /// Placeholders and pictures of a row disagree, an id lies outside the vocabulary, or a row has no more than
    /// `skip` tokens.
    pub fn encode(&self, rows: &[LmRow], skip: usize) -> Result<Vec<Tensor<2>>, NnError> {
        self.model.features_of(rows, skip)
    }
}
