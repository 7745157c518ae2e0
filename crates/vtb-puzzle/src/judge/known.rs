//! What is known of the puzzle in one tile.

use std::ops::Range;
use std::sync::OnceLock;

use super::compare::{is_alike, is_drawn, soft};
use super::pixels::{alike, alike_behind, least3, most3};
use super::sheet::Sheet;
use super::tiles::{MARGIN, Rect};

/// Least that a channel must differ by to have changed.
pub(super) const NEAR: u8 = 32;
/// Greatest range of a flat part, grey levels.
pub(super) const FLAT: u8 = 24;
/// The same where something is drawn: at least this, or a share of the contrast, in 256ths.
const ROUGH: u8 = 44;
const SHARE: u16 = 166;

/// Three bytes for every pixel of the tile.
pub(super) struct Known {
    pub(super) soft: Vec<u8>,
    /// 255 where puzzle and solution are alike.
    same: Vec<u8>,
    ranges: OnceLock<Ranges>,
}

/// What lies within two pixels.
struct Ranges {
    /// Of puzzle and solution.
    low: Vec<u8>,
    high: Vec<u8>,
    /// By pixel: the puzzle has one colour there, about.
    flat: Vec<bool>,
}

/// A tile of a picture.
pub(super) struct Look<'a> {
    pub(super) sheet: &'a Sheet,
    pub(super) tile: Rect,
    pub(super) picture: &'a [u8],
}

impl Known {
    pub(super) fn new(sheet: &Sheet, tile: Rect) -> Self {
        let grid = sheet.grid;
        let (puzzle, solution) = (sheet.puzzle.as_raw(), sheet.solution.as_raw());
        let mut same = vec![255; 3 * tile.area()];
        let lines = same.chunks_exact_mut(3 * (tile.right - tile.left));
        for (y, same) in tile.rows().zip(lines) {
            let (before, after) = (grid.line(puzzle, tile, y), grid.line(solution, tile, y));
            if before != after {
                let pixels = before.chunks_exact(3).zip(after.chunks_exact(3));
                for (same, (before, after)) in same.chunks_exact_mut(3).zip(pixels) {
                    if !is_alike(before, after) {
                        same.fill(0);
                    }
                }
            }
        }
        Self {
            soft: soft(&grid.patch(puzzle, tile, 1), tile),
            same,
            ranges: OnceLock::new(),
        }
    }

    fn ranges(&self, look: &Look<'_>) -> &Ranges {
        self.ranges
            .get_or_init(|| Ranges::new(look.sheet, look.tile))
    }

    /// Visits the changed pixels by their column and row, with 0 if it was part of the drawing, 1
    /// if it was part of the page; but for those that `skip` names.
    ///
    /// What is lost or added beyond any slack is far from what is known of that very pixel. So its
    /// neighbours, which take longer, need only be looked at where it is.
    pub(super) fn each_change(
        &self,
        look: &Look<'_>,
        skip: impl Fn([usize; 2]) -> bool,
        mut visit: impl FnMut([usize; 2], usize),
    ) {
        let tile = look.tile;
        let row = 3 * (tile.right - tile.left);
        let touched = look.touched();
        let mut near = None;
        for (line, y) in tile.rows().enumerate() {
            let columns = touched.columns(y);
            let from = line * row;
            let seen = Row::new(self, look, y, from..from + row);
            if columns.is_empty() || seen.farthest() <= NEAR {
                continue;
            }
            for x in columns {
                let column = 3 * (x - tile.left);
                if !seen.is_far(column) || look.is_as_known(x, y) || skip([x, y]) {
                    continue;
                }
                let near = near.get_or_insert_with(|| Near::new(look));
                let is_strange = seen.is_strange(column);
                if let Some(kind) = self.change(look, near, from + column, is_strange) {
                    visit([x, y], kind);
                }
            }
        }
    }

