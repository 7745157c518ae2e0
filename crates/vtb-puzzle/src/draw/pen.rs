//! Lines from one point to another.

use std::ops::Range;

use super::surface::{Surface, ceil, floor, half_chord};

/// A thick segment with round ends.
///
/// Lengths along and across it are counted from its start.
pub(super) struct Pen {
    start: [f64; 2],
    along: [f64; 2],
    /// One over the square of the length; 0 for a point.
    scale: f64,
    length: f64,
    /// Length 1, along the segment and across.
    direction: [f64; 2],
    normal: [f64; 2],
    half: f64,
    /// How far it is drawn beyond its ends.
    beyond: [f64; 2],
}

/// How much farther than they are parts of a pen are looked for, pixels: places are rounded.
const SLACK: f64 = 1e-3;

impl Pen {
    #[inline(always)]
    pub(super) fn new([a, b]: [[f64; 2]; 2], half: f64) -> Self {
        let along = [b[0] - a[0], b[1] - a[1]];
        let square = along[0] * along[0] + along[1] * along[1];
        let (scale, length, direction) = match square > 0.0 {
            true => {
                let length = square.sqrt();
                (1.0 / square, length, along.map(|part| part / length))
            }
            false => (0.0, 0.0, [1.0, 0.0]),
        };
        Self {
            start: a,
            along,
            scale,
            length,
            direction,
            normal: [-direction[1], direction[0]],
            half,
            beyond: [half + 0.5; 2],
        }
    }

    /// Leaves to the next pen, which begins where this one ends, what is nearer to that, and the
    /// other way round: at a corner that is nearly straight, most of the ends.
    #[inline(always)]
    pub(super) fn join(&mut self, next: &mut Self) {
        let ([x, y], [to_x, to_y]) = (self.direction, next.direction);
        let is_line = self.scale > 0.0 && next.scale > 0.0;
        // What lies farther beyond the end than this is beside the next pen, or beyond its end.
        let turn = (x * to_y - y * to_x).abs();
        if is_line && x * to_x + y * to_y > 0.5 {
            let beyond = (self.half + 0.5) * turn + SLACK;
            self.beyond[1] = self.beyond[1].min(beyond);
            next.beyond[0] = next.beyond[0].min(beyond);
        }
    }

    /// Hands out the parts of each row that the pen touches, from left to right.
    #[inline(always)]
    pub(super) fn draw(&self, [width, height]: [i32; 2], surface: &mut impl Surface) {
        let reach = self.half + 0.5;
        // What lies beyond is told by the round ends, if they are wide.
        let [before, after] = self.beyond.map(|beyond| match self.is_end_wide(beyond) {
            true => 0.0,
            false => beyond,
        });
        let strip = Cut::new(self.normal, [-reach, reach], SLACK);
        let slab = Cut::new(self.direction, [-before, self.length + after], SLACK);
        // Of a thin line, finding what is covered whole takes longer than measuring it.
        let core = (self.half > 2.0).then(|| {
            let half = self.half - 0.5;
            (
                Cut::new(self.normal, [-half, half], -SLACK),
                Cut::new(self.direction, [0.0, self.length], -SLACK),
            )
        });
        for row in self.rows(height) {
            let down = f64::from(row) + 0.5 - self.start[1];
            let columns = |strip: &Cut, slab: &Cut| {
                let ([a, b], [c, d]) = (strip.at(down), slab.at(down));
                let first = ceil(self.start[0] + a.max(c) - 0.5).clamp(0, width);
                let end = floor(self.start[0] + b.min(d) - 0.5).saturating_add(1);
                first..end.clamp(first, width)
            };
            let beside = columns(&strip, &slab);
            let touched = self.with_ends(beside, reach + SLACK, down, width);
            if touched.is_empty() {
                continue;
            }
            let whole = core.as_ref().map(|(strip, slab)| {
                let beside = columns(strip, slab);
                let radius = self.half - 0.5 - SLACK;
                let whole = self.with_ends(beside, radius, down, width);
                whole.start.max(touched.start)..whole.end.min(touched.end)
            });
            match whole.filter(|whole| !whole.is_empty()) {
                None => self.draw_edge(surface, row, touched),
                Some(whole) => {
                    self.draw_edge(surface, row, touched.start..whole.start);
                    surface.whole(row, whole.clone());
                    self.draw_edge(surface, row, whole.end..touched.end);
                }
            }
        }
    }

