//! The clipped surrogate and the KL estimate of one token, with their derivatives.

use super::loss::LossSettings;

/// Log differences to the reference are clamped to this before they are exponentiated.
const MAX_KL_LOG_DIFFERENCE: f64 = 20.0;

/// A value and its derivative by the log-probability it depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Term {
    pub(super) value: f64,
    pub(super) derivative: f64,
}

/// Where a ratio met the clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clip {
    None,
    /// Below `1 - ε_low` with a negative advantage.
    Low,
    /// Above `1 + ε_high` with a positive advantage.
    High,
}

/// `-min(min(ρ, Δ)·A, clip(ρ, 1-ε_low, 1+ε_high)·A)` with `ρ = exp(log_ratio)`; the derivative is by `log_ratio`.
///
/// Written in comparisons that are false for NaN, so that a NaN comes out and the finite-loss guard sees it
/// (`f64::min` would swallow it).
pub(super) fn surrogate(log_ratio: f64, advantage: f64, settings: &LossSettings) -> (Term, Clip) {
    let ratio = log_ratio.exp();
    let (low, high) = (1.0 - settings.epsilon_low, 1.0 + settings.epsilon_high);
    let capped = match settings.delta {
        Some(delta) if ratio > delta => constant(delta * advantage),
        _ => moving(ratio * advantage),
    };
    let clipped = if ratio < low {
        constant(low * advantage)
    } else if ratio > high {
        constant(high * advantage)
    } else {
        moving(ratio * advantage)
    };
    let chosen = if capped.value < clipped.value {
        capped
    } else {
        clipped
    };
    let clip = match () {
        () if ratio < low && advantage < 0.0 => Clip::Low,
        () if ratio > high && advantage > 0.0 => Clip::High,
        () => Clip::None,
    };
    let loss = Term {
        value: -chosen.value,
        derivative: -chosen.derivative,
    };
    (loss, clip)
}

/// `-min(ρ, 1+ε_high)·A·logp`, the weight before `logp` held constant (CISPO); the derivative is by `logp`.
pub(super) fn weighted(
    log_ratio: f64,
    logp: f64,
    advantage: f64,
    settings: &LossSettings,
) -> (Term, Clip) {
    let (ratio, high) = (log_ratio.exp(), 1.0 + settings.epsilon_high);
    let is_high = ratio > high;
    let weight = if is_high { high } else { ratio };
    let clip = match is_high && advantage > 0.0 {
        true => Clip::High,
        false => Clip::None,
    };
    let term = Term {
        value: -weight * advantage * logp,
        derivative: -weight * advantage,
    };
    (term, clip)
}

/// The k3 estimate of KL(π‖π_ref), `exp(d) - d - 1` with `d = logπ_ref - logπ` clamped to ±20; derivative by `logπ`.
pub(super) fn k3(logp: f64, ref_logp: f64) -> Term {
    let difference = ref_logp - logp;
    let d = difference.clamp(-MAX_KL_LOG_DIFFERENCE, MAX_KL_LOG_DIFFERENCE);
    // exp_m1 keeps the digits of small differences, where k3 is of second order.
    let growth = d.exp_m1();
    Term {
        value: growth - d,
        derivative: if d == difference { -growth } else { 0.0 },
    }
}

/// `ρ·A`: its derivative by `ln ρ` is itself.
fn moving(value: f64) -> Term {
    Term {
        value,
        derivative: value,
    }
}

fn constant(value: f64) -> Term {
    Term {
        value,
        derivative: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objectives::grpo::GrpoConfig;

    fn settings(delta: Option<f64>) -> LossSettings {
        GrpoConfig {
            epsilon: 0.2,
            epsilon_high: Some(0.28),
            delta,
            ..GrpoConfig::default()
        }
        .loss_settings()
    }

    #[track_caller]
    fn check(ratio: f64, advantage: f64, delta: Option<f64>, value: f64, slope: f64, clip: Clip) {
        let (term, found) = surrogate(f64::ln(ratio), advantage, &settings(delta));
        assert!((term.value - value).abs() < 1e-12, "{term:?}");
        assert!((term.derivative - slope).abs() < 1e-12, "{term:?}");
        assert_eq!(found, clip);
    }

    #[test]
    fn each_region_by_hand() {
        check(1.0, 2.0, None, -2.0, -2.0, Clip::None);
        check(1.0, -2.0, None, 2.0, 2.0, Clip::None);
        // Good and already likelier: clipped. Bad and already rarer: clipped.
        check(1.5, 2.0, None, -2.56, 0.0, Clip::High);
        check(0.5, -2.0, None, 1.6, 0.0, Clip::Low);
        // The other two sides are pulled back with full force.
        check(0.5, 2.0, None, -1.0, -1.0, Clip::None);
        check(1.5, -2.0, None, 3.0, 3.0, Clip::None);
        // delta bounds the last of them only.
        check(5.0, -2.0, Some(3.0), 6.0, 0.0, Clip::None);
        check(2.0, -2.0, Some(3.0), 4.0, 4.0, Clip::None);
        check(5.0, 2.0, Some(3.0), -2.56, 0.0, Clip::High);
        check(5.0, 0.0, Some(3.0), 0.0, 0.0, Clip::None);
    }

    #[test]
    fn a_capped_weight_keeps_the_gradient() {
        for (ratio, advantage, weight, clip) in [
            (1.0, 2.0, 1.0, Clip::None),
            (0.5, -2.0, 0.5, Clip::None),
            (1.5, 2.0, 1.28, Clip::High),
            (1.5, -2.0, 1.28, Clip::None),
        ] {
            let (term, found) = weighted(f64::ln(ratio), -3.0, advantage, &settings(None));
            assert!(
                (term.value - 3.0 * weight * advantage).abs() < 1e-12,
                "{term:?}"
            );
            assert!(
                (term.derivative + weight * advantage).abs() < 1e-12,
                "{term:?}"
            );
            assert_eq!(found, clip);
        }
        let (term, _) = weighted(f64::NAN, -3.0, 1.0, &settings(None));
        assert!(term.value.is_nan());
    }

    #[test]
    fn not_a_number_is_not_hidden() {
        for delta in [None, Some(3.0)] {
            let (term, _) = surrogate(f64::NAN, 1.0, &settings(delta));
            assert!(term.value.is_nan());
        }
        assert!(k3(f64::NAN, -1.0).value.is_nan());
    }

    #[test]
    fn k3_by_hand() {
        assert_eq!(
            k3(-1.0, -1.0),
            Term {
                value: 0.0,
                derivative: 0.0
            }
        );
        let term = k3(-2.0, -1.0);
        let e = std::f64::consts::E;
        assert!((term.value - (e - 2.0)).abs() < 1e-12);
        assert!((term.derivative - (1.0 - e)).abs() < 1e-12);
        assert!(k3(-1.0, -2.0).value > 0.0);
        let far = k3(-60.0, -1.0);
        assert_eq!(far.value, 20.0_f64.exp_m1() - 20.0);
        assert_eq!(far.derivative, 0.0);
        assert_eq!(k3(-1.0, -60.0).derivative, 0.0);
    }
}
