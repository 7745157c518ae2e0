//! RGB to YUV 4:2:0 and back.
//!
//! Integer arithmetic throughout, so that the same frames give the same samples everywhere. The
//! formulas are those of ITU-T H.273: with `Kr`, `Kb` of the matrix, `Y = Kr R + (1-Kr-Kb) G + Kb B`,
//! `Cb = (B-Y) / 2(1-Kb)`, `Cr = (R-Y) / 2(1-Kr)`; limited range puts Y on 16..235 and the others
//! on 16..240. A chroma sample serves four pixels, and all four get it back: edges of drawings stay
//! where they are.

use std::ops::Range;

use image::RgbImage;

use super::chroma;

/// Bits behind the point.
const SHIFT: u32 = 16;

/// How YUV samples stand for colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Colors {
    kr: f64,
    kb: f64,
    full_range: bool,
}

impl Colors {
    /// What is written, and what is read where nothing is said: BT.601, limited range. Programs
    /// that ignore the tags take this too.
    pub(super) const USUAL: Self = Self {
        kr: 0.299,
        kb: 0.114,
        full_range: false,
    };

    /// By the number of the matrix in H.273; `None` where it is not one of the common three.
    pub(super) fn of_code(matrix: u8, full_range: bool) -> Option<Self> {
        let (kr, kb) = match matrix {
            1 => (0.2126, 0.0722),
            2 | 5 | 6 => (0.299, 0.114),
            9 => (0.2627, 0.0593),
            _ => return None,
        };
        let colors = Self { kr, kb, full_range };
        Some(colors)
    }

    pub(super) fn with_range(self, full_range: bool) -> Self {
        Self { full_range, ..self }
    }

    /// Offset of Y, and the steps of Y and of chroma over the whole range.
    fn range(self) -> (i32, f64, f64) {
        match self.full_range {
            true => (0, 255.0, 255.0),
            false => (16, 219.0, 224.0),
        }
    }
}

fn fixed(x: f64) -> i32 {
    (x * f64::from(1 << SHIFT)).round() as i32
}

/// A frame as 4:2:0 planes, ready for an encoder.
///
/// The planes are as large as whole macroblocks of 16x16, of which `width` x `height` are shown;
/// these are even and may be larger than the frame. What lies beyond the frame repeats its last
/// column and row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planes {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Samples from one row of Y to the next; U and V have half as many.
    pub(super) stride: usize,
    pub(super) y: Vec<u8>,
    pub(super) u: Vec<u8>,
    pub(super) v: Vec<u8>,
    /// Macroblocks that the last call of `fill` may have changed, row by row.
    changed: Vec<bool>,
    /// The frame that was filled in last, and its size.
    last: Vec<u8>,
    size: [usize; 2],
}

impl Planes {
    /// For frames of this size, of which neither side is 0.
    pub(super) fn new(size: [usize; 2], [width, height]: [usize; 2]) -> Self {
        let [stride, rows] = [width, height].map(|side| side.next_multiple_of(16));
        let chroma = stride / 2 * (rows / 2);
        Self {
            width,
            height,
            stride,
            y: vec![0; stride * rows],
            u: vec![0; chroma],
            v: vec![0; chroma],
            changed: vec![false; stride / 16 * (rows / 16)],
            last: Vec::new(),
            size,
        }
    }

    /// Macroblocks across and down.
    pub(super) fn blocks(&self) -> [usize; 2] {
        [self.stride / 16, self.changed.len() / (self.stride / 16)]
    }

    /// Macroblocks that may differ from the frame before, row by row.
    pub(super) fn changed(&self) -> &[bool] {
        &self.changed
    }

    /// The frame stays as it is.
    pub(super) fn keep(&mut self) {
        self.changed.fill(false);
    }

