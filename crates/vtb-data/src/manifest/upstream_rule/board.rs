//! Boards of coloured cells to be mirrored, and layers of rectangles.

use serde::Deserialize;
use vtb_puzzle::Answer;
use vtb_puzzle::draw::Rgb;
use vtb_puzzle::judge::{Area, Expect, Slot, SlotRule, color_difference};

use image::RgbImage;

use super::fields::{Fields, Found, get, list, within};
use super::wrong;

/// Cells without colour.
const EMPTY: Rgb = [255, 255, 255];
/// Most rows and columns.
const MAX_SIDE: u32 = 64;
/// How far a place keeps from the edge of its cell, pixels.
const INSET: f64 = 2.0;
/// CIEDE2000 difference below which two colours are one for the eye.
const ALIKE: f64 = 6.0;

#[derive(Deserialize)]
struct Cell {
    row: u32,
    col: u32,
    color: Rgb,
}

/// A board whose left half is given.
pub(in crate::manifest) struct Board {
    rows: u32,
    cols: u32,
    /// Left half, row by row.
    cells: Vec<Option<Rgb>>,
    /// Width and height of a cell, pixels.
    size: [f64; 2],
    /// Inside of a cell: left, top, right, bottom from the cell's corner.
    inner: [f64; 4],
}

impl Board {
    /// Reads the board of a record.
    pub(in crate::manifest) fn read(fields: &Fields) -> Found<Self> {
        let [rows, cols]: [u32; 2] = get(fields, "grid_size")?;
        within("grid_size", rows, [1, MAX_SIDE])?;
        within("grid_size", cols, [2, MAX_SIDE])?;
        if cols % 2 == 1 {
            return wrong("grid_size", format!("{cols} columns have no middle"));
        }
        let side = [16.0, 4096.0];
        let size = [
            within("cell_width", get(fields, "cell_width")?, side)?,
            within("cell_height", get(fields, "cell_height")?, side)?,
        ];
        let inner: [f64; 4] = get(fields, "cell_inner_bounds")?;
        let fits = |axis: usize| {
            let [low, high] = [inner[axis], inner[axis + 2]];
            low >= 0.0 && high <= size[axis] && high - low >= 8.0
        };
        if !fits(0) || !fits(1) {
            return wrong("cell_inner_bounds", "does not lie inside a cell");
        }
        let half = cols / 2;
        let mut cells = vec![None; (rows * half) as usize];
        for (at, Cell { row, col, color }) in list(fields, "colored_cells")?.into_iter().enumerate()
        {
            let place = (row < rows && col < half).then(|| (row * half + col) as usize);
            match place.and_then(|place| cells.get_mut(place)) {
                Some(cell @ None) => *cell = Some(color),
                Some(_) => return wrong(&format!("colored_cells[{at}]"), "is coloured twice"),
                None => {
                    let reason = "does not lie in the left half";
                    return wrong(&format!("colored_cells[{at}]"), reason);
                }
            }
        }
        Ok(Self {
            rows,
            cols,
            cells,
            size,
            inner,
        })
    }

    /// Colour of the mirror image of a cell of the right half.
    fn mirrored(&self, row: u32, col: u32) -> Option<Rgb> {
        let half = self.cols / 2;
        let place = row * half + (self.cols - 1 - col);
        self.cells.get(place as usize).copied().flatten()
    }

    /// Every colour once, in reading order of the left half.
    fn colors(&self) -> Vec<Rgb> {
        let mut colors = Vec::new();
        for color in self.cells.iter().flatten() {
            if !colors.contains(color) {
                colors.push(*color);
            }
        }
        colors
    }

    /// The right half as numbers, and the names of the colours that 1, 2, ... stand for.
    pub(in crate::manifest) fn answer(&self) -> Found<(Answer, Vec<String>)> {
        let colors = self.colors();
        if colors.len() > usize::from(u8::MAX) {
            return wrong("colored_cells", "there are more than 255 colours");
        }
        let number = |color: Rgb| {
            let at = colors.iter().position(|known| *known == color);
            at.map_or(0, |at| at as u8 + 1)
        };
        let row = |row: u32| {
            let right = self.cols / 2..self.cols;
            right
                .map(|col| self.mirrored(row, col).map_or(0, number))
                .collect()
        };
        let answer = Answer::Grid((0..self.rows).map(row).collect());
        Ok((answer, colors.iter().map(|color| hex(*color)).collect()))
    }

    /// What the right half must show.
    pub(super) fn rule(&self, puzzle: &RgbImage) -> Found<SlotRule> {
        let needed = [
            f64::from(self.cols) * self.size[0],
            f64::from(self.rows) * self.size[1],
        ];
        let given = [f64::from(puzzle.width()), f64::from(puzzle.height())];
        if (0..2).any(|axis| (needed[axis] - given[axis]).abs() > 1.0) {
            let [[width, height], [across, down]] = [needed, given];
            let reason = format!(
                "the cells take {width}x{height} pixels and the picture has {across}x{down}"
            );
            return wrong("cell_width", reason);
        }
        let colors = self.colors();
        let places =
            (0..self.rows).flat_map(|row| (self.cols / 2..self.cols).map(move |col| (row, col)));
        let slots = places.map(|(row, col)| {
            let right = self.mirrored(row, col).unwrap_or(EMPTY);
            let rivals = colors.iter().copied().chain([EMPTY]);
            // Colours are drawn by lot, so some are alike.
            let others = rivals.filter(|other| color_difference(*other, right) >= ALIKE);
            Slot {
                name: format!("row {}, column {}", row + 1, col + 1),
                area: self.place(row, col),
                expect: Expect::Color {
                    right,
                    others: others.collect(),
                },
            }
        });
        Ok(SlotRule {
            slots: slots.collect(),
            keeps_rest: true,
        })
    }

    fn place(&self, row: u32, col: u32) -> Area {
        let corner = [f64::from(col) * self.size[0], f64::from(row) * self.size[1]];
        let [left, top, right, bottom] = self.inner;
        Area::Rect([
            corner[0] + left + INSET,
            corner[1] + top + INSET,
            corner[0] + right - INSET,
            corner[1] + bottom - INSET,
        ])
    }
}

fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[derive(Deserialize)]
struct Layer {
    color_name: String,
    z: i64,
}

#[derive(Deserialize)]
struct Paint {
    name: String,
}

/// Names of a record's rectangles from the top layer down, and every name there may be.
pub(in crate::manifest) fn layers(fields: &Fields) -> Found<(Vec<String>, Vec<String>)> {
    let mut rectangles: Vec<Layer> = list(fields, "rectangles")?;
    rectangles.sort_by_key(|layer| std::cmp::Reverse(layer.z));
    if rectangles.windows(2).any(|pair| pair[0].z == pair[1].z) {
        return wrong("rectangles", "two rectangles lie in one layer");
    }
    let palette: Vec<Paint> = list(fields, "color_palette")?;
    let names: Vec<_> = palette.into_iter().map(|paint| paint.name).collect();
    let order: Vec<_> = rectangles.into_iter().map(|at| at.color_name).collect();
    if order.is_empty() {
        return wrong("rectangles", "there are none");
    }
    if let Some(stranger) = order.iter().find(|name| !names.contains(name)) {
        let reason = format!("{stranger:?} is not in `color_palette`");
        return wrong("rectangles", reason);
    }
    Ok((order, names))
}
