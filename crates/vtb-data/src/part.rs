//! A part of a data set: rows held out by chance, and those that are left.

use std::sync::Arc;

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use crate::dataset::{Fingerprint, RowSource};
use crate::error::{DataError, Result};
use crate::row::TrainRow;

/// Which of `len` rows are held out, in order: `share` (above 0, below 1) of them, at least one and not all. The same seed
/// and number of rows give the same ones.
///
/// # Errors
/// A share out of range, or a single row.
pub fn held_out_rows(len: usize, share: f64, seed: u64) -> Result<Vec<usize>> {
    if !(share > 0.0 && share < 1.0) || len < 2 {
        return Err(DataError::HeldOut { share, rows: len });
    }
    let count = ((len as f64 * share).round() as usize).clamp(1, len - 1);
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut held_out = index::sample(&mut dice, len, count).into_vec();
    held_out.sort_unstable();
    Ok(held_out)
}

/// Some rows of a data set, in its order.
pub struct RowPart {
    source: Arc<dyn RowSource>,
    rows: Vec<usize>,
}

impl RowPart {
    /// Holds out `share` (above 0, below 1) of the rows, at least one and not all: the part to train on and the part held
    /// out. The same seed and number of rows give the same parts.
    ///
    /// # Errors
    /// A share out of range, or a data set of a single row.
    pub fn hold_out(source: Arc<dyn RowSource>, share: f64, seed: u64) -> Result<(Self, Self)> {
        let len = source.len();
        let held_out = held_out_rows(len, share, seed)?;
        let left = (0..len)
            .filter(|row| held_out.binary_search(row).is_err())
            .collect();
        let part = |rows| Self {
            source: Arc::clone(&source),
            rows,
        };
        Ok((part(left), part(held_out)))
    }
}

impl RowSource for RowPart {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn row(&self, index: usize) -> Result<TrainRow> {
        let row = self.rows.get(index).ok_or_else(|| DataError::NoSuchRow {
            file: "a part of the data set".to_owned(),
            index,
            len: self.rows.len(),
        })?;
        self.source.row(*row)
    }

    /// That of the whole: which rows are held out follows from it and from the settings.
    fn fingerprint(&self) -> Fingerprint {
        self.source.fingerprint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::generated::{GeneratedDataset, PuzzleSpec};
    use crate::row::RowMode;

    fn puzzles(count: usize) -> Arc<dyn RowSource> {
        let spec = PuzzleSpec {
            task: "color_grid".to_owned(),
            params: serde_json::json!({"canvas": 96}),
            seed: 1,
            count,
        };
        Arc::new(GeneratedDataset::new(&spec, RowMode::Grpo, &BTreeSet::new()).unwrap())
    }

    fn ids(part: &dyn RowSource) -> Vec<String> {
        let id = |index| part.row(index).unwrap().id.unwrap();
        (0..part.len()).map(id).collect()
    }

    #[test]
    fn parts_share_no_row_and_leave_none_out() {
        let all = puzzles(20);
        let (train, held_out) = RowPart::hold_out(all.clone(), 0.25, 7).unwrap();
        assert_eq!((train.len(), held_out.len()), (15, 5));
        let both: BTreeSet<String> = ids(&train).into_iter().chain(ids(&held_out)).collect();
        assert_eq!(both, ids(all.as_ref()).into_iter().collect());
        let (_, again) = RowPart::hold_out(all.clone(), 0.25, 7).unwrap();
        assert_eq!(ids(&again), ids(&held_out));
        let (_, other) = RowPart::hold_out(all, 0.25, 8).unwrap();
        assert_ne!(ids(&other), ids(&held_out));
        assert!(held_out.row(5).is_err());
    }

    #[test]
    fn neither_part_is_ever_empty() {
        for share in [1e-9, 0.999] {
            let (train, held_out) = RowPart::hold_out(puzzles(3), share, 1).unwrap();
            assert!(train.len() > 0 && held_out.len() > 0);
        }
        for (share, rows) in [(0.0, 3), (1.0, 3), (f64::NAN, 3), (0.5, 1)] {
            assert!(RowPart::hold_out(puzzles(rows), share, 1).is_err());
        }
    }
}
