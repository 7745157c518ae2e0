//! square_outlier: four of five discs are the corners of a square; which one is not?
//!
//! Here the answer is not one of several like it, so what could give it away is drawn beforehand:
//! whether it stands inside the square, beside it or far from it, how it ranks by distance from the
//! mean of all discs and from the middle of the picture, and which edge of the set it forms. A scene
//! is kept only if it comes out as drawn. Each of "nearest to", "farthest from" (the mean, the
//! middle, the others, its two nearest) and "outermost" is then right once in five puzzles.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, draw_growing};
use crate::error::{PuzzleError, Result};
use crate::eyeballing::figure::bounds;
use crate::eyeballing::figure_task::{Words, construction, figure_prompts, require_finite};
use crate::eyeballing::plane::{Vec2, add, length, lerp, normal, scale, sub};
use crate::eyeballing::sheet::{marked, marker_rule};
use crate::eyeballing::{
    Candidate, EyeballingParams, distance, draw_choices, index_of_answer, require_legible, snap,
};
use crate::judge::PictureRule;
use crate::params::{Optional, Params, within};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct SquareOutlier;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SquareOutlierParams {
    /// What all eyeballing tasks have; `candidates` must be 5, `spread` has no effect.
    #[serde(flatten)]
    pub common: EyeballingParams,
    /// Least side of the square, as a share of the picture's shorter side (default 0.22).
    pub square_min: f64,
    /// Greatest side, likewise (default 0.4).
    pub square_max: f64,
}

impl Default for SquareOutlierParams {
    fn default() -> Self {
        Self {
            common: EyeballingParams::default(),
            square_min: 0.22,
            square_max: 0.4,
        }
    }
}

impl Params for SquareOutlierParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()?;
        within("candidates", self.common.candidates, 5, 5)?;
        within("square_min", self.square_min, 0.15, 0.5)?;
        within("square_max", self.square_max, self.square_min, 0.5)
    }

    fn optional() -> Optional {
        EyeballingParams::OPTIONAL
    }
}

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SquareOutlierScene {
    /// The five discs.
    pub candidates: Vec<Candidate>,
    /// Seed of the noise; 0 without noise.
    pub noise_seed: u32,
}

/// What is drawn before the geometry.
struct Plan {
    /// Index of the answer among the labels.
    answer: usize,
    /// How many discs are nearer to the mean of all; 0 inside the square, 2 or 3 beside it, 4 far
    /// from it. Not 1: there it is nearer than all corners to its two nearest discs, as it is
    /// inside.
    mean_rank: usize,
    /// How many discs are nearer to the middle of the picture.
    picture_rank: usize,
    /// Left, top, right or bottom: the one edge of the set that the answer forms, if not inside.
    edge: usize,
}

const TRIES: u32 = 20_000;
/// Least distance of the answer from a corner, as a share of the square's side.
const APART: f64 = 0.3;
/// The same where it is the farthest disc of all.
const FAR: f64 = 1.05;
/// By `mean_rank`: least and greatest distance of the answer from the middle of the square, as
/// shares of the corners'. No scene comes out as drawn beyond them.
const AWAY: [[f64; 2]; 5] = [
    [0.0, 1.08],
    [0.0; 2],
    [1.29, 1.42],
    [1.35, 1.67],
    [2.0, 2.8],
];

