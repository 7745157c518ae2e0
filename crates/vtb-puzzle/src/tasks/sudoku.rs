//! sudoku: which digits belong into the empty cells?
//!
//! Boards of 4, 6 or 9 cells a side. Clues are taken away one by one while a solver finds exactly one
//! solution; the same solver derives the answer from the clues.

use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Rgb};
use crate::error::{PuzzleError, Result};
use crate::judge::{Expect, PictureRule, Slot, SlotRule};
use crate::params::{Params, within};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};
use crate::visual::{
    Board, Boxes, Grid, Search, canvas_sides, inset, is_shaped, outline, random_board, require,
    solve_sudoku,
};

/// The task.
pub struct Sudoku;

const PAGE: Rgb = [255, 255, 255];
const THIN: Rgb = [150, 150, 150];
const DARK: Rgb = [24, 24, 24];
const CLUE: Rgb = [0, 0, 0];
const FILLED: Rgb = [30, 80, 200];
/// Thickness of the lines between boxes.
const THICK: u32 = 4;
const LEAST_CELL: u32 = 20;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SudokuParams {
    /// Width of the picture, pixels (default 512).
    pub width: u32,
    /// Height of the picture, pixels (default 512).
    pub height: u32,
    /// Cells along a side: 4, 6 or 9 (default 4).
    pub size: u32,
    /// Digits that are given; 0 for about half of the cells (default 0).
    pub clues: u32,
}

impl Default for SudokuParams {
    fn default() -> Self {
        Self {
            width: 512,
            height: 512,
            size: 4,
            clues: 0,
        }
    }
}

impl Params for SudokuParams {
    fn validate(&self) -> Result<(), String> {
        canvas_sides(self.width, self.height)?;
        let Some(boxes) = Boxes::of_size(self.size as usize) else {
            return Err(format!("`size` is {}; it must be 4, 6 or 9", self.size));
        };
        let cells = (boxes.size() * boxes.size()) as u32;
        if self.clues != 0 {
            // Fewer are possible, but the search for them may take long.
            let least = match self.size {
                4 => 5,
                6 => 11,
                _ => 26,
            };
            within("clues", self.clues, least, cells - 1)?;
        }
        if self.board().cell < LEAST_CELL {
            return Err(format!(
                "cells would be {} pixels wide, {LEAST_CELL} are needed for legible digits: raise \
                 `width` and `height`",
                self.board().cell
            ));
        }
        Ok(())
    }
}

impl SudokuParams {
    fn board(&self) -> Board {
        let margin = (self.width.min(self.height) / 20).max(THICK + 2);
        let frame = inset([0, 0, self.width, self.height], margin);
        Board::fit(frame, [self.size; 2])
    }

    fn clue_count(&self) -> usize {
        let half = match self.size {
            4 => 8,
            6 => 18,
            _ => 38,
        };
        if self.clues == 0 {
            half
        } else {
            self.clues as usize
        }
    }

    fn digits(&self) -> Vec<u8> {
        (1..=self.size as u8).collect()
    }
}

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SudokuScene {
    /// Left and top edge of the board.
    pub origin: [u32; 2],
    /// Side of a cell.
    pub cell_size: u32,
    /// The clues row by row; 0 for an empty cell.
    pub clues: Grid,
}

impl SudokuScene {
    fn empty_cells(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let rows = self.clues.iter().enumerate();
        rows.flat_map(|(row, cells)| {
            let empty = cells.iter().enumerate().filter(|(_, digit)| **digit == 0);
            empty.map(move |(column, _)| (row as u32, column as u32))
        })
    }
}

