//! Rewards to advantages.

use super::config::ScaleRewards;
use crate::objectives::ObjectiveError;

/// Added to the standard deviation before dividing by it, as in TRL and ms-swift.
pub const ADVANTAGE_EPSILON: f64 = 1e-4;

/// Mean and spread of the rewards of one prompt's completions.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GroupStats {
    /// Mean of the rewards that apply; 0 when none does.
    pub mean: f64,
    /// Unbiased (n-1) standard deviation; 0 with fewer than two rewards.
    pub std: f64,
    /// Completions with a reward.
    pub scored: usize,
}

/// Advantages of a batch and what they were made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Advantages {
    /// One per completion; 0 without a reward, and in groups that are all alike.
    pub values: Vec<f64>,
    /// Statistics of each group, in order.
    pub groups: Vec<GroupStats>,
    /// Standard deviation over the whole batch.
    pub batch_std: f64,
}

/// Weighted sum of each completion's rewards. `values[row][j]` is reward `j`; `None` and NaN mean "does not apply"
/// and are left out of the sum. A completion to which none applies gets `None`.
///
/// # Errors
/// If a row has another number of rewards than `weights`, or a reward is infinite.
pub fn combine_rewards(
    values: &[Vec<Option<f64>>],
    weights: &[f64],
) -> Result<Vec<Option<f64>>, ObjectiveError> {
    values
        .iter()
        .enumerate()
        .map(|(row, rewards)| {
            if rewards.len() != weights.len() {
                return Err(ObjectiveError::Length {
                    row,
                    what: "rewards",
                    found: rewards.len(),
                    expected: weights.len(),
                });
            }
            let mut total = None;
            for (reward, (value, weight)) in rewards.iter().zip(weights).enumerate() {
                match value {
                    Some(v) if v.is_infinite() => {
                        return Err(ObjectiveError::Reward { row, reward });
                    }
                    Some(v) if !v.is_nan() => total = Some(total.unwrap_or(0.0) + weight * v),
                    _ => {}
                }
            }
            Ok(total)
        })
        .collect()
}

/// Statistics of consecutive groups of `group_size` rewards.
///
/// # Errors
/// If `group_size` is below 2 or does not divide the number of rewards.
pub fn group_stats(
    rewards: &[Option<f64>],
    group_size: usize,
) -> Result<Vec<GroupStats>, ObjectiveError> {
    group_count(rewards.len(), group_size)?;
    Ok(rewards.chunks(group_size).map(describe).collect())
}

/// Advantages of consecutive groups of `group_size` completions: the reward less the group's mean, divided by
/// `std + 1e-4` as `scale` says. Groups with `std <= zero_std` get exact zeros: their differences are rounding.
///
/// # Errors
/// If `group_size` is below 2 or does not divide the number of rewards.
pub fn advantages(
    rewards: &[Option<f64>],
    group_size: usize,
    scale: ScaleRewards,
    zero_std: f64,
) -> Result<Advantages, ObjectiveError> {
    let groups = group_stats(rewards, group_size)?;
    let batch_std = describe(rewards).std;
    let values = rewards
        .iter()
        .enumerate()
        .map(|(row, reward)| {
            let group = &groups[row / group_size];
            let divisor = match scale {
                ScaleRewards::Group => group.std + ADVANTAGE_EPSILON,
                ScaleRewards::Batch => batch_std + ADVANTAGE_EPSILON,
                ScaleRewards::None => 1.0,
            };
            match reward {
                Some(r) if group.std > zero_std => (r - group.mean) / divisor,
                _ => 0.0,
            }
        })
        .collect();
    Ok(Advantages {
        values,
        groups,
        batch_std,
    })
}

pub(super) fn group_count(rows: usize, group_size: usize) -> Result<usize, ObjectiveError> {
    if group_size < 2 {
        return Err(ObjectiveError::GroupSize(group_size));
    }
    if !rows.is_multiple_of(group_size) {
        return Err(ObjectiveError::Groups { rows, group_size });
    }
    Ok(rows / group_size)
}

