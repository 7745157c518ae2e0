//! Grey pictures at halving sizes, and places of the puzzle worth comparing.

use image::RgbImage;

use super::pixels::ninth;

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
    let luma = |pixel: &[u8]| {
        let [red, green, blue] = [0, 1, 2].map(|at| u16::from(pixel[at]));
        ((2 * red + green + blue) >> 2) as u8
    };
    let mut levels = vec![Gray {
        width: picture.width() as usize,
        height: picture.height() as usize,
        pixels: picture.as_raw().chunks_exact(3).map(luma).collect(),
    }];
    while let Some(last) = levels.last()
        && levels.len() < LEVELS
        && last.width.min(last.height) >= 2 * COARSEST
    {
        levels.push(last.half());
    }
    levels.iter_mut().for_each(Gray::soften);
    levels
}

impl Gray {
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
    fn soften(&mut self) {
        let (row, height) = (self.width, self.height);
        if row < 3 || height < 3 {
            return;
        }
        let mut sums: Vec<u16> = self
            .pixels
            .iter()
            .map(|value| 3 * u16::from(*value))
            .collect();
        for (out, line) in sums
            .chunks_exact_mut(row)
            .zip(self.pixels.chunks_exact(row))
        {
            for (to, three) in out[1..row - 1].iter_mut().zip(line.windows(3)) {
                *to = u16::from(three[0]) + u16::from(three[1]) + u16::from(three[2]);
            }
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

/// A place of one level, and the grey value there.
pub(super) struct Place {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) value: f32,
}

const EDGES: usize = 220;
const GRID: usize = 12;

/// Places of each level that a good edit leaves alone: edges of both directions, and a coarse grid.
///
/// A place is left alone when puzzle and solution agree on it.
pub(super) fn places(puzzle: &[Gray], solution: &[Gray]) -> Vec<Vec<Place>> {
    puzzle
        .iter()
        .zip(solution)
        .map(|(a, b)| level_places(a, b))
        .collect()
}

fn level_places(puzzle: &Gray, solution: &Gray) -> Vec<Place> {
    const EDGE: u8 = 20;
    const SAME: u8 = 6;
    let row = puzzle.width;
    let same = |at: usize| puzzle.pixels[at].abs_diff(solution.pixels[at]) <= SAME;
    let [mut upright, mut level] = [Vec::new(), Vec::new()];
    for y in 1..puzzle.height.saturating_sub(1) {
        for at in y * row + 1..(y + 1) * row - 1 {
            let across = puzzle.pixels[at + 1].abs_diff(puzzle.pixels[at - 1]);
            let down = puzzle.pixels[at + row].abs_diff(puzzle.pixels[at - row]);
            if across.max(down) >= EDGE && same(at) {
                let list = if across >= down {
                    &mut upright
                } else {
                    &mut level
                };
                list.push(at);
            }
        }
    }
    let every = |list: &[usize]| -> Vec<usize> {
        let count = list.len().min(EDGES);
        (0..count).map(|at| list[at * list.len() / count]).collect()
    };
    let mut chosen = every(&upright);
    chosen.extend(every(&level));
    for y in 0..GRID {
        let y = (2 * y + 1) * puzzle.height / (2 * GRID);
        let points = (0..GRID).map(|x| y * row + (2 * x + 1) * puzzle.width / (2 * GRID));
        chosen.extend(points.filter(|at| same(*at)));
    }
    let place = |at: &usize| Place {
        x: (at % row) as f32,
        y: (at / row) as f32,
        value: f32::from(puzzle.pixels[*at]),
    };
    chosen.iter().map(place).collect()
}
