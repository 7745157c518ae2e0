//! The configuration of whichever model a directory holds.

use std::path::Path;

use serde_json::Value;

use super::section::Section;
use super::{Qwen2_5VlConfig, Qwen3VlConfig, TextConfig, VisionIds};
use crate::VlmError;
use crate::encode::RowEncoder;
use crate::files::{self, ModelDir};

const SUPPORTED: &str = "Qwen3-VL (qwen3_vl, qwen3_vl_moe) and Qwen2.5-VL (qwen2_5_vl)";

/// A configuration by the `model_type` of its file.
#[derive(Debug, Clone, PartialEq)]
pub enum AnyVlmConfig {
    /// Qwen3-VL.
    Qwen3(Qwen3VlConfig),
    /// Qwen2.5-VL.
    Qwen2_5(Qwen2_5VlConfig),
}

impl AnyVlmConfig {
    /// Reads and checks the `config.json` of a model directory.
    ///
    /// # Errors
    /// A model type there is no code for, or what the configuration of the model says.
    pub fn from_dir(dir: &ModelDir) -> Result<Self, VlmError> {
        let path = dir.require("model configuration", &[files::CONFIG])?;
        Self::from_json(&path, &files::read_json(&path, files::CONFIG_LIMIT)?)
    }

    /// The same for JSON that is already in memory; `file` is named in errors.
    ///
    /// # Errors
    /// As [`AnyVlmConfig::from_dir`].
    pub fn from_json(file: &Path, value: &Value) -> Result<Self, VlmError> {
        let root = Section::root(file, value)?;
        match root.str("model_type")? {
            "qwen2_5_vl" => Ok(Self::Qwen2_5(Qwen2_5VlConfig::from_json(file, value)?)),
            kind if kind.starts_with("qwen3_vl") => {
                Ok(Self::Qwen3(Qwen3VlConfig::from_json(file, value)?))
            }
            other => Err(root.unsupported("model_type", other, SUPPORTED)),
        }
    }

    /// Tokenizer, template, picture and video settings of a directory with this configuration.
    ///
    /// # Errors
    /// As [`RowEncoder::from_dir`].
    pub fn encoder(&self, dir: &ModelDir) -> Result<RowEncoder, VlmError> {
        match self {
            Self::Qwen3(c) => RowEncoder::from_dir(dir, c),
            Self::Qwen2_5(c) => RowEncoder::from_dir(dir, c),
        }
    }

    /// The language decoder.
    pub fn text(&self) -> &TextConfig {
        match self {
            Self::Qwen3(c) => &c.text,
            Self::Qwen2_5(c) => &c.text,
        }
    }

    /// Ids of the vision tokens.
    pub fn ids(&self) -> VisionIds {
        match self {
            Self::Qwen3(c) => c.ids,
            Self::Qwen2_5(c) => c.ids,
        }
    }

    /// Number of parameters. A tied output head is counted once.
    pub fn parameters(&self) -> u64 {
        match self {
            Self::Qwen3(c) => c.parameters(),
            Self::Qwen2_5(c) => c.parameters(),
        }
    }
}
