//! incenter: which candidate is as far from one side of a triangle as from the others?

use crate::dice::Dice;
use crate::draw::Canvas;
use crate::error::Result;
use crate::eyeballing::figure::{Figure, circle_line};
use crate::eyeballing::figure_task::{FigureParams, FigureTask, Words};
use crate::eyeballing::plane::Vec2;
use crate::eyeballing::triangle::{Limits, Triangle};
use crate::record::TaskGroup;
use crate::task::TaskInfo;

/// The task.
pub struct Incenter;

/// Angles up to 120 degrees.
const LIMITS: Limits = Limits {
    side_min: 0.24,
    widest: [-0.5, 1.0],
};

impl FigureTask for Incenter {
    type Given = Triangle;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "incenter",
            group: TaskGroup::Eyeballing,
            version: 3,
            about: "Pick the centre of the circle that touches the three sides of a triangle from inside.",
        }
    }

    fn words(&self) -> Words {
        Words {
            shown: "the outline of a triangle and",
            asked: "Imagine the largest circle that fits into the triangle: it touches all \
                    three sides. Exactly one disc sits at its center.",
            drawn: "the circle inside the triangle that touches all three sides",
            moving: "A thin circle is drawn slowly inside the triangle; it touches each of \
                    the three sides.",
        }
    }

    fn is_cramped(&self) -> bool {
        true
    }

    fn sample(&self, params: &FigureParams, _: usize, dice: &mut Dice) -> Option<Triangle> {
        Triangle::sample_off_mean(
            params,
            LIMITS,
            dice,
            |one| Some(one.incenter()),
            Triangle::span,
        )
    }

    fn shift(&self, given: &Triangle, by: Vec2) -> Triangle {
        given.shift(by)
    }

    fn derive(&self, params: &FigureParams, given: &Triangle) -> Result<Figure> {
        given.keep(params, LIMITS)?;
        let center = given.incenter();
        Ok(given.figure(center, vec![circle_line(center, given.inradius())]))
    }

    fn draw(&self, canvas: &mut Canvas, params: &FigureParams, given: &Triangle) {
        given.draw(canvas, params);
    }
}
