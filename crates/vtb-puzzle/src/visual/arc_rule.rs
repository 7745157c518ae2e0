//! Rules that turn one grid of colours into another. 0 is the background.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Grid;

/// Most rows and columns of a grid.
pub const MAX_SIDE: usize = 30;

/// A side of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Towards the top row.
    Up,
    /// Towards the bottom row.
    Down,
    /// Towards the first column.
    Left,
    /// Towards the last column.
    Right,
}

/// A way to turn a grid as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Left and right change places.
    FlipAcross,
    /// Top and bottom change places.
    FlipDown,
    /// By 180 degrees.
    Half,
    /// By 90 degrees, clockwise.
    Clockwise,
    /// By 90 degrees, counter-clockwise.
    Counterclockwise,
    /// Rows become columns.
    Transpose,
}

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum ArcRule {
    /// The whole grid is turned.
    Turn {
        /// How.
        how: Turn,
    },
    /// Every coloured cell falls until it meets the edge or another one.
    Fall {
        /// Where to.
        to: Direction,
    },
    /// Cells of one colour get another.
    Recolor {
        /// The old colour.
        from: u8,
        /// The new colour.
        to: u8,
    },
    /// Two colours change places.
    Swap {
        /// One of them.
        a: u8,
        /// The other.
        b: u8,
    },
    /// Every coloured cell draws a line to the edge, over background only.
    Extend {
        /// To which edge.
        to: Direction,
    },
    /// Background that the edge cannot be reached from, over sides of cells, is filled.
    FillEnclosed {
        /// With this colour.
        color: u8,
    },
    /// The grid and its mirror image side by side.
    MirrorJoin {
        /// Where the image goes.
        to: Direction,
    },
    /// Every cell becomes two by two cells.
    Double,
    /// Only the smallest frame about the coloured cells is left.
    Crop,
    /// Of the connected shapes (over sides and corners, whatever their colours) only the largest is
    /// left.
    KeepLargest,
}

impl ArcRule {
    /// The output for an input; `None` where the rule says nothing about it: the grid is not
    /// rectangular, nothing is coloured, two shapes are equally large, or the output would be too
    /// large.
    #[must_use]
    pub fn apply(&self, grid: &[Vec<u8>]) -> Option<Grid> {
        let cols = grid.first().map_or(0, Vec::len);
        if cols == 0 || cols > MAX_SIDE || grid.len() > MAX_SIDE {
            return None;
        }
        if grid.iter().any(|row| row.len() != cols) {
            return None;
        }
        let output = match *self {
            Self::Turn { how } => turned(grid, how),
            Self::Fall { to } => with_rows_along(grid, to, fall),
            Self::Extend { to } => with_rows_along(grid, to, extend),
            Self::Recolor { from, to } => map(grid, |cell| if cell == from { to } else { cell }),
            Self::Swap { a, b } => map(grid, |cell| match cell {
                _ if cell == a => b,
                _ if cell == b => a,
                _ => cell,
            }),
            Self::FillEnclosed { color } => fill_enclosed(grid, color),
            Self::MirrorJoin { to } => mirror_join(grid, to),
            Self::Double => double(grid),
            Self::Crop => crop(grid)?,
            Self::KeepLargest => keep_largest(grid)?,
        };
        let fits = output.len() <= MAX_SIDE && output.iter().all(|row| row.len() <= MAX_SIDE);
        fits.then_some(output)
    }

    /// Every rule there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let pairs = || (0..10_u8).flat_map(|a| (0..10_u8).map(move |b| (a, b)));
        let directions = [
            Direction::Up,
            Direction::Down,
            Direction::Left,
            Direction::Right,
        ];
        let turns = [
            Turn::FlipAcross,
            Turn::FlipDown,
            Turn::Half,
            Turn::Clockwise,
            Turn::Counterclockwise,
            Turn::Transpose,
        ];
        let recolors = pairs().filter(|(a, b)| a != b);
        let swaps = pairs().filter(|(a, b)| a < b);
        turns
            .map(|how| Self::Turn { how })
            .into_iter()
            .chain(directions.map(|to| Self::Fall { to }))
            .chain(directions.map(|to| Self::Extend { to }))
            .chain(directions.map(|to| Self::MirrorJoin { to }))
            .chain([Self::Double, Self::Crop, Self::KeepLargest])
            .chain((1..10).map(|color| Self::FillEnclosed { color }))
            .chain(recolors.map(|(from, to)| Self::Recolor { from, to }))
            .chain(swaps.map(|(a, b)| Self::Swap { a, b }))
    }
}

