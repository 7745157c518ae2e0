//! What changed against the puzzle, beyond what resizing and compression do.

use image::RgbImage;

use super::PictureVerdict;
use super::pixels::{least3, most3, page_color, redness, soften};

/// Pixels of this region may change.
pub(super) const FREE: u8 = 255;

/// Changed more than this share of the drawing, a picture shows another puzzle or none.
const LOST_ALL: f64 = 0.5;
const COVERED: f64 = 0.4;

/// The puzzle, ready to be compared with.
///
/// A blank pixel has changed when it lies outside what the puzzle or its solution have next to it;
/// a pixel of the drawing is lost when the picture has nothing like it next to it.
pub(super) struct Reference {
    width: usize,
    /// Range of puzzle and solution within two pixels.
    low: Vec<u8>,
    high: Vec<u8>,
    soft: Vec<u8>,
    slack: Vec<u8>,
    /// 255 on the drawing, 0 on the page; three bytes a pixel.
    ink: Vec<u8>,
    region: Vec<u8>,
    red: Vec<u8>,
    /// Pixels of the drawing and of the page, by region.
    totals: Vec<[usize; 2]>,
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
    /// `region` names the part of the picture every pixel belongs to, or [`FREE`].
    pub(super) fn new(puzzle: &RgbImage, solution: &RgbImage, mut region: Vec<u8>) -> Self {
        free_rim(&mut region, puzzle.width() as usize);
        let row = puzzle.width() as usize * 3;
        let (bytes, solved) = (puzzle.as_raw(), solution.as_raw());
        let soft = soften(puzzle);
        let [low, high] = ranges(bytes, row);
        let page = page_color(puzzle.pixels().map(|pixel| pixel.0));
        let mut slack = vec![0; bytes.len()];
        let mut ink = vec![0; bytes.len()];
        let out = slack.chunks_exact_mut(3).zip(ink.chunks_exact_mut(3));
        let range = low.chunks_exact(3).zip(high.chunks_exact(3));
        let pixels = bytes.chunks_exact(3).zip(solved.chunks_exact(3));
        let all = out.zip(soft.chunks_exact(3)).zip(range.zip(pixels));
        for (((slack, ink), soft), ((low, high), (before, after))) in all {
            let contrast = [0, 1, 2].map(|at| soft[at].abs_diff(page[at]));
            let flat = (0..3).all(|at| high[at] - low[at] <= FLAT);
            let same = (0..3).all(|at| before[at].abs_diff(after[at]) <= FLAT);
            ink.fill(if contrast.iter().any(|part| *part > INK) && same {
                255
            } else {
                0
            });
            for (slack, contrast) in slack.iter_mut().zip(contrast) {
                *slack = match flat {
                    true => 32,
                    false => (u16::from(contrast) * 166 / 256).max(44) as u8,
                };
            }
        }
        let with = |own: Vec<u8>, other: &[u8], pick: fn(u8, u8) -> u8| -> Vec<u8> {
            own.into_iter()
                .zip(other)
                .map(|(a, b)| pick(a, *b))
                .collect()
        };
        let [solved_low, solved_high] = ranges(solved, row);
        let reddest: Vec<_> = bytes.chunks_exact(3).map(redness).collect();
        let mut reference = Self {
            width: puzzle.width() as usize,
            low: with(low, &solved_low, Ord::min),
            high: with(high, &solved_high, Ord::max),
            soft,
            slack,
            ink,
            region,
            red: most3(&reddest, row / 3, 1),
            totals: vec![[0; 2]; 256],
        };
        for (at, region) in reference.region.iter().enumerate() {
            let drawn = usize::from(reference.ink[3 * at] == 0);
            reference.totals[usize::from(*region)][drawn] += 1;
        }
        reference
    }

    /// How much redder every pixel is than the puzzle near it.
    pub(super) fn new_red(&self, picture: &RgbImage) -> Vec<u8> {
        let pixels = picture.as_raw().chunks_exact(3).zip(&self.red);
        pixels
            .map(|(pixel, was)| redness(pixel).saturating_sub(*was))
            .collect()
    }

    /// Counts changes outside [`FREE`] regions, the regions `except`, and pixels where `skip` is
    /// not 0.
    pub(super) fn changes(
        &self,
        picture: &RgbImage,
        except: Option<u8>,
        skip: Option<&[u8]>,
    ) -> Changes {
        let changed = self.changed_bytes(picture);
        let mut counts = [0usize; 2];
        let mut totals = [0usize; 2];
        for (region, total) in self.totals.iter().enumerate() {
            if region != usize::from(FREE) && except.map(usize::from) != Some(region) {
                totals = [totals[0] + total[0], totals[1] + total[1]];
            }
        }
        for (at, pixel) in changed.chunks_exact(3).enumerate() {
            if pixel[0] | pixel[1] | pixel[2] == 0 {
                continue;
            }
            let region = self.region[at];
            let skipped = skip.is_some_and(|skip| skip[at] != 0);
            if region != FREE && Some(region) != except && !skipped {
                counts[usize::from(self.ink[3 * at] == 0)] += 1;
            }
        }
        let share = |at: usize| counts[at] as f64 / totals[at].max(1) as f64;
        Changes {
            lost: share(0),
            added: share(1),
        }
    }

    /// Not 0 where a channel changed.
    fn changed_bytes(&self, picture: &RgbImage) -> Vec<u8> {
        let row = self.width * 3;
        let bytes = picture.as_raw();
        let (least, most) = (least3(bytes, row, 3), most3(bytes, row, 3));
        let mut changed = vec![0; bytes.len()];
        let references = self
            .low
            .iter()
            .zip(&self.high)
            .zip(self.soft.iter().zip(&self.slack));
        let seen = bytes.iter().zip(least.iter().zip(&most));
        let all = changed.iter_mut().zip(&self.ink).zip(references).zip(seen);
        for (((to, ink), ((low, high), (soft, slack))), (here, (least, most))) in all {
            let added = low.saturating_sub(*here).max(here.saturating_sub(*high));
            let lost = soft.saturating_sub(*most).max(least.saturating_sub(*soft));
            *to = ((lost & ink) | (added & !ink)).saturating_sub(*slack);
        }
        changed
    }
}

/// Lets the outermost pixels change: a fraction of a pixel off, they show what lies beside the
/// picture.
fn free_rim(region: &mut [u8], width: usize) {
    const RIM: usize = 3;
    let height = region.len() / width.max(1);
    for (y, row) in region.chunks_exact_mut(width.max(1)).enumerate() {
        if y < RIM || y + RIM >= height {
            row.fill(FREE);
        } else {
            let (left, right) = (RIM.min(width), width.saturating_sub(RIM));
            row[..left].fill(FREE);
            row[right..].fill(FREE);
        }
    }
}

/// Least and greatest values within two pixels.
fn ranges(bytes: &[u8], row: usize) -> [Vec<u8>; 2] {
    let [low, high] = [least3(bytes, row, 3), most3(bytes, row, 3)];
    [least3(&low, row, 3), most3(&high, row, 3)]
}

/// Greatest range of a flat part, grey levels.
const FLAT: u8 = 24;
/// Least contrast of the drawing to the page, grey levels.
const INK: u8 = 44;
