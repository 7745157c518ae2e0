//! circle_tangent_line: which candidate lies on the tangent at a point of a circle?

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke};
use crate::error::Result;
use crate::eyeballing::fan::{
    Figure, LineParams, anchor_picks, half_difficult, index_on_line, stage,
};
use crate::eyeballing::plane::{Vec2, normal, sub};
use crate::eyeballing::sheet::{
    Sheet, Wording, draw_noise_seed, marker_rule, require, require_inside, solved_choice,
};
use crate::eyeballing::{Candidate, distance, require_legible};
use crate::judge::PictureRule;
use crate::record::{Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct CircleTangentLine;

/// Geometry. Pixels, y down. The circle passes through the contact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CircleTangentLineScene {
    /// Middle of the circle; not drawn.
    pub center: Vec2,
    /// The point of the circle where the line touches; a small ring.
    pub contact: Vec2,
    /// Points to choose from.
    pub candidates: Vec<Candidate>,
    /// Seed of the noise; 0 without noise.
    pub noise_seed: u32,
}

/// Radius, as a share of the side.
const RADIUS: [f64; 2] = [0.1, 0.2];

impl CircleTangentLine {
    fn figure(params: &LineParams, dice: &mut Dice) -> Figure {
        let common = &params.common;
        let radius = common.side() * dice.between(RADIUS[0], RADIUS[1]);
        let sign = if dice.chance(0.5) { 1.0 } else { -1.0 };
        let center = [0.0, sign * radius];
        Figure {
            spokes: params.spokes(),
            points: vec![center],
            rooms: vec![
                (center, radius + common.line_width),
                ([0.0; 2], common.ring_radius()),
            ],
        }
    }
}

impl Task for CircleTangentLine {
    type Params = LineParams;
    type Scene = CircleTangentLineScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "circle_tangent_line",
            group: TaskGroup::Eyeballing,
            version: 2,
            about: "Pick the candidate on the tangent at a point of a circle.",
        }
    }

    fn build(&self, params: &LineParams, dice: &mut Dice) -> Result<CircleTangentLineScene> {
        let noise_seed = draw_noise_seed(&params.common, dice);
        stage(
            Task::info(self).name,
            &params.common,
            dice,
            |dice| Self::figure(params, dice),
            |fan, points| CircleTangentLineScene {
                center: points[0],
                contact: fan.anchor,
                candidates: fan.candidates.clone(),
                noise_seed,
            },
            |scene| self.solve(params, scene).is_ok(),
            |scene| anchor_picks(&scene.candidates, &[scene.center, scene.contact]),
        )
    }

    fn solve(&self, params: &LineParams, scene: &CircleTangentLineScene) -> Result<Solved> {
        let common = &params.common;
        let (contact, candidates) = (scene.contact, &scene.candidates);
        require_legible(common, candidates)?;
        let radius = distance(scene.center, contact);
        let drawn = radius + common.line_width / 2.0;
        require_inside(
            common,
            &[(scene.center, drawn), (contact, common.ring_radius())],
        )?;
        require(
            radius >= RADIUS[0] * common.side() - 1.0,
            "the circle is too small",
        )?;
        // All outside: inside, a candidate could be dropped at a glance.
        let outside = candidates
            .iter()
            .all(|one| distance(one.at(), scene.center) >= radius + common.stroke_clearance());
        require(outside, "a candidate touches the circle or lies inside it")?;
        let along = normal(sub(contact, scene.center));
        let (answer, off) = index_on_line(common, candidates, contact, along)?;
        let measures = [off, half_difficult(candidates, answer, contact)];
        let mut solved = solved_choice(common, candidates, answer, measures);
        solved.construction.push(Stroke::Line {
            points: vec![contact, candidates[answer].at()],
            width: common.construction_width(),
            color: common.theme.construction(),
        });
        Ok(solved)
    }

    fn options(
        &self,
        params: &LineParams,
        _: &CircleTangentLineScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(params.common.labels.labels(params.common.candidates))
    }

    fn prompts(&self, params: &LineParams, _: &Solved, options: &[String]) -> Prompts {
        Wording {
            figure: format!(
                "The picture shows a circle with a small empty ring on its outline, and discs \
                 marked {}. Imagine the straight line that touches the circle at the ring. It \
                 passes through the middle of exactly one disc.",
                options.join(", ")
            ),
            question: "Which one?",
            edit: "Draw this tangent from the ring to the disc on it, outline that disc in red, \
                   and leave the rest of the picture as it is.",
            film: "A thin line grows out of the ring along the circle's tangent; when it has \
                   reached a disc, that disc gets a red outline.",
        }
        .prompts(&params.common)
    }

    fn paint(
        &self,
        params: &LineParams,
        scene: &CircleTangentLineScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let common = &params.common;
        let sheet = Sheet {
            params: common,
            candidates: &scene.candidates,
            rings: &[(scene.contact, common.ring_radius())],
            noise_seed: scene.noise_seed,
        };
        let radius = distance(scene.center, scene.contact);
        sheet.paint(solved, layer, |canvas| {
            let [ink, page] = [common.theme.ink(), common.theme.page()];
            canvas.ring(scene.center, radius, common.line_width, ink, page);
        })
    }

    fn picture_rule(
        &self,
        params: &LineParams,
        scene: &CircleTangentLineScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        Ok(marker_rule(&scene.candidates, params.common.disc_radius()))
    }
}
