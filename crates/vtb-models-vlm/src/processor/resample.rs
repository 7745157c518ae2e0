//! Bicubic resizing that equals Pillow's to the bit.
//!
//! The reference shrinks and enlarges 8-bit pictures with Pillow's antialiased bicubic filter (a = -0.5), whose
//! weights are rounded to 22 fractional bits and whose result is rounded to 8 bits after each of two passes.
//! Resizing in floating point differs by a grey level in many places, so the arithmetic is repeated here. The
//! horizontal pass comes first, as in all Pillow versions up to 12 and in torchvision; Pillow 13 swaps the passes
//! for some shapes.

use rayon::prelude::*;

use super::decode::Rgb;

/// Fractional bits of a weight: 32, less 8 for the pixel and 2 for the overshoot of the filter.
const PRECISION: u32 = 32 - 8 - 2;
const SUPPORT: f64 = 2.0;
const CHANNELS: usize = 3;

/// Resizes a picture to `width` × `height`. A size that stays is not resampled.
pub fn bicubic(image: &Rgb, width: usize, height: usize) -> Rgb {
    let wide = if width == image.width {
        None
    } else {
        Some(horizontal(image, width))
    };
    let wide = wide.as_ref().unwrap_or(image);
    if height == wide.height {
        wide.clone()
    } else {
        vertical(wide, height)
    }
}

/// Source pixels and weights of one output coordinate.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

/// The windows of an axis that goes from `input` to `output` pixels.
fn windows(input: usize, output: usize) -> Vec<Window> {
    let scale = input as f64 / output as f64;
    let stretch = scale.max(1.0);
    let support = SUPPORT * stretch;
    let shrink = 1.0 / stretch;
    (0..output)
        .map(|i| {
            let center = (i as f64 + 0.5) * scale;
            // Truncation after adding a half, as a C cast does it; negative values are cut to 0.
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(input);
            let raw: Vec<f64> = (start..end)
                .map(|x| cubic((x as f64 - center + 0.5) * shrink))
                .collect();
            let total: f64 = raw.iter().sum();
            let fixed = |w: &f64| {
                let scaled = if total == 0.0 { *w } else { w / total } * f64::from(1 << PRECISION);
                (scaled + 0.5_f64.copysign(scaled)) as i32
            };
            Window {
                start,
                weights: raw.iter().map(fixed).collect(),
            }
        })
        .collect()
}

/// Keys' cubic kernel with a = -0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Rounds a fixed-point sum to a grey level.
fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

const HALF: i32 = 1 << (PRECISION - 1);

fn horizontal(image: &Rgb, width: usize) -> Rgb {
    let windows = windows(image.width, width);
    let mut pixels = vec![0; width * image.height * CHANNELS];
    pixels
        .par_chunks_exact_mut(width * CHANNELS)
        .zip(image.pixels.par_chunks_exact(image.width * CHANNELS))
        .for_each(|(to, from)| {
            for (window, out) in windows.iter().zip(to.chunks_exact_mut(CHANNELS)) {
                let mut sums = [HALF; CHANNELS];
                let source = from[window.start * CHANNELS..].chunks_exact(CHANNELS);
                for (weight, pixel) in window.weights.iter().zip(source) {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum += weight * i32::from(*value);
                    }
                }
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = clip(sum);
                }
            }
        });
    Rgb {
        width,
        height: image.height,
        pixels,
    }
}

fn vertical(image: &Rgb, height: usize) -> Rgb {
    let windows = windows(image.height, height);
    let row = image.width * CHANNELS;
    let mut pixels = vec![0; row * height];
    pixels
        .par_chunks_exact_mut(row)
        .zip(&windows)
        .for_each(|(to, window)| {
            let mut sums = vec![HALF; row];
            let source = image.pixels[window.start * row..].chunks_exact(row);
            for (weight, line) in window.weights.iter().zip(source) {
                for (sum, value) in sums.iter_mut().zip(line) {
                    *sum += weight * i32::from(*value);
                }
            }
            for (out, sum) in to.iter_mut().zip(sums) {
                *out = clip(sum);
            }
        });
    Rgb {
        width: image.width,
        height,
        pixels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(width: usize, height: usize, value: impl Fn(usize, usize) -> u8) -> Rgb {
        let pixels = (0..width * height)
            .flat_map(|i| [value(i % width, i / width); CHANNELS])
            .collect();
        Rgb {
            width,
            height,
            pixels,
        }
    }

    #[test]
    fn flat_pictures_stay_flat() {
        for value in [0, 1, 127, 255] {
            let image = gray(37, 23, |_, _| value);
            for (w, h) in [(64, 64), (5, 90), (37, 11), (1, 1)] {
                let resized = bicubic(&image, w, h);
                assert_eq!((resized.width, resized.height), (w, h));
                assert!(resized.pixels.iter().all(|p| *p == value));
            }
        }
    }

    #[test]
    fn an_edge_gets_pillows_levels() {
        // Pillow: Image.fromarray([[0, 0, 255, 255]]).resize((8, 1), BICUBIC) and .resize((3, 1), BICUBIC)
        let edge = gray(4, 1, |x, _| if x < 2 { 0 } else { 255 });
        let first =
            |image: Rgb| -> Vec<u8> { image.pixels.chunks_exact(CHANNELS).map(|p| p[0]).collect() };
        assert_eq!(
            first(bicubic(&edge, 8, 1)),
            [0, 0, 0, 52, 203, 255, 255, 255]
        );
        assert_eq!(first(bicubic(&edge, 3, 1)), [0, 128, 255]);
    }

    #[test]
    fn both_axes_use_the_same_arithmetic() {
        let image = gray(9, 9, |x, y| (x * 31 + y * 17) as u8);
        let flipped = gray(9, 9, |x, y| (y * 31 + x * 17) as u8);
        let (wide, tall) = (horizontal(&image, 5), vertical(&flipped, 5));
        for x in 0..5 {
            for y in 0..9 {
                assert_eq!(wide.pixels[(y * 5 + x) * 3], tall.pixels[(x * 9 + y) * 3]);
            }
        }
    }
}
