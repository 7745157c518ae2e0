//! The text encoder of Wan: UMT5 and its tokenizer.
//!
//! A prompt is cleaned, cut into tokens, ended, and encoded alone. The states are not padded: the transformer sees zeros
//! after them, which is what is left of padding once its states are cleared.

mod clean;
mod config;
mod encoder;
mod tokenizer;

use std::path::Path;

use burn::tensor::{DType, Device};
use vtb_nn::checkpoint::open_source;
use vtb_nn::velocity::TextStates;

pub use clean::clean;
pub use config::Umt5Config;
pub use encoder::Umt5Encoder;
pub use tokenizer::{EOS, T5Tokenizer, TOKENIZER};

use super::TEXT_LEN;
use crate::DiffusionError;

/// Text encoder and tokenizer of a model.
#[derive(Debug, Clone)]
pub struct TextEncoder {
    encoder: Umt5Encoder,
    tokenizer: T5Tokenizer,
    /// The most tokens of a prompt, its end among them.
    pub text_len: usize,
}

impl TextEncoder {
    /// Joins two parts; prompts are cut to `text_len` tokens.
    ///
    /// # Errors
    /// The tokenizer has ids that the encoder lacks, or there is no room for the end of a text.
    pub fn new(
        encoder: Umt5Encoder,
        tokenizer: T5Tokenizer,
        text_len: usize,
    ) -> Result<Self, DiffusionError> {
        let (ids, rows) = (tokenizer.size(), encoder.config().vocab_size);
        if ids > rows {
            return Err(DiffusionError::file(
                tokenizer.path(),
                format!("has {ids} ids, the text encoder {rows}: parts of two models"),
            ));
        }
        if text_len == 0 {
            return Err(DiffusionError::input(
                "prompts of no tokens; even an empty one has its end",
            ));
        }
        Ok(Self {
            encoder,
            tokenizer,
            text_len,
        })
    }

    /// Loads weights and the folder of a tokenizer. Weights are a folder of transformers, or a file (`.pth` or safetensors) that
    /// comes without a configuration: sizes are then those of the tensors. `dtype` is that of weights and products, bf16 or f32.
    ///
    /// # Errors
    /// A part is missing or damaged, or does not fit the other.
    pub fn load(
        weights: &Path,
        tokenizer: &Path,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, DiffusionError> {
        let tokenizer = T5Tokenizer::load(tokenizer)?;
        let source = open_source(weights)?;
        let config = if weights.is_dir() {
            Umt5Config::from_dir(weights)?
        } else {
            Umt5Config::of_shapes(&*source)?
        };
        let encoder = Umt5Encoder::from_source(config, &*source, device, dtype)?;
        Self::new(encoder, tokenizer, TEXT_LEN)
    }

    /// Sizes of the encoder.
    pub fn config(&self) -> &Umt5Config {
        self.encoder.config()
    }

    /// Token ids of a prompt after cleaning, at most [`TextEncoder::text_len`]: what exceeds it is cut before the end. An
    /// empty prompt has its end alone.
    ///
    /// # Errors
    /// The rules of the tokenizer do not apply to the text.
    pub fn ids(&self, prompt: &str) -> Result<Vec<u32>, DiffusionError> {
        self.tokenizer.encode(&clean(prompt), self.text_len)
    }

    /// States of a prompt, `[ids, d_model]`.
    ///
    /// # Errors
    /// As [`TextEncoder::ids`], or the result cannot be read from the device.
    pub fn encode(&self, prompt: &str) -> Result<TextStates, DiffusionError> {
        let states = self.encoder.forward(&self.ids(prompt)?)?;
        let [rows, width] = states.dims();
        let values = states.into_data().try_into_vec::<f32>();
        let values = values
            .map_err(|e| DiffusionError::input(format!("text states cannot be read: {e:?}")))?;
        Ok(TextStates {
            rows,
            width,
            values,
        })
    }
}
