//! parallel: which candidate lies on the line through a ring that runs parallel to a segment?

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke};
use crate::error::Result;
use crate::eyeballing::fan::{
    Figure, LineParams, anchor_picks, half_difficult, index_on_line, stage,
};
use crate::eyeballing::plane::{Vec2, length, line_distance, sub};
use crate::eyeballing::sheet::{
    Sheet, Wording, draw_noise_seed, marker_rule, require, require_clear, require_inside,
    solved_choice,
};
use crate::eyeballing::{Candidate, require_legible};
use crate::judge::PictureRule;
use crate::record::{Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct Parallel;

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParallelScene {
    /// The segment that gives the direction.
    pub reference: [Vec2; 2],
    /// Middle of the ring through which the line goes.
    pub through: Vec2,
    /// Points to choose from.
    pub candidates: Vec<Candidate>,
    /// Seed of the noise; 0 without noise.
    pub noise_seed: u32,
}

/// Half the segment, its distance from the line and its shift along it, shares of the side.
///
/// Shifted evenly to both sides of the ring, the segment's ends would have the answer as their
/// farthest candidate in 23 of 100 puzzles.
const HALF: [f64; 2] = [0.12, 0.18];
const ASIDE: [f64; 2] = [0.1, 0.2];
const SHIFT: [f64; 2] = [-0.1, 0.4];

impl Parallel {
    fn figure(params: &LineParams, dice: &mut Dice) -> Figure {
        let common = &params.common;
        let side = common.side();
        let half = side * dice.between(HALF[0], HALF[1]);
        let shift = side * dice.between(SHIFT[0], SHIFT[1]);
        let sign = if dice.chance(0.5) { 1.0 } else { -1.0 };
        let aside = sign * side * dice.between(ASIDE[0], ASIDE[1]);
        let half = if dice.chance(0.5) { half } else { -half };
        let points = vec![[shift - half, aside], [shift + half, aside]];
        let mut rooms: Vec<_> = points.iter().map(|end| (*end, common.line_width)).collect();
        rooms.push(([0.0; 2], common.ring_radius()));
        Figure {
            spokes: params.spokes(),
            points,
            rooms,
        }
    }
}

impl Task for Parallel {
    type Params = LineParams;
    type Scene = ParallelScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "parallel",
            group: TaskGroup::Eyeballing,
            version: 2,
            about: "Pick the candidate on the parallel to a segment through a ring.",
        }
    }

    fn build(&self, params: &LineParams, dice: &mut Dice) -> Result<ParallelScene> {
        let noise_seed = draw_noise_seed(&params.common, dice);
        stage(
            Task::info(self).name,
            &params.common,
            dice,
            |dice| Self::figure(params, dice),
            |fan, points| ParallelScene {
                reference: [points[0], points[1]],
                through: fan.anchor,
                candidates: fan.candidates.clone(),
                noise_seed,
            },
            |scene| self.solve(params, scene).is_ok(),
            |scene| {
                anchor_picks(
                    &scene.candidates,
                    &[scene.reference[0], scene.reference[1], scene.through],
                )
            },
        )
    }

    fn solve(&self, params: &LineParams, scene: &ParallelScene) -> Result<Solved> {
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
            length(along) >= 2.0 * HALF[0] * common.side() - 1.0,
            "the segment is too short",
        )?;
        require(
            line_distance(through, start, end) >= ASIDE[0] * common.side() - 1.0,
            "the ring lies too near the segment's line",
        )?;
        let (answer, off) = index_on_line(common, candidates, through, along)?;
        let measures = [off, half_difficult(candidates, answer, through)];
        let mut solved = solved_choice(common, candidates, answer, measures);
        solved.construction.push(Stroke::Line {
            points: vec![through, candidates[answer].at()],
            width: common.construction_width(),
            color: common.theme.construction(),
        });
        Ok(solved)
    }

    fn options(
        &self,
        params: &LineParams,
        _: &ParallelScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(params.common.labels.labels(params.common.candidates))
    }

    fn prompts(&self, params: &LineParams, _: &Solved, options: &[String]) -> Prompts {
        Wording {
            figure: format!(
                "The picture shows a straight segment, a small empty ring apart from it, and \
                 discs marked {}. Imagine the line through the center of the ring that runs \
                 parallel to the segment. It passes through the middle of exactly one disc.",
                options.join(", ")
            ),
            question: "Which one?",
            edit: "Draw the parallel from the ring to the disc on it, outline this disc in red, \
                   and leave the rest of the picture as it is.",
            film: "A thin line grows out of the ring, parallel to the segment; when it has \
                   reached a disc, that disc gets a red outline.",
        }
        .prompts(&params.common)
    }

    fn paint(
        &self,
        params: &LineParams,
        scene: &ParallelScene,
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
        scene: &ParallelScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        Ok(marker_rule(&scene.candidates, params.common.disc_radius()))
    }
}
