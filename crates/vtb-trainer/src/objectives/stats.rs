//! Accuracy with an interval, for evaluations.

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
    let count = n as f64;
    let p = successes.min(n) as f64 / count;
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

    /// Whether every value of this interval lies above every value of `other`.
    pub fn clearly_above(&self, other: &Self) -> bool {
        self.low > other.high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
