//! Which marker is red?

use super::compare::{Changes, Reference};
use super::picture::Reading;
use super::region::Regions;
use super::rule::MarkerRule;
use super::sheet::Overlay;
use super::verdict::PictureVerdict;
use crate::error::{PuzzleError, Result};
use crate::verdict::Outcome;

/// What counts as a marker's, in radii.
const REACH: f64 = 1.6;
/// Outlines begin here, in radii.
const INNER: f64 = 0.45;
const SECTORS: usize = 16;
/// Redness below which is nothing, and what counts as full on top of it.
const PALE: u8 = 32;
const FULL: u8 = 96;
/// Least share of the outline's area, and of its sectors, that is red on a marked marker.
const MARKED_AREA: f64 = 0.25;
const MARKED_SECTORS: f64 = 0.6;
/// How much of the winner's strength another marker may have.
const RIVAL: f64 = 0.25;
/// Most red beside the markers, as a share of the picture.
const RED_ELSEWHERE: f64 = 0.01;
/// Least that must stay as it was.
const PRESERVED: f64 = 0.9;

/// A [`MarkerRule`] ready to judge by.
pub(super) struct Markers {
    options: Vec<String>,
    answer: usize,
    places: Places,
    ring: f64,
}

/// Where markers are, and how far what belongs to them reaches.
#[derive(Debug, Clone)]
struct Places {
    points: Vec<[f64; 2]>,
    radius: f64,
    size: [u32; 2],
}

/// The red of a picture.
struct Red {
    marks: Vec<Mark>,
    /// Red beside all markers, as a share of the picture.
    elsewhere: f64,
}

/// How red one marker is.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    /// Red area over that of an outline.
    area: f64,
    /// Share of the way round that is red.
    round: f64,
}

impl Mark {
    fn strength(self) -> f64 {
        self.area.min(1.5) * self.round
    }

    fn is_clear(self) -> bool {
        self.area >= MARKED_AREA && self.round >= MARKED_SECTORS
    }
}

impl Markers {
    /// Takes up the rule; also returns the region of every pixel: marker `k` is region `k + 1`.
    pub(super) fn new(
        rule: &MarkerRule,
        options: &[String],
        answer: &str,
        size: [u32; 2],
    ) -> Result<(Self, Regions)> {
        let fault = |text: &str| PuzzleError::Picture(text.to_owned());
        let Some(answer) = options.iter().position(|option| option == answer) else {
            return Err(fault("the answer is not among the options"));
        };
        let count = rule.points.len();
        if count != options.len() || count > 250 {
            return Err(fault("there must be one marker for every option"));
        }
        let finite = rule.points.iter().flatten().all(|part| part.is_finite());
        if !finite || !(1.0..=1e4).contains(&rule.radius) {
            return Err(fault("a marker has no place or no size"));
        }
        let places = Places {
            points: rule.points.clone(),
            radius: rule.radius,
            size,
        };
        // An outline of three tenths of the radius, as drawn by our own solutions.
        let ring = std::f64::consts::PI * rule.radius * rule.radius * 0.51;
        let markers = Self {
            options: options.to_vec(),
            answer,
            places: places.clone(),
            ring,
        };
        Ok((markers, Regions::by(move || places.regions())))
    }

    /// Sums up the red of every marker, by sectors of its outline.
    fn red(&self, reference: &Reference, seen: &Overlay<'_>) -> Red {
        let width = self.places.size[0] as usize;
        let inner = INNER * self.places.radius;
        let mut sums = vec![[0u32; SECTORS + 1]; self.options.len()];
        let (mut all, mut own) = (0u64, 0u64);
        reference.each_red(seen, PALE + 1, |at, red| {
            let weight = weight(red);
            all += u64::from(weight);
            let [x, y] = [at % width, at / width].map(|part| part as f64 + 0.5);
            for (marker, away) in self.places.owners([x, y]) {
                let [left, top] = self.places.points[marker];
                let turn = (y - top).atan2(x - left) / std::f64::consts::TAU + 0.5;
                let sector = match away >= inner {
                    true => (turn * SECTORS as f64) as usize % SECTORS,
                    false => SECTORS,
                };
                sums[marker][sector] += weight;
                own += u64::from(weight);
            }
        });
        let pixels = f64::from(self.places.size[0]) * f64::from(self.places.size[1]);
        Red {
            marks: sums.iter().map(|sums| self.mark(sums)).collect(),
            elsewhere: (all as f64 - own as f64) / f64::from(FULL) / pixels,
        }
    }

    fn mark(&self, sums: &[u32; SECTORS + 1]) -> Mark {
        let area = |sum: u32| f64::from(sum) / f64::from(FULL) / self.ring;
        let least = 0.25 / SECTORS as f64;
        let round = sums[..SECTORS]
            .iter()
            .filter(|sum| area(**sum) >= least)
            .count();
        Mark {
            area: area(sums.iter().sum()),
            round: round as f64 / SECTORS as f64,
        }
    }

