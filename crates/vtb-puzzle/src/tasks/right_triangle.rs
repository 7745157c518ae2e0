//! right_triangle: at which candidate do two others stand at a right angle?
//!
//! Nothing is drawn but the candidates, so the answer cannot be drawn after them. All points but
//! one are scattered evenly; two of them are taken for the right angle's corner and an arm, and
//! the last point is put on the other arm. The corner is thus one of many like it, save for what
//! the right angle itself brings along: corners are seldom far out. [`Lean`] makes up for that.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke};
use crate::error::Result;
use crate::eyeballing::plane::{Vec2, add, dot, length, normal, scale, sub, unit};
use crate::eyeballing::sheet::{
    Sheet, Wording, draw_noise_seed, marker_rule, no_scene, require, solved_choice,
};
use crate::eyeballing::{Candidate, EyeballingParams, distance, require_legible, snap};
use crate::judge::PictureRule;
use crate::params::{Optional, Params};
use crate::record::{Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct RightTriangle;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RightTriangleParams {
    /// What all eyeballing tasks have; at least 5 candidates.
    #[serde(flatten)]
    pub common: EyeballingParams,
}

impl Params for RightTriangleParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()?;
        let count = self.common.candidates;
        match count >= 5 {
            true => Ok(()),
            false => Err(format!(
                "`candidates` is {count}; among fewer than 5 the right angle's corner is always \
                 the one in the middle, so it must lie between 5 and 8"
            )),
        }
    }

    fn optional() -> Optional {
        EyeballingParams::OPTIONAL
    }
}

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RightTriangleScene {
    /// Points to choose from.
    pub candidates: Vec<Candidate>,
    /// Seed of the noise; 0 without noise.
    pub noise_seed: u32,
}

/// Least length of an arm, least distance of two candidates, shares of the side.
const ARM: f64 = 0.16;
const GAP: f64 = 0.085;
/// Greatest cosine of the right angle: coordinates are exact to 1/16 pixel.
const RIGHT: f64 = 0.002;

/// Least cosine of every other angle: 5.7, 4.9 and 4 degrees off.
fn least_cosine(count: usize) -> f64 {
    match count {
        0..=5 => 0.1,
        6 => 0.085,
        _ => 0.07,
    }
}

/// How much likelier than else a scene is kept whose corner has a striking place among the
/// candidates, so that every such place is the corner's once in as many scenes as there are
/// candidates. Found by weighing 100,000 scenes until all places were even, all at once.
struct Lean {
    /// Least and greatest sum of distances to the others.
    sum: [f64; 2],
    /// Nearest to and farthest from the mean.
    mean: [f64; 2],
    /// Nearest to and farthest from the picture's centre.
    centre: [f64; 2],
    /// First or last across; first or last down.
    edge: f64,
    /// Farthest from its nearest neighbour.
    alone: f64,
    /// Nearest to and farthest from its two nearest neighbours.
    two: [f64; 2],
    /// The greatest product of all these among the scenes that were weighed.
    most: f64,
}

impl Lean {
    fn of(count: usize) -> Self {
        let [
            medoid,
            outlier,
            inner,
            outer,
            central,
            remote,
            edge,
            alone,
            close,
            apart,
            most,
        ] = match count {
            0..=5 => [
                1.52, 1.85, 1.18, 10.3, 1.16, 1.34, 3.6, 1.75, 1.3, 1.24, 200.0,
            ],
            6 => [
                1.4, 1.37, 1.12, 6.5, 1.12, 1.27, 2.47, 1.63, 1.37, 0.91, 45.5,
            ],
            7 => [
                1.07, 1.33, 1.08, 4.61, 1.16, 1.41, 2.02, 1.23, 1.52, 0.92, 21.4,
            ],
            _ => [
                1.15, 1.35, 1.0, 4.48, 1.07, 1.42, 1.93, 0.62, 1.0, 1.0, 32.0,
            ],
        };
        Self {
            sum: [medoid, outlier],
            mean: [inner, outer],
            centre: [central, remote],
            edge,
            alone,
            two: [close, apart],
            most,
        }
    }

