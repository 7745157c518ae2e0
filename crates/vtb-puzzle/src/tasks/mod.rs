//! The tasks, one file each.

mod arcagi;
mod circle_count;
mod color_grid;
mod jigsaw;
mod maze_square;
mod midpoint;
mod mirror;
mod rects;
mod sudoku;

use crate::task::Puzzle;

pub use arcagi::{ArcPair, ArcSource, Arcagi, ArcagiParams, ArcagiScene};
pub use circle_count::{Circle, CircleCount, CircleCountParams, CircleCountScene};
pub use color_grid::{ColorGrid, ColorGridParams, ColorGridScene, PromptStyle};
pub use jigsaw::{Jigsaw, JigsawParams, JigsawScene, PictureOrigin, Piece};
pub use maze_square::{MazeSquare, MazeSquareParams, MazeSquareScene, Placement};
pub use midpoint::{Midpoint, MidpointParams, MidpointScene};
pub use mirror::{Mirror, MirrorParams, MirrorScene};
pub use rects::{LayerRect, Rects, RectsParams, RectsScene};
pub use sudoku::{Sudoku, SudokuParams, SudokuScene};

/// The table behind the registry, sorted by name.
pub(crate) static TASKS: &[&dyn Puzzle] = &[
    &Arcagi,
    &CircleCount,
    &ColorGrid,
    &Jigsaw,
    &MazeSquare,
    &Midpoint,
    &Mirror,
    &Rects,
    &Sudoku,
];
