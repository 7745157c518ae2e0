//! Marks beside their candidates: where letters stand when candidates are small dots.
//!
//! A letter stands at the end of a short line that leads away from its dot. Where, is not drawn by
//! lot but follows from the picture of the question: from the dots, which neither a letter nor a
//! line may touch, and from the figure's ink, which they avoid. The construction of the solution
//! is not looked at, so that a letter's place cannot tell where it will run; and puzzle and
//! solution have their letters in the same places.

use super::plane::{Vec2, add, are_apart, dot, scale, segment_distance, sub};
use super::{Candidate, EyeballingParams, distance};
use crate::draw::Canvas;
use crate::error::{PuzzleError, Result};

/// Where one candidate's letter stands. Pixels, y down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Callout {
    /// Ends of the line: at the dot, at the letter.
    pub leader: [Vec2; 2],
    /// Middle of the letter.
    pub letter: Vec2,
}

/// From the middle of a dot to that of its letter, in marker radii; short ones first.
const REACHES: [f64; 7] = [2.0, 2.4, 3.0, 3.8, 4.8, 6.2, 8.0];
/// Directions of a quarter turn, from Pythagorean triples: no sines, which differ by machine.
const QUARTER: [Vec2; 5] = [
    [1.0, 0.0],
    [24.0 / 25.0, 7.0 / 25.0],
    [4.0 / 5.0, 3.0 / 5.0],
    [3.0 / 5.0, 4.0 / 5.0],
    [7.0 / 25.0, 24.0 / 25.0],
];
/// What a letter and a line cost that touch the figure, on top of the share that does. Neither is
/// worth it while any reach would avoid it.
const TOUCH: f64 = 40.0;
/// Letters keep this distance from the picture's edge, and all parts from each other, pixels.
const EDGE: f64 = 2.0;
const GAP: f64 = 2.5;

/// A place that a letter could have, and what speaks against it.
#[derive(Debug, Clone, Copy)]
struct Place {
    callout: Callout,
    cost: f64,
}

/// Em of the letters, pixels.
#[must_use]
pub fn letter_size(params: &EyeballingParams) -> f64 {
    1.35 * params.marker_radius
}

/// Radius of a disc that covers any letter, pixels.
fn letter_radius(params: &EyeballingParams) -> f64 {
    0.56 * letter_size(params)
}

/// Thickness of the lines, pixels.
#[must_use]
pub fn leader_width(params: &EyeballingParams) -> f64 {
    (0.12 * params.marker_radius).max(1.2)
}

/// Places for all letters, in the order of the candidates; `figure` shows what is drawn besides
/// them.
///
/// # Errors
/// [`PuzzleError::BadScene`] when the letters do not find room.
pub fn place(
    params: &EyeballingParams,
    candidates: &[Candidate],
    figure: Option<&Canvas>,
) -> Result<Vec<Callout>> {
    let choices: Vec<_> = (0..candidates.len())
        .map(|at| choices(params, candidates, at, figure))
        .collect();
    let letter = letter_radius(params);
    let found = settle(&choices, letter).or_else(|| search(&choices, letter));
    found.ok_or_else(|| {
        let fault = "the letters of the candidates find no room beside their dots";
        PuzzleError::BadScene(fault.to_owned())
    })
}

/// All places for the letter of candidate `at` that keep off the other dots, the cheapest first.
fn choices(
    params: &EyeballingParams,
    candidates: &[Candidate],
    at: usize,
    figure: Option<&Canvas>,
) -> Vec<Place> {
    let dot_at = candidates[at].at();
    let others = || candidates.iter().enumerate().filter(move |one| one.0 != at);
    let (dot_radius, letter_radius) = (params.disc_radius(), letter_radius(params));
    let canvas = params.canvas().map(f64::from);
    // Away from the near dots.
    let push = others().fold([0.0; 2], |sum, (_, other)| {
        let away = sub(dot_at, other.at());
        let far = dot(away, away).max(1.0);
        add(sum, scale(away, 1.0 / far))
    });
    let strength = dot(push, push).sqrt().max(1e-9);
    let mut found = Vec::new();
    for reach in REACHES {
        for toward in directions() {
            let letter = add(dot_at, scale(toward, reach * params.marker_radius));
            let leader = [
                add(dot_at, scale(toward, dot_radius)),
                sub(letter, scale(toward, letter_radius)),
            ];
            let on_page = (0..2).all(|axis| {
                let edge = letter_radius + EDGE;
                (edge..=canvas[axis] - edge).contains(&letter[axis])
            });
            let clear = others().all(|(_, other)| {
                distance(other.at(), letter) >= letter_radius + dot_radius + GAP
                    && segment_distance(other.at(), leader[0], leader[1]) >= dot_radius + GAP
            });
            if !on_page || !clear {
                continue;
            }
            let callout = Callout { leader, letter };
            let turned = 1.0 - dot(push, toward) / strength;
            let ink = figure.map_or(0.0, |figure| ink_cost(params, figure, &callout));
            let cost = 3.0 * reach + turned + ink;
            found.push(Place { callout, cost });
        }
    }
    found.sort_by(|one, other| one.cost.total_cmp(&other.cost));
    found
}

