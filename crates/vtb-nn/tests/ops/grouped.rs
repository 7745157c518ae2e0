//! Products of rows with the matrices of their experts.

use burn::tensor::{Int, Tensor, TensorData};
use vtb_nn::device::cpu_device;
use vtb_nn::ops::{Groups, grouped_linear};

use crate::case::Case;
use crate::support::{assert_close, random, read, tensor};

/// Expert of every row, in order: busy ones, an idle one, more rows than the product for few rows takes.
fn experts() -> Vec<usize> {
    let mut all = vec![0; 3];
    all.extend([1; 21]);
    all.extend([3; 1]);
    all
}

fn rows_of(experts: &[usize]) -> Tensor<1, Int> {
    let values: Vec<i32> = experts.iter().map(|e| *e as i32).collect();
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), &cpu_device())
}

#[test]
fn every_row_meets_the_matrix_of_its_expert() {
    let (m, e) = (experts().len(), 5);
    for [k, n] in [[1, 1], [7, 9], [66, 33]] {
        let groups = Groups::new(&experts(), 1, e);
        let ours = move |[x, w]: [Tensor<1>; 2]| {
            let y = grouped_linear(x.reshape([m, k]), w.reshape([e, n, k]), &groups);
            y.reshape([m * n])
        };
        let plain = move |[x, w]: [Tensor<1>; 2]| {
            let w = w.reshape([e, n, k]).select(0, rows_of(&experts()));
            w.matmul(x.reshape([m, k, 1])).reshape([m * n])
        };
        let inputs = [random(m * k, 41), random(e * n * k, 42)];
        Case::new(format!("grouped linear {k}x{n}"), inputs, ours, plain).check();
    }
}

#[test]
fn tokens_come_back_weighted() {
    // Four tokens, two of three experts each; every expert is the identity times its number plus one.
    let chosen = [2, 0, 1, 2, 0, 1, 2, 1];
    let groups = Groups::new(&chosen, 2, 3);
    let x = tensor(&random(4 * 3, 43), [4, 3], burn::tensor::DType::F32);
    let mut w = vec![0.0; 27];
    for e in 0..3 {
        for i in 0..3 {
            w[e * 9 + i * 4] = e as f32 + 1.0;
        }
    }
    let w = tensor(&w, [3, 3, 3], burn::tensor::DType::F32);
    let weights = random(8, 44);
    let y = grouped_linear(groups.gather(x.clone()), w, &groups);
    let y = groups.combine(y, tensor(&weights, [4, 2], burn::tensor::DType::F32));
    let x = read(x);
    let want: Vec<f64> = (0..12)
        .map(|i| {
            let factor = |slot: usize| {
                let choice = i / 3 * 2 + slot;
                f64::from(weights[choice]) * (chosen[choice] as f64 + 1.0)
            };
            x[i] * (factor(0) + factor(1))
        })
        .collect();
    assert_close(&read(y), &want, 1e-6, "combined tokens");
}
