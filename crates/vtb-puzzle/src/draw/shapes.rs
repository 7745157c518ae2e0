//! Shapes with smooth edges: how much of a pixel is covered follows from the distance of its middle
//! to the edge.
//!
//! Measuring is several times faster than filling paths, and takes nothing but sums, products and
//! square roots, which every machine rounds alike.

use super::canvas::{Canvas, Rgb};
use super::cover::Cover;
use super::pen::Pen;
use super::round::draw_round;
use super::surface::Ink;

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
        if let Some(cover) = Cover::about(points, width, self.size()) {
            cover.draw(points, width / 2.0, self, color);
        }
    }

    /// The inside of the closed polygon through `points`; a hole is a part walked the other way.
    pub fn polygon(&mut self, points: &[[f64; 2]], color: Rgb) {
        let drawable = points.len() > 2 && points.iter().flatten().all(|part| part.is_finite());
        let cover = drawable.then(|| Cover::about(points, 2.0, self.size()));
        if let Some(cover) = cover.flatten() {
            cover.fill(points, self, color);
        }
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
        let circle: Vec<_> = (0..=48)
            .map(|at| {
                let [x, y] = crate::maze::on_circle(at, 48);
                [19.3 + 11.0 * x, 15.1 + 11.0 * y]
            })
            .collect();
        for (points, width) in [
            (&circle[..], 2.5),
            (&circle[..], 5.0),
            (&circle[..30], 13.0),
            (&bend[..], 11.0),
            (&[[12.0, 9.0], [24.0, 17.5]], 12.0),
            (&bend[..], 5.0),
            (&bend[..], 0.6),
            (&bend[..2], 5.0),
            (&[[30.0, 20.0], [5.0, 5.3]], 2.0),
            (&[[5.0, 9.0], [33.0, 9.0]], 5.0),
            (&[[9.5, 25.0], [9.5, 2.0]], 4.0),
            (&[[5.0, 9.0], [33.0, 9.0 + 1e-13]], 7.0),
            (&[[5.0, 9.0 - 3e-12], [33.0, 9.0]], 7.0),
            (&[[9.5 + 1e-13, 25.0], [9.5, 2.0]], 7.0),
            (&[[12.0, 12.0], [12.0, 12.0]], 8.0),
            (&[[12.0, 12.0], [12.0, 12.0]], 14.0),
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
        canvas.dot(-1, 9, [0; 3]);
        assert!(
            canvas
                .into_rgb()
                .unwrap()
                .pixels()
                .all(|pixel| pixel.0 == [9, 9, 9])
        );
    }
}