/// Twenty, all round.
fn directions() -> impl Iterator<Item = Vec2> {
    QUARTER
        .into_iter()
        .flat_map(|[x, y]| [[x, y], [-y, x], [-x, -y], [y, -x]])
}

/// How much of the figure a letter and its line would cover.
fn ink_cost(params: &EyeballingParams, figure: &Canvas, callout: &Callout) -> f64 {
    let page = params.theme.page();
    let is_ink = |[x, y]: Vec2| figure.differs(x as i32, y as i32, page);
    let share = |points: &[Vec2]| {
        let inked = points.iter().filter(|point| is_ink(**point)).count();
        inked as f64 / points.len().max(1) as f64
    };
    let cost = |share: f64| if share > 0.0 { TOUCH + 40.0 * share } else { 0.0 };
    let reach = letter_radius(params) + 1.0;
    let steps = reach.ceil() as i32;
    let grid = (-steps..=steps).flat_map(|y| (-steps..=steps).map(move |x| [x, y]));
    let offsets = grid.map(|offset| offset.map(f64::from));
    let letter: Vec<_> = offsets
        .filter(|offset| dot(*offset, *offset) <= reach * reach)
        .map(|offset| add(callout.letter, offset))
        .collect();
    // The line, and a pixel and a half on either side of it. It begins beyond the outline of its
    // own dot, which may stand on a stroke.
    let [from, to] = callout.leader;
    let along = sub(to, from);
    let long = dot(along, along).sqrt();
    let count = long.ceil().max(1.0) as i32;
    let aside = scale([-along[1], along[0]], 1.5 / long.max(1e-9));
    let line: Vec<_> = (0..=count)
        .flat_map(|step| {
            let middle = add(from, scale(along, f64::from(step) / f64::from(count)));
            [middle, add(middle, aside), sub(middle, aside)]
        })
        .collect();
    1.5 * cost(share(&letter)) + cost(share(&line))
}

/// Two letters with their lines would touch.
fn clash(one: &Callout, other: &Callout, letter: f64) -> bool {
    let ([a, b], [c, d]) = (one.leader, other.leader);
    distance(one.letter, other.letter) < 2.0 * letter + GAP
        || segment_distance(one.letter, c, d) < letter + GAP
        || segment_distance(other.letter, a, b) < letter + GAP
        || !are_apart([a, b], [c, d], GAP)
}

/// Every letter in turn takes the cheapest place that the others leave, until none moves; `None`
/// when some still clash then.
fn settle(choices: &[Vec<Place>], letter: f64) -> Option<Vec<Callout>> {
    const ROUNDS: usize = 12;
    /// More than any place costs.
    const CLASH: f64 = 1e3;
    let mut taken: Vec<_> = choices
        .iter()
        .map(|places| places.first().copied())
        .collect::<Option<_>>()?;
    for _ in 0..ROUNDS {
        let before: Vec<Vec2> = taken.iter().map(|place: &Place| place.callout.letter).collect();
        for (at, places) in choices.iter().enumerate() {
            let mut best: Option<(f64, Place)> = None;
            for place in places {
                if best.is_some_and(|best| best.0 <= place.cost) {
                    break;
                }
                let rivals = taken.iter().enumerate().filter(|one| one.0 != at);
                let clashes = rivals
                    .filter(|(_, rival)| clash(&rival.callout, &place.callout, letter))
                    .count();
                let cost = place.cost + CLASH * clashes as f64;
                if best.is_none_or(|best| cost < best.0) {
                    best = Some((cost, *place));
                }
            }
            if let Some((_, place)) = best {
                taken[at] = place;
            }
        }
        let same = taken.iter().zip(&before);
        if same.into_iter().all(|(place, before)| place.callout.letter == *before) {
            break;
        }
    }
    let callouts: Vec<_> = taken.iter().map(|place| place.callout).collect();
    let apart = callouts.iter().enumerate().all(|(at, one)| {
        let mut rest = callouts[at + 1..].iter();
        !rest.any(|other| clash(one, other, letter))
    });
    apart.then_some(callouts)
}

/// Some places without a clash, by trying out; gives up after a bounded number of steps.
fn search(choices: &[Vec<Place>], letter: f64) -> Option<Vec<Callout>> {
    const STEPS: usize = 20_000;
    fn next(
        choices: &[Vec<Place>],
        letter: f64,
        taken: &mut Vec<Callout>,
        steps: &mut usize,
    ) -> bool {
        let Some(places) = choices.get(taken.len()) else {
            return true;
        };
        for place in places {
            if *steps == 0 {
                return false;
            }
            *steps -= 1;
            let free = taken
                .iter()
                .all(|other| !clash(other, &place.callout, letter));
            if free {
                taken.push(place.callout);
                if next(choices, letter, taken, steps) {
                    return true;
                }
                taken.pop();
            }
        }
        false
    }
    let mut taken = Vec::with_capacity(choices.len());
    let mut steps = STEPS;
    next(choices, letter, &mut taken, &mut steps).then_some(taken)
}
