//! The noise levels of training and their weights.

/// Entries of a table.
pub(super) const TABLE_LEN: usize = 1000;

/// Moves noise levels towards noise: `σ' = f·σ / (1 + (f-1)·σ)`. The exponential shift of schedulers by `mu` is that by
/// `f = e^mu`; their linear shift is that by the shift itself.
pub(super) fn shifted(sigma: f64, factor: f64) -> f64 {
    factor * sigma / (1.0 + (factor - 1.0) * sigma)
}

/// Stretches noise levels, which keep their 1, so that `last` becomes `terminal`:
/// `σ' = 1 - (1-σ)·(1-terminal)/(1-last)`.
pub(super) fn stretched(sigma: f64, last: f64, terminal: f64) -> f64 {
    1.0 - (1.0 - sigma) * (1.0 - terminal) / (1.0 - last)
}

/// A thousand noise levels in descending order, as evenly spread over a distribution as its quantiles.
///
/// Their weights are those of DiffSynth-Studio's `bsmntw` scheme: a bell over `t = 1000·σ` that is 0 at the end of the
/// table and 1 on average, `w_k ∝ y_k - min y` with `y = exp(-2·((t-500)/1000)²)`.
#[derive(Debug, Clone, PartialEq)]
pub struct SigmaTable {
    sigmas: Vec<f64>,
    weights: Vec<f64>,
}

impl SigmaTable {
    /// The table of image and video training: `1 - k/1000`, shifted by `factor`, and stretched so that it ends at
    /// `terminal` where that is above 0. Qwen-Image-Edit has the factor `e^0.8` and ends at 0.02; Wan has the factor 5
    /// and no stretch.
    pub fn new(factor: f64, terminal: f64) -> Self {
        let even = (0..TABLE_LEN).map(|k| 1.0 - k as f64 / TABLE_LEN as f64);
        Self::of(even, factor, terminal)
    }

    /// The same over other levels, in descending order.
    pub(super) fn of(levels: impl IntoIterator<Item = f64>, factor: f64, terminal: f64) -> Self {
        let mut sigmas: Vec<f64> = levels.into_iter().map(|s| shifted(s, factor)).collect();
        if let Some(&last) = sigmas.last()
            && terminal > 0.0
        {
            sigmas
                .iter_mut()
                .for_each(|s| *s = stretched(*s, last, terminal));
        }
        let weights = bell(&sigmas);
        Self { sigmas, weights }
    }

    /// Noise level of entry `id`, which lies below 1,000.
    pub fn sigma(&self, id: usize) -> f64 {
        self.sigmas[id]
    }

    /// Weight of entry `id`.
    pub fn weight(&self, id: usize) -> f64 {
        self.weights[id]
    }

    /// All levels.
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    /// All weights.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The entry whose `t = 1000·σ` is nearest to `t`; of two that are equally near the noisier one.
    pub fn nearest(&self, t: f64) -> usize {
        let sigma = t / 1000.0;
        // The first entry below `sigma`: it or the one before is nearest.
        let below = self.sigmas.partition_point(|s| *s >= sigma);
        let before = below.saturating_sub(1);
        match self.sigmas.get(below) {
            Some(next) if sigma - next < self.sigmas[before] - sigma => below,
            _ => before,
        }
    }
}

fn bell(sigmas: &[f64]) -> Vec<f64> {
    let height = |sigma: &f64| {
        let off = sigma - 0.5;
        (-2.0 * off * off).exp()
    };
    let heights: Vec<f64> = sigmas.iter().map(height).collect();
    let least = heights.iter().copied().fold(f64::INFINITY, f64::min);
    let sum: f64 = heights.iter().map(|y| y - least).sum();
    // A table of one level only has no bell.
    if sum <= 0.0 {
        return vec![1.0; sigmas.len()];
    }
    let scale = sigmas.len() as f64 / sum;
    heights.iter().map(|y| (y - least) * scale).collect()
}

