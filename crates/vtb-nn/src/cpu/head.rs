//! Log-probabilities, entropies and their gradient, row by row over logits.

use rayon::prelude::*;

use super::{math, simd};

/// Statistics of one row of logits.
#[derive(Clone, Copy, Default)]
pub(crate) struct RowScore {
    /// Log-sum-exp of the scaled logits.
    pub(crate) lse: f32,
    /// Scaled logit of the target minus `lse`.
    pub(crate) logp: f32,
    /// Entropy in nats.
    pub(crate) entropy: f32,
}

/// Scores `targets[i]` under row `i` of `logits` (`[rows, vocab]`), logits multiplied by `inv_temperature`.
pub(crate) fn scores(
    logits: &[f32],
    vocab: usize,
    targets: &[u32],
    inv_temperature: f32,
) -> Vec<RowScore> {
    logits
        .par_chunks(vocab)
        .zip(targets)
        .map(|(row, &target)| {
            simd(
                #[inline(always)]
                || {
                    let max = math::max(row) * inv_temperature;
                    let sum = math::sum_of(row, |x| math::exp(x.mul_add(inv_temperature, -max)));
                    let lse = max + sum.ln();
                    let mean = math::sum_of(row, |x| {
                        let x = x * inv_temperature;
                        let p = math::exp(x - lse);
                        if p > 0.0 { p * x } else { 0.0 }
                    });
                    let logp = row[target as usize] * inv_temperature - lse;
                    RowScore {
                        lse,
                        logp,
                        entropy: (lse - mean).max(0.0),
                    }
                },
            )
        })
        .collect()
}

/// Replaces each row of logits by `weight·(onehot(target) - softmax)·inv_temperature`: the gradient by the logits of
/// `Σ weightᵢ·logpᵢ`.
pub(crate) fn gradient(
    logits: &mut [f32],
    vocab: usize,
    targets: &[u32],
    lse: &[f32],
    weights: &[f32],
    inv_temperature: f32,
) {
    logits
        .par_chunks_mut(vocab)
        .enumerate()
        .for_each(|(i, row)| {
            let weight = weights[i] * inv_temperature;
            simd(
                #[inline(always)]
                || {
                    for x in row.iter_mut() {
                        *x = -weight * math::exp(x.mul_add(inv_temperature, -lse[i]));
                    }
                },
            );
            row[targets[i] as usize] += weight;
        });
}
