//! ray_intersection: from which candidate do three rays start?

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::Canvas;
use crate::error::{PuzzleError, Result};
use crate::eyeballing::figure::{Figure, Shape, require};
use crate::eyeballing::figure_task::{FigureParams, FigureTask, Words, require_finite};
use crate::eyeballing::plane::{Vec2, add, cross, dot, length, line_distance, meet, scale, sub};
use crate::eyeballing::snap;
use crate::record::TaskGroup;
use crate::task::TaskInfo;

/// The task.
pub struct RayIntersection;

/// The outer parts of three rays. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RayParts {
    /// Near and far end of each.
    pub rays: [[Vec2; 2]; 3],
}

/// Greatest cosine between two rays: 45 degrees.
const COS_MAX: f64 = 0.708;
/// Least sine between the lines of two rays: 25 degrees.
const SIN_MIN: f64 = 0.422;
/// Steps from the common point to the near end of a ray, and from there to its far end. Ends lie a
/// whole number of steps away, so that rounding does not turn a ray.
const NEAR: [i32; 2] = [8, 13];
const LONG: [i32; 2] = [6, 10];

/// Length of a step, pixels.
fn step(params: &FigureParams) -> f64 {
    params.frame() / 46.0
}

impl FigureTask for RayIntersection {
    type Given = RayParts;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "ray_intersection",
            group: TaskGroup::Eyeballing,
            version: 3,
            about: "Pick the point from which three rays start, of which the outer parts are drawn.",
        }
    }

    fn words(&self) -> Words {
        Words {
            shown: "three straight strokes and",
            asked: "The strokes are the outer parts of three rays that start from one common \
                    point. Exactly one disc sits at that point.",
            drawn: "the missing inner part of each ray, from its stroke to the common point",
            moving: "From the inner end of each stroke in turn a thin line grows straight on, until \
                     all three have met.",
        }
    }

    fn is_cramped(&self) -> bool {
        true
    }

    fn sample(&self, params: &FigureParams, _: usize, dice: &mut Dice) -> Option<RayParts> {
        let rays = [0, 1, 2].map(|_| {
            let arm = snap(scale(dice.direction(), step(params)));
            let near = dice.whole(NEAR[0], NEAR[1]);
            let far = near + dice.whole(LONG[0], LONG[1]);
            [near, far].map(|steps| scale(arm, f64::from(steps)))
        });
        Some(RayParts { rays })
    }

    fn shift(&self, given: &RayParts, by: Vec2) -> RayParts {
        RayParts {
            rays: given.rays.map(|ray| ray.map(|end| add(end, by))),
        }
    }

    fn derive(&self, params: &FigureParams, given: &RayParts) -> Result<Figure> {
        let rays = given.rays;
        require_finite(rays.as_flattened())?;
        let ends = rays.map(|[near, far]| sub(far, near));
        let pairs = [[0, 1], [1, 2], [2, 0]];
        let spread = pairs.iter().all(|&[one, other]| {
            let scale = length(ends[one]) * length(ends[other]);
            dot(ends[one], ends[other]) <= COS_MAX * scale
                && cross(ends[one], ends[other]).abs() >= SIN_MIN * scale
        });
        require(spread, "two rays point almost the same way")?;
        let Some(target) = meet(rays[0], rays[1]) else {
            let fault = "two rays are parallel";
            return Err(PuzzleError::BadScene(fault.to_owned()));
        };
        let [third, far] = rays[2];
        let common_point = line_distance(target, third, far) <= 0.05;
        require(common_point, "the rays do not start from one point")?;
        let sound = rays.iter().zip(ends).all(|([near, _], arm)| {
            let (from, along) = (dot(sub(*near, target), arm), length(arm));
            from > 0.0
                && (5.5..=10.5).contains(&(along / step(params)))
                && (7.5..=13.5).contains(&(from / along / step(params)))
        });
        require(sound, "a ray has a wrong length")?;
        Ok(Figure {
            target,
            anchors: rays.as_flattened().to_vec(),
            mean_is_target: false,
            shapes: rays.map(Shape::Line).to_vec(),
            construction: rays.map(|[near, _]| vec![near, target]).to_vec(),
        })
    }

    fn draw(&self, canvas: &mut Canvas, params: &FigureParams, given: &RayParts) {
        let common = &params.common;
        for ray in given.rays {
            canvas.polyline(&ray, common.line_width, common.theme.ink());
        }
    }
}
