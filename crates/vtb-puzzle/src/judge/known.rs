//! What is known of the puzzle in one tile.

use std::sync::OnceLock;

use super::compare::{is_alike, is_drawn, soft};
use super::pixels::{least3, most3};
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

    /// Visits the changed pixels by their column and row: with 0 if it was part of the drawing, 1
    /// if it was part of the page.
    pub(super) fn each_change(&self, look: &Look<'_>, mut visit: impl FnMut([usize; 2], usize)) {
        let (grid, tile) = (look.sheet.grid, look.tile);
        let bytes = |bytes: &[u8]| -> Vec<u8> {
            let lines = tile.rows().map(|y| grid.line(bytes, tile, y));
            lines.collect::<Vec<_>>().concat()
        };
        let here = bytes(look.picture);
        let strange = is_strange(
            &here,
            &bytes(look.sheet.puzzle.as_raw()),
            &bytes(look.sheet.solution.as_raw()),
        );
        if !strange && self.is_soft(&here) {
            return;
        }
        let patch = grid.patch(look.picture, tile, 1);
        let least = patch.crop(&least3(&patch.bytes, patch.row(), 3), tile);
        let most = patch.crop(&most3(&patch.bytes, patch.row(), 3), tile);
        let mut differs = vec![0; here.len()];
        let drawn = self.soft.iter().zip(&self.same);
        let seen = drawn.zip(least.iter().zip(&most));
        for (to, ((soft, same), (least, most))) in differs.iter_mut().zip(seen) {
            *to = (lost(*soft, *least, *most) & same).saturating_sub(NEAR);
        }
        if strange {
            let ranges = self.ranges(look);
            let known = ranges.low.iter().zip(&ranges.high);
            for (to, (here, (low, high))) in differs.iter_mut().zip(here.iter().zip(known)) {
                *to |= added(*here, *low, *high).saturating_sub(NEAR);
            }
        }
        let width = tile.right - tile.left;
        for (at, differs) in differs.chunks_exact(3).enumerate() {
            if differs[0] | differs[1] | differs[2] != 0 {
                let channels = 3 * at..3 * at + 3;
                let seen = [&here, &least, &most].map(|bytes| &bytes[channels.clone()]);
                if let Some(kind) = self.change(look, at, seen) {
                    visit([tile.left + at % width, tile.top + at / width], kind);
                }
            }
        }
    }

    /// Whether bytes are near the softened ones wherever something may be drawn: then nothing of
    /// the drawing is lost.
    fn is_soft(&self, here: &[u8]) -> bool {
        let drawn = self.soft.iter().zip(&self.same);
        let off = here.iter().zip(drawn);
        off.fold(0, |most: u8, (here, (soft, same))| {
            most.max(here.abs_diff(*soft) & same)
        }) <= NEAR
    }

    /// Whether pixel `at` of the tile changed, seen as [itself, least, most] within one pixel.
    fn change(&self, look: &Look<'_>, at: usize, seen: [&[u8]; 3]) -> Option<usize> {
        let (page, ranges) = (look.sheet.page(), self.ranges(look));
        let channels = 3 * at..3 * at + 3;
        let soft = &self.soft[channels.clone()];
        let is_ink = self.same[channels.start] != 0 && is_drawn(soft, &page);
        let differs = channels.zip(0..3).any(|(byte, channel)| {
            let by = match is_ink {
                true => lost(soft[channel], seen[1][channel], seen[2][channel]),
                false => added(seen[0][channel], ranges.low[byte], ranges.high[byte]),
            };
            let contrast = u16::from(soft[channel].abs_diff(page[channel]));
            let slack = match ranges.flat[at] {
                true => NEAR,
                false => ((contrast * SHARE / 256) as u8).max(ROUGH),
            };
            by > slack
        });
        differs.then_some(usize::from(!is_ink))
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

/// Whether any byte is far from both puzzle and solution: else nothing is added.
fn is_strange(here: &[u8], puzzle: &[u8], solution: &[u8]) -> bool {
    let known = puzzle.iter().zip(solution);
    let off = here.iter().zip(known);
    let off = off.map(|(here, (before, after))| here.abs_diff(*before).min(here.abs_diff(*after)));
    off.fold(0, u8::max) > NEAR
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
