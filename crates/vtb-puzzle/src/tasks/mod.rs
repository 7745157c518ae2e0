//! The tasks, one file each.

mod color_grid;
mod maze_hexagon;
mod maze_labyrinth;
mod maze_square;
mod midpoint;

use crate::task::Puzzle;

pub use color_grid::{ColorGrid, ColorGridParams, ColorGridScene, PromptStyle};
pub use maze_hexagon::{MazeHexagon, MazeHexagonParams, MazeHexagonScene};
pub use maze_labyrinth::{MazeLabyrinth, MazeLabyrinthParams, MazeLabyrinthScene};
pub use maze_square::{MazeSquare, MazeSquareParams, MazeSquareScene, Placement};
pub use midpoint::{Midpoint, MidpointParams, MidpointScene};

/// The table behind the registry, sorted by name.
pub(crate) static TASKS: &[&dyn Puzzle] = &[
    &ColorGrid,
    &MazeHexagon,
    &MazeLabyrinth,
    &MazeSquare,
    &Midpoint,
];
