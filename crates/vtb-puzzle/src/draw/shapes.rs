//! Shapes with smooth edges: how much of a pixel is covered follows from the distance of its middle
//! to the edge.
//!
//! Measuring is several times faster than filling paths, and takes nothing but sums, products and
//! square roots, which every machine rounds alike.

use std::ops::Range;

use tiny_skia::{FillRule, Mask, PathBuilder, Transform};

use super::canvas::{Canvas, Rgb, share};

/// Beyond half a pixel from an edge a pixel counts as wholly inside or outside; a little more, as the
/// distances are rounded.
const EDGE: f64 = 0.5 + 1e-6;

impl Canvas {
    /// A filled circle with smooth edge.
    pub fn disc(&mut self, center: [f64; 2], radius: f64, color: Rgb) {
        if radius > 0.0 {
            let coverage = |distance: f64| radius + 0.5 - distance;
            self.round(
                center,
                [f64::NEG_INFINITY, radius],
                f64::INFINITY,
                color,
                coverage,
            );
        }
    }

    /// A filled circle with an outline of `width` pixels centred on `radius`.
    ///
    /// Two discs: no stroker, and no seam between outline and fill.
    pub fn ring(&mut self, at: [f64; 2], radius: f64, width: f64, outline: Rgb, fill: Rgb) {
        self.disc(at, radius + width / 2.0, outline);
        self.disc(at, radius - width / 2.0, fill);
    }

    /// What lies between two circles, with smooth edges.
    pub fn annulus(&mut self, center: [f64; 2], inner: f64, outer: f64, color: Rgb) {
        if outer > inner.max(0.0) {
            self.round(center, [inner, outer], f64::INFINITY, color, |distance| {
                // A ring thinner than a pixel covers at most its thickness.
                let within = (outer + 0.5 - distance).clamp(0.0, 1.0);
                let hole = (inner + 0.5 - distance).clamp(0.0, 1.0);
                within - hole
            });
        }
    }

    /// What lies between two circles, down to a row, by the coverage of pixels at a distance from the
    /// centre.
    pub(crate) fn round(
        &mut self,
        center: [f64; 2],
        radii: [f64; 2],
        end: f64,
        color: Rgb,
        coverage: impl Fn(f64) -> f64,
    ) {
        let size = self.size();
        let canvas = self;
        draw_round(
            size,
            center,
            radii,
            end,
            coverage,
            &mut Ink { canvas, color },
        );
    }

    /// A line through `points` with round ends and corners.
    pub fn polyline(&mut self, points: &[[f64; 2]], width: f64, color: Rgb) {
        let drawable = points.len() > 1 && points.iter().flatten().all(|part| part.is_finite());
        if !(drawable && width > 0.0 && width.is_finite()) {
            return;
        }
        if let [a, b] = *points {
            let size = self.size();
            let canvas = self;
            Pen::new([a, b], width / 2.0).draw(size, &mut Ink { canvas, color });
            return;
        }
        let Some(mut cover) = Cover::about(points, width, self.size()) else {
            return;
        };
        for pair in points.windows(2) {
            cover.add(&Pen::new([pair[0], pair[1]], width / 2.0));
        }
        cover.paint(self, color);
    }

    /// The inside of the closed polygon through `points`; a hole is a part walked the other way.
    pub fn polygon(&mut self, points: &[[f64; 2]], color: Rgb) {
        let drawable = points.len() > 2 && points.iter().flatten().all(|part| part.is_finite());
        let cover = drawable.then(|| Cover::about(points, 2.0, self.size()));
        if let Some(mut cover) = cover.flatten() {
            cover.fill(points);
            cover.paint(self, color);
        }
    }
}

/// What shapes are drawn on: parts of rows, of pixels that are covered whole and of others.
pub(super) trait Surface {
    fn whole(&mut self, row: i32, columns: Range<i32>);
    fn edge(&mut self, row: i32, columns: Range<i32>, coverage: impl Fn(i32) -> f32);
}

/// A picture, in one colour.
struct Ink<'a> {
    canvas: &'a mut Canvas,
    color: Rgb,
}

