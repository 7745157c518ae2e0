//! A picture being drawn.

use std::ops::Range;

use image::RgbImage;

use crate::dice::Dice;
use crate::error::{PuzzleError, Result};

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// Longest side of a picture, pixels.
pub const MAX_SIDE: u32 = 4096;

/// An opaque picture; coordinates in pixels, y down, pixel centres at halves.
///
/// Its bytes are those of the finished picture from the start: most puzzles are a page with a few
/// strokes, and filling, converting and copying pages would take longer than drawing on them.
#[derive(Clone)]
pub struct Canvas {
    width: u32,
    height: u32,
    bytes: Vec<u8>,
}

impl Canvas {
    /// A page of one colour.
    ///
    /// # Errors
    /// [`PuzzleError::Picture`] when a side is 0 or above [`MAX_SIDE`].
    pub fn new([width, height]: [u32; 2], page: Rgb) -> Result<Self> {
        let least = width.min(height);
        if least == 0 || width.max(height) > MAX_SIDE {
            let fault = format!("{width}x{height} pixels; sides must lie in 1..={MAX_SIDE}");
            return Err(PuzzleError::Picture(fault));
        }
        let count = width as usize * height as usize;
        let bytes = match page {
            [red, green, blue] if red == green && green == blue => vec![red; 3 * count],
            _ => page.repeat(count),
        };
        Ok(Self {
            width,
            height,
            bytes,
        })
    }

    /// Width and height, pixels.
    pub(super) fn size(&self) -> [i32; 2] {
        [self.width as i32, self.height as i32]
    }

    /// A filled rectangle with sharp edges: `[left, top, right, bottom]`, whole pixels; what lies
    /// outside the picture is cut off.
    pub fn rect(&mut self, [left, top, right, bottom]: [u32; 4], color: Rgb) {
        let [left, right] = [left, right].map(|edge| edge.min(self.width) as i32);
        for row in top.min(self.height)..bottom.min(self.height) {
            self.span(row as i32, left..right.max(left), color);
        }
    }

    /// Paints part of a row; the range must lie inside the picture.
    pub(super) fn span(&mut self, row: i32, columns: Range<i32>, color: Rgb) {
        let pixels = self.row(row, columns);
        match color {
            [red, green, blue] if red == green && green == blue => pixels.fill(red),
            _ => pixels
                .chunks_exact_mut(3)
                .for_each(|pixel| pixel.copy_from_slice(&color)),
        }
    }

    /// Bytes of part of a row; the range must lie inside the picture.
    fn row(&mut self, row: i32, columns: Range<i32>) -> &mut [u8] {
        let start = row as usize * self.width as usize;
        let from = (start + columns.start as usize) * 3;
        let to = (start + columns.end as usize) * 3;
        &mut self.bytes[from..to]
    }

    /// Paints one pixel; outside the picture nothing happens.
    pub(crate) fn dot(&mut self, x: i32, y: i32, color: Rgb) {
        if x < 0 || y < 0 || x >= self.width as i32 || y >= self.height as i32 {
            return;
        }
        let at = 3 * (y as usize * self.width as usize + x as usize);
        self.bytes[at..at + 3].copy_from_slice(&color);
    }

    /// Mixes `color` into part of a row, a coverage in 255ths for each pixel; the part must lie
    /// inside the picture.
    pub(super) fn mix_row(&mut self, row: i32, first: i32, shares: &[u8], color: Rgb) {
        let pixels = self.row(row, first..first + shares.len() as i32);
        for (pixel, &share) in pixels.as_chunks_mut().0.iter_mut().zip(shares) {
            match share {
                0 => {}
                255 => *pixel = color,
                share => mix(pixel, share, color),
            }
        }
    }

    /// The same for pixels of which most are covered in part.
    pub(super) fn mix_edge(&mut self, row: i32, first: i32, shares: &[u8], color: Rgb) {
        let pixels = self.row(row, first..first + shares.len() as i32);
        for (pixel, &share) in pixels.as_chunks_mut().0.iter_mut().zip(shares) {
            mix(pixel, share, color);
        }
    }

    /// [`Canvas::mix_edge`], where most pixels have the colour that is mixed already.
    pub(super) fn mix_known(&mut self, row: i32, first: i32, shares: &[u8], known: &Mixture) {
        let pixels = self.row(row, first..first + shares.len() as i32);
        for (pixel, &share) in pixels.as_chunks_mut().0.iter_mut().zip(shares) {
            match *pixel == known.page {
                true => *pixel = known.mixed[usize::from(share)],
                false => mix(pixel, share, known.color),
            }
        }
    }

