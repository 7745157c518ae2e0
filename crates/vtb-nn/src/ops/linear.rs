//! Linear maps with weights as checkpoints store them, `[out, in]`, and their low-rank adapted form.

use burn::tensor::{DType, Tensor};

#[cfg(feature = "flex")]
use crate::cpu::{self, matmul::Mat};
use crate::diff_op::{AnyTensor, DiffOp, apply};

/// `y = x·Wᵀ + b`.
///
/// # Shapes
/// `x` is `[rows, in]`, `w` is `[out, in]`, `b` is `[out]`. All of one dtype.
pub fn linear(x: Tensor<2>, w: Tensor<2>, b: Option<Tensor<1>>) -> Tensor<2> {
    debug_assert_eq!(
        x.dtype(),
        w.dtype(),
        "linear: input and weight dtypes differ"
    );
    match b {
        Some(b) => apply(Linear, [x.into(), w.into(), b.into()]).get(),
        None => apply(Linear, [x.into(), w.into()]).get(),
    }
}

/// `y = x·Wᵀ + scale·((x ⊙ mask)·Aᵀ)·Bᵀ`: two thin products beside the base, never a dense `W + scale·BA`.
///
/// The low-rank branch runs in f32 (as PEFT does); the result has the dtype of `x`.
///
/// # Shapes
/// `x` is `[rows, in]`, `w` `[out, in]`, `a` `[rank, in]`, `b` `[out, rank]`, `mask` `[rows, in]`.
pub fn low_rank_linear(
    x: Tensor<2>,
    w: Tensor<2>,
    a: Tensor<2>,
    b: Tensor<2>,
    scale: f32,
    mask: Option<Tensor<2>>,
) -> Tensor<2> {
    apply(
        LowRank { scale, mask },
        [x.into(), w.into(), a.into(), b.into()],
    )
    .get()
}

/// `x·wᵀ` outside autodiff.
pub(super) fn product(x: &Tensor<2>, w: &Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if let (Some(xv), Some(wv)) = (cpu::View::of(x), cpu::View::of(w)) {
        let ([m, k], [n, _]) = (x.dims(), w.dims());
        let y = cpu::written(m * n, |y| {
            product_into(y, xv.values(), wv.values(), m, k, n)
        });
        return cpu::tensor(y, [m, n]);
    }
    x.clone().matmul(w.clone().transpose())
}

#[cfg(feature = "flex")]
fn product_into(y: &mut [f32], x: &[f32], w: &[f32], m: usize, k: usize, n: usize) {
    if m <= cpu::matmul::FEW_ROWS {
        cpu::matmul::few_rows(y, x, w, m, n, k);
    } else {
        cpu::matmul::gemm(
            y,
            n,
            false,
            1.0,
            Mat::new(x, m, k),
            Mat::new(w, n, k).t(),
            true,
        );
    }
}

/// `a·b` outside autodiff.
pub(super) fn plain(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if let (Some(av), Some(bv)) = (cpu::View::of(a), cpu::View::of(b)) {
        let ([m, k], [_, n]) = (a.dims(), b.dims());
        let (av, bv) = (Mat::new(av.values(), m, k), Mat::new(bv.values(), k, n));
        let y = cpu::written(m * n, |y| cpu::matmul::gemm(y, n, false, 1.0, av, bv, true));
        return cpu::tensor(y, [m, n]);
    }
    a.clone().matmul(b.clone())
}

/// `scale·aᵀ·b` outside autodiff: the gradient of a weight.
pub(super) fn transposed(a: &Tensor<2>, b: &Tensor<2>, scale: f32) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if let (Some(av), Some(bv)) = (cpu::View::of(a), cpu::View::of(b)) {
        let ([k, m], [_, n]) = (a.dims(), b.dims());
        let (av, bv) = (Mat::new(av.values(), k, m).t(), Mat::new(bv.values(), k, n));
        let y = cpu::written(m * n, |y| {
            cpu::matmul::gemm(y, n, false, scale, av, bv, true)
        });
        return cpu::tensor(y, [m, n]);
    }
    a.clone().transpose().matmul(b.clone()).mul_scalar(scale)
}

#[derive(Debug)]
struct Linear;

impl Linear {
    fn gradients(
        x: Option<AnyTensor>,
        w: Option<AnyTensor>,
        grad: &Tensor<2>,
        needs: [bool; 2],
    ) -> [Option<AnyTensor>; 2] {
        let dx = w.filter(|_| needs[0]).map(|w| plain(grad, &w.get()).into());
        let dw = x
            .filter(|_| needs[1])
            .map(|x| transposed(grad, &x.get(), 1.0).into());
        [dx, dw]
    }
}

impl DiffOp<2> for Linear {
    fn forward(&self, [x, w]: [AnyTensor; 2]) -> (AnyTensor, Vec<AnyTensor>) {
        (product(&x.get(), &w.get()).into(), Vec::new())
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
        Self::gradients(x, w, &grad.get(), needs)
    }
}

impl DiffOp<3> for Linear {
    fn forward(&self, [x, w, b]: [AnyTensor; 3]) -> (AnyTensor, Vec<AnyTensor>) {
        let y = product(&x.get(), &w.get()) + b.get::<1>().unsqueeze::<2>();
        (y.into(), Vec::new())
    }

    fn keeps(&self, [x, w, _]: [bool; 3]) -> [bool; 3] {
        [w, x, false]
    }

