//! How much of a file is checked before its rows are handed out, and what becomes of bad rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rayon::prelude::*;

use super::OpenOptions;
use super::index::Slot;
use super::rows::Rows;
use crate::error::{DataError, Result};

/// Rows that are checked together, in parallel.
const BATCH: usize = 1024;
/// Rows that are looked at when a file opens and the rest is left to the background: systematic faults (another
/// schema, another folder of pictures) show in any of them.
const SAMPLE: usize = 256;
/// No bad row was found.
const NONE: usize = usize::MAX;

/// The rows that can be used, and why the others cannot. With `max_bad_rows` 0 the first bad row of the file is an
/// error.
pub(super) fn check_all(rows: &Rows, options: &OpenOptions) -> Result<(Vec<Slot>, Vec<DataError>)> {
    let (mut good, mut bad) = (Vec::with_capacity(rows.slots.len()), Vec::new());
    for batch in rows.slots.chunks(BATCH) {
        let verdicts: Vec<Result<()>> = batch.par_iter().map(|slot| rows.check(*slot)).collect();
        for (slot, verdict) in batch.iter().zip(verdicts) {
            match verdict {
                Ok(()) => good.push(*slot),
                Err(error) if options.max_bad_rows == 0 => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "row left out");
                    bad.push(error);
                }
            }
            if bad.len() > options.max_bad_rows {
                return Err(DataError::TooManyBadRows {
                    file: rows.path.to_path_buf(),
                    bad: bad.len(),
                    rows: good.len() + bad.len(),
                    allowed: options.max_bad_rows,
                    first: Box::new(bad.swap_remove(0)),
                });
            }
        }
    }
    Ok((good, bad))
}

/// Looks at rows all over the file, the first and the last among them, and at every line that is too long.
pub(super) fn check_sample(rows: &Rows) -> Result<()> {
    let slots = &rows.slots;
    if let Some(long) = slots.iter().find(|slot| slot.len == Slot::TOO_LONG) {
        return rows.check(*long);
    }
    let count = slots.len().min(SAMPLE);
    let place = |i: usize| i * (slots.len() - 1) / (count - 1).max(1);
    let verdicts: Vec<Result<()>> = (0..count)
        .into_par_iter()
        .map(|i| rows.check(slots[place(i)]))
        .collect();
    verdicts.into_iter().collect()
}

/// A thread that goes over a file while its rows are used already.
#[derive(Debug)]
pub(super) struct Background {
    /// The first bad row, or [`NONE`].
    bad: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    pub(super) fn start(rows: Arc<Rows>) -> Result<Self> {
        let (bad, stop) = (
            Arc::new(AtomicUsize::new(NONE)),
            Arc::new(AtomicBool::new(false)),
        );
        let path = Arc::clone(&rows.path);
        let (found, stopped) = (Arc::clone(&bad), Arc::clone(&stop));
        let body = move || {
            for (index, slot) in rows.slots.iter().enumerate() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                if rows.check(*slot).is_err() {
                    found.store(index, Ordering::Release);
                    return;
                }
            }
            tracing::debug!(file = %rows.path.display(), rows = rows.slots.len(), "every row is usable");
        };
        let thread = std::thread::Builder::new()
            .name("vtb-check".to_owned())
            .spawn(body)
            .map_err(|e| DataError::io(&path, "check", e))?;
        Ok(Self {
            bad,
            stop,
            thread: Some(thread),
        })
    }

    /// Number of the first bad row, once it is found.
    pub(super) fn bad_row(&self) -> Option<usize> {
        Some(self.bad.load(Ordering::Acquire)).filter(|index| *index != NONE)
    }

    /// Whether the thread has come to its end.
    pub(super) fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It panicked only if a check did, and then the row fails the same way when it is drawn.
            let _ = thread.join();
        }
    }
}
