//! Batches of rows: as they are drawn, or rows of like size together.

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};
use crate::sampler::{Sampler, SamplerState, stream};

/// Batches whose rows are drawn together and sorted by size, where rows are bucketed: the more, the less padding, and
/// the less chance in who shares a batch with whom.
const WINDOW: usize = 32;

/// Which rows share a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bucket {
    /// Those that chance puts beside each other.
    #[default]
    None,
    /// Those of like length in tokens.
    Length,
    /// Those whose pictures have like shape and number of pixels.
    Pixels,
}

/// What becomes of the rows at the end of an epoch that do not fill a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LastBatch {
    /// The batch goes on with the first rows of the next epoch: all batches are full, and every row is drawn once an
    /// epoch.
    #[default]
    Wrap,
    /// They make a smaller batch.
    Ragged,
    /// They are left out. Other rows are left out in the next epoch.
    Drop,
}

/// How batches are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPlan {
    /// Rows of a batch.
    pub batch: usize,
    /// Which rows share one.
    pub bucket: Bucket,
    /// The last rows of an epoch.
    pub last: LastBatch,
}

/// A place between two draws, enough to go on exactly. Save it with every checkpoint; [`BatchPlan`], data and seed have
/// to be the same again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchState {
    /// Where the window begins that rows are taken from.
    pub rows: SamplerState,
    /// Rows taken from it.
    pub taken: usize,
}

/// Draws batches for ever.
///
/// The order depends on `(seed, epoch, number of rows)`, on the plan and, where rows are bucketed, on their sizes, and
/// on nothing else. Without buckets it is that of [`Sampler`]. With buckets the rows of 32 batches are drawn from it at
/// a time and sorted by size; the batches cut from them come in random order. Sizes are thus asked for as rows are
/// needed, never of all rows at once.
#[derive(Debug, Clone)]
pub struct BatchSampler {
    plan: BatchPlan,
    sampler: Sampler,
    /// Where the window began.
    start: SamplerState,
    /// Its rows in the order they are handed out; `None` before they are drawn.
    window: Option<Vec<usize>>,
    taken: usize,
}

impl BatchSampler {
    /// Begins at the first epoch.
    ///
    /// # Errors
    /// [`DataError::SamplerState`] if a plan makes no batch of so many rows.
    pub fn new(len: usize, seed: u64, shuffle: bool, plan: BatchPlan) -> Result<Self> {
        let rows = Sampler::new(len, seed, shuffle)?.state().clone();
        Self::resume(BatchState { rows, taken: 0 }, plan)
    }

    /// Goes on from a saved place.
    ///
    /// # Errors
    /// [`DataError::SamplerState`] if the state contradicts itself or the plan makes no batch of so many rows.
    pub fn resume(state: BatchState, plan: BatchPlan) -> Result<Self> {
        let refuse = |text: String| Err(DataError::SamplerState(text));
        let BatchState { rows, taken } = state;
        if plan.batch == 0 {
            return refuse("a batch needs at least one row".to_owned());
        }
        if plan.last == LastBatch::Drop && rows.len < plan.batch {
            let (len, batch) = (rows.len, plan.batch);
            return refuse(format!(
                "{len} rows make no batch of {batch}, and smaller ones are dropped"
            ));
        }
        let sampler = Sampler::resume(rows.clone())?;
        let sampler = Self {
            plan,
            sampler,
            start: rows,
            window: None,
            taken,
        };
        let window = sampler.window_rows();
        if taken > 0 && taken >= window {
            return refuse(format!("{taken} rows were taken from a window of {window}"));
        }
        Ok(sampler)
    }

    /// How batches are made.
    pub fn plan(&self) -> BatchPlan {
        self.plan
    }

    /// The place of the next draw.
    pub fn state(&self) -> BatchState {
        BatchState {
            rows: self.start.clone(),
            taken: self.taken,
        }
    }

