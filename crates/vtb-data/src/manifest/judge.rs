//! Judges for the entries of a data set, whoever made it.

use vtb_puzzle::{Answer, MazeGraph, PictureJudge, find};

use super::ManifestEntry;
use super::upstream_rule;
use crate::error::{DataError, Result};

impl ManifestEntry {
    /// Makes the judge of edited pictures of this entry.
    ///
    /// For our own data everything follows from the record. Foreign data say less: markers,
    /// boards to be mirrored and square mazes are told from the record's geometry. Hexagonal and
    /// round mazes store no walls, so their cells come from the record and their passages from
    /// the walls that the puzzle's picture shows; the stored path must be open on them. All other
    /// foreign tasks are answered in text.
    ///
    /// # Errors
    /// [`DataError::Puzzle`] for our own record, also of a task whose pictures cannot be judged;
    /// [`DataError::Record`] naming a foreign record and the field that does not serve;
    /// [`DataError::Io`] and [`DataError::Changed`] for its pictures.
    pub fn picture_judge(&self) -> Result<PictureJudge> {
        match (&self.record, &self.foreign) {
            (Some(record), _) => find(&record.task)
                .and_then(|task| PictureJudge::new(task, record))
                .map_err(|fault| self.puzzle_fault(&fault.to_string())),
            (None, Some(foreign)) => upstream_rule::picture_judge(self, foreign),
            (None, None) => Err(self.puzzle_fault("there is no record to judge by")),
        }
    }

    /// Cells and open passages of a maze, by which text answers are judged; `None` for other
    /// puzzles. [`ManifestEntry::picture_judge`] says where they come from in foreign data.
    ///
    /// # Errors
    /// As [`ManifestEntry::picture_judge`].
    pub fn maze_graph(&self) -> Result<Option<MazeGraph>> {
        match (&self.record, &self.foreign, &self.answer) {
            (Some(record), ..) => Ok(record.graph.clone()),
            (None, Some(foreign), Answer::Path(path)) => {
                upstream_rule::maze_graph(self, foreign, path).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn puzzle_fault(&self, reason: &str) -> DataError {
        DataError::Puzzle {
            task: self.task.clone(),
            reason: format!("record {}: {reason}", self.id),
        }
    }
}