    /// Chance to keep a scene with its corner at index 0.
    fn share(&self, params: &EyeballingParams, points: &[Vec2]) -> f64 {
        let count = points.len() as f64;
        let mean = scale(points.iter().copied().fold([0.0; 2], add), 1.0 / count);
        let sum = |at: Vec2| points.iter().map(|other| distance(at, *other)).sum();
        let gaps = |at: Vec2| {
            let mut gaps: Vec<_> = points.iter().map(|other| distance(at, *other)).collect();
            gaps.sort_by(f64::total_cmp);
            gaps
        };
        let ends = |score: &dyn Fn(Vec2) -> f64, [least, most]: [f64; 2]| {
            let corner = score(points[0]);
            let rest = || points[1..].iter().map(|point| score(*point));
            match (
                rest().all(|other| corner < other),
                rest().all(|other| corner > other),
            ) {
                (true, _) => least,
                (_, true) => most,
                _ => 1.0,
            }
        };
        let edge = [self.edge; 2];
        let weight = ends(&sum, self.sum)
            * ends(&|at| distance(at, mean), self.mean)
            * ends(&|at| distance(at, params.middle()), self.centre)
            * ends(&|at| at[0], edge)
            * ends(&|at| at[1], edge)
            // The first gap is the point's own.
            * ends(&|at| gaps(at)[1], [1.0, self.alone])
            * ends(&|at| gaps(at)[1] + gaps(at)[2], self.two);
        weight / self.most
    }
}

/// A right angle: corner, ends of the arms.
type Triple = [usize; 3];

impl RightTriangle {
    /// Points in a square, with the right angle's corner first and its arms' ends next.
    fn scatter(params: &EyeballingParams, dice: &mut Dice) -> Option<Vec<Vec2>> {
        let free = params.margin() + params.disc_radius();
        let size = params.side() - 2.0 * free;
        let corner = params.canvas().map(|side| {
            let slack = f64::from(side) - params.side();
            free + slack * dice.unit()
        });
        let mut points: Vec<_> = (0..params.candidates)
            .map(|_| snap(add(corner, [size * dice.unit(), size * dice.unit()])))
            .collect();
        let across = unit(normal(sub(points[1], points[0])));
        // Where the other arm's line leaves the square.
        let [mut low, mut high] = [f64::NEG_INFINITY, f64::INFINITY];
        for axis in 0..2 {
            let ways =
                [0.0, size].map(|edge| (corner[axis] + edge - points[0][axis]) / across[axis]);
            low = low.max(ways[0].min(ways[1]));
            high = high.min(ways[0].max(ways[1]));
        }
        let along = low + (high - low) * dice.unit();
        points[2] = snap(add(points[0], scale(across, along)));
        let gap = (GAP * params.side()).max(params.tolerance());
        let apart = points.iter().enumerate().all(|(at, one)| {
            points[at + 1..]
                .iter()
                .all(|other| distance(*one, *other) >= gap)
        });
        apart.then_some(points)
    }
}

/// Every angle between three points: corner and arms' ends, cosine, least shift of an end that
/// would make it right.
fn angles(points: &[Vec2]) -> impl Iterator<Item = (Triple, f64, f64)> {
    let count = points.len();
    let triples = (0..count).flat_map(move |corner| {
        (0..count).flat_map(move |one| {
            (one + 1..count)
                .filter(move |other| one != corner && *other != corner)
                .map(move |other| [corner, one, other])
        })
    });
    triples.map(|triple| {
        let [corner, one, other] = triple.map(|at| points[at]);
        let arms = [sub(one, corner), sub(other, corner)];
        let [a, b] = arms.map(length);
        let off = dot(arms[0], arms[1]).abs();
        (triple, off / (a * b), off / a.max(b))
    })
}

