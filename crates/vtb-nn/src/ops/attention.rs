//! Scaled dot-product attention that never keeps scores.
//!
//! Every query row sees one contiguous run of keys. Causality, padding on either side and packed segments are all
//! such runs, so the mask is two integers a row and nothing of size `queries × keys` exists outside a block.
//! The backward pass recomputes probabilities from the saved log-sum-exp (Dao et al., FlashAttention, 2022).

use std::sync::Arc;

use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};

#[cfg(feature = "flex")]
use crate::cpu;
use crate::diff_op::{AnyTensor, DiffOp, apply};

/// Scores held at once by the portable form, in elements; few under test, so that small cases come in chunks.
const SCORE_BUDGET: usize = if cfg!(test) { 1 << 8 } else { 1 << 26 };

/// Sizes of an attention call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dims {
    /// Batch rows.
    pub batch: usize,
    /// Query positions.
    pub queries: usize,
    /// Key positions.
    pub keys: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads; divides `heads`, each serving `heads/kv_heads` consecutive query heads.
    pub kv_heads: usize,
    /// Head width.
    pub dim: usize,
}

/// Visible keys `[lo, hi)` of each query row. A row with none answers zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttentionMask {
    ranges: Arc<Vec<(u32, u32)>>,
}

impl AttentionMask {
    /// One range per query row, batch-major.
    pub fn from_ranges(ranges: Vec<(u32, u32)>) -> Self {
        Self {
            ranges: Arc::new(ranges),
        }
    }

    /// Every query sees every key.
    pub fn full(batch: usize, queries: usize, keys: usize) -> Self {
        Self::from_ranges(vec![(0, keys as u32); batch * queries])
    }

    /// Causal attention of `queries` new positions ending at key `end[b]`, keys before `start[b]` being padding.
    pub fn causal(queries: usize, start: &[usize], end: &[usize]) -> Self {
        let rows = start.iter().zip(end).flat_map(|(&start, &end)| {
            (0..queries).map(move |i| {
                let hi = (end + i + 1).saturating_sub(queries);
                (start as u32, hi.max(start) as u32)
            })
        });
        Self::from_ranges(rows.collect())
    }

    /// Block-diagonal attention over runs of the given lengths, for one batch row; causal inside runs if asked.
    pub fn segments(lengths: &[usize], causal: bool) -> Self {
        let mut start = 0;
        let mut ranges = Vec::with_capacity(lengths.iter().sum());
        for length in lengths {
            let end = start + length;
            ranges.extend(
                (start..end)
                    .map(|i| (start as u32, if causal { i as u32 + 1 } else { end as u32 })),
            );
            start = end;
        }
        Self::from_ranges(ranges)
    }

    /// Ranges, batch-major.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }
}

/// `softmax(scale·q·kᵀ)·v` over each row's visible keys, softmax in f32.
///
/// # Shapes
/// `q` is `[batch, queries, heads, dim]`, `k` and `v` are `[batch, keys, kv_heads, dim]`; the result has the shape of
/// `q`. `mask` has `batch·queries` rows.
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: &AttentionMask,
    scale: f32,
) -> Tensor<4> {
    let [batch, queries, heads, dim] = q.dims();
    let [_, keys, kv_heads, _] = k.dims();
    let dims = Dims {
        batch,
        queries,
        keys,
        heads,
        kv_heads,
        dim,
    };
    debug_assert_eq!(
        mask.ranges.len(),
        batch * queries,
        "attention: one range per query row"
    );
    debug_assert!(
        q.dtype() == k.dtype() && k.dtype() == v.dtype(),
        "attention: dtypes differ"
    );
    #[cfg(feature = "flex")]
    if queries == 1
        && let (Some(q), Some(k), Some(v)) =
            (cpu::View::of(&q), cpu::View::of(&k), cpu::View::of(&v))
    {
        let (q, k, v) = (q.values(), k.values(), v.values());
        let inputs = cpu::attention::Inputs {
            q,
            k,
            v,
            dims,
            ranges: mask.ranges(),
            scale,
        };
        return cpu::tensor(cpu::decode::attend(inputs), [batch, 1, heads, dim]);
    }
    let op = Attention {
        dims,
        mask: mask.clone(),
        scale,
    };
    apply(op, [q.into(), k.into(), v.into()]).get()
}

