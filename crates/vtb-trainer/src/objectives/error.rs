//! What can be wrong with the numbers or settings given to an objective.

use std::fmt;

/// Inputs an objective cannot work on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ObjectiveError {
    /// Two per-token or per-row lists that must run side by side do not.
    #[error(
        "row {row} has {found} {what} where {expected} are needed; score and mask the same tokens"
    )]
    Length {
        /// Row within the batch.
        row: usize,
        /// Which list.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length it must have.
        expected: usize,
    },
    /// Another number of rows than announced.
    #[error("{found} {what} were given for {expected} rows; pass one per row")]
    Rows {
        /// Which list.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The number of rows.
        expected: usize,
    },
    /// A batch that cannot be cut into whole groups.
    #[error(
        "{rows} completions are not divisible into groups of num_generations = {group_size}; \
         make the batch a multiple of it"
    )]
    Groups {
        /// Completions in the batch.
        rows: usize,
        /// Completions of each prompt.
        group_size: usize,
    },
    /// Groups too small to have a spread.
    #[error("num_generations is {0}, but a group needs at least 2 completions to be compared")]
    GroupSize(usize),
    /// An infinite reward.
    #[error("reward {reward} of completion {row} is infinite; rewards must be finite, or absent")]
    Reward {
        /// Completion within the batch.
        row: usize,
        /// Position of the reward function.
        reward: usize,
    },
    /// A step with nothing to average over.
    #[error("the loss is averaged over {0}, which is 0; a step needs at least one scored token")]
    Empty(&'static str),
    /// A latent in another shape than its row's, or with another number of values.
    #[error(
        "row {row}: {what} has the shape {found:?} and {values} values, but {expected:?} is needed"
    )]
    Latent {
        /// Row within the batch.
        row: usize,
        /// Which latent.
        what: &'static str,
        /// Its number of values.
        values: usize,
        /// Its shape.
        found: [usize; 4],
        /// The shape it must have.
        expected: [usize; 4],
    },
    /// A row in which there is nothing to learn.
    #[error(
        "row {row} of shape {shape:?} is given clean in {clean_frames} frames, which leaves nothing to predict; \
         use longer clips or fewer clean frames"
    )]
    AllClean {
        /// Row within the batch.
        row: usize,
        /// Channels, frames, height, width.
        shape: [usize; 4],
        /// Leading frames that are given.
        clean_frames: usize,
    },
    /// A KL term without a reference.
    #[error(
        "beta is above 0 but row {row} has no reference log-probabilities; score it with the adapter off"
    )]
    NoReference {
        /// Row within the batch.
        row: usize,
    },
}

/// One faulty setting, by the key a user wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// Name of the key within its table.
    pub key: &'static str,
    /// What is wrong with it and what would be right.
    pub message: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.key, self.message)
    }
}
