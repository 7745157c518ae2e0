//! triangle_center: at which candidate do the medians of a triangle meet?

use crate::dice::Dice;
use crate::draw::Canvas;
use crate::error::Result;
use crate::eyeballing::figure::Figure;
use crate::eyeballing::figure_task::{FigureParams, FigureTask, Words};
use crate::eyeballing::plane::{Vec2, lerp};
use crate::eyeballing::triangle::{Limits, Triangle};
use crate::record::TaskGroup;
use crate::task::TaskInfo;

/// The task.
pub struct TriangleCenter;

/// Angles up to 120 degrees.
const LIMITS: Limits = Limits {
    side_min: 0.24,
    widest: [-0.5, 1.0],
};

impl FigureTask for TriangleCenter {
    type Given = Triangle;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "triangle_center",
            group: TaskGroup::Eyeballing,
            version: 2,
            about: "Pick the point where the three medians of a triangle meet.",
        }
    }

    fn words(&self) -> Words {
        Words {
            shown: "the outline of a triangle and",
            asked: "Imagine the three medians of the triangle: each joins a corner with the \
                    middle of the opposite side. They meet at one point, the center of \
                    gravity. Exactly one disc sits there.",
            drawn: "the three medians of the triangle",
            moving: "Three thin lines grow one after another, each from a corner of the \
                    triangle to the middle of the opposite side.",
        }
    }

    fn sample(&self, params: &FigureParams, _: usize, dice: &mut Dice) -> Option<Triangle> {
        Triangle::sample(params, LIMITS, dice)
    }

    fn shift(&self, given: &Triangle, by: Vec2) -> Triangle {
        given.shift(by)
    }

    fn derive(&self, params: &FigureParams, given: &Triangle) -> Result<Figure> {
        given.keep(params, LIMITS)?;
        let [a, b, c] = given.corners;
        let median = |from: Vec2, [one, other]: [Vec2; 2]| vec![from, lerp(one, other, 0.5)];
        let medians = vec![median(a, [b, c]), median(b, [c, a]), median(c, [a, b])];
        Ok(Figure {
            mean_is_target: true,
            ..given.figure(given.centroid(), medians)
        })
    }

    fn draw(&self, canvas: &mut Canvas, params: &FigureParams, given: &Triangle) {
        given.draw(canvas, params);
    }
}
