//! Rows of flow matching: latents and what they are conditioned on.

use std::sync::Arc;

use vtb_data::Bucket;
use vtb_nn::velocity::{FlowCondition, Latent};

use super::loader::Load;
use super::objective::no_size;
use crate::TrainError;

/// A clean sample, and what it is conditioned on.
#[derive(Debug, Clone)]
pub struct FlowSample {
    /// The latent that noise is mixed into.
    pub clean: Latent,
    /// Prompt, references, clean frames.
    pub condition: Arc<FlowCondition>,
}

impl FlowSample {
    /// What rows of one pass have in common: the shapes of the sample and of its references, and the clean frames.
    pub(super) fn shape(&self) -> (Vec<[usize; 4]>, usize) {
        let references = self.condition.references.iter().map(|r| r.shape);
        let shapes = std::iter::once(self.clean.shape).chain(references);
        (shapes.collect(), self.condition.clean_frames)
    }

    /// Refuses a sample that cannot be trained on.
    fn check(&self, index: usize) -> Result<(), TrainError> {
        let latents = std::iter::once(&self.clean).chain(&self.condition.references);
        for (i, latent) in latents.enumerate() {
            if !latent.is_whole() || latent.values.is_empty() {
                let what = match i {
                    0 => "the sample".to_owned(),
                    n => format!("reference {n}"),
                };
                return Err(TrainError::Input(format!(
                    "row {index}: {what} of shape {:?} has {} values; prepare this row again",
                    latent.shape,
                    latent.values.len()
                )));
            }
        }
        let (given, frames) = (self.condition.clean_frames, self.clean.shape[1]);
        if given >= frames {
            return Err(TrainError::Input(format!(
                "row {index}: {given} of {frames} frames are given clean, which leaves nothing to predict; leave the row out"
            )));
        }
        Ok(())
    }
}

/// Clean samples, loaded when asked for, by several threads at a time.
pub trait FlowSource: Send + Sync + 'static {
    /// Number of rows.
    fn len(&self) -> usize;

    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Row `index`.
    ///
    /// # Errors
    /// The row cannot be read; the message names it.
    fn sample(&self, index: usize) -> Result<FlowSample, TrainError>;

    /// How large row `index` is: rows of like size share a batch. The same every time, and cheaper than loading the row;
    /// [`shape_key`] says it of shapes. Not asked for without buckets.
    ///
    /// # Errors
    /// The data cannot tell.
    fn size(&self, index: usize, bucket: Bucket) -> Result<u64, TrainError> {
        no_size(index, bucket)
    }
}

/// A size that brings rows of the same shapes together: above all the number of values of a sample and its references,
/// then a hash that keeps shapes of as many values apart. The same on every machine.
pub fn shape_key(clean: [usize; 4], references: impl IntoIterator<Item = [usize; 4]>) -> u64 {
    let (mut values, mut hash) = (0u64, 0xcbf2_9ce4_8422_2325u64);
    for shape in std::iter::once(clean).chain(references) {
        let product = shape
            .iter()
            .fold(1u64, |n, side| n.saturating_mul(*side as u64));
        values = values.saturating_add(product);
        // FNV-1a over the sides.
        for byte in shape.iter().flat_map(|side| (*side as u64).to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    let low = (hash ^ (hash >> 32)) & 0xffff_ffff;
    (values.min(0xffff_ffff) << 32) | low
}

/// Samples as a loader draws them, checked.
pub(super) struct Samples<D>(pub(super) D);

impl<D: FlowSource> Samples<D> {
    pub(super) fn checked(&self, index: usize) -> Result<FlowSample, TrainError> {
        let sample = self.0.sample(index)?;
        sample.check(index)?;
        Ok(sample)
    }
}

impl<D: FlowSource> Load for Samples<D> {
    type Row = FlowSample;

    fn load(&self, index: usize) -> Result<FlowSample, TrainError> {
        self.checked(index)
    }

    fn size(&self, index: usize, bucket: Bucket) -> Result<u64, TrainError> {
        self.0.size(index, bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_size_and_tell_shapes_apart() {
        let key = |clean, references: &[[usize; 4]]| shape_key(clean, references.iter().copied());
        let (upright, flat) = ([16, 1, 112, 60], [16, 1, 60, 112]);
        assert_ne!(key(upright, &[]), key(flat, &[]));
        assert_eq!(key(upright, &[flat]), key(upright, &[flat]));
        assert_ne!(key(upright, &[flat]), key(flat, &[upright]));
        assert!(key(upright, &[]) < key([16, 1, 128, 128], &[]));
        assert!(key([16, 1, 128, 128], &[]) < key(upright, &[[16, 1, 92, 176]]));
        assert_eq!(key([16, 1, 128, 128], &[]) >> 32, 16 * 128 * 128);
        key([usize::MAX; 4], &[[usize::MAX; 4]; 3]);
    }

    #[test]
    fn samples_that_contradict_themselves_are_named() {
        let sample = |values: usize, clean_frames| FlowSample {
            clean: Latent {
                shape: [2, 2, 1, 3],
                values: vec![0.0; values],
            },
            condition: Arc::new(FlowCondition {
                references: vec![Latent::zeros([2, 1, 1, 1])],
                clean_frames,
                ..FlowCondition::default()
            }),
        };
        sample(12, 1).check(7).unwrap();
        let text = |s: FlowSample| s.check(7).unwrap_err().to_string();
        assert!(text(sample(11, 0)).contains("row 7: the sample"));
        assert!(text(sample(12, 2)).contains("row 7: 2 of 2 frames"));
        let mut bad = sample(12, 0);
        Arc::make_mut(&mut bad.condition).references[0]
            .values
            .clear();
        assert!(text(bad).contains("row 7: reference 1"));
    }
}