    /// Fills the planes from a frame of the size they were made for. What has not changed since
    /// the last call, which had the same colours, is kept.
    pub(super) fn fill(&mut self, frame: &RgbImage, colors: Colors) {
        let row = self.size[0] * 3;
        let pixels = frame.as_raw();
        let fresh = self.last.is_empty();
        self.last.resize(pixels.len(), 0);
        let rows = pixels
            .chunks_exact(row)
            .zip(self.last.chunks_exact_mut(row));
        let changes: Vec<Range<usize>> = rows
            .map(|(new, old)| {
                let range = if fresh { 0..row } else { difference(old, new) };
                old[range.clone()].copy_from_slice(&new[range.clone()]);
                range.start / 3..range.end.div_ceil(3)
            })
            .collect();
        self.changed.fill(false);
        let toward = ToYuv::new(colors);
        let half = self.stride / 2;
        let luma = self.y.chunks_exact_mut(self.stride * 2);
        let chroma = self
            .u
            .chunks_exact_mut(half)
            .zip(self.v.chunks_exact_mut(half));
        // Two rows at a time.
        for (at, (luma, (u, v))) in luma.zip(chroma).enumerate() {
            let [above, below] = [2 * at, 2 * at + 1].map(|row| row.min(self.size[1] - 1));
            let Some(columns) = union(&changes[above], &changes[below]) else {
                continue;
            };
            let end = match columns.end == self.size[0] {
                // What repeats the last column changes with it.
                true => half,
                false => columns.end.div_ceil(2),
            };
            let pair = [above, below].map(|at| &pixels[at * row..(at + 1) * row]);
            toward.rows(pair, columns.start / 2..end, luma, u, v);
            let first = at / 8 * (self.stride / 16);
            self.changed[first + columns.start / 16..first + end.div_ceil(8)].fill(true);
        }
    }
}

/// From the first to the last place at which two rows differ.
fn difference(old: &[u8], new: &[u8]) -> Range<usize> {
    const AT_ONCE: usize = 64;
    let parts = old.chunks(AT_ONCE).zip(new.chunks(AT_ONCE));
    let differs = |(old, new): (&[u8], &[u8])| old != new;
    let Some(first) = parts.clone().position(differs) else {
        return 0..0;
    };
    let last = parts.rev().position(differs).unwrap_or(0);
    let last = old.len().div_ceil(AT_ONCE) - last;
    let (start, end) = (first * AT_ONCE, (last * AT_ONCE).min(old.len()));
    let pairs = || old[start..end].iter().zip(&new[start..end]);
    let unlike = |(old, new): (&u8, &u8)| old != new;
    let before = pairs().position(unlike).unwrap_or(0);
    let behind = pairs().rev().position(unlike).unwrap_or(0);
    start + before..end - behind
}

/// The least range that holds both; `None` if both are empty.
fn union(a: &Range<usize>, b: &Range<usize>) -> Option<Range<usize>> {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => None,
        (true, false) => Some(b.clone()),
        (false, true) => Some(a.clone()),
        (false, false) => Some(a.start.min(b.start)..a.end.max(b.end)),
    }
}

/// Coefficients of Y, Cb and Cr over R, G and B.
struct ToYuv {
    y: [i32; 3],
    u: [i32; 3],
    v: [i32; 3],
    offset: i32,
    back: FromYuv,
}

impl ToYuv {
    fn new(colors: Colors) -> Self {
        let (offset, luma, chroma) = colors.range();
        let k = [colors.kr, 1.0 - colors.kr - colors.kb, colors.kb];
        let (luma, chroma) = (luma / 255.0, chroma / 255.0);
        let toward = |of: usize| {
            let scale = chroma / (2.0 * (1.0 - k[of]));
            let mut row = [0, 1, 2].map(|i| {
                let one = if i == of { 1.0 } else { 0.0 };
                fixed((one - k[i]) * scale)
            });
            // Grey has no colour, whatever the rounding of the three says.
            row[1] = -row[0] - row[2];
            row
        };
        Self {
            y: k.map(|k| fixed(k * luma)),
            u: toward(2),
            v: toward(0),
            offset,
            back: FromYuv::new(colors),
        }
    }