impl Task for Sudoku {
    type Params = SudokuParams;
    type Scene = SudokuScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "sudoku",
            group: TaskGroup::Visual,
            version: 1,
            about: "Fill in the missing digits of a sudoku.",
        }
    }

    fn build(&self, params: &SudokuParams, dice: &mut Dice) -> Result<SudokuScene> {
        const TRIES: u32 = 60;
        let board = params.board();
        let boxes = boxes(params)?;
        for _ in 0..TRIES {
            let Some(full) = random_board(boxes, dice) else {
                continue;
            };
            let clues = without_some(full, boxes, params, dice);
            let scene = SudokuScene {
                origin: board.origin,
                cell_size: board.cell,
                clues,
            };
            if self.solve(params, &scene).is_ok() {
                return Ok(scene);
            }
        }
        Err(PuzzleError::NoScene {
            task: Task::info(self).name.to_owned(),
            tries: TRIES,
            hint: "give more `clues`".to_owned(),
        })
    }

    fn solve(&self, params: &SudokuParams, scene: &SudokuScene) -> Result<Solved> {
        let board = params.board();
        let placed = scene.origin == board.origin && scene.cell_size == board.cell;
        require(placed, "the board is not in the middle of the picture")?;
        require(
            is_shaped(&scene.clues, params.size, params.size),
            "the board is not size x size",
        )?;
        let empty = scene.empty_cells().count();
        let cells = (params.size * params.size) as usize;
        require(
            cells - empty == params.clue_count(),
            "the number of clues is not the parameters'",
        )?;
        let found = solve_sudoku(&scene.clues, boxes(params)?, &params.digits(), false);
        let solution = match found {
            Search::One(solution) => solution,
            Search::None => return Err(bad("the clues contradict each other")),
            Search::Several(_) => return Err(bad("the clues leave several solutions")),
            Search::TooHard => return Err(bad("whether there is one solution takes too long")),
        };
        let mut solved = Solved::new(Answer::Grid(solution), [params.width, params.height]);
        let share = empty as f64 / cells as f64;
        solved
            .measures
            .insert("empty_cells".to_owned(), empty as f64);
        solved.measures.insert("difficulty".to_owned(), share);
        Ok(solved)
    }

    fn options(
        &self,
        _: &SudokuParams,
        _: &SudokuScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn prompts(&self, params: &SudokuParams, _: &Solved, _: &[String]) -> Prompts {
        let size = params.size;
        let (down, across) = Boxes::of_size(size as usize).map_or((0, 0), |b| (b.rows, b.cols));
        let figure = format!(
            "The picture shows a sudoku of {size} rows and {size} columns, thick lines part it into \
             boxes of {down} rows and {across} columns. When it is finished, every row, every \
             column and every box holds each digit from 1 to {size} exactly once. Some digits are \
             given."
        );
        let list = "as a list of rows from top to bottom, each a list of its digits, like \
                    [[1, 2], [2, 1]], inside <answer> and </answer>";
        let edit = "Write the missing digit into each empty cell, as large as the given ones, and \
                    leave everything else as it is.";
        Prompts {
            text: format!(
                "{figure} Find the missing ones and give the whole finished board {list} at the \
                 end of your reply."
            ),
            image: format!("{figure} {edit}"),
            text_image: format!("{figure} {edit} Also give the whole finished board {list}."),
            video: format!(
                "{figure} The camera does not move. One after another the missing digits appear in \
                 the empty cells, row by row. Nothing else changes."
            ),
        }
    }

    fn paint(
        &self,
        params: &SudokuParams,
        scene: &SudokuScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let mut canvas = board_with_clues(params, scene)?;
        let Answer::Grid(solution) = &solved.answer else {
            return Ok(canvas);
        };
        let done = layer.progress() * scene.empty_cells().count() as f64;
        for (at, (row, column)) in scene.empty_cells().enumerate() {
            let part = (done - at as f64).clamp(0.0, 1.0);
            if part > 0.0 {
                let digit = solution[row as usize][column as usize];
                write_digit(&mut canvas, params, (row, column), digit, part, FILLED);
            }
        }
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        params: &SudokuParams,
        scene: &SudokuScene,
        solved: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let Answer::Grid(solution) = &solved.answer else {
            return Err(bad("the answer is no board"));
        };
        // Only a slot's own place is compared, so one picture a digit serves all slots.
        let mut choices = vec![(
            "nothing".to_owned(),
            board_with_clues(params, scene)?.into_rgb()?,
        )];
        for digit in params.digits() {
            choices.push((digit.to_string(), all_filled(params, scene, digit)?));
        }
        let slots = scene.empty_cells().map(|(row, column)| Slot {
            name: format!("row {}, column {}", row + 1, column + 1),
            area: inset(params.board().cell(row, column), THICK / 2 + 1).into(),
            expect: Expect::Drawing {
                right: usize::from(solution[row as usize][column as usize]),
                choices: choices.clone(),
            },
        });
        Ok(PictureRule::Slots(SlotRule {
            slots: slots.collect(),
            keeps_rest: true,
        }))
    }
}

