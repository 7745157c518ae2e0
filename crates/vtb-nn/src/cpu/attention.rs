//! Attention over query blocks: scores live in one small buffer per task, forward and backward.

use rayon::prelude::*;

use super::matmul::{Mat, gemm};
use super::{math, simd, written};
use crate::ops::attention::Dims;

/// Query rows handled at once.
const BLOCK: usize = 64;

/// Queries, keys and values with their layout and visible key ranges.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// `[batch, queries, heads, dim]`.
    pub(crate) q: &'a [f32],
    /// `[batch, keys, kv_heads, dim]`.
    pub(crate) k: &'a [f32],
    /// `[batch, keys, kv_heads, dim]`.
    pub(crate) v: &'a [f32],
    /// Sizes.
    pub(crate) dims: Dims,
    /// Visible keys `[lo, hi)` of query `i` of batch row `b` at `b·queries + i`.
    pub(crate) ranges: &'a [(u32, u32)],
    /// Factor on the scores.
    pub(crate) scale: f32,
}

/// A run of query rows of one batch row, and the keys any of them sees.
struct Block<'a> {
    batch: usize,
    first: usize,
    ranges: &'a [(u32, u32)],
    lo: usize,
    hi: usize,
}

impl<'a> Inputs<'a> {
    fn block(&self, batch: usize, first: usize) -> Block<'a> {
        let start = batch * self.dims.queries + first;
        let end = start + BLOCK.min(self.dims.queries - first);
        let ranges = &self.ranges[start..end];
        let seen = || ranges.iter().filter(|(lo, hi)| lo < hi);
        let lo = seen().map(|r| r.0).min().unwrap_or(0) as usize;
        let hi = (seen().map(|r| r.1).max().unwrap_or(0) as usize).min(self.dims.keys);
        Block {
            batch,
            first,
            ranges,
            lo,
            hi: hi.max(lo),
        }
    }

    fn queries(&self, block: &Block<'_>, head: usize) -> Mat<'a> {
        self.like_queries(self.q, block, head)
    }

    fn like_queries<'b>(&self, values: &'b [f32], block: &Block<'_>, head: usize) -> Mat<'b> {
        let d = self.dims;
        let start = ((block.batch * d.queries + block.first) * d.heads + head) * d.dim;
        Mat::strided(&values[start..], block.ranges.len(), d.dim, d.heads * d.dim)
    }

    fn keys(&self, values: &'a [f32], block: &Block<'_>, kv_head: usize) -> Mat<'a> {
        let d = self.dims;
        let start = ((block.batch * d.keys + block.lo) * d.kv_heads + kv_head) * d.dim;
        let start = start.min(values.len());
        Mat::strided(
            &values[start..],
            block.hi - block.lo,
            d.dim,
            d.kv_heads * d.dim,
        )
    }

    /// `scale·q·kᵀ` of a block: rows are queries, columns the keys `lo..hi`.
    fn scores(&self, scores: &mut [f32], block: &Block<'_>, head: usize) {
        let kv = head / (self.dims.heads / self.dims.kv_heads);
        let (q, k) = (self.queries(block, head), self.keys(self.k, block, kv));
        gemm(
            scores,
            block.hi - block.lo,
            false,
            self.scale,
            q,
            k.t(),
            false,
        );
    }
}

/// Result `[batch, queries, heads, dim]` and log-sum-exp `[batch, queries, heads]` of the scores.
pub(crate) fn forward(inputs: Inputs<'_>) -> (Vec<f32>, Vec<f32>) {
    let d = inputs.dims;
    let row = d.heads * d.dim;
    let mut lse = Vec::new();
    let out = written(d.batch * d.queries * row, |out| {
        lse = written(d.batch * d.queries * d.heads, |lse| {
            let outs = out.par_chunks_mut((d.queries * row).max(1));
            let lses = lse.par_chunks_mut((d.queries * d.heads).max(1));
            outs.zip(lses).enumerate().for_each(|(batch, (out, lse))| {
                let outs = out.par_chunks_mut(BLOCK * row);
                let lses = lse.par_chunks_mut(BLOCK * d.heads);
                outs.zip(lses).enumerate().for_each(|(i, (out, lse))| {
                    forward_block(&inputs, &inputs.block(batch, i * BLOCK), out, lse);
                })
            })
        });
    });
    (out, lse)
}

