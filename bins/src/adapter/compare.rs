//! How far two sets of logits lie apart, and how far rounding explains.

use anyhow::bail;
use burn::tensor::DType;
use serde::Serialize;

/// Rows of logits.
pub(super) struct Logits {
    /// Row-major.
    pub(super) values: Vec<f32>,
    /// Size of the vocabulary.
    pub(super) width: usize,
}

/// One input's differences between the merged model and the base with its adapter, in parts of the logits' spread: the
/// root mean square of their distance from the mean of their position.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Compared {
    pub(super) probe: &'static str,
    /// Positions compared.
    pub(super) positions: usize,
    /// The spread, in logits.
    pub(super) spread: f64,
    /// Root mean square of what the adapter changes.
    pub(super) effect: f64,
    /// Mean difference.
    pub(super) mean: f64,
    /// Root mean square of the differences.
    pub(super) rms: f64,
    /// Largest difference.
    pub(super) max: f64,
    /// Positions where both prefer the same token.
    pub(super) same_argmax: usize,
}

impl Compared {
    /// # Errors
    /// Logits of different sizes or that are not finite.
    pub(super) fn new(
        probe: &'static str,
        plain: &Logits,
        adapted: &Logits,
        merged: &Logits,
    ) -> anyhow::Result<Self> {
        let width = adapted.width.max(1);
        if [plain, merged]
            .iter()
            .any(|l| l.width != adapted.width || l.values.len() != adapted.values.len())
        {
            bail!("the models have vocabularies of different sizes");
        }
        for (model, logits) in [("base with adapter", adapted), ("merged", merged)] {
            if logits.values.iter().any(|value| !value.is_finite()) {
                bail!("a logit of the {model} model is not finite");
            }
        }
        let rows = |l: &'_ Logits| {
            l.values
                .chunks(width)
                .map(<[f32]>::to_vec)
                .collect::<Vec<_>>()
        };
        let (adapted_rows, merged_rows) = (rows(adapted), rows(merged));
        let count = adapted.values.len().max(1) as f64;
        let square: f64 = adapted_rows.iter().map(|row| deviation(row)).sum();
        let spread = (square / count).sqrt().max(f64::MIN_POSITIVE);
        let off = differences(merged, adapted);
        let rms = |d: &[f64]| (d.iter().map(|x| x * x).sum::<f64>() / count).sqrt() / spread;
        let same = adapted_rows.iter().zip(&merged_rows);
        Ok(Self {
            probe,
            positions: adapted_rows.len(),
            spread,
            effect: rms(&differences(adapted, plain)),
            mean: off.iter().sum::<f64>() / count / spread,
            rms: rms(&off),
            max: off.iter().copied().fold(0.0, f64::max) / spread,
            same_argmax: same.filter(|(a, b)| first(a) == first(b)).count(),
        })
    }
}

fn differences(a: &Logits, b: &Logits) -> Vec<f64> {
    let pairs = a.values.iter().zip(&b.values);
    pairs.map(|(a, b)| f64::from((a - b).abs())).collect()
}

/// Sum of the squared distances from the mean.
fn deviation(row: &[f32]) -> f64 {
    let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / row.len().max(1) as f64;
    row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum()
}

/// Index of the largest.
fn first(row: &[f32]) -> Option<usize> {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]))
}

/// What rounding explains.
///
/// Rounding a weight to unit `u` (2⁻⁸ in bf16, 2⁻¹¹ in f16) moves it by 0.4·u of itself, root mean square, and a product
/// with it as much; the branches of `L` decoder layers, two each, add that up like independent errors: 0.4·u·√(2L) of
/// the hidden state. The bound is ten times that, since later layers may enlarge what earlier ones left. Computing in a
/// format coarser than f32 rounds several times in each branch: another 8·u·√(2L). Sums of f32 are taken in
/// another order by the two models: 2⁻¹⁶·√(2L).
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Limits {
    /// For the root mean square of the differences.
    #[serde(rename = "rms_bound")]
    pub(super) rms: f64,
    /// For the largest difference; ten times the other.
    #[serde(rename = "max_bound")]
    pub(super) max: f64,
    /// What computing alone explains.
    #[serde(skip)]
    noise: f64,
}

