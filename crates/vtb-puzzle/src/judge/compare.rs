//! What changed against the puzzle, beyond what resizing and compression do.
//!
//! Only tiles in which a picture is farther from the puzzle than any slack are compared; what a
//! comparison needs of the puzzle there is worked out once. All counts are those of a comparison
//! of all pixels.

use std::sync::{Arc, OnceLock};

use super::PictureVerdict;
use super::known::{FLAT, Known, Look, NEAR};
use super::pixels::{has_red, redness, soften_bytes};
use super::region::{FREE, Regions, within_rim};
use super::sheet::{Overlay, Sheet};
use super::tiles::{Patch, Rect};

/// Changed more than this share of the drawing, a picture shows another puzzle or none.
const LOST_ALL: f64 = 0.5;
const COVERED: f64 = 0.4;

/// The puzzle, ready to be compared with.
///
/// A blank pixel has changed when it lies outside what the puzzle or its solution have next to it;
/// a pixel of the drawing is lost when the picture has nothing like it next to it.
pub(super) struct Reference {
    sheet: Arc<Sheet>,
    regions: Regions,
    tiles: Vec<OnceLock<Box<Known>>>,
    /// Pixels of the drawing and of the page, by region.
    totals: OnceLock<Vec<[usize; 2]>>,
}

/// Counts of changed pixels.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Changes {
    /// Share of the drawing that is gone.
    pub(super) lost: f64,
    /// Share of the page that is drawn over.
    pub(super) added: f64,
}

impl Changes {
    /// 1 when nothing changed. A twentieth of the drawing counts as much as 1 % of the page:
    /// drawings are thin.
    pub(super) fn preservation(self) -> f64 {
        (1.0 - self.lost.max(5.0 * self.added)).max(0.0)
    }

    pub(super) fn note(self, verdict: &mut PictureVerdict) {
        verdict.note("preservation", self.preservation());
        verdict.note("drawing_lost", self.lost);
        verdict.note("page_covered", self.added);
    }

    pub(super) fn is_another_picture(self) -> bool {
        self.lost > LOST_ALL || self.added > COVERED
    }
}

impl Reference {
    pub(super) fn new(sheet: Arc<Sheet>, regions: Regions) -> Self {
        let tiles = (0..sheet.grid.count()).map(|_| OnceLock::new()).collect();
        Self {
            sheet,
            regions,
            tiles,
            totals: OnceLock::new(),
        }
    }

    /// Visits every pixel that is at least `least` redder than any of the puzzle near it, tile by
    /// tile.
    pub(super) fn each_red(&self, seen: &Overlay<'_>, least: u8, mut visit: impl FnMut(usize, u8)) {
        let (grid, puzzle) = (self.sheet.grid, self.sheet.puzzle.as_raw());
        for (at, far) in seen.likeness.far.iter().enumerate() {
            // Red may be more by this, and green and blue less.
            if 2 * u16::from(*far) < u16::from(least) {
                continue;
            }
            let tile = grid.tile(at);
            for y in tile.rows() {
                let line = grid.line(seen.picture.as_raw(), tile, y);
                if !has_red(line, least) || line == grid.line(puzzle, tile, y) {
                    continue;
                }
                for (x, pixel) in (tile.left..).zip(line.chunks_exact(3)) {
                    let red = redness(pixel);
                    if red >= least {
                        let more = red - red.min(self.reddest(puzzle, x, y));
                        if more >= least {
                            visit(y * grid.width + x, more);
                        }
                    }
                }
            }
        }
    }

    /// Redness of the reddest pixel within one pixel.
    fn reddest(&self, bytes: &[u8], x: usize, y: usize) -> u8 {
        let (width, height) = (self.sheet.grid.width, self.sheet.grid.height);
        let columns = 3 * x.saturating_sub(1)..3 * (x + 2).min(width);
        let rows = y.saturating_sub(1)..(y + 2).min(height);
        let reds = rows.flat_map(|y| {
            let line = &bytes[3 * y * width..][columns.clone()];
            line.chunks_exact(3).map(redness)
        });
        reds.max().unwrap_or(0)
    }

