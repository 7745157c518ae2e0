//! Places of the puzzle by which it is found in pictures.

use std::ops::Range;

use image::RgbImage;

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

impl Place {
    fn new((x, y): (usize, usize), gray: impl Fn(usize, usize) -> u8) -> Self {
        Self {
            x: x as f32,
            y: y as f32,
            value: f32::from(gray(x, y)),
        }
    }
}

const EDGES: usize = 220;
const GRID: usize = 12;

/// Pixels that are asked for edges at once.
const CHUNK: usize = 16;

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

    /// Notes the edges in a row of part of a picture: `puzzle` holds that row at `line`, which
    /// begins with pixel `first` of the whole picture; `columns` are the part's own. The solution
    /// is as the puzzle where `is_untouched` has it of a range, and where `is_same` has it of one
    /// of them.
    fn note(
        &mut self,
        puzzle: &Gray,
        line: usize,
        columns: Range<usize>,
        first: usize,
        is_untouched: impl Fn(Range<usize>) -> bool,
        is_same: impl Fn(usize) -> bool,
    ) {
        let row = puzzle.width;
        let at = line * row;
        let part = |from: usize| &puzzle.pixels[from + columns.start..from + columns.end];
        let beside = [at - 1, at + 1, at - row, at + row].map(part);
        for from in (0..columns.len()).step_by(CHUNK) {
            let [left, right, above, below] = beside.map(|part| chunk(&part[from..]));
            let across: [u8; CHUNK] = std::array::from_fn(|at| left[at].abs_diff(right[at]));
            let down: [u8; CHUNK] = std::array::from_fn(|at| above[at].abs_diff(below[at]));
            let steps = across.iter().zip(&down);
            // Most have no edge.
            if steps
                .clone()
                .fold(0, |most: u8, (a, b)| most.max(*a).max(*b))
                < EDGE
            {
                continue;
            }
            let start = columns.start + from;
            let is_untouched = is_untouched(start..(start + CHUNK).min(columns.end));
            let is_edge = steps.map(|(across, down)| u32::from(*across.max(down) >= EDGE));
            let mut edges = (0..).zip(is_edge).fold(0, |all, (at, is)| all | is << at);
            while edges != 0 {
                let at = edges.trailing_zeros() as usize;
                edges &= edges - 1;
                if is_untouched || is_same(start + at) {
                    match across[at] >= down[at] {
                        true => self.upright.push(first + start + at),
                        false => self.level.push(first + start + at),
                    }
                }
            }
        }
    }

    /// The chosen places; `puzzle` and `solution` give the values at a pixel.
    fn places(
        self,
        puzzle: impl Fn(usize, usize) -> u8,
        solution: impl Fn(usize, usize) -> u8,
    ) -> Vec<Place> {
        let width = self.width;
        let every = |list: &[usize]| -> Vec<usize> {
            let count = list.len().min(EDGES);
            (0..count).map(|at| list[at * list.len() / count]).collect()
        };
        let mut chosen = every(&self.upright);
        chosen.extend(every(&self.level));
        let edges = chosen.iter().map(|at| (at % width, at / width));
        let edges = edges.map(|at| Place::new(at, &puzzle)).collect::<Vec<_>>();
        let grid = grid_places([width, self.height], puzzle, solution);
        edges.into_iter().chain(grid).collect()
    }
}

/// The coarse grid, where puzzle and solution agree.
fn grid_places(
    [width, height]: [usize; 2],
    puzzle: impl Fn(usize, usize) -> u8,
    solution: impl Fn(usize, usize) -> u8,
) -> impl Iterator<Item = Place> {
    let middle = |at: usize, side: usize| (2 * at + 1) * side / (2 * GRID);
    let all = (0..GRID * GRID).map(move |at| (middle(at % GRID, width), middle(at / GRID, height)));
    all.filter_map(move |(x, y)| {
        let place = Place::new((x, y), &puzzle);
        (puzzle(x, y).abs_diff(solution(x, y)) <= SAME).then_some(place)
    })
}

