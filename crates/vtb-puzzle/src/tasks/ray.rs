//! ray: which candidate does a ray hit that is thrown about by mirrors?
//!
//! Several rays are sent out from one place among the same mirrors, and a point is taken on a late
//! part of each that no other ray comes near. The rays differ in their first direction only, and
//! any of them can be the one that is asked for: mirrors, start and candidates know nothing of it.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Rgb, Stroke};
use crate::error::Result;
use crate::eyeballing::fan::right_once;
use crate::eyeballing::plane::{
    Vec2, add, are_apart, cross, dot, length, lerp, line_distance, mirror, scale, segment_distance,
    sub, turn, unit,
};
use crate::eyeballing::sheet::{
    Sheet, Wording, draw_noise_seed, marker_rule, no_scene, require, require_clear, require_inside,
    solved_choice,
};
use crate::eyeballing::{
    Candidate, EyeballingParams, distance, index_of_answer, require_legible, snap,
};
use crate::judge::PictureRule;
use crate::params::{Optional, Params, within};
use crate::record::{Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct Ray;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RayParams {
    /// What all eyeballing tasks have.
    #[serde(flatten)]
    pub common: EyeballingParams,
    /// Number of mirrors (default 9).
    pub mirrors: usize,
    /// Least number of mirrors that throw the ray back before it reaches the answer (default 2).
    pub bounces_min: usize,
    /// Most mirrors that throw the ray back on its whole way (default 5).
    pub bounces_max: usize,
}

impl Default for RayParams {
    fn default() -> Self {
        Self {
            common: EyeballingParams::default(),
            mirrors: 9,
            bounces_min: 2,
            bounces_max: 5,
        }
    }
}

impl Params for RayParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()?;
        within("mirrors", self.mirrors, 2, 16)?;
        within("bounces_min", self.bounces_min, 1, 8)?;
        within("bounces_max", self.bounces_max, self.bounces_min, 12)
    }

    fn optional() -> Optional {
        EyeballingParams::OPTIONAL
    }
}

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RayScene {
    /// Where the ray starts, at the edge of the field.
    pub start: Vec2,
    /// Tip of the arrow at its start, which gives the direction.
    pub aim: Vec2,
    /// Ends of the mirrors; both sides throw back.
    pub mirrors: Vec<[Vec2; 2]>,
    /// Points to choose from.
    pub candidates: Vec<Candidate>,
    /// Seed of the noise; 0 without noise.
    pub noise_seed: u32,
}

/// Length of a mirror, free room about it, length of the arrow: shares of the side.
const MIRROR: [f64; 2] = [0.15, 0.24];
const APART: f64 = 0.06;
const ARROW: f64 = 0.09;
/// A ray must meet a mirror no nearer to its ends than this share of it, at no smaller sine.
const TIP: f64 = 0.07;
const FLAT: f64 = 0.25;
/// A ray must pass the ends of other mirrors at this distance at least, pixels.
const MISS: f64 = 6.0;

/// A ray with a point on it.
struct Shot {
    aim: Vec2,
    path: Vec<Vec2>,
    point: Vec2,
}

impl Ray {
    /// Mirrors that keep apart from each other, inside the field.
    fn draw_mirrors(params: &RayParams, dice: &mut Dice) -> Option<Vec<[Vec2; 2]>> {
        const TRIES: usize = 40;
        let common = &params.common;
        let side = common.side();
        let mut mirrors: Vec<[Vec2; 2]> = Vec::with_capacity(params.mirrors);
        for _ in 0..params.mirrors {
            let fresh = (0..TRIES).find_map(|_| {
                let middle = in_field(common, dice);
                let half = side * dice.between(MIRROR[0], MIRROR[1]) / 2.0;
                let arm = scale(dice.direction(), half);
                let ends = [sub(middle, arm), add(middle, arm)].map(snap);
                let fits = ends.iter().all(|end| common.holds(*end, APART * side))
                    && mirrors
                        .iter()
                        .all(|other| are_apart(ends, *other, APART * side));
                fits.then_some(ends)
            })?;
            mirrors.push(fresh);
        }
        Some(mirrors)
    }

