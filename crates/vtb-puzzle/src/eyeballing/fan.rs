//! Candidates in a fan about an anchor, for tasks that ask for a direction.
//!
//! The fan and the anchor are drawn before the figure is turned towards the answer, and kept only
//! if the figure could be turned towards any candidate. So the fan on its page knows nothing of
//! the answer: neither distance from the anchor, nor rank by angle, nor place on the page.

use serde::{Deserialize, Serialize};

use super::plane::{Vec2, add, dot, line_distance, normal, scale, sub, turn, unit};
use super::sheet::{no_scene, require};
use super::{Candidate, EyeballingParams, distance, index_of_answer, snap, snap_fine};
use crate::dice::Dice;
use crate::error::Result;
use crate::params::{Optional, Params, within};

/// Sine of 4 degrees: the least angle between a wrong candidate and the true line.
pub const LEAST_SINE: f64 = 0.069_756_473_744_125_3;

/// Parameters of tasks that ask for a direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LineParams {
    /// What all eyeballing tasks have.
    #[serde(flatten)]
    pub common: EyeballingParams,
    /// Least distance of a candidate from the anchor, as a share of the shorter side
    /// (default 0.28).
    pub reach_min: f64,
    /// Greatest distance of a candidate from the anchor, likewise (default 0.5).
    pub reach_max: f64,
}

impl Default for LineParams {
    fn default() -> Self {
        Self {
            common: EyeballingParams::default(),
            reach_min: 0.28,
            reach_max: 0.5,
        }
    }
}

impl Params for LineParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()?;
        within("reach_min", self.reach_min, 0.15, 0.6)?;
        within("reach_max", self.reach_max, self.reach_min, 0.6)
    }

    fn optional() -> Optional {
        EyeballingParams::OPTIONAL
    }
}

impl LineParams {
    /// How spokes of the line tasks are drawn.
    #[must_use]
    pub fn spokes(&self) -> Spokes {
        let lengths = [self.reach_min, self.reach_max].map(|reach| reach * self.common.side());
        // Beside the line of its neighbour even the shortest spoke's end is off by the tolerance.
        let sine = (self.common.tolerance() / lengths[0]).clamp(LEAST_SINE, 1.0);
        Spokes {
            lengths,
            least_slope: sine / (1.0 + (1.0 - sine * sine).sqrt()),
        }
    }
}

/// How the arrows from the anchor to the candidates are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spokes {
    /// Least and greatest length, pixels.
    pub lengths: [f64; 2],
    /// Tangent of half the least angle between neighbours.
    pub least_slope: f64,
}

/// An anchor and the candidates about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fan {
    /// The anchor, pixels.
    pub anchor: Vec2,
    /// Points to choose from.
    pub candidates: Vec<Candidate>,
}

/// A disc of the figure, in the frame of the true line: middle as (along, aside), radius.
pub type Room = (Vec2, f64);

impl Fan {
    /// Draws a fan and a place for it on the page, with `rooms` inside the margin whichever
    /// candidate is the answer; `None` when they did not fit this time.
    pub fn draw(
        params: &EyeballingParams,
        spokes: Spokes,
        rooms: &[Room],
        dice: &mut Dice,
    ) -> Option<Self> {
        let mut arrows = draw_arrows(params, spokes, dice);
        dice.shuffle(&mut arrows);
        let mut discs: Vec<(Vec2, f64)> = Vec::new();
        for arrow in &arrows {
            discs.push((*arrow, params.disc_radius()));
            discs.extend(
                rooms
                    .iter()
                    .map(|(at, room)| (in_frame(*arrow, *at), *room)),
            );
        }
        let reach = |axis: usize, sign: f64| {
            let ends = discs.iter().map(|(at, room)| sign * at[axis] + room);
            ends.fold(0.0, f64::max)
        };
        let canvas = params.canvas().map(f64::from);
        let mut anchor = [0.0; 2];
        for axis in 0..2 {
            let low = params.margin() + reach(axis, -1.0);
            let high = canvas[axis] - params.margin() - reach(axis, 1.0);
            anchor[axis] = (low <= high).then(|| dice.between(low, high))?;
        }
        let anchor = snap(anchor);
        let labels = params.labels.labels(arrows.len());
        let named = arrows.into_iter().zip(labels);
        let candidates = named.map(|(arrow, label)| {
            let [x, y] = add(anchor, arrow);
            Candidate { x, y, label }
        });
        Some(Self {
            anchor,
            candidates: candidates.collect(),
        })
    }

