//! How far a run is.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// How far a run is, after each record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress<'a> {
    /// The task at hand.
    pub task: &'a str,
    /// Records finished, of all tasks.
    pub done: u64,
    /// Records wanted, of all tasks.
    pub total: u64,
    /// Records of `done` that an earlier run had finished.
    pub reused: u64,
    /// Records made per second of this run.
    pub rate: f64,
    /// How long the rest will take at this rate; none before the first record is made.
    pub left: Option<Duration>,
}

/// Told of progress; it may ask the run to stop.
pub type OnProgress<'a> = dyn FnMut(&Progress<'_>) -> ControlFlow<()> + Send + 'a;

/// Counts records and tells of them.
pub(super) struct Watch<'a> {
    tell: &'a mut OnProgress<'a>,
    begun: Instant,
    total: u64,
    pub(super) done: u64,
    pub(super) reused: u64,
}

impl<'a> Watch<'a> {
    pub(super) fn new(total: u64, tell: &'a mut OnProgress<'a>) -> Self {
        Self {
            tell,
            begun: Instant::now(),
            total,
            done: 0,
            reused: 0,
        }
    }

    /// One more record is finished. False: the run is to stop.
    pub(super) fn finished(&mut self, task: &str, reused: bool) -> bool {
        self.done += 1;
        self.reused += u64::from(reused);
        let made = (self.done - self.reused) as f64;
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = made / seconds.max(1e-9);
        let rest = self.total.saturating_sub(self.done) as f64;
        let left = (made > 0.0).then(|| Duration::try_from_secs_f64(rest / rate).ok());
        let progress = Progress {
            task,
            done: self.done,
            total: self.total,
            reused: self.reused,
            rate,
            left: left.flatten(),
        };
        (self.tell)(&progress).is_continue()
    }
}