    /// A place at the edge of the field.
    fn draw_start(common: &EyeballingParams, dice: &mut Dice) -> Vec2 {
        let [left, top, right, bottom] = field(common);
        let share = dice.between(0.15, 0.85);
        let (x, y) = (left + (right - left) * share, top + (bottom - top) * share);
        snap(match dice.below(4) {
            0 => [left, y],
            1 => [right, y],
            2 => [x, top],
            _ => [x, bottom],
        })
    }

    /// A ray from the start with a point far along it.
    fn shoot(
        params: &RayParams,
        mirrors: &[[Vec2; 2]],
        start: Vec2,
        dice: &mut Dice,
    ) -> Option<Shot> {
        let common = &params.common;
        let aim = snap(add(start, scale(dice.direction(), ARROW * common.side())));
        let path = trace(params, mirrors, start, aim).ok()?;
        let parts = path.len() - 1;
        let late = params.bounces_min + dice.below(parts - params.bounces_min);
        let point = snap(lerp(path[late], path[late + 1], dice.between(0.15, 0.85)));
        let clear = mirrors
            .iter()
            .chain([&[start, aim]])
            .all(|[a, b]| segment_distance(point, *a, *b) >= common.stroke_clearance());
        (clear && common.holds(point, common.disc_radius())).then_some(Shot { aim, path, point })
    }

    /// Whether the candidate nearest to where the arrow points is the right one for exactly one of
    /// the rays. Else it would be in 29 of 100 puzzles.
    fn is_even(start: Vec2, shots: &[Shot]) -> bool {
        let nearest = |aim: Vec2| {
            let off = |at: &usize| line_distance(shots[*at].point, start, aim);
            let by_off = |a: &usize, b: &usize| off(a).total_cmp(&off(b));
            (0..shots.len()).min_by(by_off).unwrap_or(0)
        };
        let picks: Vec<_> = shots.iter().map(|shot| vec![nearest(shot.aim)]).collect();
        right_once(&picks)
    }

    /// One ray for every candidate, none near the point of another.
    fn draw_shots(
        params: &RayParams,
        mirrors: &[[Vec2; 2]],
        start: Vec2,
        dice: &mut Dice,
    ) -> Option<Vec<Shot>> {
        const TRIES: usize = 300;
        let tolerance = params.common.tolerance();
        let mut shots: Vec<Shot> = Vec::new();
        for _ in 0..TRIES {
            let Some(fresh) = Self::shoot(params, mirrors, start, dice) else {
                continue;
            };
            let apart = |shot: &Shot| {
                path_distance(shot.point, &fresh.path) >= tolerance
                    && path_distance(fresh.point, &shot.path) >= tolerance
            };
            if shots.iter().all(apart) {
                shots.push(fresh);
            }
            if shots.len() == params.common.candidates {
                if Self::is_even(start, &shots) {
                    return Some(shots);
                }
                shots.remove(0);
            }
        }
        None
    }
}