/// Two passes, so that a large common offset costs no digits.
pub(super) fn describe(rewards: &[Option<f64>]) -> GroupStats {
    let present = || rewards.iter().flatten().copied();
    let scored = present().count();
    if scored == 0 {
        return GroupStats::default();
    }
    let mean = present().sum::<f64>() / scored as f64;
    let std = match scored {
        1 => 0.0,
        n => (present().map(|r| (r - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt(),
    };
    GroupStats { mean, std, scored }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: f64 = 1e-6;

    fn some(values: &[f64]) -> Vec<Option<f64>> {
        values.iter().copied().map(Some).collect()
    }

    #[test]
    fn hand_values_of_the_three_scalings() {
        // Groups (0, 1) and (0, 4): means 0.5 and 2, unbiased stds sqrt(0.5) and sqrt(8);
        // batch mean 1.25, batch variance (1.5625·2 + 0.0625 + 7.5625) / 3.
        let rewards = some(&[0.0, 1.0, 0.0, 4.0]);
        let by = |scale| advantages(&rewards, 2, scale, ZERO).unwrap().values;
        assert_eq!(by(ScaleRewards::None), [-0.5, 0.5, -2.0, 2.0]);
        let (a, b) = (0.5 / (0.5_f64.sqrt() + 1e-4), 2.0 / (8.0_f64.sqrt() + 1e-4));
        assert_eq!(by(ScaleRewards::Group), [-a, a, -b, b]);
        let std = (10.75_f64 / 3.0).sqrt() + 1e-4;
        for (found, centred) in by(ScaleRewards::Batch).iter().zip([-0.5, 0.5, -2.0, 2.0]) {
            assert!((found - centred / std).abs() < 1e-12);
        }
    }

    #[test]
    fn equal_rewards_give_exact_zeros() {
        let noisy = some(&[0.1 + 0.2, 0.3, 0.3, 0.3, 0.0, 1.0, 0.0, 1.0]);
        for scale in [ScaleRewards::Group, ScaleRewards::Batch, ScaleRewards::None] {
            let found = advantages(&noisy, 4, scale, ZERO).unwrap();
            assert_eq!(found.values[..4], [0.0; 4], "{scale:?}");
            assert!(found.values[4..].iter().all(|a| *a != 0.0));
        }
    }

    #[test]
    fn absent_rewards_are_left_out() {
        let values = [
            vec![Some(1.0), None],
            vec![Some(f64::NAN), Some(2.0)],
            vec![None, Some(f64::NAN)],
            vec![Some(0.0), Some(0.5)],
        ];
        let total = combine_rewards(&values, &[1.0, 0.5]).unwrap();
        assert_eq!(total, [Some(1.0), Some(1.0), None, Some(0.25)]);
        let found = advantages(&total, 4, ScaleRewards::None, ZERO).unwrap();
        assert_eq!(found.groups[0].scored, 3);
        assert_eq!(found.values, [0.25, 0.25, 0.0, -0.5]);
    }

    #[test]
    fn a_lone_reward_has_nothing_to_be_compared_with() {
        let rewards = [None, Some(3.0), None, None];
        let found = advantages(&rewards, 2, ScaleRewards::Group, ZERO).unwrap();
        assert_eq!(found.values, [0.0; 4]);
        assert_eq!(found.groups[1], GroupStats::default());
    }

    #[test]
    fn faults_are_named() {
        let bad = combine_rewards(&[vec![Some(f64::INFINITY)]], &[1.0]).unwrap_err();
        assert_eq!(bad, ObjectiveError::Reward { row: 0, reward: 0 });
        assert!(combine_rewards(&[vec![None]], &[1.0, 1.0]).is_err());
        assert_eq!(
            group_stats(&some(&[1.0, 2.0]), 1).unwrap_err(),
            ObjectiveError::GroupSize(1)
        );
        let uneven = group_stats(&some(&[1.0, 2.0, 3.0]), 2).unwrap_err();
        assert!(
            uneven.to_string().contains("num_generations = 2"),
            "{uneven}"
        );
    }

    #[test]
    fn group_advantages_do_not_feel_scale_or_offset() {
        let base = [0.0, 0.2, 0.7, 1.0];
        let moved: Vec<_> = base.iter().map(|r| 1000.0 * r + 5.0e6).collect();
        let a = advantages(&some(&base), 4, ScaleRewards::Group, ZERO).unwrap();
        let b = advantages(&some(&moved), 4, ScaleRewards::Group, ZERO).unwrap();
        for (x, y) in a.values.iter().zip(&b.values) {
            // The added 1e-4 is all that differs.
            assert!((x - y).abs() < 1e-3, "{x} {y}");
        }
    }
}
