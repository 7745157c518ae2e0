//! The tasks, one file each.

mod color_grid;
mod maze_square;
mod midpoint;

use crate::task::Puzzle;

pub use color_grid::{ColorGrid, ColorGridParams, ColorGridScene, PromptStyle};
pub use maze_square::{MazeSquare, MazeSquareParams, MazeSquareScene, Placement};
pub use midpoint::{Midpoint, MidpointParams, MidpointScene};

/// The table behind the registry, sorted by name.
pub(crate) static TASKS: &[&dyn Puzzle] = &[&ColorGrid, &MazeSquare, &Midpoint];
