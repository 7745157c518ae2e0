//! Rows prepared ahead of the step that needs them, and a place in the data that counts what was used, not what was
//! prepared.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use vtb_data::{BatchPlan, BatchSampler, BatchState, Bucket, LastBatch, Prefetch};

use super::objective::Position;
use crate::TrainError;
use crate::rng;

/// How rows are prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// Threads that prepare rows ahead; 0 prepares them when they are asked for.
    pub threads: usize,
    /// Most rows that are prepared and not used yet.
    pub ahead: usize,
    /// Which rows share a batch.
    pub bucket: Bucket,
}

impl Default for LoadOptions {
    /// Two threads, 32 rows ahead, no buckets.
    fn default() -> Self {
        Self {
            threads: 2,
            ahead: 32,
            bucket: Bucket::None,
        }
    }
}

/// What a loader asks of a source of rows.
pub(super) trait Load: Send + Sync + 'static {
    type Row: Send + 'static;

    fn load(&self, index: usize) -> Result<Self::Row, TrainError>;

    fn size(&self, index: usize, bucket: Bucket) -> Result<u64, TrainError>;
}

/// A row, and behind the last row of a draw where the sampler stands then.
struct Drawn<R> {
    row: R,
    after: Option<BatchState>,
}

type Rows<R> = Box<dyn Iterator<Item = vtb_data::Result<Result<Drawn<R>, TrainError>>> + Send>;

/// Draws rows for ever.
pub(super) struct Loader<L: Load> {
    source: Arc<L>,
    options: LoadOptions,
    plan: BatchPlan,
    /// Rows of a draw.
    draw: usize,
    /// Behind the last row that was handed out.
    state: BatchState,
    /// Begun with the first draw, so that a resumed run prepares nothing in vain.
    rows: Option<Rows<L::Row>>,
    used: usize,
    waited: Duration,
}

impl<L: Load> Loader<L> {
    /// Draws one batch at a time, `accumulation` of which make a step, in the order of a run.
    pub(super) fn batches(
        source: L,
        len: usize,
        run_seed: u64,
        options: LoadOptions,
        batch: usize,
        accumulation: usize,
        last: LastBatch,
    ) -> Result<Self, TrainError> {
        if batch == 0 || accumulation == 0 {
            return Err(TrainError::Config(
                "batch_size and gradient_accumulation must be at least 1".into(),
            ));
        }
        let plan = BatchPlan {
            batch,
            bucket: options.bucket,
            last,
        };
        let order = rng::seed(run_seed, "data order", 0, 0);
        Self::new(Arc::new(source), len, order, options, plan, batch)
    }

    /// Draws `draw` rows at a time, fewer only where `plan` has ragged batches.
    pub(super) fn new(
        source: Arc<L>,
        len: usize,
        seed: u64,
        options: LoadOptions,
        plan: BatchPlan,
        draw: usize,
    ) -> Result<Self, TrainError> {
        let sampler = BatchSampler::new(len, seed, true, plan).map_err(TrainError::other)?;
        Ok(Self {
            source,
            options,
            plan,
            draw,
            state: sampler.state(),
            rows: None,
            used: 0,
            waited: Duration::ZERO,
        })
    }

    /// The rows of the next draw.
    pub(super) fn next_batch(&mut self) -> Result<Vec<L::Row>, TrainError> {
        let started = Instant::now();
        let mut rows = match self.rows.take() {
            Some(rows) => rows,
            None => self.begin()?,
        };
        let mut batch = Vec::with_capacity(self.draw);
        let after = loop {
            let drawn = rows.next().ok_or_else(ended)?;
            let Drawn { row, after } = drawn.map_err(TrainError::other)??;
            batch.push(row);
            if let Some(after) = after {
                break after;
            }
        };
        self.state = after;
        // Not put back after an error: the next draw would begin behind the row that failed.
        self.rows = Some(rows);
        self.used += batch.len();
        self.waited += started.elapsed();
        Ok(batch)
    }

    fn begin(&self) -> Result<Rows<L::Row>, TrainError> {
        let sampler = BatchSampler::resume(self.state.clone(), self.plan);
        let jobs = Jobs {
            sampler: sampler.map_err(TrainError::other)?,
            source: Arc::clone(&self.source),
            draw: self.draw,
            rows: Vec::new().into_iter(),
            failed: false,
        };
        let source = Arc::clone(&self.source);
        let work = move |job: Result<(usize, Option<BatchState>), TrainError>| {
            Ok(job.and_then(|(index, after)| {
                let row = source.load(index)?;
                Ok(Drawn { row, after })
            }))
        };
        let LoadOptions { threads, ahead, .. } = self.options;
        if threads == 0 {
            return Ok(Box::new(jobs.map(work)));
        }
        let rows = Prefetch::new(jobs, threads, ahead, work).map_err(TrainError::other)?;
        Ok(Box::new(rows))
    }

    /// Rows handed out and time waited for them since the last call.
    pub(super) fn take_counts(&mut self) -> (usize, Duration) {
        (
            std::mem::take(&mut self.used),
            std::mem::take(&mut self.waited),
        )
    }

    pub(super) fn position(&self) -> Position {
        Position {
            epoch: self.state.rows.epoch,
            cursor: serde_json::to_value(&self.state).unwrap_or_default(),
        }
    }

