//! Token log-probabilities and their gradient, in f32 and in chunks: logits never exist for all positions at once.

use burn::tensor::{DType, Int, Tensor, TensorData};

#[cfg(feature = "flex")]
use crate::cpu;
use crate::ops::linear::linear;

/// Logits held at once, in elements.
const LOGIT_BUDGET: usize = 1 << 24;

/// Scores of a set of positions under the output head.
#[derive(Debug, Clone, Default)]
pub struct HeadScores {
    /// `ln p(target)`.
    pub logp: Vec<f32>,
    /// Entropy of the distribution, in nats.
    pub entropy: Vec<f32>,
    /// Log-sum-exp of the scaled logits, for the backward pass.
    pub lse: Vec<f32>,
    /// Whether no other token is likelier than the target.
    pub top: Vec<bool>,
}

/// Rows of `hidden` scored at once for a vocabulary.
pub fn chunk_rows(vocab: usize) -> usize {
    (LOGIT_BUDGET / vocab.max(1)).max(1)
}

/// Scores `targets[i]` under `softmax(hidden[i]·Wᵀ/temperature)`.
///
/// # Shapes
/// `hidden` is `[rows, width]` and `w` `[vocab, width]`, both outside autodiff.
pub fn head_scores(
    hidden: &Tensor<2>,
    w: &Tensor<2>,
    targets: &[u32],
    temperature: f32,
) -> HeadScores {
    let vocab = w.dims()[0];
    let mut scores = HeadScores::default();
    for (chunk, targets) in targets.chunks(chunk_rows(vocab)).enumerate() {
        let rows = hidden
            .clone()
            .narrow(0, chunk * chunk_rows(vocab), targets.len());
        score_chunk(
            &mut scores,
            linear(rows, w.clone(), None),
            targets,
            temperature,
        );
    }
    scores
}

fn score_chunk(scores: &mut HeadScores, logits: Tensor<2>, targets: &[u32], temperature: f32) {
    #[cfg(feature = "flex")]
    if let Some(view) = cpu::View::of(&logits) {
        let vocab = logits.dims()[1];
        for row in cpu::head::scores(view.values(), vocab, targets, 1.0 / temperature) {
            scores.logp.push(row.logp);
            scores.entropy.push(row.entropy);
            scores.lse.push(row.lse);
            scores.top.push(row.top);
        }
        return;
    }
    let logits = logits.cast(DType::F32).div_scalar(temperature);
    let max = logits.clone().max_dim(1);
    // Relative to the largest logit, so that the entropy is no small difference of large numbers.
    let shifted = logits.clone() - max.clone();
    let weight = shifted.clone().exp();
    let sum = weight.clone().sum_dim(1);
    let entropy = sum.clone().log() - (weight * shifted).sum_dim(1) / sum.clone();
    let lse = sum.log() + max.clone();
    let chosen = logits.gather(1, target_tensor(targets, &lse));
    let read = |t: Tensor<2>| t.into_data().iter::<f32>().collect::<Vec<_>>();
    let behind = read(max - chosen.clone());
    scores.top.extend(behind.into_iter().map(|by| by <= 0.0));
    scores.logp.extend(read(chosen - lse.clone()));
    scores.entropy.extend(read(entropy));
    scores.lse.extend(read(lse));
}

fn target_tensor(targets: &[u32], like: &Tensor<2>) -> Tensor<2, Int> {
    let values: Vec<i32> = targets.iter().map(|t| *t as i32).collect();
    Tensor::from_data(TensorData::new(values, [targets.len(), 1]), &like.device())
}

/// Gradient of `Σ weights[i]·logp[i]` by `hidden`, and by `w` when `weight_gradient` is set (f32).
///
/// `lse` comes from [`head_scores`] on the same inputs.
pub fn head_backward(
    hidden: &Tensor<2>,
    w: &Tensor<2>,
    targets: &[u32],
    lse: &[f32],
    weights: &[f32],
    temperature: f32,
    weight_gradient: bool,
) -> (Tensor<2>, Option<Tensor<2>>) {
    if targets.is_empty() {
        let d_w = weight_gradient.then(|| w.zeros_like().cast(DType::F32));
        return (hidden.zeros_like(), d_w);
    }
    let vocab = w.dims()[0];
    let step = chunk_rows(vocab);
    let mut d_hidden = Vec::new();
    let mut d_w: Option<Tensor<2>> = None;
    for (chunk, targets) in targets.chunks(step).enumerate() {
        let span = chunk * step..chunk * step + targets.len();
        let rows = hidden.clone().narrow(0, span.start, targets.len());
        let logits = linear(rows.clone(), w.clone(), None);
        let d = logit_gradient(
            logits,
            targets,
            &lse[span.clone()],
            &weights[span],
            temperature,
        );
        if weight_gradient {
            let part = d
                .clone()
                .transpose()
                .matmul(rows.cast(d.dtype()))
                .cast(DType::F32);
            d_w = Some(match d_w {
                Some(total) => total + part,
                None => part,
            });
        }
        d_hidden.push(d.matmul(w.clone()));
    }
    (Tensor::cat(d_hidden, 0), d_w)
}

/// `weight·(onehot - softmax)/temperature` in the dtype of the logits.
fn logit_gradient(
    logits: Tensor<2>,
    targets: &[u32],
    lse: &[f32],
    weights: &[f32],
    temperature: f32,
) -> Tensor<2> {
    let rows = logits.dims()[0];
    #[cfg(feature = "flex")]
    if let Some(view) = cpu::View::of(&logits) {
        let vocab = logits.dims()[1];
        let mut d = view.values().to_vec();
        cpu::head::gradient(&mut d, vocab, targets, lse, weights, 1.0 / temperature);
        return cpu::tensor(d, [rows, vocab]);
    }
    let dtype = logits.dtype();
    let device = logits.device();
    let column = |values: &[f32]| {
        Tensor::<2>::from_data(
            TensorData::new(values.to_vec(), [rows, 1]),
            (&device, DType::F32),
        )
    };
    let weight = column(weights).div_scalar(temperature);
    let p = (logits.cast(DType::F32).div_scalar(temperature) - column(lse)).exp();
    let d = -(p * weight.clone());
    let targets = target_tensor(targets, &d);
    d.scatter(1, targets, weight, burn::tensor::IndexingUpdateOp::Add)
        .cast(dtype)
}
