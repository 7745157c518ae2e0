//! Accuracy with an interval, and what several attempts give.

use serde::{Deserialize, Serialize};

/// Standard normal quantile of a two-sided 95 % interval.
pub const Z95: f64 = 1.96;

/// Wilson's score interval of a binomial proportion, within `[0, 1]`; `(0, 1)` when `n` is 0.
///
/// Unlike the normal approximation it stays honest near 0 and 1 and for small `n` (Wilson 1927).
pub fn wilson_interval(successes: usize, n: usize, z: f64) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    wilson_of_share(successes.min(n) as f64 / n as f64, n, z)
}

/// As [`wilson_interval`], for a share `p` in `[0, 1]` that need not be a whole number of `n`.
fn wilson_of_share(p: f64, n: usize, z: f64) -> (f64, f64) {
    let count = n as f64;
    let z2 = z * z;
    let centre = p + z2 / (2.0 * count);
    let spread = z * (p * (1.0 - p) / count + z2 / (4.0 * count * count)).sqrt();
    let scale = 1.0 + z2 / count;
    // Rounding must not push the ends past the proportion when it is exactly 0 or 1.
    let low = ((centre - spread) / scale).clamp(0.0, p);
    let high = ((centre + spread) / scale).clamp(p, 1.0);
    (low, high)
}

/// A proportion of successes with its 95 % Wilson interval, as `summary.json` holds it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Share of successes; 0 when nothing was tried.
    pub accuracy: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Trials.
    pub n: usize,
}

impl Accuracy {
    /// From counts; `successes` above `n` count as `n`.
    pub fn from_counts(successes: usize, n: usize) -> Self {
        let (low, high) = wilson_interval(successes, n, Z95);
        let accuracy = match n {
            0 => 0.0,
            _ => successes.min(n) as f64 / n as f64,
        };
        Self {
            accuracy,
            low,
            high,
            n,
        }
    }

    /// From a mean of `n` independent shares in `[0, 1]`; 0 when `n` is 0.
    ///
    /// A share varies no more than a single success, so the interval is rather too wide.
    pub fn from_mean(mean: f64, n: usize) -> Self {
        let accuracy = if n == 0 { 0.0 } else { mean.clamp(0.0, 1.0) };
        let (low, high) = match n {
            0 => (0.0, 1.0),
            _ => wilson_of_share(accuracy, n, Z95),
        };
        Self {
            accuracy,
            low,
            high,
            n,
        }
    }

    /// Whether every value of this interval lies above every value of `other`.
    pub fn clearly_above(&self, other: &Self) -> bool {
        self.low > other.high
    }
}

/// Probability that at least one of `k` attempts is right, drawn without replacement from `n`
/// attempts of which `c` are: `1 - C(n - c, k) / C(n, k)` (Chen et al. 2021). `None` when `k` is 0 or above `n`.
pub fn pass_at_k(n: usize, c: usize, k: usize) -> Option<f64> {
    if k == 0 || k > n {
        return None;
    }
    let wrong = n - c.min(n);
    if wrong < k {
        return Some(1.0);
    }
    let all_wrong: f64 = (0..k)
        .map(|i| (wrong - i) as f64 / (n - i) as f64)
        .product();
    Some(1.0 - all_wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pass_at_k_counts_the_draws() {
        assert_eq!(pass_at_k(4, 1, 1), Some(0.25));
        // Of the six pairs among four attempts, three hold the right one.
        assert_eq!(pass_at_k(4, 1, 2), Some(0.5));
        assert_eq!(pass_at_k(4, 3, 2), Some(1.0));
        assert_eq!(pass_at_k(4, 0, 4), Some(0.0));
        assert_eq!((pass_at_k(2, 1, 3), pass_at_k(2, 1, 0)), (None, None));
    }

    #[test]
    fn means_of_whole_successes_are_counts() {
        assert_eq!(Accuracy::from_mean(0.25, 8), Accuracy::from_counts(2, 8));
        assert_eq!(Accuracy::from_mean(0.7, 0), Accuracy::from_counts(0, 0));
    }

    #[test]
    fn known_values() {
        // 8 of 10: (0.8 + 0.19208 ± 1.96·sqrt(0.016 + 0.009604)) / 1.38416.
        let (low, high) = wilson_interval(8, 10, 1.96);
        assert!((low - 0.490_157).abs() < 1e-5, "{low}");
        assert!((high - 0.943_319).abs() < 1e-5, "{high}");
    }

    #[test]
    fn ends_stay_inside() {
        assert_eq!(wilson_interval(0, 0, Z95), (0.0, 1.0));
        assert_eq!(wilson_interval(0, 400, Z95).0, 0.0);
        assert_eq!(wilson_interval(400, 400, Z95).1, 1.0);
        assert!(wilson_interval(0, 400, Z95).1 > 0.0);
        assert_eq!(wilson_interval(7, 5, Z95), wilson_interval(5, 5, Z95));
    }

    #[test]
    fn more_trials_narrow_it_and_clear_gains_are_seen() {
        let few = Accuracy::from_counts(20, 40);
        let many = Accuracy::from_counts(200, 400);
        assert!(many.high - many.low < few.high - few.low);
        assert!(Accuracy::from_counts(300, 400).clearly_above(&many));
        assert!(!Accuracy::from_counts(205, 400).clearly_above(&many));
    }

    #[test]
    fn json_has_the_four_keys() {
        let json = serde_json::to_value(Accuracy::from_counts(1, 2)).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["accuracy", "high", "low", "n"]);
    }
}
