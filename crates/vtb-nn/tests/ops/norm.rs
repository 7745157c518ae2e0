//! RMSNorm and LayerNorm.

use burn::tensor::{DType, Tensor};
use vtb_nn::ops::{layer_norm, rms_norm};

use crate::case::Case;
use crate::support::{random, read, tensor};

/// Rows, width and epsilon: odd widths, one row, and more rows than one task takes (32768 values). The epsilons of
/// width one are large because the gradient of RMSNorm vanishes there without them.
const SIZES: [(usize, usize, f32); 6] = [
    (1, 1, 0.3),
    (4, 1, 0.3),
    (1, 17, 1e-6),
    (6, 33, 1e-5),
    (3, 64, 1e-6),
    (400, 101, 1e-6),
];

#[test]
fn rms_norm_is_its_formula() {
    for (rows, width, eps) in SIZES {
        let ours = move |[x, w]: [Tensor<1>; 2]| {
            rms_norm(x.reshape([rows, width]), w, eps).reshape([rows * width])
        };
        let plain = move |[x, w]: [Tensor<1>; 2]| {
            let x = x.reshape([rows, width]);
            let square = (x.clone() * x.clone()).sum_dim(1) / width as f64;
            let y = x / (square + eps as f64).sqrt() * w.reshape([1, width]);
            y.reshape([rows * width])
        };
        let inputs = [random(rows * width, 11), random(width, 12)];
        Case::new(format!("rms_norm {rows}x{width}"), inputs, ours, plain).check();
    }
}

#[test]
fn layer_norm_is_its_formula() {
    for (rows, width, eps) in SIZES {
        let ours = move |[x, w, b]: [Tensor<1>; 3]| {
            layer_norm(x.reshape([rows, width]), w, b, eps).reshape([rows * width])
        };
        let plain = move |[x, w, b]: [Tensor<1>; 3]| {
            let x = x.reshape([rows, width]);
            let x = x.clone() - x.sum_dim(1) / width as f64;
            let var = (x.clone() * x.clone()).sum_dim(1) / width as f64;
            let y = x / (var + eps as f64).sqrt() * w.reshape([1, width]) + b.reshape([1, width]);
            y.reshape([rows * width])
        };
        let inputs = [
            random(rows * width, 13),
            random(width, 14),
            random(width, 15),
        ];
        Case::new(format!("layer_norm {rows}x{width}"), inputs, ours, plain).check();
    }
}

#[test]
fn rows_of_zeros_stay_finite() {
    let x = || {
        tensor(&[0.0; 8], [2, 4], DType::F32)
            .autodiff()
            .require_grad()
    };
    let ones = || tensor(&[1.0; 4], [4], DType::F32);
    for norm in [
        |x, w: Tensor<1>| rms_norm(x, w, 1e-6),
        |x, w: Tensor<1>| layer_norm(x, w.clone(), w.zeros_like(), 1e-6),
    ] {
        let x = x();
        let y = norm(x.clone(), ones());
        let gradient = read(x.grad(&y.clone().sum().backward()).unwrap());
        assert_eq!(read(y), [0.0; 8]);
        assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
    }
}

#[test]
fn layer_norm_survives_a_large_mean() {
    let x: Vec<f32> = random(32, 16).into_iter().map(|x| x + 1000.0).collect();
    let x = tensor(&x, [1, 32], DType::F32);
    let ones = tensor(&[1.0; 32], [32], DType::F32);
    let y = read(layer_norm(x, ones.clone(), ones.zeros_like(), 1e-6));
    let mean = y.iter().sum::<f64>() / 32.0;
    let var = y.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>() / 32.0;
    assert!(
        mean.abs() < 1e-3 && (var - 1.0).abs() < 1e-3,
        "mean {mean}, variance {var}"
    );
}
