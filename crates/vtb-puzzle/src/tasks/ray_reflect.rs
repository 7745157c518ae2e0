//! ray_reflect: which candidate does a ray hit after a mirror?

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke};
use crate::error::Result;
use crate::eyeballing::fan::{
    Figure, LineParams, anchor_picks, half_difficult, index_on_ray, stage,
};
use crate::eyeballing::plane::{
    Vec2, dot, length, lerp, line_distance, mirror, scale, sub, turn, unit,
};
use crate::eyeballing::sheet::{
    Sheet, Wording, draw_noise_seed, marker_rule, require, require_clear, require_inside,
    solved_choice,
};
use crate::eyeballing::{Candidate, distance, require_legible};
use crate::judge::PictureRule;
use crate::record::{Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct RayReflect;

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RayReflectScene {
    /// Ends of the mirror.
    pub mirror: [Vec2; 2],
    /// Where the ray starts; a small ring.
    pub source: Vec2,
    /// Where the ray meets the mirror; not drawn.
    pub hit: Vec2,
    /// Points to choose from.
    pub candidates: Vec<Candidate>,
    /// Seed of the noise; 0 without noise.
    pub noise_seed: u32,
}

/// Length of the mirror on either side of the hit, distance of the source, shares of the side.
const WING: [f64; 2] = [0.12, 0.2];
const SOURCE: [f64; 2] = [0.22, 0.34];
/// Tangents of half the angle between mirror and ray: 32 to 70 degrees.
const SLOPES: [f64; 2] = [0.287, 0.7];
/// Cosines of the angle between mirror and ray, a little beyond those ends.
const COSINES: [f64; 2] = [0.335, 0.855];
/// Share of the way to the mirror that is drawn.
const DRAWN: f64 = 0.55;

impl RayReflect {
    fn figure(params: &LineParams, dice: &mut Dice) -> Figure {
        let common = &params.common;
        let side = common.side();
        let slope = dice.between(SLOPES[0], SLOPES[1]);
        let slope = if dice.chance(0.5) { slope } else { -slope };
        let out = [1.0, 0.0];
        let along = turn(out, slope);
        // Where the ray comes from: its way out, mirrored in the mirror's normal.
        let from = sub(out, scale(along, 2.0 * dot(out, along)));
        let along = scale(along, if dice.chance(0.5) { 1.0 } else { -1.0 });
        let mut wing = || side * dice.between(WING[0], WING[1]);
        let ends = [scale(along, -wing()), scale(along, wing())];
        let source = scale(from, side * dice.between(SOURCE[0], SOURCE[1]));
        let mut rooms: Vec<_> = ends.iter().map(|end| (*end, common.line_width)).collect();
        rooms.push((source, common.ring_radius()));
        Figure {
            spokes: params.spokes(),
            points: vec![ends[0], ends[1], source],
            rooms,
        }
    }
}

impl Task for RayReflect {
    type Params = LineParams;
    type Scene = RayReflectScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "ray_reflect",
            group: TaskGroup::Eyeballing,
            version: 2,
            about: "Pick the candidate that a ray hits after one mirror.",
        }
    }

    fn build(&self, params: &LineParams, dice: &mut Dice) -> Result<RayReflectScene> {
        let noise_seed = draw_noise_seed(&params.common, dice);
        stage(
            Task::info(self).name,
            &params.common,
            dice,
            |dice| Self::figure(params, dice),
            |fan, points| RayReflectScene {
                mirror: [points[0], points[1]],
                source: points[2],
                hit: fan.anchor,
                candidates: fan.candidates.clone(),
                noise_seed,
            },
            |scene| self.solve(params, scene).is_ok(),
            |scene| {
                anchor_picks(
                    &scene.candidates,
                    &[scene.mirror[0], scene.mirror[1], scene.source, scene.hit],
                )
            },
        )
    }

    fn solve(&self, params: &LineParams, scene: &RayReflectScene) -> Result<Solved> {
        let common = &params.common;
        let (hit, source, candidates) = (scene.hit, scene.source, &scene.candidates);
        require_legible(common, candidates)?;
        let [start, end] = scene.mirror;
        let half = common.line_width / 2.0;
        let ring = common.ring_radius();
        require_inside(common, &[(source, ring), (start, half), (end, half)])?;
        require(
            [start, end]
                .iter()
                .all(|tip| distance(*tip, hit) >= WING[0] * common.side() - 1.0),
            "the ray meets the mirror too near its end",
        )?;
        let between = dot(sub(start, hit), sub(end, hit)) < 0.0;
        require(
            between && line_distance(hit, start, end) <= 0.125,
            "the ray does not meet the mirror where the scene says",
        )?;
        let incoming = sub(hit, source);
        require(
            length(incoming) >= SOURCE[0] * common.side() - 1.0,
            "the ray starts too near the mirror",
        )?;
        let cosine = dot(unit(incoming), unit(sub(end, start))).abs();
        require(
            (COSINES[0]..=COSINES[1]).contains(&cosine),
            "the ray meets the mirror too steeply or too flat",
        )?;
        let drawn = [source, lerp(source, hit, DRAWN)];
        require_clear(common, candidates, &[[start, end], drawn])?;
        // After the mirror the ray runs as if it came from the source's image behind it.
        let outgoing = sub(hit, mirror(source, start, end));
        let (answer, off) = index_on_ray(common, candidates, hit, outgoing)?;
        let measures = [off, half_difficult(candidates, answer, hit)];
        let mut solved = solved_choice(common, candidates, answer, measures);
        solved.construction.push(Stroke::Line {
            points: vec![drawn[1], hit, candidates[answer].at()],
            width: common.construction_width(),
            color: common.theme.construction(),
        });
        Ok(solved)
    }

    fn options(
        &self,
        params: &LineParams,
        _: &RayReflectScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(params.common.labels.labels(params.common.candidates))
    }

    fn prompts(&self, params: &LineParams, _: &Solved, options: &[String]) -> Prompts {
        Wording {
            figure: format!(
                "The picture shows a thick straight mirror, the first part of a thin light ray \
                 that starts at a small empty ring and runs straight on to the mirror, and discs \
                 marked {}. The mirror throws the ray back at the angle at which it came. After \
                 that the ray passes through the middle of exactly one disc.",
                options.join(", ")
            ),
            question: "Which one?",
            edit: "Draw the rest of the ray to the mirror and from there to the disc it meets, \
                   outline this disc in red, and leave the rest of the picture as it is.",
            film: "The ray grows on to the mirror and, thrown back, away from it; when it has \
                   reached a disc, that disc gets a red outline.",
        }
        .prompts(&params.common)
    }

    fn paint(
        &self,
        params: &LineParams,
        scene: &RayReflectScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let common = &params.common;
        let sheet = Sheet {
            params: common,
            candidates: &scene.candidates,
            rings: &[(scene.source, common.ring_radius())],
            noise_seed: scene.noise_seed,
        };
        let drawn = [scene.source, lerp(scene.source, scene.hit, DRAWN)];
        sheet.paint(solved, layer, |canvas| {
            let ink = common.theme.ink();
            canvas.polyline(&scene.mirror, common.line_width, ink);
            canvas.polyline(&drawn, common.construction_width(), ink);
        })
    }

    fn picture_rule(
        &self,
        params: &LineParams,
        scene: &RayReflectScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        Ok(marker_rule(&scene.candidates, params.common.disc_radius()))
    }
}