    /// Two rows of pixels to two rows of Y and one each of Cb and Cr, in some of the blocks of two
    /// by two; those beyond the pixels repeat the last column.
    fn rows(
        &self,
        [above, below]: [&[u8]; 2],
        blocks: Range<usize>,
        y: &mut [u8],
        u: &mut [u8],
        v: &mut [u8],
    ) {
        let (y0, y1) = y.split_at_mut(y.len() / 2);
        let last = above.len() / 3 - 1;
        let mut put = |at: usize, block: &chroma::Block| {
            let coded = self.code(block);
            (u[at], v[at]) = (coded.u, coded.v);
            y0[2 * at..2 * at + 2].copy_from_slice(&coded.y[..2]);
            y1[2 * at..2 * at + 2].copy_from_slice(&coded.y[2..]);
        };
        let pixel = |row: &[u8], i: usize| [row[i], row[i + 1], row[i + 2]];
        let whole = blocks.start..blocks.end.min(above.len() / 6).max(blocks.start);
        let part = 6 * whole.start..6 * whole.end;
        let pairs = above[part.clone()]
            .chunks_exact(6)
            .zip(below[part].chunks_exact(6));
        for (at, (above, below)) in whole.clone().zip(pairs) {
            let block = [
                pixel(above, 0),
                pixel(above, 3),
                pixel(below, 0),
                pixel(below, 3),
            ];
            put(at, &block);
        }
        for at in whole.end..blocks.end {
            let [left, right] = [2 * at, 2 * at + 1].map(|x| 3 * x.min(last));
            let block = [
                pixel(above, left),
                pixel(above, right),
                pixel(below, left),
                pixel(below, right),
            ];
            put(at, &block);
        }
    }

    #[inline]
    fn code(&self, block: &chroma::Block) -> chroma::Coded {
        let sum = |i: usize| block.iter().map(|p| i32::from(p[i])).sum::<i32>();
        let sum = [sum(0), sum(1), sum(2)];
        let mean = chroma::Coded {
            u: Self::chroma(self.u, sum),
            v: Self::chroma(self.v, sum),
            y: block.map(|p| self.luma(&p)),
        };
        let grey = |p: &[u8; 3]| p[0] == p[1] && p[1] == p[2];
        if block.iter().all(|p| *p == block[0]) || block.iter().all(grey) {
            return mean;
        }
        let own = block.map(|p| {
            let four = p.map(|c| 4 * i32::from(c));
            (Self::chroma(self.u, four), Self::chroma(self.v, four))
        });
        chroma::share(&self.back, block, mean, own)
    }

    #[inline]
    fn luma(&self, p: &[u8]) -> u8 {
        let [r, g, b] = self.y;
        let sum = r * i32::from(p[0]) + g * i32::from(p[1]) + b * i32::from(p[2]);
        // At most 255 by the choice of coefficients, but for rounding.
        (((sum + (1 << (SHIFT - 1))) >> SHIFT) + self.offset).min(255) as u8
    }

    /// From the sum of four pixels.
    #[inline]
    fn chroma(k: [i32; 3], sum: [i32; 3]) -> u8 {
        let sum = k[0] * sum[0] + k[1] * sum[1] + k[2] * sum[2];
        (((sum + (1 << (SHIFT + 1))) >> (SHIFT + 2)) + 128).clamp(0, 255) as u8
    }
}

/// Planes of a decoded frame where they lie.
pub(super) struct View<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) y: &'a [u8],
    pub(super) u: &'a [u8],
    pub(super) v: &'a [u8],
    /// Bytes from one row to the next: of Y, of U and V.
    pub(super) strides: (usize, usize),
    /// Log2 of the pixels per chroma sample, across and down; 4:4:4 has (0, 0).
    pub(super) halved: (u32, u32),
}

impl View<'_> {
    /// The frame in RGB; `None` if the planes are shorter than they claim.
    pub(super) fn to_rgb(&self, colors: Colors) -> Option<RgbImage> {
        let (width, height) = (self.width, self.height);
        let from = FromYuv::new(colors);
        let mut pixels = vec![0; width * height * 3];
        let chroma_width = width.div_ceil(1 << self.halved.0);
        let row = |plane: &[u8], stride: usize, i: usize, len: usize| {
            let start = i.checked_mul(stride)?;
            Some(start..start.checked_add(len)?).filter(|r| r.end <= plane.len())
        };
        for (i, out) in pixels.chunks_exact_mut(width * 3).enumerate() {
            let y = &self.y[row(self.y, self.strides.0, i, width)?];
            let c = i >> self.halved.1;
            let u = &self.u[row(self.u, self.strides.1, c, chroma_width)?];
            let v = &self.v[row(self.v, self.strides.1, c, chroma_width)?];
            match self.halved.0 {
                1 => from.half_row(y, u, v, out),
                _ => from.row(y, u, v, out),
            }
        }
        RgbImage::from_raw(width as u32, height as u32, pixels)
    }
}