    /// A point of the figure on the page, when candidate `answer` is the answer.
    #[must_use]
    pub fn place(&self, answer: usize, local: Vec2) -> Vec2 {
        let arrow = sub(self.candidates[answer].at(), self.anchor);
        snap_fine(add(self.anchor, in_frame(arrow, local)))
    }
}

/// Arrows of random lengths, each turned from the one before by a random angle.
fn draw_arrows(params: &EyeballingParams, spokes: Spokes, dice: &mut Dice) -> Vec<Vec2> {
    let Spokes {
        lengths: [least, most],
        least_slope,
    } = spokes;
    let mut toward = dice.direction();
    let mut arrows = Vec::with_capacity(params.candidates);
    for _ in 0..params.candidates {
        arrows.push(snap(scale(toward, dice.between(least, most))));
        let wider = 1.02 + 0.6 * params.spread * dice.unit();
        toward = turn(toward, least_slope * wider);
    }
    arrows
}

/// From the frame whose first axis is the direction of `arrow`.
fn in_frame(arrow: Vec2, [along, aside]: Vec2) -> Vec2 {
    let axis = unit(arrow);
    add(scale(axis, along), scale(normal(axis), aside))
}

/// A figure drawn for the true line, before it is turned towards a candidate.
pub struct Figure {
    /// How candidates lie about its anchor.
    pub spokes: Spokes,
    /// Its points.
    pub points: Vec<Vec2>,
    /// The page it needs.
    pub rooms: Vec<Room>,
}

/// Draws scenes until one would do whichever candidate were the answer, and returns that in which
/// the candidate drawn beforehand is.
///
/// `scene` makes a scene of a fan and the figure's points on the page; `accepts` says whether it
/// keeps all rules; `lazy` lists what rules that do not measure would pick. Of the scenes that
/// differ in their answer alone, each such rule must be right in exactly one, which makes it a
/// guess whatever the figure.
///
/// # Errors
/// [`crate::PuzzleError::NoScene`] when the bound on tries is reached.
pub fn stage<S>(
    task: &str,
    params: &EyeballingParams,
    dice: &mut Dice,
    mut figure: impl FnMut(&mut Dice) -> Figure,
    scene: impl Fn(&Fan, &[Vec2]) -> S,
    accepts: impl Fn(&S) -> bool,
    lazy: impl Fn(&S) -> Vec<usize>,
) -> Result<S> {
    const TRIES: u32 = 400_000;
    let answer = dice.below(params.candidates);
    for _ in 0..TRIES {
        let Figure {
            spokes,
            points,
            rooms,
        } = figure(dice);
        let Some(fan) = Fan::draw(params, spokes, &rooms, dice) else {
            continue;
        };
        let made = |at: usize| {
            let placed: Vec<_> = points.iter().map(|local| fan.place(at, *local)).collect();
            scene(&fan, &placed)
        };
        if !(0..params.candidates).all(|at| accepts(&made(at))) {
            continue;
        }
        let picks: Vec<_> = (0..params.candidates).map(|at| lazy(&made(at))).collect();
        if right_once(&picks) {
            return Ok(made(answer));
        }
    }
    Err(no_scene(task, TRIES))
}

/// Every rule is right exactly once, where `picks[at]` lists the rules' picks when candidate `at`
/// is the answer.
#[must_use]
pub fn right_once(picks: &[Vec<usize>]) -> bool {
    let rules = picks.first().map_or(0, Vec::len);
    (0..rules).all(|rule| {
        let right = |(at, picks): &(usize, &Vec<usize>)| picks[rule] == *at;
        picks.iter().enumerate().filter(right).count() == 1
    })
}

/// Index of the candidate with the least score.
#[must_use]
pub fn least_by(candidates: &[Candidate], score: impl Fn(Vec2) -> f64) -> usize {
    let scores: Vec<_> = candidates.iter().map(|one| score(one.at())).collect();
    let by_score = |a: &usize, b: &usize| scores[*a].total_cmp(&scores[*b]);
    (0..scores.len()).min_by(by_score).unwrap_or(0)
}

