//! 3×3 convolutions of channel-last pictures, by bands of lines.
//!
//! The padded lines of a band lie behind one another, so the pixels under one row of the kernel are neighbours in memory:
//! the matrix `windows × taps·channels` of a kernel row is that memory itself, read with rows that overlap. A convolution
//! is a few products of such matrices, and nothing of the size of the picture is unfolded. Windows that straddle two lines
//! are computed and thrown away.

use rayon::prelude::*;

use super::matmul::{Mat, gemm};
use super::{math, simd, written};
use crate::ops::conv::Grid;

/// Windows of a band: few enough that its lines stay in the cache, many enough that packing weights is nothing.
const WINDOWS: usize = if cfg!(test) { 16 } else { 4096 };
/// A picture makes at least so many bands, where it has the lines: work for many threads.
const BANDS: usize = 16;

/// `height × width` pixels of `channels` values.
#[derive(Clone, Copy)]
pub(crate) struct Picture<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

/// What is done to a picture. Lengths must fit it; the operation checks them.
#[derive(Clone, Copy)]
pub(crate) struct Kernel<'a> {
    /// `[out, 3, 3, in]`.
    pub(crate) weight: &'a [f32],
    /// `[out]`.
    pub(crate) bias: &'a [f32],
    pub(crate) grid: Grid,
    /// Gain and epsilon of an RMS norm over channels, followed by SiLU, that every pixel passes first.
    pub(crate) norm: Option<(&'a [f32], f32)>,
    /// Of the shape of the result, added to it.
    pub(crate) add: Option<&'a [f32]>,
}

/// How one grid is cut: the windows of `rows × width` results (of each parity, where the grid is doubled) over padded
/// lines of `line` pixels, `line / step` windows apart.
struct Cut {
    grid: Grid,
    rows: usize,
    width: usize,
    line: usize,
    step: usize,
    left: usize,
    /// Results a window makes along each axis.
    factor: usize,
}

impl Cut {
    fn new(x: Picture<'_>, grid: Grid) -> Self {
        let (step, left, factor) = match grid {
            Grid::Same => (1, 1, 1),
            Grid::Halved => (2, 0, 1),
            Grid::Doubled => (1, 1, 2),
        };
        let (height, width) = (x.height / step, x.width / step);
        let rows = (WINDOWS / width.max(1)).min(height.div_ceil(BANDS));
        Self {
            grid,
            rows: rows.max(1),
            width,
            line: step * width + 2,
            step,
            left,
            factor,
        }
    }

    fn windows_of_a_line(&self) -> usize {
        self.line / self.step
    }

    /// Lines that `rows` rows of windows look at.
    fn lines(&self, rows: usize) -> usize {
        match self.grid {
            Grid::Same | Grid::Doubled => rows + 2,
            Grid::Halved => 2 * rows + 1,
        }
    }

    /// The line of the picture at place `i` of a band of `rows` rows that begins at row `first`; outside the picture it is
    /// zero. Halved pictures come with even lines first, so that equal taps of following windows are one line apart.
    fn source(&self, first: usize, rows: usize, i: usize) -> Option<usize> {
        match self.grid {
            Grid::Same | Grid::Doubled => (first + i).checked_sub(1),
            Grid::Halved if i <= rows => Some(2 * (first + i)),
            Grid::Halved => Some(2 * (first + i - rows - 1) + 1),
        }
    }

    /// Place of the first window's tap row `dy`.
    fn tap_line(&self, rows: usize, dy: usize) -> usize {
        match self.grid {
            Grid::Same | Grid::Doubled => dy,
            Grid::Halved => [0, rows + 1, 1][dy],
        }
    }
}

/// The convolved picture, channel-last.
pub(crate) fn conv3x3(x: Picture<'_>, kernel: Kernel<'_>) -> Vec<f32> {
    let cut = Cut::new(x, kernel.grid);
    let (out, f) = (kernel.bias.len(), cut.factor);
    let folded = match kernel.grid {
        Grid::Doubled => fold(kernel.weight, out, x.channels),
        Grid::Same | Grid::Halved => Vec::new(),
    };
    let row = f * f * cut.width * out;
    let height = x.height / cut.step;
    written(height * row, |y| {
        let bands = y.par_chunks_mut((cut.rows * row).max(1)).enumerate();
        bands.for_each_init(Scratch::default, |scratch, (band, y)| {
            let first = band * cut.rows;
            let add = kernel.add.map(|add| &add[first * row..][..y.len()]);
            let rows = y.len() / row;
            scratch.fill(&cut, x, kernel.norm, first, rows);
            for parity in 0..f * f {
                scratch.multiply(&cut, x.channels, kernel, &folded, (rows, parity));
                scratch.place(&cut, kernel.bias, add, (rows, parity), y);
            }
        });
    })
}

/// Buffers of one thread, kept from band to band.
#[derive(Default)]
struct Scratch {
    lines: Vec<f32>,
    products: Vec<f32>,
}