pub(super) struct FromYuv {
    luma: i32,
    offset: i32,
    /// Cr in R, Cb and Cr in G, Cb in B.
    r: i32,
    g: (i32, i32),
    b: i32,
}

impl FromYuv {
    fn new(colors: Colors) -> Self {
        let (offset, luma, chroma) = colors.range();
        let (kr, kb) = (colors.kr, colors.kb);
        let kg = 1.0 - kr - kb;
        let (r, b) = (2.0 * (1.0 - kr), 2.0 * (1.0 - kb));
        let scale = 255.0 / chroma;
        Self {
            luma: fixed(255.0 / luma),
            offset,
            r: fixed(r * scale),
            g: (fixed(-b * kb / kg * scale), fixed(-r * kr / kg * scale)),
            b: fixed(b * scale),
        }
    }

    /// What a chroma sample adds to R, G and B, rounding included.
    #[inline]
    pub(super) fn tint(&self, u: u8, v: u8) -> [i32; 3] {
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        let half = 1 << (SHIFT - 1);
        [
            self.r * v + half,
            self.g.0 * u + self.g.1 * v + half,
            self.b * u + half,
        ]
    }

    /// The Y that would give a channel its value, were nothing clipped.
    #[inline]
    pub(super) fn asks(&self, tint: i32, value: u8) -> i32 {
        let short = (i32::from(value) << SHIFT) + (1 << (SHIFT - 1)) - tint;
        (2 * short + self.luma).div_euclid(2 * self.luma) + self.offset
    }

    #[inline]
    pub(super) fn pixel(&self, y: u8, tint: [i32; 3], out: &mut [u8]) {
        let luma = self.luma * (i32::from(y) - self.offset);
        for (out, tint) in out.iter_mut().zip(tint) {
            *out = ((luma + tint) >> SHIFT).clamp(0, 255) as u8;
        }
    }

    fn row(&self, y: &[u8], u: &[u8], v: &[u8], out: &mut [u8]) {
        let samples = y.iter().zip(u.iter().zip(v));
        for ((&y, (&u, &v)), out) in samples.zip(out.chunks_exact_mut(3)) {
            self.pixel(y, self.tint(u, v), out);
        }
    }

