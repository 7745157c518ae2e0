//! Group-relative policy optimisation with verifiable rewards.
//!
//! The order of a step: sample G completions per prompt, score them ([`combine_rewards`]), drop groups that teach
//! nothing ([`DynamicSampling`]), compare within groups ([`advantages`]), then one or more passes of the clipped
//! loss ([`grpo_loss`]). Formulas and defaults follow TRL and ms-swift where they agree; where they do not, the
//! item says which one it follows.

mod advantage;
mod completion;
mod config;
mod correction;
mod filter;
mod guard;
mod loss;
mod metrics;
mod overlong;
mod ratio;

pub use advantage::{
    ADVANTAGE_EPSILON, Advantages, GroupStats, advantages, combine_rewards, group_stats,
};
pub use completion::{CompletionMask, completion_mask, repetition_rate};
pub use config::{GrpoConfig, ImportanceLevel, LossType, ScaleRewards};
pub use correction::{CorrectionSettings, CorrectionStats, SamplingCorrection};
pub use filter::{DynamicSampling, Filtered, Next};
pub use guard::collapse;
pub use loss::{GrpoLoss, LossRow, LossSettings, StepCounts, grpo_loss, grpo_loss_weighted};
pub use metrics::{LossStats, SamplingStats, completion_metrics, reward_metrics};
pub use overlong::overlong_charge;
