//! What is kept of a puzzle: enough to draw it, to check it and to judge answers to it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::draw::Stroke;
use crate::graph::{CellId, MazeGraph, PathRules};

/// Families of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskGroup {
    /// Pick the point that completes a construction.
    Eyeballing,
    /// Find the way.
    Maze,
    /// Whole-picture tasks of the older collection.
    Visual,
    /// Find the rule, fill the gap.
    VisualPuzzle,
}

impl TaskGroup {
    /// Name in records and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eyeballing => "eyeballing",
            Self::Maze => "maze",
            Self::Visual => "visual",
            Self::VisualPuzzle => "visual_puzzle",
        }
    }
}

impl fmt::Display for TaskGroup {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// One prompt per kind of answer; the puzzle picture comes with each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Prompts {
    /// Picture in, text out: the final answer is asked for inside answer tags.
    pub text: String,
    /// Picture in, edited picture out.
    pub image: String,
    /// Picture in, text and edited picture out.
    pub text_image: String,
    /// Picture in, video out.
    pub video: String,
}

/// The right answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// One of the options (JSON: a string).
    Choice(String),
    /// Cells from start to goal (JSON: a list of numbers).
    Path(Vec<CellId>),
    /// Names in order (JSON: a list of strings).
    Sequence(Vec<String>),
    /// Rows of small numbers, top row first (JSON: a list of lists of numbers).
    Grid(Vec<Vec<u8>>),
}

/// `B`, `red`, `[10, 11, 12]`, `red, blue, green`, `[[1, 2], [2, 1]]`: the text that stands between
/// the answer tags.
impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Choice(option) => out.write_str(option),
            Self::Path(ids) => write!(out, "{ids:?}"),
            Self::Sequence(names) => out.write_str(&names.join(", ")),
            Self::Grid(rows) => write!(out, "{rows:?}"),
        }
    }
}

/// A puzzle, complete: drawing, checking and judging need nothing else.
///
/// `id` and `seed` say where it came from; `scene` is its geometry and `scene_hash` identifies it;
/// all from `answer` on follows from scene and parameters, and `verify` recomputes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Hash of task, version, parameters and seed, 32 hex digits.
    pub id: String,
    /// Name of the task.
    pub task: String,
    /// Family of the task.
    pub group: TaskGroup,
    /// Version of the task's generator; another version draws other scenes.
    pub version: u32,
    /// Seed of this record.
    pub seed: u64,
    /// Whole parameter block, defaults filled in.
    pub params: Value,
    /// Whole geometry; its shape is the task's own. Pixels, y down.
    pub scene: Value,
    /// Hash of task and scene, 32 hex digits.
    pub scene_hash: String,
    /// Width and height of the picture, pixels.
    pub canvas: [u32; 2],
    /// Prompts by kind of answer.
    pub prompts: Prompts,
    /// The right answer.
    pub answer: Answer,
    /// What an answer may be, or each name of a sequence; empty for paths and grids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The text prompt lists the options, in this order.
    #[serde(default)]
    pub options_listed: bool,
    /// Strokes that turn the puzzle into its solution, in drawing order.
    #[serde(default)]
    pub construction: Vec<Stroke>,
    /// Named measures, e.g. `difficulty` in 0..1, `min_violation` in pixels, `path_len` in cells.
    #[serde(default)]
    pub measures: BTreeMap<String, f64>,
    /// Mazes: cells, open passages, start, goal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<MazeGraph>,
    /// Mazes: what a path may do.
    #[serde(default, skip_serializing_if = "is_default")]
    pub path_rules: PathRules,
}

fn is_default(rules: &PathRules) -> bool {
    *rules == PathRules::default()
}

impl Record {
    /// The shortest text that answers the prompt as asked: the answer inside its tags.
    #[must_use]
    pub fn gold_text(&self) -> String {
        format!("<answer>{}</answer>", self.answer)
    }

    /// Probability that a guess among what the prompt offers is right: one of the options, some
    /// order of the right names; 0 for paths and grids.
    #[must_use]
    pub fn chance(&self) -> f64 {
        match &self.answer {
            Answer::Choice(_) => 1.0 / self.options.len().max(1) as f64,
            Answer::Sequence(names) => (1..=names.len()).map(|count| 1.0 / count as f64).product(),
            Answer::Path(_) | Answer::Grid(_) => 0.0,
        }
    }
}
