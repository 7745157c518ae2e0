//! Matrix products with accumulation, and a product for few rows.

use rayon::prelude::*;

use super::{math, simd};

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

/// `out[m,n] = x[m,k]·w[n,k]ᵀ` for few rows: every weight is read once, straight from where it lies, which is what
/// bounds a decoding step.
pub(crate) fn few_rows(out: &mut [f32], x: &[f32], w: &[f32], m: usize, n: usize, k: usize) {
    if m == 0 {
        return;
    }
    let mut by_column = vec![0.0f32; n * m];
    let task = (16_384 / k.max(1)).clamp(8, 512);
    let body = |(block, out): (usize, &mut [f32])| {
        let first = block * task;
        simd(
            #[inline(always)]
            || {
                for (j, column) in out.chunks_exact_mut(m).enumerate() {
                    let row = &w[(first + j) * k..(first + j + 1) * k];
                    let mut i = 0;
                    while i + 4 <= m {
                        let sums = dot4(row, &x[i * k..(i + 4) * k], k);
                        column[i..i + 4].copy_from_slice(&sums);
                        i += 4;
                    }
                    while i < m {
                        column[i] = math::dot(row, &x[i * k..(i + 1) * k]);
                        i += 1;
                    }
                }
            },
        )
    };
    if n * m * k >= 1 << 16 {
        by_column
            .par_chunks_mut(task * m)
            .enumerate()
            .for_each(body);
    } else {
        by_column.chunks_mut(task * m).enumerate().for_each(body);
    }
    for i in 0..m {
        for j in 0..n {
            out[i * n + j] = by_column[j * m + i];
        }
    }
}

/// Dot products of `row` with four rows of `x`.
#[inline(always)]
fn dot4(row: &[f32], x: &[f32], k: usize) -> [f32; 4] {
    const LANES: usize = 16;
    let mut lanes = [[0.0f32; LANES]; 4];
    let blocks = k / LANES;
    let (x0, rest) = x.split_at(k);
    let (x1, rest) = rest.split_at(k);
    let (x2, x3) = rest.split_at(k);
    let (w, w_tail) = row.as_chunks::<LANES>();
    let (a0, t0) = x0.as_chunks::<LANES>();
    let (a1, t1) = x1.as_chunks::<LANES>();
    let (a2, t2) = x2.as_chunks::<LANES>();
    let (a3, t3) = x3[..k].as_chunks::<LANES>();
    for b in 0..blocks {
        for i in 0..LANES {
            lanes[0][i] = a0[b][i].mul_add(w[b][i], lanes[0][i]);
            lanes[1][i] = a1[b][i].mul_add(w[b][i], lanes[1][i]);
            lanes[2][i] = a2[b][i].mul_add(w[b][i], lanes[2][i]);
            lanes[3][i] = a3[b][i].mul_add(w[b][i], lanes[3][i]);
        }
    }
    let mut sums = [0.0f32; 4];
    for (s, l) in sums.iter_mut().zip(&lanes) {
        let mut half = [0.0f32; 8];
        for i in 0..8 {
            half[i] = l[i] + l[i + 8];
        }
        *s = ((half[0] + half[4]) + (half[1] + half[5]))
            + ((half[2] + half[6]) + (half[3] + half[7]));
    }
    for (i, w) in w_tail.iter().enumerate() {
        sums[0] += t0[i] * w;
        sums[1] += t1[i] * w;
        sums[2] += t2[i] * w;
        sums[3] += t3[i] * w;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(n: usize, seed: f32) -> Vec<f32> {
        (0..n).map(|i| ((i as f32) * 0.37 + seed).sin()).collect()
    }

    #[test]
    fn few_rows_equals_gemm() {
        for (m, k, n) in [(1, 32, 64), (3, 40, 5), (8, 256, 700), (9, 100, 33)] {
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
            for (a, b) in fast.iter().zip(&plain) {
                assert!((a - b).abs() < 1e-4, "{a} {b}");
            }
        }
    }
}
