//! perpendicular: which candidate lies on the line through a ring at a right angle to a segment?

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke};
use crate::error::Result;
use crate::eyeballing::fan::{
    Figure, LineParams, anchor_picks, half_difficult, index_on_line, least_by, stage,
};
use crate::eyeballing::plane::{Vec2, dot, foot, length, lerp, line_distance, normal, sub};
use crate::eyeballing::sheet::{
    Sheet, Wording, draw_noise_seed, marker_rule, require, require_clear, require_inside,
    solved_choice,
};
use crate::eyeballing::{Candidate, distance, require_legible};
use crate::judge::PictureRule;
use crate::record::{Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct Perpendicular;

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerpendicularScene {
    /// The segment to which the line stands at a right angle.
    pub reference: [Vec2; 2],
    /// Middle of the ring through which the line goes; on the segment or apart from it.
    pub through: Vec2,
    /// Points to choose from.
    pub candidates: Vec<Candidate>,
    /// Seed of the noise; 0 without noise.
    pub noise_seed: u32,
}

/// Length of the segment, distance of the ring from it where it is apart, shares of the side.
const LENGTH: [f64; 2] = [0.3, 0.42];
const APART: [f64; 2] = [0.08, 0.2];
/// Where on the segment the foot of the line lies.
const FOOT: [f64; 2] = [0.08, 0.92];

impl Perpendicular {
    fn figure(params: &LineParams, dice: &mut Dice) -> Figure {
        let common = &params.common;
        let side = common.side();
        let long = side * dice.between(LENGTH[0], LENGTH[1]);
        let share = dice.between(FOOT[0], FOOT[1]);
        let apart = match dice.chance(0.5) {
            true => side * dice.between(APART[0], APART[1]),
            false => 0.0,
        };
        // Behind the ring: the fan never falls on the segment.
        let long = if dice.chance(0.5) { long } else { -long };
        let points = vec![[-apart, -share * long], [-apart, (1.0 - share) * long]];
        let mut rooms: Vec<_> = points.iter().map(|end| (*end, common.line_width)).collect();
        rooms.push(([0.0; 2], common.ring_radius()));
        Figure {
            spokes: params.spokes(),
            points,
            rooms,
        }
    }
}

impl Perpendicular {
    /// Picks of solvers that draw a line from the segment's middle through the ring, or go by
    /// distance or level.
    fn lazy(scene: &PerpendicularScene) -> Vec<usize> {
        let [start, end] = scene.reference;
        let middle = lerp(start, end, 0.5);
        let mut picks = anchor_picks(&scene.candidates, &[start, end, scene.through]);
        picks.push(least_by(&scene.candidates, |at| {
            line_distance(at, middle, scene.through)
        }));
        picks
    }
}

impl Task for Perpendicular {
    type Params = LineParams;
    type Scene = PerpendicularScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "perpendicular",
            group: TaskGroup::Eyeballing,
            version: 3,
            about: "Pick the candidate on the perpendicular to a segment through a ring.",
        }
    }

    fn build(&self, params: &LineParams, dice: &mut Dice) -> Result<PerpendicularScene> {
        let noise_seed = draw_noise_seed(&params.common, dice);
        stage(
            Task::info(self).name,
            &params.common,
            dice,
            |dice| Self::figure(params, dice),
            |fan, points| PerpendicularScene {
                reference: [points[0], points[1]],
                through: fan.anchor,
                candidates: fan.candidates.clone(),
                noise_seed,
            },
            |scene| self.solve(params, scene).is_ok(),
            Self::lazy,
        )
    }

    fn solve(&self, params: &LineParams, scene: &PerpendicularScene) -> Result<Solved> {
        let common = &params.common;
        let (through, candidates) = (scene.through, &scene.candidates);
        require_legible(common, candidates)?;
        let [start, end] = scene.reference;
        let half = common.line_width / 2.0;
        let ring = common.ring_radius();
        require_inside(common, &[(through, ring), (start, half), (end, half)])?;
        require_clear(common, candidates, &[[start, end]])?;
        let along = sub(end, start);
        require(
            length(along) >= LENGTH[0] * common.side() - 1.0,
            "the segment is too short",
        )?;
        let share = dot(sub(through, start), along) / dot(along, along);
        require(
            (FOOT[0] - 0.01..=FOOT[1] + 0.01).contains(&share),
            "the line does not meet the segment itself",
        )?;
        let base = foot(through, start, end);
        let apart = distance(base, through);
        require(
            apart <= 0.125 || apart >= APART[0] * common.side() - 1.0,
            "the ring is neither on the segment nor well apart",
        )?;
        let (answer, off) = index_on_line(common, candidates, through, normal(along))?;
        let measures = [off, half_difficult(candidates, answer, through)];
        let mut solved = solved_choice(common, candidates, answer, measures);
        solved.construction.push(Stroke::Line {
            points: vec![base, candidates[answer].at()],
            width: common.construction_width(),
            color: common.theme.construction(),
        });
        Ok(solved)
    }

    fn options(
        &self,
        params: &LineParams,
        _: &PerpendicularScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(params.common.labels.labels(params.common.candidates))
    }

    fn prompts(&self, params: &LineParams, _: &Solved, options: &[String]) -> Prompts {
        Wording {
            figure: format!(
                "The picture shows a straight segment, a small empty ring, and discs marked {}. \
                 Imagine the line through the center of the ring that meets the segment at a \
                 right angle. It passes through the middle of exactly one disc.",
                options.join(", ")
            ),
            question: "Which one?",
            edit: "Draw this perpendicular from the segment through the ring to the disc on it, \
                   outline that disc in red, and leave the rest of the picture as it is.",
            film: "A thin line grows from the segment through the ring, at a right angle to the \
                   segment; when it has reached a disc, that disc gets a red outline.",
        }
        .prompts(&params.common)
    }

    fn paint(
        &self,
        params: &LineParams,
        scene: &PerpendicularScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let common = &params.common;
        let sheet = Sheet {
            params: common,
            candidates: &scene.candidates,
            rings: &[(scene.through, common.ring_radius())],
            noise_seed: scene.noise_seed,
        };
        sheet.paint(solved, layer, |canvas| {
            canvas.polyline(&scene.reference, common.line_width, common.theme.ink());
        })
    }

    fn picture_rule(
        &self,
        params: &LineParams,
        scene: &PerpendicularScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        Ok(marker_rule(&scene.candidates, params.common.disc_radius()))
    }
}
