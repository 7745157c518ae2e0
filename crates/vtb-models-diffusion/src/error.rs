//! What can go wrong with a diffusion model.

use std::path::{Path, PathBuf};

use vtb_models_vlm::VlmError;
use vtb_nn::NnError;

/// A fault of a model directory, of an input, or of a computation.
#[derive(Debug, thiserror::Error)]
pub enum DiffusionError {
    /// A file says something that cannot be used.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the way out.
        message: String,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Sizes or settings that do not go together.
    #[error("{0}")]
    Input(String),
    /// Text encoder, tokenizer or processor.
    #[error(transparent)]
    Vlm(#[from] VlmError),
    /// Tensors and checkpoints.
    #[error(transparent)]
    Nn(#[from] NnError),
}

impl DiffusionError {
    /// A fault of a file.
    pub fn file(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self::File {
            path: path.as_ref().to_path_buf(),
            message: message.into(),
        }
    }

    /// A refusal of the operating system.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.as_ref().to_path_buf(),
            source,
        }
    }

    /// A fault of an input.
    pub fn input(message: impl Into<String>) -> Self {
        Self::Input(message.into())
    }
}
