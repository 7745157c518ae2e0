//! What fills one place of a picture?

use image::RgbImage;

use super::area::{core_of, pixels_of};
use super::color::color_difference;
use super::pixels::soften;
use super::rule::{Expect, Slot};
use crate::draw::Rgb;
use crate::error::{PuzzleError, Result};

/// Greatest CIEDE2000 difference to the colour that is read.
const NEAR_COLOR: f64 = 12.0;
/// The runner-up is at least this much farther off, or half as far again.
const COLOR_MARGIN: f64 = 3.0;
/// Least share of a place that has the colour that is read.
const FILLED: f64 = 0.6;
/// Greatest share of the way to a rival drawing.
const NEAR_DRAWING: f64 = 0.45;
/// A place drawn so lies between two drawings.
const BETWEEN: f64 = 0.8;
/// Difference of a channel that tells drawings apart.
const TELLING: u8 = 24;
/// Greatest share of the rest of the place that is something else.
const LITTER: f64 = 0.1;
/// How far a drawing may be off its place, as a share of the shorter side.
const OFF_PLACE: f64 = 0.02;

/// What was found in a place.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Seen {
    /// It is as it was in the puzzle.
    Untouched,
    /// This choice, told clearly from all others.
    Choice(usize),
    /// Between two choices.
    Between(usize, usize),
    /// None of the choices; says what instead.
    Strange(String),
}

/// What was found, and how sure it is: 0 exactly this choice, 1 as near to another.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) seen: Seen,
    pub(super) doubt: f64,
}

/// One place, ready to be read.
pub(super) struct Place {
    pub(super) name: String,
    pub(super) pixels: Vec<u32>,
    /// Names of the choices; the puzzle's own content may come after them.
    pub(super) choices: Vec<String>,
    pub(super) right: usize,
    /// The choice that the puzzle shows here, where that is not right: leaving it is no answer.
    before: Option<usize>,
    content: Content,
}

enum Content {
    /// Colours of the choices, then of the puzzle if that is none of them.
    Color { core: Vec<u32>, colors: Vec<Rgb> },
    /// Softened bytes of the choices within the place, then of the puzzle likewise.
    Drawing {
        patches: Vec<Vec<u8>>,
        telling: Vec<u32>,
    },
}

impl Place {
    pub(super) fn new(slot: &Slot, puzzle: &RgbImage, soft_puzzle: &[u8]) -> Result<Self> {
        let size = [puzzle.width(), puzzle.height()];
        let fault = |text: &str| PuzzleError::Picture(format!("{}: {text}", slot.name));
        let pixels = pixels_of(&slot.area, size);
        if pixels.is_empty() {
            return Err(fault("the place has no pixels"));
        }
        let (choices, right, content) = match &slot.expect {
            Expect::Color { right, others } => {
                let core = core_of(&pixels, size[0]);
                let mut colors = vec![*right];
                for other in others {
                    if !colors.contains(other) {
                        colors.push(*other);
                    }
                }
                let names = colors.iter().map(|color| hex(*color)).collect();
                let (before, _) = flat_color(puzzle.as_raw(), &core);
                if colors
                    .iter()
                    .all(|color| color_difference(*color, before) > 2.0)
                {
                    colors.push(before);
                }
                (names, 0, Content::Color { core, colors })
            }
            Expect::Drawing { right, choices } => {
                let fits = |picture: &RgbImage| picture.dimensions() == puzzle.dimensions();
                if *right >= choices.len() || !choices.iter().all(|(_, picture)| fits(picture)) {
                    return Err(fault("a choice is missing or has another size"));
                }
                let cut = |soft: &[u8]| -> Vec<u8> {
                    pixels.iter().flat_map(|at| pixel(soft, *at)).collect()
                };
                let mut patches: Vec<_> = choices
                    .iter()
                    .map(|(_, picture)| cut(&soften(picture)))
                    .collect();
                let before = cut(soft_puzzle);
                if patches.iter().all(|patch| differing(patch, &before) > 0) {
                    patches.push(before);
                }
                let telling = telling(&patches);
                let names = choices.iter().map(|(name, _)| name.clone()).collect();
                (names, *right, Content::Drawing { patches, telling })
            }
        };
        let mut place = Self {
            name: slot.name.clone(),
            pixels,
            choices,
            right,
            before: None,
            content,
        };
        place.before = match place.read(puzzle, soft_puzzle).seen {
            Seen::Choice(at) if at != right => Some(at),
            _ => None,
        };
        Ok(place)
    }

