//! Operations with a backward pass of their own, on any burn backend.
//!
//! A [`DiffOp`] states its forward and its backward pass with ordinary tensors that take no part in autodiff.
//! [`apply`] registers both as one node of burn's autodiff graph, so that nothing is kept for the backward pass but
//! what the operation asks for. On a backend this crate was not compiled for, the forward pass is traced by burn's
//! autodiff instead: same gradients, more memory.
//!
//! This is the one module of the crate that names backend traits.

use std::fmt::Debug;
use std::sync::Arc;

use burn::backend::DispatchTensor;
use burn::tensor::Tensor;

/// A float tensor whose rank is known only to its user.
#[derive(Clone, Debug)]
pub struct AnyTensor(DispatchTensor);

impl AnyTensor {
    /// The tensor at its rank. `D` must be the rank it was made with.
    pub fn get<const D: usize>(self) -> Tensor<D> {
        Tensor::from_dispatch(self.0)
    }

    fn is_autodiff(&self) -> bool {
        Tensor::<1>::from_dispatch(self.0.clone()).is_autodiff()
    }

    #[cfg(any(feature = "flex", feature = "cuda"))]
    fn autodiff(self) -> Self {
        Self(
            Tensor::<1>::from_dispatch(self.0)
                .autodiff()
                .into_dispatch(),
        )
    }
}

impl<const D: usize> From<Tensor<D>> for AnyTensor {
    fn from(tensor: Tensor<D>) -> Self {
        Self(tensor.into_dispatch())
    }
}

/// An operation of `N` float tensors to one, differentiable by hand.
pub trait DiffOp<const N: usize>: Debug + Send + Sync + 'static {
    /// The result, and what the backward pass needs besides the inputs.
    fn forward(&self, inputs: [AnyTensor; N]) -> (AnyTensor, Vec<AnyTensor>);

    /// Which inputs the backward pass reads, given which take part in it; the others are not kept alive.
    fn keeps(&self, _tracked: [bool; N]) -> [bool; N] {
        [true; N]
    }

    /// Gradients by the inputs for which `needs` is set. Inputs that [`DiffOp::keeps`] leaves out are `None`.
    fn backward(
        &self,
        inputs: [Option<AnyTensor>; N],
        saved: Vec<AnyTensor>,
        grad: AnyTensor,
        needs: [bool; N],
    ) -> [Option<AnyTensor>; N];
}

/// Runs `op`, as one node of the autodiff graph when an input takes part in autodiff.
pub fn apply<const N: usize, O: DiffOp<N>>(op: O, inputs: [AnyTensor; N]) -> AnyTensor {
    if !inputs.iter().any(AnyTensor::is_autodiff) {
        return op.forward(inputs).0;
    }
    let op = Arc::new(op);
    #[cfg(any(feature = "flex", feature = "cuda"))]
    let inputs = {
        let lifted = inputs.map(AnyTensor::autodiff);
        match graph::register(&op, lifted) {
            Ok(output) => return output,
            Err(inputs) => inputs,
        }
    };
    op.forward(inputs).0
}

#[cfg(any(feature = "flex", feature = "cuda"))]
mod graph {
    use std::sync::Arc;

    use burn::backend::autodiff::Autodiff;
    use burn::backend::autodiff::checkpoint::base::Checkpointer;
    use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
    use burn::backend::autodiff::grads::Gradients;
    use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
    use burn::backend::tensor::FloatTensor;
    use burn::backend::{Backend, DispatchKindConversion, DispatchTensor};
    use burn::tensor::{Float, Tensor};

    use super::{AnyTensor, DiffOp};

    /// Registers the operation on the first compiled backend the inputs live on, or hands them back.
    pub(super) fn register<const N: usize, O: DiffOp<N>>(
        op: &Arc<O>,
        inputs: [AnyTensor; N],
    ) -> Result<AnyTensor, [AnyTensor; N]> {
        #[cfg(feature = "flex")]
        let inputs = match register_on::<burn::backend::Flex, N, O>(op, inputs) {
            Ok(output) => return Ok(output),
            Err(inputs) => inputs,
        };
        #[cfg(feature = "cuda")]
        let inputs = match register_on::<burn::backend::Cube, N, O>(op, inputs) {
            Ok(output) => return Ok(output),
            Err(inputs) => inputs,
        };
        Err(inputs)
    }