/// What the rules that agree with all `examples` (input, output) make of `test`, each output once.
///
/// A puzzle whose examples leave a doubt has several.
#[must_use]
pub fn fitting_outputs(examples: &[(&Grid, &Grid)], test: &[Vec<u8>]) -> Vec<Grid> {
    let fits = |rule: &ArcRule| {
        examples
            .iter()
            .all(|(input, output)| rule.apply(input).as_ref() == Some(*output))
    };
    let mut outputs = Vec::new();
    for output in ArcRule::all().filter(fits).map(|rule| rule.apply(test)) {
        match output {
            Some(grid) if !outputs.contains(&grid) => outputs.push(grid),
            _ => {}
        }
    }
    outputs
}

fn map(grid: &[Vec<u8>], change: impl Fn(u8) -> u8) -> Grid {
    let row = |row: &Vec<u8>| row.iter().map(|&cell| change(cell)).collect();
    grid.iter().map(row).collect()
}

fn reversed_rows(grid: &[Vec<u8>]) -> Grid {
    let back = |row: &Vec<u8>| row.iter().rev().copied().collect();
    grid.iter().map(back).collect()
}

fn transposed(grid: &[Vec<u8>]) -> Grid {
    let cols = grid.first().map_or(0, Vec::len);
    let column = |at: usize| grid.iter().map(|row| row[at]).collect();
    (0..cols).map(column).collect()
}

fn turned(grid: &[Vec<u8>], how: Turn) -> Grid {
    let upside_down = || grid.iter().rev().cloned().collect::<Grid>();
    match how {
        Turn::FlipAcross => reversed_rows(grid),
        Turn::FlipDown => upside_down(),
        Turn::Half => reversed_rows(&upside_down()),
        Turn::Clockwise => transposed(&upside_down()),
        Turn::Counterclockwise => transposed(&reversed_rows(grid)),
        Turn::Transpose => transposed(grid),
    }
}

/// Applies `change` to every row or column, as it is read from its beginning towards `to`.
fn with_rows_along(grid: &[Vec<u8>], to: Direction, change: fn(&mut [u8])) -> Grid {
    let upright = match to {
        Direction::Left | Direction::Right => grid.to_vec(),
        Direction::Up | Direction::Down => transposed(grid),
    };
    let backwards = matches!(to, Direction::Left | Direction::Up);
    let mut rows = if backwards {
        reversed_rows(&upright)
    } else {
        upright
    };
    rows.iter_mut().for_each(|row| change(row));
    if backwards {
        rows = reversed_rows(&rows);
    }
    match to {
        Direction::Left | Direction::Right => rows,
        Direction::Up | Direction::Down => transposed(&rows),
    }
}

/// Background first, the coloured cells behind it in their order.
fn fall(row: &mut [u8]) {
    row.sort_by_key(|&cell| cell != 0);
}

fn extend(row: &mut [u8]) {
    let mut last = 0;
    for cell in row {
        match *cell {
            0 => *cell = last,
            color => last = color,
        }
    }
}

fn mirror_join(grid: &[Vec<u8>], to: Direction) -> Grid {
    let image = match to {
        Direction::Left | Direction::Right => turned(grid, Turn::FlipAcross),
        Direction::Up | Direction::Down => turned(grid, Turn::FlipDown),
    };
    let beside = |left: &[Vec<u8>], right: &[Vec<u8>]| {
        let rows = left.iter().zip(right);
        rows.map(|(a, b)| [a.as_slice(), b.as_slice()].concat())
            .collect()
    };
    match to {
        Direction::Right => beside(grid, &image),
        Direction::Left => beside(&image, grid),
        Direction::Down => [grid, &image].concat(),
        Direction::Up => [&image, grid].concat(),
    }
}

