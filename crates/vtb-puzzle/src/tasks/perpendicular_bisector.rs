//! perpendicular_bisector: which candidate is equally far from both ends of a segment?

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke};
use crate::error::Result;
use crate::eyeballing::fan::{
    Figure, LineParams, anchor_picks, half_difficult, index_on_line, stage,
};
use crate::eyeballing::plane::{Vec2, length, lerp, normal, sub};
use crate::eyeballing::sheet::{
    Sheet, Wording, draw_noise_seed, marker_rule, require, require_clear, require_inside,
    solved_choice,
};
use crate::eyeballing::{Candidate, require_legible};
use crate::judge::PictureRule;
use crate::record::{Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct PerpendicularBisector;

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerpendicularBisectorScene {
    /// The segment; a ring stands at either end.
    pub segment: [Vec2; 2],
    /// Points to choose from.
    pub candidates: Vec<Candidate>,
    /// Seed of the noise; 0 without noise.
    pub noise_seed: u32,
}

/// Half the segment, as a share of the side.
const HALF: [f64; 2] = [0.13, 0.21];

impl PerpendicularBisector {
    fn figure(params: &LineParams, dice: &mut Dice) -> Figure {
        let common = &params.common;
        let half = common.side() * dice.between(HALF[0], HALF[1]);
        let points = vec![[0.0, -half], [0.0, half]];
        let rooms = points.iter().map(|end| (*end, common.ring_radius()));
        Figure {
            spokes: params.spokes(),
            rooms: rooms.collect(),
            points,
        }
    }
}

impl Task for PerpendicularBisector {
    type Params = LineParams;
    type Scene = PerpendicularBisectorScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "perpendicular_bisector",
            group: TaskGroup::Eyeballing,
            version: 2,
            about: "Pick the candidate that is equally far from both ends of a segment.",
        }
    }

    fn build(&self, params: &LineParams, dice: &mut Dice) -> Result<PerpendicularBisectorScene> {
        let noise_seed = draw_noise_seed(&params.common, dice);
        stage(
            Task::info(self).name,
            &params.common,
            dice,
            |dice| Self::figure(params, dice),
            |fan, points| PerpendicularBisectorScene {
                segment: [points[0], points[1]],
                candidates: fan.candidates.clone(),
                noise_seed,
            },
            |scene| self.solve(params, scene).is_ok(),
            |scene| anchor_picks(&scene.candidates, &scene.segment),
        )
    }

    fn solve(&self, params: &LineParams, scene: &PerpendicularBisectorScene) -> Result<Solved> {
        let common = &params.common;
        let candidates = &scene.candidates;
        require_legible(common, candidates)?;
        let [start, end] = scene.segment;
        let ring = common.ring_radius();
        require_inside(common, &[(start, ring), (end, ring)])?;
        require_clear(common, candidates, &[[start, end]])?;
        let along = sub(end, start);
        require(
            length(along) >= 2.0 * HALF[0] * common.side() - 1.0,
            "the segment is too short",
        )?;
        let middle = lerp(start, end, 0.5);
        let (answer, off) = index_on_line(common, candidates, middle, normal(along))?;
        let measures = [off, half_difficult(candidates, answer, middle)];
        let mut solved = solved_choice(common, candidates, answer, measures);
        solved.construction.push(Stroke::Line {
            points: vec![middle, candidates[answer].at()],
            width: common.construction_width(),
            color: common.theme.construction(),
        });
        Ok(solved)
    }

    fn options(
        &self,
        params: &LineParams,
        _: &PerpendicularBisectorScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(params.common.labels.labels(params.common.candidates))
    }

    fn prompts(&self, params: &LineParams, _: &Solved, options: &[String]) -> Prompts {
        Wording {
            figure: format!(
                "The picture shows a straight segment with a small empty ring at either end, and \
                 discs marked {}. Imagine the line that cuts the segment in half at a right \
                 angle. It passes through the middle of exactly one disc.",
                options.join(", ")
            ),
            question: "Which one?",
            edit: "Draw that line from the middle of the segment to the disc on it, outline this \
                   disc in red, and leave the rest of the picture as it is.",
            film: "A thin line grows from the middle of the segment at a right angle to it; when \
                   it has reached a disc, that disc gets a red outline.",
        }
        .prompts(&params.common)
    }

    fn paint(
        &self,
        params: &LineParams,
        scene: &PerpendicularBisectorScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let common = &params.common;
        let sheet = Sheet {
            params: common,
            candidates: &scene.candidates,
            rings: &scene.segment.map(|end| (end, common.ring_radius())),
            noise_seed: scene.noise_seed,
        };
        sheet.paint(solved, layer, |canvas| {
            canvas.polyline(&scene.segment, common.line_width, common.theme.ink());
        })
    }

    fn picture_rule(
        &self,
        params: &LineParams,
        scene: &PerpendicularBisectorScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        Ok(marker_rule(&scene.candidates, params.common.disc_radius()))
    }
}
