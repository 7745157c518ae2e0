//! The red of a picture, as a line.

use image::RgbImage;

use super::compare::Reference;
use super::sheet::Overlay;
use super::tiles::Grid;
use crate::draw::Rgb;

/// Redness that may be red at all.
const TINGE: u8 = 40;
/// Fewest such pixels that are something.
const LEAST_RED: usize = 12;
/// Bounds of the threshold, which is half of what the reddest part has.
const THRESHOLD: [u8; 2] = [45, 95];
/// Redness over which a line runs on, as a share of its reddest part: a gap shows floor.
const FAINT_SHARE: f64 = 0.2;
const FAINTEST: u8 = 16;
/// What is red: least red channel, least saturation, most that green and blue may be apart, as a
/// share of what red is above the lower of them.
const DARKEST: f64 = 144.0;
const PALEST: f64 = 0.28;
const OFF_HUE: f64 = 0.48;

/// Marks of a pixel.
const TINGED: u8 = 1;
const FAINT: u8 = 2;
const RED: u8 = 4;
const NEAR: u8 = 8;

/// Pixels that are redder than the puzzle.
pub(super) struct Tinge {
    grid: Grid,
    marks: Vec<u8>,
    /// Each with how much redder.
    pixels: Vec<(u32, u8)>,
}

/// The red of one picture.
pub(super) struct Line {
    grid: Grid,
    marks: Vec<u8>,
    pixels: Vec<u32>,
    near: Vec<u32>,
    /// Mean colour of its reddest part.
    pub(super) color: Rgb,
    pub(super) area: usize,
    /// Mean thickness, pixels.
    pub(super) width: f64,
}

impl Tinge {
    pub(super) fn new(reference: &Reference, seen: &Overlay<'_>, grid: Grid) -> Self {
        let mut marks = vec![0; grid.width * grid.height];
        let mut pixels = Vec::new();
        reference.each_red(seen, FAINTEST, |at, red| {
            pixels.push((at as u32, red));
            marks[at] = if red >= TINGE { TINGED } else { 0 };
        });
        Self {
            grid,
            marks,
            pixels,
        }
    }

    /// Whether there is a tinge within two pixels.
    pub(super) fn is_near(&self, at: usize) -> bool {
        let mut pixels = self.grid.window(at, 2).flatten();
        pixels.any(|at| self.marks[at] & TINGED != 0)
    }

    /// What is red of it; none if that is nothing.
    pub(super) fn line(self, picture: &RgbImage) -> Option<Line> {
        let mut counts = [0usize; 256];
        for (_, red) in self.pixels.iter().filter(|(_, red)| *red >= TINGE) {
            counts[usize::from(*red)] += 1;
        }
        let tinged: usize = counts.iter().sum();
        if tinged < LEAST_RED {
            return None;
        }
        let mut above = 0;
        let strong = (0..256).rev().find(|&value| {
            above += counts[value];
            above * 5 >= tinged
        });
        let strong = strong.unwrap_or(0) as u8;
        let threshold = (strong / 2).clamp(THRESHOLD[0], THRESHOLD[1]);
        let faint = (FAINT_SHARE * f64::from(strong)).max(f64::from(FAINTEST)) as u8;
        let reddest = self
            .pixels
            .iter()
            .filter(|(_, red)| *red >= strong.max(TINGE));
        let color = |at: u32| {
            let at = 3 * at as usize;
            let bytes = &picture.as_raw()[at..at + 3];
            [bytes[0], bytes[1], bytes[2]]
        };
        let mut line = Line {
            color: mean(reddest.map(|(at, _)| color(*at))),
            grid: self.grid,
            marks: self.marks,
            pixels: Vec::new(),
            near: Vec::new(),
            area: 0,
            width: 0.0,
        };
        for (at, red) in self.pixels {
            if red >= faint {
                line.marks[at as usize] |= FAINT;
            }
            if red >= threshold {
                line.add(at);
            }
        }
        line.measure();
        Some(line)
    }
}

impl Line {
    fn add(&mut self, at: u32) {
        self.marks[at as usize] |= RED;
        self.pixels.push(at);
        for next in self.grid.window(at as usize, 1).flatten() {
            if self.marks[next] & NEAR == 0 {
                self.marks[next] |= NEAR;
                self.near.push(next as u32);
            }
        }
    }

    fn measure(&mut self) {
        self.area = self.pixels.len();
        let inner = self.pixels().filter(|at| self.is_core(*at)).count();
        // A line of width w has two pixels of rim for w of area.
        self.width = 2.0 * self.area as f64 / (self.area - inner).max(1) as f64;
    }

    /// Its pixels, in no order.
    pub(super) fn pixels(&self) -> impl Iterator<Item = usize> {
        self.pixels.iter().map(|at| *at as usize)
    }

    /// Pixels within one pixel of it, in no order.
    pub(super) fn near(&self) -> impl Iterator<Item = usize> {
        self.near.iter().map(|at| *at as usize)
    }

    pub(super) fn is_on(&self, at: usize) -> bool {
        self.marks[at] & RED != 0
    }

    /// Whether it passes within one pixel.
    pub(super) fn is_near(&self, at: usize) -> bool {
        self.marks[at] & NEAR != 0
    }

    /// Whether there is red enough for the line to run on.
    pub(super) fn is_faint(&self, at: usize) -> bool {
        self.marks[at] & FAINT != 0
    }

    /// Whether all about a pixel is red.
    pub(super) fn is_core(&self, at: usize) -> bool {
        let mut pixels = self.grid.window(at, 1).flatten();
        pixels.all(|at| self.is_on(at))
    }

    /// Neither orange nor purple, neither pink nor brown.
    pub(super) fn is_red(&self) -> bool {
        let [red, green, blue] = self.color.map(f64::from);
        let above = red - green.min(blue);
        red >= DARKEST && above >= PALEST * red && (green - blue).abs() <= OFF_HUE * above
    }
}

fn mean(colors: impl Iterator<Item = Rgb>) -> Rgb {
    let mut sums = [0u64; 4];
    for [red, green, blue] in colors {
        for (sum, value) in sums.iter_mut().zip([red, green, blue, 1]) {
            *sum += u64::from(value);
        }
    }
    let [red, green, blue, count] = sums;
    [red, green, blue].map(|sum| (sum / count.max(1)) as u8)
}
