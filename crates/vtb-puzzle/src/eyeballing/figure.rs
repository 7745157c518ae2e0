//! A figure that asks for one point, and where candidates may stand about it.

use std::sync::LazyLock;

use super::plane::{Vec2, add, cross, length, lerp, line_distance, segment_distance, sub, unit};
use super::{Candidate, EyeballingParams, distance, snap};
use crate::error::{PuzzleError, Result};

/// Something drawn, or a place that must stay free. Pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// A stroke that candidates may stand on either side of.
    Line([Vec2; 2]),
    /// A stroke on the line that bounds the answer's region: no candidate stands beyond it, even
    /// where it is not drawn, or a glance would rule that one out.
    Wall([Vec2; 2]),
    /// The outline of a circle that all candidates stand inside of.
    Circle {
        /// Middle.
        center: Vec2,
        /// Radius.
        radius: f64,
    },
    /// A ring that marks a point of the figure.
    Ring {
        /// Middle.
        center: Vec2,
        /// Outer radius.
        radius: f64,
    },
    /// Another point that would be right in another reading of the figure.
    Decoy(Vec2),
}

impl Shape {
    /// Whether a marker may stand at `point` when the answer is at `target`.
    fn admits(&self, room: Room, target: Vec2, point: Vec2) -> bool {
        match *self {
            Self::Line([a, b]) => segment_distance(point, a, b) >= room.stroke,
            Self::Wall([a, b]) => {
                let side = |of: Vec2| cross(sub(b, a), sub(of, a));
                side(point) * side(target) > 0.0 && segment_distance(point, a, b) >= room.stroke
            }
            Self::Circle { center, radius } => distance(point, center) <= radius - room.stroke,
            Self::Ring { center, radius } => distance(point, center) >= radius + room.marker,
            Self::Decoy(at) => distance(point, at) >= room.tolerance,
        }
    }

    /// How far a marker may stand from `target` in any direction.
    fn slack(&self, room: Room, target: Vec2) -> f64 {
        match *self {
            Self::Line([a, b]) => segment_distance(target, a, b) - room.stroke,
            Self::Wall([a, b]) => line_distance(target, a, b) - room.stroke,
            Self::Circle { center, radius } => radius - distance(target, center) - room.stroke,
            Self::Ring { center, radius } => distance(target, center) - radius - room.marker,
            Self::Decoy(at) => distance(target, at) - room.tolerance,
        }
    }

    /// Corners of a box about the ink.
    fn corners(&self) -> Vec<Vec2> {
        match *self {
            Self::Line(ends) | Self::Wall(ends) => ends.to_vec(),
            Self::Circle { center, radius } | Self::Ring { center, radius } => {
                let reach = [radius, radius];
                vec![sub(center, reach), add(center, reach)]
            }
            Self::Decoy(_) => Vec::new(),
        }
    }
}

/// Least distances of a marker's centre, pixels.
#[derive(Debug, Clone, Copy)]
struct Room {
    stroke: f64,
    marker: f64,
    tolerance: f64,
}

impl Room {
    fn of(params: &EyeballingParams) -> Self {
        let marker = params.disc_radius() + 4.0;
        Self {
            stroke: marker + params.line_width / 2.0,
            marker,
            tolerance: params.tolerance(),
        }
    }
}

/// The shapes of a figure whose target is near the origin, ready for many pairs of candidates.
pub(super) struct Clearance<'a> {
    room: Room,
    target: Vec2,
    wards: Vec<Ward<'a>>,
}

/// A shape, and where a marker surely keeps off it.
struct Ward<'a> {
    shape: &'a Shape,
    /// Square of the distance from the origin up to which there is room in any direction.
    free: f64,
    /// Direction of a stroke.
    axis: Vec2,
    /// How far aside of that direction there is room before and behind the origin, up to the whole
    /// line of the stroke.
    reach: f64,
    /// How far aside of that direction either end of an arrow and its opposite lies beyond a wall.
    depth: f64,
}

