//! GELU in both published forms, and the gated SiLU of SwiGLU blocks.

use burn::tensor::{DType, Tensor};

#[cfg(feature = "flex")]
use crate::cpu;
use crate::diff_op::{AnyTensor, DiffOp, apply};

/// Which GELU a layer uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gelu {
    /// `0.5x(1+erf(x/√2))`.
    Exact,
    /// `0.5x(1+tanh(√(2/π)(x+0.044715x³)))`.
    Tanh,
}

/// Gaussian error linear unit, elementwise on `[rows, width]`; computed in f32.
pub fn gelu(x: Tensor<2>, kind: Gelu) -> Tensor<2> {
    apply(GeluOp(kind), [x.into()]).get()
}

/// `silu(gate) ⊙ up`, elementwise on `[rows, width]`.
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    apply(Swiglu, [gate.into(), up.into()]).get()
}

#[derive(Debug)]
struct GeluOp(Gelu);

impl DiffOp<1> for GeluOp {
    fn forward(&self, [x]: [AnyTensor; 1]) -> (AnyTensor, Vec<AnyTensor>) {
        let x = x.get::<2>();
        #[cfg(feature = "flex")]
        if let Some(v) = cpu::View::of(&x) {
            let y = cpu::elementwise::gelu(v.values(), self.0 == Gelu::Tanh);
            return (cpu::tensor(y, x.dims()).into(), Vec::new());
        }
        let dtype = x.dtype();
        let x = x.cast(DType::F32);
        let gate = match self.0 {
            Gelu::Exact => (x.clone() * std::f32::consts::FRAC_1_SQRT_2).erf(),
            Gelu::Tanh => inner(x.clone()).tanh(),
        };
        ((x * (gate + 1.0) * 0.5).cast(dtype).into(), Vec::new())
    }

    fn backward(
        &self,
        [x]: [Option<AnyTensor>; 1],
        _saved: Vec<AnyTensor>,
        grad: AnyTensor,
        _needs: [bool; 1],
    ) -> [Option<AnyTensor>; 1] {
        let Some(x) = x else { return [None] };
        let (x, g) = (x.get::<2>(), grad.get::<2>());
        #[cfg(feature = "flex")]
        if let (Some(xv), Some(gv)) = (cpu::View::of(&x), cpu::View::of(&g)) {
            let dx =
                cpu::elementwise::gelu_backward(xv.values(), gv.values(), self.0 == Gelu::Tanh);
            return [Some(cpu::tensor(dx, x.dims()).into())];
        }
        let dtype = x.dtype();
        let x = x.cast(DType::F32);
        let slope = match self.0 {
            Gelu::Exact => {
                let cdf = ((x.clone() * std::f32::consts::FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
                let pdf = (x.clone() * x.clone() * -0.5).exp() * 0.398_942_3;
                cdf + x * pdf
            }
            Gelu::Tanh => {
                let t = inner(x.clone()).tanh();
                let d = (x.clone() * x.clone() * 0.134_145 + 1.0) * 0.797_884_6;
                (t.clone() + 1.0) * 0.5 + x * 0.5 * (-(t.clone() * t) + 1.0) * d
            }
        };
        [Some((g.cast(DType::F32) * slope).cast(dtype).into())]
    }
}

fn inner(x: Tensor<2>) -> Tensor<2> {
    (x.clone() * x.clone() * x.clone() * 0.044_715 + x) * 0.797_884_6
}

#[derive(Debug)]
struct Swiglu;

impl DiffOp<2> for Swiglu {
    fn forward(&self, [gate, up]: [AnyTensor; 2]) -> (AnyTensor, Vec<AnyTensor>) {
        let (gate, up) = (gate.get::<2>(), up.get::<2>());
        #[cfg(feature = "flex")]
        if let (Some(g), Some(u)) = (cpu::View::of(&gate), cpu::View::of(&up)) {
            let y = cpu::elementwise::swiglu(g.values(), u.values());
            return (cpu::tensor(y, gate.dims()).into(), Vec::new());
        }
        (
            (burn::tensor::activation::silu(gate) * up).into(),
            Vec::new(),
        )
    }

    fn backward(
        &self,
        [gate, up]: [Option<AnyTensor>; 2],
        _saved: Vec<AnyTensor>,
        grad: AnyTensor,
        _needs: [bool; 2],
    ) -> [Option<AnyTensor>; 2] {
        let (Some(gate), Some(up)) = (gate, up) else {
            return [None, None];
        };
        let (gate, up, grad) = (gate.get::<2>(), up.get::<2>(), grad.get::<2>());
        #[cfg(feature = "flex")]
        if let (Some(g), Some(u), Some(d)) = (
            cpu::View::of(&gate),
            cpu::View::of(&up),
            cpu::View::of(&grad),
        ) {
            let (dg, du) = cpu::elementwise::swiglu_backward(g.values(), u.values(), d.values());
            let dims = gate.dims();
            return [
                Some(cpu::tensor(dg, dims).into()),
                Some(cpu::tensor(du, dims).into()),
            ];
        }
        let dtype = gate.dtype();
        let (gate, up, grad) = (
            gate.cast(DType::F32),
            up.cast(DType::F32),
            grad.cast(DType::F32),
        );
        let s = burn::tensor::activation::sigmoid(gate.clone());
        let silu = gate * s.clone();
        let d_up = grad.clone() * silu.clone();
        let d_gate = grad * up * (s.clone() + silu * (-s + 1.0));
        [
            Some(d_gate.cast(dtype).into()),
            Some(d_up.cast(dtype).into()),
        ]
    }
}