fn bad(fault: &str) -> PuzzleError {
    PuzzleError::BadScene(fault.to_owned())
}

fn boxes(params: &SudokuParams) -> Result<Boxes> {
    Boxes::of_size(params.size as usize).ok_or_else(|| bad("no boxes for this size"))
}

/// Takes digits away, in any order, while the rest still says which they were.
fn without_some(full: Grid, boxes: Boxes, params: &SudokuParams, dice: &mut Dice) -> Grid {
    let size = boxes.size();
    let mut places: Vec<_> = (0..size * size).map(|at| (at / size, at % size)).collect();
    dice.shuffle(&mut places);
    let mut left = places.len();
    let mut grid = full;
    for (row, column) in places {
        if left == params.clue_count() {
            break;
        }
        let digit = std::mem::take(&mut grid[row][column]);
        match solve_sudoku(&grid, boxes, &params.digits(), false) {
            Search::One(_) => left -= 1,
            _ => grid[row][column] = digit,
        }
    }
    grid
}

fn board_with_clues(params: &SudokuParams, scene: &SudokuScene) -> Result<Canvas> {
    let board = params.board();
    let mut canvas = Canvas::new([params.width, params.height], PAGE)?;
    let [left, top, right, bottom] = board.bounds();
    for at in 1..params.size {
        let (x, y) = (left + at * board.cell, top + at * board.cell);
        canvas.rect([x, top, x + 1, bottom], THIN);
        canvas.rect([left, y, right, y + 1], THIN);
    }
    let boxes = boxes(params)?;
    let half = THICK / 2;
    for at in 1..params.size {
        let (x, y) = (left + at * board.cell, top + at * board.cell);
        if (at as usize).is_multiple_of(boxes.cols) {
            canvas.rect([x - half, top, x + half, bottom], DARK);
        }
        if (at as usize).is_multiple_of(boxes.rows) {
            canvas.rect([left, y - half, right, y + half], DARK);
        }
    }
    let border = [left - half, top - half, right + half, bottom + half];
    outline(&mut canvas, border, THICK, DARK);
    for (row, column) in board.places() {
        let digit = scene.clues[row as usize][column as usize];
        if digit > 0 {
            write_digit(&mut canvas, params, (row, column), digit, 1.0, CLUE);
        }
    }
    Ok(canvas)
}

fn all_filled(params: &SudokuParams, scene: &SudokuScene, digit: u8) -> Result<RgbImage> {
    let mut canvas = board_with_clues(params, scene)?;
    for place in scene.empty_cells() {
        write_digit(&mut canvas, params, place, digit, 1.0, FILLED);
    }
    canvas.into_rgb()
}

fn write_digit(
    canvas: &mut Canvas,
    params: &SudokuParams,
    (row, column): (u32, u32),
    digit: u8,
    part: f64,
    color: Rgb,
) {
    let board = params.board();
    let size = 0.7 * f64::from(board.cell) * part;
    canvas.label(board.middle(row, column), &digit.to_string(), size, color);
}
