//! Places of the puzzle by which it is found in pictures.

use super::gray::{Gray, coarse_levels, soft_luma};
use super::sheet::Sheet;
use super::tiles::{MARGIN, Rect};

/// A place of one level, and the grey value there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) value: f32,
}

const EDGES: usize = 220;
const GRID: usize = 12;

/// Least difference across an edge.
const EDGE: u8 = 20;
/// Most that puzzle and solution may differ where they agree.
const SAME: u8 = 6;

/// Places that a good edit leaves alone: edges of both directions, and a coarse grid.
///
/// A place is left alone when puzzle and solution agree on it.
struct Choice {
    width: usize,
    height: usize,
    upright: Vec<usize>,
    level: Vec<usize>,
}

impl Choice {
    fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            upright: Vec::new(),
            level: Vec::new(),
        }
    }

    /// Notes the edges in a row of part of a picture: `puzzle` and `solution` hold that row at
    /// `line`, which begins with pixel `first` of the whole picture; `columns` are the part's own.
    fn note(
        &mut self,
        [puzzle, solution]: [&Gray; 2],
        line: usize,
        columns: std::ops::Range<usize>,
        first: usize,
    ) {
        let row = puzzle.width;
        let part = |from: usize| &puzzle.pixels[from + columns.start..from + columns.end];
        let at = line * row;
        let sideways = part(at - 1).iter().zip(part(at + 1));
        let upright = part(at - row).iter().zip(part(at + row));
        let steps = sideways.zip(upright);
        let steps = steps.map(|((a, b), (c, d))| (a.abs_diff(*b), c.abs_diff(*d)));
        // Most rows have no edge.
        let steepest = steps
            .clone()
            .fold(0, |most: u8, (across, down)| most.max(across).max(down));
        if steepest < EDGE {
            return;
        }
        for (x, (across, down)) in columns.clone().zip(steps) {
            let same = || puzzle.pixels[at + x].abs_diff(solution.pixels[at + x]) <= SAME;
            if across.max(down) >= EDGE && same() {
                match across >= down {
                    true => self.upright.push(first + x),
                    false => self.level.push(first + x),
                }
            }
        }
    }

    /// The chosen places; `values` gives puzzle and solution at a pixel.
    fn places(self, values: impl Fn(usize, usize) -> [u8; 2]) -> Vec<Place> {
        let (width, height) = (self.width, self.height);
        let every = |list: &[usize]| -> Vec<usize> {
            let count = list.len().min(EDGES);
            (0..count).map(|at| list[at * list.len() / count]).collect()
        };
        let mut chosen = every(&self.upright);
        chosen.extend(every(&self.level));
        let middle = |at: usize, side: usize| (2 * at + 1) * side / (2 * GRID);
        let grid = (0..GRID * GRID).map(|at| (middle(at % GRID, width), middle(at / GRID, height)));
        let agreed = |&(x, y): &(usize, usize)| {
            let [before, after] = values(x, y);
            before.abs_diff(after) <= SAME
        };
        let edges = chosen.iter().map(|at| (at % width, at / width));
        let place = |(x, y): (usize, usize)| Place {
            x: x as f32,
            y: y as f32,
            value: f32::from(values(x, y)[0]),
        };
        edges.chain(grid.filter(agreed)).map(place).collect()
    }
}

/// Places of every level but the finest.
pub(super) fn coarse_places(sheet: &Sheet) -> Vec<Vec<Place>> {
    let (puzzle, solution) = (coarse_levels(&sheet.puzzle), coarse_levels(&sheet.solution));
    let levels = puzzle.iter().zip(&solution);
    levels.map(|(a, b)| level_places(a, b)).collect()
}

fn level_places(puzzle: &Gray, solution: &Gray) -> Vec<Place> {
    let (width, height) = (puzzle.width, puzzle.height);
    let mut choice = Choice::new(width, height);
    for y in 1..height.saturating_sub(1) {
        choice.note([puzzle, solution], y, 1..width - 1, y * width);
    }
    choice.places(|x, y| [puzzle, solution].map(|gray| gray.pixels[y * width + x]))
}

/// Places of the finest level; empty parts of the puzzle have no edges and are passed over.
pub(super) fn finest_places(sheet: &Sheet) -> Vec<Place> {
    let grid = sheet.grid;
    let mut choice = Choice::new(grid.width, grid.height);
    for band in grid.bands() {
        let drawn = band
            .map(|at| grid.tile(at))
            .filter(|tile| sheet.plain(*tile).is_none());
        let parts: Vec<_> = drawn.map(|tile| Part::new(sheet, tile)).collect();
        // Row by row, as on the whole picture.
        for y in parts.first().map_or(0..0, |part| part.tile.rows()) {
            parts.iter().for_each(|part| part.note(y, &mut choice));
        }
    }
    choice.places(|x, y| [&sheet.puzzle, &sheet.solution].map(|picture| soft_luma(picture, x, y)))
}

/// A tile in grey, softened, with a margin.
struct Part {
    tile: Rect,
    rect: Rect,
    whole: [usize; 2],
    puzzle: Gray,
    /// None where it is as the puzzle.
    solution: Option<Gray>,
}

impl Part {
    fn new(sheet: &Sheet, tile: Rect) -> Self {
        let patch = |bytes: &[u8]| sheet.grid.patch(bytes, tile, MARGIN);
        let (before, after) = (patch(sheet.puzzle.as_raw()), patch(sheet.solution.as_raw()));
        let gray = |bytes: &[u8]| {
            let mut gray = Gray::new(bytes, before.row() / 3);
            gray.soften();
            gray
        };
        Self {
            tile,
            rect: before.rect,
            whole: [sheet.grid.width, sheet.grid.height],
            puzzle: gray(&before.bytes),
            solution: (before.bytes != after.bytes).then(|| gray(&after.bytes)),
        }
    }

    fn note(&self, y: usize, choice: &mut Choice) {
        let [width, height] = self.whole;
        if y == 0 || y + 1 >= height {
            return;
        }
        let left = self.rect.left;
        let columns = self.tile.left.max(1) - left..self.tile.right.min(width - 1) - left;
        let solution = self.solution.as_ref().unwrap_or(&self.puzzle);
        let line = y - self.rect.top;
        choice.note([&self.puzzle, solution], line, columns, y * width + left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::gray::pyramid;
    use image::{Rgb, RgbImage};

    #[test]
    fn the_finest_places_are_those_of_the_whole_picture() {
        for (width, height) in [(1, 1), (2, 9), (3, 3), (20, 30), (41, 23), (100, 90)] {
            let mut state = 1u32;
            let mut dots = |page: &RgbImage, count: usize| {
                let mut picture = page.clone();
                for _ in 0..count {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let [x, y] = [(state >> 8) % width, (state >> 18) % height];
                    let shade = (state >> 24) as u8;
                    picture.put_pixel(x, y, Rgb([shade, shade / 2, 90]));
                }
                picture
            };
            let page = RgbImage::from_pixel(width, height, Rgb([240, 250, 255]));
            let puzzle = dots(&page, 9);
            let solution = dots(&puzzle, 5);
            let whole = level_places(&pyramid(&puzzle)[0], &pyramid(&solution)[0]);
            let found = finest_places(&Sheet::new(puzzle, solution));
            assert!(found == whole, "{width}x{height}");
            assert!(width < 20 || !found.is_empty(), "{width}x{height}");
        }
    }
}