fn double(grid: &[Vec<u8>]) -> Grid {
    let wide = |row: &Vec<u8>| -> Vec<u8> { row.iter().flat_map(|&cell| [cell; 2]).collect() };
    grid.iter().flat_map(|row| [wide(row), wide(row)]).collect()
}

fn coloured(grid: &[Vec<u8>]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let cells = |(row, cells): (usize, &'_ Vec<u8>)| {
        let found = cells.iter().enumerate().filter(|(_, cell)| **cell != 0);
        found.map(|(column, _)| (row, column)).collect::<Vec<_>>()
    };
    grid.iter().enumerate().flat_map(cells)
}

fn crop(grid: &[Vec<u8>]) -> Option<Grid> {
    let rows = coloured(grid).map(|(row, _)| row);
    let cols = || coloured(grid).map(|(_, column)| column);
    let (first, last) = (cols().min()?, cols().max()?);
    let (top, bottom) = (rows.min()?, coloured(grid).map(|(row, _)| row).max()?);
    let part = |row: &Vec<u8>| row[first..=last].to_vec();
    Some(grid[top..=bottom].iter().map(part).collect())
}

/// Marks every cell that can be reached from `start` over cells that `open` allows.
fn flood(
    grid: &[Vec<u8>],
    start: (usize, usize),
    corners: bool,
    mark: usize,
    marks: &mut [Vec<usize>],
    open: fn(u8) -> bool,
) {
    let mut todo = vec![start];
    while let Some((row, column)) = todo.pop() {
        if !open(grid[row][column]) || marks[row][column] == mark {
            continue;
        }
        marks[row][column] = mark;
        let near_rows = row.saturating_sub(1)..=(row + 1).min(grid.len() - 1);
        for next_row in near_rows {
            let near_cols = column.saturating_sub(1)..=(column + 1).min(grid[0].len() - 1);
            for next_column in near_cols {
                if corners || next_row == row || next_column == column {
                    todo.push((next_row, next_column));
                }
            }
        }
    }
}

fn fill_enclosed(grid: &[Vec<u8>], color: u8) -> Grid {
    let (rows, cols) = (grid.len(), grid[0].len());
    let mut marks = vec![vec![0; cols]; rows];
    let is_edge = |row: usize, column: usize| {
        row == 0 || column == 0 || row + 1 == rows || column + 1 == cols
    };
    for row in 0..rows {
        for column in (0..cols).filter(|&column| is_edge(row, column)) {
            flood(grid, (row, column), false, 1, &mut marks, |cell| cell == 0);
        }
    }
    let mut output = grid.to_vec();
    for (row, cells) in output.iter_mut().enumerate() {
        for (column, cell) in cells.iter_mut().enumerate() {
            if *cell == 0 && marks[row][column] == 0 {
                *cell = color;
            }
        }
    }
    output
}