    /// Whether a drawing is expected, which is read from softened bytes.
    pub(super) fn is_drawing(&self) -> bool {
        matches!(self.content, Content::Drawing { .. })
    }

    pub(super) fn read(&self, picture: &RgbImage, soft: &[u8]) -> Found {
        match &self.content {
            Content::Color { core, colors } => self.read_color(picture.as_raw(), core, colors),
            Content::Drawing { patches, telling } => {
                let size = [picture.width(), picture.height()];
                Drawings {
                    place: self,
                    patches,
                    telling,
                    size,
                }
                .read(soft)
            }
        }
    }

    fn named(&self, at: usize) -> Seen {
        match at < self.choices.len() && self.before != Some(at) {
            true => Seen::Choice(at),
            false => Seen::Untouched,
        }
    }

    fn read_color(&self, bytes: &[u8], core: &[u32], colors: &[Rgb]) -> Found {
        let (color, filled) = flat_color(bytes, core);
        let mut order: Vec<(f64, usize)> = colors
            .iter()
            .enumerate()
            .map(|(at, other)| (color_difference(color, *other), at))
            .collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (distance, best) = order[0];
        let (second, rival) = order.get(1).copied().unwrap_or((100.0, best));
        let seen = if distance >= NEAR_COLOR {
            Seen::Strange(hex(color))
        } else if second < (distance + COLOR_MARGIN).min(1.5 * distance.max(1.0)) {
            Seen::Between(best, rival)
        } else if filled < FILLED && matches!(self.named(best), Seen::Choice(_)) {
            Seen::Strange("several colours".to_owned())
        } else {
            self.named(best)
        };
        Found {
            seen,
            doubt: distance / second.max(1e-9),
        }
    }
}

/// Reading one place that expects a drawing.
struct Drawings<'a> {
    place: &'a Place,
    patches: &'a [Vec<u8>],
    telling: &'a [u32],
    size: [u32; 2],
}

impl Drawings<'_> {
    fn read(&self, soft: &[u8]) -> Found {
        let seen: Vec<u8> = self.shifted(soft, [0, 0]);
        let found = self.compare(&seen);
        let settled = matches!(found.seen, Seen::Choice(_) | Seen::Untouched);
        if settled {
            found
        } else {
            self.off_place(soft).unwrap_or(found)
        }
    }

    /// The place's bytes, taken from `by` pixels to the right and below.
    fn shifted(&self, soft: &[u8], by: [i32; 2]) -> Vec<u8> {
        let [width, height] = self.size.map(|side| side as i32);
        let from = |at: &u32| {
            let (x, y) = (*at as i32 % width + by[0], *at as i32 / width + by[1]);
            pixel(
                soft,
                (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)) as u32,
            )
        };
        self.place.pixels.iter().flat_map(from).collect()
    }

    fn energy(&self, seen: &[u8], choice: usize) -> u64 {
        let at = self.telling.iter();
        at.map(|at| {
            u64::from(apart(
                &seen[*at as usize * 3..],
                &self.patches[choice][*at as usize * 3..],
            ))
        })
        .sum()
    }

    fn nearest(&self, seen: &[u8]) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.patches.len())
            .map(|at| (self.energy(seen, at), at))
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, at)| at).collect()
    }

    /// Compares the nearest choice with each other one where these two differ.
    fn compare(&self, seen: &[u8]) -> Found {
        let best = self.nearest(seen).first().copied().unwrap_or(0);
        let own = &self.patches[best];
        let mut worst = (0.0, best, 0.0);
        for (rival, other) in self.patches.iter().enumerate() {
            let [mut gap, mut to_own, mut to_other] = [0u64; 3];
            for at in self.telling {
                let at = *at as usize * 3;
                let here = apart(&own[at..], &other[at..]);
                if here >= 3 * u32::from(TELLING) / 2 {
                    gap += u64::from(here);
                    to_own += u64::from(apart(&seen[at..], &own[at..]));
                    to_other += u64::from(apart(&seen[at..], &other[at..]));
                }
            }
            let share = |energy: u64| energy as f64 / gap as f64;
            if gap > 0 && share(to_own) > worst.0 {
                worst = (share(to_own), rival, share(to_other));
            }
        }
        let (doubt, rival, to_rival) = worst;
        let seen = if doubt <= NEAR_DRAWING && !self.is_littered(seen, best) {
            self.place.named(best)
        } else if doubt > NEAR_DRAWING && doubt.max(to_rival) <= BETWEEN {
            Seen::Between(best, rival)
        } else {
            Seen::Strange("something else".to_owned())
        };
        Found { seen, doubt }
    }

    /// Whether much of the place has what no choice has.
    fn is_littered(&self, seen: &[u8], choice: usize) -> bool {
        let pairs = seen
            .chunks_exact(3)
            .zip(self.patches[choice].chunks_exact(3));
        let strange = pairs.filter(|(a, b)| apart(a, b) > 180).count();
        strange as f64 > LITTER * self.place.pixels.len() as f64
    }

    /// Tries the three nearest choices a few pixels off their place.
    fn off_place(&self, soft: &[u8]) -> Option<Found> {
        let reach = (OFF_PLACE * f64::from(self.size[0].min(self.size[1]))).clamp(2.0, 16.0) as i32;
        let mut best = ([0, 0], self.least(&self.shifted(soft, [0, 0])));
        for step in [reach.max(4) / 2, (reach / 4).max(1), 1] {
            let start = best.0;
            let around = [-2, -1, 0, 1, 2];
            for (x, y) in around.iter().flat_map(|y| around.map(|x| (x, *y))) {
                let by = [start[0] + x * step, start[1] + y * step];
                if by.iter().any(|part| part.abs() > reach) {
                    continue;
                }
                let energy = self.least(&self.shifted(soft, by));
                if energy < best.1 {
                    best = (by, energy);
                }
            }
        }
        let found = self.compare(&self.shifted(soft, best.0));
        matches!(found.seen, Seen::Choice(_)).then_some(found)
    }

    fn least(&self, seen: &[u8]) -> u64 {
        let choices = 0..self.place.choices.len();
        choices
            .map(|at| self.energy(seen, at))
            .min()
            .unwrap_or(u64::MAX)
    }
}

