//! Numbers of a GRPO step, under the names of TRL.

use super::advantage::{Advantages, describe};
use crate::objectives::{Metrics, ObjectiveError};

/// Sums over the micro-batches of an optimizer step; see [`LossStats::metrics`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LossStats {
    pub(super) loss: f64,
    pub(super) tokens: usize,
    pub(super) kl: Option<f64>,
    pub(super) entropy: f64,
    pub(super) entropy_tokens: usize,
    /// Ratios: one per token, or one per completion at sequence level.
    pub(super) units: usize,
    pub(super) low: usize,
    pub(super) high: usize,
    pub(super) low_min: Option<f64>,
    pub(super) high_max: Option<f64>,
}

impl LossStats {
    /// Adds another micro-batch of the same step.
    pub fn merge(&mut self, other: &Self) {
        self.loss += other.loss;
        self.tokens += other.tokens;
        self.kl = both(self.kl, other.kl, |a, b| a + b);
        self.entropy += other.entropy;
        self.entropy_tokens += other.entropy_tokens;
        self.units += other.units;
        self.low += other.low;
        self.high += other.high;
        self.low_min = both(self.low_min, other.low_min, f64::min);
        self.high_max = both(self.high_max, other.high_max, f64::max);
    }

    /// The step's loss so far.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// Unmasked completion tokens so far.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// `loss`; `kl` (if `beta > 0`) and `entropy` as token means; `clip_ratio/low_mean`, `high_mean` and
    /// `region_mean` as shares of all ratios of the step; `clip_ratio/low_min` and `high_max` as the extreme share
    /// among its completions (TRL takes the extreme over processes, which is the mean itself where there is one).
    pub fn metrics(&self) -> Metrics {
        let share = |count: usize| count as f64 / self.units.max(1) as f64;
        let mut metrics = named([
            ("loss", self.loss),
            ("clip_ratio/low_mean", share(self.low)),
            ("clip_ratio/low_min", self.low_min.unwrap_or(0.0)),
            ("clip_ratio/high_mean", share(self.high)),
            ("clip_ratio/high_max", self.high_max.unwrap_or(0.0)),
            ("clip_ratio/region_mean", share(self.low + self.high)),
        ]);
        if let Some(kl) = self.kl {
            metrics.insert("kl".to_owned(), kl / self.tokens.max(1) as f64);
        }
        if self.entropy_tokens > 0 {
            let mean = self.entropy / self.entropy_tokens as f64;
            metrics.insert("entropy".to_owned(), mean);
        }
        metrics
    }
}

/// How far the log-probabilities kept by the sampler lie from those of the training pass, token by token. With the
/// same weights both should agree to rounding; a growing gap means that the two do not run the same model.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SamplingStats {
    tokens: usize,
    difference: f64,
    difference_max: f64,
    ratio: f64,
    ratio_min: Option<f64>,
    ratio_max: Option<f64>,
}

impl SamplingStats {
    /// Adds the unmasked tokens of completion `row`: `trained` by the training pass before any update, `sampled` by
    /// the sampler.
    ///
    /// # Errors
    /// If the three lists differ in length.
    pub fn add(
        &mut self,
        row: usize,
        trained: &[f32],
        sampled: &[f32],
        mask: &[bool],
    ) -> Result<(), ObjectiveError> {
        for (what, found) in [
            ("sampled log-probabilities", sampled.len()),
            ("mask entries", mask.len()),
        ] {
            if found != trained.len() {
                return Err(ObjectiveError::Length {
                    row,
                    what,
                    found,
                    expected: trained.len(),
                });
            }
        }
        for (t, _) in mask.iter().enumerate().filter(|(_, m)| **m) {
            let log_ratio = f64::from(trained[t]) - f64::from(sampled[t]);
            let ratio = log_ratio.exp();
            self.tokens += 1;
            self.difference += log_ratio.abs();
            self.difference_max = self.difference_max.max(log_ratio.abs());
            self.ratio += ratio;
            self.ratio_min = both(self.ratio_min, Some(ratio), f64::min);
            self.ratio_max = both(self.ratio_max, Some(ratio), f64::max);
        }
        Ok(())
    }

