//! Training through a stack of blocks one block at a time.
//!
//! Each block is its own small autodiff graph between plain tensors. Going forward either the graph is kept
//! ([`Keep::Graph`]) or only the block's input ([`Keep::Input`]), in which case the backward pass runs the block again:
//! peak memory is then one block's graph plus one input per block. The chain rule is applied between blocks by
//! `d/dy (y·g).sum() = g`, which is exact in any float format.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::lm::NamedTensors;
use crate::params::{collect_gradients, lift};

/// What a forward pass leaves behind for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Only the input: the block runs again in the backward pass.
    Input,
    /// The whole graph: faster, and as much memory as the activations need.
    Graph,
}

/// How a block takes part in a training pass.
pub struct Role<'a> {
    /// Put before the parameter paths of the block.
    pub prefix: String,
    /// Which full paths train.
    pub trainable: &'a dyn Fn(&str) -> bool,
    /// Whether the gradient by the block's input is wanted.
    pub input_gradient: bool,
}

/// One block of a training pass, between its forward and its backward run.
pub struct Segment<M> {
    kept: Kept<M>,
}

enum Kept<M> {
    Input(Box<Tensor<2>>),
    Graph(Box<Graph<M>>),
}

struct Graph<M> {
    module: M,
    input: Tensor<2>,
    output: Tensor<2>,
}

impl<M: Module> Segment<M> {
    /// Runs the block on a plain `[rows, width]` input; the output is plain too.
    pub fn forward(
        module: &M,
        input: Tensor<2>,
        keep: Keep,
        role: &Role<'_>,
        run: impl Fn(&M, Tensor<2>) -> Tensor<2>,
    ) -> (Tensor<2>, Self) {
        match keep {
            Keep::Input => {
                let output = run(module, input.clone());
                (
                    output,
                    Self {
                        kept: Kept::Input(Box::new(input)),
                    },
                )
            }
            Keep::Graph => {
                let graph = trace(module, input, role, run);
                let output = graph.output.clone().inner();
                (
                    output,
                    Self {
                        kept: Kept::Graph(Box::new(graph)),
                    },
                )
            }
        }
    }

    /// Back-propagates `gradient` (by the block's output): adds parameter gradients to `into` and returns the
    /// gradient by the input if the role wants it. `module` and `run` must be those of the forward pass.
    pub fn backward(
        self,
        module: &M,
        gradient: Tensor<2>,
        role: &Role<'_>,
        run: impl Fn(&M, Tensor<2>) -> Tensor<2>,
        into: &mut NamedTensors,
    ) -> Option<Tensor<2>> {
        let graph = match self.kept {
            Kept::Input(input) => trace(module, *input, role, run),
            Kept::Graph(graph) => *graph,
        };
        if !graph.output.is_tracked() {
            return None;
        }
        let mut gradients = (graph.output * gradient).sum().backward();
        collect_gradients(&graph.module, &role.prefix, &mut gradients, into);
        role.input_gradient
            .then(|| graph.input.grad_remove(&mut gradients))
            .flatten()
    }
}

fn trace<M: Module>(
    module: &M,
    input: Tensor<2>,
    role: &Role<'_>,
    run: impl Fn(&M, Tensor<2>) -> Tensor<2>,
) -> Graph<M> {
    let module = lift(module, &role.prefix, role.trainable);
    let input = if role.input_gradient {
        input.autodiff().require_grad()
    } else {
        input
    };
    let output = run(&module, input.clone());
    Graph {
        module,
        input,
        output,
    }
}
