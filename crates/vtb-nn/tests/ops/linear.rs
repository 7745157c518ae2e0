//! Linear maps, plain and with a low-rank branch.

use burn::tensor::{DType, Tensor};
use vtb_nn::ops::{linear, low_rank_linear};

use crate::case::Case;
use crate::support::{assert_close, eighths, random, read, tensor};

/// Rows, input width, output width: one of each, odd ones, both sides of the switch between the product for few
/// rows (16) and the general one, and enough work to be split over threads.
const SIZES: [[usize; 3]; 7] = [
    [1, 1, 1],
    [1, 33, 5],
    [3, 16, 8],
    [16, 7, 9],
    [17, 7, 9],
    [9, 130, 90],
    [70, 65, 66],
];

#[test]
fn linear_is_its_formula() {
    for [m, k, n] in SIZES {
        let inputs = [random(m * k, 21), random(n * k, 22)];
        let ours = move |[x, w]: [Tensor<1>; 2]| {
            linear(x.reshape([m, k]), w.reshape([n, k]), None).reshape([m * n])
        };
        let plain = move |[x, w]: [Tensor<1>; 2]| {
            let y = x.reshape([m, k]).matmul(w.reshape([n, k]).transpose());
            y.reshape([m * n])
        };
        Case::new(format!("linear {m}x{k}x{n}"), inputs, ours, plain).check();
    }
}

#[test]
fn linear_with_bias_is_its_formula() {
    for [m, k, n] in SIZES {
        let inputs = [random(m * k, 23), random(n * k, 24), random(n, 25)];
        let ours = move |[x, w, b]: [Tensor<1>; 3]| {
            linear(x.reshape([m, k]), w.reshape([n, k]), Some(b)).reshape([m * n])
        };
        let plain = move |[x, w, b]: [Tensor<1>; 3]| {
            let y = x.reshape([m, k]).matmul(w.reshape([n, k]).transpose()) + b.reshape([1, n]);
            y.reshape([m * n])
        };
        Case::new(format!("linear+bias {m}x{k}x{n}"), inputs, ours, plain).check();
    }
}

fn low_rank_case([m, k, n]: [usize; 3], rank: usize, dropout: bool) -> Case<4> {
    const SCALE: f32 = 1.75;
    let mask = dropout.then(|| {
        // Kept values are scaled by 1/(1-p), as dropout does.
        eighths(m * k, 26)
            .iter()
            .map(|x| if *x > 0.0 { 2.0 } else { 0.0 })
            .collect::<Vec<f32>>()
    });
    let ours_mask = mask.clone();
    let ours = move |[x, w, a, b]: [Tensor<1>; 4]| {
        let mask = ours_mask
            .as_ref()
            .map(|mask| tensor(mask, [m, k], DType::F32));
        let (x, w) = (x.reshape([m, k]), w.reshape([n, k]));
        let (a, b) = (a.reshape([rank, k]), b.reshape([n, rank]));
        low_rank_linear(x, w, a, b, SCALE, mask).reshape([m * n])
    };
    let plain = move |[x, w, a, b]: [Tensor<1>; 4]| {
        let (x, w) = (x.reshape([m, k]), w.reshape([n, k]));
        let (a, b) = (a.reshape([rank, k]), b.reshape([n, rank]));
        let branch = match &mask {
            Some(mask) => x.clone() * tensor(mask, [m, k], DType::F64),
            None => x.clone(),
        };
        let dense = branch.matmul(b.matmul(a).transpose()) * SCALE as f64;
        (x.matmul(w.transpose()) + dense).reshape([m * n])
    };
    let inputs = [
        random(m * k, 27),
        random(n * k, 28),
        random(rank * k, 29),
        random(n * rank, 30),
    ];
    let name = format!("low_rank_linear {m}x{k}x{n} rank {rank} dropout {dropout}");
    Case {
        always_f32: [false, false, true, true],
        ..Case::new(name, inputs, ours, plain)
    }
}

#[test]
fn low_rank_linear_is_base_plus_scaled_product() {
    for dropout in [false, true] {
        for (size, rank) in SIZES.into_iter().zip([1, 2, 3, 5, 4, 8, 16]) {
            low_rank_case(size, rank, dropout).check();
        }
    }
}

#[test]
fn views_are_read_as_what_they_show() {
    // Slices that start inside a tensor, and transposes, as a fused projection would hand them over.
    let all = tensor(&random(9 * 14, 31), [9, 14], DType::F32);
    let x = all.clone().narrow(1, 3, 6).narrow(0, 2, 5);
    let w = tensor(&random(6 * 4, 32), [6, 4], DType::F32).transpose();
    let want = x
        .clone()
        .cast(DType::F64)
        .matmul(w.clone().cast(DType::F64).transpose());
    let got = linear(x.clone(), w.clone(), None);
    assert_close(&read(got), &read(want.clone()), 1e-6, "linear of views");
    let (a, b) = (
        w.clone().narrow(0, 0, 2),
        tensor(&[0.0; 8], [4, 2], DType::F32),
    );
    let got = low_rank_linear(x, w, a, b, 1.0, None);
    assert_close(&read(got), &read(want), 1e-6, "low_rank_linear of views");
}

#[test]
fn no_rows_give_no_rows() {
    let x = Tensor::<2>::zeros([0, 3], (&vtb_nn::device::cpu_device(), DType::F32));
    let w = tensor(&random(6, 33), [2, 3], DType::F32);
    assert_eq!(linear(x, w, None).dims(), [0, 2]);
}
