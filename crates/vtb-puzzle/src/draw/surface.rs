//! What shapes are drawn on, and the numbers that all of them need.

use std::ops::Range;

use super::canvas::{Canvas, Rgb};

/// What shapes are drawn on: parts of rows, of pixels that are covered whole and of others.
pub(super) trait Surface {
    fn whole(&mut self, row: i32, columns: Range<i32>);
    fn edge(&mut self, row: i32, columns: Range<i32>, coverage: impl Fn(i32) -> f32);
}

/// A picture, in one colour.
pub(super) struct Ink<'a> {
    pub(super) canvas: &'a mut Canvas,
    pub(super) color: Rgb,
}

impl Surface for Ink<'_> {
    fn whole(&mut self, row: i32, columns: Range<i32>) {
        self.canvas.span(row, columns, self.color);
    }

    fn edge(&mut self, row: i32, columns: Range<i32>, coverage: impl Fn(i32) -> f32) {
        self.canvas.edge(row, columns, self.color, coverage);
    }
}

/// The whole numbers next to one, without a call: not all processors that this is compiled for
/// have an instruction. What is no number becomes 0.
#[inline(always)]
pub(super) fn floor(x: f64) -> i32 {
    let whole = x as i32;
    whole.saturating_sub(i32::from(f64::from(whole) > x))
}

#[inline(always)]
pub(super) fn ceil(x: f64) -> i32 {
    let whole = x as i32;
    whole.saturating_add(i32::from(f64::from(whole) < x))
}

/// Half the length of the chord at `distance` from the centre; nil outside.
#[inline(always)]
pub(super) fn half_chord(radius: f64, distance: f64) -> f64 {
    match radius > distance.abs() {
        true => (radius * radius - distance * distance).sqrt(),
        false => 0.0,
    }
}