/// The one right angle, and the least shift that would make a second.
fn right_angle(points: &[Vec2]) -> Result<(Triple, f64)> {
    let mut found = None;
    let mut least = f64::INFINITY;
    for (triple, cosine, shift) in angles(points) {
        if cosine >= least_cosine(points.len()) {
            least = least.min(shift);
            continue;
        }
        require(cosine <= RIGHT, "a second angle is nearly right")?;
        require(found.is_none(), "there are two right angles")?;
        found = Some(triple);
    }
    match found {
        Some(triple) => Ok((triple, least)),
        None => Err(crate::PuzzleError::BadScene("no angle is right".to_owned())),
    }
}

impl Task for RightTriangle {
    type Params = RightTriangleParams;
    type Scene = RightTriangleScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "right_triangle",
            group: TaskGroup::Eyeballing,
            version: 2,
            about: "Pick the candidate at which two others stand at a right angle.",
        }
    }

    fn build(&self, params: &RightTriangleParams, dice: &mut Dice) -> Result<RightTriangleScene> {
        const TRIES: u32 = 1_000_000;
        let common = &params.common;
        let noise_seed = draw_noise_seed(common, dice);
        let answer = dice.below(common.candidates);
        let lean = Lean::of(common.candidates);
        for _ in 0..TRIES {
            let Some(mut points) = Self::scatter(common, dice) else {
                continue;
            };
            let kept = dice.unit() < lean.share(common, &points);
            if !kept || !right_angle(&points).is_ok_and(|(triple, _)| triple == [0, 1, 2]) {
                continue;
            }
            dice.shuffle(&mut points[1..]);
            points.swap(0, answer);
            let labels = common.labels.labels(common.candidates);
            let named = points.into_iter().zip(labels);
            let candidates = named.map(|([x, y], label)| Candidate { x, y, label });
            let scene = RightTriangleScene {
                candidates: candidates.collect(),
                noise_seed,
            };
            if self.solve(params, &scene).is_ok() {
                return Ok(scene);
            }
        }
        Err(no_scene(Task::info(self).name, TRIES))
    }

    fn solve(&self, params: &RightTriangleParams, scene: &RightTriangleScene) -> Result<Solved> {
        let common = &params.common;
        let candidates = &scene.candidates;
        require_legible(common, candidates)?;
        let points: Vec<_> = candidates.iter().map(Candidate::at).collect();
        let ([corner, one, other], off) = right_angle(&points)?;
        let arms = [one, other].map(|end| distance(points[corner], points[end]));
        require(
            arms.iter().all(|arm| *arm >= ARM * common.side()),
            "an arm of the right angle is too short",
        )?;
        let half_at = 0.2 * (arms[0] + arms[1]) / 2.0;
        let mut solved = solved_choice(common, candidates, corner, [off, half_at]);
        solved.construction.push(Stroke::Line {
            points: [one, corner, other, one].map(|at| points[at]).to_vec(),
            width: common.construction_width(),
            color: common.theme.construction(),
        });
        Ok(solved)
    }

    fn options(
        &self,
        params: &RightTriangleParams,
        _: &RightTriangleScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(params.common.labels.labels(params.common.candidates))
    }

    fn prompts(&self, params: &RightTriangleParams, _: &Solved, options: &[String]) -> Prompts {
        Wording {
            figure: format!(
                "The picture shows nothing but discs marked {}. The middles of exactly three of \
                 them are the corners of a triangle with a right angle. The answer is the disc \
                 at the corner where the right angle is.",
                options.join(", ")
            ),
            question: "Which one is it?",
            edit: "Draw that triangle, outline the disc at its right angle in red, and leave the \
                   rest of the picture as it is.",
            film: "A thin line runs from disc to disc round the right-angled triangle; then the \
                   disc at its right angle gets a red outline.",
        }
        .prompts(&params.common)
    }

    fn paint(
        &self,
        params: &RightTriangleParams,
        scene: &RightTriangleScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let sheet = Sheet {
            params: &params.common,
            candidates: &scene.candidates,
            rings: &[],
            noise_seed: scene.noise_seed,
        };
        sheet.paint(solved, layer, |_| {})
    }

    fn picture_rule(
        &self,
        params: &RightTriangleParams,
        scene: &RightTriangleScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        Ok(marker_rule(&scene.candidates, params.common.disc_radius()))
    }
}
