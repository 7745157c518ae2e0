//! A stack trained block by block gets the gradients of one graph through all of it.

use burn::tensor::{DType, Tensor};
use vtb_nn::lm::NamedTensors;
use vtb_nn::params::{collect_gradients, lift};
use vtb_nn::recompute::{Keep, Role, Segment};

use crate::support::{Block, Stack, WIDTH, random, read, tensor};

const ROWS: usize = 5;

type Trains = fn(&str) -> bool;

/// Output, gradients by name, and the gradient by the input.
struct Pass {
    output: Vec<f32>,
    gradients: Vec<(String, Vec<f32>)>,
    input: Option<Vec<f32>>,
}

fn pass(output: Tensor<2>, gradients: NamedTensors, input: Option<Tensor<2>>) -> Pass {
    let gradients = gradients
        .into_iter()
        .map(|(name, g)| (name, read(g)))
        .collect();
    Pass {
        output: read(output),
        gradients,
        input: input.map(read),
    }
}

fn one_graph(stack: &Stack, x: Tensor<2>, gradient: Tensor<2>, trains: Trains) -> Pass {
    let lifted = lift(stack, "", &trains);
    let x = x.autodiff().require_grad();
    let y = lifted
        .blocks
        .iter()
        .fold(x.clone(), |x, block| block.forward(x));
    let mut gradients = (y.clone() * gradient).sum().backward();
    let mut named = NamedTensors::new();
    collect_gradients(&lifted, "", &mut gradients, &mut named);
    pass(y, named, x.grad_remove(&mut gradients))
}

fn by_segments(
    stack: &Stack,
    mut x: Tensor<2>,
    gradient: Tensor<2>,
    trains: Trains,
    keep: impl Fn(usize) -> Keep,
    input_gradient: bool,
) -> Pass {
    let trainable = |path: &str| trains(path);
    let role = |i| Role {
        prefix: format!("blocks.{i}"),
        trainable: &trainable,
        input_gradient: input_gradient || i > 0,
    };
    let run = |block: &Block, x| block.forward(x);
    let mut segments = Vec::new();
    for (i, block) in stack.blocks.iter().enumerate() {
        let (y, segment) = Segment::forward(block, x, keep(i), &role(i), run);
        assert!(!y.is_autodiff(), "blocks talk in plain tensors");
        segments.push(segment);
        x = y;
    }
    let mut named = NamedTensors::new();
    let mut gradient = Some(gradient);
    for (i, segment) in segments.into_iter().enumerate().rev() {
        let Some(g) = gradient else { break };
        gradient = segment.backward(&stack.blocks[i], g, &role(i), run, &mut named);
        assert!(gradient.as_ref().is_none_or(|g| !g.is_autodiff()));
    }
    pass(x, named, gradient)
}

fn inputs(dtype: DType) -> (Tensor<2>, Tensor<2>) {
    let values = |seed| tensor(&random(ROWS * WIDTH, seed), [ROWS, WIDTH], dtype);
    (values(1), values(2))
}

fn assert_equal(got: &Pass, want: &Pass, tolerance: f32, what: &str) {
    let close = |got: &[f32], want: &[f32], name: &str| {
        let size = want.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        assert!(size > 0.0, "{what} {name}: nothing to compare");
        assert_eq!(got.len(), want.len(), "{what} {name}");
        for (g, w) in got.iter().zip(want) {
            assert!(
                (g - w).abs() <= tolerance * size,
                "{what} {name}: {g}, wanted {w}"
            );
        }
    };
    close(&got.output, &want.output, "output");
    let names = |pass: &Pass| {
        pass.gradients
            .iter()
            .map(|g| g.0.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(got), names(want), "{what}");
    for ((name, got), (_, want)) in got.gradients.iter().zip(&want.gradients) {
        close(got, want, name);
    }
    if let (Some(got), Some(want)) = (&got.input, &want.input) {
        close(got, want, "gradient of the input");
    }
}

#[test]
fn blocks_give_the_gradients_of_one_graph() {
    let choices: [(&str, Trains); 3] = [
        ("all", |_| true),
        ("some", |path| {
            path.ends_with("bias") || path.contains("up.weight")
        }),
        ("one", |path| path == "blocks.1.norm"),
    ];
    // bf16 adds the two paths of a residual in another order, so its last bit may differ.
    for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::BF16, 2e-2)] {
        let stack = Stack::fresh(dtype);
        let (x, g) = inputs(dtype);
        for (name, trains) in choices {
            let want = one_graph(&stack, x.clone(), g.clone(), trains);
            let mixed = |i| if i % 2 == 0 { Keep::Input } else { Keep::Graph };
            let keeps: [&dyn Fn(usize) -> Keep; 3] = [&|_| Keep::Input, &|_| Keep::Graph, &mixed];
            for (k, keep) in keeps.into_iter().enumerate() {
                for input_gradient in [true, false] {
                    let got =
                        by_segments(&stack, x.clone(), g.clone(), trains, keep, input_gradient);
                    assert_eq!(got.input.is_some(), input_gradient);
                    assert_equal(&got, &want, tolerance, &format!("{dtype:?} {name} {k}"));
                }
            }
        }
    }
}

#[test]
fn keeping_the_graph_and_running_again_agree_bit_for_bit() {
    for dtype in [DType::F32, DType::BF16] {
        let stack = Stack::fresh(dtype);
        let (x, g) = inputs(dtype);
        let of = |keep| by_segments(&stack, x.clone(), g.clone(), |_| true, |_| keep, true);
        let (kept, again) = (of(Keep::Graph), of(Keep::Input));
        assert_eq!(kept.output, again.output);
        assert_eq!(kept.gradients, again.gradients);
        assert_eq!(kept.input, again.input);
    }
}

#[test]
fn a_frozen_block_without_input_gradient_costs_nothing() {
    let stack = Stack::fresh(DType::F32);
    let (x, g) = inputs(DType::F32);
    for keep in [Keep::Input, Keep::Graph] {
        let role = Role {
            prefix: "blocks.0".to_owned(),
            trainable: &|_| false,
            input_gradient: false,
        };
        let run = |block: &Block, x| block.forward(x);
        let block = &stack.blocks[0];
        let (y, segment) = Segment::forward(block, x.clone(), keep, &role, run);
        assert_eq!(read(y), read(block.forward(x.clone())));
        let mut named = NamedTensors::new();
        assert!(
            segment
                .backward(block, g.clone(), &role, run, &mut named)
                .is_none()
        );
        assert!(named.is_empty());
    }
}

#[test]
fn gradients_of_several_passes_add_up() {
    let stack = Stack::fresh(DType::F32);
    let (x, g) = inputs(DType::F32);
    let role = Role {
        prefix: "b".to_owned(),
        trainable: &|_| true,
        input_gradient: false,
    };
    let run = |block: &Block, x| block.forward(x);
    let block = &stack.blocks[0];
    let mut named = NamedTensors::new();
    let mut after = Vec::new();
    for _ in 0..2 {
        let (_, segment) = Segment::forward(block, x.clone(), Keep::Input, &role, run);
        segment.backward(block, g.clone(), &role, run, &mut named);
        after.push(read(named["b.up.weight"].clone()));
    }
    let doubled: Vec<f32> = after[0].iter().map(|g| 2.0 * g).collect();
    assert_eq!(after[1], doubled);
}