    /// `sampling/sampling_logp_difference/mean|max` and `sampling/importance_sampling_ratio/min|mean|max`; empty
    /// when no token was added.
    pub fn metrics(&self) -> Metrics {
        let (Some(min), Some(max)) = (self.ratio_min, self.ratio_max) else {
            return Metrics::new();
        };
        let tokens = self.tokens as f64;
        named([
            (
                "sampling/sampling_logp_difference/mean",
                self.difference / tokens,
            ),
            ("sampling/sampling_logp_difference/max", self.difference_max),
            ("sampling/importance_sampling_ratio/min", min),
            (
                "sampling/importance_sampling_ratio/mean",
                self.ratio / tokens,
            ),
            ("sampling/importance_sampling_ratio/max", max),
        ])
    }
}

/// `reward` (mean of the groups' means), `reward_std` (mean of the groups' standard deviations),
/// `frac_reward_zero_std` (share of groups with `std <= zero_std`), and `rewards/{name}/mean|std` over the
/// completions each reward applies to (left out where it applies to none). `values[row][j]` is reward `j`,
/// unweighted.
///
/// # Errors
/// If a row of `values` has another number of rewards than `names`.
pub fn reward_metrics(
    names: &[&str],
    values: &[Vec<Option<f64>>],
    advantages: &Advantages,
    zero_std: f64,
) -> Result<Metrics, ObjectiveError> {
    let wrong = values.iter().position(|row| row.len() != names.len());
    if let Some(row) = wrong {
        return Err(ObjectiveError::Length {
            row,
            what: "rewards",
            found: values[row].len(),
            expected: names.len(),
        });
    }
    // Groups to which no reward applies say nothing about the mean.
    let scored = || advantages.groups.iter().filter(|g| g.scored > 0);
    let groups = advantages.groups.len();
    let alike = advantages.groups.iter().filter(|g| g.std <= zero_std);
    let mut metrics = named([
        ("reward", mean(scored().map(|g| g.mean))),
        ("reward_std", mean(scored().map(|g| g.std))),
        (
            "frac_reward_zero_std",
            alike.count() as f64 / groups.max(1) as f64,
        ),
    ]);
    for (j, name) in names.iter().enumerate() {
        let applies: Vec<_> = values
            .iter()
            .map(|row| row[j].filter(|v| !v.is_nan()))
            .collect();
        let stats = describe(&applies);
        if stats.scored > 0 {
            metrics.insert(format!("rewards/{name}/mean"), stats.mean);
            metrics.insert(format!("rewards/{name}/std"), stats.std);
        }
    }
    Ok(metrics)
}

/// Lengths in tokens, stop ids included: `completions/mean_length|min_length|max_length`, `clipped_ratio` (share
/// that reached no stop id), `mean_|min_|max_terminated_length` (0 when none ended by itself), and `num_tokens`.
/// Each completion is `(length, terminated)`; `num_tokens` counts prompt and completion tokens since the start of
/// the run.
pub fn completion_metrics(completions: &[(usize, bool)], num_tokens: u64) -> Metrics {
    let lengths = |wanted: fn(bool) -> bool| {
        let chosen = completions.iter().filter(move |(_, ended)| wanted(*ended));
        chosen.map(|(length, _)| *length as f64).collect::<Vec<_>>()
    };
    let (all, ended) = (lengths(|_| true), lengths(|ended| ended));
    let least = |list: &[f64]| list.iter().copied().reduce(f64::min).unwrap_or(0.0);
    let most = |list: &[f64]| list.iter().copied().reduce(f64::max).unwrap_or(0.0);
    let clipped = (all.len() - ended.len()) as f64 / all.len().max(1) as f64;
    named([
        ("completions/mean_length", mean(all.iter().copied())),
        ("completions/min_length", least(&all)),
        ("completions/max_length", most(&all)),
        ("completions/clipped_ratio", clipped),
        (
            "completions/mean_terminated_length",
            mean(ended.iter().copied()),
        ),
        ("completions/min_terminated_length", least(&ended)),
        ("completions/max_terminated_length", most(&ended)),
        ("num_tokens", num_tokens as f64),
    ])
}