fn keep_largest(grid: &[Vec<u8>]) -> Option<Grid> {
    let mut marks = vec![vec![0; grid[0].len()]; grid.len()];
    let mut shapes = 0;
    for (row, column) in coloured(grid) {
        if marks[row][column] == 0 {
            shapes += 1;
            flood(grid, (row, column), true, shapes, &mut marks, |cell| {
                cell != 0
            });
        }
    }
    let mut sizes = BTreeMap::new();
    for &mark in marks.iter().flatten().filter(|mark| **mark > 0) {
        *sizes.entry(mark).or_insert(0_usize) += 1;
    }
    let largest = sizes.values().copied().max()?;
    let mut winners = sizes.iter().filter(|(_, size)| **size == largest);
    let (&winner, _) = winners.next()?;
    if winners.next().is_some() {
        return None;
    }
    let mut output = grid.to_vec();
    for (cells, marks) in output.iter_mut().zip(&marks) {
        for (cell, &mark) in cells.iter_mut().zip(marks) {
            if mark != winner {
                *cell = 0;
            }
        }
    }
    Some(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(rule: ArcRule, rows: &[&str]) -> Option<Vec<String>> {
        let grid: Grid = rows
            .iter()
            .map(|row| row.bytes().map(|byte| byte - b'0').collect())
            .collect();
        let text = |row: &Vec<u8>| row.iter().map(u8::to_string).collect();
        Some(rule.apply(&grid)?.iter().map(text).collect())
    }

    fn assert_output(rule: ArcRule, rows: &[&str], expected: &[&str]) {
        assert_eq!(apply(rule, rows).unwrap(), expected, "{rule:?}");
    }

    #[test]
    fn grids_are_turned() {
        let rows = ["123", "456"];
        for (how, expected) in [
            (Turn::FlipAcross, vec!["321", "654"]),
            (Turn::FlipDown, vec!["456", "123"]),
            (Turn::Half, vec!["654", "321"]),
            (Turn::Clockwise, vec!["41", "52", "63"]),
            (Turn::Counterclockwise, vec!["36", "25", "14"]),
            (Turn::Transpose, vec!["14", "25", "36"]),
        ] {
            assert_output(ArcRule::Turn { how }, &rows, &expected);
        }
    }

    #[test]
    fn cells_fall_and_extend_in_every_direction() {
        let rows = ["100", "020", "030"];
        let fall = |to| ArcRule::Fall { to };
        assert_output(fall(Direction::Down), &rows, &["000", "020", "130"]);
        assert_output(fall(Direction::Up), &rows, &["120", "030", "000"]);
        assert_output(fall(Direction::Right), &rows, &["001", "002", "003"]);
        assert_output(fall(Direction::Left), &rows, &["100", "200", "300"]);
        let extend = |to| ArcRule::Extend { to };
        assert_output(extend(Direction::Right), &rows, &["111", "022", "033"]);
        assert_output(extend(Direction::Up), &rows, &["120", "020", "030"]);
        assert_output(extend(Direction::Down), &rows, &["100", "120", "130"]);
    }

    #[test]
    fn colours_change() {
        assert_output(ArcRule::Recolor { from: 1, to: 5 }, &["112"], &["552"]);
        assert_output(ArcRule::Swap { a: 1, b: 2 }, &["112"], &["221"]);
    }

    #[test]
    fn shapes_are_filled_cropped_and_kept() {
        let rows = ["00000", "01110", "01010", "01110", "00002"];
        let filled = ["00000", "01110", "01710", "01110", "00002"];
        assert_output(ArcRule::FillEnclosed { color: 7 }, &rows, &filled);
        assert_output(ArcRule::Crop, &["000", "010", "000"], &["1"]);
        assert_output(ArcRule::KeepLargest, &["1100", "0001"], &["1100", "0000"]);
        assert_eq!(apply(ArcRule::KeepLargest, &["1001"]), None);
        assert_eq!(apply(ArcRule::Crop, &["00"]), None);
        assert_eq!(apply(ArcRule::Double, &["10", "1"]), None);
    }

    #[test]
    fn grids_grow() {
        assert_output(ArcRule::Double, &["12"], &["1122", "1122"]);
        let join = |to| ArcRule::MirrorJoin { to };
        assert_output(join(Direction::Right), &["12"], &["1221"]);
        assert_output(join(Direction::Left), &["12"], &["2112"]);
        assert_output(join(Direction::Down), &["1", "2"], &["1", "2", "2", "1"]);
        assert_output(join(Direction::Up), &["1", "2"], &["2", "1", "1", "2"]);
        let wide = "1".repeat(16);
        assert_eq!(apply(join(Direction::Right), &[wide.as_str()]), None);
    }

    #[test]
    fn examples_that_leave_a_doubt_have_several_outputs() {
        let (input, output) = (vec![vec![1, 0]], vec![vec![0, 1]]);
        let test = vec![vec![1, 2, 0]];
        let doubtful = fitting_outputs(&[(&input, &output)], &test);
        assert!(doubtful.len() > 1, "{doubtful:?}");
        let (input, output) = (vec![vec![1, 2, 0]], vec![vec![0, 1, 2]]);
        let clear = fitting_outputs(&[(&input, &output)], &[vec![3, 0, 4]]);
        assert_eq!(clear, [vec![vec![0, 3, 4]]]);
    }
}