impl Task for Ray {
    type Params = RayParams;
    type Scene = RayScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "ray",
            group: TaskGroup::Eyeballing,
            version: 1,
            about: "Pick the candidate that a ray hits after several mirrors.",
        }
    }

    fn build(&self, params: &RayParams, dice: &mut Dice) -> Result<RayScene> {
        const TRIES: u32 = 10_000;
        let common = &params.common;
        let noise_seed = draw_noise_seed(common, dice);
        let answer = dice.below(common.candidates);
        for _ in 0..TRIES {
            let Some(mirrors) = Self::draw_mirrors(params, dice) else {
                continue;
            };
            let start = Self::draw_start(common, dice);
            let Some(mut shots) = Self::draw_shots(params, &mirrors, start, dice) else {
                continue;
            };
            dice.shuffle(&mut shots);
            let labels = common.labels.labels(shots.len());
            let points = shots.iter().zip(labels);
            let candidates: Vec<_> = points
                .map(|(shot, label)| Candidate {
                    x: shot.point[0],
                    y: shot.point[1],
                    label,
                })
                .collect();
            let scene = |at: usize| RayScene {
                start,
                aim: shots[at].aim,
                mirrors: mirrors.clone(),
                candidates: candidates.clone(),
                noise_seed,
            };
            if (0..shots.len()).all(|at| self.solve(params, &scene(at)).is_ok()) {
                return Ok(scene(answer));
            }
        }
        Err(no_scene(Task::info(self).name, TRIES))
    }

    fn solve(&self, params: &RayParams, scene: &RayScene) -> Result<Solved> {
        let common = &params.common;
        let side = common.side();
        let (start, aim, candidates) = (scene.start, scene.aim, &scene.candidates);
        require_legible(common, candidates)?;
        require(
            scene.mirrors.len() == params.mirrors,
            "the number of mirrors is not the parameters'",
        )?;
        let ends = scene
            .mirrors
            .as_flattened()
            .iter()
            .map(|end| (*end, APART * side));
        require_inside(common, &ends.collect::<Vec<_>>())?;
        for (at, one) in scene.mirrors.iter().enumerate() {
            require(
                distance(one[0], one[1]) >= MIRROR[0] * side - 1.0,
                "a mirror is too short",
            )?;
            let apart = scene.mirrors[at + 1..]
                .iter()
                .all(|other| are_apart(*one, *other, APART * side));
            require(apart, "two mirrors are too near to each other")?;
        }
        require_inside(common, &[(start, 0.0), (aim, 0.0)])?;
        require(
            (distance(start, aim) - ARROW * side).abs() <= 0.5,
            "the arrow is too short or too long",
        )?;
        let mut strokes = scene.mirrors.clone();
        strokes.push([start, aim]);
        require_clear(common, candidates, &strokes)?;
        let path = trace(params, &scene.mirrors, start, aim)?;
        let violations: Vec<_> = candidates
            .iter()
            .map(|one| path_distance(one.at(), &path))
            .collect();
        let (answer, off) = index_of_answer(common, &violations)?;
        let late = &path[params.bounces_min..];
        require(
            path_distance(candidates[answer].at(), late) <= 0.125,
            "the ray reaches the candidate too early",
        )?;
        let mut solved = solved_choice(common, candidates, answer, [off, 0.1 * side]);
        let bounces = (path.len() - 2) as f64;
        solved.measures.insert("bounces".to_owned(), bounces);
        solved.construction.push(Stroke::Line {
            points: path,
            width: common.construction_width(),
            color: ray_color(common),
        });
        Ok(solved)
    }

    fn options(
        &self,
        params: &RayParams,
        _: &RayScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(params.common.labels.labels(params.common.candidates))
    }

    fn prompts(&self, params: &RayParams, _: &Solved, options: &[String]) -> Prompts {
        Wording {
            figure: format!(
                "The picture shows thick straight mirrors, a blue arrow where a light ray comes \
                 in, and discs marked {}. The ray runs straight on from the arrow. Every mirror \
                 it meets, from whichever side, throws it back at the angle at which it came; the \
                 discs do not stop it. On its way the ray passes through the middle of exactly \
                 one disc.",
                options.join(", ")
            ),
            question: "Which one?",
            edit: "Draw the whole way of the ray in blue, outline the disc it passes through in \
                   red, and leave the rest of the picture as it is.",
            film: "The ray grows from the arrow, from mirror to mirror, until it leaves the \
                   field; then the disc it passed through gets a red outline.",
        }
        .prompts(&params.common)
    }

    fn paint(
        &self,
        params: &RayParams,
        scene: &RayScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let common = &params.common;
        let sheet = Sheet {
            params: common,
            candidates: &scene.candidates,
            rings: &[],
            noise_seed: scene.noise_seed,
        };
        sheet.paint(solved, layer, |canvas| {
            for ends in &scene.mirrors {
                canvas.polyline(ends, common.line_width, common.theme.ink());
            }
            let (width, color) = (common.line_width.max(3.0) * 0.7, ray_color(common));
            let back = scale(sub(scene.start, scene.aim), 0.4);
            canvas.polyline(&[scene.start, scene.aim], width, color);
            for slope in [0.28, -0.28] {
                let barb = add(scene.aim, turn(back, slope));
                canvas.polyline(&[scene.aim, barb], width, color);
            }
        })
    }

    fn picture_rule(
        &self,
        params: &RayParams,
        scene: &RayScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        Ok(marker_rule(&scene.candidates, params.common.disc_radius()))
    }
}

