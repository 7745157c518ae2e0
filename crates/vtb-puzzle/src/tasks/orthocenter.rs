//! orthocenter: at which candidate do the altitudes of a triangle meet?

use crate::dice::Dice;
use crate::draw::Canvas;
use crate::error::Result;
use crate::eyeballing::figure::Figure;
use crate::eyeballing::figure_task::{FigureParams, FigureTask, Words};
use crate::eyeballing::plane::{Vec2, dot, foot, sub};
use crate::eyeballing::triangle::{Limits, Triangle, span};
use crate::record::TaskGroup;
use crate::task::TaskInfo;

/// The task.
pub struct Orthocenter;

/// Angles up to 120 degrees.
const LIMITS: Limits = Limits {
    side_min: 0.24,
    widest: [-0.5, 1.0],
};

impl FigureTask for Orthocenter {
    type Given = Triangle;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "orthocenter",
            group: TaskGroup::Eyeballing,
            version: 3,
            about: "Pick the point where the three altitudes of a triangle meet.",
        }
    }

    fn words(&self) -> Words {
        Words {
            shown: "the outline of a triangle and",
            asked: "Imagine, through each corner of the triangle, the straight line that is \
                    perpendicular to the opposite side (the altitude, made longer where \
                    needed). The three lines meet at one point. Exactly one disc sits there.",
            drawn: "the three altitudes of the triangle up to the point where they meet",
            moving: "Three thin lines grow one after another, each through a corner of the \
                    triangle and perpendicular to the opposite side, until they have met.",
        }
    }

    fn kinds(&self) -> usize {
        3
    }

    fn is_cramped(&self) -> bool {
        true
    }

    fn sample(&self, params: &FigureParams, kind: usize, dice: &mut Dice) -> Option<Triangle> {
        let center = |one: &Triangle| Some(one.orthocenter());
        // The altitudes must fit into the frame as well.
        let span = |one: &Triangle| span(one.corners.into_iter().chain([one.orthocenter()]));
        Triangle::sample_off_mean(params, LIMITS.of_kind(kind), dice, center, span)
    }

    fn shift(&self, given: &Triangle, by: Vec2) -> Triangle {
        given.shift(by)
    }

    fn derive(&self, params: &FigureParams, given: &Triangle) -> Result<Figure> {
        given.keep(params, LIMITS)?;
        let center = given.orthocenter();
        let lines = [0, 1, 2].map(|at: usize| altitude(given, at, center));
        Ok(given.figure(center, lines.to_vec()))
    }

    fn draw(&self, canvas: &mut Canvas, params: &FigureParams, given: &Triangle) {
        given.draw(canvas, params);
    }
}

/// The part of an altitude from the foremost to the last of corner, foot and meeting point.
fn altitude(given: &Triangle, at: usize, center: Vec2) -> Vec<Vec2> {
    let [corner, next, last] = [0, 1, 2].map(|step| given.corners[(at + step) % 3]);
    let base = foot(corner, next, last);
    let along = sub(base, corner);
    let mut points = [corner, base, center];
    points.sort_by(|a, b| dot(*a, along).total_cmp(&dot(*b, along)));
    vec![points[0], points[2]]
}