impl Surface for Ink<'_> {
    fn whole(&mut self, row: i32, columns: Range<i32>) {
        self.canvas.span(row, columns, self.color);
    }

    fn edge(&mut self, row: i32, columns: Range<i32>, coverage: impl Fn(i32) -> f32) {
        self.canvas.edge(row, columns, self.color, coverage);
    }
}

/// Draws what lies between two circles, down to a row. Only pixels next to a circle are measured, by
/// the distance of their middles from the centre.
pub(super) fn draw_round(
    [width, height]: [i32; 2],
    [x, y]: [f64; 2],
    [inner, outer]: [f64; 2],
    end: f64,
    coverage: impl Fn(f64) -> f64,
    surface: &mut impl Surface,
) {
    let reach = outer + EDGE;
    if !(reach.is_finite() && x.is_finite() && y.is_finite()) {
        return;
    }
    let first = floor(y - reach).max(0);
    let last = ceil(y + reach)
        .min(floor(end).saturating_add(1))
        .min(height);
    for row in first..last {
        let down = f64::from(row) + 0.5 - y;
        let column = |off: f64| ceil(x + off - 0.5).clamp(0, width);
        let measure = |column: i32| {
            let across = f64::from(column) + 0.5 - x;
            coverage((across * across + down * down).sqrt()) as f32
        };
        // Half the widths of what is touched, covered whole but for a hole, and bare again.
        let (touched, bare) = (half_chord(reach, down), half_chord(inner - EDGE, down));
        let (left, right) = (column(-touched), column(touched));
        let (whole, hole) = (
            half_chord(outer - EDGE, down),
            half_chord(inner + EDGE, down),
        );
        if whole <= hole {
            surface.edge(row, left..column(-bare), measure);
            surface.edge(row, column(bare)..right, measure);
            continue;
        }
        let (left_whole, right_whole) = (column(-whole), column(whole));
        surface.edge(row, left..left_whole, measure);
        if hole > 0.0 {
            let (left_hole, right_hole) = (column(-hole), column(hole));
            surface.whole(row, left_whole..left_hole);
            surface.edge(row, left_hole..column(-bare), measure);
            surface.edge(row, column(bare)..right_hole, measure);
            surface.whole(row, right_hole..right_whole);
        } else {
            surface.whole(row, left_whole..right_whole);
        }
        surface.edge(row, right_whole..right, measure);
    }
}

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
            from: corners[at],
            end: corners[(at + 1) % 4][1],
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

/// From a corner down or up to the row of the next; how much `x` grows with `y`.
struct Edge {
    from: [f64; 2],
    end: f64,
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
        for Edge { from, end, slope } in &self.edges {
            if (from[1] <= y) != (*end <= y) {
                let x = from[0] + (y - from[1]) * slope;
                low = low.min(x);
                high = high.max(x);
            }
        }
        (low <= high).then_some([low, high])
    }
}

/// The whole numbers next to one, without a call: not all processors that this is compiled for
/// have an instruction. What is no number becomes 0.
fn floor(x: f64) -> i32 {
    let whole = x as i32;
    whole.saturating_sub(i32::from(f64::from(whole) > x))
}

fn ceil(x: f64) -> i32 {
    let whole = x as i32;
    whole.saturating_add(i32::from(f64::from(whole) < x))
}

/// How much of each pixel of a part of the picture is covered, in 255ths: where parts of one shape
/// overlap, they cover no more than one of them.
struct Cover {
    left: i32,
    top: i32,
    width: usize,
    shares: Vec<u8>,
}

impl Cover {
    /// An empty one, large enough for a line of this width; `None` outside the picture.
    fn about(points: &[[f64; 2]], line: f64, size: [i32; 2]) -> Option<Self> {
        let reach = line / 2.0 + 1.0;
        let edge = |axis: usize| {
            let parts = points.iter().map(|point| point[axis]);
            let low = parts.clone().fold(f64::INFINITY, f64::min) - reach;
            let high = parts.fold(f64::NEG_INFINITY, f64::max) + reach;
            let low = (low.floor() as i32).clamp(0, size[axis]);
            (low, (high.ceil() as i32).clamp(low, size[axis]))
        };
        let ((left, right), (top, bottom)) = (edge(0), edge(1));
        let [width, height] = [right - left, bottom - top].map(|side| side as usize);
        (width * height > 0).then(|| Self {
            left,
            top,
            width,
            shares: vec![0; width * height],
        })
    }

