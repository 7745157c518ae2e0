//! The one error type of the crate.

/// What can go wrong between a task name and a finished record.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PuzzleError {
    /// A maze graph whose parts do not fit together.
    #[error("maze graph: {0}")]
    Graph(String),
}

/// Result of this crate.
pub type Result<T, E = PuzzleError> = std::result::Result<T, E>;
