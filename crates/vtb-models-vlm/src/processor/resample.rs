//! Resizing that equals Pillow's to the bit.
//!
//! The references shrink and enlarge 8-bit pictures with Pillow's antialiased filters (bicubic with a = -0.5 for vision
//! towers, Lanczos and bilinear for image models), whose weights are rounded to 22 fractional bits and whose result is
//! rounded to 8 bits after each of two passes.
//! Resizing in floating point differs by a grey level in many places, so the arithmetic is repeated here. The
//! horizontal pass comes first, as in all Pillow versions up to 12 and in torchvision; Pillow 13 swaps the passes
//! for some shapes.
//!
//! Sums of integers do not depend on their order, so both passes run on vectors: the vertical one over the values of a
//! line, the horizontal one over the lines of a band, which is turned on its side for it.

use super::decode::Rgb;

/// Fractional bits of a weight: 32, less 8 for the pixel and 2 for the overshoot of the filter.
const PRECISION: u32 = 32 - 8 - 2;
const CHANNELS: usize = 3;
/// Lines that the horizontal pass takes together.
const BAND: usize = 16;
/// Values of a band that stand beside each other in the picture.
const SIDE: usize = BAND * CHANNELS;
/// Values that the vertical pass keeps in registers.
const LANES: usize = 64;

/// What weighs the source pixels of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// A triangle.
    Bilinear,
    /// Keys' cubic kernel with a = -0.5.
    Bicubic,
    /// A sinc windowed by its first three lobes.
    Lanczos,
}