#[derive(Debug)]
struct Attention {
    dims: Dims,
    mask: AttentionMask,
    scale: f32,
}

impl Attention {
    #[cfg(feature = "flex")]
    fn cpu_inputs<'a>(
        &'a self,
        q: &'a [f32],
        k: &'a [f32],
        v: &'a [f32],
    ) -> cpu::attention::Inputs<'a> {
        let (dims, ranges, scale) = (self.dims, self.mask.ranges(), self.scale);
        cpu::attention::Inputs {
            q,
            k,
            v,
            dims,
            ranges,
            scale,
        }
    }

    /// `[batch, rows, heads, dim]` to `[batch·kv_heads, group·rows, dim]`.
    fn grouped(&self, x: Tensor<4>) -> Tensor<3> {
        let Dims {
            batch,
            heads,
            kv_heads,
            dim,
            ..
        } = self.dims;
        let rows = x.dims()[1];
        let group = heads / kv_heads;
        x.reshape([batch, rows, kv_heads, group, dim])
            .permute([0, 2, 3, 1, 4])
            .reshape([batch * kv_heads, group * rows, dim])
    }

    /// Inverse of [`Attention::grouped`].
    fn ungrouped(&self, x: Tensor<3>, rows: usize) -> Tensor<4> {
        let Dims {
            batch,
            heads,
            kv_heads,
            dim,
            ..
        } = self.dims;
        let group = heads / kv_heads;
        x.reshape([batch, kv_heads, group, rows, dim])
            .permute([0, 3, 1, 2, 4])
            .reshape([batch, rows, heads, dim])
    }

    fn by_kv_head(&self, x: Tensor<4>) -> Tensor<3> {
        let Dims {
            batch,
            keys,
            kv_heads,
            dim,
            ..
        } = self.dims;
        x.swap_dims(1, 2).reshape([batch * kv_heads, keys, dim])
    }

    fn by_position(&self, x: Tensor<3>) -> Tensor<4> {
        let Dims {
            batch,
            keys,
            kv_heads,
            dim,
            ..
        } = self.dims;
        x.reshape([batch, kv_heads, keys, dim]).swap_dims(1, 2)
    }

    /// Which scores of the query rows `first..first+rows` are hidden, `[batch·kv_heads, group·rows, keys]`.
    fn hidden(&self, first: usize, rows: usize, device: &Device) -> Tensor<3, Bool> {
        let Dims {
            batch,
            queries,
            keys,
            heads,
            kv_heads,
            ..
        } = self.dims;
        let bound = |pick: fn(&(u32, u32)) -> u32| {
            let values: Vec<i32> = (0..batch)
                .flat_map(|b| {
                    let at = b * queries + first;
                    self.mask.ranges[at..at + rows]
                        .iter()
                        .map(move |r| pick(r).min(keys as u32) as i32)
                })
                .collect();
            let bound =
                Tensor::<1, Int>::from_data(TensorData::new(values, [batch * rows]), device);
            bound.reshape([batch, 1, rows, 1])
        };
        let column = Tensor::<1, Int>::arange(0..keys as i64, device).reshape([1, 1, 1, keys]);
        let shape = [batch, 1, rows, keys];
        let column = column.expand(shape);
        let below = column.clone().lower(bound(|r| r.0).expand(shape));
        let hidden = below.bool_or(column.greater_equal(bound(|r| r.1).expand(shape)));
        hidden.expand([batch, heads, rows, keys]).reshape([
            batch * kv_heads,
            heads / kv_heads * rows,
            keys,
        ])
    }

    fn chunk(&self) -> usize {
        let Dims {
            batch, keys, heads, ..
        } = self.dims;
        (SCORE_BUDGET / (batch * heads * keys).max(1)).max(1)
    }

    /// Scores in f32 with hidden ones at a large negative value, and the mask.
    fn scores(
        &self,
        q: Tensor<3>,
        k: Tensor<3>,
        first: usize,
        rows: usize,
    ) -> (Tensor<3>, Tensor<3, Bool>) {
        let hidden = self.hidden(first, rows, &q.device());
        let scores = q
            .matmul(k.swap_dims(1, 2))
            .cast(DType::F32)
            .mul_scalar(self.scale);
        (scores.mask_fill(hidden.clone(), -1e30), hidden)
    }
}