impl Task for SquareOutlier {
    type Params = SquareOutlierParams;
    type Scene = SquareOutlierScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "square_outlier",
            group: TaskGroup::Eyeballing,
            version: 2,
            about: "Pick the one of five discs that is not a corner of a square.",
        }
    }

    fn build(&self, params: &SquareOutlierParams, dice: &mut Dice) -> Result<SquareOutlierScene> {
        let plan = Plan {
            answer: dice.below(5),
            mean_rank: [0, 0, 2, 2, 2, 3, 3, 3, 4, 4][dice.below(10)],
            picture_rank: dice.below(5),
            edge: dice.below(4),
        };
        let noise_seed = match params.common.noise {
            0 => 0,
            _ => (dice.bits() >> 32) as u32,
        };
        for _ in 0..TRIES {
            let Some(mut points) = draw_points(params, &plan, dice) else {
                continue;
            };
            dice.shuffle(&mut points[1..]);
            points[..=plan.answer].rotate_left(1);
            let labels = params.common.labels.labels(points.len());
            let named = points.into_iter().zip(labels);
            let scene = SquareOutlierScene {
                candidates: named
                    .map(|([x, y], label)| Candidate { x, y, label })
                    .collect(),
                noise_seed,
            };
            if self.solve(params, &scene).is_ok() {
                return Ok(scene);
            }
        }
        Err(PuzzleError::NoScene {
            task: Task::info(self).name.to_owned(),
            tries: TRIES,
            hint: "smaller markers, a smaller square or a larger picture would help".to_owned(),
        })
    }

    fn solve(&self, params: &SquareOutlierParams, scene: &SquareOutlierScene) -> Result<Solved> {
        let common = &params.common;
        require_legible(common, &scene.candidates)?;
        let points: Vec<_> = scene.candidates.iter().map(Candidate::at).collect();
        require_finite(&points)?;
        let Ok(points) = <[Vec2; 5]>::try_from(points) else {
            return Err(PuzzleError::BadScene("there must be five discs".to_owned()));
        };
        // How far the four others are from a square.
        let violations = [0, 1, 2, 3, 4].map(|at: usize| best_square(without(&points, at)).0);
        let (answer, min_violation) = index_of_answer(common, &violations)?;
        let [a, b, c, d] = best_square(without(&points, answer)).1;
        let side = distance(a, b);
        let share = side / common.side();
        let sound = (params.square_min - 0.01..=params.square_max + 0.01).contains(&share);
        if !sound {
            let fault = "the square is too small or too large";
            return Err(PuzzleError::BadScene(fault.to_owned()));
        }
        let label = scene.candidates[answer].label.clone();
        let mut solved = Solved::new(Answer::Choice(label), common.canvas());
        solved.construction = construction(common, &[vec![a, b, c, d, a]]);
        let mut measure = |name: &str, value| solved.measures.insert(name.to_owned(), value);
        measure("min_violation", min_violation);
        // Half where the nearest other reading is off by half a side.
        measure("difficulty", 1.0 / (1.0 + 2.0 * min_violation / side));
        Ok(solved)
    }

    fn options(
        &self,
        params: &SquareOutlierParams,
        _: &SquareOutlierScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(params.common.labels.labels(params.common.candidates))
    }

    fn prompts(&self, params: &SquareOutlierParams, _: &Solved, options: &[String]) -> Prompts {
        let words = Words {
            shown: "five",
            asked: "Four of them sit at the corners of a square, which may be turned. Exactly one \
                    disc is not a corner of that square.",
            drawn: "the four sides of the square",
            moving: "The four sides of the square grow one after another as a thin line from disc \
                     to disc.",
        };
        figure_prompts(&params.common, &words, options)
    }

    fn paint(
        &self,
        params: &SquareOutlierParams,
        scene: &SquareOutlierScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let common = &params.common;
        let mut canvas = Canvas::new(common.canvas(), common.theme.page())?;
        draw_growing(&mut canvas, &solved.construction, layer.progress());
        let answer = marked(&scene.candidates, solved, layer);
        draw_choices(&mut canvas, common, &scene.candidates, answer, |_| {})?;
        canvas.noise(common.noise, u64::from(scene.noise_seed));
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        params: &SquareOutlierParams,
        scene: &SquareOutlierScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        Ok(marker_rule(&scene.candidates, params.common.disc_radius()))
    }
}

/// The answer and the four corners, if they come out as planned.
fn draw_points(params: &SquareOutlierParams, plan: &Plan, dice: &mut Dice) -> Option<[Vec2; 5]> {
    const PLACES: usize = 12;
    let common = &params.common;
    let side = dice.between(params.square_min, params.square_max) * common.side();
    let radius = side * 0.5_f64.sqrt();
    let spoke = snap(scale(dice.direction(), radius));
    let other = normal(spoke);
    let [least, most] = AWAY[plan.mean_rank];
    let away = dice.between(least, most) * radius;
    let outlier = snap(scale(dice.direction(), away));
    let points = [
        outlier,
        spoke,
        other,
        scale(spoke, -1.0),
        scale(other, -1.0),
    ];
    // Far outside it is not one of the two discs that are nearest to each other.
    let least = if plan.mean_rank == 4 { FAR } else { APART };
    let apart = common.tolerance().max(least * side);
    let clear = points[1..]
        .iter()
        .all(|corner| distance(*corner, outlier) >= apart);
    if !clear || !as_planned(&points, plan) {
        return None;
    }
    let [low, high] = bounds(points.into_iter());
    let edge = common.margin() + common.disc_radius();
    let canvas = common.canvas().map(f64::from);
    let room = [0, 1].map(|axis: usize| canvas[axis] - edge - high[axis] - (edge - low[axis]));
    if room.iter().any(|free| *free < 0.0) {
        return None;
    }
    (0..PLACES).find_map(|_| {
        let place = [0, 1].map(|axis: usize| edge - low[axis] + dice.unit() * room[axis]);
        let placed = points.map(|point| add(point, snap(place)));
        (rank(&placed, common.middle()) == plan.picture_rank).then_some(placed)
    })
}

