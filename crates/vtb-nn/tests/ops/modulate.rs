//! Adaptive normalisation and gating.

use burn::tensor::Tensor;
use vtb_nn::ops::{RowRuns, gated_add, modulated_norm};

use crate::case::Case;
use crate::support::random;

/// Runs `(rows, level)`, levels of the table, width: levels out of order, used twice, not at all, and runs of more rows
/// than one task takes.
type Layout = (&'static [(usize, usize)], usize, usize);
const LAYOUTS: [Layout; 4] = [
    (&[(3, 0)], 1, 7),
    (&[(2, 1), (4, 0)], 2, 16),
    (&[(1, 3), (0, 2), (5, 1), (2, 3)], 5, 33),
    (&[(350, 0), (120, 1)], 2, 101),
];
/// Parts of the table.
const PARTS: usize = 4;

/// Part `part` of the table for every row, by a product with a matrix of zeros and ones.
fn of_rows(table: &Tensor<1>, part: usize, (runs, levels, width): Layout) -> Tensor<2> {
    let table = table.clone().reshape([levels, PARTS * width]);
    let part = table.narrow(1, part * width, width);
    let rows = runs.iter().filter(|(rows, _)| *rows > 0);
    let rows = rows.map(|(rows, level)| part.clone().narrow(0, *level, 1).repeat_dim(0, *rows));
    Tensor::cat(rows.collect(), 0)
}

#[test]
fn modulated_norm_is_its_formula() {
    for layout in LAYOUTS {
        let (runs, levels, width) = layout;
        let runs = RowRuns::new(runs.iter().copied());
        let rows = runs.rows();
        let ours = move |[x, table]: [Tensor<1>; 2]| {
            let table = table.reshape([levels, PARTS * width]);
            let y = modulated_norm(x.reshape([rows, width]), table, [3, 1], &runs, 1e-6);
            y.reshape([rows * width])
        };
        let plain = move |[x, table]: [Tensor<1>; 2]| {
            let x = x.reshape([rows, width]);
            let x = x.clone() - x.sum_dim(1) / width as f64;
            let var = (x.clone() * x.clone()).sum_dim(1) / width as f64;
            let y = x / (var + 1e-6).sqrt() * (of_rows(&table, 1, layout) + 1.0);
            (y + of_rows(&table, 3, layout)).reshape([rows * width])
        };
        let inputs = [random(rows * width, 1), random(levels * PARTS * width, 2)];
        Case::new(format!("modulated_norm {layout:?}"), inputs, ours, plain).check();
    }
}

#[test]
fn gated_add_is_its_formula() {
    for layout in LAYOUTS {
        let (runs, levels, width) = layout;
        let runs = RowRuns::new(runs.iter().copied());
        let rows = runs.rows();
        let ours = move |[x, y, table]: [Tensor<1>; 3]| {
            let table = table.reshape([levels, PARTS * width]);
            let shape = [rows, width];
            let out = gated_add(x.reshape(shape), y.reshape(shape), table, 2, &runs);
            out.reshape([rows * width])
        };
        let plain = move |[x, y, table]: [Tensor<1>; 3]| {
            let gate = of_rows(&table, 2, layout).reshape([rows * width]);
            x + y * gate
        };
        let inputs = [
            random(rows * width, 3),
            random(rows * width, 4),
            random(levels * PARTS * width, 5),
        ];
        Case::new(format!("gated_add {layout:?}"), inputs, ours, plain).check();
    }
}