    /// Counts changes outside [`FREE`] regions, the regions `except`, and pixels that `skip` names.
    pub(super) fn changes(
        &self,
        seen: &Overlay<'_>,
        except: Option<u8>,
        skip: impl Fn(usize) -> bool,
    ) -> Changes {
        let mut counts = [0usize; 2];
        if matches!(self.regions, Regions::Free) {
            return Changes::default();
        }
        let grid = self.sheet.grid;
        let tiles = seen.likeness.far.iter().enumerate();
        for (at, _) in tiles.filter(|(_, far)| **far > NEAR) {
            let tile = grid.tile(at);
            if self.is_as_solved(seen, at) {
                continue;
            }
            let look = Look {
                sheet: &self.sheet,
                tile,
                picture: seen.picture.as_raw(),
            };
            let inside = within_rim(grid, tile);
            let pixel = |[x, y]: [usize; 2]| y * grid.width + x;
            let skip = |[x, y]: [usize; 2]| !inside.holds(x, y) || skip(pixel([x, y]));
            self.known(at, tile)
                .each_change(&look, skip, |place, kind| {
                    let region = self.regions.at(pixel(place));
                    if region != FREE && Some(region) != except {
                        counts[kind] += 1;
                    }
                });
        }
        if counts == [0; 2] {
            return Changes::default();
        }
        let mut totals = [0usize; 2];
        for (region, total) in self.totals().iter().enumerate() {
            if region != usize::from(FREE) && except.map(usize::from) != Some(region) {
                totals = [totals[0] + total[0], totals[1] + total[1]];
            }
        }
        let share = |at: usize| counts[at] as f64 / totals[at].max(1) as f64;
        Changes {
            lost: share(0),
            added: share(1),
        }
    }

    /// Whether what the solution has is all there is in a tile, over an empty page or with the
    /// margin: that is no change, whatever it is.
    fn is_as_solved(&self, seen: &Overlay<'_>, at: usize) -> bool {
        let (picture, solution) = (seen.picture.as_raw(), self.sheet.solution.as_raw());
        let grid = self.sheet.grid;
        seen.likeness.solved[at]
            || self.sheet.is_plain(at) && grid.is_same(picture, solution, grid.tile(at))
    }

    fn known(&self, at: usize, tile: Rect) -> &Known {
        self.tiles[at].get_or_init(|| Box::new(Known::new(&self.sheet, tile)))
    }

    fn totals(&self) -> &[[usize; 2]] {
        self.totals.get_or_init(|| {
            let mut totals = vec![[0; 2]; 256];
            for at in 0..self.tiles.len() {
                self.add_totals(at, &mut totals);
            }
            totals
        })
    }

    fn add_totals(&self, at: usize, totals: &mut [[usize; 2]]) {
        let sheet = &self.sheet;
        let (grid, page) = (sheet.grid, sheet.page());
        let (puzzle, solution) = (sheet.puzzle.as_raw(), sheet.solution.as_raw());
        let tile = grid.tile(at);
        let inside = within_rim(grid, tile);
        if inside.area() == 0 {
            return;
        }
        let whole = self.regions.whole(grid, inside);
        if let (Some(color), Some(region)) = (sheet.plain(at), whole)
            && (!is_drawn(&color, &page) || grid.is_same(puzzle, solution, tile))
        {
            let blank = usize::from(!is_drawn(&color, &page));
            totals[usize::from(region)][blank] += inside.area();
            return;
        }
        let softened = match self.tiles[at].get() {
            Some(known) => known.soft.clone(),
            None => soft(&grid.patch(puzzle, tile, 1), tile),
        };
        let width = tile.right - tile.left;
        for y in inside.rows() {
            let from = (y - tile.top) * width + inside.left - tile.left;
            let softened = softened[3 * from..].chunks_exact(3);
            let before = grid.line(puzzle, inside, y).chunks_exact(3);
            let after = grid.line(solution, inside, y).chunks_exact(3);
            let pixels = (inside.left..).zip(softened.zip(before.zip(after)));
            for (x, (softened, (before, after))) in pixels {
                let ink = is_drawn(softened, &page) && is_alike(before, after);
                let region = whole.unwrap_or_else(|| self.regions.at(y * grid.width + x));
                totals[usize::from(region)][usize::from(!ink)] += 1;
            }
        }
    }
}

/// Least contrast of the drawing to the page, grey levels.
pub(super) const INK: u8 = 44;

/// Whether a softened pixel stands out from the page.
pub(super) fn is_drawn(soft: &[u8], page: &[u8; 3]) -> bool {
    soft.iter().zip(page).any(|(a, b)| a.abs_diff(*b) > INK)
}

/// Whether a pixel of the puzzle is still there in the solution.
pub(super) fn is_alike(before: &[u8], after: &[u8]) -> bool {
    before
        .iter()
        .zip(after)
        .all(|(a, b)| a.abs_diff(*b) <= FLAT)
}

/// The tile of a patch, softened.
pub(super) fn soft(patch: &Patch, tile: Rect) -> Vec<u8> {
    patch.crop(&soften_bytes(&patch.bytes, patch.row()), tile)
}
