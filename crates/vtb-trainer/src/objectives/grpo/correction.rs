//! Correction for a sampler that is not quite the policy in training.
//!
//! A server runs other kernels, often in another precision, so that its log-probabilities `log μ` of the tokens it
//! sampled differ from those of the policy here when it sampled, `log π_old`. The policy term of each token is then
//! weighed by `w`, held constant, before the KL term is added (the order and the four modes of TRL):
//!
//! ```text
//! w_t = exp(log π_old,t - log μ_t)                    token
//! w   = exp(Σ_t (log π_old,t - log μ_t))              sequence, over the unmasked tokens of a completion
//! truncate: min(w, cap)        mask: w, but 0 above cap
//! floor, if set: 0 below it, in every mode
//! ```
//!
//! What losses are divided by stays the same: a masked token counts as one that teaches nothing.

use serde::{Deserialize, Serialize};

use crate::objectives::{Metrics, ObjectiveError};

/// How the difference between sampler and policy is corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplingCorrection {
    /// Not at all.
    #[default]
    None,
    /// Ratio of each token, cut at the cap.
    TokenTruncate,
    /// Ratio of each token; a token above the cap is left out.
    TokenMask,
    /// Ratio of the completion, cut at the cap.
    SequenceTruncate,
    /// Ratio of the completion; a completion above the cap is left out. What TRL does with a server by default.
    SequenceMask,
}

impl SamplingCorrection {
    fn whole(self) -> bool {
        matches!(self, Self::SequenceTruncate | Self::SequenceMask)
    }

    fn masks(self) -> bool {
        matches!(self, Self::TokenMask | Self::SequenceMask)
    }
}

/// What the correction reads of the settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CorrectionSettings {
    /// Kind of ratio, and what happens above the cap.
    pub mode: SamplingCorrection,
    /// Largest weight.
    pub cap: f64,
    /// Tokens or completions of a ratio below are left out.
    pub floor: Option<f64>,
}

impl CorrectionSettings {
    /// Weight of each completion token; masked ones get 0. `old` are the log-probabilities of the policy here when the
    /// completion was sampled, `sampled` those of the sampler. Without correction the list is empty: every weight is 1.
    ///
    /// # Errors
    /// If the lists of completion `row` differ in length.
    pub fn weights(
        &self,
        row: usize,
        old: &[f32],
        sampled: &[f32],
        mask: &[bool],
    ) -> Result<Vec<f64>, ObjectiveError> {
        if self.mode == SamplingCorrection::None {
            return Ok(Vec::new());
        }
        for (what, found) in [
            ("sampled log-probabilities", sampled.len()),
            ("mask entries", mask.len()),
        ] {
            if found != old.len() {
                return Err(ObjectiveError::Length {
                    row,
                    what,
                    found,
                    expected: old.len(),
                });
            }
        }
        let log_ratio = |t: usize| f64::from(old[t]) - f64::from(sampled[t]);
        let tokens = || (0..old.len()).filter(|t| mask[*t]);
        let whole = self
            .mode
            .whole()
            .then(|| self.bounded(tokens().map(log_ratio).sum::<f64>().exp()));
        let mut weights = vec![0.0; old.len()];
        for t in tokens() {
            weights[t] = whole.unwrap_or_else(|| self.bounded(log_ratio(t).exp()));
        }
        Ok(weights)
    }

    /// Comparisons are false for NaN, so that one comes out and the guard on losses sees it.
    fn bounded(&self, ratio: f64) -> f64 {
        if self.floor.is_some_and(|floor| ratio < floor) {
            return 0.0;
        }
        match ratio > self.cap {
            true if self.mode.masks() => 0.0,
            true => self.cap,
            false => ratio,
        }
    }
}

/// Sums over the weights of an optimizer step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CorrectionStats {
    tokens: usize,
    weight: f64,
    capped: usize,
    dropped: usize,
}

