//! Visual puzzles whose answers can be checked: geometry, scenes, drawing and verdicts.
//!
//! No tensors, no clock and no system randomness: everything follows from `(params, seed)`. A
//! [`Record`] holds the whole geometry of a puzzle, so drawing it again, checking it and judging
//! an answer to it need nothing else.
//!
//! ```
//! use vtb_puzzle::{Instance, Layer, find, record_seed};
//!
//! let params = serde_json::json!({"canvas": 96});
//! let seed = record_seed(42, "color_grid", 0);
//! let puzzle = Instance::generate(find("color_grid")?, &params, seed)?;
//! assert_eq!(puzzle.draw(Layer::Puzzle)?.width(), 96);
//! assert!(puzzle.judge_text(&puzzle.record.gold_text()).correct);
//! # Ok::<(), vtb_puzzle::PuzzleError>(())
//! ```
//!
//! A further task is one file that implements [`Task`] and a line in the table of [`tasks`]; in a crate of yours,
//! [`register`] makes it known.

pub mod answer;
mod dice;
pub mod draw;
mod error;
pub mod eyeballing;
pub mod graph;
mod hash;
pub mod judge;
pub mod maze;
mod params;
pub mod pattern;
mod record;
mod registry;
mod task;
pub mod tasks;
mod verdict;
pub mod visual;

pub use dice::Dice;
pub use draw::{Layer, PngSeries, encode_png};
pub use error::{PuzzleError, Result};
pub use graph::{CellId, MazeGraph, PathCheck, PathFault, PathRules, check_path};
pub use hash::{canonical_json, record_id, record_seed, scene_hash};
pub use judge::{ClipJudge, ClipVerdict, PictureJudge, PictureRule, PictureVerdict};
pub use params::{Optional, Params, read_params};
pub use record::{Answer, Prompts, Record, TaskGroup};
pub use registry::{Instance, find, judge_text, register, registry, verify};
pub use task::{Painter, Puzzle, Solved, Task, TaskInfo};
pub use verdict::{
    MAX_GRID_SIDE, Outcome, PlaceCheck, Question, Verdict, check_grid, check_sequence,
    judge_question, judge_record,
};
