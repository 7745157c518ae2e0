//! What the visual tasks share: boards of square cells, and the parts of single tasks that are large
//! enough for a file of their own.

mod arc_make;
mod arc_rule;
mod board;
mod picture;
mod sudoku;
mod tile;

pub use arc_rule::{ArcRule, Direction, MAX_SIDE as MAX_ARC_SIDE, Turn, fitting_outputs};
pub use sudoku::{Boxes, Search, solve_sudoku};

pub(crate) use arc_make::{FAMILIES, make_example, random_rule};
pub(crate) use board::{Board, canvas_sides, fill_growing, inset, outline};
pub(crate) use picture::{check_data_uri, decode_picture, draw_picture};
pub(crate) use sudoku::random_board;
pub(crate) use tile::Cut;

use crate::error::{PuzzleError, Result};

/// Rows of small numbers, top row first.
pub type Grid = Vec<Vec<u8>>;

/// A scene's rule must hold.
pub(crate) fn require(holds: bool, fault: &str) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(PuzzleError::BadScene(fault.to_owned())),
    }
}

/// The grid has this many rows and columns.
pub(crate) fn is_shaped(grid: &[Vec<u8>], rows: u32, cols: u32) -> bool {
    grid.len() == rows as usize && grid.iter().all(|row| row.len() == cols as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_compared_row_by_row() {
        assert!(is_shaped(&[vec![1, 2], vec![3, 4]], 2, 2));
        assert!(!is_shaped(&[vec![1, 2], vec![3]], 2, 2));
        assert!(!is_shaped(&[], 1, 0));
    }
}
