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

    /// Whether to keep a scene with its corner at index 0, by a lot in `[0, 1)`: the chance is the
    /// product of what its places weigh, over the greatest product.
    ///
    /// What is found out with least effort comes first, and settles nearly all scenes.
    fn keeps(&self, params: &EyeballingParams, points: &[Vec2], lot: f64) -> bool {
        let mean = scale(
            points.iter().copied().fold([0.0; 2], add),
            1.0 / points.len() as f64,
        );
        let square = |at: Vec2, from: Vec2| {
            let arm = sub(at, from);
            dot(arm, arm)
        };
        let edge = [self.edge; 2];
        type Score<'a> = &'a dyn Fn(Vec2) -> f64;
        let rules: [(Score<'_>, [f64; 2]); 7] = [
            (&|at| at[0], edge),
            (&|at| at[1], edge),
            (&|at| square(at, mean), self.mean),
            (&|at| square(at, params.middle()), self.centre),
            (
                &|at| points.iter().map(|other| distance(at, *other)).sum(),
                self.sum,
            ),
            (&|at| two_least_gaps(points, at)[0], [1.0, self.alone]),
            (&|at| two_least_gaps(points, at).iter().sum(), self.two),
        ];
        let greatest = |[least, most]: [f64; 2]| least.max(most).max(1.0);
        let mut bound: f64 = rules.iter().map(|rule| greatest(rule.1)).product();
        rules.into_iter().all(|(score, weights)| {
            bound *= weight_of_first(points, score, weights) / greatest(weights);
            bound > lot * self.most
        })
    }
}

/// The weight for the least or greatest score of all when the first point has it; else 1.
fn weight_of_first(points: &[Vec2], score: &dyn Fn(Vec2) -> f64, [least, most]: [f64; 2]) -> f64 {
    let first = score(points[0]);
    let [mut is_least, mut is_most] = [true; 2];
    for point in &points[1..] {
        let other = score(*point);
        is_least &= first < other;
        is_most &= first > other;
        if !is_least && !is_most {
            return 1.0;
        }
    }
    if is_least { least } else { most }
}

/// Distances of one of the points from its two nearest neighbours.
fn two_least_gaps(points: &[Vec2], at: Vec2) -> [f64; 2] {
    let others = points.iter().filter(|other| **other != at);
    others.fold([f64::INFINITY; 2], |[least, second], other| {
        let gap = distance(at, *other);
        [least.min(gap), least.max(gap).min(second)]
    })
}

/// A right angle: corner, ends of the arms.
type Triple = [usize; 3];

impl RightTriangle {
    /// Scatters points in a square, with the right angle's corner first and its arms' ends next;
    /// whether they fitted this time. No more are drawn once one does not.
    fn scatter(params: &EyeballingParams, points: &mut Vec<Vec2>, dice: &mut Dice) -> bool {
        let free = params.margin() + params.disc_radius();
        let size = params.side() - 2.0 * free;
        let corner = params.canvas().map(|side| {
            let slack = f64::from(side) - params.side();
            free + slack * dice.unit()
        });
        points.clear();
        (0..params.candidates).all(|at| {
            let point = match at {
                2 => other_arm([points[0], points[1]], corner, size, dice),
                _ => snap(add(corner, [size * dice.unit(), size * dice.unit()])),
            };
            let fits = Self::fits(params, points, point);
            points.push(point);
            fits
        })
    }

    /// Whether one more point keeps its distance from the others and makes no second angle that is
    /// nearly right with them.
    fn fits(params: &EyeballingParams, points: &[Vec2], point: Vec2) -> bool {
        let gap = (GAP * params.side()).max(params.tolerance());
        let arm = (ARM * params.side()).max(gap);
        let is_arm = matches!(points.len(), 1 | 2);
        let least = |at: usize| if is_arm && at == 0 { arm } else { gap };
        let square = |arrow: Vec2| dot(arrow, arrow);
        let apart =
            |(at, other): (usize, &Vec2)| square(sub(*other, point)) >= least(at) * least(at);
        if !points.iter().enumerate().all(apart) {
            return false;
        }
        let cosine = least_cosine(params.candidates);
        let is_slant = |corner: Vec2, one: Vec2, other: Vec2| {
            let arms = [sub(one, corner), sub(other, corner)];
            let product = dot(arms[0], arms[1]);
            product * product >= cosine * cosine * square(arms[0]) * square(arms[1])
        };
        (0..points.len()).all(|at| {
            (0..at).all(|other| {
                let [one, two] = [points[at], points[other]];
                let is_the_one = points.len() == 2;
                is_slant(point, one, two)
                    && is_slant(one, two, point)
                    && (is_the_one || is_slant(two, one, point))
            })
        })
    }
}

/// A point on the line of the right angle's other arm, within the square.
fn other_arm([corner, end]: [Vec2; 2], square: Vec2, size: f64, dice: &mut Dice) -> Vec2 {
    let across = unit(normal(sub(end, corner)));
    // Where the other arm's line leaves the square.
    let [mut low, mut high] = [f64::NEG_INFINITY, f64::INFINITY];
    for axis in 0..2 {
        let ways = [0.0, size].map(|edge| (square[axis] + edge - corner[axis]) / across[axis]);
        low = low.max(ways[0].min(ways[1]));
        high = high.min(ways[0].max(ways[1]));
    }
    snap(add(corner, scale(across, low + (high - low) * dice.unit())))
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
            version: 3,
            about: "Pick the candidate at which two others stand at a right angle.",
        }
    }

    fn build(&self, params: &RightTriangleParams, dice: &mut Dice) -> Result<RightTriangleScene> {
        const TRIES: u32 = 1_000_000;
        let common = &params.common;
        let noise_seed = draw_noise_seed(common, dice);
        let answer = dice.below(common.candidates);
        let lean = Lean::of(common.candidates);
        let mut points = Vec::with_capacity(common.candidates);
        for _ in 0..TRIES {
            let fit = Self::scatter(common, &mut points, dice);
            if !fit || !lean.keeps(common, &points, dice.unit()) {
                continue;
            }
            if !right_angle(&points).is_ok_and(|(triple, _)| triple == [0, 1, 2]) {
                continue;
            }
            dice.shuffle(&mut points[1..]);
            points.swap(0, answer);
            let labels = common.labels.labels(common.candidates);
            let named = points.iter().zip(labels);
            let candidates = named.map(|(&[x, y], label)| Candidate { x, y, label });
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