/// `t` as bfloat16 holds it: rounded to the nearest of its numbers, ties to even.
pub(super) fn bf16(t: f64) -> f64 {
    let bits = (t as f32).to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000;
    f64::from(f32::from_bits(rounded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn qwen() -> SigmaTable {
        SigmaTable::new(0.8f64.exp(), 0.02)
    }

    fn wan() -> SigmaTable {
        SigmaTable::new(5.0, 0.0)
    }

    fn assert_near(what: &str, found: f64, expected: f64, bound: f64) {
        assert!(
            (found - expected).abs() <= bound,
            "{what}: {found}, not {expected}"
        );
    }

    #[test]
    fn tables_begin_and_end_where_those_of_the_models_do() {
        let (qwen, wan) = (qwen(), wan());
        for (k, sigma) in [
            (0, 1.0),
            (1, 0.999558),
            (2, 0.999116),
            (998, 0.022178),
            (999, 0.02),
        ] {
            assert_near("qwen", qwen.sigma(k), sigma, 5e-7);
        }
        for (k, sigma) in [
            (0, 1.0),
            (1, 0.9998),
            (2, 0.9996),
            (998, 0.00992),
            (999, 0.00498),
        ] {
            assert_near("wan", wan.sigma(k), sigma, 5e-6);
        }
        // The lower of the two in the middle, and the share above the middle of the range.
        assert_near("median", 1000.0 * qwen.sigma(500), 695.5, 0.05);
        assert_near("median", 1000.0 * wan.sigma(500), 833.3, 0.05);
        for (table, above) in [(&qwen, 698), (&wan, 834)] {
            assert_eq!(table.sigmas().iter().filter(|s| **s > 0.5).count(), above);
            assert!(table.sigmas().is_sorted_by(|a, b| a > b));
        }
    }

    #[test]
    fn weights_are_a_bell_of_mean_one() {
        let at = [
            950., 900., 800., 700., 600., 500., 400., 300., 200., 100., 50., 20.,
        ];
        let in_qwen = [
            0.2594, 0.5103, 0.9791, 1.3548, 1.5986, 1.6826, 1.599, 1.3521, 0.9795, 0.5074, 0.2586,
            0.1037,
        ];
        let in_wan = [
            0.3184, 0.6309, 1.2086, 1.6714, 1.9713, 2.0764, 1.9736, 1.6713, 1.2142, 0.638, 0.3068,
        ];
        for (table, golden) in [(qwen(), in_qwen.as_slice()), (wan(), &in_wan)] {
            for (t, weight) in at.iter().zip(golden) {
                assert_near("weight", table.weight(table.nearest(*t)), *weight, 5.01e-5);
            }
            assert_eq!(table.weight(0), 0.0);
            let mean = table.weights().iter().sum::<f64>() / TABLE_LEN as f64;
            assert_near("mean", mean, 1.0, 1e-12);
            let most = table.weights().iter().copied().fold(0.0, f64::max);
            assert_near("maximum", most, golden[5], 5.01e-5);
        }
    }

    #[test]
    fn the_nearest_entry_is_found_as_by_looking_at_all() {
        for table in [qwen(), wan()] {
            let distance = |t: f64, s: f64| (t / 1000.0 - s).abs();
            for t in (0..4100).map(|i| i as f64 / 4.0 - 10.0) {
                let mut best = 0;
                for (id, sigma) in table.sigmas().iter().enumerate() {
                    if distance(t, *sigma) < distance(t, table.sigma(best)) {
                        best = id;
                    }
                }
                assert_eq!(table.nearest(t), best, "{t}");
            }
            for id in 0..TABLE_LEN {
                assert_eq!(table.nearest(1000.0 * table.sigma(id)), id);
            }
        }
    }

    #[test]
    fn bfloat16_leaves_few_entries_in_use() {
        let used = |table: SigmaTable| {
            let ids = table
                .sigmas()
                .iter()
                .map(|s| table.nearest(bf16(1000.0 * s)));
            ids.collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(used(qwen()), 376);
        assert_eq!(used(wan()), 294);
        for (t, rounded) in [
            (985.6, 984.0),
            (501.2, 502.0),
            (1000.0, 1000.0),
            (20.03, 20.0),
        ] {
            assert_eq!(bf16(t), rounded);
        }
        // Halfway between two: to the even one.
        assert_eq!((bf16(514.0), bf16(518.0)), (512.0, 520.0));
    }

    /// `tests/fixtures/qwen_image/scheduler.json`: tables of diffusers, in f32.
    #[test]
    fn tables_and_shifts_are_those_of_the_scheduler() {
        let root = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let path = root.join("../../tests/fixtures/qwen_image/scheduler.json");
        let facts: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let numbers = |value: &Value| -> Vec<f64> {
            let list = value.as_array().unwrap();
            list.iter().map(|x| x.as_f64().unwrap()).collect()
        };
        for (key, table) in [("training", qwen()), ("training_wan", wan())] {
            let (sigmas, weights) = (&facts[key]["sigmas"], &facts[key]["weights"]);
            assert_eq!(sigmas.as_array().unwrap().len(), TABLE_LEN);
            for (id, theirs) in numbers(sigmas).into_iter().enumerate() {
                assert_near("sigma", table.sigma(id), theirs, 2e-7);
            }
            for (id, theirs) in numbers(weights).into_iter().enumerate() {
                assert_near("weight", table.weight(id), theirs, 2e-6);
            }
        }
        let mut seen = 0;
        for case in facts["inference"].as_array().unwrap() {
            let (steps, mu) = (
                case["steps"].as_u64().unwrap(),
                case["mu"].as_f64().unwrap(),
            );
            if case["sigmas"].is_null() {
                continue;
            }
            let even = |i: u64| 1.0 - (1.0 - 1.0 / steps as f64) * i as f64 / (steps - 1) as f64;
            let ours = SigmaTable::of((0..steps).map(even), mu.exp(), 0.02);
            for (ours, theirs) in ours.sigmas().iter().zip(numbers(&case["sigmas"])) {
                assert_near("inference", *ours, theirs, 5e-7);
                seen += 1;
            }
        }
        assert!(seen > 100);
    }
}