fn forward_block(inputs: &Inputs<'_>, block: &Block<'_>, out: &mut [f32], lse: &mut [f32]) {
    let d = inputs.dims;
    let width = block.hi - block.lo;
    if width == 0 {
        out.fill(0.0);
        lse.fill(f32::NEG_INFINITY);
        return;
    }
    let mut scores = vec![0.0f32; block.ranges.len() * width];
    for head in 0..d.heads {
        inputs.scores(&mut scores, block, head);
        simd(
            #[inline(always)]
            || {
                for (i, scores) in scores.chunks_exact_mut(width).enumerate() {
                    lse[i * d.heads + head] = softmax_row(scores, block, i);
                }
            },
        );
        let kv = head / (d.heads / d.kv_heads);
        let p = Mat::new(&scores, block.ranges.len(), width);
        let v = inputs.keys(inputs.v, block, kv);
        gemm(
            &mut out[head * d.dim..],
            d.heads * d.dim,
            false,
            1.0,
            p,
            v,
            false,
        );
    }
}

/// Turns scores into probabilities inside the row's range and zeros outside it; returns the log-sum-exp.
#[inline(always)]
fn softmax_row(scores: &mut [f32], block: &Block<'_>, i: usize) -> f32 {
    let (lo, hi) = visible(block, i, scores.len());
    scores[..lo].fill(0.0);
    scores[hi..].fill(0.0);
    let seen = &mut scores[lo..hi];
    if seen.is_empty() {
        return f32::NEG_INFINITY;
    }
    let max = math::max(seen);
    for s in seen.iter_mut() {
        *s = math::exp(*s - max);
    }
    let sum = math::sum_of(seen, |x| x);
    let inverse = 1.0 / sum;
    for s in seen.iter_mut() {
        *s *= inverse;
    }
    max + sum.ln()
}

#[inline(always)]
fn visible(block: &Block<'_>, i: usize, width: usize) -> (usize, usize) {
    let (lo, hi) = block.ranges[i];
    let lo = (lo as usize).max(block.lo) - block.lo;
    let hi = (hi as usize).max(block.lo) - block.lo;
    let lo = lo.min(width);
    (lo, hi.clamp(lo, width))
}

/// Gradients by queries, keys and values, in their layouts.
pub(crate) fn backward(
    inputs: Inputs<'_>,
    out: &[f32],
    lse: &[f32],
    grad: &[f32],
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let d = inputs.dims;
    let heads: Vec<HeadGrads> = (0..d.batch * d.kv_heads)
        .into_par_iter()
        .map(|i| backward_head(&inputs, out, lse, grad, i / d.kv_heads, i % d.kv_heads))
        .collect();
    let group = d.heads / d.kv_heads;
    let dq = interleave(d.batch, d.queries, d.heads, d.dim, |b, h| {
        let head = &heads[b * d.kv_heads + h / group];
        &head.dq[(h % group) * d.queries * d.dim..][..d.queries * d.dim]
    });
    let dk = interleave(d.batch, d.keys, d.kv_heads, d.dim, |b, h| {
        &heads[b * d.kv_heads + h].dk
    });
    let dv = interleave(d.batch, d.keys, d.kv_heads, d.dim, |b, h| {
        &heads[b * d.kv_heads + h].dv
    });
    (dq, dk, dv)
}

/// Gradients of one key-value head of one batch row, head-major.
struct HeadGrads {
    /// `[group, queries, dim]`.
    dq: Vec<f32>,
    /// `[keys, dim]`.
    dk: Vec<f32>,
    /// `[keys, dim]`.
    dv: Vec<f32>,
}

