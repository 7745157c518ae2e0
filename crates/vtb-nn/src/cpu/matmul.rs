//! Matrix products with accumulation, and a product for few rows.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::math;

/// A row-major or transposed matrix inside a slice.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a> {
    values: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Mat<'a> {
    /// `rows × cols` values, rows `row_stride` apart.
    pub(crate) fn strided(values: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(
            rows == 0 || cols == 0 || (rows - 1) * row_stride + cols <= values.len(),
            "matmul: a matrix reaches past its values"
        );
        Self {
            values,
            rows,
            cols,
            row_stride,
            col_stride: 1,
        }
    }

    /// Contiguous `rows × cols` values.
    pub(crate) fn new(values: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(values, rows, cols, cols)
    }

    /// The transpose, without moving anything.
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// `out = keep·out + scale·a·b`, rows of `out` being `out_stride` apart. `parallel` splits over threads.
pub(crate) fn gemm(
    out: &mut [f32],
    out_stride: usize,
    keep: bool,
    scale: f32,
    a: Mat<'_>,
    b: Mat<'_>,
    parallel: bool,
) {
    let (m, k, n) = (a.rows, a.cols, b.cols);
    assert_eq!(k, b.rows, "matmul: inner dimensions differ");
    if m == 0 || n == 0 {
        return;
    }
    assert!(
        (m - 1) * out_stride + n <= out.len(),
        "matmul: the output is too small"
    );
    let parallel = parallel && m * n * k >= 1 << 18;
    let threads = if parallel {
        gemm::Parallelism::Rayon(0)
    } else {
        gemm::Parallelism::None
    };
    // SAFETY: the strides of `a`, `b` and `out` stay inside their slices (checked above and in `Mat::strided`),
    // and `out` is borrowed mutably, so nothing else reads or writes it.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            keep,
            a.values.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0f32,
            scale,
            false,
            false,
            false,
            threads,
        );
    }
}

/// Up to how many rows [`few_rows`] is the faster product.
pub(crate) const FEW_ROWS: usize = 16;

/// `out[m,n] = x[m,k]·w[n,k]ᵀ` for few rows: every weight is read from memory once, straight from where it lies, which
/// is what bounds a decoding step.
pub(crate) fn few_rows(out: &mut [f32], x: &[f32], w: &[f32], m: usize, n: usize, k: usize) {
    if m == 0 {
        return;
    }
    let mut by_column = vec![0.0f32; n * m];
    let task = (32_768 / k.max(1)).clamp(8, 1024);
    let body = |(block, out): (usize, &mut [f32])| {
        let w = &w[block * task * k..];
        pulp::Arch::new().dispatch(Columns { out, x, w, m, k });
    };
    if n * m * k >= 1 << 17 {
        by_column
            .par_chunks_mut(task * m)
            .enumerate()
            .for_each(body);
    } else {
        by_column.chunks_mut(task * m).enumerate().for_each(body);
    }
    for (i, row) in out[..m * n].chunks_exact_mut(n).enumerate() {
        for (y, column) in row.iter_mut().zip(by_column.chunks_exact(m)) {
            *y = column[i];
        }
    }
}

/// Columns of the product, `m` values each: those of the weight rows at the start of `w`.
struct Columns<'a> {
    out: &'a mut [f32],
    x: &'a [f32],
    w: &'a [f32],
    m: usize,
    k: usize,
}

impl WithSimd for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { out, x, w, m, k } = self;
        let x_row = |i: usize| &x[i * k..(i + 1) * k];
        let mut pairs = out.chunks_exact_mut(2 * m);
        let mut first = 0;
        for columns in &mut pairs {
            let (one, two) = columns.split_at_mut(m);
            let w = [first, first + 1].map(|row| &w[row * k..(row + 1) * k]);
            let mut i = 0;
            while i + 4 <= m {
                let [a, b] = dots(simd, w, [0, 1, 2, 3].map(|j| x_row(i + j)));
                one[i..i + 4].copy_from_slice(&a);
                two[i..i + 4].copy_from_slice(&b);
                i += 4;
            }
            while i < m {
                (one[i], two[i]) = (math::dot(w[0], x_row(i)), math::dot(w[1], x_row(i)));
                i += 1;
            }
            first += 2;
        }
        for (i, y) in pairs.into_remainder().iter_mut().enumerate() {
            *y = math::dot(&w[first * k..(first + 1) * k], x_row(i));
        }
    }
}

/// Dot products of two rows with four, all of one length: eight running sums, each in a register of its own, hide the
/// latency of the multiply-add.
#[inline(always)]
pub(super) fn dots<S: Simd>(simd: S, w: [&[f32]; 2], x: [&[f32]; 4]) -> [[f32; 4]; 2] {
    let [(w0, w0_tail), (w1, w1_tail)] = w.map(S::as_simd_f32s);
    let [(x0, t0), (x1, t1), (x2, t2), (x3, t3)] = x.map(S::as_simd_f32s);
    let zero = simd.splat_f32s(0.0);
    let (mut a0, mut a1, mut a2, mut a3) = (zero, zero, zero, zero);
    let (mut b0, mut b1, mut b2, mut b3) = (zero, zero, zero, zero);
    let xs = x0.iter().zip(x1).zip(x2).zip(x3);
    for ((&u, &v), (((&p, &q), &r), &s)) in w0.iter().zip(w1).zip(xs) {
        a0 = simd.mul_add_e_f32s(u, p, a0);
        a1 = simd.mul_add_e_f32s(u, q, a1);
        a2 = simd.mul_add_e_f32s(u, r, a2);
        a3 = simd.mul_add_e_f32s(u, s, a3);
        b0 = simd.mul_add_e_f32s(v, p, b0);
        b1 = simd.mul_add_e_f32s(v, q, b1);
        b2 = simd.mul_add_e_f32s(v, r, b2);
        b3 = simd.mul_add_e_f32s(v, s, b3);
    }
    let sum = |lanes: S::f32s, w: &[f32], x: &[f32]| {
        let tail: f32 = w.iter().zip(x).map(|(w, x)| w * x).sum();
        simd.reduce_sum_f32s(lanes) + tail
    };
    let (w, v) = (w0_tail, w1_tail);
    [
        [
            sum(a0, w, t0),
            sum(a1, w, t1),
            sum(a2, w, t2),
            sum(a3, w, t3),
        ],
        [
            sum(b0, v, t0),
            sum(b1, v, t1),
            sum(b2, v, t2),
            sum(b3, v, t3),
        ],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(n: usize, seed: f32) -> Vec<f32> {
        (0..n).map(|i| ((i as f32) * 0.37 + seed).sin()).collect()
    }

    #[test]
    fn few_rows_equals_gemm() {
        for (m, k, n) in [
            (1, 32, 64),
            (3, 40, 5),
            (8, 256, 700),
            (9, 100, 33),
            (5, 7, 3),
        ] {
            let (x, w) = (fill(m * k, 0.1), fill(n * k, 0.9));
            let mut fast = vec![0.0; m * n];
            few_rows(&mut fast, &x, &w, m, n, k);
            let mut plain = vec![0.0; m * n];
            gemm(
                &mut plain,
                n,
                false,
                1.0,
                Mat::new(&x, m, k),
                Mat::new(&w, n, k).t(),
                true,
            );
            // Terms are at most 1, and sums of k terms round by less than k roundings of k.
            let bound = (k * k) as f32 * f32::EPSILON;
            for (a, b) in fast.iter().zip(&plain) {
                assert!((a - b).abs() <= bound, "{m} {k} {n}: {a} {b}");
            }
        }
    }
}
