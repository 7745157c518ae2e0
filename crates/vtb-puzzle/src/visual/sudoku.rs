//! Sudokus: boxes and a solver that counts.

use super::Grid;
use crate::dice::Dice;

/// How the boxes of a board lie: rows and columns of one box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boxes {
    /// Rows of a box.
    pub rows: usize,
    /// Columns of a box.
    pub cols: usize,
}

impl Boxes {
    /// The boxes of a board with 4, 6 or 9 cells a side.
    #[must_use]
    pub fn of_size(size: usize) -> Option<Self> {
        match size {
            4 => Some(Self { rows: 2, cols: 2 }),
            6 => Some(Self { rows: 2, cols: 3 }),
            9 => Some(Self { rows: 3, cols: 3 }),
            _ => None,
        }
    }

    /// Cells along a side, and digits.
    #[must_use]
    pub fn size(self) -> usize {
        self.rows * self.cols
    }

    fn index(self, row: usize, column: usize) -> usize {
        row / self.rows * self.rows + column / self.cols
    }
}

/// What a search for solutions found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// Nothing fits.
    None,
    /// Exactly this.
    One(Grid),
    /// At least two; the first found.
    Several(Grid),
    /// The bound on steps was reached before it was clear.
    TooHard,
}

/// Most cells that a search fills in.
const MAX_STEPS: u32 = 200_000;

/// Looks for solutions of `grid` (0 for empty), digits tried in the order of `digits`.
///
/// Depth first, the cell with the fewest candidates next. With `first_only` the search ends at the
/// first solution and calls it the only one.
#[must_use]
pub fn solve_sudoku(grid: &[Vec<u8>], boxes: Boxes, digits: &[u8], first_only: bool) -> Search {
    let size = boxes.size();
    let shaped = grid.len() == size && grid.iter().all(|row| row.len() == size);
    let Some(mut state) = shaped.then(|| State::new(grid, boxes)).flatten() else {
        return Search::None;
    };
    state.search(digits, if first_only { 1 } else { 2 });
    match (state.found.len(), state.steps > MAX_STEPS) {
        (0, true) => Search::TooHard,
        (1, true) if !first_only => Search::TooHard,
        (0, false) => Search::None,
        (1, _) => Search::One(state.found.remove(0)),
        _ => Search::Several(state.found.remove(0)),
    }
}

/// A full board, drawn cell by cell so that any may come up; `None` when a search is too hard.
pub(crate) fn random_board(boxes: Boxes, dice: &mut Dice) -> Option<Grid> {
    let size = boxes.size();
    let mut digits: Vec<u8> = (1..=size as u8).collect();
    let mut cells: Vec<_> = (0..size * size).map(|at| (at / size, at % size)).collect();
    dice.shuffle(&mut cells);
    let mut grid = vec![vec![0; size]; size];
    for (row, column) in cells {
        dice.shuffle(&mut digits);
        let fits = digits.iter().copied().find(|&digit| {
            grid[row][column] = digit;
            matches!(
                solve_sudoku(&grid, boxes, &digits, true),
                Search::One(_) | Search::Several(_)
            )
        });
        grid[row][column] = fits?;
    }
    Some(grid)
}

/// A board being filled; bit `d` of a mask stands for digit `d`.
struct State {
    boxes: Boxes,
    grid: Grid,
    rows: Vec<u16>,
    cols: Vec<u16>,
    squares: Vec<u16>,
    steps: u32,
    found: Vec<Grid>,
}

impl State {
    /// `None` if a digit is too large or comes up twice in a row, column or box.
    fn new(grid: &[Vec<u8>], boxes: Boxes) -> Option<Self> {
        let size = boxes.size();
        let mut state = Self {
            boxes,
            grid: vec![vec![0; size]; size],
            rows: vec![0; size],
            cols: vec![0; size],
            squares: vec![0; size],
            steps: 0,
            found: Vec::new(),
        };
        for (row, cells) in grid.iter().enumerate() {
            for (column, &digit) in cells.iter().enumerate().filter(|(_, digit)| **digit > 0) {
                if usize::from(digit) > size || state.free(row, column) & (1 << digit) == 0 {
                    return None;
                }
                state.toggle(row, column, digit);
            }
        }
        Some(state)
    }

    fn free(&self, row: usize, column: usize) -> u16 {
        let square = self.boxes.index(row, column);
        let all = (2_u16 << self.boxes.size()) - 2;
        all & !(self.rows[row] | self.cols[column] | self.squares[square])
    }

    /// Sets the digit of an empty cell, or takes it back.
    fn toggle(&mut self, row: usize, column: usize, digit: u8) {
        let bit = 1 << digit;
        self.rows[row] ^= bit;
        self.cols[column] ^= bit;
        self.squares[self.boxes.index(row, column)] ^= bit;
        self.grid[row][column] ^= digit;
    }

    fn search(&mut self, digits: &[u8], wanted: usize) {
        let size = self.boxes.size();
        let empty = (0..size * size)
            .map(|at| (at / size, at % size))
            .filter(|&(row, column)| self.grid[row][column] == 0);
        let next = empty.min_by_key(|&(row, column)| self.free(row, column).count_ones());
        let Some((row, column)) = next else {
            self.found.push(self.grid.clone());
            return;
        };
        let free = self.free(row, column);
        for &digit in digits.iter().filter(|digit| free & (1 << **digit) != 0) {
            self.steps += 1;
            if self.steps > MAX_STEPS || self.found.len() >= wanted {
                return;
            }
            self.toggle(row, column, digit);
            self.search(digits, wanted);
            self.toggle(row, column, digit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(rows: &[&str]) -> Search {
        let grid: Vec<Vec<u8>> = rows
            .iter()
            .map(|row| row.bytes().map(|byte| byte - b'0').collect())
            .collect();
        let boxes = Boxes::of_size(grid.len()).unwrap();
        let digits: Vec<u8> = (1..=grid.len() as u8).collect();
        solve_sudoku(&grid, boxes, &digits, false)
    }

    #[test]
    fn solutions_are_counted() {
        let full = ["1234", "3412", "2143", "4321"];
        assert!(matches!(search(&full), Search::One(_)));
        assert!(matches!(search(&["0000"; 4]), Search::Several(_)));
        assert_eq!(search(&["1100", "0000", "0000", "0000"]), Search::None);
        assert_eq!(search(&["9000", "0000", "0000", "0000"]), Search::None);
        assert!(matches!(search(&["000000"; 6]), Search::Several(_)));
        assert!(matches!(search(&["000000000"; 9]), Search::Several(_)));
    }

    #[test]
    fn a_known_hard_board_is_solved() {
        let board = [
            "800000000",
            "003600000",
            "070090200",
            "050007000",
            "000045700",
            "000100030",
            "001000068",
            "008500010",
            "090000400",
        ];
        let Search::One(solved) = search(&board) else {
            panic!("not one solution")
        };
        assert_eq!(solved[0], [8, 1, 2, 7, 5, 3, 6, 4, 9]);
    }

    #[test]
    fn the_order_of_digits_chooses_the_board() {
        let boxes = Boxes::of_size(4).unwrap();
        let empty = vec![vec![0; 4]; 4];
        let first = |digits: [u8; 4]| solve_sudoku(&empty, boxes, &digits, true);
        assert_ne!(first([1, 2, 3, 4]), first([4, 3, 2, 1]));
        let Search::One(grid) = first([2, 1, 4, 3]) else {
            panic!("no board")
        };
        assert_eq!(grid[0], [2, 1, 4, 3]);
    }
}