    /// Whether the pixel whose bytes begin at `from` changed: 0 if it was part of the drawing, 1 if
    /// it was part of the page.
    fn change(&self, look: &Look<'_>, near: &Near, from: usize, strange: bool) -> Option<usize> {
        let channels = || (from..from + 3).zip(0..3);
        let lost = |at: usize| lost(self.soft[at], near.least[at], near.most[at]);
        let is_same = self.same[from] != 0;
        // Then nothing is added and nothing lost.
        let is_lost = || is_same && channels().any(|(at, _)| lost(at) > NEAR);
        if !strange && !is_lost() {
            return None;
        }
        let page = look.sheet.page();
        let soft = &self.soft[from..from + 3];
        let is_flat = || self.ranges(look).flat[from / 3];
        let slack = |channel: usize| {
            let contrast = u16::from(soft[channel].abs_diff(page[channel]));
            ((contrast * SHARE / 256) as u8).max(ROUGH)
        };
        if is_same && is_drawn(soft, &page) {
            let beyond_any = channels().any(|(at, channel)| lost(at) > slack(channel));
            return (beyond_any || is_lost() && is_flat()).then_some(0);
        }
        if !strange {
            return None;
        }
        let ranges = self.ranges(look);
        let differs = channels().any(|(at, channel)| {
            let by = added(near.here[at], ranges.low[at], ranges.high[at]);
            let slack = if is_flat() { NEAR } else { slack(channel) };
            by > slack
        });
        differs.then_some(1)
    }
}

/// Where a picture is not the puzzle, about: the first and the last such column of each row of a
/// tile with a margin of one pixel.
struct Touched {
    rect: Rect,
    tile: Rect,
    ends: Vec<Option<[usize; 2]>>,
}

impl Touched {
    /// The columns of a row of the tile that are within one pixel.
    fn columns(&self, y: usize) -> Range<usize> {
        let first = (y - self.rect.top).saturating_sub(1);
        let rows = self.ends[first..]
            .iter()
            .take(y + 2 - self.rect.top - first);
        let ends = rows.flatten().copied();
        let all = ends.reduce(|[a, b], [c, d]| [a.min(c), b.max(d)]);
        all.map_or(0..0, |[left, right]| {
            let [from, to] = [left.saturating_sub(1), right + 2];
            from.max(self.tile.left)..to.min(self.tile.right)
        })
    }
}

impl Look<'_> {
    fn touched(&self) -> Touched {
        let (grid, puzzle) = (self.sheet.grid, self.sheet.puzzle.as_raw());
        let rect = grid.with_margin(self.tile, 1);
        let ends = rect.rows().map(|y| {
            let [here, known] = [self.picture, puzzle].map(|bytes| grid.line(bytes, rect, y));
            (here != known).then(|| {
                let first = alike(here, known) / 3;
                let last = (here.len() - alike_behind(here, known) - 1) / 3;
                [first, last].map(|at| rect.left + at)
            })
        });
        Touched {
            ends: ends.collect(),
            rect,
            tile: self.tile,
        }
    }

    /// Whether the picture is the puzzle or the solution within one pixel.
    fn is_as_known(&self, x: usize, y: usize) -> bool {
        let grid = self.sheet.grid;
        let pixel = Rect {
            left: x,
            top: y,
            right: x + 1,
            bottom: y + 1,
        };
        let around = grid.with_margin(pixel, 1);
        let mut known = [&self.sheet.puzzle, &self.sheet.solution].into_iter();
        known.any(|known| grid.is_same(self.picture, known.as_raw(), around))
    }
}

/// A row of a tile: the picture, and what is known of every byte.
struct Row<'a> {
    here: &'a [u8],
    puzzle: &'a [u8],
    solution: &'a [u8],
    soft: &'a [u8],
    same: &'a [u8],
}

impl<'a> Row<'a> {
    /// Row `y` of the picture; `known` are its bytes in the tile.
    fn new(own: &'a Known, look: &Look<'a>, y: usize, known: Range<usize>) -> Self {
        let line = |bytes: &'a [u8]| look.sheet.grid.line(bytes, look.tile, y);
        Self {
            here: line(look.picture),
            puzzle: line(look.sheet.puzzle.as_raw()),
            solution: line(look.sheet.solution.as_raw()),
            soft: &own.soft[known.clone()],
            same: &own.same[known],
        }
    }