impl Filter {
    /// Half the width of the kernel where the picture is enlarged, in source pixels.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        match self {
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Bicubic => cubic(x),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

/// Resizes a picture to `width` × `height`. A size that stays is not resampled.
pub fn resample(image: &Rgb, width: usize, height: usize, filter: Filter) -> Rgb {
    let (from, to) = ((image.width, image.height), (width, height));
    let pixels = resized(&image.pixels, from, to, filter);
    Rgb {
        width,
        height,
        pixels: pixels.unwrap_or_else(|| image.pixels.clone()),
    }
}

/// [`resample`] with [`Filter::Bicubic`].
pub fn bicubic(image: &Rgb, width: usize, height: usize) -> Rgb {
    resample(image, width, height, Filter::Bicubic)
}

/// The same for pixels that belong to someone else; `None` if the size stays. Sizes are `(width, height)`.
pub(super) fn resized(
    pixels: &[u8],
    from: (usize, usize),
    to: (usize, usize),
    filter: Filter,
) -> Option<Vec<u8>> {
    let wide = (from.0 != to.0).then(|| {
        let windows = windows(from.0, to.0, filter);
        simd(
            #[inline(always)]
            || horizontal(pixels, from, &windows),
        )
    });
    if from.1 == to.1 {
        return wide;
    }
    let source = wide.as_deref().unwrap_or(pixels);
    let windows = windows(from.1, to.1, filter);
    Some(simd(
        #[inline(always)]
        || vertical(source, to.0, &windows),
    ))
}

/// Runs `f` compiled for the widest vector instructions of this machine. Only what is inlined into the dispatch is
/// compiled so: a closure too large to be inlined by itself needs `#[inline(always)]`, and so do the functions it calls.
#[inline]
fn simd<R>(f: impl FnOnce() -> R) -> R {
    struct Run<F>(F);
    impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Run<F> {
        type Output = R;
        #[inline(always)]
        fn call(self) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Run(f))
}

/// Source pixels and weights of one output coordinate.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

/// The windows of an axis that goes from `input` to `output` pixels.
fn windows(input: usize, output: usize, filter: Filter) -> Vec<Window> {
    let scale = input as f64 / output as f64;
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let shrink = 1.0 / stretch;
    (0..output)
        .map(|i| {
            let center = (i as f64 + 0.5) * scale;
            // Truncation after adding a half, as a C cast does it; negative values are cut to 0.
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(input);
            let raw: Vec<f64> = (start..end)
                .map(|x| filter.weight((x as f64 - center + 0.5) * shrink))
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

/// `sin(πx)/(πx)`.
fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// Rounds a fixed-point sum to a grey level.
#[inline(always)]
fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

const HALF: i32 = 1 << (PRECISION - 1);

/// Resizes the lines of a picture of size `(width, height)`, a band of them at a time.
#[inline(always)]
fn horizontal(pixels: &[u8], (from, lines): (usize, usize), windows: &[Window]) -> Vec<u8> {
    let to = windows.len();
    let mut out = vec![0; to * lines * CHANNELS];
    let mut source = vec![0; from * SIDE];
    let mut target = vec![0; to * SIDE];
    let bands = pixels.chunks(from * CHANNELS * BAND);
    for (band, out) in bands.zip(out.chunks_mut(to * CHANNELS * BAND)) {
        stand(band, from, &mut source);
        for (window, sums) in windows.iter().zip(target.chunks_exact_mut(SIDE)) {
            let columns = source[window.start * SIDE..].chunks_exact(SIDE);
            weigh::<SIDE>(&window.weights, columns, sums);
        }
        lie(&target, to, out);
    }
    out
}

/// Turns lines into columns: `[x][line][channel]`. Lines that are missing stay what they were.
#[inline(always)]
fn stand(band: &[u8], width: usize, columns: &mut [u8]) {
    for (line, pixels) in band.chunks_exact(width * CHANNELS).enumerate() {
        let column = columns.chunks_exact_mut(SIDE);
        for (column, pixel) in column.zip(pixels.chunks_exact(CHANNELS)) {
            column[line * CHANNELS..][..CHANNELS].copy_from_slice(pixel);
        }
    }
}

/// Turns columns back into lines.
#[inline(always)]
fn lie(columns: &[u8], width: usize, band: &mut [u8]) {
    for (line, pixels) in band.chunks_exact_mut(width * CHANNELS).enumerate() {
        let column = columns.chunks_exact(SIDE);
        for (column, pixel) in column.zip(pixels.chunks_exact_mut(CHANNELS)) {
            pixel.copy_from_slice(&column[line * CHANNELS..][..CHANNELS]);
        }
    }
}

#[inline(always)]
fn vertical(pixels: &[u8], width: usize, windows: &[Window]) -> Vec<u8> {
    let row = width * CHANNELS;
    let mut out = vec![0; row * windows.len()];
    let whole = row / LANES * LANES;
    for (window, out) in windows.iter().zip(out.chunks_exact_mut(row)) {
        let from = window.start * row;
        for (at, sums) in (0..whole).step_by(LANES).zip(out.chunks_exact_mut(LANES)) {
            let lines = pixels[from + at..].chunks(row);
            weigh::<LANES>(&window.weights, lines, sums);
        }
        for (at, sum) in (whole..row).zip(&mut out[whole..]) {
            let lines = pixels[from + at..].chunks(row);
            weigh::<1>(&window.weights, lines, std::slice::from_mut(sum));
        }
    }
    out
}

/// Weighted sums over the beginnings of lines, `N` values at a time.
#[inline(always)]
fn weigh<'a, const N: usize>(
    weights: &[i32],
    lines: impl Iterator<Item = &'a [u8]>,
    out: &mut [u8],
) {
    let mut sums = [HALF; N];
    for (weight, line) in weights.iter().zip(lines) {
        // A line shorter than N would be a fault of the caller; the length tells the compiler.
        let Some(line) = line.first_chunk::<N>() else {
            return;
        };
        for (sum, value) in sums.iter_mut().zip(line) {
            *sum += weight * i32::from(*value);
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = clip(sum);
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
    fn every_filter_gets_pillows_levels() {
        // Pillow: Image.fromarray([[0, 0, 0, 255, 255]]).resize((8, 1), ...) and .resize((2, 1), ...)
        let edge = gray(5, 1, |x, _| if x < 3 { 0 } else { 255 });
        let levels = |width, filter| -> Vec<u8> {
            let image = resample(&edge, width, 1, filter);
            image.pixels.chunks_exact(CHANNELS).map(|p| p[0]).collect()
        };
        for (filter, wide, narrow) in PILLOW {
            assert_eq!(levels(8, filter), wide, "{filter:?}");
            assert_eq!(levels(2, filter), narrow, "{filter:?}");
        }
    }

    #[test]
    fn both_axes_use_the_same_arithmetic() {
        let image = gray(9, 9, |x, y| (x * 31 + y * 17) as u8);
        let flipped = gray(9, 9, |x, y| (y * 31 + x * 17) as u8);
        let (wide, tall) = (bicubic(&image, 5, 9), bicubic(&flipped, 9, 5));
        for x in 0..5 {
            for y in 0..9 {
                assert_eq!(wide.pixels[(y * 5 + x) * 3], tall.pixels[(x * 9 + y) * 3]);
            }
        }
    }

    /// Levels of an edge over eight pixels and over two.
    type Levels = (Filter, [u8; 8], [u8; 2]);
    const PILLOW: [Levels; 3] = [
        (Filter::Bilinear, [0, 0, 0, 0, 80, 239, 255, 255], [12, 185]),
        (Filter::Bicubic, [0, 0, 0, 0, 69, 246, 255, 255], [0, 194]),
        (Filter::Lanczos, [0, 5, 0, 0, 69, 244, 255, 247], [0, 195]),
    ];

    /// One value after the other, as the formula stands.
    fn plain(image: &Rgb, width: usize, height: usize) -> Vec<u8> {
        let at = |pixels: &[u8], row: usize, x: usize, y: usize, c: usize| {
            i32::from(pixels[(y * row + x) * CHANNELS + c])
        };
        let sum = |window: &Window, value: &dyn Fn(usize) -> i32| {
            let terms = window.weights.iter().enumerate();
            clip(terms.fold(HALF, |sum, (i, w)| sum + w * value(window.start + i)))
        };
        let filter = Filter::Bicubic;
        let across = windows(image.width, width, filter);
        let down = windows(image.height, height, filter);
        let mut wide = Vec::new();
        for y in 0..image.height {
            for window in &across {
                for c in 0..CHANNELS {
                    wide.push(sum(window, &|x| at(&image.pixels, image.width, x, y, c)));
                }
            }
        }
        let mut out = Vec::new();
        for window in &down {
            for x in 0..width {
                for c in 0..CHANNELS {
                    out.push(sum(window, &|y| at(&wide, width, x, y, c)));
                }
            }
        }
        out
    }

    #[test]
    fn vectors_give_what_the_formula_gives() {
        let mut state = 7u32;
        for (from, to) in [
            ((1, 1), (3, 2)),
            ((5, 40), (4, 33)),
            ((64, 17), (21, 18)),
            ((50, 33), (131, 7)),
            ((23, 16), (22, 15)),
        ] {
            let pixels = (0..from.0 * from.1 * CHANNELS)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            let image = Rgb {
                width: from.0,
                height: from.1,
                pixels,
            };
            let found = bicubic(&image, to.0, to.1);
            assert!(found.pixels == plain(&image, to.0, to.1), "{from:?} {to:?}");
        }
    }
}
