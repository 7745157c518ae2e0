//! mirror: what does the empty half of the board look like?
//!
//! Some cells left of a line are coloured; the right half is to become their mirror image. Colours
//! come from a fixed table, far apart, so that a painted cell is one of them or none.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Rgb};
use crate::error::Result;
use crate::judge::{Expect, PictureRule, Slot, SlotRule};
use crate::params::{Params, within};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};
use crate::visual::{Board, Grid, canvas_sides, fill_growing, inset, is_shaped, outline, require};

/// The task.
pub struct Mirror;

/// Names and colours; a cell's number counts from 1.
const COLORS: [(&str, Rgb); 8] = [
    ("red", [214, 48, 49]),
    ("blue", [9, 100, 200]),
    ("green", [30, 150, 70]),
    ("yellow", [253, 203, 60]),
    ("purple", [120, 60, 170]),
    ("orange", [240, 125, 20]),
    ("cyan", [70, 200, 220]),
    ("brown", [120, 72, 40]),
];

const PAGE: Rgb = [255, 255, 255];
const GRID_LINE: Rgb = [205, 205, 205];
const DARK: Rgb = [32, 32, 32];
/// Half the middle line; cells keep as far from their edges.
const INSET: u32 = 2;
const BORDER: u32 = 3;
const LEAST_CELL: u32 = 12;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MirrorParams {
    /// Width of the picture, pixels (default 512).
    pub width: u32,
    /// Height of the picture, pixels (default 512).
    pub height: u32,
    /// Rows of the board (default 6).
    pub rows: u32,
    /// Columns of the board, an even number (default 8).
    pub cols: u32,
    /// Share of the left half's cells that are coloured (default 0.6).
    pub fill: f64,
    /// How many colours are in play, 1 to 8 (default 6).
    pub colors: u32,
}

impl Default for MirrorParams {
    fn default() -> Self {
        Self {
            width: 512,
            height: 512,
            rows: 6,
            cols: 8,
            fill: 0.6,
            colors: 6,
        }
    }
}

impl Params for MirrorParams {
    fn validate(&self) -> Result<(), String> {
        canvas_sides(self.width, self.height)?;
        within("rows", self.rows, 2, 24)?;
        within("cols", self.cols, 2, 24)?;
        within("fill", self.fill, 0.05, 1.0)?;
        within("colors", self.colors, 1, COLORS.len() as u32)?;
        if self.cols % 2 == 1 {
            return Err(format!("`cols` is {}; it must be even", self.cols));
        }
        if self.board().cell < LEAST_CELL {
            let cell = self.board().cell;
            return Err(format!(
                "cells would be {cell} pixels wide, {LEAST_CELL} are needed: fewer `rows` or \
                 `cols`, or a larger `width` and `height`"
            ));
        }
        Ok(())
    }
}

impl MirrorParams {
    fn board(&self) -> Board {
        let margin = (self.width.min(self.height) / 20).max(BORDER + 2);
        let frame = inset([0, 0, self.width, self.height], margin);
        Board::fit(frame, [self.rows, self.cols])
    }

    fn half(&self) -> u32 {
        self.cols / 2
    }

    /// Coloured cells of the left half; two at least, so that there is something to mirror.
    fn coloured(&self) -> usize {
        let cells = self.rows * self.half();
        let wanted = (self.fill * f64::from(cells)).round() as u32;
        wanted.clamp(2.min(cells), cells) as usize
    }

    /// What the numbers of a text answer stand for.
    fn legend(&self) -> String {
        let names = COLORS.iter().take(self.colors as usize).enumerate();
        let numbered = names.map(|(at, (name, _))| format!("{} {name}", at + 1));
        format!("0 white, {}", numbered.collect::<Vec<_>>().join(", "))
    }
}

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorScene {
    /// Left and top edge of the board.
    pub origin: [u32; 2],
    /// Side of a cell.
    pub cell_size: u32,
    /// Left half, row by row: 0 for an empty cell, else the number of its colour.
    pub cells: Grid,
}