    /// How far any byte is from both puzzle and solution, or from the softened puzzle where
    /// something may be drawn.
    fn farthest(&self) -> u8 {
        let drawn = self.soft.iter().zip(self.same);
        let known = self.puzzle.iter().zip(self.solution).zip(drawn);
        let all = self.here.iter().zip(known);
        all.fold(0, |most: u8, (here, ((puzzle, solution), (soft, same)))| {
            most.max(far(*here, [*puzzle, *solution, *soft], *same))
        })
    }

    /// Whether a byte of the pixel that begins at `column` is farther than any slack.
    fn is_far(&self, column: usize) -> bool {
        (column..column + 3).any(|at| {
            let known = [self.puzzle, self.solution, self.soft].map(|bytes| bytes[at]);
            far(self.here[at], known, self.same[at]) > NEAR
        })
    }

    /// The same of puzzle and solution alone: only then may something be added.
    fn is_strange(&self, column: usize) -> bool {
        let off = |at: usize| strange(self.here[at], self.puzzle[at], self.solution[at]);
        (column..column + 3).any(|at| off(at) > NEAR)
    }
}

fn far(here: u8, [puzzle, solution, soft]: [u8; 3], same: u8) -> u8 {
    strange(here, puzzle, solution).max(here.abs_diff(soft) & same)
}

/// How far a byte is from both puzzle and solution.
fn strange(here: u8, puzzle: u8, solution: u8) -> u8 {
    here.abs_diff(puzzle).min(here.abs_diff(solution))
}

/// The bytes of a tile of a picture, with the least and the greatest within one pixel.
struct Near {
    here: Vec<u8>,
    least: Vec<u8>,
    most: Vec<u8>,
}

impl Near {
    fn new(look: &Look<'_>) -> Self {
        let patch = look.sheet.grid.patch(look.picture, look.tile, 1);
        let crop = |bytes: &[u8]| patch.crop(bytes, look.tile);
        Self {
            here: crop(&patch.bytes),
            least: crop(&least3(&patch.bytes, patch.row(), 3)),
            most: crop(&most3(&patch.bytes, patch.row(), 3)),
        }
    }
}

impl Ranges {
    fn new(sheet: &Sheet, tile: Rect) -> Self {
        let grid = sheet.grid;
        let before = grid.patch(sheet.puzzle.as_raw(), tile, MARGIN);
        let after = grid.patch(sheet.solution.as_raw(), tile, MARGIN);
        let row = before.row();
        let [mut low, mut high] = ranges(&before.bytes, row).map(|bytes| before.crop(&bytes, tile));
        let pixels = low.chunks_exact(3).zip(high.chunks_exact(3));
        let narrow = |(low, high): (&[u8], &[u8])| (0..3).all(|at| high[at] - low[at] <= FLAT);
        let flat = pixels.map(narrow).collect();
        if before.bytes != after.bytes {
            let [least, most] = ranges(&after.bytes, row).map(|bytes| after.crop(&bytes, tile));
            merge(&mut low, &least, Ord::min);
            merge(&mut high, &most, Ord::max);
        }
        Self { low, high, flat }
    }
}

/// How far a byte lies outside a range.
fn added(here: u8, low: u8, high: u8) -> u8 {
    low.saturating_sub(here).max(here.saturating_sub(high))
}

/// How far a softened byte lies outside the range that is seen near it.
fn lost(soft: u8, least: u8, most: u8) -> u8 {
    soft.saturating_sub(most).max(least.saturating_sub(soft))
}

/// Least and greatest values within two pixels.
fn ranges(bytes: &[u8], row: usize) -> [Vec<u8>; 2] {
    let [low, high] = [least3(bytes, row, 3), most3(bytes, row, 3)];
    [least3(&low, row, 3), most3(&high, row, 3)]
}

fn merge(own: &mut [u8], other: &[u8], pick: fn(u8, u8) -> u8) {
    own.iter_mut()
        .zip(other)
        .for_each(|(a, b)| *a = pick(*a, *b));
}
