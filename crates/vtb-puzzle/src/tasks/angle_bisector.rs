//! angle_bisector: which candidate lies on the line that halves an angle?

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke};
use crate::error::Result;
use crate::eyeballing::fan::{
    Figure, LineParams, anchor_picks, half_difficult, index_on_ray, stage,
};
use crate::eyeballing::plane::{Vec2, add, cross, dot, length, scale, sub, turn, unit};
use crate::eyeballing::sheet::{
    Sheet, Wording, draw_noise_seed, marker_rule, require, require_clear, require_inside,
    solved_choice,
};
use crate::eyeballing::{Candidate, require_legible};
use crate::judge::PictureRule;
use crate::record::{Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct AngleBisector;

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AngleBisectorScene {
    /// Where the two arms meet.
    pub vertex: Vec2,
    /// Far ends of the arms.
    pub ends: [Vec2; 2],
    /// Points to choose from.
    pub candidates: Vec<Candidate>,
    /// Seed of the noise; 0 without noise.
    pub noise_seed: u32,
}

/// Tangents of a quarter of the opening: 73 to 150 degrees.
const SLOPES: [f64; 2] = [0.33, 0.767];
/// Cosines of the opening, a little beyond those ends.
const COSINES: [f64; 2] = [-0.87, 0.3];
/// Length of an arm over the least distance of a candidate.
const ARMS: [f64; 2] = [0.3, 0.85];

impl AngleBisector {
    fn figure(params: &LineParams, dice: &mut Dice) -> Figure {
        let spokes = params.spokes();
        let slope = dice.between(SLOPES[0], SLOPES[1]);
        let slope = if dice.chance(0.5) { slope } else { -slope };
        let points: Vec<_> = [slope, -slope]
            .map(|slope| {
                let arm = spokes.lengths[0] * dice.between(ARMS[0], ARMS[1]);
                scale(turn([1.0, 0.0], slope), arm)
            })
            .into();
        let width = params.common.line_width;
        let rooms = points.iter().map(|end| (*end, width)).collect();
        Figure {
            spokes,
            points,
            rooms,
        }
    }

    /// Picks of solvers that do not halve the angle.
    ///
    /// The arms' middle lies on the answer's side of the corner, so unless scenes are chosen the
    /// answer is the candidate nearest to it in 24 of 100 puzzles. And the candidates between the
    /// arms have the answer in their middle more often than all of them.
    fn lazy(scene: &AngleBisectorScene) -> Vec<usize> {
        let candidates = &scene.candidates;
        let [a, b] = scene.ends.map(|end| unit(sub(end, scene.vertex)));
        let toward = |at: usize| unit(sub(candidates[at].at(), scene.vertex));
        let axis = unit(add(a, b));
        let aside = |at: usize| cross(axis, toward(at));
        let mut between: Vec<_> = (0..candidates.len())
            .filter(|at| dot(axis, toward(*at)) > dot(axis, a))
            .collect();
        between.sort_by(|one, other| aside(*one).total_cmp(&aside(*other)));
        let [one, other] = scene.ends;
        let mut picks = anchor_picks(candidates, &[scene.vertex, one, other]);
        picks.push(between.get(between.len() / 2).copied().unwrap_or(0));
        picks
    }
}

impl Task for AngleBisector {
    type Params = LineParams;
    type Scene = AngleBisectorScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "angle_bisector",
            group: TaskGroup::Eyeballing,
            version: 2,
            about: "Pick the candidate on the line that halves an angle.",
        }
    }

    fn build(&self, params: &LineParams, dice: &mut Dice) -> Result<AngleBisectorScene> {
        let noise_seed = draw_noise_seed(&params.common, dice);
        stage(
            Task::info(self).name,
            &params.common,
            dice,
            |dice| Self::figure(params, dice),
            |fan, points| AngleBisectorScene {
                vertex: fan.anchor,
                ends: [points[0], points[1]],
                candidates: fan.candidates.clone(),
                noise_seed,
            },
            |scene| self.solve(params, scene).is_ok(),
            Self::lazy,
        )
    }

    fn solve(&self, params: &LineParams, scene: &AngleBisectorScene) -> Result<Solved> {
        let common = &params.common;
        let (vertex, candidates) = (scene.vertex, &scene.candidates);
        require_legible(common, candidates)?;
        let [one, other] = scene.ends;
        let half = common.line_width / 2.0;
        require_inside(common, &[(vertex, half), (one, half), (other, half)])?;
        require_clear(common, candidates, &[[vertex, one], [vertex, other]])?;
        let arms = [sub(one, vertex), sub(other, vertex)];
        let least = ARMS[0] * params.spokes().lengths[0] - 1.0;
        require(
            arms.iter().all(|arm| length(*arm) >= least),
            "an arm is too short",
        )?;
        let [a, b] = arms.map(unit);
        require(
            (COSINES[0]..=COSINES[1]).contains(&dot(a, b)),
            "the angle is too narrow or too wide",
        )?;
        let (answer, off) = index_on_ray(common, candidates, vertex, add(a, b))?;
        let measures = [off, half_difficult(candidates, answer, vertex)];
        let mut solved = solved_choice(common, candidates, answer, measures);
        solved.construction.push(Stroke::Line {
            points: vec![vertex, candidates[answer].at()],
            width: common.construction_width(),
            color: common.theme.construction(),
        });
        Ok(solved)
    }

    fn options(
        &self,
        params: &LineParams,
        _: &AngleBisectorScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(params.common.labels.labels(params.common.candidates))
    }

    fn prompts(&self, params: &LineParams, _: &Solved, options: &[String]) -> Prompts {
        Wording {
            figure: format!(
                "The picture shows two straight arms that start at one corner, and discs marked \
                 {}. Imagine the ray from the corner that cuts the angle between the arms into \
                 two equal halves. It passes through the middle of exactly one disc.",
                options.join(", ")
            ),
            question: "Which one?",
            edit: "Draw that ray from the corner as far as the disc on it, outline this disc in \
                   red, and leave the rest of the picture as it is.",
            film: "A thin line grows out of the corner and halves the angle; when it has reached \
                   a disc, that disc gets a red outline.",
        }
        .prompts(&params.common)
    }

    fn paint(
        &self,
        params: &LineParams,
        scene: &AngleBisectorScene,
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
        let [one, other] = scene.ends;
        sheet.paint(solved, layer, |canvas| {
            let angle = [one, scene.vertex, other];
            canvas.polyline(&angle, common.line_width, common.theme.ink());
        })
    }

    fn picture_rule(
        &self,
        params: &LineParams,
        scene: &AngleBisectorScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        Ok(marker_rule(&scene.candidates, params.common.disc_radius()))
    }
}
