//! Choosing experts: softmax, the best few, renormalised weights; and the loss that keeps experts equally busy.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{DType, Int, Tensor, TensorData};

use super::grouped::Groups;
use crate::diff_op::{AnyTensor, DiffOp, apply};

/// Weights `[tokens, k]` of the chosen experts, in the dtype of `logits`, and who was chosen.
///
/// The softmax over all experts runs in f32; the `top_k` largest (the lower number wins a tie) are divided by their
/// sum. Gradients flow through the weights, not through the choice.
///
/// # Shapes
/// `logits` is `[tokens, experts]`. `top_k` must lie in `1..=experts`.
pub fn route(
    logits: Tensor<2>,
    top_k: usize,
    balance: Option<&Arc<RouterBalance>>,
) -> (Tensor<2>, Groups) {
    let [tokens, experts] = logits.dims();
    let dtype = logits.dtype();
    let mut p = probabilities(logits.cast(DType::F32));
    let host: Vec<f32> = p.clone().into_data().iter::<f32>().collect();
    let mut chosen = Vec::with_capacity(tokens * top_k);
    let mut order: Vec<usize> = Vec::with_capacity(experts);
    for row in host.chunks_exact(experts) {
        order.clear();
        order.extend(0..experts);
        order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
        chosen.extend_from_slice(&order[..top_k]);
    }
    let groups = Groups::new(&chosen, top_k, experts);
    if let Some(balance) = balance {
        balance.observe(&host, &groups);
        let op = Balanced(balance.clone());
        p = apply(op, [p.into()]).get();
    }
    let at: Vec<i32> = chosen.iter().map(|e| *e as i32).collect();
    let at = Tensor::<2, Int>::from_data(TensorData::new(at, [tokens, top_k]), &p.device());
    let best = p.gather(1, at);
    let weights = best.clone() / best.sum_dim(1);
    (weights.cast(dtype), groups)
}

/// Softmax over each row, from elementary operations: burn's own is another kernel inside autodiff than outside, and where
/// a block is run again its routers must see the same numbers, lest a token change experts between the two runs.
fn probabilities(logits: Tensor<2>) -> Tensor<2> {
    let top = logits.clone().detach().max_dim(1);
    let e = (logits - top).exp();
    let sum = e.clone().sum_dim(1);
    e / sum
}

/// The load-balancing loss of a pass, over all its router layers:
/// `E · Σ_e f_e · P_e`, where `f_e` is the number of choices of expert `e` per token and `P_e` its mean probability,
/// both over tokens and layers (Switch Transformer, equations 4 to 6, for `k` choices).
///
/// Routers report to it in the forward pass. [`RouterBalance::close`] then fixes the derivative, which the backward
/// pass adds to the gradient by the probabilities; repeated forward passes of recomputed blocks no longer count.
#[derive(Debug)]
pub struct RouterBalance {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Choices of every expert.
    choices: Vec<f64>,
    /// Sum of the probabilities of every expert.
    mass: Vec<f64>,
    /// Tokens times layers.
    rows: f64,
    /// Of the loss by one probability of each expert, once closed.
    derivative: Option<Vec<f32>>,
}

impl RouterBalance {
    /// For routers over `experts`.
    pub fn new(experts: usize) -> Self {
        Self {
            state: Mutex::new(State {
                choices: vec![0.0; experts],
                mass: vec![0.0; experts],
                rows: 0.0,
                derivative: None,
            }),
        }
    }