/// Picks of "nearest to" and "farthest from" each of a scene's anchors and their mean, and of "above
/// or below" and "level with" each anchor.
///
/// As the figure turns towards the answer, so do its points: those ahead of the anchor come nearer
/// to the answer than to its neighbours, those behind it less near.
#[must_use]
pub fn anchor_picks(candidates: &[Candidate], anchors: &[Vec2]) -> Vec<usize> {
    let sum = anchors.iter().copied().fold([0.0; 2], add);
    let mean = scale(sum, 1.0 / anchors.len().max(1) as f64);
    let distances = anchors.iter().copied().chain([mean]).flat_map(|point| {
        let nearest = least_by(candidates, |at| distance(at, point));
        let farthest = least_by(candidates, |at| -distance(at, point));
        [nearest, farthest]
    });
    let levels = anchors.iter().flat_map(|point| {
        [0, 1].map(|axis: usize| least_by(candidates, |at| (at[axis] - point[axis]).abs()))
    });
    distances.chain(levels).collect()
}

/// The one candidate on the line through `anchor` along an arrow, on either side, and the least
/// distance of all others from that line.
///
/// # Errors
/// [`crate::PuzzleError::BadScene`] when there is not exactly one, or another comes closer than
/// the tolerance or than 4 degrees.
pub fn index_on_line(
    params: &EyeballingParams,
    candidates: &[Candidate],
    anchor: Vec2,
    along: Vec2,
) -> Result<(usize, f64)> {
    let off = |one: &Candidate| line_distance(one.at(), anchor, add(anchor, along));
    let violations: Vec<_> = candidates.iter().map(off).collect();
    let (answer, least) = index_of_answer(params, &violations)?;
    let wide = candidates.iter().zip(&violations).enumerate();
    let wide = wide
        .filter(|(at, _)| *at != answer)
        .all(|(_, (one, violation))| *violation >= LEAST_SINE * distance(one.at(), anchor));
    require(wide, "a second candidate is less than 4 degrees off")?;
    Ok((answer, least))
}

/// As [`index_on_line`], and the one candidate lies where the arrow points.
///
/// # Errors
/// As [`index_on_line`].
pub fn index_on_ray(
    params: &EyeballingParams,
    candidates: &[Candidate],
    anchor: Vec2,
    along: Vec2,
) -> Result<(usize, f64)> {
    let (answer, least) = index_on_line(params, candidates, anchor, along)?;
    let ahead = dot(sub(candidates[answer].at(), anchor), along) > 0.0;
    require(ahead, "the candidate on the line lies behind the anchor")?;
    Ok((answer, least))
}

/// Distance of the nearest wrong candidate at which a puzzle of this reach is half difficult.
#[must_use]
pub fn half_difficult(candidates: &[Candidate], answer: usize, anchor: Vec2) -> f64 {
    0.25 * distance(candidates[answer].at(), anchor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spokes_keep_the_tolerance_from_their_neighbours_lines() {
        let params = LineParams::default();
        let mut dice = Dice::new(3, "fan");
        for _ in 0..200 {
            let arrows = draw_arrows(&params.common, params.spokes(), &mut dice);
            for (at, arrow) in arrows.iter().enumerate() {
                for other in &arrows[at + 1..] {
                    assert!(line_distance(*other, [0.0; 2], *arrow) >= params.common.tolerance());
                    assert!(line_distance(*arrow, [0.0; 2], *other) >= params.common.tolerance());
                }
            }
        }
    }

    #[test]
    fn rules_must_be_right_once() {
        assert!(right_once(&[vec![], vec![]]));
        assert!(right_once(&[vec![0, 1], vec![0, 1]]));
        assert!(!right_once(&[vec![0, 0], vec![1, 1]]));
        assert!(!right_once(&[vec![1], vec![0]]));
    }

    #[test]
    fn figures_point_at_the_answer() {
        let params = LineParams::default();
        let mut dice = Dice::new(4, "fan");
        let rooms = [([-40.0, 30.0], 4.0)];
        let fan = (0..50)
            .find_map(|_| Fan::draw(&params.common, params.spokes(), &rooms, &mut dice))
            .unwrap();
        for (at, one) in fan.candidates.iter().enumerate() {
            let reach = distance(one.at(), fan.anchor);
            assert!(distance(fan.place(at, [reach, 0.0]), one.at()) < 0.01);
            assert!(params.common.holds(fan.place(at, rooms[0].0), 3.9));
        }
    }
}
