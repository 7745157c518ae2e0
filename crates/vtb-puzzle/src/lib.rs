//! Visual puzzles whose answers can be checked: geometry, scenes, drawing and verdicts.
//!
//! No tensors, no clock and no system randomness: everything follows from `(params, seed)`.

pub mod answer;
mod error;
pub mod graph;

pub use error::{PuzzleError, Result};
