//! Attention of one new token against a cache: bound by reading the cache once.

use rayon::prelude::*;

use super::attention::Inputs;
use super::{math, simd, written};

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
            simd(
                #[inline(always)]
                || attend_row(&inputs, batch, out),
            )
        };
        if work * row >= 1 << 15 {
            out.par_chunks_mut(row).enumerate().for_each(body);
        } else {
            out.chunks_mut(row).enumerate().for_each(body);
        }
    })
}

#[inline(always)]
fn attend_row(inputs: &Inputs<'_>, batch: usize, out: &mut [f32]) {
    let d = inputs.dims;
    out.fill(0.0);
    let (lo, hi) = inputs.ranges[batch];
    let (lo, hi) = (lo as usize, (hi as usize).min(d.keys));
    if lo >= hi {
        return;
    }
    let group = d.heads / d.kv_heads;
    let stride = d.kv_heads * d.dim;
    let mut scores = vec![0.0f32; hi - lo];
    for head in 0..d.heads {
        let start = (batch * d.keys * d.kv_heads + head / group) * d.dim;
        let q = &inputs.q[(batch * d.heads + head) * d.dim..][..d.dim];
        for (s, key) in scores.iter_mut().zip(lo..hi) {
            *s = math::dot(q, &inputs.k[start + key * stride..][..d.dim]) * inputs.scale;
        }
        let max = math::max(&scores);
        for s in scores.iter_mut() {
            *s = math::exp(*s - max);
        }
        let inverse = 1.0 / math::sum_of(&scores, |x| x);
        let out = &mut out[head * d.dim..][..d.dim];
        for (p, key) in scores.iter().zip(lo..hi) {
            let v = &inputs.v[start + key * stride..][..d.dim];
            let p = p * inverse;
            for (o, v) in out.iter_mut().zip(v) {
                *o = p.mul_add(*v, *o);
            }
        }
    }
}