    fn height(&self) -> i32 {
        (self.shares.len() / self.width) as i32
    }

    fn add(&mut self, pen: &Pen) {
        let [right, bottom] = [self.left + self.width as i32, self.top + self.height()];
        pen.draw([right, bottom], self);
    }

    /// Part of a row. All of a line lies inside by construction; rounding may disagree by a pixel.
    fn part(&mut self, row: i32, columns: &Range<i32>) -> Option<(i32, &mut [u8])> {
        let first = columns.start.max(self.left);
        if row < self.top || first >= columns.end {
            return None;
        }
        let start = (row - self.top) as usize * self.width;
        let [from, to] = [first, columns.end].map(|at| start + (at - self.left) as usize);
        Some((first, &mut self.shares[from..to]))
    }

    /// Fills the polygon through the points.
    fn fill(&mut self, points: &[[f64; 2]]) {
        let mut path = PathBuilder::new();
        for (at, [x, y]) in points.iter().enumerate() {
            let [x, y] = [x - f64::from(self.left), y - f64::from(self.top)];
            match at {
                0 => path.move_to(x as f32, y as f32),
                _ => path.line_to(x as f32, y as f32),
            }
        }
        path.close();
        let mask = Mask::new(self.width as u32, self.height() as u32);
        if let (Some(path), Some(mut mask)) = (path.finish(), mask) {
            mask.fill_path(&path, FillRule::Winding, true, Transform::identity());
            self.shares = mask.take();
        }
    }

    fn paint(&self, canvas: &mut Canvas, color: Rgb) {
        for (row, shares) in (self.top..).zip(self.shares.chunks_exact(self.width)) {
            // Most of a line's box is bare, which is seen many pixels at a time.
            let (many, rest) = shares.as_chunks::<16>();
            let mut column = self.left;
            for some in many {
                let bits = u128::from_le_bytes(*some);
                if bits != 0 {
                    let first = bits.trailing_zeros() as usize / 8;
                    let last = 16 - bits.leading_zeros() as usize / 8;
                    let inked = &some[first..last];
                    // Two edges of a thin line, or a part of a wide one.
                    match inked.len() <= 8 {
                        true => canvas.mix_edge(row, column + first as i32, inked, color),
                        false => canvas.mix_row(row, column, some, color),
                    }
                }
                column += 16;
            }
            canvas.mix_row(row, column, rest, color);
        }
    }
}

impl Surface for Cover {
    fn whole(&mut self, row: i32, columns: Range<i32>) {
        if let Some((_, shares)) = self.part(row, &columns) {
            shares.fill(255);
        }
    }

    fn edge(&mut self, row: i32, columns: Range<i32>, coverage: impl Fn(i32) -> f32) {
        if let Some((first, shares)) = self.part(row, &columns) {
            for (at, column) in shares.iter_mut().zip(first..) {
                *at = (*at).max(share(coverage(column)));
            }
        }
    }
}

