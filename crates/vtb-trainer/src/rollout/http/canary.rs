//! Whether the policy that answers is the one that trains.
//!
//! A server can load an adapter and then answer with the base model, or serve another model altogether, without any
//! error. So after every load a few completions are sampled and scored here with the adapter on (`a`) and off (`b`);
//! `s` are the server's log-probabilities of the same tokens. Two questions are asked of them:
//!
//! 1. How much of what the adapter changes is in the answer? The least-squares share `β = Σ(s-b)(a-b) / Σ(a-b)²` is 1
//!    where the adapter acts and 0 where the base model answers. Rounding of the two engines enters through its
//!    standard error `√(Σ(s-b-β(a-b))² / (n-1) / Σ(a-b)²)`, so that an effect too small to be told from rounding gives
//!    no verdict, and one far below any fixed tolerance may still give one.
//! 2. Is the mean of `|s-a|` within a tolerance?

/// Tokens below which the first question is not asked.
const FEWEST: usize = 4;
/// Standard errors that must lie between the share and 1.
const CERTAIN: f64 = 4.0;
/// A share below is nearer to the base model than to the adapter.
const HALF: f64 = 0.5;

/// Log-probabilities of the same tokens by three policies.
#[derive(Debug, Default)]
pub(super) struct Canary {
    /// Each: the server, ours with the adapter, ours without.
    tokens: Vec<[f64; 3]>,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Verdict {
    /// The policy in training.
    Ours,
    /// The base model, with so much of the adapter's effect.
    Base { share: f64 },
    /// Another policy, so many nats away in the mean.
    Other { difference: f64 },
}

impl Canary {
    pub(super) fn add(&mut self, served: &[f32], on: &[f32], off: &[f32]) {
        let rows = served.iter().zip(on).zip(off);
        self.tokens
            .extend(rows.map(|((s, a), b)| [*s, *a, *b].map(f64::from)));
    }

    pub(super) fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// Mean of `|s-a|`.
    pub(super) fn difference(&self) -> f64 {
        let sum: f64 = self.tokens.iter().map(|[s, a, _]| (s - a).abs()).sum();
        sum / self.tokens.len().max(1) as f64
    }

    pub(super) fn verdict(&self, tolerance: f64) -> Verdict {
        if let Some((share, error)) = self.share()
            && share < HALF
            && 1.0 - share > CERTAIN * error
        {
            return Verdict::Base { share };
        }
        let difference = self.difference();
        // Written so that NaN is refused.
        match difference <= tolerance {
            true => Verdict::Ours,
            false => Verdict::Other { difference },
        }
    }

    /// Share of the adapter's effect and its standard error; `None` where the adapter has no effect.
    fn share(&self) -> Option<(f64, f64)> {
        let sum = |f: &dyn Fn(&[f64; 3]) -> f64| self.tokens.iter().map(f).sum::<f64>();
        let effect = sum(&|[_, a, b]| (a - b) * (a - b));
        if effect == 0.0 || self.tokens.len() < FEWEST {
            return None;
        }
        let share = sum(&|[s, a, b]| (s - b) * (a - b)) / effect;
        let left = sum(&|[s, a, b]| (s - b - share * (a - b)).powi(2));
        let error = (left / (self.tokens.len() - 1) as f64 / effect).sqrt();
        Some((share, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty tokens whose adapter effect has this size, answered with `share` of it and with rounding of `noise`.
    fn canary(effect: f64, share: f64, noise: f64) -> Canary {
        let mut canary = Canary::default();
        for i in 0..20_usize {
            let wave = |k: usize| ((i * k + 3) % 11) as f64 / 5.0 - 1.0;
            let off = -1.0 - 0.1 * wave(7);
            let on = off + effect * wave(5);
            let served = off + share * (on - off) + noise * wave(3);
            canary.add(&[served as f32], &[on as f32], &[off as f32]);
        }
        canary
    }

    #[test]
    fn the_policy_in_training_passes() {
        for effect in [0.0, 1e-4, 0.01, 1.0] {
            for noise in [0.0, 1e-4, 0.02] {
                let found = canary(effect, 1.0, noise).verdict(0.1);
                assert_eq!(found, Verdict::Ours, "{effect} {noise}");
            }
        }
    }

    #[test]
    fn the_base_model_is_found_far_below_the_tolerance() {
        for (effect, noise) in [(1.0, 0.02), (0.05, 0.01), (0.002, 1e-4)] {
            let found = canary(effect, 0.0, noise).verdict(0.1);
            assert!(
                matches!(found, Verdict::Base { share } if share.abs() < 0.3),
                "{found:?}"
            );
        }
        // An effect that drowns in rounding gives no verdict.
        assert_eq!(canary(1e-4, 0.0, 0.02).verdict(0.1), Verdict::Ours);
    }

    #[test]
    fn another_policy_is_found() {
        let found = canary(0.0, 1.0, 1.0).verdict(0.1);
        assert!(matches!(found, Verdict::Other { difference } if difference > 0.3));
        let found = canary(0.01, 1.0, f64::NAN).verdict(0.1);
        assert!(matches!(found, Verdict::Other { difference } if difference.is_nan()));
    }
}