fn backward_head(
    inputs: &Inputs<'_>,
    out: &[f32],
    lse: &[f32],
    grad: &[f32],
    batch: usize,
    kv: usize,
) -> HeadGrads {
    let d = inputs.dims;
    let group = d.heads / d.kv_heads;
    let mut grads = HeadGrads {
        dq: vec![0.0; group * d.queries * d.dim],
        dk: vec![0.0; d.keys * d.dim],
        dv: vec![0.0; d.keys * d.dim],
    };
    let (mut p, mut dp) = (Vec::new(), Vec::new());
    for first in (0..d.queries).step_by(BLOCK) {
        let block = inputs.block(batch, first);
        let (rows, width) = (block.ranges.len(), block.hi - block.lo);
        if width == 0 {
            continue;
        }
        p.resize(rows * width, 0.0);
        dp.resize(rows * width, 0.0);
        for g in 0..group {
            let head = kv * group + g;
            let d_out = inputs.like_queries(grad, &block, head);
            inputs.scores(&mut p, &block, head);
            let v = inputs.keys(inputs.v, &block, kv);
            gemm(&mut dp, width, false, 1.0, d_out, v.t(), false);
            simd(
                #[inline(always)]
                || {
                    for i in 0..rows {
                        let at = (batch * d.queries + first + i) * d.heads + head;
                        let line = at * d.dim..(at + 1) * d.dim;
                        let delta = math::dot(&grad[line.clone()], &out[line]);
                        let span = i * width..(i + 1) * width;
                        let range = visible(&block, i, width);
                        let rows = (&mut p[span.clone()], &mut dp[span]);
                        score_gradient(rows, range, lse[at], delta, inputs.scale);
                    }
                },
            );
            let keys = block.lo * d.dim..block.hi * d.dim;
            let pm = Mat::new(&p, rows, width);
            gemm(
                &mut grads.dv[keys.clone()],
                d.dim,
                true,
                1.0,
                pm.t(),
                d_out,
                false,
            );
            let dsm = Mat::new(&dp, rows, width);
            gemm(
                &mut grads.dk[keys],
                d.dim,
                true,
                1.0,
                dsm.t(),
                inputs.queries(&block, head),
                false,
            );
            let at = (g * d.queries + first) * d.dim;
            let dq = &mut grads.dq[at..at + rows * d.dim];
            gemm(
                dq,
                d.dim,
                false,
                1.0,
                dsm,
                inputs.keys(inputs.k, &block, kv),
                false,
            );
        }
    }
    grads
}

/// Replaces scores by probabilities and `dP` by `dS = P ⊙ (dP - delta)·scale`.
#[inline(always)]
fn score_gradient(
    (p, dp): (&mut [f32], &mut [f32]),
    (lo, hi): (usize, usize),
    lse: f32,
    delta: f32,
    scale: f32,
) {
    p[..lo].fill(0.0);
    p[hi..].fill(0.0);
    dp[..lo].fill(0.0);
    dp[hi..].fill(0.0);
    for (p, dp) in p[lo..hi].iter_mut().zip(&mut dp[lo..hi]) {
        *p = math::exp(*p - lse);
        *dp = *p * (*dp - delta) * scale;
    }
}

/// Gathers head-major pieces into `[batch, rows, heads, dim]`.
fn interleave<'a>(
    batch: usize,
    rows: usize,
    heads: usize,
    dim: usize,
    piece: impl Fn(usize, usize) -> &'a [f32] + Sync,
) -> Vec<f32> {
    written(batch * rows * heads * dim, |out| {
        out.par_chunks_mut((heads * dim).max(1))
            .enumerate()
            .for_each(|(i, out)| {
                let (b, row) = (i / rows, i % rows);
                for (h, out) in out.chunks_exact_mut(dim).enumerate() {
                    out.copy_from_slice(&piece(b, h)[row * dim..(row + 1) * dim]);
                }
            })
    })
}