impl Clearance<'_> {
    /// The arrows, as bits, at whose end no marker may stand, or at the end of whose opposite, all
    /// from the origin. `squares` are their squared lengths.
    ///
    /// All are looked at in the same way, which is faster than to leave one early.
    pub(super) fn refused<const N: usize>(
        &self,
        [across, down]: [&[f64; N]; 2],
        squares: &[f64; N],
    ) -> u32 {
        let [mut beyond, mut doubt] = [[0_u64; N]; 2];
        for ward in &self.wards {
            for at in 0..N {
                let aside = (ward.axis[0] * down[at] - ward.axis[1] * across[at]).abs();
                beyond[at] |= u64::from(aside > ward.depth);
                doubt[at] |= u64::from(!((squares[at] <= ward.free) | (aside <= ward.reach)));
            }
        }
        (0..N).fold(0, |bits, at| {
            let refused =
                beyond[at] > 0 || (doubt[at] > 0 && !self.admits_both([across[at], down[at]]));
            bits | u32::from(refused) << at
        })
    }

    /// A marker may stand at the end of an arrow from the origin, and at the end of its opposite.
    fn admits_both(&self, arrow: Vec2) -> bool {
        let ends = [arrow, sub([0.0; 2], arrow)];
        self.wards.iter().all(|ward| {
            let admits = |at: &Vec2| ward.shape.admits(self.room, self.target, *at);
            ends.iter().all(admits)
        })
    }
}

impl<'a> Ward<'a> {
    /// What is nearly too near is left to [`Shape::admits`].
    const DOUBT: f64 = 1e-6;

    fn new(shape: &'a Shape, room: Room, target: Vec2) -> Self {
        let slack = shape.slack(room, target) - length(target) - Self::DOUBT;
        let (axis, depth) = match *shape {
            Shape::Line([a, b]) | Shape::Wall([a, b]) => {
                let axis = unit(sub(b, a));
                let side = cross(axis, sub(target, a)).signum();
                (axis, side * cross(axis, sub([0.0; 2], a)))
            }
            _ => ([0.0; 2], f64::NEG_INFINITY),
        };
        Self {
            shape,
            free: slack * slack.max(0.0),
            axis,
            reach: depth - room.stroke - Self::DOUBT,
            depth: match shape {
                Shape::Wall(_) => depth + Self::DOUBT,
                _ => f64::INFINITY,
            },
        }
    }
}

/// What follows from the given parts of a puzzle.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// The point that is asked for.
    pub target: Vec2,
    /// Every point of the scene that a lazy solver could measure from.
    pub anchors: Vec<Vec2>,
    /// The mean of the anchors is the target, by definition.
    pub mean_is_target: bool,
    /// What is drawn.
    pub shapes: Vec<Shape>,
    /// Lines of the solution, in drawing order.
    pub construction: Vec<Vec<Vec2>>,
}

impl Figure {
    /// A marker may stand at `point`.
    #[must_use]
    pub fn admits(&self, params: &EyeballingParams, point: Vec2) -> bool {
        let room = Room::of(params);
        self.shapes
            .iter()
            .all(|shape| shape.admits(room, self.target, point))
    }

    /// The figure's shapes, ready for many pairs of candidates.
    pub(super) fn clearance(&self, params: &EyeballingParams) -> Clearance<'_> {
        let (room, target) = (Room::of(params), self.target);
        let ward = |shape| Ward::new(shape, room, target);
        Clearance {
            room,
            target,
            wards: self.shapes.iter().map(ward).collect(),
        }
    }

    /// How far a marker may stand from the target in any direction, pixels.
    #[must_use]
    pub fn slack(&self, params: &EyeballingParams) -> f64 {
        let room = Room::of(params);
        let slacks = self
            .shapes
            .iter()
            .map(|shape| shape.slack(room, self.target));
        slacks.fold(f64::INFINITY, f64::min)
    }

    /// Mean of the anchors; the target where there are none.
    #[must_use]
    pub fn mean(&self) -> Vec2 {
        if self.anchors.is_empty() {
            return self.target;
        }
        let sum = self.anchors.iter().copied().fold([0.0; 2], add);
        sum.map(|part| part / self.anchors.len() as f64)
    }

    /// Typical distance of the drawn things from the target.
    #[must_use]
    pub fn size(&self) -> f64 {
        let ends: Vec<_> = self.shapes.iter().flat_map(Shape::corners).collect();
        let sum: f64 = ends.iter().map(|end| distance(*end, self.target)).sum();
        sum / (ends.len() as f64).max(1.0)
    }

    /// Least and greatest coordinates of figure and construction.
    #[must_use]
    pub fn extent(&self) -> [Vec2; 2] {
        let ink = self.shapes.iter().flat_map(Shape::corners);
        bounds(ink.chain(self.construction.iter().flatten().copied()))
    }

    /// Checks that the picture holds the figure and that no candidate covers it.
    ///
    /// # Errors
    /// [`PuzzleError::BadScene`].
    pub fn require_room(&self, params: &EyeballingParams, candidates: &[Candidate]) -> Result<()> {
        let held = self
            .extent()
            .iter()
            .all(|corner| params.holds(*corner, params.line_width / 2.0));
        require(held, "the figure does not fit into the picture")?;
        match candidates
            .iter()
            .find(|candidate| !self.admits(params, candidate.at()))
        {
            Some(one) => Err(PuzzleError::BadScene(format!(
                "candidate {} covers the figure or lies outside the answer's region",
                one.label
            ))),
            None => Ok(()),
        }
    }
}

