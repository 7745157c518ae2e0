//! Lines from one point to another.

use std::ops::Range;

use super::surface::{Surface, ceil, floor, half_chord};

/// A thick segment with round ends.
pub(super) struct Pen {
    ends: [[f64; 2]; 2],
    along: [f64; 2],
    /// One over the square of the length; 0 for a point.
    scale: f64,
    /// Length 1, across the segment.
    normal: [f64; 2],
    /// How much `x` grows with `y` across the segment and along it; of no use where it is level.
    slopes: [f64; 2],
    half: f64,
}

impl Pen {
    pub(super) fn new([a, b]: [[f64; 2]; 2], half: f64) -> Self {
        let along = [b[0] - a[0], b[1] - a[1]];
        let square = along[0] * along[0] + along[1] * along[1];
        let (scale, length) = match square > 0.0 {
            true => (1.0 / square, square.sqrt()),
            false => (0.0, 1.0),
        };
        Self {
            ends: [a, b],
            along,
            scale,
            normal: [-along[1] / length, along[0] / length],
            slopes: [along[0] / along[1], -along[1] / along[0]],
            half,
        }
    }

    /// Hands out the parts of each row that the pen touches, from left to right.
    pub(super) fn draw(&self, [width, height]: [i32; 2], surface: &mut impl Surface) {
        let [a, b] = self.ends;
        let reach = self.half + 0.5;
        let outline = self.outline(reach);
        // Of a thin line, finding what is covered whole takes longer than measuring it.
        let core = (self.half > 2.0).then(|| self.outline(self.half - 0.5));
        let top = floor(a[1].min(b[1]) - reach).max(0);
        let bottom = ceil(a[1].max(b[1]) + reach).min(height);
        for row in top..bottom {
            let y = f64::from(row) + 0.5;
            let columns = |slice: Option<[f64; 2]>, none: i32| match slice {
                None => none..none,
                Some([low, high]) => {
                    let first = ceil(low - 0.5).clamp(0, width);
                    first..(floor(high - 0.5) + 1).clamp(first, width)
                }
            };
            let touched = columns(outline.slice(y), 0);
            if touched.is_empty() {
                continue;
            }
            let whole = core.as_ref().and_then(|core| core.slice(y));
            let whole = columns(whole, touched.end);
            let whole = whole.start.max(touched.start)..whole.end.min(touched.end);
            if whole.is_empty() {
                self.draw_edge(surface, row, touched);
                continue;
            }
            self.draw_edge(surface, row, touched.start..whole.start);
            surface.whole(row, whole.clone());
            self.draw_edge(surface, row, whole.end..touched.end);
        }
    }

    /// Hands out a part of a row of which pixels are covered in part.
    #[inline]
    fn draw_edge(&self, surface: &mut impl Surface, row: i32, columns: Range<i32>) {
        let [a, _] = self.ends;
        let down = f64::from(row) + 0.5 - a[1];
        let across = |column: i32| f64::from(column) + 0.5 - a[0];
        // How far along the segment the point next to a pixel lies, as a share.
        let share =
            |column: i32| (across(column) * self.along[0] + down * self.along[1]) * self.scale;
        // A line thinner than a pixel covers at most its thickness.
        let coverage = |distance: f64| (self.half + 0.5 - distance).min(2.0 * self.half) as f32;
        // A point has ends only.
        let beside = |column: i32| self.scale > 0.0 && (0.0..=1.0).contains(&share(column));
        if beside(columns.start) && beside(columns.end - 1) {
            let [normal, off] = [self.normal[0], down * self.normal[1]];
            surface.edge(row, columns, |column| {
                coverage((across(column) * normal + off).abs())
            });
        } else {
            surface.edge(row, columns, |column| {
                let at = share(column).clamp(0.0, 1.0);
                let [dx, dy] = [
                    across(column) - self.along[0] * at,
                    down - self.along[1] * at,
                ];
                coverage((dx * dx + dy * dy).sqrt())
            });
        }
    }

    /// What lies within `reach` of the segment.
    fn outline(&self, reach: f64) -> Outline {
        let corners = self.corners(reach);
        let edges = [0, 1, 2, 3].map(|at: usize| Edge {
            ends: [corners[at], corners[(at + 1) % 4]],
            slope: self.slopes[at % 2],
        });
        let ends = self.ends;
        Outline { ends, reach, edges }
    }

    /// Corners of the rectangle that reaches so far on either side.
    fn corners(&self, reach: f64) -> [[f64; 2]; 4] {
        let [a, b] = self.ends;
        let side = |end: [f64; 2], by: f64| [0, 1].map(|axis| end[axis] + by * self.normal[axis]);
        [
            side(a, reach),
            side(b, reach),
            side(b, -reach),
            side(a, -reach),
        ]
    }
}

/// A rectangle with a disc about the middle of each of two opposite sides.
struct Outline {
    ends: [[f64; 2]; 2],
    /// Radius of the discs.
    reach: f64,
    edges: [Edge; 4],
}

/// From a corner to the next; how much `x` grows with `y`.
struct Edge {
    ends: [[f64; 2]; 2],
    slope: f64,
}

impl Outline {
    /// Where a row cuts it.
    fn slice(&self, y: f64) -> Option<[f64; 2]> {
        if self.reach <= 0.0 {
            return None;
        }
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for end in self.ends {
            let down = y - end[1];
            if down.abs() < self.reach {
                let chord = half_chord(self.reach, down);
                low = low.min(end[0] - chord);
                high = high.max(end[0] + chord);
            }
        }
        for Edge {
            ends: [from, to],
            slope,
        } in &self.edges
        {
            if (from[1] <= y) != (to[1] <= y) {
                let x = from[0] + (y - from[1]) * slope;
                // Of an edge that is nearly level, rounding is multiplied by a large slope.
                let x = x.max(from[0].min(to[0])).min(from[0].max(to[0]));
                low = low.min(x);
                high = high.max(x);
            }
        }
        (low <= high).then_some([low, high])
    }
}
