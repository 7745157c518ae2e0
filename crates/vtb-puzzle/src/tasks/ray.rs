//! ray: which candidate does a ray hit that is thrown about by mirrors?
//!
//! Several rays are sent out from one place among the same mirrors, and a point is taken on a late
//! part of each that no other ray comes near. The rays differ in their first direction only, and
//! any of them can be the one that is asked for: mirrors, start and candidates know nothing of it.

mod light;
mod search;

use serde::{Deserialize, Serialize};

use self::light::{Hall, path_distance};
use self::search::{Stage, draw_stage};
use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Rgb, Stroke};
use crate::error::{PuzzleError, Result};
use crate::eyeballing::plane::{Vec2, add, are_apart, scale, sub, turn};
use crate::eyeballing::sheet::{
    Sheet, Wording, draw_noise_seed, marker_rule, no_scene, require, require_clear, require_inside,
    solved_choice,
};
use crate::eyeballing::{Candidate, EyeballingParams, distance, index_of_answer, require_legible};
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

impl Task for Ray {
    type Params = RayParams;
    type Scene = RayScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "ray",
            group: TaskGroup::Eyeballing,
            version: 2,
            about: "Pick the candidate that a ray hits after several mirrors.",
        }
    }

    fn build(&self, params: &RayParams, dice: &mut Dice) -> Result<RayScene> {
        const TRIES: u32 = 10_000;
        let common = &params.common;
        let noise_seed = draw_noise_seed(common, dice);
        let answer = dice.below(common.candidates);
        for _ in 0..TRIES {
            let Some(stage) = draw_stage(params, dice) else {
                continue;
            };
            let Stage {
                mirrors,
                start,
                mut shots,
            } = stage;
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
        let mut path = Vec::new();
        Hall::new(params, &scene.mirrors)
            .trace(start, aim, &mut path)
            .map_err(|fault| PuzzleError::BadScene(fault.to_owned()))?;
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