/// Half the length of the chord at `distance` from the centre; nil outside.
fn half_chord(radius: f64, distance: f64) -> f64 {
    match radius > distance.abs() {
        true => (radius * radius - distance * distance).sqrt(),
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discs_cover_their_area_and_fade_at_the_edge() {
        for (x, y, radius) in [(20.0, 20.0, 9.0), (20.5, 20.5, 9.3), (19.8, 20.1, 2.4)] {
            let mut canvas = Canvas::new([40, 40], [0; 3]).unwrap();
            canvas.disc([x, y], radius, [255; 3]);
            let picture = canvas.into_rgb().unwrap();
            let area = picture
                .pixels()
                .map(|pixel| f64::from(pixel.0[0]) / 255.0)
                .sum::<f64>();
            let exact = std::f64::consts::PI * radius * radius;
            assert!(
                (area - exact).abs() < 0.02 * exact + 0.15,
                "{area} for {exact}"
            );
            for (column, row, pixel) in picture.enumerate_pixels() {
                let across = f64::from(column) + 0.5 - x;
                let down = f64::from(row) + 0.5 - y;
                let distance = (across * across + down * down).sqrt();
                let expected = (radius + 0.5 - distance).clamp(0.0, 1.0);
                let drawn = f64::from(pixel.0[0]) / 255.0;
                assert!(
                    (drawn - expected).abs() < 0.22,
                    "{column} {row}: {drawn} {expected}"
                );
            }
        }
    }

    #[test]
    fn what_lies_between_two_circles_is_covered_by_its_distance() {
        for ([x, y], [inner, outer], end) in [
            ([20.0, 15.0], [5.0, 11.0], f64::INFINITY),
            ([20.5, 15.5], [5.0, 6.0], f64::INFINITY),
            ([20.3, 14.1], [3.2, 13.7], 19.0),
            ([20.3, 14.1], [3.2, 3.9], f64::INFINITY),
            ([1.0, 28.0], [9.0, 17.0], f64::INFINITY),
            ([20.5, 15.0], [0.0, 4.0], 15.2),
            ([-3.0, -2.0], [3.0, 60.0], f64::INFINITY),
            ([90.0, 15.0], [3.0, 6.0], f64::INFINITY),
        ] {
            let inset = |distance: f64| (distance - inner).min(outer - distance) + 0.5;
            let mut canvas = Canvas::new([40, 30], [0; 3]).unwrap();
            canvas.round([x, y], [inner, outer], end, [255; 3], inset);
            for (column, row, pixel) in canvas.into_rgb().unwrap().enumerate_pixels() {
                let distance = (f64::from(column) + 0.5 - x).hypot(f64::from(row) + 0.5 - y);
                let expected = match f64::from(row) <= end {
                    true => 255.0 * inset(distance).clamp(0.0, 1.0),
                    false => 0.0,
                };
                assert!(
                    (f64::from(pixel.0[0]) - expected).abs() <= 1.0,
                    "{x} {y} {inner} {outer}: {column} {row} is {pixel:?}, not {expected}"
                );
            }
        }
        let mut canvas = Canvas::new([4, 4], [0; 3]).unwrap();
        canvas.disc([f64::NAN, 1.0], 2.0, [9; 3]);
        canvas.disc([1e300, -1e300], 2.0, [9; 3]);
        canvas.disc([2.0, 2.0], f64::INFINITY, [9; 3]);
        canvas.disc([2.0, 2.0], f64::NAN, [9; 3]);
        assert!(canvas.into_rgb().unwrap().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn polygons_and_rings_cover_their_areas() {
        let area = |draw: &dyn Fn(&mut Canvas)| {
            let mut canvas = Canvas::new([60, 60], [0; 3]).unwrap();
            draw(&mut canvas);
            let picture = canvas.into_rgb().unwrap();
            let grays = picture.pixels().map(|pixel| f64::from(pixel.0[0]) / 255.0);
            grays.sum::<f64>()
        };
        let square = [[10.5, 10.5], [40.5, 10.5], [40.5, 40.5], [10.5, 40.5]];
        assert!((area(&|canvas| canvas.polygon(&square, [255; 3])) - 900.0).abs() < 2.0);
        // The same with a hole of 10 by 10.
        let hole = [[20.0, 20.0], [20.0, 30.0], [30.0, 30.0], [30.0, 20.0]];
        let mut holed = [square.to_vec(), vec![square[0]]].concat();
        holed.extend(hole);
        holed.push(hole[0]);
        assert!((area(&|canvas| canvas.polygon(&holed, [255; 3])) - 800.0).abs() < 2.0);
        for (inner, outer) in [(10.0, 20.0), (0.0, 7.0), (12.0, 12.5)] {
            let exact = std::f64::consts::PI * (outer * outer - inner * inner);
            let drawn = area(&|canvas| canvas.annulus([30.2, 29.9], inner, outer, [255; 3]));
            assert!(
                (drawn - exact).abs() < 0.02 * exact + 0.2,
                "{drawn} {exact}"
            );
        }
    }

    /// Every pixel of a line is as dark as its distance to the nearest segment says.
    #[test]
    fn lines_agree_with_brute_force() {
        let bend = [[5.0, 6.0], [30.0, 20.0], [8.2, 25.1], [9.0, 25.0]];
        for (points, width) in [
            (&bend[..], 5.0),
            (&bend[..], 0.6),
            (&bend[..2], 5.0),
            (&[[30.0, 20.0], [5.0, 5.3]], 2.0),
            (&[[5.0, 9.0], [33.0, 9.0]], 5.0),
            (&[[9.5, 25.0], [9.5, 2.0]], 4.0),
            (&[[12.0, 12.0], [12.0, 12.0]], 8.0),
            (&[[-20.0, 4.0], [60.0, 31.0], [60.0, -9.0]], 7.0),
        ] {
            let mut canvas = Canvas::new([40, 30], [0; 3]).unwrap();
            canvas.polyline(points, width, [255; 3]);
            for (x, y, pixel) in canvas.into_rgb().unwrap().enumerate_pixels() {
                let middle = [f64::from(x) + 0.5, f64::from(y) + 0.5];
                let away = points.windows(2).map(|pair| away(middle, pair[0], pair[1]));
                let away = away.fold(f64::INFINITY, f64::min);
                let covered = (width / 2.0 + 0.5 - away).min(width).clamp(0.0, 1.0);
                let drawn = f64::from(pixel.0[0]) / 255.0;
                assert!(
                    (drawn - covered).abs() < 0.01,
                    "{points:?} {width}: {x} {y} is {drawn}, not {covered}"
                );
            }
        }
    }

    fn away(point: [f64; 2], a: [f64; 2], b: [f64; 2]) -> f64 {
        let along = [b[0] - a[0], b[1] - a[1]];
        let square = along[0] * along[0] + along[1] * along[1];
        let dot = (point[0] - a[0]) * along[0] + (point[1] - a[1]) * along[1];
        let at = if square > 0.0 {
            (dot / square).clamp(0.0, 1.0)
        } else {
            0.0
        };
        (a[0] + at * along[0] - point[0]).hypot(a[1] + at * along[1] - point[1])
    }

    #[test]
    fn drawing_outside_is_harmless() {
        let mut canvas = Canvas::new([4, 4], [9, 9, 9]).unwrap();
        canvas.disc([f64::NAN, 0.0], 3.0, [0; 3]);
        canvas.disc([1e30, -1e30], 3.0, [0; 3]);
        canvas.disc([2.0, 2.0], -1.0, [0; 3]);
        canvas.disc([40.0, 2.0], 9.0, [0; 3]);
        canvas.disc([2.0, f64::NAN], f64::INFINITY, [0; 3]);
        canvas.rect([9, 9, 20, 20], [0; 3]);
        canvas.rect([3, 3, 1, 1], [0; 3]);
        canvas.polyline(&[], 1.0, [0; 3]);
        canvas.polyline(&[[1.0, 1.0]], 1.0, [0; 3]);
        canvas.polyline(&[[1.0, f64::NAN], [2.0, 2.0]], 1.0, [0; 3]);
        canvas.polyline(&[[1e30, 1e30], [2e30, 2e30]], 1.0, [0; 3]);
        canvas.polyline(&[[1e9, 1e9], [-1e9, 1e9], [0.0, 1e9]], 3.0, [0; 3]);
        canvas.polyline(&[[1.0, 1.0], [2.0, 2.0]], f64::INFINITY, [0; 3]);
        canvas.polygon(&[], [0; 3]);
        canvas.polygon(&[[f64::NAN, 1.0], [2.0, 3.0], [0.0, 3.0]], [0; 3]);
        canvas.annulus([2.0, 2.0], 3.0, f64::NAN, [0; 3]);
        canvas.annulus([2.0, 2.0], 3.0, 2.0, [0; 3]);
        canvas.blend(-1, 9, 1.0, [0; 3]);
        assert!(
            canvas
                .into_rgb()
                .unwrap()
                .pixels()
                .all(|pixel| pixel.0 == [9, 9, 9])
        );
    }
}