impl Task for Mirror {
    type Params = MirrorParams;
    type Scene = MirrorScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "mirror",
            group: TaskGroup::Visual,
            version: 1,
            about: "Complete the right half of a board as the mirror image of its left half.",
        }
    }

    fn scene_space(&self, params: &MirrorParams) -> Option<u128> {
        let cells = u128::from(params.rows * params.half());
        let mut space = 1_u128;
        for step in 0..params.coloured() as u128 {
            // Exact at every step: the product is a binomial coefficient.
            space = space.checked_mul(cells - step)? / (step + 1);
        }
        let colourings = u128::from(params.colors).checked_pow(params.coloured() as u32)?;
        space.checked_mul(colourings)
    }

    fn build(&self, params: &MirrorParams, dice: &mut Dice) -> Result<MirrorScene> {
        let half = params.half() as usize;
        let mut places: Vec<_> = (0..params.rows as usize * half).collect();
        dice.shuffle(&mut places);
        let mut cells = vec![vec![0; half]; params.rows as usize];
        for place in places.into_iter().take(params.coloured()) {
            cells[place / half][place % half] = 1 + dice.below(params.colors as usize) as u8;
        }
        let board = params.board();
        Ok(MirrorScene {
            origin: board.origin,
            cell_size: board.cell,
            cells,
        })
    }

    fn solve(&self, params: &MirrorParams, scene: &MirrorScene) -> Result<Solved> {
        let board = params.board();
        let placed = scene.origin == board.origin && scene.cell_size == board.cell;
        require(placed, "the board is not in the middle of the picture")?;
        require(
            is_shaped(&scene.cells, params.rows, params.half()),
            "the left half is not rows x half the columns",
        )?;
        let cells = || scene.cells.iter().flatten();
        let known = cells().all(|&cell| u32::from(cell) <= params.colors);
        require(known, "a cell has a colour that is not in play")?;
        let coloured = cells().filter(|cell| **cell > 0).count();
        require(
            coloured == params.coloured(),
            "the number of coloured cells is not the parameters'",
        )?;
        let mirrored = |row: &Vec<u8>| row.iter().rev().copied().collect();
        let answer = scene.cells.iter().map(mirrored).collect();
        let mut solved = Solved::new(Answer::Grid(answer), [params.width, params.height]);
        solved
            .measures
            .insert("coloured_cells".to_owned(), coloured as f64);
        Ok(solved)
    }

    fn options(
        &self,
        _: &MirrorParams,
        _: &MirrorScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn prompts(&self, params: &MirrorParams, _: &Solved, _: &[String]) -> Prompts {
        let figure = format!(
            "The picture shows a board of {} rows and {} columns with a thick vertical line in its \
             middle. Left of the line some cells are colored; right of it all are white. The line \
             is a mirror: the right half is to become the mirror image of the left half.",
            params.rows, params.cols
        );
        let list = format!(
            "as a list of rows from top to bottom, each a list of the {} numbers of its cells from \
             left to right, like [[0, 1], [2, 0]], inside <answer> and </answer>. The numbers \
             mean: {}.",
            params.half(),
            params.legend()
        );
        let edit = "Color the cells of the right half accordingly and leave everything else as it \
                    is.";
        Prompts {
            text: format!("{figure} Give the finished right half {list}"),
            image: format!("{figure} {edit}"),
            text_image: format!("{figure} {edit} Also give the finished right half {list}"),
            video: format!(
                "{figure} The camera does not move. One after another the cells of the right half \
                 that belong to the mirror image take on their color. Nothing else changes."
            ),
        }
    }

    fn paint(
        &self,
        params: &MirrorParams,
        scene: &MirrorScene,
        _: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let board = params.board();
        let mut canvas = Canvas::new([params.width, params.height], PAGE)?;
        let [left, top, right, bottom] = board.bounds();
        canvas.rect(board.bounds(), GRID_LINE);
        for (row, column) in board.places() {
            canvas.rect(inset(board.cell(row, column), 1), PAGE);
        }
        let (mut given, mut mirrored) = (Vec::new(), Vec::new());
        for (row, column) in board.places().filter(|&(_, column)| column < params.half()) {
            let cell = scene.cells[row as usize][column as usize];
            if let Some(color) = color(cell) {
                let image = board.cell(row, params.cols - 1 - column);
                given.push((inset(board.cell(row, column), INSET), color));
                mirrored.push((inset(image, INSET), color));
            }
        }
        fill_growing(&mut canvas, &given, 1.0);
        fill_growing(&mut canvas, &mirrored, layer.progress());
        let middle = left + params.half() * board.cell;
        canvas.rect([middle - INSET, top, middle + INSET, bottom], DARK);
        let border = [left - BORDER, top - BORDER, right + BORDER, bottom + BORDER];
        outline(&mut canvas, border, BORDER, DARK);
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        params: &MirrorParams,
        scene: &MirrorScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let board = params.board();
        let palette: Vec<_> = (1..=params.colors as u8)
            .filter_map(color)
            .chain([PAGE])
            .collect();
        let right_half = board.places().filter(|&(_, at)| at >= params.half());
        let slots = right_half.map(|(row, column)| {
            let cell = scene
                .cells
                .get(row as usize)
                .and_then(|cells| cells.get((params.cols - 1 - column) as usize));
            let right = cell.copied().and_then(color).unwrap_or(PAGE);
            let others = palette.iter().copied().filter(|other| *other != right);
            Slot {
                name: format!("row {}, column {}", row + 1, column + 1),
                area: inset(board.cell(row, column), INSET).into(),
                expect: Expect::Color {
                    right,
                    others: others.collect(),
                },
            }
        });
        Ok(PictureRule::Slots(SlotRule {
            slots: slots.collect(),
            keeps_rest: true,
        }))
    }
}

/// Colour of a cell; `None` for an empty one.
fn color(cell: u8) -> Option<Rgb> {
    let at = usize::from(cell).checked_sub(1)?;
    COLORS.get(at).map(|(_, rgb)| *rgb)
}
