//! Tasks by name.

use std::sync::{PoisonError, RwLock};

use image::RgbImage;
use serde_json::Value;

use crate::answer::AnswerPolicy;
use crate::draw::Layer;
use crate::error::{PuzzleError, Result};
use crate::params::nearest;
use crate::record::Record;
use crate::task::Puzzle;
use crate::tasks::TASKS;
use crate::verdict::{Verdict, judge_record};

/// Every task of this crate, sorted by name.
#[must_use]
pub fn registry() -> &'static [&'static dyn Puzzle] {
    TASKS
}

/// Tasks of other crates.
static FURTHER: RwLock<Vec<&'static dyn Puzzle>> = RwLock::new(Vec::new());

/// Makes a task of another crate known by its name in this process: to [`find`], and so to all that makes, checks and
/// judges records by the name they carry. A record keeps the task's version; raise it when scenes or pictures change.
///
/// # Errors
/// [`PuzzleError::NameTaken`].
pub fn register(task: &'static dyn Puzzle) -> Result<()> {
    let name = task.info().name;
    let mut further = FURTHER.write().unwrap_or_else(PoisonError::into_inner);
    if TASKS
        .iter()
        .chain(further.iter())
        .any(|known| known.info().name == name)
    {
        return Err(PuzzleError::NameTaken(name.to_owned()));
    }
    further.push(task);
    Ok(())
}

/// The task of this name: one of this crate, or one that was [registered](register).
///
/// # Errors
/// [`PuzzleError::UnknownTask`] with the nearest name.
pub fn find(name: &str) -> Result<&'static dyn Puzzle> {
    let named = |task: &&&'static dyn Puzzle| task.info().name == name;
    if let Some(found) = TASKS.iter().find(named) {
        return Ok(*found);
    }
    let further = FURTHER.read().unwrap_or_else(PoisonError::into_inner);
    let found = further.iter().find(named).copied();
    found.ok_or_else(|| {
        let known = TASKS.iter().chain(further.iter());
        PuzzleError::UnknownTask {
            name: name.to_owned(),
            hint: nearest(name, known.map(|task| task.info().name)),
        }
    })
}

/// Judges a text answer by the record alone, with the default [`AnswerPolicy`]; total.
#[must_use]
pub fn judge_text(record: &Record, text: &str) -> Verdict {
    judge_record(record, text, &AnswerPolicy::default())
}

/// Checks a record of a registered task; see [`Puzzle::verify`].
///
/// # Errors
/// As [`find`] and [`Puzzle::verify`].
pub fn verify(record: &Record) -> Result<()> {
    find(&record.task)?.verify(record)
}

/// A puzzle in hand: its record together with the task that draws and judges it.
#[derive(Clone)]
pub struct Instance<'a> {
    /// The record.
    pub record: Record,
    task: &'a dyn Puzzle,
}

impl<'a> Instance<'a> {
    /// Generates a puzzle.
    ///
    /// # Errors
    /// As [`Puzzle::generate`].
    pub fn generate(task: &'a dyn Puzzle, params: &Value, seed: u64) -> Result<Self> {
        Ok(Self {
            record: task.generate(params, seed)?,
            task,
        })
    }

    /// Takes a record up again.
    ///
    /// # Errors
    /// As [`find`] and [`Puzzle::verify`].
    pub fn from_record(record: Record) -> Result<Instance<'static>> {
        let task = find(&record.task)?;
        task.verify(&record)?;
        Ok(Instance { record, task })
    }

    /// Draws the question, the growing construction or the solution.
    ///
    /// # Errors
    /// As [`Puzzle::draw`].
    pub fn draw(&self, layer: Layer) -> Result<RgbImage> {
        self.task.draw(&self.record, layer)
    }

    /// Draws a video of `count` frames.
    ///
    /// # Errors
    /// As [`Puzzle::frames`].
    pub fn frames(&self, count: usize) -> Result<Vec<RgbImage>> {
        self.task.frames(&self.record, count)
    }

    /// Judges a text answer.
    #[must_use]
    pub fn judge_text(&self, text: &str) -> Verdict {
        self.task
            .judge_text(&self.record, text, &AnswerPolicy::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        let names: Vec<_> = registry().iter().map(|task| task.info().name).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
    }

    #[test]
    fn a_mistyped_name_gets_a_hint() {
        let fault = find("maze_sqare").map(|_| ()).unwrap_err().to_string();
        assert_eq!(
            fault,
            "there is no task `maze_sqare`; did you mean `maze_square`?"
        );
    }
}
