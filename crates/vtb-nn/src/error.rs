//! What can go wrong in this crate, said so that a user can act on it.

use std::path::PathBuf;

/// Errors of tensor building blocks, checkpoints and models built on them.
#[derive(Debug, thiserror::Error)]
pub enum NnError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file holds something else than it should.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// A tensor is absent from a checkpoint.
    #[error("tensor `{name}` is missing from {origin}; is this a checkpoint of another model?")]
    Missing {
        /// Tensor name.
        name: String,
        /// The checkpoint.
        origin: String,
    },
    /// A tensor has another shape than the configuration asks for.
    #[error(
        "tensor `{name}` in {origin} has shape {found:?}, the configuration asks for {expected:?}"
    )]
    Shape {
        /// Tensor name.
        name: String,
        /// The checkpoint.
        origin: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape the model needs.
        expected: Vec<usize>,
    },
    /// A stack of expert matrices has neither of the two layouts in which it is stored.
    #[error(
        "tensor `{name}` in {origin} has shape {found:?}; the experts of this configuration are stored as {:?} \
         ([expert, in, out], as published) or as {:?} ([expert, out, in], as transformers 5 saves them)",
        layouts[0],
        layouts[1]
    )]
    ExpertLayout {
        /// Tensor name.
        name: String,
        /// The checkpoint.
        origin: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// The published layout and the other one.
        layouts: Box<[[usize; 3]; 2]>,
    },
    /// A device that was asked for is not there.
    #[error("{0}")]
    Device(String),
    /// An input does not fit the model; the message names the row or tensor.
    #[error("{0}")]
    Input(String),
    /// A callback of the caller failed.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl NnError {
    /// Wraps an I/O error with its file.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source,
        }
    }

    /// A file whose contents are wrong.
    pub fn file(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::File {
            path: path.into(),
            message: message.into(),
        }
    }

    /// An input that does not fit.
    pub fn input(message: impl Into<String>) -> Self {
        Self::Input(message.into())
    }
}
