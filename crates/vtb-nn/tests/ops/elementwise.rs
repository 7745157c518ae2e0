//! GELU, SwiGLU and rotary embedding.

use burn::tensor::{DType, Tensor};
use vtb_nn::device::cpu_device;
use vtb_nn::ops::{Gelu, RopeTable, gelu, rope, rope_adjacent, swiglu};

use crate::case::Case;
use crate::support::{random, read, tensor};

/// Odd sizes, a single value, and more values than one task takes (16384).
const SHAPES: [[usize; 2]; 5] = [[1, 1], [1, 7], [5, 33], [3, 64], [170, 101]];

fn doubled(values: Vec<f32>) -> Vec<f32> {
    values.into_iter().map(|x| 2.0 * x).collect()
}

#[test]
fn gelu_is_its_formula() {
    for [rows, width] in SHAPES {
        for kind in [Gelu::Exact, Gelu::Tanh] {
            let ours = move |[x]: [Tensor<1>; 1]| {
                gelu(x.reshape([rows, width]), kind).reshape([rows * width])
            };
            let plain = move |[x]: [Tensor<1>; 1]| {
                let gate = match kind {
                    Gelu::Exact => (x.clone() / 2f64.sqrt()).erf(),
                    Gelu::Tanh => {
                        let cube = x.clone().powi_scalar(3);
                        ((cube * 0.044715 + x.clone()) * (2.0 / std::f64::consts::PI).sqrt()).tanh()
                    }
                };
                x * 0.5 * (gate + 1.0)
            };
            let name = format!("gelu {kind:?} {rows}x{width}");
            Case::new(name, [doubled(random(rows * width, 1))], ours, plain).check();
        }
    }
}

#[test]
fn swiglu_is_its_formula() {
    for [rows, width] in SHAPES {
        let ours = move |[g, u]: [Tensor<1>; 2]| {
            swiglu(g.reshape([rows, width]), u.reshape([rows, width])).reshape([rows * width])
        };
        let plain = |[g, u]: [Tensor<1>; 2]| g.clone() / ((-g).exp() + 1.0) * u;
        let inputs = [doubled(random(rows * width, 2)), random(rows * width, 3)];
        Case::new(format!("swiglu {rows}x{width}"), inputs, ours, plain).check();
    }
}

#[test]
fn activations_saturate_without_overflow() {
    let x = [-1e30f32, -200.0, -88.0, 0.0, 88.0, 200.0];
    let row = || tensor(&x, [1, 6], DType::F32);
    for kind in [Gelu::Exact, Gelu::Tanh] {
        let y = read(gelu(row(), kind));
        assert_eq!(y[3..].to_vec(), [0.0, 88.0, 200.0], "{kind:?}");
        assert!(y[..3].iter().all(|y| y.abs() < 1e-5), "{kind:?}: {y:?}");
    }
    let leaf = row().autodiff().require_grad();
    let y = swiglu(leaf.clone(), row().ones_like());
    let slopes = read(leaf.grad(&y.clone().sum().backward()).unwrap());
    let y = read(y);
    assert_eq!(y[3..].to_vec(), [0.0, 88.0, 200.0]);
    assert!(y[..3].iter().all(|y| y.abs() < 1e-5), "{y:?}");
    for (slope, want) in slopes.iter().zip([0.0, 0.0, 0.0, 0.5, 1.0, 1.0]) {
        assert!((slope - want).abs() < 1e-5, "{slopes:?}");
    }
}

#[test]
fn a_nan_is_never_swallowed() {
    let x = tensor(&[1.0, f32::NAN, 2.0], [1, 3], DType::F32);
    for y in [
        gelu(x.clone(), Gelu::Exact),
        gelu(x.clone(), Gelu::Tanh),
        swiglu(x.clone(), x.ones_like()),
    ] {
        let nans: Vec<bool> = read(y).iter().map(|y| y.is_nan()).collect();
        assert_eq!(nans, [false, true, false]);
    }
}

fn rope_case(tokens: usize, heads: usize, dim: usize) -> Case<1> {
    let half = dim / 2;
    let angles = doubled(random(tokens * half, 4));
    let len = tokens * heads * dim;
    let (ours_angles, shape) = (angles.clone(), [tokens, heads, dim]);
    let ours = move |[x]: [Tensor<1>; 1]| {
        let table = RopeTable::from_angles(&ours_angles, half, &cpu_device());
        rope(x.reshape(shape), &table).reshape([len])
    };
    // Each pair (xᵢ, xᵢ₊ₕ) as a complex number times e^(i·angle).
    let plain = move |[x]: [Tensor<1>; 1]| {
        let angle = tensor(&angles, [tokens, 1, half], x.dtype());
        let (cos, sin) = (angle.clone().cos(), angle.sin());
        let x = x.reshape(shape);
        let (re, im) = (x.clone().narrow(2, 0, half), x.narrow(2, half, half));
        let out_re = re.clone() * cos.clone() - im.clone() * sin.clone();
        let out_im = re * sin + im * cos;
        Tensor::cat(vec![out_re, out_im], 2).reshape([len])
    };
    Case::new(
        format!("rope {tokens}x{heads}x{dim}"),
        [random(len, 5)],
        ours,
        plain,
    )
}

#[test]
fn rope_is_a_rotation_of_pairs() {
    for (tokens, heads, dim) in [(1, 1, 2), (7, 3, 6), (5, 4, 16), (300, 5, 34)] {
        rope_case(tokens, heads, dim).check();
    }
}

#[test]
fn rope_at_position_zero_changes_nothing() {
    let x = tensor(&random(24, 6), [2, 3, 4], DType::F32);
    let table = RopeTable::from_angles(&[0.0; 4], 2, &cpu_device());
    assert_eq!(read(rope(x.clone(), &table)), read(x));
}

#[test]
fn adjacent_rope_is_rope_on_sorted_pairs() {
    for (tokens, heads, dim) in [(1, 1, 2), (7, 3, 6), (300, 5, 34)] {
        let half = dim / 2;
        let angles = doubled(random(tokens * half, 7));
        let shape = [tokens, heads, dim];
        let len = tokens * heads * dim;
        let table = RopeTable::from_angles(&angles, half, &cpu_device());
        let ours =
            move |[x]: [Tensor<1>; 1]| rope_adjacent(x.reshape(shape), &table).reshape([len]);
        let plain = move |[x]: [Tensor<1>; 1]| {
            let angle = tensor(&angles, [tokens, 1, half, 1], x.dtype());
            let (cos, sin) = (angle.clone().cos(), angle.sin());
            let pairs = x.reshape([tokens, heads, half, 2]);
            let (re, im) = (pairs.clone().narrow(3, 0, 1), pairs.narrow(3, 1, 1));
            let out_re = re.clone() * cos.clone() - im.clone() * sin.clone();
            let out_im = re * sin + im * cos;
            Tensor::cat(vec![out_re, out_im], 3).reshape([len])
        };
        let name = format!("rope_adjacent {tokens}x{heads}x{dim}");
        Case::new(name, [random(len, 8)], ours, plain).check();
    }
}
