//! Gated activations, GELU and rotary embedding.

use rayon::prelude::*;

use super::{math, simd, written};
use crate::ops::rope::Pairs;

const TASK: usize = 16_384;

/// `silu(gate) ⊙ up`.
pub(crate) fn swiglu(gate: &[f32], up: &[f32]) -> Vec<f32> {
    written(gate.len(), |out| {
        out.par_chunks_mut(TASK)
            .zip(gate.par_chunks(TASK))
            .zip(up.par_chunks(TASK))
            .for_each(|((out, g), u)| {
                simd(
                    #[inline(always)]
                    || {
                        for i in 0..out.len() {
                            out[i] = g[i] * math::sigmoid(g[i]) * u[i];
                        }
                    },
                )
            })
    })
}

/// Gradients of [`swiglu`] by `gate` and `up`.
pub(crate) fn swiglu_backward(gate: &[f32], up: &[f32], grad: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut d_up = Vec::new();
    let d_gate = written(gate.len(), |d_gate| {
        d_up = written(gate.len(), |d_up| {
            let outputs = d_gate.par_chunks_mut(TASK).zip(d_up.par_chunks_mut(TASK));
            let inputs = gate
                .par_chunks(TASK)
                .zip(up.par_chunks(TASK))
                .zip(grad.par_chunks(TASK));
            outputs.zip(inputs).for_each(|((dg, du), ((g, u), grad))| {
                simd(
                    #[inline(always)]
                    || {
                        for i in 0..dg.len() {
                            let s = math::sigmoid(g[i]);
                            let silu = g[i] * s;
                            du[i] = grad[i] * silu;
                            dg[i] = grad[i] * u[i] * (s + silu * (1.0 - s));
                        }
                    },
                )
            })
        });
    });
    (d_gate, d_up)
}

/// GELU with the tanh approximation, `0.5x(1+tanh(√(2/π)(x+0.044715x³)))`, or exact by the error function.
pub(crate) fn gelu(x: &[f32], tanh: bool) -> Vec<f32> {
    written(x.len(), |out| {
        out.par_chunks_mut(TASK)
            .zip(x.par_chunks(TASK))
            .for_each(|(out, x)| {
                if tanh {
                    simd(
                        #[inline(always)]
                        || {
                            for i in 0..out.len() {
                                out[i] = 0.5 * x[i] * (1.0 + math::tanh(inner(x[i])));
                            }
                        },
                    )
                } else {
                    simd(
                        #[inline(always)]
                        || {
                            for i in 0..out.len() {
                                let cdf = 1.0 + math::erf(x[i] * std::f32::consts::FRAC_1_SQRT_2);
                                out[i] = 0.5 * x[i] * cdf;
                            }
                        },
                    )
                }
            })
    })
}

#[inline(always)]
fn inner(x: f32) -> f32 {
    0.797_884_6 * (0.044_715 * x * x).mul_add(x, x)
}

/// Gradient of [`gelu`] by its input.
pub(crate) fn gelu_backward(x: &[f32], grad: &[f32], tanh: bool) -> Vec<f32> {
    written(x.len(), |out| {
        out.par_chunks_mut(TASK)
            .zip(x.par_chunks(TASK))
            .zip(grad.par_chunks(TASK))
            .for_each(|((out, x), g)| {
                if tanh {
                    simd(
                        #[inline(always)]
                        || {
                            for i in 0..out.len() {
                                let t = math::tanh(inner(x[i]));
                                let d = 0.797_884_6 * (0.134_145 * x[i]).mul_add(x[i], 1.0);
                                let slope = 0.5 * (1.0 + t) + 0.5 * x[i] * (1.0 - t * t) * d;
                                out[i] = g[i] * slope;
                            }
                        },
                    )
                } else {
                    simd(
                        #[inline(always)]
                        || {
                            for i in 0..out.len() {
                                let cdf =
                                    0.5 * (1.0 + math::erf(x[i] * std::f32::consts::FRAC_1_SQRT_2));
                                let pdf = 0.398_942_3 * math::exp(-0.5 * x[i] * x[i]);
                                out[i] = g[i] * x[i].mul_add(pdf, cdf);
                            }
                        },
                    )
                }
            })
    })
}

/// Rotates the pairs of every head: `(a, b) -> (a·cos - b·sin, b·cos + a·sin)`, pair `i` by angle `i`.
///
/// `x` is `[tokens, heads, dim]`, `cos` and `sin` are `[tokens, dim/2]`; `sign` is -1 for the inverse rotation.
pub(crate) fn rope(
    x: &[f32],
    cos: &[f32],
    sin: &[f32],
    [heads, dim]: [usize; 2],
    pairs: Pairs,
    sign: f32,
) -> Vec<f32> {
    let half = dim / 2;
    let width = heads * dim;
    let task = super::rows_per_task(width);
    written(x.len(), |out| {
        out.par_chunks_mut(task * width)
            .zip(x.par_chunks(task * width))
            .zip(cos.par_chunks(task * half))
            .zip(sin.par_chunks(task * half))
            .for_each(|(((out, x), cos), sin)| {
                let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
                let rows = out.chunks_exact_mut(width).zip(x.chunks_exact(width));
                simd(
                    #[inline(always)]
                    || {
                        for ((out, x), (cos, sin)) in rows.zip(angles) {
                            for (out, x) in out.chunks_exact_mut(dim).zip(x.chunks_exact(dim)) {
                                match pairs {
                                    Pairs::Halves => turn_halves(out, x, cos, sin, sign),
                                    Pairs::Adjacent => turn_adjacent(out, x, cos, sin, sign),
                                }
                            }
                        }
                    },
                )
            })
    })
}

#[inline(always)]
fn turn_halves(out: &mut [f32], x: &[f32], cos: &[f32], sin: &[f32], sign: f32) {
    let half = cos.len();
    let (lo, hi) = out.split_at_mut(half);
    let (a, b) = x.split_at(half);
    for i in 0..half {
        let s = sin[i] * sign;
        lo[i] = a[i] * cos[i] - b[i] * s;
        hi[i] = b[i] * cos[i] + a[i] * s;
    }
}

#[inline(always)]
fn turn_adjacent(out: &mut [f32], x: &[f32], cos: &[f32], sin: &[f32], sign: f32) {
    for i in 0..cos.len() {
        let (a, b) = (x[2 * i], x[2 * i + 1]);
        let s = sin[i] * sign;
        out[2 * i] = a * cos[i] - b * s;
        out[2 * i + 1] = b * cos[i] + a * s;
    }
}
