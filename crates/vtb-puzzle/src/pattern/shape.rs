//! Filled shapes with an outline, as strokes: what is missing is drawn as all the others are.

use serde::{Deserialize, Serialize};

use super::turn::{Vec2, circle_points, direction, regular, rotate, turns};
use crate::draw::{Canvas, Rgb, Stroke};

use super::palette::INK;

/// Kinds of shape that are told apart at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Circle.
    Circle,
    /// Equilateral triangle.
    Triangle,
    /// Square.
    Square,
    /// Regular pentagon.
    Pentagon,
    /// Regular hexagon.
    Hexagon,
    /// Star of five points.
    Star,
    /// Cross of four equal arms.
    Cross,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Circle,
        Self::Triangle,
        Self::Square,
        Self::Pentagon,
        Self::Hexagon,
        Self::Star,
        Self::Cross,
    ];

    /// Name in prompts and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Circle => "circle",
            Self::Triangle => "triangle",
            Self::Square => "square",
            Self::Pentagon => "pentagon",
            Self::Hexagon => "hexagon",
            Self::Star => "star",
            Self::Cross => "cross",
        }
    }

    /// How many turns look different.
    #[must_use]
    pub fn turns(self) -> i32 {
        turns(match self {
            Self::Circle => 0,
            Self::Triangle => 3,
            Self::Square | Self::Cross => 4,
            Self::Pentagon | Self::Star => 5,
            Self::Hexagon => 6,
        })
    }

    /// Corners in the unit circle, clockwise; a circle has 36.
    #[must_use]
    pub fn corners(self) -> Vec<Vec2> {
        match self {
            Self::Circle => circle_points(),
            Self::Triangle => regular(3).to_vec(),
            Self::Square => regular(4).to_vec(),
            Self::Pentagon => regular(5).to_vec(),
            Self::Hexagon => regular(6).to_vec(),
            Self::Star => star(),
            Self::Cross => cross(),
        }
    }
}

fn star() -> Vec<Vec2> {
    const HOLLOW: f64 = 0.45;
    let points = regular(5);
    // The point across lies opposite the hollow.
    let hollow = |at: usize| points[(at + 3) % 5].map(|value| -HOLLOW * value);
    (0..5).flat_map(|at| [points[at], hollow(at)]).collect()
}

fn cross() -> Vec<Vec2> {
    const HALF: f64 = 0.33;
    const END: f64 = 0.943;
    let arm = [[-HALF, -END], [HALF, -END], [HALF, -HALF]];
    let quarters = (0..4).flat_map(|quarter| arm.map(|point| (point, quarter * 64)));
    quarters
        .map(|(point, turn)| rotate(point, direction(turn)))
        .collect()
}

/// Across which line a shape is mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mirror {
    /// A level line: up becomes down.
    Level,
    /// An upright line: left becomes right.
    Upright,
}

/// A shape of some size at some place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// Kind.
    pub shape: Shape,
    /// Middle, pixels.
    pub center: Vec2,
    /// Distance of its outermost ink from the middle, pixels.
    pub radius: f64,
    /// Turn, steps.
    pub turn: i32,
    /// Mirrored after turning.
    pub mirror: Option<Mirror>,
    /// Colour inside the outline.
    pub fill: Rgb,
    /// Thickness of the outline, pixels.
    pub line: f64,
}

impl Figure {
    /// Corners of the middle of the outline, pixels.
    #[must_use]
    pub fn corners(&self) -> Vec<Vec2> {
        let by = direction(self.turn);
        let radius = self.radius - self.line / 2.0;
        let place = |corner: Vec2| {
            let [x, y] = rotate(corner, by);
            let [x, y] = match self.mirror {
                None => [x, y],
                Some(Mirror::Level) => [x, -y],
                Some(Mirror::Upright) => [-x, y],
            };
            [self.center[0] + radius * x, self.center[1] + radius * y]
        };
        self.shape.corners().into_iter().map(place).collect()
    }

    /// The fill spreads from the middle, then the pen goes round.
    #[must_use]
    pub fn strokes(&self) -> Vec<Stroke> {
        if self.shape == Shape::Circle {
            let fill = Stroke::Disc {
                center: self.center,
                radius: self.radius - self.line / 2.0,
                color: self.fill,
            };
            return vec![fill, round_outline(self.center, self.radius, self.line)];
        }
        let corners = self.corners();
        let fill = Stroke::Polygon {
            from: vec![self.center; corners.len()],
            to: corners.clone(),
            color: self.fill,
        };
        vec![fill, outline(corners, self.line)]
    }
}

/// The closed line through `corners`.
#[must_use]
pub fn outline(mut corners: Vec<Vec2>, width: f64) -> Stroke {
    corners.extend(corners.first().copied());
    Stroke::Line {
        points: corners,
        width,
        color: INK,
    }
}

/// The outline of a circle, inside its radius.
#[must_use]
pub fn round_outline(center: Vec2, radius: f64, width: f64) -> Stroke {
    Stroke::Ring {
        center,
        inner: radius - width,
        outer: radius,
        color: INK,
    }
}

/// Draws strokes whole.
pub fn draw_strokes(canvas: &mut Canvas, strokes: &[Stroke]) {
    for stroke in strokes {
        stroke.draw(canvas, stroke.length() + 1.0);
    }
}

/// Corners moved towards `middle`: this `share` of the way is left.
#[must_use]
pub fn shrunk(corners: &[Vec2], middle: Vec2, share: f64) -> Vec<Vec2> {
    let shrink = |corner: &Vec2| [0, 1].map(|at| middle[at] + (corner[at] - middle[at]) * share);
    corners.iter().map(shrink).collect()
}

/// Mean of some points.
#[must_use]
pub fn centroid(points: &[Vec2]) -> Vec2 {
    [0, 1].map(|axis| points.iter().map(|point| point[axis]).sum::<f64>() / points.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_fill_the_unit_circle() {
        for shape in Shape::ALL {
            let lengths = shape
                .corners()
                .into_iter()
                .map(|[x, y]| (x * x + y * y).sqrt());
            let longest = lengths.fold(0.0, f64::max);
            assert!(
                (0.998..=1.000_001).contains(&longest),
                "{shape:?} {longest}"
            );
            assert!(centroid(&shape.corners()).iter().all(|at| at.abs() < 1e-9));
        }
    }

    #[test]
    fn turned_by_its_symmetry_a_shape_is_itself() {
        for (shape, whole) in [
            (Shape::Square, 64),
            (Shape::Cross, 64),
            (Shape::Circle, 128),
        ] {
            let corners = shape.corners();
            for corner in &corners {
                let [x, y] = rotate(*corner, direction(whole));
                let near = |other: &Vec2| (other[0] - x).abs() + (other[1] - y).abs() < 1e-12;
                assert!(corners.iter().any(near), "{shape:?}");
            }
        }
    }

    #[test]
    fn mirrors_turn_up_to_down_and_left_to_right() {
        let figure = |mirror| Figure {
            shape: Shape::Triangle,
            center: [50.0, 40.0],
            radius: 11.0,
            turn: 5,
            mirror,
            fill: [0; 3],
            line: 2.0,
        };
        let plain = figure(None).corners();
        let level = figure(Some(Mirror::Level)).corners();
        let upright = figure(Some(Mirror::Upright)).corners();
        for at in 0..3 {
            assert!((plain[at][1] + level[at][1] - 80.0).abs() < 1e-12);
            assert_eq!(plain[at][0], level[at][0]);
            assert!((plain[at][0] + upright[at][0] - 100.0).abs() < 1e-12);
            assert_eq!(plain[at][1], upright[at][1]);
        }
    }
}
