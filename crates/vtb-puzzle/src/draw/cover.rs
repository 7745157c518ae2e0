//! Lines through several points, and polygons.

use std::ops::Range;

use tiny_skia::{FillRule, Mask, PathBuilder, Transform};

use super::canvas::{Canvas, Rgb, share};
use super::pen::Pen;
use super::surface::{Surface, ceil, floor};

/// How much of each pixel of a part of the picture is covered, in 255ths: where parts of one shape
/// overlap, they cover no more than one of them.
pub(super) struct Cover {
    left: i32,
    top: i32,
    width: usize,
    shares: Vec<u8>,
}

impl Cover {
    /// An empty one, large enough for a line of this width; `None` outside the picture.
    pub(super) fn about(points: &[[f64; 2]], line: f64, size: [i32; 2]) -> Option<Self> {
        let reach = line / 2.0 + 1.0;
        let edge = |axis: usize| {
            let parts = points.iter().map(|point| point[axis]);
            let low = parts.clone().fold(f64::INFINITY, f64::min) - reach;
            let high = parts.fold(f64::NEG_INFINITY, f64::max) + reach;
            let low = floor(low).clamp(0, size[axis]);
            (low, ceil(high).clamp(low, size[axis]))
        };
        let ((left, right), (top, bottom)) = (edge(0), edge(1));
        let [width, height] = [right - left, bottom - top].map(|side| side as usize);
        (width * height > 0).then(|| Self {
            left,
            top,
            width,
            shares: vec![0; width * height],
        })
    }

    fn height(&self) -> i32 {
        (self.shares.len() / self.width) as i32
    }

    pub(super) fn add(&mut self, pen: &Pen) {
        let [right, bottom] = [self.left + self.width as i32, self.top + self.height()];
        pen.draw([right, bottom], self);
    }

    /// Part of a row. All of a line lies inside by construction; rounding may disagree by a pixel.
    fn part(&mut self, row: i32, columns: &Range<i32>) -> Option<(i32, &mut [u8])> {
        let first = columns.start.max(self.left);
        if row < self.top || first >= columns.end {
            return None;
        }
        let start = (row - self.top) as usize * self.width;
        let [from, to] = [first, columns.end].map(|at| start + (at - self.left) as usize);
        Some((first, &mut self.shares[from..to]))
    }

    /// Fills the polygon through the points.
    pub(super) fn fill(&mut self, points: &[[f64; 2]]) {
        let mut path = PathBuilder::new();
        for (at, [x, y]) in points.iter().enumerate() {
            let [x, y] = [x - f64::from(self.left), y - f64::from(self.top)];
            match at {
                0 => path.move_to(x as f32, y as f32),
                _ => path.line_to(x as f32, y as f32),
            }
        }
        path.close();
        let mask = Mask::new(self.width as u32, self.height() as u32);
        if let (Some(path), Some(mut mask)) = (path.finish(), mask) {
            mask.fill_path(&path, FillRule::Winding, true, Transform::identity());
            self.shares = mask.take();
        }
    }

    pub(super) fn paint(&self, canvas: &mut Canvas, color: Rgb) {
        for (row, shares) in (self.top..).zip(self.shares.chunks_exact(self.width)) {
            // Most of a line's box is bare, which is seen many pixels at a time.
            let (many, rest) = shares.as_chunks::<16>();
            let mut column = self.left;
            for some in many {
                let bits = u128::from_le_bytes(*some);
                if bits != 0 {
                    let first = bits.trailing_zeros() as usize / 8;
                    let last = 16 - bits.leading_zeros() as usize / 8;
                    let inked = &some[first..last];
                    // Two edges of a thin line, or a part of a wide one.
                    match inked.len() <= 8 {
                        true => canvas.mix_edge(row, column + first as i32, inked, color),
                        false => canvas.mix_row(row, column, some, color),
                    }
                }
                column += 16;
            }
            canvas.mix_row(row, column, rest, color);
        }
    }
}

impl Surface for Cover {
    fn whole(&mut self, row: i32, columns: Range<i32>) {
        if let Some((_, shares)) = self.part(row, &columns) {
            shares.fill(255);
        }
    }

    fn edge(&mut self, row: i32, columns: Range<i32>, coverage: impl Fn(i32) -> f32) {
        if let Some((first, shares)) = self.part(row, &columns) {
            for (at, column) in shares.iter_mut().zip(first..) {
                *at = (*at).max(share(coverage(column)));
            }
        }
    }
}
