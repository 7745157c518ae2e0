//! A picture being drawn.

use std::ops::Range;

use image::RgbImage;
use tiny_skia::{Color, FillRule, LineCap, LineJoin, Paint, PathBuilder, Pixmap, Transform};

use crate::dice::Dice;
use crate::error::{PuzzleError, Result};

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// Longest side of a picture, pixels.
pub const MAX_SIDE: u32 = 4096;

/// An opaque picture; coordinates in pixels, y down, pixel centres at halves.
pub struct Canvas {
    pixels: Pixmap,
}

impl Canvas {
    /// A page of one colour.
    ///
    /// # Errors
    /// [`PuzzleError::Picture`] when a side is 0 or above [`MAX_SIDE`].
    pub fn new([width, height]: [u32; 2], page: Rgb) -> Result<Self> {
        let fits = width.max(height) <= MAX_SIDE;
        let Some(mut pixels) = fits.then(|| Pixmap::new(width, height)).flatten() else {
            let fault = format!("{width}x{height} pixels; sides must lie in 1..={MAX_SIDE}");
            return Err(PuzzleError::Picture(fault));
        };
        pixels.fill(Color::from_rgba8(page[0], page[1], page[2], 255));
        Ok(Self { pixels })
    }

    /// A filled circle with smooth edge.
    ///
    /// Not left to the path filler: discs are most of what puzzles are made of, and measuring each
    /// edge pixel's distance is some thirty times faster than supersampling a path.
    pub fn disc(&mut self, [x, y]: [f64; 2], radius: f64, color: Rgb) {
        // Half a pixel's diagonal: beyond it a pixel is wholly inside or outside.
        const EDGE: f64 = 0.708;
        let (outer, inner) = (radius + EDGE, radius - EDGE);
        if !(radius > 0.0 && outer.is_finite()) {
            return;
        }
        let (width, height) = (self.pixels.width() as i32, self.pixels.height() as i32);
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
            for column in (first..from).chain(to..last) {
                let across = f64::from(column) + 0.5 - x;
                let coverage = radius + 0.5 - (across * across + down * down).sqrt();
                self.blend(column, row, coverage as f32, color);
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

    /// A filled rectangle with sharp edges: `[left, top, right, bottom]`, whole pixels; what lies
    /// outside the picture is cut off.
    pub fn rect(&mut self, [left, top, right, bottom]: [u32; 4], color: Rgb) {
        let (width, height) = (self.pixels.width(), self.pixels.height());
        let [left, right] = [left, right].map(|edge| edge.min(width) as i32);
        for row in top.min(height)..bottom.min(height) {
            self.span(row as i32, left..right.max(left), color);
        }
    }

    /// What lies between two circles, with smooth edges.
    pub fn annulus(&mut self, [x, y]: [f64; 2], inner: f64, outer: f64, color: Rgb) {
        let reach = outer + 0.708;
        if !(outer > inner.max(0.0) && reach.is_finite()) {
            return;
        }
        let (width, height) = (self.pixels.width() as i32, self.pixels.height() as i32);
        for row in ((y - reach).floor() as i32).max(0)..((y + reach).ceil() as i32).min(height) {
            let down = f64::from(row) + 0.5 - y;
            let chord = half_chord(reach, down);
            let first = ((x - chord).floor() as i32).max(0);
            let last = ((x + chord).ceil() as i32).min(width);
            for column in first..last {
                let across = f64::from(column) + 0.5 - x;
                let distance = (across * across + down * down).sqrt();
                // A ring thinner than a pixel covers at most its thickness.
                let within = (outer + 0.5 - distance).clamp(0.0, 1.0);
                let hole = (inner + 0.5 - distance).clamp(0.0, 1.0);
                self.blend(column, row, (within - hole) as f32, color);
            }
        }
    }

    /// The inside of the closed polygon through `points`; a hole is a part walked the other way.
    pub fn polygon(&mut self, points: &[[f64; 2]], color: Rgb) {
        if !points.iter().flatten().all(|part| part.is_finite()) {
            return;
        }
        let mut builder = open_path(points);
        builder.close();
        if let Some(path) = builder.finish() {
            let whole = Transform::identity();
            self.pixels
                .fill_path(&path, &solid(color), FillRule::Winding, whole, None);
        }
    }

    /// A line through `points` with round ends and corners.
    pub fn polyline(&mut self, points: &[[f64; 2]], width: f64, color: Rgb) {
        let builder = open_path(points);
        let stroke = tiny_skia::Stroke {
            width: width as f32,
            line_cap: LineCap::Round,
            line_join: LineJoin::Round,
            ..tiny_skia::Stroke::default()
        };
        if let Some(path) = builder.finish() {
            let whole = Transform::identity();
            self.pixels
                .stroke_path(&path, &solid(color), &stroke, whole, None);
        }
    }

    /// Paints part of a row; the range must lie inside the picture.
    fn span(&mut self, row: i32, columns: Range<i32>, color: Rgb) {
        let start = row as usize * self.pixels.width() as usize;
        let [from, to] = [columns.start, columns.end].map(|at| (start + at as usize) * 4);
        let [red, green, blue] = color;
        for pixel in self.pixels.data_mut()[from..to].chunks_exact_mut(4) {
            pixel.copy_from_slice(&[red, green, blue, 255]);
        }
    }

    /// Mixes `color` into one pixel; outside the picture nothing happens.
    pub(crate) fn blend(&mut self, x: i32, y: i32, coverage: f32, color: Rgb) {
        let (width, height) = (self.pixels.width() as i32, self.pixels.height() as i32);
        if x < 0 || y < 0 || x >= width || y >= height {
            return;
        }
        let at = (y * width + x) as usize * 4;
        let share = (coverage.clamp(0.0, 1.0) * 255.0 + 0.5) as u32;
        if share == 255 {
            self.pixels.data_mut()[at..at + 3].copy_from_slice(&color);
            return;
        }
        for (old, new) in self.pixels.data_mut()[at..at + 3].iter_mut().zip(color) {
            let mixed = u32::from(*old) * (255 - share) + u32::from(new) * share;
            *old = ((mixed + 127) / 255) as u8;
        }
    }

    /// Adds even noise of up to `amplitude` grey levels to every channel.
    pub fn noise(&mut self, amplitude: u8, seed: u64) {
        if amplitude == 0 {
            return;
        }
        let mut dice = Dice::new(seed, "noise");
        let reach = i32::from(amplitude);
        for pixel in self.pixels.data_mut().chunks_exact_mut(4) {
            for channel in &mut pixel[..3] {
                *channel = (i32::from(*channel) + dice.whole(-reach, reach)).clamp(0, 255) as u8;
            }
        }
    }

    /// The finished picture.
    ///
    /// # Errors
    /// [`PuzzleError::Picture`]; cannot happen for a canvas made by [`Canvas::new`].
    pub fn into_rgb(self) -> Result<RgbImage> {
        let (width, height) = (self.pixels.width(), self.pixels.height());
        let mut bytes = vec![0; width as usize * height as usize * 3];
        for (rgb, rgba) in bytes
            .chunks_exact_mut(3)
            .zip(self.pixels.data().chunks_exact(4))
        {
            rgb.copy_from_slice(&rgba[..3]);
        }
        RgbImage::from_raw(width, height, bytes)
            .ok_or_else(|| PuzzleError::Picture("buffer does not match its size".to_owned()))
    }
}

fn open_path(points: &[[f64; 2]]) -> PathBuilder {
    let mut builder = PathBuilder::new();
    for (at, &[x, y]) in points.iter().enumerate() {
        match at {
            0 => builder.move_to(x as f32, y as f32),
            _ => builder.line_to(x as f32, y as f32),
        }
    }
    builder
}

/// Half the length of the chord at `distance` from the centre; nil outside.
fn half_chord(radius: f64, distance: f64) -> f64 {
    match radius > distance.abs() {
        true => (radius * radius - distance * distance).sqrt(),
        false => 0.0,
    }
}

fn solid([red, green, blue]: Rgb) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, 255);
    paint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_land_where_they_are_put() {
        let mut canvas = Canvas::new([40, 30], [255, 255, 255]).unwrap();
        canvas.ring([20.0, 15.0], 8.0, 2.0, [0, 0, 0], [200, 0, 0]);
        canvas.rect([0, 0, 3, 2], [0, 0, 255]);
        canvas.polyline([[30.0, 25.0], [38.0, 25.0]].as_slice(), 4.0, [0, 255, 0]);
        let picture = canvas.into_rgb().unwrap();
        assert_eq!(picture.get_pixel(20, 15).0, [200, 0, 0]);
        assert_eq!(picture.get_pixel(27, 15).0, [0, 0, 0]);
        assert_eq!(picture.get_pixel(2, 1).0, [0, 0, 255]);
        assert_eq!(picture.get_pixel(3, 1).0, [255, 255, 255]);
        assert_eq!(picture.get_pixel(34, 25).0, [0, 255, 0]);
    }

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

    #[test]
    fn impossible_sizes_are_refused() {
        for size in [[0, 5], [5, 0], [MAX_SIDE + 1, 5], [u32::MAX, u32::MAX]] {
            assert!(matches!(
                Canvas::new(size, [0; 3]),
                Err(PuzzleError::Picture(_))
            ));
        }
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
