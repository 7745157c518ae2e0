//! Adaptive normalisation and gating of diffusion transformers (AdaLN-zero: Peebles and Xie, 2023).
//!
//! A modulation table has one row per distinct noise level, and a token knows its row: [`RowRuns`]. Shifts, scales and
//! gates are thirds or sixths of the table's width and never exist per token.

use std::sync::Arc;

use burn::tensor::{DType, Tensor};

use super::norm::normalised;
#[cfg(feature = "flex")]
use crate::cpu;
use crate::diff_op::{AnyTensor, DiffOp, apply};

/// Runs of consecutive rows that share a row of the modulation table: `(rows, row of the table)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRuns {
    runs: Arc<Vec<(usize, usize)>>,
}

impl RowRuns {
    /// Runs in order; empty runs are dropped.
    pub fn new(runs: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let runs = runs.into_iter().filter(|(rows, _)| *rows > 0).collect();
        Self {
            runs: Arc::new(runs),
        }
    }

    /// `(rows, row of the table)` in order.
    pub fn runs(&self) -> &[(usize, usize)] {
        &self.runs
    }

    /// Rows in all.
    pub fn rows(&self) -> usize {
        self.runs.iter().map(|(rows, _)| rows).sum()
    }
}

/// `LN(x)·(1 + scale) + shift`, LN without gain and bias, in f32; the result has the dtype of `x`.
///
/// # Shapes
/// `x` is `[rows, width]`; `table` is `[levels, k·width]`, its columns `shift·width..` and `scale·width..` hold shift and
/// scale. `runs` has `rows` rows.
pub fn modulated_norm(
    x: Tensor<2>,
    table: Tensor<2>,
    [shift, scale]: [usize; 2],
    runs: &RowRuns,
    eps: f32,
) -> Tensor<2> {
    check(&x, &table, shift.max(scale), runs);
    let op = ModulatedNorm {
        shift,
        scale,
        runs: runs.clone(),
        eps,
    };
    apply(op, [x.into(), table.into()]).get()
}

/// `x + gate·y`, in f32; the result has the dtype of `x`.
///
/// # Shapes
/// `x` and `y` are `[rows, width]`; the gate is `gate·width..` of the columns of `table`, `[levels, k·width]`.
pub fn gated_add(
    x: Tensor<2>,
    y: Tensor<2>,
    table: Tensor<2>,
    gate: usize,
    runs: &RowRuns,
) -> Tensor<2> {
    assert_eq!(x.dims(), y.dims(), "gated_add: shapes of both sides");
    assert_eq!(x.dtype(), y.dtype(), "gated_add: types of both sides");
    check(&x, &table, gate, runs);
    let op = GatedAdd {
        gate,
        runs: runs.clone(),
    };
    apply(op, [x.into(), y.into(), table.into()]).get()
}

fn check(x: &Tensor<2>, table: &Tensor<2>, last: usize, runs: &RowRuns) {
    let ([rows, width], [levels, columns]) = (x.dims(), table.dims());
    assert_eq!(rows, runs.rows(), "modulation: rows of x and of the runs");
    assert!(
        (last + 1) * width <= columns,
        "modulation: a table of {columns} columns has no part {last} of width {width}"
    );
    assert!(
        runs.runs().iter().all(|(_, level)| *level < levels),
        "modulation: a run names a row outside the table of {levels}"
    );
}

#[cfg(feature = "flex")]
fn parts_of<'a>(
    values: &'a cpu::View,
    table: &Tensor<2>,
    width: usize,
    runs: &'a RowRuns,
) -> cpu::modulate::Parts<'a> {
    cpu::modulate::Parts {
        table: values.values(),
        columns: table.dims()[1],
        width,
        runs: runs.runs(),
    }
}

/// Part `part` of one row of the table, `[1, width]`, in f32.
fn part_of(table: &Tensor<2>, level: usize, part: usize, width: usize) -> Tensor<2> {
    let row = table.clone().narrow(0, level, 1);
    row.narrow(1, part * width, width).cast(DType::F32)
}

