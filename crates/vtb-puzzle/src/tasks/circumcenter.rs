//! circumcenter: which candidate is as far from one corner of a triangle as from the others?

use crate::dice::Dice;
use crate::draw::Canvas;
use crate::error::Result;
use crate::eyeballing::distance;
use crate::eyeballing::figure::{Figure, circle_line, require};
use crate::eyeballing::figure_task::{FigureParams, FigureTask, Words};
use crate::eyeballing::plane::Vec2;
use crate::eyeballing::triangle::{Limits, Triangle};
use crate::record::TaskGroup;
use crate::task::TaskInfo;

/// The task.
pub struct Circumcenter;

/// Angles up to 130 degrees.
const LIMITS: Limits = Limits {
    side_min: 0.24,
    widest: [-0.643, 1.0],
};

impl FigureTask for Circumcenter {
    type Given = Triangle;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "circumcenter",
            group: TaskGroup::Eyeballing,
            version: 2,
            about: "Pick the centre of the circle through the corners of a triangle.",
        }
    }

    fn words(&self) -> Words {
        Words {
            shown: "the outline of a triangle and",
            asked: "Imagine the circle that passes through all three corners of the \
                    triangle. Exactly one disc sits at its center.",
            drawn: "the circle through the three corners of the triangle",
            moving: "A thin circle is drawn slowly around the triangle until it has passed \
                    through all three corners.",
        }
    }

    fn kinds(&self) -> usize {
        3
    }

    fn roomiest_of(&self) -> u32 {
        1
    }

    fn is_cramped(&self) -> bool {
        true
    }

    fn sample(&self, params: &FigureParams, kind: usize, dice: &mut Dice) -> Option<Triangle> {
        let center = |one: &Triangle| Some(one.circumcenter());
        // The circle must fit into the frame as well.
        let span = |one: &Triangle| 2.0 * distance(one.circumcenter(), one.corners[0]);
        Triangle::sample_off_mean(params, LIMITS.of_kind(kind), dice, center, span)
    }

    fn shift(&self, given: &Triangle, by: Vec2) -> Triangle {
        given.shift(by)
    }

    fn derive(&self, params: &FigureParams, given: &Triangle) -> Result<Figure> {
        given.keep(params, LIMITS)?;
        let center = given.circumcenter();
        let radius = distance(center, given.corners[0]);
        require(2.0 * radius <= params.frame(), "the circle is too large")?;
        Ok(given.figure(center, vec![circle_line(center, radius)]))
    }

    fn draw(&self, canvas: &mut Canvas, params: &FigureParams, given: &Triangle) {
        given.draw(canvas, params);
    }
}
