//! The way of a ray among mirrors.

use crate::eyeballing::EyeballingParams;
use crate::eyeballing::plane::{Vec2, add, cross, dot, length, scale, segment_distance, sub, unit};

use super::RayParams;

/// A ray must meet a mirror no nearer to its ends than this share of it, at no smaller sine.
const TIP: f64 = 0.07;
const FLAT: f64 = 0.25;
/// A ray must pass the ends of other mirrors at this distance at least, pixels.
const MISS: f64 = 6.0;

/// Mirrors in their field, ready for many rays.
pub(super) struct Hall {
    mirrors: Vec<Mirror>,
    /// Left, top, right, bottom.
    field: [f64; 4],
    /// Least and most mirrors that may throw a ray back.
    bounces: [usize; 2],
}

struct Mirror {
    ends: [Vec2; 2],
    along: Vec2,
    /// Direction of `along`.
    axis: Vec2,
}

/// Where a ray meets a mirror.
struct Hit {
    /// Index of the mirror.
    at: usize,
    /// Distance from where the ray comes from.
    far: f64,
    /// Share of the mirror.
    share: f64,
}

impl Hall {
    pub(super) fn new(params: &RayParams, mirrors: &[[Vec2; 2]]) -> Self {
        let mirror = |ends: &[Vec2; 2]| {
            let along = sub(ends[1], ends[0]);
            Mirror {
                ends: *ends,
                along,
                axis: unit(along),
            }
        };
        Self {
            mirrors: mirrors.iter().map(mirror).collect(),
            field: field(&params.common),
            bounces: [params.bounces_min, params.bounces_max],
        }
    }

    /// Puts the way of a ray into `path`: start, mirrors, edge of the field.
    ///
    /// Hardly one ray of thirty passes, so nothing is set aside for one that does not.
    ///
    /// # Errors
    /// A sentence when it takes too few or too many mirrors or nearly misses one.
    pub(super) fn trace(
        &self,
        start: Vec2,
        aim: Vec2,
        path: &mut Vec<Vec2>,
    ) -> Result<(), &'static str> {
        let [least, most] = self.bounces;
        path.clear();
        path.push(start);
        let mut here = start;
        let mut toward = unit(sub(aim, start));
        let mut last = None;
        loop {
            let hit = self.first_hit(here, toward, last);
            let bounces = path.len() - 1;
            let far = match &hit {
                Some(_) if bounces >= most => return Err("too many mirrors throw the ray back"),
                Some(hit) if !self.is_sound(hit, toward) => {
                    return Err("the ray meets a mirror too flat or too near its end");
                }
                Some(hit) => hit.far,
                None if bounces < least => return Err("too few mirrors throw the ray back"),
                None => self.way_out(here, toward),
            };
            let there = add(here, scale(toward, far));
            let touched = [last, hit.as_ref().map(|hit| hit.at)];
            if !self.misses_ends([here, there], toward, touched) {
                return Err("the ray nearly touches the end of a mirror");
            }
            path.push(there);
            let Some(Hit { at, .. }) = hit else {
                return Ok(());
            };
            // The direction mirrored in the mirror's.
            let axis = self.mirrors[at].axis;
            toward = sub(scale(axis, 2.0 * dot(toward, axis)), toward);
            (here, last) = (there, Some(at));
        }
    }

    /// The mirror that a ray meets first, but for the one that it comes from.
    fn first_hit(&self, from: Vec2, toward: Vec2, last: Option<usize>) -> Option<Hit> {
        let mut first: Option<Hit> = None;
        for (at, Mirror { ends, along, .. }) in self.mirrors.iter().enumerate() {
            let arms = ends.map(|end| sub(end, from));
            let [one, other] = arms.map(|arm| cross(toward, arm));
            // Most lie on one side of the whole line.
            if one * other > 0.0 || last == Some(at) {
                continue;
            }
            let spread = other - one;
            let far = cross(arms[0], *along) / spread;
            let before = first.as_ref().is_none_or(|known| far < known.far);
            if before && far > 0.0 && far.is_finite() {
                let share = -one / spread;
                first = Some(Hit { at, far, share });
            }
        }
        first
    }

    /// The ray meets the mirror neither too flat nor too near its end.
    fn is_sound(&self, hit: &Hit, toward: Vec2) -> bool {
        let steep = cross(toward, self.mirrors[hit.at].axis).abs() >= FLAT;
        steep && (TIP..=1.0 - TIP).contains(&hit.share)
    }

    /// A part of a ray keeps off the ends of all mirrors but those that it touches.
    fn misses_ends(
        &self,
        [here, there]: [Vec2; 2],
        toward: Vec2,
        touched: [Option<usize>; 2],
    ) -> bool {
        let clear = |end: &Vec2| {
            // Most are far from the whole line.
            cross(toward, sub(*end, here)).abs() >= MISS
                || segment_distance(*end, here, there) >= MISS
        };
        let mut mirrors = self.mirrors.iter().enumerate();
        mirrors.all(|(at, one)| touched.contains(&Some(at)) || one.ends.iter().all(clear))
    }

    /// Distance to the edge of the field.
    fn way_out(&self, from: Vec2, toward: Vec2) -> f64 {
        let [left, top, right, bottom] = self.field;
        let edges = [[left, right], [top, bottom]];
        let ways = (0..2).flat_map(|axis| {
            edges[axis]
                .into_iter()
                .map(move |edge| (edge - from[axis]) / toward[axis])
        });
        // The start lies on an edge: that one is behind or at nil.
        ways.filter(|way| way.is_finite() && *way > 1e-6)
            .fold(f64::INFINITY, f64::min)
            .min(length([right - left, bottom - top]))
    }
}

/// Left, top, right, bottom of the field that the ray crosses.
pub(super) fn field(params: &EyeballingParams) -> [f64; 4] {
    let margin = params.margin();
    let [width, height] = params.canvas().map(f64::from);
    [margin, margin, width - margin, height - margin]
}

/// Distance of a point from a line through points.
pub(super) fn path_distance(point: Vec2, path: &[Vec2]) -> f64 {
    let parts = path.windows(2);
    parts
        .map(|part| segment_distance(point, part[0], part[1]))
        .fold(f64::INFINITY, f64::min)
}

/// Whether a line through points comes nearer to a point than `room`, which is not negative.
pub(super) fn comes_near(path: &[Vec2], point: Vec2, room: f64) -> bool {
    let near = |part: &[Vec2]| {
        let (along, arm) = (sub(part[1], part[0]), sub(point, part[0]));
        let (way, whole) = (dot(along, arm), dot(along, along));
        let square = |arrow: Vec2| dot(arrow, arrow);
        if way <= 0.0 {
            square(arm) < room * room
        } else if way >= whole {
            square(sub(point, part[1])) < room * room
        } else {
            let area = cross(along, arm);
            area * area < room * room * whole
        }
    };
    path.windows(2).any(near)
}