fn pixel(bytes: &[u8], at: u32) -> [u8; 3] {
    let at = at as usize * 3;
    [bytes[at], bytes[at + 1], bytes[at + 2]]
}

/// Sum of the differences of three channels.
fn apart(a: &[u8], b: &[u8]) -> u32 {
    (0..3).map(|at| u32::from(a[at].abs_diff(b[at]))).sum()
}

fn differing(a: &[u8], b: &[u8]) -> usize {
    a.iter()
        .zip(b)
        .filter(|(a, b)| a.abs_diff(**b) >= TELLING)
        .count()
}

/// Pixels at which some choices differ.
fn telling(patches: &[Vec<u8>]) -> Vec<u32> {
    let Some(first) = patches.first() else {
        return Vec::new();
    };
    let (mut low, mut high) = (first.clone(), first.clone());
    for patch in patches {
        for (at, value) in patch.iter().enumerate() {
            low[at] = low[at].min(*value);
            high[at] = high[at].max(*value);
        }
    }
    let tells = |at: &u32| {
        let at = *at as usize * 3;
        (at..at + 3).any(|at| high[at] - low[at] >= TELLING)
    };
    (0..first.len() as u32 / 3).filter(tells).collect()
}

/// The median of every channel, and the share of pixels that are near it.
fn flat_color(bytes: &[u8], pixels: &[u32]) -> (Rgb, f64) {
    const NEAR: u8 = 40;
    let mut counts = [[0u32; 256]; 3];
    for at in pixels {
        for (counts, value) in counts.iter_mut().zip(pixel(bytes, *at)) {
            counts[usize::from(value)] += 1;
        }
    }
    let color = [0, 1, 2].map(|channel| {
        let mut below = 0;
        let median = counts[channel].iter().position(|count| {
            below += count;
            2 * below as usize >= pixels.len()
        });
        median.unwrap_or(0) as u8
    });
    let near = |at: &&u32| {
        let seen = pixel(bytes, **at);
        (0..3).all(|channel| seen[channel].abs_diff(color[channel]) <= NEAR)
    };
    let share = pixels.iter().filter(near).count() as f64 / pixels.len().max(1) as f64;
    (color, share)
}

fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}
