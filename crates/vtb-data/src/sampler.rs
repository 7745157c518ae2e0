//! The order in which rows are drawn, and a place in it that can be saved.

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{DataError, Result};

/// A place in the order, enough to go on exactly. Save it with every checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerState {
    /// Rows of the data set.
    pub len: usize,
    /// Seed of the order.
    pub seed: u64,
    /// Whether rows are shuffled, or drawn as they stand.
    pub shuffle: bool,
    /// Epochs completed.
    pub epoch: u64,
    /// Rows drawn in the current epoch, below `len`.
    pub position: usize,
}

/// Draws row numbers for ever.
///
/// The order of an epoch depends on `(seed, epoch, number of rows)` and on nothing else: not on
/// the batch size, nor on the number of workers.
///
/// Batches are always full. Where the rows of an epoch do not divide by the batch size, the batch
/// that reaches the end goes on with the first rows of the next epoch: in every epoch each row is
/// drawn exactly once, and no row is dropped or repeated to fill up.
#[derive(Debug, Clone)]
pub struct Sampler {
    state: SamplerState,
    /// The current epoch's order; empty if rows are not shuffled.
    order: Vec<usize>,
}

impl Sampler {
    /// Begins at the first row of the first epoch.
    ///
    /// # Errors
    /// [`DataError::SamplerState`] if there are no rows.
    pub fn new(len: usize, seed: u64, shuffle: bool) -> Result<Self> {
        Self::resume(SamplerState {
            len,
            seed,
            shuffle,
            epoch: 0,
            position: 0,
        })
    }

    /// Goes on from a saved place. Whether it belongs to the data at hand is for the caller to
    /// check, by the [fingerprint](crate::RowSource::fingerprint) saved with it.
    ///
    /// # Errors
    /// [`DataError::SamplerState`] if the state contradicts itself.
    pub fn resume(state: SamplerState) -> Result<Self> {
        if state.len == 0 {
            return Err(DataError::SamplerState(
                "there are no rows to draw from".to_owned(),
            ));
        }
        if state.position >= state.len {
            let SamplerState { len, position, .. } = state;
            let text = format!("position {position} lies past the last of {len} rows");
            return Err(DataError::SamplerState(text));
        }
        let mut sampler = Self {
            state,
            order: Vec::new(),
        };
        sampler.shuffle();
        Ok(sampler)
    }

    /// The place of the next draw.
    pub fn state(&self) -> &SamplerState {
        &self.state
    }

    /// The next `n` row numbers, always `n` of them.
    pub fn next_batch(&mut self, n: usize) -> Vec<usize> {
        (0..n).map(|_| self.draw()).collect()
    }

    fn draw(&mut self) -> usize {
        let position = self.state.position;
        let row = if self.state.shuffle {
            self.order[position]
        } else {
            position
        };
        self.state.position += 1;
        if self.state.position == self.state.len {
            self.state.position = 0;
            self.state.epoch += 1;
            self.shuffle();
        }
        row
    }

    fn shuffle(&mut self) {
        if self.state.shuffle {
            self.order = epoch_order(self.state.len, self.state.seed, self.state.epoch);
        }
    }
}

impl Iterator for Sampler {
    type Item = usize;

    /// Never ends.
    fn next(&mut self) -> Option<usize> {
        Some(self.draw())
    }
}

/// Random numbers that depend on their purpose and a few numbers alone.
pub(crate) fn stream(purpose: &[u8], numbers: &[u64]) -> ChaCha8Rng {
    let mut key = Sha256::new();
    key.update(purpose);
    for number in numbers {
        key.update(number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key.finalize().into())
}

/// The rows of one epoch in order: a Fisher-Yates shuffle by ChaCha8.
fn epoch_order(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = stream(b"vtb sampler", &[seed, epoch]);
    let mut order: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        // 64 bits whatever the machine's word is: the same order everywhere.
        let chosen = rng.random_range(0..=last as u64);
        order.swap(last, chosen as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn take(sampler: &mut Sampler, n: usize) -> Vec<usize> {
        sampler.next_batch(n)
    }

    #[test]
    fn every_epoch_draws_each_row_once_in_its_own_order() {
        let mut sampler = Sampler::new(50, 7, true).unwrap();
        let epochs: Vec<Vec<usize>> = (0..3).map(|_| take(&mut sampler, 50)).collect();
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        }
        assert_ne!(epochs[0], epochs[1]);
        assert_ne!(epochs[1], epochs[2]);
        let again = take(&mut Sampler::new(50, 7, true).unwrap(), 50);
        assert_eq!(epochs[0], again);
        assert_ne!(again, take(&mut Sampler::new(50, 8, true).unwrap(), 50));
    }

    /// Saved places must mean the same rows in every later version.
    #[test]
    fn the_order_is_pinned() {
        assert_eq!(epoch_order(10, 42, 0), PINNED[0]);
        assert_eq!(epoch_order(10, 42, 1), PINNED[1]);
    }

    const PINNED: [[usize; 10]; 2] = [
        [0, 7, 8, 1, 2, 9, 5, 3, 6, 4],
        [0, 3, 7, 6, 2, 9, 4, 5, 8, 1],
    ];

    #[test]
    fn a_batch_across_the_end_goes_on_with_the_next_epoch() {
        let mut sampler = Sampler::new(5, 0, false).unwrap();
        assert_eq!(take(&mut sampler, 3), [0, 1, 2]);
        assert_eq!(take(&mut sampler, 4), [3, 4, 0, 1]);
        assert_eq!((sampler.state().epoch, sampler.state().position), (1, 2));
        assert_eq!(take(&mut sampler, 8), [2, 3, 4, 0, 1, 2, 3, 4]);
        assert_eq!((sampler.state().epoch, sampler.state().position), (3, 0));
    }

    #[test]
    fn impossible_states_are_refused() {
        assert!(Sampler::new(0, 1, true).is_err());
        let state = SamplerState {
            len: 4,
            seed: 0,
            shuffle: true,
            epoch: 0,
            position: 4,
        };
        let text = Sampler::resume(state).unwrap_err().to_string();
        assert!(text.contains("position 4 lies past the last of 4 rows"));
    }

    proptest! {
        #[test]
        fn a_resumed_run_equals_a_straight_one(
            len in 1usize..40, seed: u64, shuffle: bool,
            before in 0usize..100, after in 0usize..100, batch in 1usize..9,
        ) {
            let mut straight = Sampler::new(len, seed, shuffle).unwrap();
            let whole: Vec<usize> = straight.by_ref().take(before + after).collect();
            let mut first = Sampler::new(len, seed, shuffle).unwrap();
            let mut drawn: Vec<usize> = first.by_ref().take(before).collect();
            let saved = serde_json::to_string(first.state()).unwrap();
            let mut second = Sampler::resume(serde_json::from_str(&saved).unwrap()).unwrap();
            while drawn.len() < whole.len() {
                drawn.extend(second.next_batch(batch.min(whole.len() - drawn.len())));
            }
            prop_assert_eq!(drawn, whole);
            prop_assert_eq!(second.state(), straight.state());
        }
    }
}
