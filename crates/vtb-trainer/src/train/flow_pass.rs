//! Samples at their noise levels, as a model takes them.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use vtb_nn::velocity::{FlowRow, Latent};

use super::flow_data::FlowSample;
use crate::objectives::flow::{FlowTarget, Level, noisy, normals};
use crate::rng;

/// What chance gives row `row`, in the order of the data, of an optimizer step: a function of these alone, not of the rows
/// beside it.
pub(super) fn row_stream(run_seed: u64, purpose: &str, step: u64, row: usize) -> ChaCha8Rng {
    let seed = rng::seed(run_seed, purpose, step, 0);
    rng::stream(seed, "row", row as u64, 0)
}

/// Noise of row `row` of held-out data at level `level` of its grid.
pub(super) fn held_out_stream(seed: u64, row: usize, level: usize) -> ChaCha8Rng {
    rng::stream(seed, "held-out noise", row as u64, level as u64)
}

/// Rows of a pass beside what their velocities are compared with.
#[derive(Default)]
pub(super) struct FlowPass {
    rows: Vec<FlowRow>,
    samples: Vec<Arc<FlowSample>>,
    noise: Vec<Latent>,
    levels: Vec<Level>,
}

impl FlowPass {
    /// Adds a sample at a level, with noise from `rng`.
    pub(super) fn push(&mut self, sample: Arc<FlowSample>, level: Level, mut rng: ChaCha8Rng) {
        let FlowSample { clean, condition } = sample.as_ref();
        let noise = Latent {
            shape: clean.shape,
            values: normals(&mut rng, clean.values.len()),
        };
        self.rows.push(FlowRow {
            noisy: noisy(clean, &noise, level.sigma, condition.clean_frames),
            sigma: level.sigma as f32,
            condition: Arc::clone(condition),
        });
        self.noise.push(noise);
        self.levels.push(level);
        self.samples.push(sample);
    }

    pub(super) fn rows(&self) -> &[FlowRow] {
        &self.rows
    }

    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }

    pub(super) fn targets(&self) -> Vec<FlowTarget<'_>> {
        (0..self.rows.len()).map(|i| self.target(i)).collect()
    }

    fn target(&self, i: usize) -> FlowTarget<'_> {
        let sample = &self.samples[i];
        FlowTarget {
            clean: &sample.clean,
            noise: &self.noise[i],
            weight: self.levels[i].weight,
            clean_frames: sample.condition.clean_frames,
        }
    }
}

/// Numbers of the samples of each pass: samples of the same shapes, at most `most` of them, in their order.
pub(super) fn passes(samples: &[Arc<FlowSample>], most: usize) -> Vec<Vec<usize>> {
    let mut shapes: Vec<(_, Vec<usize>)> = Vec::new();
    for (i, sample) in samples.iter().enumerate() {
        let shape = sample.shape();
        match shapes.iter_mut().find(|(known, _)| *known == shape) {
            Some((_, rows)) => rows.push(i),
            None => shapes.push((shape, vec![i])),
        }
    }
    let cut = |(_, rows): &(_, Vec<usize>)| {
        let parts = rows.chunks(most.max(1));
        parts.map(<[usize]>::to_vec).collect::<Vec<_>>()
    };
    shapes.iter().flat_map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtb_nn::velocity::FlowCondition;

    fn sample(width: usize, references: usize) -> Arc<FlowSample> {
        let condition = FlowCondition {
            references: vec![Latent::zeros([1, 1, 1, 2]); references],
            ..FlowCondition::default()
        };
        Arc::new(FlowSample {
            clean: Latent::zeros([1, 1, 1, width]),
            condition: Arc::new(condition),
        })
    }

    #[test]
    fn a_pass_holds_rows_of_one_shape() {
        let samples: Vec<_> = [(2, 0), (3, 0), (2, 0), (2, 1), (2, 0), (3, 0)]
            .map(|(width, references)| sample(width, references))
            .into();
        assert_eq!(
            passes(&samples, 2),
            [vec![0, 2], vec![4], vec![1, 5], vec![3]]
        );
        assert_eq!(passes(&samples[..1], 8), [[0]]);
        assert!(passes(&[], 8).is_empty());
    }

    #[test]
    fn noise_depends_on_the_row_and_nothing_else() {
        let draw = |mut rng: ChaCha8Rng| normals(&mut rng, 3);
        let base = draw(row_stream(1, "noise", 2, 3));
        assert_eq!(draw(row_stream(1, "noise", 2, 3)), base);
        for other in [
            row_stream(0, "noise", 2, 3),
            row_stream(1, "noise level", 2, 3),
            row_stream(1, "noise", 3, 2),
            row_stream(1, "noise", 2, 4),
            held_out_stream(1, 2, 3),
        ] {
            assert_ne!(draw(other), base);
        }
    }
}