/// Applies `f(rows of every input, level)` to each run and joins the results.
fn by_run<const N: usize>(
    inputs: [&Tensor<2>; N],
    runs: &RowRuns,
    f: impl Fn([Tensor<2>; N], usize) -> Tensor<2>,
) -> Tensor<2> {
    let mut start = 0;
    let mut parts = Vec::with_capacity(runs.runs().len());
    for (rows, level) in runs.runs() {
        let slices = inputs.map(|x| x.clone().narrow(0, start, *rows).cast(DType::F32));
        parts.push(f(slices, *level));
        start += rows;
    }
    Tensor::cat(parts, 0)
}

/// Sums `x` over the rows of each level: `[levels, width]`.
fn sum_by_level(x: &Tensor<2>, runs: &RowRuns, levels: usize) -> Tensor<2> {
    let mut start = 0;
    let mut sums: Vec<Option<Tensor<2>>> = vec![None; levels];
    for (rows, level) in runs.runs() {
        let sum = x.clone().narrow(0, start, *rows).sum_dim(0);
        sums[*level] = Some(match sums[*level].take() {
            Some(total) => total + sum,
            None => sum,
        });
        start += rows;
    }
    let zero = Tensor::zeros([1, x.dims()[1]], (&x.device(), x.dtype()));
    let rows = sums
        .into_iter()
        .map(|s| s.unwrap_or_else(|| zero.clone()))
        .collect();
    Tensor::cat(rows, 0)
}

/// A gradient of the table from those of its parts, zero elsewhere.
fn table_gradient(like: &Tensor<2>, width: usize, parts: Vec<(usize, Tensor<2>)>) -> Tensor<2> {
    let [levels, columns] = like.dims();
    let mut total = Tensor::zeros([levels, columns], (&like.device(), DType::F32));
    for (part, values) in parts {
        total = total.slice_assign([0..levels, part * width..(part + 1) * width], values);
    }
    total.cast(like.dtype())
}

#[derive(Debug)]
struct ModulatedNorm {
    shift: usize,
    scale: usize,
    runs: RowRuns,
    eps: f32,
}

impl DiffOp<2> for ModulatedNorm {
    fn forward(&self, [x, table]: [AnyTensor; 2]) -> (AnyTensor, Vec<AnyTensor>) {
        let (x, table) = (x.get::<2>(), table.get::<2>());
        let width = x.dims()[1];
        #[cfg(feature = "flex")]
        if let (Some(xv), Some(tv)) = (cpu::View::of(&x), cpu::View::of(&table)) {
            let parts = parts_of(&tv, &table, width, &self.runs);
            let y = cpu::modulate::norm(xv.values(), &parts, self.shift, self.scale, self.eps);
            return (cpu::tensor(y, x.dims()).into(), Vec::new());
        }
        let dtype = x.dtype();
        let y = by_run([&x], &self.runs, |[x], level| {
            let scale = part_of(&table, level, self.scale, width) + 1.0;
            normalised(x, self.eps).0 * scale + part_of(&table, level, self.shift, width)
        });
        (y.cast(dtype).into(), Vec::new())
    }

