//! Sequences of different lengths laid end to end: no padding is ever computed on.

use burn::tensor::{Device, Int, Tensor, TensorData};
use vtb_nn::ops::{AttentionMask, attention};

/// Runs of positions that attend only among themselves.
#[derive(Debug, Clone)]
pub struct Packing {
    mask: AttentionMask,
    /// Rows of equal length can be a batch, which parallelises better.
    batch: usize,
}

impl Packing {
    /// Runs of the given lengths, causal inside each run if asked.
    pub fn new(lengths: &[usize], causal: bool) -> Self {
        let uniform = lengths.windows(2).all(|w| w[0] == w[1]);
        match lengths.first() {
            Some(&n) if uniform => {
                let rows = lengths.len();
                let mask = if causal {
                    AttentionMask::causal(n, &vec![0; rows], &vec![n; rows])
                } else {
                    AttentionMask::full(rows, n, n)
                };
                Self { mask, batch: rows }
            }
            _ => Self {
                mask: AttentionMask::segments(lengths, causal),
                batch: 1,
            },
        }
    }

    /// Attention of packed `[tokens, heads, dim]` inside the runs; the result is `[tokens, heads·dim]`.
    pub fn attend(&self, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, scale: f32) -> Tensor<2> {
        let [tokens, heads, dim] = q.dims();
        let rows = |x: Tensor<3>| -> Tensor<4> {
            let [_, heads, dim] = x.dims();
            x.reshape([self.batch, tokens / self.batch, heads, dim])
        };
        attention(rows(q), rows(k), rows(v), &self.mask, scale).reshape([tokens, heads * dim])
    }
}

/// A rank-1 index tensor.
pub(crate) fn indices(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|v| *v as i32).collect();
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), device)
}