    pub(super) fn restore(&mut self, cursor: &Value) -> Result<(), TrainError> {
        let state: BatchState =
            serde_json::from_value(cursor.clone()).map_err(TrainError::other)?;
        BatchSampler::resume(state.clone(), self.plan).map_err(TrainError::other)?;
        (self.state, self.rows) = (state, None);
        Ok(())
    }
}

fn ended() -> TrainError {
    TrainError::Input("the thread that draws rows has stopped".into())
}

/// Row numbers in the order they are used. Ends after an error.
struct Jobs<L> {
    sampler: BatchSampler,
    source: Arc<L>,
    draw: usize,
    rows: std::vec::IntoIter<usize>,
    failed: bool,
}

impl<L: Load> Iterator for Jobs<L> {
    type Item = Result<(usize, Option<BatchState>), TrainError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.rows.len() == 0 {
            let (source, bucket) = (&self.source, self.sampler.plan().bucket);
            let sizes = |rows: &[usize]| rows.iter().map(|i| source.size(*i, bucket)).collect();
            match self.sampler.next_batch(self.draw, sizes) {
                Ok(rows) => self.rows = rows.into_iter(),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        let index = self.rows.next()?;
        let after = (self.rows.len() == 0).then(|| self.sampler.state());
        Some(Ok((index, after)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtb_data::LastBatch;

    struct Numbers;

    impl Load for Numbers {
        type Row = usize;

        fn load(&self, index: usize) -> Result<usize, TrainError> {
            match index {
                99 => Err(TrainError::Input("row 99 is bad".into())),
                _ => Ok(index),
            }
        }

        fn size(&self, index: usize, _: Bucket) -> Result<u64, TrainError> {
            Ok(index as u64 % 7)
        }
    }

    fn loader(len: usize, threads: usize, bucket: Bucket, last: LastBatch) -> Loader<Numbers> {
        let options = LoadOptions {
            threads,
            ahead: 5,
            bucket,
        };
        let plan = BatchPlan {
            batch: 4,
            bucket,
            last,
        };
        Loader::new(Arc::new(Numbers), len, 3, options, plan, 4).unwrap()
    }

    fn draw(loader: &mut Loader<Numbers>, batches: usize) -> Vec<Vec<usize>> {
        (0..batches).map(|_| loader.next_batch().unwrap()).collect()
    }

    #[test]
    fn rows_do_not_depend_on_threads_and_resume_where_they_were_used() {
        for bucket in [Bucket::None, Bucket::Length, Bucket::Pixels] {
            for last in [LastBatch::Wrap, LastBatch::Ragged, LastBatch::Drop] {
                let straight = draw(&mut loader(90, 0, bucket, last), 80);
                for (threads, cut) in [(1, 0), (2, 1), (3, 22), (2, 23), (2, 45), (1, 50)] {
                    let mut first = loader(90, threads, bucket, last);
                    let mut found = draw(&mut first, cut);
                    let position = first.position();
                    let mut second = loader(90, threads, bucket, last);
                    draw(&mut second, 2);
                    second.restore(&position.cursor).unwrap();
                    found.extend(draw(&mut second, 80 - cut));
                    assert_eq!(found, straight, "{bucket:?} {last:?} {threads} {cut}");
                    assert_eq!(first.take_counts().0, found[..cut].concat().len());
                }
            }
        }
    }

    #[test]
    fn an_epoch_draws_every_row_once_across_a_resume() {
        for bucket in [Bucket::None, Bucket::Length] {
            let mut loader = loader(90, 2, bucket, LastBatch::Ragged);
            let mut rows = draw(&mut loader, 11).concat();
            let position = loader.position();
            loader.restore(&position.cursor).unwrap();
            while loader.position().epoch == 0 {
                rows.extend(loader.next_batch().unwrap());
            }
            rows.sort_unstable();
            assert_eq!(rows, (0..90).collect::<Vec<_>>());
            // Exactly at the boundary.
            let position = loader.position();
            assert_eq!(position.epoch, 1);
            let next = draw(&mut loader, 3);
            loader.restore(&position.cursor).unwrap();
            assert_eq!(draw(&mut loader, 3), next);
        }
    }

    #[test]
    fn a_row_that_fails_is_told_in_its_turn_and_moves_nothing() {
        for threads in [0, 3] {
            let mut loader = loader(100, threads, Bucket::None, LastBatch::Ragged);
            let mut before = loader.position().cursor;
            let error = loop {
                match loader.next_batch() {
                    Ok(_) => before = loader.position().cursor,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.to_string(), "row 99 is bad");
            assert_eq!(loader.position().cursor, before);
            // Asked again it says the same.
            assert_eq!(
                loader.next_batch().unwrap_err().to_string(),
                "row 99 is bad"
            );
        }
    }

    #[test]
    fn a_place_that_contradicts_itself_is_refused() {
        let mut loader = loader(8, 0, Bucket::None, LastBatch::Wrap);
        let mut cursor = loader.position().cursor;
        cursor["rows"]["position"] = 8.into();
        assert!(loader.restore(&cursor).is_err());
        assert!(loader.restore(&Value::Null).is_err());
    }
}
