//! fermat_point: from which candidate do the corners of a triangle lie 120 degrees apart?

use crate::dice::Dice;
use crate::draw::Canvas;
use crate::error::{PuzzleError, Result};
use crate::eyeballing::figure::Figure;
use crate::eyeballing::figure_task::{FigureParams, FigureTask, Words};
use crate::eyeballing::plane::Vec2;
use crate::eyeballing::triangle::{Limits, Triangle};
use crate::record::TaskGroup;
use crate::task::TaskInfo;

/// The task.
pub struct FermatPoint;

/// Angles up to 110 degrees: at 120 the point would reach a corner.
const LIMITS: Limits = Limits {
    side_min: 0.24,
    widest: [-0.342, 1.0],
};

impl FigureTask for FermatPoint {
    type Given = Triangle;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "fermat_point",
            group: TaskGroup::Eyeballing,
            version: 3,
            about: "Pick the point whose distances to the corners of a triangle add up to the least.",
        }
    }

    fn words(&self) -> Words {
        Words {
            shown: "the outline of a triangle and",
            asked: "One point inside the triangle has the smallest sum of distances to the \
                    three corners; straight lines from there to the corners make three equal \
                    angles of 120 degrees. Exactly one disc sits there.",
            drawn: "the three straight lines from that point to the corners of the triangle",
            moving: "Three thin lines grow one after another, each from a corner of the \
                    triangle to the point where they meet at equal angles.",
        }
    }

    fn is_cramped(&self) -> bool {
        true
    }

    fn sample(&self, params: &FigureParams, _: usize, dice: &mut Dice) -> Option<Triangle> {
        Triangle::sample_off_mean(params, LIMITS, dice, Triangle::fermat_point, Triangle::span)
    }

    fn shift(&self, given: &Triangle, by: Vec2) -> Triangle {
        given.shift(by)
    }

    fn derive(&self, params: &FigureParams, given: &Triangle) -> Result<Figure> {
        given.keep(params, LIMITS)?;
        let Some(point) = given.fermat_point() else {
            let fault = "an angle of the triangle is 120 degrees or more";
            return Err(PuzzleError::BadScene(fault.to_owned()));
        };
        let lines = given.corners.map(|corner| vec![corner, point]);
        Ok(given.figure(point, lines.to_vec()))
    }

    fn draw(&self, canvas: &mut Canvas, params: &FigureParams, given: &Triangle) {
        given.draw(canvas, params);
    }
}