impl Limits {
    pub(super) fn new(stored: DType, computed: DType, layers: usize) -> Self {
        let branches = (2.0 * layers as f64).sqrt();
        let noise = (2f64.powi(-16) + 8.0 * unit(computed)) * branches;
        let rms = noise + 4.0 * unit(stored) * branches;
        Self {
            rms,
            max: 10.0 * rms,
            noise,
        }
    }

    pub(super) fn judge(&self, probes: &[Compared]) -> Verdict {
        let all = |holds: &dyn Fn(&Compared) -> bool| probes.iter().all(holds);
        // Written so that a number that is none fails.
        if !all(&|p| p.rms <= self.rms && p.max <= self.max) {
            return Verdict::Different;
        }
        if all(&|p| p.effect <= self.noise) {
            return match all(&|p| p.rms <= self.noise) {
                true => Verdict::NothingLearnt,
                false => Verdict::Lost,
            };
        }
        match all(&|p| p.rms > self.noise && p.rms >= p.effect) {
            true => Verdict::Lost,
            false => Verdict::Same,
        }
    }
}

/// Half the distance of 1 from the next larger number, where that is coarser than f32.
fn unit(dtype: DType) -> f64 {
    match dtype {
        DType::BF16 => 2f64.powi(-8),
        DType::F16 => 2f64.powi(-11),
        _ => 0.0,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// Within the bound.
    Same,
    /// Within the bound, and so are base and adapter among themselves.
    NothingLearnt,
    /// Within the bound, but no nearer to the adapted model than the base is.
    Lost,
    /// Beyond the bound.
    Different,
}

impl Verdict {
    pub(super) fn passed(self) -> bool {
        matches!(self, Self::Same | Self::NothingLearnt)
    }

    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Same => {
                "same: the merged model computes what base and adapter do, within rounding"
            }
            Self::NothingLearnt => {
                "same: but the adapter changes nothing either; was it trained, and is it the right one?"
            }
            Self::Lost => {
                "lost: the merged model is no nearer to base and adapter than the base alone; what the adapter learnt is \
                 smaller than the rounding of its type. Merge with --dtype f32, or serve the adapter unmerged"
            }
            Self::Different => {
                "different: beyond what rounding explains; is this the merge of this base model with this adapter?"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f32]) -> Logits {
        Logits {
            values: values.to_vec(),
            width: 2,
        }
    }

    #[test]
    fn differences_are_told_in_parts_of_the_spread() {
        // Both positions lie 2 around their mean.
        let adapted = row(&[1.0, 5.0, -2.0, 2.0]);
        let plain = row(&[1.0, 5.0, -2.0, 4.0]);
        let merged = row(&[1.0, 5.0, 2.5, 2.0]);
        let found = Compared::new("x", &plain, &adapted, &merged).unwrap();
        assert_eq!((found.spread, found.positions), (2.0, 2));
        assert_eq!((found.effect, found.mean), (0.5, 4.5 / 4.0 / 2.0));
        assert_eq!((found.rms, found.max), (4.5 / 2.0 / 2.0, 2.25));
        assert_eq!(found.same_argmax, 1);
        let broken = row(&[f32::NAN; 4]);
        assert!(Compared::new("x", &plain, &adapted, &broken).is_err());
        assert!(Compared::new("x", &plain, &adapted, &row(&[0.0; 2])).is_err());
    }

    #[test]
    fn verdicts() {
        let limits = Limits::new(DType::BF16, DType::F32, 8);
        assert!((limits.rms - (4.0 * (2f64.powi(-8) + 2f64.powi(-18)) * 4.0)).abs() < 1e-12);
        let judge = |effect: f64, rms: f64| {
            let found = Compared {
                probe: "x",
                positions: 1,
                spread: 1.0,
                effect,
                mean: rms,
                rms,
                max: rms,
                same_argmax: 1,
            };
            limits.judge(&[found])
        };
        assert_eq!(judge(0.5, 0.01), Verdict::Same);
        assert_eq!(judge(0.5, 0.07), Verdict::Different);
        assert_eq!(judge(0.5, f64::NAN), Verdict::Different);
        assert_eq!(judge(0.01, 0.011), Verdict::Lost);
        assert_eq!(judge(0.0, 0.011), Verdict::Lost);
        assert_eq!(judge(0.0, 1e-7), Verdict::NothingLearnt);
        assert!(!Verdict::Lost.passed() && Verdict::NothingLearnt.passed());
    }
}
