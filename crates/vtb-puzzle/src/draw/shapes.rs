//! Shapes with smooth edges: how much of a pixel is covered follows from the distance of its middle
//! to the edge.
//!
//! Measuring is several times faster than filling paths, and takes nothing but sums, products and
//! square roots, which every machine rounds alike.

use std::ops::Range;

use tiny_skia::{FillRule, Mask, PathBuilder, Transform};

use super::canvas::{Canvas, Rgb, share};

/// Half a pixel's diagonal: beyond it a pixel is wholly inside or outside.
const EDGE: f64 = 0.708;

impl Canvas {
    /// A filled circle with smooth edge.
    pub fn disc(&mut self, [x, y]: [f64; 2], radius: f64, color: Rgb) {
        let (outer, inner) = (radius + EDGE, radius - EDGE);
        if !(radius > 0.0 && outer.is_finite()) {
            return;
        }
        let [width, height] = self.size();
        let rows = ((y - outer).floor() as i32).max(0)..((y + outer).ceil() as i32).min(height);
        for row in rows {
            let down = f64::from(row) + 0.5 - y;
            let reach = half_chord(outer, down);
            let solid = half_chord(inner, down);
            let first = ((x - reach).floor() as i32).max(0);
            let last = ((x + reach).ceil() as i32).min(width);
            if first >= last {
                continue;
            }
            // Pixels whose centres lie on the solid chord need no measuring.
            let (mut from, mut to) = (first, first);
            if solid > 0.0 {
                from = ((x - solid - 0.5).ceil() as i32).clamp(first, last);
                to = ((x + solid + 0.5).floor() as i32).clamp(from, last);
                self.span(row, from..to, color);
            }
            for edge in [first..from, to..last] {
                self.fade(row, edge, color, |column| {
                    let across = f64::from(column) + 0.5 - x;
                    (radius + 0.5 - (across * across + down * down).sqrt()) as f32
                });
            }
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
    pub fn annulus(&mut self, [x, y]: [f64; 2], inner: f64, outer: f64, color: Rgb) {
        let reach = outer + EDGE;
        if !(outer > inner.max(0.0) && reach.is_finite()) {
            return;
        }
        let [width, height] = self.size();
        for row in ((y - reach).floor() as i32).max(0)..((y + reach).ceil() as i32).min(height) {
            let down = f64::from(row) + 0.5 - y;
            let chord = half_chord(reach, down);
            let hole = half_chord(inner - EDGE, down);
            let first = ((x - chord).floor() as i32).max(0);
            let last = ((x + chord).ceil() as i32).min(width);
            // Nothing of the pixels between these two columns is covered.
            let (from, to) = match hole > 1.0 {
                true => ((x - hole).ceil() as i32, (x + hole).floor() as i32),
                false => (last, last),
            };
            for side in [
                first..from.clamp(first, last.max(first)),
                to.max(first)..last,
            ] {
                self.fade(row, side, color, |column| {
                    let across = f64::from(column) + 0.5 - x;
                    let distance = (across * across + down * down).sqrt();
                    // A ring thinner than a pixel covers at most its thickness.
                    let within = (outer + 0.5 - distance).clamp(0.0, 1.0);
                    let hole = (inner + 0.5 - distance).clamp(0.0, 1.0);
                    (within - hole) as f32
                });
            }
        }
    }

    /// A line through `points` with round ends and corners.
    pub fn polyline(&mut self, points: &[[f64; 2]], width: f64, color: Rgb) {
        let drawable = points.len() > 1 && points.iter().flatten().all(|part| part.is_finite());
        if !(drawable && width > 0.0 && width.is_finite()) {
            return;
        }
        if let [a, b] = *points {
            let pen = Pen::new([a, b], width / 2.0);
            pen.draw(self.size(), |row, columns, shares| match shares {
                None => self.span(row, columns, color),
                Some(measure) => columns.for_each(|column| {
                    self.mix(column, row, measure(column), color);
                }),
            });
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

/// A thick segment with round ends.
struct Pen {
    ends: [[f64; 2]; 2],
    along: [f64; 2],
    /// One over the square of the length; 0 for a point.
    scale: f64,
    /// Length 1, across the segment.
    normal: [f64; 2],
    half: f64,
}

impl Pen {
    fn new([a, b]: [[f64; 2]; 2], half: f64) -> Self {
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
            half,
        }
    }

    /// Hands out the parts of each row that the pen touches, from left to right: columns that are
    /// covered whole, and others with a measure of their coverage.
    fn draw(
        &self,
        [width, height]: [i32; 2],
        mut paint: impl FnMut(i32, Range<i32>, Option<&dyn Fn(i32) -> u8>),
    ) {
        let [a, b] = self.ends;
        let reach = self.half + 0.5;
        let outline = self.corners(reach);
        let core = self.corners(self.half - 0.5);
        let top = ((a[1].min(b[1]) - reach).floor() as i32).max(0);
        let bottom = ((a[1].max(b[1]) + reach).ceil() as i32).min(height);
        for row in top..bottom {
            let y = f64::from(row) + 0.5;
            let columns = |slice: Option<[f64; 2]>, none: i32| match slice {
                None => none..none,
                Some([low, high]) => {
                    let first = ((low - 0.5).ceil() as i32).clamp(0, width);
                    first..((high - 0.5).floor() as i32 + 1).clamp(first, width)
                }
            };
            let touched = columns(self.slice(&outline, reach, y), 0);
            if touched.is_empty() {
                continue;
            }
            let whole = columns(self.slice(&core, self.half - 0.5, y), touched.end);
            let whole = whole.start.max(touched.start)..whole.end.min(touched.end);
            let measure = |column: i32| self.share([f64::from(column) + 0.5, y]);
            if whole.is_empty() {
                paint(row, touched, Some(&measure));
                continue;
            }
            paint(row, touched.start..whole.start, Some(&measure));
            paint(row, whole.clone(), None);
            paint(row, whole.end..touched.end, Some(&measure));
        }
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

    /// Where a row cuts what lies within `reach` of the segment: a rectangle with these corners and
    /// two discs.
    fn slice(&self, corners: &[[f64; 2]; 4], reach: f64, y: f64) -> Option<[f64; 2]> {
        if reach <= 0.0 {
            return None;
        }
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for end in self.ends {
            let down = y - end[1];
            if down.abs() < reach {
                let chord = half_chord(reach, down);
                low = low.min(end[0] - chord);
                high = high.max(end[0] + chord);
            }
        }
        for at in 0..4 {
            let (from, to) = (corners[at], corners[(at + 1) % 4]);
            if (from[1] <= y) != (to[1] <= y) {
                let x = from[0] + (y - from[1]) * (to[0] - from[0]) / (to[1] - from[1]);
                low = low.min(x);
                high = high.max(x);
            }
        }
        (low <= high).then_some([low, high])
    }

    /// Coverage of the pixel with this middle, in 255ths.
    fn share(&self, [x, y]: [f64; 2]) -> u8 {
        let [a, _] = self.ends;
        let at = ((x - a[0]) * self.along[0] + (y - a[1]) * self.along[1]) * self.scale;
        let at = at.clamp(0.0, 1.0);
        let [dx, dy] = [0, 1].map(|axis| a[axis] + self.along[axis] * at - [x, y][axis]);
        // A line thinner than a pixel covers at most its thickness.
        let coverage = (self.half + 0.5 - (dx * dx + dy * dy).sqrt()).min(2.0 * self.half);
        share(coverage as f32)
    }
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
        pen.draw([right, bottom], |row, columns, measure| {
            // All lies inside by construction; rounding may disagree by a pixel.
            let columns = columns.start.max(self.left)..columns.end;
            if row < self.top || columns.is_empty() {
                return;
            }
            let start = (row - self.top) as usize * self.width;
            let [from, to] =
                [columns.start, columns.end].map(|at| start + (at - self.left) as usize);
            let shares = &mut self.shares[from..to];
            match measure {
                None => shares.fill(255),
                Some(measure) => shares
                    .iter_mut()
                    .zip(columns)
                    .for_each(|(share, column)| *share = (*share).max(measure(column))),
            }
        });
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
        // Most of a line's box is bare.
        const AT_ONCE: usize = 16;
        for (row, shares) in (self.top..).zip(self.shares.chunks_exact(self.width)) {
            for (at, some) in shares.chunks(AT_ONCE).enumerate() {
                if some.iter().any(|share| *share > 0) {
                    canvas.mix_row(row, self.left + (AT_ONCE * at) as i32, some, color);
                }
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