    /// The colour of a pixel in the picture.
    pub(super) fn color_at(&self, x: i32, y: i32) -> Rgb {
        let at = 3 * (y as usize * self.width as usize + x as usize);
        [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2]]
    }

    /// [`Canvas::mix_row`], where what lies outside the picture is left out.
    pub(super) fn stamp_row(&mut self, row: i32, first: i32, shares: &[u8], color: Rgb) {
        let end = first.saturating_add(shares.len() as i32);
        let columns = first.max(0)..end.min(self.width as i32);
        if (0..self.height as i32).contains(&row) && !columns.is_empty() {
            let [from, to] = [columns.start, columns.end].map(|at| (at - first) as usize);
            self.mix_row(row, columns.start, &shares[from..to], color);
        }
    }

    /// Mixes `color` into a few pixels inside the picture by the coverage of every column. Most are
    /// covered in part: no guess at the others is right often enough.
    #[inline]
    pub(super) fn edge(
        &mut self,
        row: i32,
        columns: Range<i32>,
        color: Rgb,
        coverage: impl Fn(i32) -> f32,
    ) {
        let pixels = self.row(row, columns.clone()).as_chunks_mut::<3>().0;
        for (pixel, column) in pixels.iter_mut().zip(columns) {
            mix(pixel, share(coverage(column)), color);
        }
    }

    /// Whether a pixel has another colour than `page`; outside the picture none has.
    pub(crate) fn differs(&self, x: i32, y: i32, page: Rgb) -> bool {
        let inside = x >= 0 && y >= 0 && x < self.width as i32 && y < self.height as i32;
        let at = |x: i32, y: i32| (y as usize * self.width as usize + x as usize) * 3;
        inside && self.bytes[at(x, y)..][..3] != page
    }

    /// Adds even noise of up to `amplitude` grey levels to every channel.
    pub fn noise(&mut self, amplitude: u8, seed: u64) {
        if amplitude == 0 {
            return;
        }
        let mut dice = Dice::new(seed, "noise");
        let reach = i32::from(amplitude);
        for channel in &mut self.bytes {
            *channel = (i32::from(*channel) + dice.whole(-reach, reach)).clamp(0, 255) as u8;
        }
    }

    /// The finished picture.
    ///
    /// # Errors
    /// [`PuzzleError::Picture`]; cannot happen for a canvas made by [`Canvas::new`].
    pub fn into_rgb(self) -> Result<RgbImage> {
        RgbImage::from_raw(self.width, self.height, self.bytes)
            .ok_or_else(|| PuzzleError::Picture("buffer does not match its size".to_owned()))
    }
}

/// A colour mixed into another.
pub(super) struct Mixture {
    page: Rgb,
    pub(super) color: Rgb,
    /// By share, in 255ths.
    mixed: [Rgb; 256],
}

impl Mixture {
    pub(super) fn new(page: Rgb, color: Rgb) -> Self {
        let mut mixed = [page; 256];
        for (share, pixel) in (0..=255).zip(&mut mixed) {
            mix(pixel, share, color);
        }
        Self { page, color, mixed }
    }
}

/// A coverage, cut to 0 to 1, in 255ths.
#[inline(always)]
pub(super) fn share(coverage: f32) -> u8 {
    (coverage.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
}

#[inline]
fn mix(pixel: &mut [u8; 3], share: u8, color: Rgb) {
    for (old, new) in pixel.iter_mut().zip(color) {
        *old = mixed(*old, new, share);
    }
}

/// `(old · (255 - share) + new · share) / 255`, to the nearest.
#[inline]
fn mixed(old: u8, new: u8, share: u8) -> u8 {
    let (old, new, share) = (u32::from(old), u32::from(new), u32::from(share));
    let sum = old * (255 - share) + new * share + 127;
    // A 255th of every number up to 65534, rounded down.
    ((sum + 1 + (sum >> 8)) >> 8) as u8
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
    fn colours_are_mixed_to_the_nearest() {
        for (old, new) in (0..=255).flat_map(|old| (0..=255).map(move |new| (old, new))) {
            for share in 0..=255_u8 {
                let sum =
                    u32::from(old) * (255 - u32::from(share)) + u32::from(new) * u32::from(share);
                assert_eq!(u32::from(mixed(old, new, share)), (sum + 127) / 255);
            }
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
}
