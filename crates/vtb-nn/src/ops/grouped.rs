//! Linear maps of which every row uses one of many: the experts of a mixture.
//!
//! Rows lie grouped by expert, so each expert is one small product and experts without rows cost nothing.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::linear::{plain, product, transposed};
#[cfg(feature = "flex")]
use crate::cpu::{self, matmul::Mat};
use crate::diff_op::{AnyTensor, DiffOp, apply};

/// Which of `k` experts every token chose, and the order that lays the choices out expert by expert.
#[derive(Debug, Clone)]
pub struct Groups {
    top_k: usize,
    /// Token of every grouped row.
    tokens: Vec<usize>,
    /// Grouped row of every choice, token by token.
    rows: Vec<usize>,
    /// Where each expert's rows begin; one more entry than experts.
    starts: Arc<[usize]>,
}

impl Groups {
    /// Groups `chosen`, `top_k` experts per token, by expert; within an expert tokens keep their order.
    ///
    /// Choices at or beyond `experts` count as the last expert.
    pub fn new(chosen: &[usize], top_k: usize, experts: usize) -> Self {
        let expert = |choice: usize| chosen[choice].min(experts.saturating_sub(1));
        let mut starts = vec![0; experts + 1];
        for choice in 0..chosen.len() {
            starts[expert(choice) + 1] += 1;
        }
        for e in 0..experts {
            starts[e + 1] += starts[e];
        }
        let mut next = starts.clone();
        let mut tokens = vec![0; chosen.len()];
        let mut rows = vec![0; chosen.len()];
        for (choice, slot) in rows.iter_mut().enumerate() {
            let row = next[expert(choice)];
            next[expert(choice)] += 1;
            tokens[row] = choice / top_k;
            *slot = row;
        }
        Self {
            top_k,
            tokens,
            rows,
            starts: starts.into(),
        }
    }

    /// Rows of every expert.
    pub fn counts(&self) -> impl Iterator<Item = usize> {
        self.starts.windows(2).map(|w| w[1] - w[0])
    }

    /// Lays `[tokens, width]` out by expert, `[tokens·k, width]`.
    pub fn gather(&self, x: Tensor<2>) -> Tensor<2> {
        let at = indices(&self.tokens, &x.device());
        x.select(0, at)
    }

    /// Takes grouped rows `[tokens·k, width]` back to their tokens, weighted by `weights` `[tokens, k]` and summed.
    pub fn combine(&self, y: Tensor<2>, weights: Tensor<2>) -> Tensor<2> {
        let [choices, width] = y.dims();
        let at = indices(&self.rows, &y.device());
        let shape = [choices / self.top_k, self.top_k];
        let y = y.select(0, at).reshape([shape[0], shape[1], width]);
        let weighted = y * weights.reshape([shape[0], shape[1], 1]);
        weighted.sum_dim(1).reshape([shape[0], width])
    }
}

fn indices(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|v| *v as i32).collect();
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), device)
}

/// `y[i] = x[i]·W[e]ᵀ` for the rows `i` of expert `e`.
///
/// # Shapes
/// `x` is `[rows, in]`, grouped as `groups` says; `w` is `[experts, out, in]`, of the same dtype.
pub fn grouped_linear(x: Tensor<2>, w: Tensor<3>, groups: &Groups) -> Tensor<2> {
    debug_assert_eq!(x.dtype(), w.dtype(), "input and expert dtypes differ");
    let op = Grouped {
        starts: groups.starts.clone(),
    };
    apply(op, [x.into(), w.into()]).get()
}

#[derive(Debug)]
struct Grouped {
    starts: Arc<[usize]>,
}

impl Grouped {
    /// Experts that have rows, and where these lie.
    fn busy(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let ranges = self.starts.windows(2).map(|w| w[0]..w[1]);
        ranges.enumerate().filter(|(_, rows)| !rows.is_empty())
    }

