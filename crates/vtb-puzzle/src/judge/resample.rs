//! Rectangles of pictures: what lies within a border, and what lies under the puzzle.

use image::RgbImage;

use super::register::Map;

/// Left, top, right, bottom of what remains without the rows and columns that have the colour of
/// their corner throughout.
pub(super) fn trim(picture: &RgbImage) -> [f64; 4] {
    const SAME: u8 = 24;
    let (width, height) = picture.dimensions();
    let near = |a: (u32, u32), b: (u32, u32)| {
        let (a, b) = (picture.get_pixel(a.0, a.1).0, picture.get_pixel(b.0, b.1).0);
        (0..3).all(|at| a[at].abs_diff(b[at]) <= SAME)
    };
    let row = |y: u32, corner: (u32, u32)| (0..width).all(|x| near((x, y), corner));
    let top = (0..height).take_while(|y| row(*y, (0, 0))).count() as u32;
    let last = (width - 1, height - 1);
    let bottom = height - (top..height).rev().take_while(|y| row(*y, last)).count() as u32;
    if top >= bottom {
        return [0.0, 0.0, f64::from(width), f64::from(height)];
    }
    let column = |x: u32, corner: (u32, u32)| (top..bottom).all(|y| near((x, y), corner));
    let left = (0..width).take_while(|x| column(*x, (0, top))).count() as u32;
    let corner = (width - 1, bottom - 1);
    let right = width
        - (left..width)
            .rev()
            .take_while(|x| column(*x, corner))
            .count() as u32;
    match left < right {
        true => [left, top, right, bottom].map(f64::from),
        false => [0.0, 0.0, f64::from(width), f64::from(height)],
    }
}

/// Where to mix a row or column of the result from: two indices and 256ths of the second.
fn taps(scale: f64, shift: f64, count: u32, end: u32) -> Vec<(usize, usize, u32)> {
    let last = f64::from(end - 1);
    let tap = |at: u32| {
        let at = (scale * (f64::from(at) + 0.5) + shift - 0.5).clamp(0.0, last);
        let low = at as usize;
        let share = ((at - low as f64) * 256.0) as u32;
        (low, (low + 1).min(end as usize - 1), share)
    };
    (0..count).map(tap).collect()
}

/// The part of a picture that the puzzle lies over, on the puzzle's own pixels.
pub(super) fn resample(picture: &RgbImage, map: &Map, [width, height]: [u32; 2]) -> RgbImage {
    let row = picture.width() as usize * 3;
    let source = picture.as_raw();
    let columns = taps(map.scale[0], map.shift[0], width, picture.width());
    let rows = taps(map.scale[1], map.shift[1], height, picture.height());
    // A pixel beyond the last is never mixed in, but taken with it.
    let mut mixed = vec![0u16; row + 3];
    let mut bytes = vec![0; width as usize * height as usize * 3];
    let lines = bytes.chunks_exact_mut((width as usize * 3).max(1));
    for (line, (y0, y1, down)) in lines.zip(rows) {
        let (above, below) = (&source[y0 * row..][..row], &source[y1 * row..][..row]);
        let (up, down) = (256 - down as u16, down as u16);
        // 255 times 256 still fits.
        for (to, (a, b)) in mixed.iter_mut().zip(above.iter().zip(below)) {
            *to = u16::from(*a) * up + u16::from(*b) * down;
        }
        for (to, &(x0, x1, right)) in line.chunks_exact_mut(3).zip(&columns) {
            let Some(six) = mixed[3 * x0..].first_chunk::<6>() else {
                continue;
            };
            // At the right edge the last pixel is mixed with itself.
            let next = if x1 > x0 { 3 } else { 0 };
            for channel in 0..3 {
                let (a, b) = (u32::from(six[channel]), u32::from(six[channel + next]));
                to[channel] = ((a * (256 - right) + b * right + 32768) >> 16) as u8;
            }
        }
    }
    RgbImage::from_raw(width, height, bytes).unwrap_or_default()
}
