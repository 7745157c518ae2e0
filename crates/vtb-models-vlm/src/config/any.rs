//! The configuration of whichever model a directory holds.

use serde_json::Value;

use super::section::Section;
use super::{Qwen2_5VlConfig, Qwen3VlConfig, TextConfig, VisionIds};
use crate::VlmError;
use crate::files::{self, ModelDir};

const SUPPORTED: &str = "Qwen3-VL (qwen3_vl) and Qwen2.5-VL (qwen2_5_vl)";

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
        let value: Value = files::read_json(&path, files::CONFIG_LIMIT)?;
        let root = Section::root(&path, &value)?;
        match root.str("model_type")? {
            "qwen2_5_vl" => Ok(Self::Qwen2_5(Qwen2_5VlConfig::from_json(&path, &value)?)),
            kind if kind.starts_with("qwen3_vl") => {
                Ok(Self::Qwen3(Qwen3VlConfig::from_json(&path, &value)?))
            }
            other => Err(root.unsupported("model_type", other, SUPPORTED)),
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
