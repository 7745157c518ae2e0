//! Rows and columns of square cells.

use crate::draw::{Canvas, MAX_SIDE, Rgb};
use crate::judge::Area;
use crate::params::within;

/// Whole pixels: left, top, right, bottom.
pub(crate) type Frame = [u32; 4];

/// A board of square cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Board {
    /// Left and top edge, pixels.
    pub(crate) origin: [u32; 2],
    /// Side of a cell, pixels.
    pub(crate) cell: u32,
    /// Cells down and across.
    pub(crate) shape: [u32; 2],
}

impl Board {
    /// The largest board of this shape in the middle of `frame`; its cells may have no pixels at all.
    pub(crate) fn fit([left, top, right, bottom]: Frame, [rows, cols]: [u32; 2]) -> Self {
        let (width, height) = (right.saturating_sub(left), bottom.saturating_sub(top));
        let cell = (width / cols.max(1)).min(height / rows.max(1));
        let origin = [
            left + (width - cols * cell) / 2,
            top + (height - rows * cell) / 2,
        ];
        Self {
            origin,
            cell,
            shape: [rows, cols],
        }
    }

    /// A cell with its lines.
    pub(crate) fn cell(&self, row: u32, column: u32) -> Frame {
        let left = self.origin[0] + column * self.cell;
        let top = self.origin[1] + row * self.cell;
        [left, top, left + self.cell, top + self.cell]
    }

    /// The middle of a cell.
    pub(crate) fn middle(&self, row: u32, column: u32) -> [f64; 2] {
        let [left, top, right, bottom] = self.cell(row, column).map(f64::from);
        [(left + right) / 2.0, (top + bottom) / 2.0]
    }

    /// All cells together.
    pub(crate) fn bounds(&self) -> Frame {
        let [left, top] = self.origin;
        let [rows, cols] = self.shape;
        [left, top, left + cols * self.cell, top + rows * self.cell]
    }

    /// Rows and columns of the cells, row by row.
    pub(crate) fn places(&self) -> impl Iterator<Item = (u32, u32)> + use<> {
        let [rows, cols] = self.shape;
        (0..rows).flat_map(move |row| (0..cols).map(move |column| (row, column)))
    }
}

/// A frame made smaller by `by` pixels on every side; nothing is left of one that is too small.
pub(crate) fn inset([left, top, right, bottom]: Frame, by: u32) -> Frame {
    let (left, top) = (left + by, top + by);
    [
        left,
        top,
        right.saturating_sub(by).max(left),
        bottom.saturating_sub(by).max(top),
    ]
}

/// Draws the edge of a frame, `width` pixels inwards.
pub(crate) fn outline(canvas: &mut Canvas, frame: Frame, width: u32, color: Rgb) {
    let [left, top, right, bottom] = frame;
    let [inner_left, inner_top, inner_right, inner_bottom] = inset(frame, width);
    canvas.rect([left, top, right, inner_top], color);
    canvas.rect([left, inner_bottom, right, bottom], color);
    canvas.rect([left, top, inner_left, bottom], color);
    canvas.rect([inner_right, top, right, bottom], color);
}

/// Fills the share `progress` of the frames, one after another, each from left to right.
pub(crate) fn fill_growing(canvas: &mut Canvas, frames: &[(Frame, Rgb)], progress: f64) {
    let done = progress.clamp(0.0, 1.0) * frames.len() as f64;
    for (at, &([left, top, right, bottom], color)) in frames.iter().enumerate() {
        let part = (done - at as f64).clamp(0.0, 1.0);
        let reach = (f64::from(right.saturating_sub(left)) * part).round() as u32;
        canvas.rect([left, top, left + reach, bottom], color);
    }
}

impl From<Frame> for Area {
    fn from(frame: Frame) -> Self {
        Self::Rect(frame.map(f64::from))
    }
}

/// Checks the sides of a picture.
pub(crate) fn canvas_sides(width: u32, height: u32) -> Result<(), String> {
    within("width", width, 128, MAX_SIDE)?;
    within("height", height, 128, MAX_SIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_are_centred_and_hold_their_cells() {
        let board = Board::fit([10, 20, 115, 90], [3, 5]);
        assert_eq!((board.cell, board.origin), (21, [10, 23]));
        assert_eq!(board.bounds(), [10, 23, 115, 86]);
        assert_eq!(board.cell(2, 4), [94, 65, 115, 86]);
        assert_eq!(board.middle(0, 0), [20.5, 33.5]);
        assert_eq!(board.places().count(), 15);
        assert_eq!(Board::fit([9, 9, 3, 3], [2, 2]).cell, 0);
    }

    #[test]
    fn frames_fill_one_after_another() {
        let frames = [([0, 0, 4, 2], [255, 0, 0]), ([4, 0, 8, 2], [0, 0, 255])];
        let filled = |progress| {
            let mut canvas = Canvas::new([8, 2], [0; 3]).unwrap();
            fill_growing(&mut canvas, &frames, progress);
            let picture = canvas.into_rgb().unwrap();
            picture.pixels().filter(|pixel| pixel.0 != [0; 3]).count()
        };
        assert_eq!([0.0, 0.25, 0.5, 0.75, 1.0].map(filled), [0, 4, 8, 12, 16]);
    }

    #[test]
    fn outlines_stay_inside() {
        let mut canvas = Canvas::new([10, 10], [0; 3]).unwrap();
        outline(&mut canvas, [2, 2, 8, 8], 1, [9; 3]);
        let picture = canvas.into_rgb().unwrap();
        assert_eq!(picture.pixels().filter(|p| p.0 == [9; 3]).count(), 20);
        assert_eq!(inset([2, 2, 5, 5], 4), [6, 6, 6, 6]);
    }
}