    fn backward(
        &self,
        [x, table]: [Option<AnyTensor>; 2],
        _saved: Vec<AnyTensor>,
        grad: AnyTensor,
        needs: [bool; 2],
    ) -> [Option<AnyTensor>; 2] {
        let (Some(x), Some(table)) = (x, table) else {
            return [None, None];
        };
        let (x, table, g) = (x.get::<2>(), table.get::<2>(), grad.get::<2>());
        let [rows, width] = x.dims();
        #[cfg(feature = "flex")]
        if let (Some(xv), Some(tv), Some(gv)) =
            (cpu::View::of(&x), cpu::View::of(&table), cpu::View::of(&g))
        {
            let parts = parts_of(&tv, &table, width, &self.runs);
            let at = [self.shift, self.scale];
            let (x, g) = (xv.values(), gv.values());
            let (dx, dt) = cpu::modulate::norm_backward(x, g, &parts, at, self.eps, needs[1]);
            return [
                Some(cpu::tensor(dx, [rows, width]).into()),
                dt.map(|dt| cpu::tensor(dt, table.dims()).into()),
            ];
        }
        let dtype = x.dtype();
        let (xhat, inverse) = normalised(x.cast(DType::F32), self.eps);
        let scaled = by_run([&g], &self.runs, |[g], level| {
            g * (part_of(&table, level, self.scale, width) + 1.0)
        });
        let mean = scaled.clone().mean_dim(1);
        let along = (scaled.clone() * xhat.clone()).mean_dim(1);
        let dx = (scaled - mean - xhat.clone() * along) * inverse;
        let dt = needs[1].then(|| {
            let g = g.cast(DType::F32);
            let levels = table.dims()[0];
            let d_shift = sum_by_level(&g, &self.runs, levels);
            let d_scale = sum_by_level(&(g * xhat), &self.runs, levels);
            let parts = vec![(self.shift, d_shift), (self.scale, d_scale)];
            table_gradient(&table, width, parts).into()
        });
        [Some(dx.cast(dtype).into()), dt]
    }
}

#[derive(Debug)]
struct GatedAdd {
    gate: usize,
    runs: RowRuns,
}

impl DiffOp<3> for GatedAdd {
    fn forward(&self, [x, y, table]: [AnyTensor; 3]) -> (AnyTensor, Vec<AnyTensor>) {
        let (x, y, table) = (x.get::<2>(), y.get::<2>(), table.get::<2>());
        let width = x.dims()[1];
        #[cfg(feature = "flex")]
        if let (Some(xv), Some(yv), Some(tv)) =
            (cpu::View::of(&x), cpu::View::of(&y), cpu::View::of(&table))
        {
            let parts = parts_of(&tv, &table, width, &self.runs);
            let out = cpu::modulate::gated_add(xv.values(), yv.values(), &parts, self.gate);
            return (cpu::tensor(out, x.dims()).into(), Vec::new());
        }
        let dtype = x.dtype();
        let out = by_run([&x, &y], &self.runs, |[x, y], level| {
            x + y * part_of(&table, level, self.gate, width)
        });
        (out.cast(dtype).into(), Vec::new())
    }

    fn keeps(&self, [_, y, table]: [bool; 3]) -> [bool; 3] {
        [false, table, y || table]
    }

    fn backward(
        &self,
        [_, y, table]: [Option<AnyTensor>; 3],
        _saved: Vec<AnyTensor>,
        grad: AnyTensor,
        needs: [bool; 3],
    ) -> [Option<AnyTensor>; 3] {
        let dx = needs[0].then(|| grad.clone());
        let Some(table) = table else {
            return [dx, None, None];
        };
        let (table, g) = (table.get::<2>(), grad.get::<2>());
        let width = g.dims()[1];
        let y = y.map(AnyTensor::get::<2>);
        #[cfg(feature = "flex")]
        if let (Some(gv), Some(tv)) = (cpu::View::of(&g), cpu::View::of(&table)) {
            let parts = parts_of(&tv, &table, width, &self.runs);
            let dy = needs[1].then(|| {
                let dy = cpu::modulate::gated(gv.values(), &parts, self.gate);
                cpu::tensor(dy, g.dims()).into()
            });
            let view = y.as_ref().filter(|_| needs[2]).and_then(cpu::View::of);
            let dt = view.map(|y| {
                let dt = cpu::modulate::gate_gradient(gv.values(), y.values(), &parts, self.gate);
                cpu::tensor(dt, table.dims()).into()
            });
            return [dx, dy, dt];
        }
        let dy = needs[1].then(|| {
            let dy = by_run([&g], &self.runs, |[g], level| {
                g * part_of(&table, level, self.gate, width)
            });
            dy.cast(g.dtype()).into()
        });
        let dt = y.filter(|_| needs[2]).map(|y| {
            let product = g.clone().cast(DType::F32) * y.cast(DType::F32);
            let d_gate = sum_by_level(&product, &self.runs, table.dims()[0]);
            table_gradient(&table, width, vec![(self.gate, d_gate)]).into()
        });
        [dx, dy, dt]
    }
}
