//! Attention of one new token against a cache: bound by reading the cache once.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::attention::Inputs;
use super::{math, matmul, written};

/// Query heads that share what is read of a key-value head.
const HEADS: usize = 4;

/// Result `[batch, 1, heads, dim]` of attention with one query per batch row.
pub(crate) fn attend(inputs: Inputs<'_>) -> Vec<f32> {
    let d = inputs.dims;
    let row = d.heads * d.dim;
    written(d.batch * row, |out| {
        let work: usize = inputs
            .ranges
            .iter()
            .map(|(lo, hi)| hi.saturating_sub(*lo) as usize)
            .sum();
        let body = |(batch, out): (usize, &mut [f32])| {
            pulp::Arch::new().dispatch(Row { inputs, batch, out });
        };
        if work * row >= 1 << 15 {
            out.par_chunks_mut(row).enumerate().for_each(body);
        } else {
            out.chunks_mut(row).enumerate().for_each(body);
        }
    })
}

/// All heads of one batch row.
struct Row<'a> {
    inputs: Inputs<'a>,
    batch: usize,
    out: &'a mut [f32],
}

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let d = self.inputs.dims;
        self.out.fill(0.0);
        let (lo, hi) = self.inputs.ranges[self.batch];
        let (lo, hi) = (lo as usize, (hi as usize).min(d.keys));
        if lo >= hi {
            return;
        }
        let group = d.heads / d.kv_heads;
        let mut scores = vec![0.0f32; HEADS * (hi - lo)];
        for (kv, out) in self.out.chunks_exact_mut(group * d.dim).enumerate() {
            let first = self.batch * d.heads + kv * group;
            let q = &self.inputs.q[first * d.dim..(first + group) * d.dim];
            let start = (self.batch * d.keys * d.kv_heads + kv) * d.dim;
            let stride = d.kv_heads * d.dim;
            let keys = Strided::new(&self.inputs.k[start..], lo..hi, stride, d.dim);
            let values = Strided::new(&self.inputs.v[start..], lo..hi, stride, d.dim);
            for (q, out) in q.chunks(HEADS * d.dim).zip(out.chunks_mut(HEADS * d.dim)) {
                let scores = &mut scores[..q.len() / d.dim * (hi - lo)];
                score(simd, q, &keys, self.inputs.scale, scores);
                weigh(simd, scores, &values, out);
            }
        }
    }
}

/// Rows of `dim` values, `stride` apart.
struct Strided<'a> {
    values: &'a [f32],
    rows: std::ops::Range<usize>,
    stride: usize,
    dim: usize,
}

impl<'a> Strided<'a> {
    fn new(values: &'a [f32], rows: std::ops::Range<usize>, stride: usize, dim: usize) -> Self {
        Self {
            values,
            rows,
            stride,
            dim,
        }
    }

    #[inline(always)]
    fn row(&self, at: usize) -> &'a [f32] {
        let start = (self.rows.start + at) * self.stride;
        &self.values[start..start + self.dim]
    }
}

/// Softmax over the keys of every head of `q`, head by head in `scores`.
#[inline(always)]
fn score<S: Simd>(simd: S, q: &[f32], keys: &Strided<'_>, scale: f32, scores: &mut [f32]) {
    let (n, dim) = (keys.rows.len(), keys.dim);
    if q.len() == HEADS * dim {
        let heads = [0, 1, 2, 3].map(|h: usize| &q[h * dim..(h + 1) * dim]);
        let mut at = 0;
        while at < n {
            // The last key of an odd number is read twice.
            let next = (at + 1).min(n - 1);
            let [one, two] = matmul::dots(simd, [keys.row(at), keys.row(next)], heads);
            for (h, (one, two)) in one.into_iter().zip(two).enumerate() {
                scores[h * n + at] = one * scale;
                scores[h * n + next] = two * scale;
            }
            at += 2;
        }
    } else {
        for (q, scores) in q.chunks_exact(dim).zip(scores.chunks_exact_mut(n)) {
            for (at, s) in scores.iter_mut().enumerate() {
                *s = math::dot(q, keys.row(at)) * scale;
            }
        }
    }
    for scores in scores.chunks_exact_mut(n) {
        let max = math::max(scores);
        for s in scores.iter_mut() {
            *s = math::exp(*s - max);
        }
        let inverse = 1.0 / math::sum_of(scores, |x| x);
        for s in scores.iter_mut() {
            *s *= inverse;
        }
    }
}

/// `out[head] = Σ scores[head, key]·values[key]`.
#[inline(always)]
fn weigh<S: Simd>(simd: S, scores: &[f32], values: &Strided<'_>, out: &mut [f32]) {
    let (n, dim) = (values.rows.len(), values.dim);
    let vectors = S::as_simd_f32s(values.row(0)).0.len();
    let tail = dim - S::as_simd_f32s(values.row(0)).1.len();
    for (scores, out) in scores.chunks_exact(n).zip(out.chunks_exact_mut(dim)) {
        let (out_vectors, out_tail) = S::as_mut_simd_f32s(out);
        let mut at = 0;
        // Two registers of running sums at a time, and one for an odd rest.
        while at < vectors {
            let next = (at + 1).min(vectors - 1);
            let (mut a, mut b) = (simd.splat_f32s(0.0), simd.splat_f32s(0.0));
            for (key, &p) in scores.iter().enumerate() {
                let v = S::as_simd_f32s(values.row(key)).0;
                let p = simd.splat_f32s(p);
                a = simd.mul_add_e_f32s(p, v[at], a);
                b = simd.mul_add_e_f32s(p, v[next], b);
            }
            out_vectors[at] = a;
            out_vectors[next] = b;
            at += 2;
        }
        for (i, y) in out_tail.iter_mut().enumerate() {
            let terms = scores.iter().enumerate();
            *y = terms.map(|(key, p)| p * values.row(key)[tail + i]).sum();
        }
    }
}
