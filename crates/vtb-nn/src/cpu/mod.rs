//! Fused f32 kernels for the CPU backend. Every kernel has a portable twin in [`crate::ops`] that defines what it
//! computes; tests compare the two.
//!
//! Loops are written so that the compiler vectorises them inside `simd`, which picks the widest instruction set of
//! the machine at run time. Results do not depend on the number of threads: work is split by rows or heads, and no
//! sum crosses a split.

pub(crate) mod attention;
pub(crate) mod conv;
pub(crate) mod decode;
pub(crate) mod elementwise;
pub(crate) mod head;
pub(crate) mod math;
pub(crate) mod matmul;
pub(crate) mod modulate;
pub(crate) mod norm;

use burn::backend::Flex;
use burn::tensor::{Bytes, DType, Shape, Tensor};
use burn_flex::{FlexTensor, Layout};

/// A contiguous f32 tensor of the CPU backend, ready to be read.
pub(crate) struct View(FlexTensor);

impl View {
    /// The tensor's values, or `None` when it is not f32 on the CPU backend (outside autodiff).
    pub(crate) fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if tensor.dtype() != DType::F32 || tensor.is_autodiff() {
            return None;
        }
        let flex = tensor.clone().try_into_primitive::<Flex>().ok()?;
        Some(Self(if flex.is_contiguous() {
            flex
        } else {
            flex.to_contiguous()
        }))
    }

    /// Row-major values.
    pub(crate) fn values(&self) -> &[f32] {
        match self.0.as_slice::<f32>() {
            Some(values) => values,
            None => unreachable!("a view is contiguous by construction"),
        }
    }
}

/// Wraps row-major values as a tensor of the CPU backend.
pub(crate) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    debug_assert_eq!(values.len(), shape.iter().product::<usize>());
    let layout = Layout::contiguous(Shape::from(shape));
    Tensor::from_primitive::<Flex>(FlexTensor::new(
        Bytes::from_elems(values),
        layout,
        DType::F32,
    ))
}

/// A vector whose every element `write` sets: spares clearing memory that is overwritten at once.
pub(crate) fn written(len: usize, write: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut values: Vec<f32> = Vec::with_capacity(len);
    // SAFETY: `f32` has no invalid bit pattern, the capacity is `len`, and kernels write every element before any
    // is read; a kernel that missed one would yield an arbitrary number, which the tests against the portable
    // forms catch.
    #[allow(clippy::uninit_vec)]
    unsafe {
        values.set_len(len)
    };
    write(&mut values);
    values
}

/// Runs `f` compiled for the widest vector instructions of this machine. Only what is inlined into the dispatch is
/// compiled so: a closure too large to be inlined by itself needs `#[inline(always)]`, and so do the functions it calls.
#[inline]
pub(crate) fn simd<R>(f: impl FnOnce() -> R) -> R {
    struct Run<F>(F);
    impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Run<F> {
        type Output = R;
        #[inline(always)]
        fn call(self) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Run(f))
}

/// Rows per task so that a task touches about 32 thousand values.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (32_768 / width.max(1)).max(1)
}