/// The first point ranks as planned among all, and forms the planned edge of the set and no other.
fn as_planned(points: &[Vec2; 5], plan: &Plan) -> bool {
    let mean = scale(points.iter().copied().fold([0.0; 2], add), 0.2);
    let sum = |at: &Vec2| {
        points
            .iter()
            .map(|other| distance(*at, *other))
            .sum::<f64>()
    };
    // Below and above the scores of all corners.
    let extremes = |score: &dyn Fn(&Vec2) -> f64| {
        let own = score(&points[0]);
        let corners = || points[1..].iter().map(score);
        [
            corners().all(|other| other > own),
            corners().all(|other| other < own),
        ]
    };
    let planned_extremes = [plan.mean_rank == 0, plan.mean_rank == 4];
    let [x, y] = points[0];
    let beyond = |test: &dyn Fn(&Vec2) -> bool| points[1..].iter().all(test);
    let edges = [
        beyond(&|corner| x < corner[0]),
        beyond(&|corner| y < corner[1]),
        beyond(&|corner| x > corner[0]),
        beyond(&|corner| y > corner[1]),
    ];
    let inside = plan.mean_rank == 0;
    let planned = [0, 1, 2, 3].map(|edge| !inside && edge == plan.edge);
    rank(points, mean) == plan.mean_rank
        && extremes(&sum) == planned_extremes
        && extremes(&|at| two_nearest(points, *at)) == planned_extremes
        && edges == planned
}

/// Sum of the distances from one of the points to the two nearest others.
fn two_nearest(points: &[Vec2; 5], at: Vec2) -> f64 {
    let mut gaps = points.map(|other| distance(at, other));
    gaps.sort_by(f64::total_cmp);
    // The first is its own.
    gaps[1] + gaps[2]
}

/// How many of the other points are nearer to `center` than the first.
fn rank(points: &[Vec2; 5], center: Vec2) -> usize {
    let own = distance(points[0], center);
    let nearer = points[1..]
        .iter()
        .filter(|point| distance(**point, center) < own);
    nearer.count()
}

fn without(points: &[Vec2; 5], skipped: usize) -> [Vec2; 4] {
    [0, 1, 2, 3].map(|at| points[if at < skipped { at } else { at + 1 }])
}

/// How far one of four points would have to move for them to be a square, about; and the points in
/// the order of that square.
fn best_square([a, b, c, d]: [Vec2; 4]) -> (f64, [Vec2; 4]) {
    // The one opposite to the first point.
    let orders = [[a, c, b, d], [a, b, c, d], [a, b, d, c]];
    let fault = |[p, q, r, s]: [Vec2; 4]| {
        let middles = length(sub(lerp(p, r, 0.5), lerp(q, s, 0.5)));
        let (one, other) = (scale(sub(r, p), 0.5), scale(sub(s, q), 0.5));
        let turned = normal(one);
        let arms = length(sub(other, turned)).min(length(add(other, turned)));
        2.0 * middles.max(arms)
    };
    let mut best = (fault(orders[0]), orders[0]);
    for order in &orders[1..] {
        let next = fault(*order);
        if next < best.0 {
            best = (next, *order);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_found_in_any_order() {
        let [a, b, c, d] = [[10.0, 0.0], [0.0, 10.0], [-10.0, 0.0], [0.0, -10.0]];
        for points in [[a, b, c, d], [a, c, b, d], [b, d, c, a]] {
            let (fault, order) = best_square(points);
            assert_eq!(fault, 0.0);
            let sides = [0, 1, 2, 3].map(|at: usize| distance(order[at], order[(at + 1) % 4]));
            assert!(
                sides
                    .iter()
                    .all(|side| (side - 200_f64.sqrt()).abs() < 1e-9)
            );
        }
        // One corner moved by 6.
        assert_eq!(best_square([a, b, c, [0.0, -16.0]]).0, 6.0);
    }

    #[test]
    fn every_plan_can_be_met() {
        let params = SquareOutlierParams::default();
        let mut dice = Dice::new(4, "plans");
        for picture_rank in 0..5 {
            for mean_rank in [0, 2, 3, 4] {
                let plan = Plan {
                    answer: 0,
                    mean_rank,
                    picture_rank,
                    edge: mean_rank % 4,
                };
                let met = (0..TRIES).find_map(|_| draw_points(&params, &plan, &mut dice));
                assert!(met.is_some(), "{mean_rank} {picture_rank}");
            }
        }
    }
}
