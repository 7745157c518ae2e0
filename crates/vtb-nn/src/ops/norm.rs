//! RMSNorm and LayerNorm over the last axis, computed in f32 whatever the input.

use burn::tensor::{DType, Tensor};

#[cfg(feature = "flex")]
use crate::cpu;
use crate::diff_op::{AnyTensor, DiffOp, apply};

/// `w ⊙ cast(x·rsqrt(mean(x²)+eps))`: squares, mean and root in f32, cast to the dtype of `x`, then the gain.
///
/// # Shapes
/// `x` is `[rows, width]`, `w` is `[width]`; the result has the shape and dtype of `x`.
pub fn rms_norm(x: Tensor<2>, w: Tensor<1>, eps: f32) -> Tensor<2> {
    assert_eq!(
        x.dims()[1..],
        w.dims(),
        "rms_norm: width of x and of the gain"
    );
    apply(Rms { eps }, [x.into(), w.into()]).get()
}

/// `w ⊙ (x-mean)·rsqrt(var+eps) + b` in f32, cast to the dtype of `x`.
///
/// # Shapes
/// `x` is `[rows, width]`, `w` and `b` are `[width]`.
pub fn layer_norm(x: Tensor<2>, w: Tensor<1>, b: Tensor<1>, eps: f32) -> Tensor<2> {
    assert_eq!(
        x.dims()[1..],
        w.dims(),
        "layer_norm: width of x and of the gain"
    );
    assert_eq!(w.dims(), b.dims(), "layer_norm: width of gain and bias");
    apply(Layer { eps }, [x.into(), w.into(), b.into()]).get()
}

#[derive(Debug)]
struct Rms {
    eps: f32,
}

impl DiffOp<2> for Rms {
    fn forward(&self, [x, w]: [AnyTensor; 2]) -> (AnyTensor, Vec<AnyTensor>) {
        let (x, w) = (x.get::<2>(), w.get::<1>());
        #[cfg(feature = "flex")]
        if let (Some(xv), Some(wv)) = (cpu::View::of(&x), cpu::View::of(&w)) {
            let y = cpu::norm::rms(xv.values(), wv.values(), self.eps);
            return (cpu::tensor(y, x.dims()).into(), Vec::new());
        }
        let dtype = x.dtype();
        let x = x.cast(DType::F32);
        let y = (x.clone() * inverse_rms(x, self.eps)).cast(dtype);
        ((y * w.cast(dtype).unsqueeze::<2>()).into(), Vec::new())
    }

    fn backward(
        &self,
        [x, w]: [Option<AnyTensor>; 2],
        _saved: Vec<AnyTensor>,
        grad: AnyTensor,
        _needs: [bool; 2],
    ) -> [Option<AnyTensor>; 2] {
        let (Some(x), Some(w)) = (x, w) else {
            return [None, None];
        };
        let (x, w, g) = (x.get::<2>(), w.get::<1>(), grad.get::<2>());
        #[cfg(feature = "flex")]
        if let (Some(xv), Some(wv), Some(gv)) =
            (cpu::View::of(&x), cpu::View::of(&w), cpu::View::of(&g))
        {
            let (dx, dw) = cpu::norm::rms_backward(xv.values(), wv.values(), gv.values(), self.eps);
            let width = dw.len();
            return [
                Some(cpu::tensor(dx, x.dims()).into()),
                Some(cpu::tensor(dw, [width]).into()),
            ];
        }
        let (x_dtype, w_dtype) = (x.dtype(), w.dtype());
        let x = x.cast(DType::F32);
        let g = g.cast(DType::F32);
        let w = w.cast(DType::F32).unsqueeze::<2>();
        let scale = inverse_rms(x.clone(), self.eps);
        let xhat = x * scale.clone();
        let dw = (g.clone() * xhat.clone())
            .sum_dim(0)
            .squeeze_dim::<1>(0)
            .cast(w_dtype);
        let gw = g * w;
        let dx = (gw.clone() - xhat.clone() * (gw * xhat).mean_dim(1)) * scale;
        [Some(dx.cast(x_dtype).into()), Some(dw.into())]
    }
}

fn inverse_rms(x: Tensor<2>, eps: f32) -> Tensor<2> {
    (x.clone() * x).mean_dim(1).add_scalar(eps).sqrt().recip()
}

#[derive(Debug)]
struct Layer {
    eps: f32,
}

/// Normalised rows and the inverse deviations, in f32.
pub(super) fn normalised(x: Tensor<2>, eps: f32) -> (Tensor<2>, Tensor<2>) {
    let x = x.cast(DType::F32);
    let centred = x.clone() - x.mean_dim(1);
    let scale = (centred.clone() * centred.clone())
        .mean_dim(1)
        .add_scalar(eps)
        .sqrt()
        .recip();
    (centred * scale.clone(), scale)
}

impl DiffOp<3> for Layer {
    fn forward(&self, [x, w, b]: [AnyTensor; 3]) -> (AnyTensor, Vec<AnyTensor>) {
        let (x, w, b) = (x.get::<2>(), w.get::<1>(), b.get::<1>());
        #[cfg(feature = "flex")]
        if let (Some(xv), Some(wv), Some(bv)) =
            (cpu::View::of(&x), cpu::View::of(&w), cpu::View::of(&b))
        {
            let y = cpu::norm::layer(xv.values(), wv.values(), bv.values(), self.eps);
            return (cpu::tensor(y, x.dims()).into(), Vec::new());
        }
        let dtype = x.dtype();
        let (xhat, _) = normalised(x, self.eps);
        let y = xhat * w.cast(DType::F32).unsqueeze::<2>() + b.cast(DType::F32).unsqueeze::<2>();
        (y.cast(dtype).into(), Vec::new())
    }

    fn keeps(&self, _tracked: [bool; 3]) -> [bool; 3] {
        [true, true, false]
    }

    fn backward(
        &self,
        [x, w, _]: [Option<AnyTensor>; 3],
        _saved: Vec<AnyTensor>,
        grad: AnyTensor,
        _needs: [bool; 3],
    ) -> [Option<AnyTensor>; 3] {
        let (Some(x), Some(w)) = (x, w) else {
            return [None, None, None];
        };
        let (x, w, g) = (x.get::<2>(), w.get::<1>(), grad.get::<2>());
        #[cfg(feature = "flex")]
        if let (Some(xv), Some(wv), Some(gv)) =
            (cpu::View::of(&x), cpu::View::of(&w), cpu::View::of(&g))
        {
            let (dx, dw, db) =
                cpu::norm::layer_backward(xv.values(), wv.values(), gv.values(), self.eps);
            let width = dw.len();
            return [
                Some(cpu::tensor(dx, x.dims()).into()),
                Some(cpu::tensor(dw, [width]).into()),
                Some(cpu::tensor(db, [width]).into()),
            ];
        }
        let (x_dtype, w_dtype) = (x.dtype(), w.dtype());
        let (xhat, scale) = normalised(x, self.eps);
        let g = g.cast(DType::F32);
        let w = w.cast(DType::F32).unsqueeze::<2>();
        let db = g.clone().sum_dim(0).squeeze_dim::<1>(0).cast(w_dtype);
        let dw = (g.clone() * xhat.clone())
            .sum_dim(0)
            .squeeze_dim::<1>(0)
            .cast(w_dtype);
        let gw = g * w;
        let dx =
            (gw.clone() - gw.clone().mean_dim(1) - xhat.clone() * (gw * xhat).mean_dim(1)) * scale;
        [
            Some(dx.cast(x_dtype).into()),
            Some(dw.into()),
            Some(db.into()),
        ]
    }
}