    /// `run(x rows, expert weight)` of every busy expert, end to end.
    fn each(
        &self,
        x: &Tensor<2>,
        w: &Tensor<3>,
        width: usize,
        run: impl Fn(&Tensor<2>, &Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let parts: Vec<_> = self
            .busy()
            .map(|(e, rows)| run(&rows_of(x, rows), &expert(w, e)))
            .collect();
        if parts.is_empty() {
            return Tensor::zeros([0, width], (&x.device(), x.dtype()));
        }
        Tensor::cat(parts, 0)
    }

    /// `[experts, out, in]`: `gradᵀ·x` of every busy expert, zero elsewhere.
    fn weight_gradient(&self, grad: &Tensor<2>, x: &Tensor<2>) -> Tensor<3> {
        let (outputs, inputs) = (grad.dims()[1], x.dims()[1]);
        let experts = self.starts.len() - 1;
        #[cfg(feature = "flex")]
        if let (Some(gv), Some(xv)) = (cpu::View::of(grad), cpu::View::of(x)) {
            let mut d = vec![0.0; experts * outputs * inputs];
            let size = outputs * inputs;
            for (e, rows) in self.busy() {
                let n = rows.len();
                let g = &gv.values()[rows.start * outputs..rows.end * outputs];
                let x = &xv.values()[rows.start * inputs..rows.end * inputs];
                cpu::matmul::gemm(
                    &mut d[e * size..(e + 1) * size],
                    inputs,
                    false,
                    1.0,
                    Mat::new(g, n, outputs).t(),
                    Mat::new(x, n, inputs),
                    true,
                );
            }
            return cpu::tensor(d, [experts, outputs, inputs]);
        }
        let zero = Tensor::<2>::zeros([outputs, inputs], (&grad.device(), grad.dtype()));
        let mut parts = vec![zero; experts];
        for (e, rows) in self.busy() {
            parts[e] = transposed(&rows_of(grad, rows.clone()), &rows_of(x, rows), 1.0);
        }
        Tensor::stack(parts, 0)
    }
}

fn rows_of(x: &Tensor<2>, rows: Range<usize>) -> Tensor<2> {
    x.clone().narrow(0, rows.start, rows.len())
}

fn expert(w: &Tensor<3>, e: usize) -> Tensor<2> {
    let [_, outputs, inputs] = w.dims();
    w.clone().narrow(0, e, 1).reshape([outputs, inputs])
}

impl DiffOp<2> for Grouped {
    fn forward(&self, [x, w]: [AnyTensor; 2]) -> (AnyTensor, Vec<AnyTensor>) {
        let (x, w) = (x.get::<2>(), w.get::<3>());
        let y = self.each(&x, &w, w.dims()[1], product);
        (y.into(), Vec::new())
    }

    fn keeps(&self, [x, w]: [bool; 2]) -> [bool; 2] {
        [w, x]
    }

    fn backward(
        &self,
        [x, w]: [Option<AnyTensor>; 2],
        _saved: Vec<AnyTensor>,
        grad: AnyTensor,
        needs: [bool; 2],
    ) -> [Option<AnyTensor>; 2] {
        let grad = grad.get::<2>();
        let dx = w.filter(|_| needs[0]).map(|w| {
            let w = w.get::<3>();
            self.each(&grad, &w, w.dims()[2], plain).into()
        });
        let dw = x
            .filter(|_| needs[1])
            .map(|x| self.weight_gradient(&grad, &x.get()).into());
        [dx, dw]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_laid_out_by_expert_and_found_again() {
        // Three tokens, two choices each, of four experts.
        let groups = Groups::new(&[2, 0, 0, 3, 2, 3], 2, 4);
        assert_eq!(groups.counts().collect::<Vec<_>>(), [2, 0, 2, 2]);
        assert_eq!(groups.tokens, [0, 1, 0, 2, 1, 2]);
        assert_eq!(groups.rows, [2, 0, 1, 4, 3, 5]);
        assert_eq!(&*groups.starts, [0, 2, 2, 4, 6]);
    }
}
