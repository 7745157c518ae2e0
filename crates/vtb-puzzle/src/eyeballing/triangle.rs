//! Triangles and their centres.

use serde::{Deserialize, Serialize};

use super::figure::{Figure, Shape, require};
use super::figure_task::{FigureParams, require_finite};
use super::plane::{Vec2, add, cross, dot, length, lerp, line_distance, meet, normal, scale, sub};
use super::{distance, snap};
use crate::dice::Dice;
use crate::draw::Canvas;
use crate::error::Result;

/// A triangle that is given. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Triangle {
    /// In any order.
    pub corners: [Vec2; 3],
}

/// What a triangle must keep, besides angles of 25 degrees or more and an area of 4 % or more of
/// the square over the picture's shorter side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Least side, as a share of the picture's shorter side.
    pub side_min: f64,
    /// Least and greatest cosine of the widest angle.
    pub widest: [f64; 2],
}

impl Limits {
    /// Only acute triangles (`kind` 0) or only obtuse ones: left to chance, one of them would be
    /// rare, because it leaves candidates less room.
    #[must_use]
    pub fn of_kind(self, kind: usize) -> Self {
        let [least, most] = self.widest;
        let widest = match kind {
            0 => [0.0_f64.max(least), most],
            _ => [least, 0.0_f64.min(most)],
        };
        Self { widest, ..self }
    }
}

/// Cosine of 25 degrees.
const COS_MAX: f64 = 0.906_307_787_036_65;
const AREA_MIN: f64 = 0.04;

impl Triangle {
    /// Corners scattered in the frame until the limits are kept; `None` when they never were.
    pub fn sample(params: &FigureParams, limits: Limits, dice: &mut Dice) -> Option<Self> {
        Self::sample_with(params, limits, dice, |_| true)
    }

    /// A sample whose centre has room for candidates about it and lies off the mean of the corners:
    /// beside the mean it would be found by averaging the corners.
    pub fn sample_off_mean(
        params: &FigureParams,
        limits: Limits,
        dice: &mut Dice,
        center: impl Fn(&Self) -> Option<Vec2>,
    ) -> Option<Self> {
        let common = &params.common;
        let off = params.squeeze * common.tolerance() * (1.0 + 0.1 * common.candidates as f64);
        let room = common.disc_radius() + common.line_width + 0.5 * common.cluster_radius();
        Self::sample_with(params, limits, dice, |triangle| {
            let [a, b, c] = triangle.corners;
            let apart = |center: &Vec2| {
                distance(*center, triangle.centroid()) >= off
                    && [[a, b], [b, c], [c, a]]
                        .iter()
                        .all(|[from, to]| line_distance(*center, *from, *to) >= room)
            };
            center(triangle).as_ref().is_some_and(apart)
        })
    }

    fn sample_with(
        params: &FigureParams,
        limits: Limits,
        dice: &mut Dice,
        suits: impl Fn(&Self) -> bool,
    ) -> Option<Self> {
        const TRIES: usize = 10_000;
        let half = params.frame() / 2.0;
        (0..TRIES).find_map(|_| {
            let mut corner = || snap([dice.between(-half, half), dice.between(-half, half)]);
            let corners = [corner(), corner(), corner()];
            let triangle = Self { corners };
            let good = triangle.is_within(params, limits) && suits(&triangle);
            good.then_some(triangle)
        })
    }