fn named<const N: usize>(entries: [(&str, f64); N]) -> Metrics {
    entries.map(|(name, value)| (name.to_owned(), value)).into()
}

/// 0 for an empty list.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), v| (sum + v, count + 1));
    sum / count.max(1) as f64
}

fn both(a: Option<f64>, b: Option<f64>, join: fn(f64, f64) -> f64) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(join(a, b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::super::advantage::{advantages, combine_rewards};
    use super::super::config::ScaleRewards;
    use super::*;

    #[test]
    fn rewards_by_hand() {
        let values = [
            vec![Some(1.0), Some(0.5)],
            vec![Some(0.0), None],
            vec![Some(1.0), None],
            vec![Some(1.0), None],
        ];
        let total = combine_rewards(&values, &[1.0, 2.0]).unwrap();
        let made = advantages(&total, 2, ScaleRewards::Group, 1e-6).unwrap();
        let found = reward_metrics(&["path", "format"], &values, &made, 1e-6).unwrap();
        assert_eq!(found["reward"], 1.0);
        assert!((found["reward_std"] - 2.0_f64.sqrt() / 2.0).abs() < 1e-12);
        assert_eq!(found["frac_reward_zero_std"], 0.5);
        assert_eq!(found["rewards/path/mean"], 0.75);
        assert_eq!(found["rewards/path/std"], 0.5);
        assert_eq!(found["rewards/format/mean"], 0.5);
        assert_eq!(found["rewards/format/std"], 0.0);
        assert!(reward_metrics(&["path"], &values, &made, 1e-6).is_err());
    }

    #[test]
    fn lengths_by_hand() {
        let found = completion_metrics(&[(3, true), (8, false), (5, true), (8, false)], 99);
        assert_eq!(found["completions/mean_length"], 6.0);
        assert_eq!(found["completions/min_length"], 3.0);
        assert_eq!(found["completions/max_length"], 8.0);
        assert_eq!(found["completions/clipped_ratio"], 0.5);
        assert_eq!(found["completions/mean_terminated_length"], 4.0);
        assert_eq!(found["completions/min_terminated_length"], 3.0);
        assert_eq!(found["completions/max_terminated_length"], 5.0);
        assert_eq!(found["num_tokens"], 99.0);
        assert_eq!(
            completion_metrics(&[(8, false)], 0)["completions/max_terminated_length"],
            0.0
        );
        assert!(completion_metrics(&[], 0).values().all(|v| *v == 0.0));
    }

    #[test]
    fn sampler_and_trainer_are_compared() {
        let mut stats = SamplingStats::default();
        assert!(stats.metrics().is_empty());
        let ln2 = std::f32::consts::LN_2;
        stats
            .add(
                0,
                &[-1.0, -1.0, -9.0],
                &[-1.0, -1.0 - ln2, 0.0],
                &[true, true, false],
            )
            .unwrap();
        let found = stats.metrics();
        let near = |key: &str, value: f64| assert!((found[key] - value).abs() < 1e-6, "{key}");
        near(
            "sampling/sampling_logp_difference/mean",
            f64::from(ln2) / 2.0,
        );
        near("sampling/sampling_logp_difference/max", f64::from(ln2));
        near("sampling/importance_sampling_ratio/min", 1.0);
        near("sampling/importance_sampling_ratio/mean", 1.5);
        near("sampling/importance_sampling_ratio/max", 2.0);
        assert!(stats.add(4, &[0.0], &[], &[true]).is_err());
    }
}
