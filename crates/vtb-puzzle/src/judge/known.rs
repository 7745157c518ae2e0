//! What is known of the puzzle in one tile.

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
    /// Range of puzzle and solution within two pixels.
    low: Vec<u8>,
    high: Vec<u8>,
    pub(super) soft: Vec<u8>,
    /// 255 where puzzle and solution are alike.
    same: Vec<u8>,
    /// By pixel: within two pixels the puzzle has one colour, about.
    flat: Vec<bool>,
}

impl Known {
    pub(super) fn new(sheet: &Sheet, tile: Rect) -> Self {
        let grid = sheet.grid;
        let before = grid.patch(sheet.puzzle.as_raw(), tile, MARGIN);
        let after = grid.patch(sheet.solution.as_raw(), tile, MARGIN);
        let row = before.row();
        let [mut low, mut high] = ranges(&before.bytes, row).map(|bytes| before.crop(&bytes, tile));
        let pixels = low.chunks_exact(3).zip(high.chunks_exact(3));
        let narrow = |(low, high): (&[u8], &[u8])| (0..3).all(|at| high[at] - low[at] <= FLAT);
        let flat = pixels.map(narrow).collect();
        let mut same = vec![255; low.len()];
        if before.bytes != after.bytes {
            let [least, most] = ranges(&after.bytes, row).map(|bytes| after.crop(&bytes, tile));
            merge(&mut low, &least, Ord::min);
            merge(&mut high, &most, Ord::max);
            let [here, solved] = [&before, &after].map(|patch| patch.crop(&patch.bytes, tile));
            let pixels = here.chunks_exact(3).zip(solved.chunks_exact(3));
            for (same, (before, after)) in same.chunks_exact_mut(3).zip(pixels) {
                if !is_alike(before, after) {
                    same.fill(0);
                }
            }
        }
        Self {
            low,
            high,
            soft: soft(&before, tile),
            same,
            flat,
        }
    }

    /// Not 0 where a channel differs more than it may anywhere; `least` and `most` are the range of
    /// the picture within one pixel.
    pub(super) fn may_differ(&self, here: &[u8], least: &[u8], most: &[u8]) -> Vec<u8> {
        let mut differs = vec![0; here.len()];
        let ranges = self.low.iter().zip(&self.high);
        let drawn = self.soft.iter().zip(&self.same);
        let seen = here.iter().zip(least.iter().zip(most));
        let all = differs.iter_mut().zip(ranges.zip(drawn)).zip(seen);
        for ((to, ((low, high), (soft, same))), (here, (least, most))) in all {
            let added = added(*here, *low, *high);
            let lost = lost(*soft, *least, *most) & same;
            *to = added.max(lost).saturating_sub(NEAR);
        }
        differs
    }

    /// Whether pixel `at` of the tile changed, seen as [itself, least, most] within one pixel: 0 if
    /// it was part of the drawing, 1 if it was part of the page.
    pub(super) fn change(&self, at: usize, seen: [&[u8]; 3], page: [u8; 3]) -> Option<usize> {
        let channels = 3 * at..3 * at + 3;
        let soft = &self.soft[channels.clone()];
        let is_ink = self.same[channels.start] != 0 && is_drawn(soft, &page);
        let differs = channels.zip(0..3).any(|(byte, channel)| {
            let by = match is_ink {
                true => lost(soft[channel], seen[1][channel], seen[2][channel]),
                false => added(seen[0][channel], self.low[byte], self.high[byte]),
            };
            let contrast = u16::from(soft[channel].abs_diff(page[channel]));
            let slack = match self.flat[at] {
                true => NEAR,
                false => ((contrast * SHARE / 256) as u8).max(ROUGH),
            };
            by > slack
        });
        differs.then_some(usize::from(!is_ink))
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