/// Least and greatest coordinates; an empty box when there are no points.
#[must_use]
pub fn bounds(points: impl Iterator<Item = Vec2>) -> [Vec2; 2] {
    points.fold(
        [[f64::INFINITY; 2], [f64::NEG_INFINITY; 2]],
        |[low, high], point| {
            [
                [low[0].min(point[0]), low[1].min(point[1])],
                [high[0].max(point[0]), high[1].max(point[1])],
            ]
        },
    )
}

/// `Ok` when a rule of the scene holds.
///
/// # Errors
/// [`PuzzleError::BadScene`] with the sentence.
pub fn require(holds: bool, fault: &str) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(PuzzleError::BadScene(fault.to_owned())),
    }
}

/// A circle as a closed line.
#[must_use]
pub fn circle_line(center: Vec2, radius: f64) -> Vec<Vec2> {
    static SPOKES: LazyLock<Vec<Vec2>> = LazyLock::new(spokes);
    let point = |spoke: &Vec2| snap(add(center, spoke.map(|part| part * radius)));
    SPOKES.iter().map(point).collect()
}

/// Directions all round. No sines: corners are halved until they are small.
fn spokes() -> Vec<Vec2> {
    let mut spokes = vec![[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [1.0, 0.0]];
    for _ in 0..5 {
        let mut finer = Vec::with_capacity(2 * spokes.len());
        for pair in spokes.windows(2) {
            let middle = lerp(pair[0], pair[1], 0.5);
            finer.extend([pair[0], middle.map(|part| part / length(middle))]);
        }
        finer.extend(spokes.last().copied());
        spokes = finer;
    }
    spokes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eyeballing::plane::dot;

    #[test]
    fn circles_are_round_and_closed() {
        let line = circle_line([100.0, 50.0], 40.0);
        assert_eq!(line.len(), 129);
        assert_eq!(line[0], line[128]);
        for point in line {
            assert!((distance(point, [100.0, 50.0]) - 40.0).abs() < 0.05);
        }
    }

    #[test]
    fn candidates_keep_off_the_ink_and_inside_the_region() {
        let params = EyeballingParams::default();
        let wall = [[0.0, 100.0], [50.0, 100.0]];
        let figure = Figure {
            target: [0.0, 0.0],
            anchors: wall.to_vec(),
            mean_is_target: false,
            shapes: vec![
                Shape::Wall(wall),
                Shape::Decoy([60.0, 0.0]),
                Shape::Ring {
                    center: [-60.0, 0.0],
                    radius: 20.0,
                },
            ],
            construction: Vec::new(),
        };
        for free in [[0.0, 0.0], [0.0, 80.0], [200.0, 90.0], [0.0, -500.0]] {
            assert!(figure.admits(&params, free), "{free:?}");
        }
        for taken in [[0.0, 90.0], [200.0, 120.0], [70.0, 0.0], [-30.0, 0.0]] {
            assert!(!figure.admits(&params, taken), "{taken:?}");
        }
        let clearance = figure.clearance(&params);
        for at in 0..2_000 {
            let arrow = [
                f64::from(at % 50) * 5.0 - 122.0,
                f64::from(at / 50) * 6.0 - 119.0,
            ];
            let both = [arrow, sub([0.0; 2], arrow)];
            let fits = both.iter().all(|end| figure.admits(&params, *end));
            let refused = clearance.refused([&[arrow[0]], &[arrow[1]]], &[dot(arrow, arrow)]);
            assert_eq!(refused, u32::from(!fits), "{arrow:?}");
        }
        assert_eq!(figure.mean(), [25.0, 100.0]);
        assert_eq!(figure.extent(), [[-80.0, -20.0], [50.0, 100.0]]);
    }
}
