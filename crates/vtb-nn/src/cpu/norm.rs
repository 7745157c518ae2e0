//! Normalisations over the last axis.

use rayon::prelude::*;

use super::{math, rows_per_task, simd, written};

/// `y = w ⊙ x·rsqrt(mean(x²)+eps)` for every row of `width` values.
pub(crate) fn rms(x: &[f32], w: &[f32], eps: f32) -> Vec<f32> {
    let width = width_of(x, w);
    let task = rows_per_task(width) * width;
    written(x.len(), |out| {
        out.par_chunks_mut(task)
            .zip(x.par_chunks(task))
            .for_each(|(out, x)| {
                simd(
                    #[inline(always)]
                    || {
                        for (y, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                            let scale = rms_scale(x, eps);
                            for i in 0..width {
                                y[i] = x[i] * scale * w[i];
                            }
                        }
                    },
                )
            })
    })
}

/// Rows must be whole: what a kernel does not write would stay unset.
fn width_of(x: &[f32], w: &[f32]) -> usize {
    let width = w.len();
    assert!(
        width > 0 && x.len().is_multiple_of(width),
        "norm: {} values are not rows of {width}",
        x.len()
    );
    width
}

#[inline(always)]
pub(super) fn rms_scale(x: &[f32], eps: f32) -> f32 {
    1.0 / (math::dot(x, x) / x.len() as f32 + eps).sqrt()
}

/// Gradients of [`rms`] by `x` and `w`.
pub(crate) fn rms_backward(x: &[f32], w: &[f32], grad: &[f32], eps: f32) -> (Vec<f32>, Vec<f32>) {
    let width = width_of(x, w);
    let task = rows_per_task(width) * width;
    let mut partial = Vec::new();
    let dx = written(x.len(), |dx| {
        partial = dx
            .par_chunks_mut(task)
            .zip(x.par_chunks(task))
            .zip(grad.par_chunks(task))
            .map(|((dx, x), g)| {
                let mut dw = vec![0.0f32; width];
                simd(
                    #[inline(always)]
                    || {
                        let rows = x.chunks_exact(width).zip(g.chunks_exact(width));
                        for (dx, (x, g)) in dx.chunks_exact_mut(width).zip(rows) {
                            let scale = rms_scale(x, eps);
                            for i in 0..width {
                                dx[i] = g[i] * w[i];
                            }
                            let mean = math::dot(dx, x) / width as f32 * scale * scale;
                            for i in 0..width {
                                dx[i] = scale * (dx[i] - x[i] * mean);
                                dw[i] += g[i] * x[i] * scale;
                            }
                        }
                    },
                );
                dw
            })
            .collect::<Vec<_>>();
    });
    (dx, sum(partial, width))
}

/// Adds partial sums in task order, whatever thread made them.
fn sum(partial: Vec<Vec<f32>>, width: usize) -> Vec<f32> {
    let mut total = vec![0.0f32; width];
    for part in partial {
        for (t, p) in total.iter_mut().zip(part) {
            *t += p;
        }
    }
    total
}

/// `y = w ⊙ (x-mean)·rsqrt(var+eps) + b` for every row.
pub(crate) fn layer(x: &[f32], w: &[f32], b: &[f32], eps: f32) -> Vec<f32> {
    let width = width_of(x, w);
    let task = rows_per_task(width) * width;
    written(x.len(), |out| {
        out.par_chunks_mut(task)
            .zip(x.par_chunks(task))
            .for_each(|(out, x)| {
                simd(
                    #[inline(always)]
                    || {
                        for (y, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                            let (mean, scale) = moments(x, eps);
                            for i in 0..width {
                                y[i] = ((x[i] - mean) * scale).mul_add(w[i], b[i]);
                            }
                        }
                    },
                )
            })
    })
}

#[inline(always)]
pub(super) fn moments(x: &[f32], eps: f32) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = math::sum_of(x, |v| v) / n;
    let var = math::sum_of(x, |v| (v - mean) * (v - mean)) / n;
    (mean, 1.0 / (var + eps).sqrt())
}

/// Gradients of [`layer`] by `x`, `w` and `b`.
pub(crate) fn layer_backward(
    x: &[f32],
    w: &[f32],
    grad: &[f32],
    eps: f32,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let width = width_of(x, w);
    let task = rows_per_task(width) * width;
    let mut partial = Vec::new();
    let dx = written(x.len(), |dx| {
        partial = dx
            .par_chunks_mut(task)
            .zip(x.par_chunks(task))
            .zip(grad.par_chunks(task))
            .map(|((dx, x), g)| {
                let mut sums = vec![0.0f32; 2 * width];
                let (dw, db) = sums.split_at_mut(width);
                simd(
                    #[inline(always)]
                    || {
                        let rows = x.chunks_exact(width).zip(g.chunks_exact(width));
                        for (dx, (x, g)) in dx.chunks_exact_mut(width).zip(rows) {
                            layer_row(dx, x, g, w, dw, db, eps);
                        }
                    },
                );
                sums
            })
            .collect::<Vec<_>>();
    });
    let mut dw = sum(partial, 2 * width);
    let db = dw.split_off(width);
    (dx, dw, db)
}

#[inline(always)]
pub(super) fn layer_row(
    dx: &mut [f32],
    x: &[f32],
    g: &[f32],
    w: &[f32],
    dw: &mut [f32],
    db: &mut [f32],
    eps: f32,
) {
    let width = w.len();
    let (mean, scale) = moments(x, eps);
    for i in 0..width {
        dx[i] = g[i] * w[i];
        dw[i] += g[i] * (x[i] - mean) * scale;
        db[i] += g[i];
    }
    let mean_g = math::sum_of(dx, |v| v) / width as f32;
    let mean_gx = (math::dot(dx, x) / width as f32 - mean_g * mean) * scale;
    for i in 0..width {
        dx[i] = scale * (dx[i] - mean_g - (x[i] - mean) * scale * mean_gx);
    }
}
