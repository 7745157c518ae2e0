//! Triangles and their centres.

use serde::{Deserialize, Serialize};

use super::figure::{Figure, Shape, bounds, require};
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

/// [`Limits`] in squares, for the many triangles that are drawn in vain.
struct Rough {
    /// Least square of a side.
    side: f64,
    /// Least double area.
    area: f64,
    /// Least and greatest cosine of the widest angle, squared with their signs.
    widest: [f64; 2],
}

impl Rough {
    fn of(params: &FigureParams, limits: Limits) -> Self {
        let side = params.common.side();
        Self {
            side: (limits.side_min * side).powi(2),
            area: 2.0 * AREA_MIN * side * side,
            widest: limits.widest.map(|cosine| cosine * cosine.abs()),
        }
    }

    /// As [`Triangle::keep`], but for rounding.
    fn admits(&self, triangle: &Triangle) -> bool {
        let squares = triangle.squares();
        let least = squares.into_iter().fold(f64::INFINITY, f64::min);
        least >= self.side && 2.0 * triangle.area() >= self.area && self.admits_angles(squares)
    }

    /// The same of a triangle's angles, by the squares of its sides.
    fn admits_angles(&self, squares: [f64; 3]) -> bool {
        let sum: f64 = squares.iter().sum();
        // Of each angle the cosine, squared with its sign, before division by the squared arms.
        let cosines = [0, 1, 2].map(|at: usize| {
            let product = sum / 2.0 - squares[at];
            let arms = squares[(at + 1) % 3] * squares[(at + 2) % 3];
            (product * product.abs(), arms)
        });
        let [lowest, highest] = self.widest;
        cosines
            .iter()
            .all(|(cosine, arms)| *cosine <= COS_MAX * COS_MAX * arms && *cosine >= lowest * arms)
            && cosines
                .iter()
                .any(|(cosine, arms)| *cosine <= highest * arms)
    }
}

/// What a centre must keep, pixels.
struct CenterRoom {
    /// Distance from the mean of the corners.
    off: f64,
    /// Distance from the lines of the sides.
    room: f64,
}

impl CenterRoom {
    fn of(params: &FigureParams) -> Self {
        let common = &params.common;
        Self {
            off: params.squeeze * common.tolerance() * (1.0 + 0.1 * common.candidates as f64),
            room: common.disc_radius() + common.line_width + 0.5 * common.cluster_radius(),
        }
    }

    /// How many times larger a triangle with this centre must be at least.
    fn least_scale(&self, triangle: &Triangle, center: Vec2) -> f64 {
        let [a, b, c] = triangle.corners;
        let lines = [[a, b], [b, c], [c, a]];
        let away = lines.map(|[from, to]| line_distance(center, from, to));
        let nearest = away.into_iter().fold(f64::INFINITY, f64::min);
        (self.room / nearest).max(self.off / distance(center, triangle.centroid()))
    }
}

/// Cosine of 25 degrees.
const COS_MAX: f64 = 0.906_307_787_036_65;
const AREA_MIN: f64 = 0.04;
/// How many triangles are drawn in search of one, and how many shapes of one.
const TRIES: usize = 10_000;
const SHAPES: usize = 2_000;

impl Triangle {
    /// Corners scattered in the frame until the limits are kept; `None` when they never were.
    pub fn sample(params: &FigureParams, limits: Limits, dice: &mut Dice) -> Option<Self> {
        let rough = Rough::of(params, limits);
        let half = params.frame() / 2.0;
        (0..TRIES).find_map(|_| {
            let mut corner = || snap([dice.between(-half, half), dice.between(-half, half)]);
            let corners = [corner(), corner(), corner()];
            let triangle = Self { corners };
            rough.admits(&triangle).then_some(triangle)
        })
    }

    /// A triangle whose centre has room for candidates about it and lies off the mean of the
    /// corners: beside the mean it would be found by averaging the corners.
    ///
    /// Among corners that are scattered in the frame, hardly any would do. So a shape is drawn
    /// first, by three points of a circle, and then a size that suits it: `span` says how large
    /// a square a triangle needs.
    pub fn sample_off_mean(
        params: &FigureParams,
        limits: Limits,
        dice: &mut Dice,
        center: impl Fn(&Self) -> Option<Vec2>,
        span: impl Fn(&Self) -> f64,
    ) -> Option<Self> {
        let rough = Rough::of(params, limits);
        let side = params.common.side();
        let room = CenterRoom::of(params);
        (0..SHAPES).find_map(|_| {
            let corners = [(); 3].map(|()| dice.direction());
            let shape = Self { corners };
            let squares = shape.squares();
            if !rough.admits_angles(squares) {
                return None;
            }
            let shortest = squares.into_iter().fold(f64::INFINITY, f64::min).sqrt();
            let least = (limits.side_min * side / shortest)
                .max(side * (AREA_MIN / shape.area()).sqrt())
                .max(room.least_scale(&shape, center(&shape)?));
            let most = params.frame() / span(&shape);
            if least >= most {
                return None;
            }
            // Large ones are more frequent, as they are among those that are scattered.
            let [one, other] = dice.pair();
            let size = least + (most - least) * one.max(other);
            let corners = corners.map(|corner| snap(scale(corner, size)));
            let triangle = Self { corners };
            let good = rough.admits(&triangle)
                && room.least_scale(&triangle, center(&triangle)?) <= 1.0
                && span(&triangle) <= params.frame();
            good.then_some(triangle)
        })
    }

    /// Side of the square about it.
    #[must_use]
    pub fn span(&self) -> f64 {
        span(self.corners.into_iter())
    }

    /// Squares of the sides, each opposite to the corner of its index.
    fn squares(&self) -> [f64; 3] {
        let [a, b, c] = self.corners;
        [sub(c, b), sub(a, c), sub(b, a)].map(|arm| dot(arm, arm))
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

/// Side of the square about some points.
#[must_use]
pub fn span(points: impl Iterator<Item = Vec2>) -> f64 {
    let [low, high] = bounds(points);
    let [across, down] = sub(high, low);
    across.max(down)
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