    /// The next `n` row numbers, fewer only where an epoch ends with a ragged batch.
    ///
    /// Batches of a plan are whole if `n` is always [`BatchPlan::batch`]. `sizes` gives the sizes of some rows, in
    /// their order; the same row must have the same size every time. It is called only where rows are bucketed.
    ///
    /// # Errors
    /// Those of `sizes`. The place does not move.
    pub fn next_batch<E>(
        &mut self,
        n: usize,
        mut sizes: impl FnMut(&[usize]) -> std::result::Result<Vec<u64>, E>,
    ) -> std::result::Result<Vec<usize>, E> {
        let mut batch = Vec::with_capacity(n);
        while batch.len() < n {
            if self.window.is_none() {
                self.fill(&mut sizes)?;
            }
            let window = self.window.as_deref().unwrap_or_default();
            let rest = &window[self.taken.min(window.len())..];
            let more = rest.len().min(n - batch.len());
            batch.extend_from_slice(&rest[..more]);
            self.taken += more;
            if self.taken < window.len() {
                continue;
            }
            (self.window, self.taken) = (None, 0);
            self.start = self.sampler.state().clone();
            let ended = self.start.position == 0;
            if ended && self.plan.last == LastBatch::Ragged && !batch.is_empty() {
                break;
            }
        }
        Ok(batch)
    }

    /// Rows of the window that begins at `start`.
    fn window_rows(&self) -> usize {
        let BatchPlan {
            batch,
            bucket,
            last,
        } = self.plan;
        let batches = if bucket == Bucket::None { 1 } else { WINDOW };
        let rows = batch.saturating_mul(batches);
        let left = self.start.len - self.start.position;
        match last {
            LastBatch::Wrap => rows,
            LastBatch::Ragged => rows.min(left),
            LastBatch::Drop => rows.min(left / batch * batch),
        }
    }

    fn fill<E>(
        &mut self,
        sizes: &mut impl FnMut(&[usize]) -> std::result::Result<Vec<u64>, E>,
    ) -> std::result::Result<(), E> {
        if self.plan.last == LastBatch::Drop && self.window_rows() == 0 {
            let left = self.start.len - self.start.position;
            self.sampler.next_batch(left);
            self.start = self.sampler.state().clone();
        }
        // Drawn from a copy, so that rows are not lost where their sizes cannot be told.
        let mut sampler = self.sampler.clone();
        let mut rows = sampler.next_batch(self.window_rows());
        if self.plan.bucket != Bucket::None {
            rows = self.sorted(&rows, &sizes(&rows)?);
        }
        self.sampler = sampler;
        self.window = Some(rows);
        Ok(())
    }

