//! Records of different scenes, in the order of their numbers.

use std::collections::HashSet;

use rayon::prelude::*;
use serde::Serialize;
use vtb_puzzle::{PuzzleError, Record, record_seed};

use super::fault::GenerateFault;
use super::plan::{Plan, TaskPlan};
use crate::error::{DataError, Result};

/// Records made between two looks at how many are still missing.
const CHUNK: u64 = 256;
/// Seeds tried for each record wanted, once new scenes get rare.
const TRIES_EACH: u64 = 50;
/// Seeds without a scene, one after the other, that end the search: the parameters are to blame.
const BARREN: u32 = 16;

/// What became of the seeds of a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Records taken.
    pub records: u64,
    /// Seeds tried, up to that of the last record taken.
    pub tried: u64,
    /// Left out, because an earlier record shows the same scene.
    pub repeated: u64,
    /// Left out, because the scene is held out.
    pub held_out: u64,
    /// Seeds for which the generator found no scene.
    pub no_scene: u64,
}

/// Makes the records of one task, those of the next numbers at a time.
pub(super) struct Picker<'a> {
    plan: &'a Plan,
    task: &'a TaskPlan,
    seen: HashSet<String>,
    in_vain: u32,
    pub(super) tally: Tally,
}

impl<'a> Picker<'a> {
    pub(super) fn new(plan: &'a Plan, task: &'a TaskPlan) -> Self {
        Self {
            plan,
            task,
            seen: HashSet::new(),
            in_vain: 0,
            tally: Tally::default(),
        }
    }

    /// The next records, none when all are there.
    ///
    /// They are made in parallel and taken in order: which of two equal scenes stays, and what
    /// the tally says, does not depend on how many are made at once.
    pub(super) fn next(&mut self) -> Result<Vec<Record>> {
        let limit = self.plan.count.saturating_mul(TRIES_EACH).max(CHUNK);
        let mut taken = Vec::new();
        while taken.is_empty() && self.tally.records < self.plan.count {
            let from = self.tally.tried;
            if from >= limit {
                return Err(self.too_few());
            }
            let wanted = self.plan.count - self.tally.records;
            let to = (from + wanted.clamp(8, CHUNK)).min(limit);
            let make = |index: u64| {
                let seed = record_seed(self.plan.seed, self.task.name, index);
                self.task.task.generate(&self.task.params, seed)
            };
            let made: Vec<_> = (from..to).into_par_iter().map(make).collect();
            for record in made {
                if self.tally.records == self.plan.count {
                    break;
                }
                taken.extend(self.take(record)?);
            }
        }
        Ok(taken)
    }

    fn take(&mut self, made: std::result::Result<Record, PuzzleError>) -> Result<Option<Record>> {
        self.tally.tried += 1;
        let record = match made {
            Ok(record) => record,
            Err(last @ PuzzleError::NoScene { .. }) => {
                // One seed in many may find no scene; the next one is as good.
                self.tally.no_scene += 1;
                self.in_vain += 1;
                if self.in_vain < BARREN {
                    return Ok(None);
                }
                let in_a_row = self.in_vain;
                return Err(GenerateFault::Barren { in_a_row, last }.into());
            }
            Err(other) => return Err(GenerateFault::from(other).into()),
        };
        self.in_vain = 0;
        if self.plan.held_out.contains(&record.scene_hash) {
            self.tally.held_out += 1;
        } else if !self.seen.insert(record.scene_hash.clone()) {
            self.tally.repeated += 1;
        } else {
            self.tally.records += 1;
            return Ok(Some(record));
        }
        Ok(None)
    }

    fn too_few(&self) -> DataError {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        DataError::TooFewScenes {
            task: self.task.name.to_owned(),
            found: number(self.tally.records),
            wanted: number(self.plan.count),
            tries: number(self.tally.tried),
        }
    }
}
