//! Comparing what lanes computed, against stated tolerances.

use burn::tensor::DType;
use serde::Serialize;

use super::lane::Lane;
use super::options::Section;
use super::report::Report;
use crate::guard::guard;

/// The lane that is believed, and those compared with it.
pub(super) struct Lanes {
    pub(super) reference: Lane,
    pub(super) tested: Vec<Lane>,
}

/// How far rounding may carry a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Elementwise operations and reductions in f32.
    Elementwise,
    /// Products over long axes: GPUs may round f32 operands to TF32 (10 bits of mantissa).
    Product,
    /// A whole model.
    Model,
}

/// One tensor a check looks at.
pub(super) struct Output {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) values: Vec<f32>,
}

/// Largest and relative errors a check allows, and the least cosine.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Limits {
    /// Of `‖got - want‖ / ‖want‖`.
    pub(super) relative: f64,
    /// Of the angle between the two.
    pub(super) cosine: f64,
}

impl Limits {
    pub(super) fn of(kind: Kind, dtype: DType) -> Self {
        let (relative, cosine) = match (dtype, kind) {
            (DType::F32, Kind::Elementwise) => (1e-5, 0.999_999_9),
            (DType::F32, Kind::Product) => (2e-3, 0.999_99),
            (DType::F32, Kind::Model) => (1e-2, 0.999_9),
            (_, Kind::Elementwise) => (1e-2, 0.999_9),
            (_, Kind::Product) => (2e-2, 0.999_5),
            (_, Kind::Model) => (1e-1, 0.995),
        };
        Self { relative, cosine }
    }
}

/// How far one list of numbers lies from another.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Errors {
    /// Largest absolute difference.
    pub(super) max_abs: f64,
    /// `‖got - want‖ / ‖want‖`.
    pub(super) relative: f64,
    /// Cosine of the angle between the two.
    pub(super) cosine: f64,
}

impl Errors {
    /// NaN throughout when the lengths differ.
    pub(super) fn between(got: &[f32], want: &[f32]) -> Self {
        if got.len() != want.len() {
            return Self {
                max_abs: f64::NAN,
                relative: f64::NAN,
                cosine: f64::NAN,
            };
        }
        let (mut max_abs, mut off, mut gg, mut ww, mut gw) = (0.0f64, 0.0, 0.0, 0.0, 0.0);
        for (&g, &w) in got.iter().zip(want) {
            let (g, w) = (f64::from(g), f64::from(w));
            // `f64::max` would drop a NaN.
            let d = (g - w).abs();
            max_abs = if d.is_nan() || d > max_abs {
                d
            } else {
                max_abs
            };
            off += d * d;
            gg += g * g;
            ww += w * w;
            gw += g * w;
        }
        if ww == 0.0 && gg == 0.0 {
            return Self {
                max_abs,
                relative: 0.0,
                cosine: 1.0,
            };
        }
        Self {
            max_abs,
            relative: (off / ww).sqrt(),
            cosine: gw / (gg * ww).sqrt(),
        }
    }

    /// NaN is within no limit.
    pub(super) fn within(&self, limits: Limits) -> bool {
        self.relative <= limits.relative && self.cosine >= limits.cosine
    }
}

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Comparison {
    pub(super) section: Section,
    pub(super) check: &'static str,
    pub(super) output: &'static str,
    pub(super) lane: String,
    #[serde(flatten)]
    pub(super) errors: Errors,
    pub(super) limits: Limits,
    pub(super) pass: bool,
}

/// Runs one check on every lane.
pub(super) fn check(
    section: Section,
    name: &'static str,
    lanes: &Lanes,
    run: impl Fn(&Lane) -> anyhow::Result<Vec<Output>>,
    report: &mut Report,
) {
    let wanted = match guard(|| run(&lanes.reference)) {
        Ok(wanted) => wanted,
        Err(why) => return report.failure(section, name, &lanes.reference.label, why),
    };
    for lane in &lanes.tested {
        match guard(|| run(lane)) {
            Ok(got) => compare(section, name, lane, &wanted, &got, report),
            Err(why) => report.failure(section, name, &lane.label, why),
        }
    }
}

fn compare(
    section: Section,
    check: &'static str,
    lane: &Lane,
    wanted: &[Output],
    got: &[Output],
    report: &mut Report,
) {
    for (want, got) in wanted.iter().zip(got) {
        let errors = Errors::between(&got.values, &want.values);
        let limits = Limits::of(want.kind, lane.dtype);
        report.comparison(Comparison {
            section,
            check,
            output: want.name,
            lane: lane.label.clone(),
            errors,
            limits,
            pass: errors.within(limits) && !want.values.is_empty(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        relative: 1e-3,
        cosine: 0.999,
    };

    #[test]
    fn errors_are_what_they_say() {
        let e = Errors::between(&[3.0, 4.5], &[3.0, 4.0]);
        assert_eq!(e.max_abs, 0.5);
        assert!((e.relative - 0.1).abs() < 1e-12);
        assert!(e.cosine < 1.0 && e.cosine > 0.99);
        assert!(!e.within(LIMITS));
        assert!(Errors::between(&[0.0], &[0.0]).within(LIMITS));
    }

    #[test]
    fn nothing_unsound_passes() {
        for got in [
            &[f32::NAN, 1.0][..],
            &[1.0],
            &[f32::INFINITY, 1.0],
            &[0.0, 0.0],
        ] {
            assert!(!Errors::between(got, &[1.0, 1.0]).within(LIMITS), "{got:?}");
        }
        assert!(!Errors::between(&[1.0], &[0.0]).within(LIMITS));
        assert!(
            Errors::between(&[f32::NAN, 1.0], &[1.0, 1.0])
                .max_abs
                .is_nan()
        );
    }
}