impl DiffOp<3> for Attention {
    fn forward(&self, [q, k, v]: [AnyTensor; 3]) -> (AnyTensor, Vec<AnyTensor>) {
        let (q, k, v) = (q.get::<4>(), k.get::<4>(), v.get::<4>());
        let queries = self.dims.queries;
        #[cfg(feature = "flex")]
        if let (Some(q), Some(k), Some(v)) =
            (cpu::View::of(&q), cpu::View::of(&k), cpu::View::of(&v))
        {
            let (out, lse) =
                cpu::attention::forward(self.cpu_inputs(q.values(), k.values(), v.values()));
            let Dims {
                batch,
                queries,
                heads,
                dim,
                ..
            } = self.dims;
            let out: AnyTensor = cpu::tensor(out, [batch, queries, heads, dim]).into();
            return (
                out.clone(),
                vec![out, cpu::tensor(lse, [batch, queries, heads]).into()],
            );
        }
        let dtype = q.dtype();
        let (k, v) = (self.by_kv_head(k), self.by_kv_head(v));
        let (mut outs, mut lses) = (Vec::new(), Vec::new());
        for first in (0..queries).step_by(self.chunk()) {
            let rows = self.chunk().min(queries - first);
            let q = self.grouped(q.clone().narrow(1, first, rows));
            let (scores, hidden) = self.scores(q, k.clone(), first, rows);
            let max = scores.clone().max_dim(2);
            let p = (scores - max.clone()).exp().mask_fill(hidden, 0.0);
            let sum = p.clone().sum_dim(2);
            let lse = sum.clone().clamp_min(1e-30).log() + max;
            let out = (p / sum.clamp_min(1e-30)).cast(dtype).matmul(v.clone());
            outs.push(self.ungrouped(out, rows));
            lses.push(lse);
        }
        let out: AnyTensor = Tensor::cat(outs, 1).into();
        let mut saved = vec![out.clone()];
        saved.extend(lses.into_iter().map(Into::into));
        (out, saved)
    }

    fn backward(
        &self,
        [q, k, v]: [Option<AnyTensor>; 3],
        saved: Vec<AnyTensor>,
        grad: AnyTensor,
        _needs: [bool; 3],
    ) -> [Option<AnyTensor>; 3] {
        let (Some(q), Some(k), Some(v)) = (q, k, v) else {
            return [None, None, None];
        };
        let (q, k, v, grad) = (q.get::<4>(), k.get::<4>(), v.get::<4>(), grad.get::<4>());
        let mut saved = saved.into_iter();
        let Some(out) = saved.next() else {
            return [None, None, None];
        };
        let out = out.get::<4>();
        #[cfg(feature = "flex")]
        if let (Some(qv), Some(kv), Some(vv), Some(ov), Some(gv)) = (
            cpu::View::of(&q),
            cpu::View::of(&k),
            cpu::View::of(&v),
            cpu::View::of(&out),
            cpu::View::of(&grad),
        ) && let Some(lse) = saved.next().and_then(|lse| cpu::View::of(&lse.get::<3>()))
        {
            let inputs = self.cpu_inputs(qv.values(), kv.values(), vv.values());
            let (dq, dk, dv) =
                cpu::attention::backward(inputs, ov.values(), lse.values(), gv.values());
            let (q, k) = (q.dims(), k.dims());
            return [
                Some(cpu::tensor(dq, q).into()),
                Some(cpu::tensor(dk, k).into()),
                Some(cpu::tensor(dv, k).into()),
            ];
        }
        let [dq, dk, dv] = self.portable_backward([q, k, v, out, grad], saved);
        [Some(dq.into()), Some(dk.into()), Some(dv.into())]
    }
}