    fn backward(
        &self,
        [x, w, _]: [Option<AnyTensor>; 3],
        _saved: Vec<AnyTensor>,
        grad: AnyTensor,
        needs: [bool; 3],
    ) -> [Option<AnyTensor>; 3] {
        let grad = grad.get::<2>();
        let [dx, dw] = Self::gradients(x, w, &grad, [needs[0], needs[1]]);
        let db = needs[2].then(|| {
            let dtype = grad.dtype();
            grad.cast(DType::F32)
                .sum_dim(0)
                .squeeze_dim::<1>(0)
                .cast(dtype)
                .into()
        });
        [dx, dw, db]
    }
}

#[derive(Debug)]
struct LowRank {
    scale: f32,
    mask: Option<Tensor<2>>,
}

impl LowRank {
    /// The input of the low-rank branch: f32, dropped out.
    fn branch_input(&self, x: Tensor<2>) -> Tensor<2> {
        let x = x.cast(DType::F32);
        match &self.mask {
            Some(mask) => x * mask.clone(),
            None => x,
        }
    }
}

impl DiffOp<4> for LowRank {
    fn forward(&self, [x, w, a, b]: [AnyTensor; 4]) -> (AnyTensor, Vec<AnyTensor>) {
        let (x, w, a, b) = (x.get::<2>(), w.get::<2>(), a.get::<2>(), b.get::<2>());
        let thin = product(&self.branch_input(x.clone()), &a);
        #[cfg(feature = "flex")]
        if let (Some(xv), Some(wv), Some(tv), Some(bv)) = (
            cpu::View::of(&x),
            cpu::View::of(&w),
            cpu::View::of(&thin),
            cpu::View::of(&b),
        ) {
            let ([m, k], [n, r]) = (x.dims(), b.dims());
            let y = cpu::written(m * n, |y| {
                product_into(y, xv.values(), wv.values(), m, k, n);
                let (t, b) = (Mat::new(tv.values(), m, r), Mat::new(bv.values(), n, r).t());
                cpu::matmul::gemm(y, n, true, self.scale, t, b, true);
            });
            return (cpu::tensor(y, [m, n]).into(), vec![thin.into()]);
        }
        let delta = product(&thin, &b).mul_scalar(self.scale);
        let y = product(&x, &w);
        let dtype = y.dtype();
        (
            (y.cast(DType::F32) + delta).cast(dtype).into(),
            vec![thin.into()],
        )
    }

    fn keeps(&self, [x, w, a, _]: [bool; 4]) -> [bool; 4] {
        // `x` for the gradients of W and A, W and A for that of `x`, B for those of A and `x`.
        [w || a, x, x, x || a]
    }

    fn backward(
        &self,
        [x, w, a, b]: [Option<AnyTensor>; 4],
        saved: Vec<AnyTensor>,
        grad: AnyTensor,
        needs: [bool; 4],
    ) -> [Option<AnyTensor>; 4] {
        let grad = grad.get::<2>();
        let dtype = grad.dtype();
        let grad32 = grad.clone().cast(DType::F32);
        let d_thin = b
            .filter(|_| needs[0] || needs[2])
            .map(|b| plain(&grad32, &b.get()).mul_scalar(self.scale));
        let db = needs[3].then(|| saved.into_iter().next()).flatten();
        let db = db.map(|thin| transposed(&grad32, &thin.get(), self.scale).into());
        let dw = x.clone().filter(|_| needs[1]);
        let dw = dw.map(|x| transposed(&grad, &x.get(), 1.0).into());
        let da = match (&d_thin, x) {
            (Some(d), Some(x)) if needs[2] => {
                Some(transposed(d, &self.branch_input(x.get()), 1.0).into())
            }
            _ => None,
        };
        let dx = match (d_thin, w, a) {
            (Some(d), Some(w), Some(a)) if needs[0] => {
                Some(self.input_gradient(&grad, &w.get(), &d, &a.get(), dtype))
            }
            _ => None,
        };
        [dx.map(Into::into), dw, da, db]
    }
}

impl LowRank {
    /// `dx = dy·W + (d_thin·A) ⊙ mask`.
    fn input_gradient(
        &self,
        grad: &Tensor<2>,
        w: &Tensor<2>,
        d_thin: &Tensor<2>,
        a: &Tensor<2>,
        dtype: DType,
    ) -> Tensor<2> {
        #[cfg(feature = "flex")]
        if self.mask.is_none()
            && let (Some(gv), Some(wv), Some(dv), Some(av)) = (
                cpu::View::of(grad),
                cpu::View::of(w),
                cpu::View::of(d_thin),
                cpu::View::of(a),
            )
        {
            let ([m, n], [r, k]) = (grad.dims(), a.dims());
            let dx = cpu::written(m * k, |dx| {
                let (g, w) = (Mat::new(gv.values(), m, n), Mat::new(wv.values(), n, k));
                cpu::matmul::gemm(dx, k, false, 1.0, g, w, true);
                let (d, a) = (Mat::new(dv.values(), m, r), Mat::new(av.values(), r, k));
                cpu::matmul::gemm(dx, k, true, 1.0, d, a, true);
            });
            return cpu::tensor(dx, [m, k]);
        }
        let mut branch = plain(d_thin, a);
        if let Some(mask) = &self.mask {
            branch = branch * mask.clone();
        }
        (plain(grad, w).cast(DType::F32) + branch).cast(dtype)
    }
}