/// Colour of arrow and ray, on any page.
fn ray_color(params: &EyeballingParams) -> Rgb {
    match params.theme {
        crate::eyeballing::Theme::Dark => [96, 164, 240],
        _ => [30, 96, 190],
    }
}

/// Left, top, right, bottom of the field that the ray crosses.
fn field(params: &EyeballingParams) -> [f64; 4] {
    let margin = params.margin();
    let [width, height] = params.canvas().map(f64::from);
    [margin, margin, width - margin, height - margin]
}

fn in_field(params: &EyeballingParams, dice: &mut Dice) -> Vec2 {
    let [left, top, right, bottom] = field(params);
    [dice.between(left, right), dice.between(top, bottom)]
}

/// Distance of a point from a line through points.
fn path_distance(point: Vec2, path: &[Vec2]) -> f64 {
    let parts = path.windows(2);
    parts
        .map(|part| segment_distance(point, part[0], part[1]))
        .fold(f64::INFINITY, f64::min)
}

/// The way of a ray: start, mirrors, edge of the field.
///
/// # Errors
/// [`crate::PuzzleError::BadScene`] when it takes too few or too many mirrors or nearly misses one.
fn trace(params: &RayParams, mirrors: &[[Vec2; 2]], start: Vec2, aim: Vec2) -> Result<Vec<Vec2>> {
    let common = &params.common;
    let mut path = vec![start];
    let mut toward = unit(sub(aim, start));
    let mut last = None;
    loop {
        let here = path[path.len() - 1];
        let hits = (0..mirrors.len())
            .filter(|at| last != Some(*at))
            .filter_map(|at| hit(here, toward, mirrors[at]).map(|(far, share)| (at, far, share)));
        let hit = hits.min_by(|a, b| a.1.total_cmp(&b.1));
        let there = match hit {
            Some((_, far, _)) => add(here, scale(toward, far)),
            None => add(here, scale(toward, way_out(common, here, toward))),
        };
        let misses = mirrors.iter().enumerate().all(|(at, ends)| {
            let touched = last == Some(at) || hit.is_some_and(|hit| hit.0 == at);
            touched
                || ends.iter().all(|end| {
                    // Most are far from the whole line.
                    cross(toward, sub(*end, here)).abs() >= MISS
                        || segment_distance(*end, here, there) >= MISS
                })
        });
        require(misses, "the ray nearly touches the end of a mirror")?;
        path.push(there);
        let Some((at, _, share)) = hit else { break };
        require(
            path.len() - 1 <= params.bounces_max,
            "too many mirrors throw the ray back",
        )?;
        let [a, b] = mirrors[at];
        let along = sub(b, a);
        let steep = cross(toward, along).abs() >= FLAT * length(along);
        require(
            steep && (TIP..=1.0 - TIP).contains(&share),
            "the ray meets a mirror too flat or too near its end",
        )?;
        // The direction mirrored in the mirror's.
        toward = unit(mirror(toward, [0.0; 2], along));
        last = Some(at);
    }
    let bounces = path.len() - 2;
    require(
        bounces >= params.bounces_min,
        "too few mirrors throw the ray back",
    )?;
    Ok(path)
}

/// Where a ray meets a mirror: distance, and share of the mirror.
fn hit(from: Vec2, toward: Vec2, [a, b]: [Vec2; 2]) -> Option<(f64, f64)> {
    let along = sub(b, a);
    let spread = cross(toward, along);
    let far = cross(sub(a, from), along) / spread;
    let share = cross(sub(a, from), toward) / spread;
    (far > 0.0 && far.is_finite() && (0.0..=1.0).contains(&share)).then_some((far, share))
}

/// Distance to the edge of the field.
fn way_out(params: &EyeballingParams, from: Vec2, toward: Vec2) -> f64 {
    let [left, top, right, bottom] = field(params);
    let edges = [[left, right], [top, bottom]];
    let ways = (0..2).flat_map(|axis| {
        edges[axis]
            .into_iter()
            .map(move |edge| (edge - from[axis]) / toward[axis])
    });
    // The start lies on an edge: that one is behind or at nil.
    ways.filter(|way| way.is_finite() && *way > 1e-6)
        .fold(f64::INFINITY, f64::min)
        .min(dot(
            [right - left, bottom - top],
            [right - left, bottom - top],
        ))
}