    /// As [`Triangle::keep`], for the many that are drawn in vain.
    fn is_within(&self, params: &FigureParams, limits: Limits) -> bool {
        let side = params.common.side();
        let shortest = self.sides().into_iter().fold(f64::INFINITY, f64::min);
        shortest >= limits.side_min * side
            && self.area() >= AREA_MIN * side * side
            && self.keep(params, limits).is_ok()
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// [`crate::PuzzleError::BadScene`].
    pub fn keep(&self, params: &FigureParams, limits: Limits) -> Result<()> {
        require_finite(&self.corners)?;
        let side = params.common.side();
        let long_enough = |one: f64| one >= limits.side_min * side;
        require(
            self.sides().into_iter().all(long_enough),
            "a side of the triangle is too short",
        )?;
        let cosines = self.cosines();
        let widest = cosines.into_iter().fold(f64::INFINITY, f64::min);
        let [least, most] = limits.widest;
        let sound =
            cosines.iter().all(|cosine| *cosine <= COS_MAX) && (least..=most).contains(&widest);
        require(sound, "an angle of the triangle is too small or too large")?;
        require(
            self.area() >= AREA_MIN * side * side,
            "the triangle is too small",
        )
    }

    /// Lengths of the sides, each opposite to the corner of its index.
    #[must_use]
    pub fn sides(&self) -> [f64; 3] {
        let [a, b, c] = self.corners;
        [distance(b, c), distance(c, a), distance(a, b)]
    }

    /// Cosines of the angles.
    #[must_use]
    pub fn cosines(&self) -> [f64; 3] {
        [0, 1, 2].map(|at: usize| {
            let [here, next, last] = [0, 1, 2].map(|step| self.corners[(at + step) % 3]);
            let (one, other) = (sub(next, here), sub(last, here));
            dot(one, other) / (length(one) * length(other))
        })
    }

    /// Area, square pixels.
    #[must_use]
    pub fn area(&self) -> f64 {
        let [a, b, c] = self.corners;
        0.5 * cross(sub(b, a), sub(c, a)).abs()
    }

    /// Where the medians meet.
    #[must_use]
    pub fn centroid(&self) -> Vec2 {
        let [a, b, c] = self.corners;
        scale(add(add(a, b), c), 1.0 / 3.0)
    }

    /// Where the angle bisectors meet.
    #[must_use]
    pub fn incenter(&self) -> Vec2 {
        let sides = self.sides();
        let weighted = [0, 1, 2].map(|at: usize| scale(self.corners[at], sides[at]));
        let sum = add(add(weighted[0], weighted[1]), weighted[2]);
        scale(sum, 1.0 / (sides[0] + sides[1] + sides[2]))
    }

    /// Radius of the circle that touches the sides.
    #[must_use]
    pub fn inradius(&self) -> f64 {
        2.0 * self.area() / self.sides().iter().sum::<f64>()
    }

    /// Where the perpendicular bisectors meet.
    #[must_use]
    pub fn circumcenter(&self) -> Vec2 {
        let [a, b, c] = self.corners;
        let (one, other) = (sub(b, a), sub(c, a));
        let arm = sub(
            scale(normal(one), dot(other, other)),
            scale(normal(other), dot(one, one)),
        );
        add(a, scale(arm, 0.5 / cross(one, other)))
    }

    /// Where the altitudes meet.
    #[must_use]
    pub fn orthocenter(&self) -> Vec2 {
        let [a, b, c] = self.corners;
        sub(add(add(a, b), c), scale(self.circumcenter(), 2.0))
    }

    /// The point that sees all sides under 120 degrees; `None` unless all angles are smaller.
    #[must_use]
    pub fn fermat_point(&self) -> Option<Vec2> {
        let line = |at: usize| {
            let [here, next, last] = [0, 1, 2].map(|step| self.corners[(at + step) % 3]);
            // Apex of the equilateral triangle on the far side of the opposite edge.
            let edge = sub(last, next);
            let out = normal(edge);
            let away = dot(out, sub(here, next)) <= 0.0;
            let rise = if away {
                0.75_f64.sqrt()
            } else {
                -0.75_f64.sqrt()
            };
            [here, add(lerp(next, last, 0.5), scale(out, rise))]
        };
        let wide = self.cosines().into_iter().any(|cosine| cosine <= -0.5);
        meet(line(0), line(1)).filter(|_| !wide)
    }

    /// The triangle elsewhere.
    #[must_use]
    pub fn shift(&self, by: Vec2) -> Self {
        Self {
            corners: self.corners.map(|corner| add(corner, by)),
        }
    }

    /// The figure of a task that gives a triangle and asks for `target`. All candidates lie on the
    /// answer's side of every side.
    #[must_use]
    pub fn figure(&self, target: Vec2, construction: Vec<Vec<Vec2>>) -> Figure {
        let [a, b, c] = self.corners;
        Figure {
            target,
            anchors: self.corners.to_vec(),
            mean_is_target: false,
            shapes: [[a, b], [b, c], [c, a]].map(Shape::Wall).to_vec(),
            construction,
        }
    }

    /// Draws the outline.
    pub fn draw(&self, canvas: &mut Canvas, params: &FigureParams) {
        let [a, b, c] = self.corners;
        let common = &params.common;
        canvas.polyline(&[a, b, c, a], common.line_width, common.theme.ink());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centres_of_a_right_triangle() {
        let triangle = Triangle {
            corners: [[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]],
        };
        assert_eq!(triangle.circumcenter(), [2.0, 1.5]);
        assert_eq!(triangle.orthocenter(), [0.0, 0.0]);
        assert_eq!(triangle.incenter(), [1.0, 1.0]);
        assert_eq!(triangle.inradius(), 1.0);
        assert_eq!(triangle.centroid(), [4.0 / 3.0, 1.0]);
        assert_eq!((triangle.area(), triangle.cosines()[0]), (6.0, 0.0));
    }

    #[test]
    fn the_fermat_point_sees_equal_angles() {
        for corners in [
            [[0.0, 0.0], [90.0, 10.0], [30.0, 70.0]],
            [[0.0, 0.0], [30.0, 70.0], [90.0, 10.0]],
        ] {
            let point = Triangle { corners }.fermat_point().unwrap();
            for at in 0..3 {
                let arms = [corners[at], corners[(at + 1) % 3]].map(|end| sub(end, point));
                let cosine = dot(arms[0], arms[1]) / (length(arms[0]) * length(arms[1]));
                assert!((cosine + 0.5).abs() < 1e-9, "{cosine}");
            }
        }
        let corners = [[0.0, 0.0], [90.0, 0.0], [45.0, 10.0]];
        assert_eq!(Triangle { corners }.fermat_point(), None);
    }

    #[test]
    fn samples_keep_their_limits() {
        let params = FigureParams::default();
        let limits = Limits {
            side_min: 0.24,
            widest: [-0.3, 1.0],
        };
        let mut dice = Dice::new(3, "triangles");
        for _ in 0..500 {
            let triangle = Triangle::sample(&params, limits, &mut dice).unwrap();
            assert!(triangle.keep(&params, limits).is_ok());
        }
        let flat = Triangle {
            corners: [[0.0, 0.0], [300.0, 0.0], [150.0, 20.0]],
        };
        assert!(flat.keep(&params, limits).is_err());
        let nowhere = Triangle {
            corners: [[0.0, f64::NAN], [300.0, 0.0], [150.0, 200.0]],
        };
        assert!(nowhere.keep(&params, limits).is_err());
    }
}
