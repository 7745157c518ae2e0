//! What can be wrong with a configuration or a training row.

/// Result with [`RewardError`].
pub type Result<T, E = RewardError> = std::result::Result<T, E>;

/// A fault in a reward's configuration or in the row it is to judge by.
#[derive(Debug, thiserror::Error)]
pub enum RewardError {
    /// No reward of that name is registered.
    #[error("there is no reward named `{name}`; did you mean `{nearest}`? Known: {known}")]
    UnknownReward {
        /// As written in the configuration.
        name: String,
        /// The registered name closest to it.
        nearest: String,
        /// All registered names, separated by commas.
        known: String,
    },
    /// A name is registered twice.
    #[error("a reward named `{name}` is registered already; give yours another name")]
    DuplicateReward {
        /// The name.
        name: String,
    },
    /// The parameters of a reward do not fit it.
    #[error("parameters of reward `{name}` are not usable: {reason}")]
    Params {
        /// The reward.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A weight is not a finite number.
    #[error("weight {weight} of reward `{name}` is not a finite number; write one like 0.5")]
    Weight {
        /// The reward.
        name: String,
        /// The weight.
        weight: f64,
    },
    /// A column of a training row does not say what it should.
    #[error("column `{column}` of the row {reason}")]
    Row {
        /// Name of the column.
        column: &'static str,
        /// What is wrong and what is expected.
        reason: String,
    },
}

impl RewardError {
    pub(crate) fn row(column: &'static str, reason: impl Into<String>) -> Self {
        Self::Row {
            column,
            reason: reason.into(),
        }
    }
}