    /// Whether an end drawn so far beyond is one of a wide pen; narrower ones are measured as fast as
    /// found.
    #[inline(always)]
    fn is_end_wide(&self, beyond: f64) -> bool {
        const WIDE: f64 = 5.0;
        self.half >= WIDE && beyond > self.half
    }

    /// Columns of a row that lie beside the segment, and those within `radius` of a wide end.
    #[inline(always)]
    fn with_ends(&self, beside: Range<i32>, radius: f64, down: f64, width: i32) -> Range<i32> {
        let mut whole = beside;
        let ends = [[0.0; 2], self.along].into_iter().zip(self.beyond);
        for ([x, y], _) in ends.filter(|(_, beyond)| self.is_end_wide(*beyond)) {
            let chord = half_chord(radius, down - y);
            if chord > 0.0 {
                let x = self.start[0] + x - 0.5;
                let first = ceil(x - chord).clamp(0, width);
                let end = floor(x + chord).saturating_add(1).clamp(first, width);
                // All lies in one piece.
                whole = match whole.is_empty() {
                    true => first..end,
                    false => whole.start.min(first)..whole.end.max(end),
                };
            }
        }
        whole
    }

    /// The rows it touches.
    #[inline(always)]
    fn rows(&self, height: i32) -> Range<i32> {
        let reach = self.half + 0.5;
        let (from, to) = (self.start[1], self.start[1] + self.along[1]);
        // Of its ends, as far as they are drawn, and of their corners.
        let [before, after] = self.beyond;
        let [first, last] = [
            -before * self.direction[1],
            (self.length + after) * self.direction[1],
        ];
        let corner = reach * self.normal[1].abs() + SLACK;
        let top = (from.min(to) - reach).max(from + first.min(last) - corner);
        let bottom = (from.max(to) + reach).min(from + first.max(last) + corner);
        floor(top).max(0)..ceil(bottom).min(height)
    }

    /// Hands out a part of a row of which pixels are covered in part.
    #[inline(always)]
    fn draw_edge(&self, surface: &mut impl Surface, row: i32, columns: Range<i32>) {
        let down = f64::from(row) + 0.5 - self.start[1];
        let across = |column: i32| f64::from(column) + 0.5 - self.start[0];
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
}

/// What lies between two parallels: where `low <= slope[0] * x + slope[1] * y <= high`.
struct Cut {
    slope: [f64; 2],
    /// One over the first part of the slope; none where rows run along the parallels.
    inverse: Option<f64>,
    low: f64,
    high: f64,
}

impl Cut {
    /// `slack` pixels wider on either side.
    #[inline(always)]
    fn new(slope: [f64; 2], [low, high]: [f64; 2], slack: f64) -> Self {
        /// No row of a picture climbs as much as a slack.
        const LEVEL: f64 = 1e-8;
        Self {
            slope,
            inverse: (slope[0].abs() > LEVEL).then(|| 1.0 / slope[0]),
            low: low - slack,
            high: high + slack,
        }
    }

    /// The columns of a row that lie between; the first is above the last if there are none.
    #[inline(always)]
    fn at(&self, y: f64) -> [f64; 2] {
        let off = y * self.slope[1];
        match self.inverse {
            Some(inverse) => {
                let [a, b] = [self.low, self.high].map(|edge| (edge - off) * inverse);
                [a.min(b), a.max(b)]
            }
            None if self.low <= off && off <= self.high => [f64::NEG_INFINITY, f64::INFINITY],
            None => [f64::INFINITY, f64::NEG_INFINITY],
        }
    }
}