impl CorrectionStats {
    /// Adds the weights of a completion; nothing where they are empty.
    pub fn add(&mut self, settings: &CorrectionSettings, weights: &[f64], mask: &[bool]) {
        for (weight, _) in weights.iter().zip(mask).filter(|(_, m)| **m) {
            self.tokens += 1;
            self.weight += weight;
            self.capped += usize::from(*weight == settings.cap);
            self.dropped += usize::from(*weight == 0.0);
        }
    }

    /// `sampling/correction/weight_mean`, and the shares of tokens cut at the cap and left out; empty when no token was
    /// added.
    pub fn metrics(&self) -> Metrics {
        if self.tokens == 0 {
            return Metrics::new();
        }
        let share = |value: f64| value / self.tokens as f64;
        Metrics::from([
            (
                "sampling/correction/weight_mean".to_owned(),
                share(self.weight),
            ),
            (
                "sampling/correction/capped".to_owned(),
                share(self.capped as f64),
            ),
            (
                "sampling/correction/dropped".to_owned(),
                share(self.dropped as f64),
            ),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [bool; 4] = [true, true, false, true];

    fn weights(mode: SamplingCorrection, floor: Option<f64>, ratios: [f64; 4]) -> Vec<f64> {
        let settings = CorrectionSettings {
            mode,
            cap: 2.0,
            floor,
        };
        let old = ratios.map(|r| r.ln() as f32 - 1.0);
        settings.weights(0, &old, &[-1.0; 4], &MASK).unwrap()
    }

    #[track_caller]
    fn near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 1e-6, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn the_four_modes_by_hand() {
        use SamplingCorrection as C;
        let ratios = [0.5, 3.0, 9.0, 1.25];
        assert!(weights(C::None, None, ratios).is_empty());
        near(
            &weights(C::TokenTruncate, None, ratios),
            &[0.5, 2.0, 0.0, 1.25],
        );
        near(&weights(C::TokenMask, None, ratios), &[0.5, 0.0, 0.0, 1.25]);
        near(
            &weights(C::TokenMask, Some(0.6), ratios),
            &[0.0, 0.0, 0.0, 1.25],
        );
        // 0.5 · 3 · 1.25 = 1.875, the masked token left out.
        let whole = [1.875, 1.875, 0.0, 1.875];
        near(&weights(C::SequenceTruncate, None, ratios), &whole);
        near(&weights(C::SequenceMask, None, ratios), &whole);
        let large = [0.9, 3.0, 0.1, 1.25];
        near(
            &weights(C::SequenceTruncate, None, large),
            &[2.0, 2.0, 0.0, 2.0],
        );
        near(&weights(C::SequenceMask, None, large), &[0.0; 4]);
        let small = [0.5, 0.5, 9.0, 0.5];
        near(&weights(C::SequenceTruncate, Some(0.2), small), &[0.0; 4]);
    }

    #[test]
    fn not_a_number_is_not_hidden() {
        use SamplingCorrection as C;
        for mode in [
            C::TokenTruncate,
            C::TokenMask,
            C::SequenceTruncate,
            C::SequenceMask,
        ] {
            let found = weights(mode, Some(0.1), [f64::NAN, 1.0, 1.0, 1.0]);
            assert!(found[0].is_nan(), "{mode:?}");
        }
    }

    #[test]
    fn lists_must_match_and_shares_are_counted() {
        let settings = CorrectionSettings {
            mode: SamplingCorrection::TokenTruncate,
            cap: 2.0,
            floor: None,
        };
        assert!(settings.weights(3, &[0.0], &[], &[true]).is_err());
        assert!(settings.weights(3, &[0.0], &[0.0], &[]).is_err());
        let mut stats = CorrectionStats::default();
        stats.add(&settings, &[], &MASK);
        assert!(stats.metrics().is_empty());
        stats.add(&settings, &[2.0, 0.0, 5.0, 1.0], &MASK);
        let found = stats.metrics();
        assert_eq!(found["sampling/correction/weight_mean"], 1.0);
        assert_eq!(found["sampling/correction/capped"], 1.0 / 3.0);
        assert_eq!(found["sampling/correction/dropped"], 1.0 / 3.0);
    }
}