    pub(super) fn judge(&self, reference: &Reference, seen: &Overlay<'_>) -> Reading {
        let Red { marks, elsewhere } = self.red(reference, seen);
        let mut order: Vec<_> = (0..marks.len()).collect();
        order.sort_by(|a, b| marks[*b].strength().total_cmp(&marks[*a].strength()));
        let best = order.first().copied().unwrap_or(0);
        let strength = |rank: usize| order.get(rank).map_or(0.0, |at| marks[*at].strength());
        let marked = marks.get(best).is_some_and(|mark| mark.is_clear());
        let winner = marked.then_some(best as u8 + 1);
        let changes = reference.changes(seen, winner, |_| false);

        let mut verdict = self.decide(&marks, &order, elsewhere, changes);
        let rivals = (0..marks.len()).filter(|at| *at != self.answer);
        let rival = rivals.map(|at| marks[at].strength()).fold(0.0, f64::max);
        let own = marks.get(self.answer).map_or(0.0, |mark| mark.strength());
        verdict.grade((own - rival) * changes.preservation());
        for (name, value) in [
            ("mark", strength(0)),
            ("runner_up", strength(1)),
            ("margin", strength(0) - strength(1)),
            ("round", marks.get(best).map_or(0.0, |mark| mark.round)),
            ("red_elsewhere", elsewhere),
        ] {
            verdict.note(name, value);
        }
        changes.note(&mut verdict);
        Reading::of_answer(verdict, changes)
    }

    fn decide(
        &self,
        marks: &[Mark],
        order: &[usize],
        elsewhere: f64,
        changes: Changes,
    ) -> PictureVerdict {
        let clear: Vec<_> = order
            .iter()
            .copied()
            .filter(|at| marks[*at].is_clear())
            .collect();
        let Some(&best) = clear.first() else {
            return PictureVerdict::invalid("no marker is marked");
        };
        let name = |at: usize| format!("`{}`", self.options[at]);
        let rivals: Vec<_> = order
            .iter()
            .copied()
            .filter(|at| marks[*at].strength() >= RIVAL * marks[best].strength())
            .map(name)
            .collect();
        if rivals.len() > 1 {
            let reason = format!("several markers are red: {}", rivals.join(", "));
            return PictureVerdict::new(Outcome::Ambiguous, None, reason);
        }
        let parsed = Some(self.options[best].clone());
        let wrong = |reason: String| PictureVerdict::new(Outcome::Wrong, parsed.clone(), reason);
        if best != self.answer {
            return wrong(format!("{} is marked and is not the answer", name(best)));
        }
        if elsewhere > RED_ELSEWHERE {
            let share = 100.0 * elsewhere;
            return wrong(format!(
                "{} is marked, but {share:.1} % of the picture is red beside the markers",
                name(best)
            ));
        }
        if changes.preservation() < PRESERVED {
            return wrong(format!(
                "{} is marked, but the rest of the picture was changed",
                name(best)
            ));
        }
        let reason = format!("{} is marked and is the answer", name(best));
        PictureVerdict::new(Outcome::Correct, parsed, reason)
    }
}

fn weight(red: u8) -> u32 {
    u32::from(red.saturating_sub(PALE).min(FULL))
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    let [x, y] = [a[0] - b[0], a[1] - b[1]];
    (x * x + y * y).sqrt()
}

impl Places {
    /// The markers that are nearest to a point and not out of reach, and how far it is to them.
    fn owners(&self, point: [f64; 2]) -> impl Iterator<Item = (usize, f64)> {
        let away = move |center: &[f64; 2]| distance(*center, point);
        let reach = REACH * self.radius;
        let least = self.points.iter().map(away).fold(reach, f64::min);
        let all = self.points.iter().map(away).enumerate();
        all.filter(move |(_, away)| *away <= least)
    }

    /// The marker, counted from 1, that every pixel belongs to, or 0.
    fn regions(&self) -> Vec<u8> {
        let [width, height] = self.size;
        let reach = REACH * self.radius;
        let mut region = vec![0; width as usize * height as usize];
        for (marker, center) in self.points.iter().enumerate() {
            let rivals = self.rivals(marker);
            let range = |axis: usize| {
                let edge = |at: f64| at.clamp(0.0, f64::from(self.size[axis])) as u32;
                let low = edge((center[axis] - reach).floor());
                low..edge((center[axis] + reach).ceil())
            };
            for y in range(1) {
                let place = |x: u32| [x, y].map(|part| f64::from(part) + 0.5);
                let is_own = |x: &u32| distance(*center, place(*x)) <= reach;
                // What is within reach has no gap.
                let ends = (range(0).find(is_own), range(0).rfind(is_own));
                let (Some(first), Some(last)) = ends else {
                    continue;
                };
                let row = &mut region[y as usize * width as usize..];
                let own = &mut row[first as usize..=last as usize];
                match rivals.as_slice() {
                    [_] => own.fill(marker as u8 + 1),
                    _ => {
                        for (x, region) in (first..).zip(own) {
                            *region = self.nearest(&rivals, place(x)) as u8 + 1;
                        }
                    }
                }
            }
        }
        region
    }

    /// A marker and all others that may be within reach of the same point.
    fn rivals(&self, marker: usize) -> Vec<usize> {
        let far = 2.0 * REACH * self.radius + 1.0;
        let center = self.points[marker];
        let is_near = |at: &usize| distance(center, self.points[*at]) <= far;
        (0..self.points.len()).filter(is_near).collect()
    }

    /// The last of the nearest of some markers.
    fn nearest(&self, markers: &[usize], point: [f64; 2]) -> usize {
        let away = |at: &usize| distance(self.points[*at], point);
        let nearest = markers
            .iter()
            .rev()
            .min_by(|a, b| away(a).total_cmp(&away(b)));
        nearest.copied().unwrap_or(0)
    }
}
