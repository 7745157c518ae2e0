//! Grey pictures at halving sizes.

use image::RgbImage;

use super::pixels::ninth;
use super::tiles::{Grid, Rect};

/// A grey picture.
pub(super) struct Gray {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<u8>,
}

/// Shortest side of the coarsest level, pixels.
const COARSEST: usize = 24;
const LEVELS: usize = 4;

/// The picture in grey, then at half the size, and so on; each softened.
///
/// Sharp edges land differently on the grid at every size; soft ones can be compared.
pub(super) fn pyramid(picture: &RgbImage) -> Vec<Gray> {
    let mut levels = bare_pyramid(picture);
    levels.iter_mut().for_each(Gray::soften);
    levels
}

/// The same without the finest level.
pub(super) fn coarse_levels(picture: &RgbImage) -> Vec<Gray> {
    let mut levels = bare_pyramid(picture).split_off(1);
    levels.iter_mut().for_each(Gray::soften);
    levels
}

fn bare_pyramid(picture: &RgbImage) -> Vec<Gray> {
    let mut levels = vec![Gray::new(picture.as_raw(), picture.width() as usize)];
    while let Some(last) = levels.last()
        && levels.len() < LEVELS
        && last.width.min(last.height) >= 2 * COARSEST
    {
        levels.push(last.half());
    }
    levels
}

fn luma(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [0, 1, 2].map(|at| u16::from(pixel[at]));
    ((2 * red + green + blue) >> 2) as u8
}

/// The same of pixels in a row; most are like those beside them, and are done at once.
fn add_lumas(bytes: &[u8], to: &mut Vec<u8>) {
    const RUN: usize = 8;
    let (runs, rest) = bytes.as_chunks::<{ 3 * RUN }>();
    for run in runs {
        match run[3..] == run[..3 * RUN - 3] {
            true => to.extend([luma(&run[..3]); RUN]),
            false => to.extend(run.as_chunks::<3>().0.iter().map(|pixel| luma(pixel))),
        }
    }
    to.extend(rest.chunks_exact(3).map(luma));
}

/// One pixel of the finest level.
pub(super) fn soft_luma(picture: &RgbImage, x: usize, y: usize) -> u8 {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let bytes = |x: usize, y: usize| &picture.as_raw()[3 * (y * width + x)..];
    let at = |x: usize, y: usize| u16::from(luma(&bytes(x, y)[..3]));
    if width < 3 || height < 3 {
        return at(x, y) as u8;
    }
    let across = |y: usize| match x > 0 && x + 1 < width {
        true => {
            let three = bytes(x - 1, y).first_chunk::<9>().unwrap_or(&[0; 9]);
            let lumas = three.chunks_exact(3).map(|pixel| u16::from(luma(pixel)));
            lumas.sum()
        }
        false => 3 * at(x, y),
    };
    let rows = [y.saturating_sub(1), y, (y + 1).min(height - 1)];
    ninth(rows.map(across).iter().sum())
}

impl Gray {
    /// Bytes of rows of `width` pixels in grey.
    pub(super) fn new(bytes: &[u8], width: usize) -> Self {
        let mut pixels = Vec::with_capacity(bytes.len() / 3);
        add_lumas(bytes, &mut pixels);
        Self {
            width,
            height: pixels.len() / width.max(1),
            pixels,
        }
    }

    /// Part of a picture in grey.
    pub(super) fn of_part(grid: Grid, bytes: &[u8], part: Rect) -> Self {
        let mut pixels = Vec::with_capacity(part.area());
        part.rows()
            .for_each(|y| add_lumas(grid.line(bytes, part, y), &mut pixels));
        Self {
            width: part.right - part.left,
            height: part.bottom - part.top,
            pixels,
        }
    }

    fn half(&self) -> Self {
        let (width, height) = (self.width / 2, self.height / 2);
        let mut pixels = Vec::with_capacity(width * height);
        for rows in self.pixels.chunks_exact(2 * self.width) {
            let (above, below) = rows.split_at(self.width);
            let pairs = above.chunks_exact(2).zip(below.chunks_exact(2));
            pixels.extend(pairs.map(|(a, b)| {
                let sum = u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]);
                ((sum + 2) >> 2) as u8
            }));
        }
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Mean of the 3x3 neighbourhood.
    pub(super) fn soften(&mut self) {
        let (row, height) = (self.width, self.height);
        if row < 3 || height < 3 {
            return;
        }
        let mut sums = Vec::with_capacity(self.pixels.len());
        for line in self.pixels.chunks_exact(row) {
            let threes = line.iter().zip(&line[1..]).zip(&line[2..]);
            sums.push(3 * u16::from(line[0]));
            sums.extend(threes.map(|((a, b), c)| u16::from(*a) + u16::from(*b) + u16::from(*c)));
            sums.push(3 * u16::from(line[row - 1]));
        }
        let line = |at: usize| &sums[at * row..(at + 1) * row];
        for (at, out) in self.pixels.chunks_exact_mut(row).enumerate() {
            let (above, here) = (line(at.saturating_sub(1)), line(at));
            let below = line((at + 1).min(height - 1));
            for (to, ((a, b), c)) in out.iter_mut().zip(above.iter().zip(here).zip(below)) {
                *to = ninth(a + b + c);
            }
        }
    }

    /// Value at a point (pixel centres at whole numbers), mixed from four pixels; `None` beyond
    /// the edge.
    pub(super) fn at(&self, x: f32, y: f32) -> Option<f32> {
        // A little beyond the outermost centres still belongs to the picture.
        let inside = |at: f32, end: usize| (-0.75..end as f32 - 0.25).contains(&at);
        if !inside(x, self.width) || !inside(y, self.height) {
            return None;
        }
        let split = |at: f32, end: usize| {
            let at = at.clamp(0.0, (end - 1) as f32);
            let low = at as usize;
            (low, (low + 1).min(end - 1), at - low as f32)
        };
        let (x0, x1, right) = split(x, self.width);
        let (y0, y1, down) = split(y, self.height);
        let value = |x: usize, y: usize| f32::from(self.pixels[y * self.width + x]);
        let above = value(x0, y0) + (value(x1, y0) - value(x0, y0)) * right;
        let below = value(x0, y1) + (value(x1, y1) - value(x0, y1)) * right;
        Some(above + (below - above) * down)
    }
}