    fn observe(&self, probabilities: &[f32], groups: &Groups) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let experts = state.mass.len();
        if state.derivative.is_some() || experts == 0 {
            return;
        }
        for (sum, n) in state.choices.iter_mut().zip(groups.counts()) {
            *sum += n as f64;
        }
        for row in probabilities.chunks_exact(experts) {
            for (sum, p) in state.mass.iter_mut().zip(row) {
                *sum += f64::from(*p);
            }
        }
        state.rows += (probabilities.len() / experts) as f64;
    }

    /// Ends the forward pass. The loss counts `coefficient` times in the backward pass that follows; answers the loss
    /// itself, 0 where nothing was routed.
    pub fn close(&self, coefficient: f32) -> f32 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (experts, rows) = (state.mass.len() as f64, state.rows);
        if rows == 0.0 {
            state.derivative = Some(vec![0.0; state.mass.len()]);
            return 0.0;
        }
        let pairs = state.choices.iter().zip(&state.mass);
        let loss: f64 = experts * pairs.map(|(n, p)| n / rows * p / rows).sum::<f64>();
        let scale = f64::from(coefficient) * experts / (rows * rows);
        let derivative = state.choices.iter().map(|n| (n * scale) as f32).collect();
        state.derivative = Some(derivative);
        loss as f32
    }

    fn derivative(&self) -> Option<Vec<f32>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.derivative.clone()
    }
}

/// The identity, whose backward pass adds the derivative of the balancing loss.
#[derive(Debug)]
struct Balanced(Arc<RouterBalance>);

impl DiffOp<1> for Balanced {
    fn forward(&self, [p]: [AnyTensor; 1]) -> (AnyTensor, Vec<AnyTensor>) {
        (p, Vec::new())
    }

    fn keeps(&self, _tracked: [bool; 1]) -> [bool; 1] {
        [false]
    }

    fn backward(
        &self,
        _inputs: [Option<AnyTensor>; 1],
        _saved: Vec<AnyTensor>,
        grad: AnyTensor,
        _needs: [bool; 1],
    ) -> [Option<AnyTensor>; 1] {
        let grad = grad.get::<2>();
        let Some(derivative) = self.0.derivative() else {
            return [Some(grad.into())];
        };
        let data = TensorData::new(derivative, [1, grad.dims()[1]]);
        let added = Tensor::<2>::from_data(data, (&grad.device(), grad.dtype()));
        [Some((grad + added).into())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu_device;

    fn logits(rows: &[[f32; 4]]) -> Tensor<2> {
        let data = TensorData::new(rows.concat(), [rows.len(), 4]);
        Tensor::from_data(data, &cpu_device())
    }

    #[test]
    fn probabilities_are_the_same_inside_and_outside_autodiff() {
        let values: Vec<f32> = (0..640_u32)
            .map(|i| (i * 7919 % 1009) as f32 / 100.0 - 5.0)
            .collect();
        let data = TensorData::new(values, [10, 64]);
        let plain = Tensor::<2>::from_data(data, &cpu_device());
        let traced = probabilities(plain.clone().autodiff().require_grad()).inner();
        assert_eq!(probabilities(plain).into_data(), traced.into_data());
    }

    #[test]
    fn the_best_few_share_one() {
        let (w, groups) = route(
            logits(&[[0.0, 3.0, 1.0, 3.0], [2.0, 0.0, 0.0, 0.0]]),
            2,
            None,
        );
        let w: Vec<f32> = w.into_data().iter::<f32>().collect();
        assert!((w[0] - 0.5).abs() < 1e-6 && (w[1] - 0.5).abs() < 1e-6);
        assert!((w[2] - 1.0 / (1.0 + (-2.0f32).exp())).abs() < 1e-6);
        assert!((w[2] + w[3] - 1.0).abs() < 1e-6);
        // The tie of the second token goes to expert 1.
        assert_eq!(groups.counts().collect::<Vec<_>>(), [1, 2, 0, 1]);
    }

    #[test]
    fn equal_routers_have_loss_k_and_later_reports_do_not_count() {
        let balance = Arc::new(RouterBalance::new(4));
        let even = logits(&[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]);
        route(even, 2, Some(&balance));
        assert!((balance.close(1.0) - 2.0).abs() < 1e-6);
        let before = balance.derivative();
        route(logits(&[[9.0, 8.0, 0.0, 0.0]]), 2, Some(&balance));
        assert_eq!(balance.derivative(), before);
        assert_eq!(RouterBalance::new(4).close(1.0), 0.0);
    }
}
