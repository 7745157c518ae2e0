//! Several rewards summed with weights.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Result, RewardError};
use crate::registry::Registry;
use crate::score::{Score, ScoreStatus};
use crate::{Completion, Reference, Reward};

/// One entry of a configuration's list of rewards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardSpec {
    /// Registered name.
    pub name: String,
    /// Factor in the sum.
    #[serde(default = "one")]
    pub weight: f64,
    /// Parameters of the reward.
    #[serde(default)]
    pub params: Value,
}

fn one() -> f64 {
    1.0
}

/// Rewards and their weights.
pub struct WeightedRewards {
    rewards: Vec<(Box<dyn Reward>, f64)>,
}

/// One reward's part of a total.
#[derive(Debug, Clone, PartialEq)]
pub struct RewardPart {
    /// Name of the reward.
    pub name: String,
    /// Its factor in the sum.
    pub weight: f64,
    /// Its score; `None` where it does not apply to the row.
    pub score: Option<Score>,
}

/// The weighted sum and what it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Total {
    /// Sum of weight times value over the rewards that apply.
    pub value: f64,
    /// Every reward, in the order of the configuration.
    pub parts: Vec<RewardPart>,
}

impl Total {
    /// Rewards that failed on this completion.
    #[must_use]
    pub fn errors(&self) -> usize {
        let failed = |part: &&RewardPart| {
            let status = part.score.as_ref().map(|score| score.status);
            status == Some(ScoreStatus::Error)
        };
        self.parts.iter().filter(failed).count()
    }

    /// Values for a log: `name` for each reward (`None` where it does not apply), then
    /// `name/component` for its components.
    #[must_use]
    pub fn named_values(&self) -> Vec<(String, Option<f64>)> {
        let mut values = Vec::new();
        for part in &self.parts {
            let value = part.score.as_ref().map(|score| score.value);
            values.push((part.name.clone(), value));
            for (component, value) in part.score.iter().flat_map(|score| &score.components) {
                values.push((format!("{}/{component}", part.name), Some(*value)));
            }
        }
        values
    }
}

impl WeightedRewards {
    /// Rewards that exist already.
    ///
    /// # Errors
    /// [`RewardError::Weight`] if a weight is not finite.
    pub fn new(rewards: Vec<(Box<dyn Reward>, f64)>) -> Result<Self> {
        match rewards.iter().find(|(_, weight)| !weight.is_finite()) {
            Some((reward, weight)) => Err(RewardError::Weight {
                name: reward.name().to_owned(),
                weight: *weight,
            }),
            None => Ok(Self { rewards }),
        }
    }

    /// The rewards of a configuration.
    ///
    /// # Errors
    /// As [`Registry::build`] and [`WeightedRewards::new`].
    pub fn from_specs(registry: &Registry, specs: &[RewardSpec]) -> Result<Self> {
        let made = specs.iter().map(|spec| {
            let reward = registry.build(&spec.name, &spec.params)?;
            Ok((reward, spec.weight))
        });
        Self::new(made.collect::<Result<_>>()?)
    }

    /// Names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rewards.iter().map(|(reward, _)| reward.name())
    }

    /// Scores one completion by every reward that applies. A reward that panics or gives no finite
    /// number fails on this completion alone: it counts 0, with status [`ScoreStatus::Error`].
    #[must_use]
    pub fn total(&self, completion: &Completion<'_>, reference: &Reference) -> Total {
        let part = |(reward, weight): &(Box<dyn Reward>, f64)| RewardPart {
            name: reward.name().to_owned(),
            weight: *weight,
            score: guarded(reward.as_ref(), completion, reference),
        };
        let parts: Vec<RewardPart> = self.rewards.iter().map(part).collect();
        let terms = parts
            .iter()
            .filter_map(|part| Some(part.weight * part.score.as_ref()?.value));
        Total {
            value: terms.sum::<f64>() + 0.0,
            parts,
        }
    }
}

fn guarded(
    reward: &dyn Reward,
    completion: &Completion<'_>,
    reference: &Reference,
) -> Option<Score> {
    let run = || {
        let applies = reward.applies(reference);
        applies.then(|| reward.score(completion, reference))
    };
    let score = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(score) => score?,
        Err(payload) => {
            let said = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied());
            return Some(Score::error(format!(
                "the reward panicked: {}",
                said.unwrap_or("?")
            )));
        }
    };
    match score.status {
        ScoreStatus::NotApplicable => None,
        _ if !score.value.is_finite() => Some(Score::error(format!(
            "the reward gave {}, not a finite number",
            score.value
        ))),
        _ => Some(score),
    }
}
