//! What can go wrong with adapters.

use std::path::PathBuf;

use vtb_nn::NnError;

/// Errors of adapter configurations, target matching and adapter files.
#[derive(Debug, thiserror::Error)]
pub enum LoraError {
    /// A tensor file or a device failed, or a tensor is missing or of another shape.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// A configuration that cannot be used.
    #[error("{origin}: {message}")]
    Config {
        /// The file or the section.
        origin: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// A module pattern that is no regular expression, or one too expensive to run.
    #[error("module pattern `{pattern}` {message}")]
    Pattern {
        /// The pattern as written.
        pattern: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// The targets select no layer.
    #[error(
        "target_modules {targets} match none of the model's {linears} linear layers; their names end in {near}"
    )]
    NoMatch {
        /// The targets as written.
        targets: String,
        /// How many layers there are.
        linears: usize,
        /// A few names to choose from, nearest first.
        near: String,
    },
    /// An adapter file that does not hold what it should, or does not fit the model.
    #[error("{path}: {message}")]
    Adapter {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
}

impl LoraError {
    pub(crate) fn config(origin: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config {
            origin: origin.into(),
            message: message.into(),
        }
    }

    pub(crate) fn adapter(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::Adapter {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl From<LoraError> for NnError {
    fn from(error: LoraError) -> Self {
        match error {
            LoraError::Nn(inner) => inner,
            other => Self::Other(Box::new(other)),
        }
    }
}