    /// Rows of like size together, the full batches in random order, a ragged one last.
    fn sorted(&self, rows: &[usize], sizes: &[u64]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        // Equal sizes stay in the order they were drawn in.
        order.sort_by_key(|i| sizes.get(*i));
        let mut batches: Vec<&[usize]> = order.chunks(self.plan.batch).collect();
        let full = rows.len() / self.plan.batch;
        let SamplerState {
            seed,
            epoch,
            position,
            ..
        } = self.start;
        let mut rng = stream(b"vtb batches", &[seed, epoch, position as u64]);
        batches[..full].shuffle(&mut rng);
        batches.concat().iter().map(|i| rows[*i]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(batch: usize, bucket: Bucket, last: LastBatch) -> BatchPlan {
        BatchPlan {
            batch,
            bucket,
            last,
        }
    }

    /// Any size will do that is not the row's number.
    fn sizes(rows: &[usize]) -> Result<Vec<u64>> {
        Ok(rows.iter().map(|r| (*r as u64 * 7919) % 101).collect())
    }

    fn draw(sampler: &mut BatchSampler, batches: usize) -> Vec<Vec<usize>> {
        let n = sampler.plan.batch;
        (0..batches)
            .map(|_| sampler.next_batch(n, sizes).unwrap())
            .collect()
    }

    #[test]
    fn without_buckets_rows_come_as_the_sampler_draws_them() {
        let mut batches = BatchSampler::new(10, 3, true, plan(4, Bucket::None, LastBatch::Wrap));
        let batches = draw(batches.as_mut().unwrap(), 10);
        let mut rows = Sampler::new(10, 3, true).unwrap();
        assert_eq!(batches.concat(), rows.next_batch(40));
        assert!(batches.iter().all(|batch| batch.len() == 4));
    }

    #[test]
    fn rows_of_like_size_share_a_batch_and_each_is_drawn_once_an_epoch() {
        let spread = |bucket| {
            let mut sampler =
                BatchSampler::new(64, 5, true, plan(8, bucket, LastBatch::Ragged)).unwrap();
            let epoch = draw(&mut sampler, 8);
            let mut rows = epoch.concat();
            rows.sort_unstable();
            assert_eq!(rows, (0..64).collect::<Vec<_>>());
            let spread = |batch: &Vec<usize>| {
                let sizes = sizes(batch).unwrap();
                sizes.iter().max().unwrap() - sizes.iter().min().unwrap()
            };
            epoch.iter().map(spread).sum::<u64>()
        };
        assert!(spread(Bucket::Length) * 4 < spread(Bucket::None));
    }

    #[test]
    fn the_end_of_an_epoch_wraps_is_ragged_or_dropped() {
        for bucket in [Bucket::None, Bucket::Length] {
            let lengths = |last| {
                let mut sampler = BatchSampler::new(11, 1, true, plan(4, bucket, last)).unwrap();
                let drawn = draw(&mut sampler, 6);
                (drawn.iter().map(Vec::len).collect::<Vec<_>>(), drawn)
            };
            assert_eq!(lengths(LastBatch::Wrap).0, [4; 6]);
            let (found, drawn) = lengths(LastBatch::Ragged);
            assert_eq!(found, [4, 4, 3, 4, 4, 3]);
            for epoch in drawn.chunks(3) {
                let mut rows = epoch.concat();
                rows.sort_unstable();
                assert_eq!(rows, (0..11).collect::<Vec<_>>());
            }
            let (found, drawn) = lengths(LastBatch::Drop);
            assert_eq!(found, [4; 6]);
            for epoch in drawn.chunks(2) {
                let mut rows = epoch.concat();
                rows.sort_unstable();
                rows.dedup();
                assert_eq!(rows.len(), 8, "a row was drawn twice in an epoch");
            }
        }
    }

    /// Saved places must mean the same rows in every later version.
    #[test]
    fn the_order_is_pinned() {
        let mut sampler =
            BatchSampler::new(12, 42, true, plan(3, Bucket::Length, LastBatch::Ragged)).unwrap();
        assert_eq!(draw(&mut sampler, 4), PINNED);
    }

    const PINNED: [[usize; 3]; 4] = [[0, 5, 10], [6, 11, 4], [9, 2, 7], [3, 8, 1]];

    #[test]
    fn states_and_plans_without_meaning_are_refused() {
        let refused = |state, plan| BatchSampler::resume(state, plan).unwrap_err().to_string();
        let rows = Sampler::new(6, 0, true).unwrap().state().clone();
        let state = |taken| BatchState {
            rows: rows.clone(),
            taken,
        };
        let wrap = plan(4, Bucket::None, LastBatch::Wrap);
        assert!(refused(state(4), wrap).contains("4 rows were taken from a window of 4"));
        let none = plan(0, Bucket::None, LastBatch::Wrap);
        assert!(refused(state(0), none).contains("at least one row"));
        let drop = plan(7, Bucket::None, LastBatch::Drop);
        assert!(refused(state(0), drop).contains("6 rows make no batch of 7"));
    }

    #[test]
    fn sizes_that_cannot_be_told_move_nothing() {
        let plan = plan(2, Bucket::Pixels, LastBatch::Wrap);
        let mut sampler = BatchSampler::new(9, 4, true, plan).unwrap();
        let before = sampler.state();
        let fail = |_: &[usize]| Err(DataError::SamplerState("no size".to_owned()));
        sampler.next_batch(2, fail).unwrap_err();
        assert_eq!(sampler.state(), before);
        let fresh = draw(&mut BatchSampler::new(9, 4, true, plan).unwrap(), 5);
        assert_eq!(draw(&mut sampler, 5), fresh);
    }

    proptest! {
        #[test]
        fn a_resumed_run_equals_a_straight_one(
            len in 4usize..90, seed: u64, batch in 1usize..5, before in 0usize..60,
            bucket in prop_oneof![Just(Bucket::None), Just(Bucket::Length)],
            last in prop_oneof![
                Just(LastBatch::Wrap), Just(LastBatch::Ragged), Just(LastBatch::Drop)
            ],
        ) {
            let plan = plan(batch, bucket, last);
            let mut straight = BatchSampler::new(len, seed, true, plan).unwrap();
            let whole = draw(&mut straight, before + 50);
            let mut first = BatchSampler::new(len, seed, true, plan).unwrap();
            let mut drawn = draw(&mut first, before);
            let saved = serde_json::to_string(&first.state()).unwrap();
            let state = serde_json::from_str(&saved).unwrap();
            let mut second = BatchSampler::resume(state, plan).unwrap();
            drawn.extend(draw(&mut second, 50));
            prop_assert_eq!(drawn, whole);
            prop_assert_eq!(second.state(), straight.state());
        }
    }
}