    type Strategy = NoCheckpointing;
    type Tracked<B> = FloatTensor<Autodiff<B, Strategy>>;

    fn wrap<B: Backend>(primitive: FloatTensor<B>) -> AnyTensor
    where
        DispatchTensor: DispatchKindConversion<B>,
    {
        Tensor::<1, Float>::from_primitive::<B>(primitive).into()
    }

    /// Inverse of [`wrap`]. The operation answers on the backend it was given, so this cannot miss.
    fn unwrap<B: Backend>(tensor: AnyTensor) -> FloatTensor<B>
    where
        DispatchTensor: DispatchKindConversion<B>,
    {
        match tensor.get::<1>().try_into_primitive::<B>() {
            Ok(primitive) => primitive,
            Err(error) => unreachable!("an operation left its backend: {error:?}"),
        }
    }

    fn register_on<B, const N: usize, O: DiffOp<N>>(
        op: &Arc<O>,
        inputs: [AnyTensor; N],
    ) -> Result<AnyTensor, [AnyTensor; N]>
    where
        B: Backend,
        DispatchTensor: DispatchKindConversion<B> + DispatchKindConversion<Autodiff<B, Strategy>>,
    {
        let mut tensors: Vec<Tracked<B>> = Vec::with_capacity(N);
        for input in &inputs {
            let tensor = input.clone().get::<1>();
            match tensor.try_into_primitive::<Autodiff<B, Strategy>>() {
                Ok(tensor) => tensors.push(tensor),
                Err(_) => return Err(inputs),
            }
        }
        let Ok(tensors): Result<[Tracked<B>; N], _> = tensors.try_into() else {
            return Err(inputs);
        };
        let tracked = tensors.each_ref().map(|t| t.is_tracked());
        let nodes = tensors.each_ref().map(|t| t.node());
        let primitives = tensors.map(|t| t.into_primitive());
        let plain = primitives.each_ref().map(|p| wrap::<B>(p.clone()));
        let (output, saved) = op.forward(plain);
        let output = unwrap::<B>(output);
        let run = Run(op.clone());
        let output = match Backward::<B, N>::prepare::<Strategy>(run, nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                let keeps = op.keeps(tracked);
                let mut index = 0;
                let kept = primitives.map(|p| {
                    index += 1;
                    keeps[index - 1].then_some(p)
                });
                prep.finish(State { kept, saved }, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        };
        Ok(Tensor::<1>::from_primitive::<Autodiff<B, Strategy>>(output).into())
    }

    #[derive(Debug)]
    struct Run<O>(Arc<O>);

    #[derive(Debug, Clone)]
    struct State<P, const N: usize> {
        kept: [Option<P>; N],
        saved: Vec<AnyTensor>,
    }

    impl<B, O, const N: usize> Backward<B, N> for Run<O>
    where
        B: Backend,
        O: DiffOp<N>,
        DispatchTensor: DispatchKindConversion<B>,
    {
        type State = State<FloatTensor<B>, N>;

        fn backward(
            self,
            ops: Ops<Self::State, N>,
            grads: &mut Gradients,
            _checkpointer: &mut Checkpointer,
        ) {
            let grad = wrap::<B>(grads.consume::<B>(&ops.node));
            let needs = ops.parents.each_ref().map(Option::is_some);
            let inputs = ops.state.kept.map(|kept| kept.map(wrap::<B>));
            let results = self.0.backward(inputs, ops.state.saved, grad, needs);
            for (parent, result) in ops.parents.into_iter().zip(results) {
                if let (Some(parent), Some(result)) = (parent, result) {
                    grads.register::<B>(parent.id, unwrap::<B>(result));
                }
            }
        }
    }
}
