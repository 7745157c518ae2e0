//! circle_tangent_point: at which candidate does a tangent from a point outside touch a circle?
//!
//! Two tangents start at the point; only one of them touches the circle at a candidate.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke};
use crate::error::Result;
use crate::eyeballing::fan::{Figure, Spokes, stage};
use crate::eyeballing::plane::{Vec2, add, normal, scale, sub, unit};
use crate::eyeballing::sheet::{
    Sheet, Wording, draw_noise_seed, marker_rule, require, require_inside, solved_choice,
};
use crate::eyeballing::{Candidate, EyeballingParams, distance, index_of_answer, require_legible};
use crate::judge::PictureRule;
use crate::params::{Optional, Params, within};
use crate::record::{Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct CircleTangentPoint;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CircleTangentPointParams {
    /// What all eyeballing tasks have.
    #[serde(flatten)]
    pub common: EyeballingParams,
    /// Least radius of the circle, as a share of the shorter side (default 0.2).
    pub radius_min: f64,
    /// Greatest radius of the circle, likewise (default 0.27).
    pub radius_max: f64,
}

impl Default for CircleTangentPointParams {
    fn default() -> Self {
        Self {
            common: EyeballingParams::default(),
            radius_min: 0.2,
            radius_max: 0.27,
        }
    }
}

impl Params for CircleTangentPointParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()?;
        within("radius_min", self.radius_min, 0.1, 0.35)?;
        within("radius_max", self.radius_max, self.radius_min, 0.35)
    }

    fn optional() -> Optional {
        EyeballingParams::OPTIONAL
    }
}

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CircleTangentPointScene {
    /// Middle of the circle; not drawn.
    pub center: Vec2,
    /// Radius of the circle.
    pub radius: f64,
    /// The point where the tangent starts; a small ring.
    pub outside: Vec2,
    /// Points to choose from, on the circle.
    pub candidates: Vec<Candidate>,
    /// Seed of the noise; 0 without noise.
    pub noise_seed: u32,
}

/// Length of the tangent over the radius.
const TANGENT: [f64; 2] = [1.1, 2.0];

impl CircleTangentPoint {
    fn figure(params: &CircleTangentPointParams, dice: &mut Dice) -> Figure {
        let common = &params.common;
        let radius = common.side() * dice.between(params.radius_min, params.radius_max);
        let radius = (radius * 16.0).round() / 16.0;
        // Either side: the tangent may turn clockwise or the other way.
        let sign = if dice.chance(0.5) { 1.0 } else { -1.0 };
        let outside = [radius, sign * radius * dice.between(TANGENT[0], TANGENT[1])];
        // Neighbours on the circle are as far apart as candidates must be.
        let sine = (common.tolerance() / (2.0 * radius)).min(0.9);
        Figure {
            spokes: Spokes {
                lengths: [radius; 2],
                least_slope: sine / (1.0 - sine * sine).sqrt(),
            },
            points: vec![outside],
            rooms: vec![
                (outside, common.ring_radius()),
                ([0.0; 2], radius + common.line_width),
            ],
        }
    }

    /// The two points of the circle where tangents from outside touch it.
    fn contacts(scene: &CircleTangentPointScene) -> [Vec2; 2] {
        let out = sub(scene.outside, scene.center);
        let square = scene.radius * scene.radius;
        let far = distance(scene.outside, scene.center);
        // The chord of contact stands across the line to the center, at radius² / distance.
        let along = scale(unit(out), square / far);
        let aside = scale(
            normal(unit(out)),
            scene.radius * (1.0 - square / (far * far)).max(0.0).sqrt(),
        );
        let middle = add(scene.center, along);
        [add(middle, aside), sub(middle, aside)]
    }
}