impl Scratch {
    /// Padded lines of a band, normalised if asked.
    fn fill(
        &mut self,
        cut: &Cut,
        x: Picture<'_>,
        norm: Option<(&[f32], f32)>,
        first: usize,
        rows: usize,
    ) {
        let (c, count) = (x.channels, cut.lines(rows));
        let row = x.width * c;
        self.lines.resize(count * cut.line * c, 0.0);
        for (i, line) in self.lines.chunks_exact_mut(cut.line * c).enumerate() {
            let source = cut.source(first, rows, i).filter(|y| *y < x.height);
            let Some(y) = source else {
                line.fill(0.0);
                continue;
            };
            let source = &x.values[y * row..(y + 1) * row];
            let (left, rest) = line.split_at_mut(cut.left * c);
            let (middle, right) = rest.split_at_mut(row);
            left.fill(0.0);
            right.fill(0.0);
            match norm {
                Some((gain, eps)) => norm_silu(middle, source, gain, eps),
                None => middle.copy_from_slice(source),
            }
        }
    }

    /// Sums over taps of all windows of a band, `[rows · windows of a line, out]`.
    fn multiply(
        &mut self,
        cut: &Cut,
        c: usize,
        kernel: Kernel<'_>,
        folded: &[f32],
        (rows, parity): (usize, usize),
    ) {
        let out = kernel.bias.len();
        let windows = (rows - 1) * cut.windows_of_a_line() + cut.width;
        self.products
            .resize(rows * cut.windows_of_a_line() * out, 0.0);
        let (taps, across) = match cut.grid {
            Grid::Same | Grid::Halved => (3, 3),
            Grid::Doubled => (2, 2),
        };
        for dy in 0..taps {
            let (line, pixel, weight) = match cut.grid {
                Grid::Same | Grid::Halved => {
                    let weight = Mat::strided(&kernel.weight[dy * 3 * c..], out, across * c, 9 * c);
                    (cut.tap_line(rows, dy), 0, weight)
                }
                Grid::Doubled => {
                    let size = out * across * c;
                    let weight = &folded[(parity * taps + dy) * size..][..size];
                    let weight = Mat::new(weight, out, across * c);
                    (cut.tap_line(rows, parity / 2 + dy), parity % 2, weight)
                }
            };
            let start = (line * cut.line + pixel) * c;
            let x = Mat::strided(&self.lines[start..], windows, across * c, cut.step * c);
            gemm(&mut self.products, out, dy > 0, 1.0, x, weight.t(), false);
        }
    }

    /// Writes what windows made to where it belongs.
    fn place(
        &self,
        cut: &Cut,
        bias: &[f32],
        add: Option<&[f32]>,
        (rows, parity): (usize, usize),
        y: &mut [f32],
    ) {
        let (out, f) = (bias.len(), cut.factor);
        let across = cut.windows_of_a_line() * out;
        simd(
            #[inline(always)]
            || {
                for r in 0..rows {
                    let sums = &self.products[r * across..][..cut.width * out];
                    let start = (f * r + parity / 2) * f * cut.width + parity % 2;
                    for (i, sums) in sums.chunks_exact(out).enumerate() {
                        let at = (start + f * i) * out;
                        let y = y[at..at + out].iter_mut().zip(sums.iter().zip(bias));
                        match add {
                            Some(add) => {
                                for ((y, (sum, bias)), add) in y.zip(&add[at..at + out]) {
                                    *y = sum + bias + add;
                                }
                            }
                            None => {
                                for (y, (sum, bias)) in y {
                                    *y = sum + bias;
                                }
                            }
                        }
                    }
                }
            },
        );
    }
}

/// `silu(gain ⊙ x·rsqrt(mean(x²)+eps))` of every pixel.
fn norm_silu(y: &mut [f32], x: &[f32], gain: &[f32], eps: f32) {
    let c = gain.len();
    simd(
        #[inline(always)]
        || {
            for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                let scale = super::norm::rms_scale(x, eps);
                // By iterators: bounds checks would cost more than the arithmetic.
                for ((y, x), gain) in y.iter_mut().zip(x).zip(gain) {
                    let normed = x * scale * gain;
                    *y = normed * math::sigmoid(normed);
                }
            }
        },
    );
}

/// Weights over the picture before it was doubled. Of the three taps along an axis, two fall on one pixel: on the second
/// and third for even results (the first lies on the pixel before), on the first and second for odd ones.
///
/// From `[out, 3, 3, in]` to `[parity of row, parity of column, 2, out, 2, in]`.
fn fold(weight: &[f32], out: usize, c: usize) -> Vec<f32> {
    let place = |parity: usize, tap: usize| (tap + 1 - parity) / 2;
    let mut folded = vec![0.0f32; 16 * out * c];
    for parity in 0..4 {
        for o in 0..out {
            for tap in 0..9 {
                let dy = place(parity / 2, tap / 3);
                let dx = place(parity % 2, tap % 3);
                let sum = &mut folded[(((parity * 2 + dy) * out + o) * 2 + dx) * c..][..c];
                for (sum, w) in sum.iter_mut().zip(&weight[(o * 9 + tap) * c..][..c]) {
                    *sum += w;
                }
            }
        }
    }
    folded
}