    /// A row whose chroma is half as wide; the last pixel may stand alone.
    fn half_row(&self, y: &[u8], u: &[u8], v: &[u8], out: &mut [u8]) {
        let samples = y.chunks(2).zip(u.iter().zip(v));
        for ((y, (&u, &v)), out) in samples.zip(out.chunks_mut(6)) {
            let tint = self.tint(u, v);
            for (&y, out) in y.iter().zip(out.chunks_exact_mut(3)) {
                self.pixel(y, tint, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn there_and_back(frame: &RgbImage, colors: Colors) -> RgbImage {
        let mut planes = planes(frame.width() as usize, frame.height() as usize);
        planes.fill(frame, colors);
        view(&planes).to_rgb(colors).unwrap()
    }

    fn planes(width: usize, height: usize) -> Planes {
        let shown = [width, height].map(|side| side.next_multiple_of(2));
        Planes::new([width, height], shown)
    }

    fn view(planes: &Planes) -> View<'_> {
        View {
            width: planes.width,
            height: planes.height,
            y: &planes.y,
            u: &planes.u,
            v: &planes.v,
            strides: (planes.stride, planes.stride / 2),
            halved: (1, 1),
        }
    }

    #[test]
    fn plain_colors_come_back_within_two_steps() {
        for code in [1, 6, 9] {
            for full in [false, true] {
                let colors = Colors::of_code(code, full).unwrap();
                for rgb in [
                    [255, 255, 255],
                    [0, 0, 0],
                    [255, 0, 0],
                    [0, 255, 0],
                    [0, 0, 255],
                    [12, 200, 99],
                ] {
                    let back = there_and_back(&RgbImage::from_pixel(4, 4, Rgb(rgb)), colors);
                    for (found, wanted) in back.get_pixel(2, 1).0.iter().zip(rgb) {
                        let off = (i32::from(*found) - i32::from(wanted)).abs();
                        assert!(
                            off <= 2,
                            "{code} {full} {rgb:?}: {:?}",
                            back.get_pixel(2, 1)
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn white_and_black_are_exact_and_at_the_ends_of_the_range() {
        let mut planes = planes(2, 2);
        for (shade, luma) in [(255, 235), (0, 16)] {
            let frame = RgbImage::from_pixel(2, 2, Rgb([shade; 3]));
            planes.fill(&frame, Colors::USUAL);
            assert_eq!((planes.y[3], planes.u[0], planes.v[0]), (luma, 128, 128));
            assert_eq!(there_and_back(&frame, Colors::USUAL), frame);
        }
    }

    #[test]
    fn a_thin_red_line_stays_red_and_its_page_white() {
        // One column in the middle of a block, the worst place.
        let line = |x: u32| {
            if x == 5 {
                Rgb([255, 0, 0])
            } else {
                Rgb([255; 3])
            }
        };
        let frame = RgbImage::from_fn(12, 4, |x, _| line(x));
        let back = there_and_back(&frame, Colors::USUAL);
        let error = |x: u32| {
            let (a, b) = (back.get_pixel(x, 1), frame.get_pixel(x, 1));
            (0..3)
                .map(|c| u32::from(a.0[c].abs_diff(b.0[c])).pow(2))
                .sum::<u32>()
        };
        // The mean would leave 2900 on the white and 11000 on the red.
        assert!(error(4) + error(5) < 6000, "{:?}", back.rows().next());
        assert_eq!((error(3), error(6)), (0, 0));
    }

    #[test]
    fn what_stays_is_kept_right_and_told() {
        for (width, height) in [(6, 6), (37, 21), (64, 48), (1, 1), (200, 3)] {
            let mut kept = planes(width, height);
            let mut frame = RgbImage::new(width as u32, height as u32);
            for i in 0..40 {
                let (x, y) = (i * 31 % width as u32, i * 17 % height as u32);
                if i % 4 > 0 {
                    frame.put_pixel(x, y, Rgb([i as u8 * 5, 200, (i * i) as u8]));
                }
                kept.fill(&frame, Colors::USUAL);
                let mut fresh = planes(width, height);
                fresh.fill(&frame, Colors::USUAL);
                assert_eq!((&kept.y, &kept.u, &kept.v), (&fresh.y, &fresh.u, &fresh.v));
                let told = kept.changed().iter().filter(|changed| **changed).count();
                match i {
                    0 => assert_eq!(told, kept.changed().len()),
                    // The last row and column stand for those beyond, in the same macroblock.
                    _ => assert_eq!(told, usize::from(i % 4 > 0), "{width}x{height} {i}"),
                }
                let block = y as usize / 16 * (kept.stride / 16) + x as usize / 16;
                assert!(i % 4 == 0 || kept.changed()[block]);
            }
        }
    }

    #[test]
    fn what_lies_beyond_a_frame_repeats_its_edge() {
        let frame = RgbImage::from_fn(5, 3, |x, y| Rgb([(40 * x) as u8, (90 * y) as u8, 30]));
        let mut small = planes(5, 3);
        small.fill(&frame, Colors::USUAL);
        let grown = RgbImage::from_fn(16, 16, |x, y| *frame.get_pixel(x.min(4), y.min(2)));
        let mut large = planes(16, 16);
        large.fill(&grown, Colors::USUAL);
        assert_eq!((small.y, small.u, small.v), (large.y, large.u, large.v));
    }

    #[test]
    fn short_planes_are_refused() {
        let planes = planes(4, 4);
        let short = View {
            v: &planes.v[..1],
            ..view(&planes)
        };
        assert!(short.to_rgb(Colors::USUAL).is_none());
    }
}
