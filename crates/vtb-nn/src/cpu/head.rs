//! Log-probabilities, entropies and their gradient, row by row over logits.

use rayon::prelude::*;

use super::{math, simd};

/// Logits summed in f32 before f64 takes over.
const BLOCK: usize = 4096;

/// Statistics of one row of logits.
#[derive(Clone, Copy, Default)]
pub(crate) struct RowScore {
    /// Log-sum-exp of the scaled logits.
    pub(crate) lse: f32,
    /// Scaled logit of the target minus `lse`.
    pub(crate) logp: f32,
    /// Entropy in nats.
    pub(crate) entropy: f32,
    /// No logit is larger than the target's.
    pub(crate) top: bool,
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
                    let largest = math::max(row);
                    let max = largest * inv_temperature;
                    // Long vocabularies: partial sums in f32, their total in f64.
                    let (mut sum, mut moment) = (0.0f64, 0.0f64);
                    for part in row.chunks(BLOCK) {
                        let shifted = |x: f32| x.mul_add(inv_temperature, -max);
                        sum += f64::from(math::sum_of(part, |x| math::exp(shifted(x))));
                        moment += f64::from(math::sum_of(part, |x| {
                            let x = shifted(x);
                            let weight = math::exp(x);
                            if weight > 0.0 { weight * x } else { 0.0 }
                        }));
                    }
                    let log_sum = sum.ln() as f32;
                    let lse = max + log_sum;
                    // Rounding may leave less than nothing; not a number stays what it is.
                    let entropy = (log_sum - (moment / sum) as f32).clamp(0.0, f32::INFINITY);
                    let chosen = row[target as usize];
                    RowScore {
                        lse,
                        logp: chosen * inv_temperature - lse,
                        entropy,
                        top: chosen >= largest,
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