/// The coarse grid of the finest level.
pub(super) fn sparse_places(sheet: &Sheet) -> Vec<Place> {
    let [puzzle, solution] = [&sheet.puzzle, &sheet.solution];
    let size = [sheet.grid.width, sheet.grid.height];
    let soft = |picture| move |x, y| soft_luma(picture, x, y);
    grid_places(size, soft(puzzle), soft(solution)).collect()
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
        let is_same = |x: usize| {
            let [before, after] = [puzzle, solution].map(|gray| gray.pixels[y * width + x]);
            before.abs_diff(after) <= SAME
        };
        choice.note(puzzle, y, 1..width - 1, y * width, |_| false, is_same);
    }
    let value = |gray: &Gray, x: usize, y: usize| gray.pixels[y * width + x];
    choice.places(|x, y| value(puzzle, x, y), |x, y| value(solution, x, y))
}

/// Places of the finest level; empty parts of the puzzle have no edges and are passed over.
pub(super) fn finest_places(sheet: &Sheet) -> Vec<Place> {
    let grid = sheet.grid;
    let mut choice = Choice::new(grid.width, grid.height);
    for band in grid.bands() {
        let parts: Vec<_> = sheet.drawn(band).map(|own| Part::new(sheet, own)).collect();
        // Row by row, as on the whole picture.
        for y in parts.first().map_or(0..0, |part| part.own.rows()) {
            parts.iter().for_each(|part| part.note(y, &mut choice));
        }
    }
    choice.places(
        |x, y| soft_luma(&sheet.puzzle, x, y),
        |x, y| soft_luma(&sheet.solution, x, y),
    )
}

/// Part of the puzzle in grey, softened, with a margin.
struct Part<'a> {
    sheet: &'a Sheet,
    own: Rect,
    /// The part with its margin.
    rect: Rect,
    puzzle: Gray,
    /// Rows of that in which the solution is as the puzzle: most are asked for many times.
    same: Vec<bool>,
}

impl<'a> Part<'a> {
    fn new(sheet: &'a Sheet, own: Rect) -> Self {
        let rect = sheet.grid.with_margin(own, MARGIN);
        let mut puzzle = Gray::of_part(sheet.grid, sheet.puzzle.as_raw(), rect);
        puzzle.soften();
        let line = |picture: &'a RgbImage, y| sheet.grid.line(picture.as_raw(), rect, y);
        let same = rect
            .rows()
            .map(|y| line(&sheet.puzzle, y) == line(&sheet.solution, y));
        Self {
            sheet,
            own,
            rect,
            puzzle,
            same: same.collect(),
        }
    }

    fn note(&self, y: usize, choice: &mut Choice) {
        let (width, height) = (self.sheet.grid.width, self.sheet.grid.height);
        if y == 0 || y + 1 >= height {
            return;
        }
        let left = self.rect.left;
        let columns = self.own.left.max(1) - left..self.own.right.min(width - 1) - left;
        let line = y - self.rect.top;
        let is_row_untouched = self.same[line - 1..=line + 1].iter().all(|same| *same);
        let is_untouched =
            |columns: Range<usize>| is_row_untouched || self.is_untouched(y, columns);
        let is_same = |x: usize| {
            let before = self.puzzle.pixels[line * self.puzzle.width + x];
            let after = soft_luma(&self.sheet.solution, left + x, y);
            before.abs_diff(after) <= SAME
        };
        let first = y * width + left;
        choice.note(&self.puzzle, line, columns, first, is_untouched, is_same);
    }

    /// Whether the solution is as the puzzle within one pixel of some columns of a row, counted
    /// from the margin's first.
    fn is_untouched(&self, y: usize, columns: Range<usize>) -> bool {
        let own = Rect {
            left: self.rect.left + columns.start,
            right: self.rect.left + columns.end,
            top: y,
            bottom: y + 1,
        };
        let (grid, sheet) = (self.sheet.grid, self.sheet);
        let near = grid.with_margin(own, 1);
        grid.is_same(sheet.puzzle.as_raw(), sheet.solution.as_raw(), near)
    }
}

/// The first [`CHUNK`] values; zeros where there are fewer.
fn chunk(values: &[u8]) -> [u8; CHUNK] {
    values.first_chunk().copied().unwrap_or_else(|| {
        let mut some = [0; CHUNK];
        some[..values.len()].copy_from_slice(values);
        some
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::gray::pyramid;
    use image::Rgb;

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
