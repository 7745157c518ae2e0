//! What can go wrong while training, said so that a user can act on it.

use std::io;
use std::path::{Path, PathBuf};

use vtb_nn::NnError;

/// Errors of training runs: files, checkpoints, settings and numbers.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// The disk cannot hold what was to be written. Earlier checkpoints are intact.
    #[error(
        "{path}: no space left for {what} ({detail}); earlier checkpoints are intact, free some space"
    )]
    DiskFull {
        /// Where it was to be written.
        path: PathBuf,
        /// What was to be written.
        what: String,
        /// Needed and free bytes, or the operating system's message.
        detail: String,
    },
    /// A run directory exists and holds files, and the run is not a resumed one.
    #[error(
        "{path} already holds a run; resume it, or choose another output directory (nothing was changed)"
    )]
    RunExists {
        /// The run directory.
        path: PathBuf,
    },
    /// No checkpoint to resume from.
    #[error("{path} holds no valid checkpoint; start a fresh run, or name another run directory")]
    NoCheckpoint {
        /// The directory that was scanned.
        path: PathBuf,
    },
    /// The run differs from the one that wrote the checkpoint.
    #[error("the run differs from the one that wrote {checkpoint}: {}; restore these settings, or start a fresh run", .differences.join("; "))]
    Resume {
        /// The checkpoint directory.
        checkpoint: PathBuf,
        /// One entry per differing key: `key: then -> now`.
        differences: Vec<String>,
    },
    /// A loss, gradient or parameter is not a finite number.
    #[error(
        "{what} is not finite at step {step}; lower the learning rate or inspect the batch of that step"
    )]
    NonFinite {
        /// What is not finite; names the tensors.
        what: String,
        /// The step.
        step: u64,
    },
    /// A setting has no meaning; the message names it and the values allowed.
    #[error("{0}")]
    Config(String),
    /// Named tensors do not fit the parameters; the message names the tensor.
    #[error("{0}")]
    Tensors(String),
    /// Data that cannot be trained on; the message names the row.
    #[error("{0}")]
    Input(String),
    /// A model or a tensor building block failed.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// A part supplied by the caller failed.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl TrainError {
    /// Wraps an I/O error with its file; a full disk becomes [`TrainError::DiskFull`].
    pub fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        if is_full(&source) {
            return Self::DiskFull {
                what: "this file".into(),
                detail: source.to_string(),
                path,
            };
        }
        Self::Io { path, source }
    }

    /// A file that holds something else than it should.
    pub fn file(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::File {
            path: path.into(),
            message: message.into(),
        }
    }

    /// Wraps an error of a part supplied by the caller.
    pub fn other(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other(source.into())
    }

    /// Whether the disk is full, also when a nested error says so. A step loop may then warn and carry on.
    pub fn is_disk_full(&self) -> bool {
        if matches!(self, Self::DiskFull { .. }) {
            return true;
        }
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = next {
            if error.downcast_ref::<io::Error>().is_some_and(is_full) {
                return true;
            }
            next = error.source();
        }
        false
    }

    /// Maps an I/O result to one that names its file.
    pub(crate) fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, Self> {
        result.map_err(|source| Self::io(path, source))
    }
}

/// Out of blocks, quota or allowed file size.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_seen_through_wrappers() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert!(TrainError::io("a", full()).is_disk_full());
        assert!(TrainError::Nn(NnError::io("a", full())).is_disk_full());
        assert!(!TrainError::io("a", io::Error::from(io::ErrorKind::NotFound)).is_disk_full());
        assert!(!TrainError::Config("x".into()).is_disk_full());
    }

    #[test]
    fn resume_errors_name_every_key() {
        let error = TrainError::Resume {
            checkpoint: "step-5".into(),
            differences: vec!["seed: 1 -> 2".into(), "lr: 0.1 -> 0.2".into()],
        };
        let text = error.to_string();
        assert!(text.contains("seed: 1 -> 2; lr: 0.1 -> 0.2"), "{text}");
    }
}
