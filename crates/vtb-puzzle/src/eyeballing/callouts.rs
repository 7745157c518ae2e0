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
    // What is settled depends on who chooses first; without a figure anything will do.
    let starts = if figure.is_some() {
        candidates.len()
    } else {
        1
    };
    let settled = (0..starts).filter_map(|first| settle(&choices, first, letter));
    let best = settled.min_by(|one, other| one.0.total_cmp(&other.0));
    let found = best.map(|(_, callouts)| callouts);
    found.or_else(|| search(&choices, letter)).ok_or_else(|| {
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
            // Whose letter it is should be seen without following the line.
            let near = 1.2 * reach * params.marker_radius;
            let rivals = others().filter(|(_, other)| distance(other.at(), letter) < near);
            let ink = figure.map_or(0.0, |figure| ink_cost(params, figure, &callout));
            let cost = 3.0 * reach + turned + 3.0 * rivals.count() as f64 + ink;
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
    let cost = |share: f64| {
        if share > 0.0 {
            TOUCH + 40.0 * share
        } else {
            0.0
        }
    };
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

/// Every letter in turn, from `first` on, takes the cheapest place that the others leave, until
/// none moves. Returns what all places cost; `None` when some still clash then.
fn settle(choices: &[Vec<Place>], first: usize, letter: f64) -> Option<(f64, Vec<Callout>)> {
    const ROUNDS: usize = 12;
    /// More than any place costs.
    const CLASH: f64 = 1e3;
    let mut taken: Vec<_> = choices
        .iter()
        .map(|places| places.first().copied())
        .collect::<Option<_>>()?;
    for _ in 0..ROUNDS {
        let before: Vec<Vec2> = taken
            .iter()
            .map(|place: &Place| place.callout.letter)
            .collect();
        for step in 0..choices.len() {
            let at = (first + step) % choices.len();
            let places = &choices[at];
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
        if same
            .into_iter()
            .all(|(place, before)| place.callout.letter == *before)
        {
            break;
        }
    }
    let callouts: Vec<_> = taken.iter().map(|place| place.callout).collect();
    let apart = callouts.iter().enumerate().all(|(at, one)| {
        let mut rest = callouts[at + 1..].iter();
        !rest.any(|other| clash(one, other, letter))
    });
    let cost = taken.iter().map(|place| place.cost).sum();
    apart.then_some((cost, callouts))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use crate::eyeballing::{Cluster, draw_candidates};

    fn params(candidates: usize) -> EyeballingParams {
        EyeballingParams {
            candidates,
            callouts: true,
            ..EyeballingParams::default()
        }
    }

    fn cluster(params: &EyeballingParams, dice: &mut Dice) -> Vec<Candidate> {
        let cluster = Cluster {
            center: [dice.between(90.0, 420.0), dice.between(90.0, 420.0)],
            axis: dice.direction(),
            stretch: 1.3,
        };
        (0..100)
            .find_map(|_| draw_candidates(params, cluster, dice))
            .unwrap()
    }

    /// Points along a line, a pixel apart.
    fn walk([from, to]: [Vec2; 2]) -> Vec<Vec2> {
        let count = distance(from, to).ceil();
        let steps = 0..=count as u32;
        let at = |step: u32| add(from, scale(sub(to, from), f64::from(step) / count));
        steps.map(at).collect()
    }

    #[test]
    fn letters_and_lines_touch_no_dot_and_no_other_letter() {
        let mut dice = Dice::new(8, "callouts");
        for count in [3, 5, 8] {
            let params = params(count);
            let (dot, letter) = (params.disc_radius(), 0.5 * letter_size(&params));
            for _ in 0..60 {
                let candidates = cluster(&params, &mut dice);
                let mut page = Canvas::new([512, 512], [255; 3]).unwrap();
                let stroke = [(); 2].map(|()| [dice.between(0.0, 512.0), dice.between(0.0, 512.0)]);
                page.polyline(&stroke, 5.0, [32; 3]);
                let places = place(&params, &candidates, Some(&page)).unwrap();
                assert_eq!(places, place(&params, &candidates, Some(&page)).unwrap());
                for (at, own) in places.iter().enumerate() {
                    let inside = |part: f64| (letter..=512.0 - letter).contains(&part);
                    assert!(own.letter.into_iter().all(inside));
                    let line = walk(own.leader);
                    for (other, candidate) in candidates.iter().enumerate() {
                        let far = distance(own.letter, candidate.at());
                        assert!(far >= dot + letter, "a letter on a dot");
                        let clear = |point: &Vec2| distance(*point, candidate.at()) >= dot - 1e-9;
                        assert!(line.iter().all(clear), "{at} {other}: a line over a dot");
                    }
                    for other in &places[..at] {
                        assert!(distance(own.letter, other.letter) >= 2.0 * letter);
                        let theirs = walk(other.leader);
                        for point in &line {
                            assert!(distance(*point, other.letter) >= letter);
                            assert!(theirs.iter().all(|far| distance(*point, *far) >= 1.5));
                        }
                        let clear = |point: &Vec2| distance(*point, own.letter) >= letter;
                        assert!(theirs.iter().all(clear));
                    }
                }
            }
        }
    }

    #[test]
    fn letters_keep_off_a_stroke_beside_their_dots() {
        let mut dice = Dice::new(9, "callouts");
        let params = params(5);
        for _ in 0..60 {
            let candidates = cluster(&params, &mut dice);
            // A wall as near to the cluster as a stroke may be.
            let right = candidates.iter().map(|one| one.x).fold(0.0, f64::max);
            let wall = right + params.stroke_clearance();
            let mut page = Canvas::new([512, 512], [255; 3]).unwrap();
            page.polyline(&[[wall, 0.0], [wall, 512.0]], params.line_width, [32; 3]);
            for own in place(&params, &candidates, Some(&page)).unwrap() {
                let reach = 0.5 * letter_size(&params) + params.line_width / 2.0;
                assert!(
                    (own.letter[0] - wall).abs() >= reach,
                    "a letter on the wall"
                );
                assert!(own.letter[0] < wall, "a line across the wall");
            }
        }
    }

    #[test]
    fn no_room_is_an_error() {
        let params = EyeballingParams {
            width: 128,
            height: 128,
            marker_radius: 40.0,
            ..params(8)
        };
        let point = |at: usize| Candidate {
            x: 30.0 + 10.0 * at as f64,
            y: 64.0,
            label: "A".to_owned(),
        };
        let candidates: Vec<_> = (0..8).map(point).collect();
        let fault = place(&params, &candidates, None);
        assert!(matches!(fault, Err(PuzzleError::BadScene(_))));
    }
}