impl Task for CircleTangentPoint {
    type Params = CircleTangentPointParams;
    type Scene = CircleTangentPointScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "circle_tangent_point",
            group: TaskGroup::Eyeballing,
            version: 1,
            about: "Pick the candidate where a tangent from a ring touches a circle.",
        }
    }

    fn build(
        &self,
        params: &CircleTangentPointParams,
        dice: &mut Dice,
    ) -> Result<CircleTangentPointScene> {
        let noise_seed = draw_noise_seed(&params.common, dice);
        stage(
            Task::info(self).name,
            &params.common,
            dice,
            |dice| Self::figure(params, dice),
            |fan, points| {
                let reach = distance(fan.candidates[0].at(), fan.anchor);
                CircleTangentPointScene {
                    center: fan.anchor,
                    radius: (reach * 16.0).round() / 16.0,
                    outside: points[0],
                    candidates: fan.candidates.clone(),
                    noise_seed,
                }
            },
            |scene| self.solve(params, scene).is_ok(),
            |_| Vec::new(),
        )
    }

    fn solve(
        &self,
        params: &CircleTangentPointParams,
        scene: &CircleTangentPointScene,
    ) -> Result<Solved> {
        let common = &params.common;
        let (center, radius, candidates) = (scene.center, scene.radius, &scene.candidates);
        require_legible(common, candidates)?;
        let least = params.radius_min * common.side() - 1.0;
        require(radius >= least, "the circle is too small")?;
        let ring = common.ring_radius();
        let drawn = radius + common.line_width / 2.0;
        require_inside(common, &[(center, drawn), (scene.outside, ring)])?;
        let on_circle = |one: &Candidate| (distance(one.at(), center) - radius).abs() <= 0.125;
        require(
            candidates.iter().all(on_circle),
            "a candidate lies beside the circle",
        )?;
        let room = ring + common.stroke_clearance();
        require(
            distance(scene.outside, center) >= (radius + room).max(1.4 * radius),
            "the ring lies too near the circle",
        )?;
        let contacts = Self::contacts(scene);
        let violation = |one: &Candidate| {
            let [a, b] = contacts.map(|contact| distance(one.at(), contact));
            a.min(b)
        };
        let violations: Vec<_> = candidates.iter().map(violation).collect();
        let (answer, off) = index_of_answer(common, &violations)?;
        let contact = candidates[answer].at();
        let mut solved = solved_choice(common, candidates, answer, [off, 0.4 * radius]);
        for from in [scene.outside, center] {
            solved.construction.push(Stroke::Line {
                points: vec![from, contact],
                width: common.construction_width(),
                color: common.theme.construction(),
            });
        }
        Ok(solved)
    }

    fn options(
        &self,
        params: &CircleTangentPointParams,
        _: &CircleTangentPointScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(params.common.labels.labels(params.common.candidates))
    }

    fn prompts(
        &self,
        params: &CircleTangentPointParams,
        _: &Solved,
        options: &[String],
    ) -> Prompts {
        Wording {
            figure: format!(
                "The picture shows a circle, a small empty ring outside it, and discs marked {} \
                 on the circle's outline. Imagine a straight line from the center of the ring \
                 that just touches the circle. It can touch it in two places, and exactly one \
                 disc stands at such a place.",
                options.join(", ")
            ),
            question: "Which one?",
            edit: "Draw the tangent from the ring to that disc and the radius from the circle's \
                   center to it, outline this disc in red, and leave the rest of the picture as \
                   it is.",
            film: "A thin line grows from the ring until it touches the circle, then another \
                   from the circle's center to the same place; the disc there gets a red outline.",
        }
        .prompts(&params.common)
    }

    fn paint(
        &self,
        params: &CircleTangentPointParams,
        scene: &CircleTangentPointScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let common = &params.common;
        let sheet = Sheet {
            params: common,
            candidates: &scene.candidates,
            rings: &[(scene.outside, common.ring_radius())],
            noise_seed: scene.noise_seed,
        };
        sheet.paint(solved, layer, |canvas| {
            let [ink, page] = [common.theme.ink(), common.theme.page()];
            canvas.ring(scene.center, scene.radius, common.line_width, ink, page);
        })
    }

    fn picture_rule(
        &self,
        params: &CircleTangentPointParams,
        scene: &CircleTangentPointScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        Ok(marker_rule(&scene.candidates, params.common.disc_radius()))
    }
}