impl Attention {
    fn portable_backward(
        &self,
        [q, k, v, out, grad]: [Tensor<4>; 5],
        lses: impl Iterator<Item = AnyTensor>,
    ) -> [Tensor<4>; 3] {
        let dtype = q.dtype();
        let queries = self.dims.queries;
        let (k, v) = (self.by_kv_head(k), self.by_kv_head(v));
        let mut dq = Vec::new();
        let mut totals: Option<(Tensor<3>, Tensor<3>)> = None;
        for (first, lse) in (0..queries).step_by(self.chunk()).zip(lses) {
            let rows = self.chunk().min(queries - first);
            let part = |x: &Tensor<4>| self.grouped(x.clone().narrow(1, first, rows));
            let (q, out, grad) = (part(&q), part(&out), part(&grad));
            let (scores, hidden) = self.scores(q.clone(), k.clone(), first, rows);
            let p = (scores - lse.get::<3>()).exp().mask_fill(hidden, 0.0);
            let delta = (grad.clone().cast(DType::F32) * out.cast(DType::F32)).sum_dim(2);
            let dp = grad
                .clone()
                .matmul(v.clone().swap_dims(1, 2))
                .cast(DType::F32);
            let ds = (p.clone() * (dp - delta))
                .mul_scalar(self.scale)
                .cast(dtype);
            dq.push(self.ungrouped(ds.clone().matmul(k.clone()), rows));
            let dv = p.cast(dtype).swap_dims(1, 2).matmul(grad).cast(DType::F32);
            let dk = ds.swap_dims(1, 2).matmul(q).cast(DType::F32);
            totals = Some(match totals {
                Some((tk, tv)) => (tk + dk, tv + dv),
                None => (dk, dv),
            });
        }
        let (dk, dv) = totals.unwrap_or_else(|| (k.zeros_like(), v.zeros_like()));
        let back = |x: Tensor<3>| self.by_position(x.cast(dtype));
        [Tensor::cat(dq, 1), back(dk), back(dv)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu_device;

    /// Results and gradients by queries, keys and values, flat.
    fn run(d: Dims, mask: &AttentionMask, dtype: DType) -> Vec<Vec<f64>> {
        let leaf = |rows: usize, heads: usize, seed: f64| {
            let len = d.batch * rows * heads * d.dim;
            let values: Vec<f64> = (0..len).map(|i| (i as f64 * 0.37 + seed).sin()).collect();
            let data = TensorData::new(values, [d.batch, rows, heads, d.dim]);
            Tensor::<4>::from_data(data, (&cpu_device(), dtype))
                .autodiff()
                .require_grad()
        };
        let [q, k, v] = [
            (d.queries, d.heads, 0.0),
            (d.keys, d.kv_heads, 1.0),
            (d.keys, d.kv_heads, 2.0),
        ]
        .map(|(rows, heads, seed)| leaf(rows, heads, seed));
        let y = attention(q.clone(), k.clone(), v.clone(), mask, 0.7);
        let gradients = (y.clone() * y.clone()).sum().backward();
        let read = |x: Tensor<4>| x.into_data().iter::<f64>().collect::<Vec<f64>>();
        let by = |x: Tensor<4>| read(x.grad(&gradients).unwrap());
        vec![by(q), by(k), by(v), read(y)]
    }

    #[test]
    fn chunks_of_queries_change_nothing() {
        // Four query rows a chunk, the last one short, against the kernel, which does not chunk this way.
        let d = Dims {
            batch: 2,
            queries: 11,
            keys: 8,
            heads: 4,
            kv_heads: 2,
            dim: 3,
        };
        let op = Attention {
            dims: d,
            mask: AttentionMask::full(2, 11, 8),
            scale: 1.0,
        };
        assert_eq!(op.chunk(), 4);
        let ragged = (0..22).map(|i| (i % 5, (i * 3 % 9).max(i % 5)));
        for mask in [
            op.mask.clone(),
            AttentionMask::from_ranges(ragged.collect()),
        ] {
            let (got, want) = (run(d, &mask, DType::F64), run(d, &mask, DType::F32));
            for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
                assert!((got - want).abs() < 1e-5, "{got} {want}");
            }
        }
    }
}
