//! From an answer to a score: verifiable rewards for visual puzzles, each with named components.
//!
//! A [`Reward`] is a pure function of a [`Completion`] (what the policy wrote) and a [`Reference`]
//! (what a training row says is true). Answers are read by [`vtb_puzzle::answer`] and judged on the
//! record's options or graph, never on pixels. Rewards are made by name ([`Registry`]), so a
//! configuration can mix ours with a user's own ([`WeightedRewards`]).
//!
//! No tensors, no files, no clock, no randomness.

mod completion;
mod error;
mod reference;
mod registry;
mod rewards;
mod score;
mod weighted;

pub use completion::Completion;
pub use error::{Result, RewardError};
pub use reference::{ChoiceTruth, PathTruth, Reference, SequenceTruth, Truth};
pub use registry::{Registry, params};
pub use rewards::auto::{AutoParams, AutoReward};
pub use rewards::choice::{ChoiceParams, ChoiceReward};
pub use rewards::format::{FormatParams, FormatReward};
pub use rewards::legacy::{LegacyOverlap, legacy_choice, legacy_overlap, legacy_path};
pub use rewards::path::{PathParams, PathReward};
pub use rewards::places::{PlacesParams, PlacesReward};
pub use score::{Score, ScoreStatus};
pub use weighted::{RewardPart, RewardSpec, Total, WeightedRewards};

/// A way to score answers.
///
/// Implementations are total and deterministic: any completion gets a score, the same one every
/// time, and an answer that cannot be read is a low score with a status, not an error.
pub trait Reward: Send + Sync {
    /// Name in configurations and logs.
    fn name(&self) -> &str;

    /// Whether this reward has anything to say about rows like this one. Where it has not, it is
    /// left out of the weighted sum and logged as absent, not as zero.
    fn applies(&self, _reference: &Reference) -> bool {
        true
    }

    /// The score of one completion.
    fn score(&self, completion: &Completion<'_>, reference: &Reference) -> Score;
}
