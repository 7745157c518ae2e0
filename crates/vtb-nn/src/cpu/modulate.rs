//! Kernels of adaptive normalisation and gating.

use rayon::prelude::*;

use super::norm::{layer_row, moments};
use super::{rows_per_task, simd, written};

/// A modulation table and the runs of rows that read it.
pub(crate) struct Parts<'a> {
    /// `[levels, columns]`.
    pub(crate) table: &'a [f32],
    pub(crate) columns: usize,
    pub(crate) width: usize,
    /// `(rows, row of the table)`.
    pub(crate) runs: &'a [(usize, usize)],
}

/// Rows of one run that one thread works on.
#[derive(Clone, Copy)]
struct Task {
    start: usize,
    rows: usize,
    level: usize,
}

impl Parts<'_> {
    fn part(&self, level: usize, part: usize) -> &[f32] {
        let start = level * self.columns + part * self.width;
        &self.table[start..start + self.width]
    }

    /// Runs cut so that a task touches about 32 thousand values.
    fn tasks(&self) -> Vec<Task> {
        let most = rows_per_task(self.width);
        let mut start = 0;
        let mut tasks = Vec::new();
        for (rows, level) in self.runs {
            let mut left = *rows;
            while left > 0 {
                let rows = left.min(most);
                tasks.push(Task {
                    start,
                    rows,
                    level: *level,
                });
                start += rows;
                left -= rows;
            }
        }
        tasks
    }

    /// Splits `values` by task.
    fn split<'v>(&self, tasks: &[Task], mut values: &'v mut [f32]) -> Vec<&'v mut [f32]> {
        let mut parts = Vec::with_capacity(tasks.len());
        for task in tasks {
            let (head, tail) = values.split_at_mut(task.rows * self.width);
            parts.push(head);
            values = tail;
        }
        parts
    }

    fn of<'v>(&self, task: Task, values: &'v [f32]) -> &'v [f32] {
        &values[task.start * self.width..(task.start + task.rows) * self.width]
    }

    /// Adds up what tasks found for parts of the table, in the order of the tasks.
    fn table_gradient(&self, tasks: &[Task], found: &[Vec<f32>], parts: &[usize]) -> Vec<f32> {
        let mut total = vec![0.0f32; self.table.len()];
        for (task, found) in tasks.iter().zip(found) {
            for (part, values) in parts.iter().zip(found.chunks_exact(self.width)) {
                let start = task.level * self.columns + part * self.width;
                for (t, v) in total[start..start + self.width].iter_mut().zip(values) {
                    *t += v;
                }
            }
        }
        total
    }
}

/// `LN(x)·(1 + scale) + shift`.
pub(crate) fn norm(x: &[f32], parts: &Parts<'_>, shift: usize, scale: usize, eps: f32) -> Vec<f32> {
    let tasks = parts.tasks();
    let width = parts.width;
    written(x.len(), |out| {
        let outs = parts.split(&tasks, out);
        tasks.par_iter().zip(outs).for_each(|(task, out)| {
            let (shift, scale) = (parts.part(task.level, shift), parts.part(task.level, scale));
            let x = parts.of(*task, x);
            simd(
                #[inline(always)]
                || {
                    for (y, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                        let (mean, inverse) = moments(x, eps);
                        for i in 0..width {
                            y[i] = ((x[i] - mean) * inverse).mul_add(1.0 + scale[i], shift[i]);
                        }
                    }
                },
            );
        });
    })
}

/// Gradients of [`norm`] by `x` and, if `wanted`, by the table; `at` holds the parts of shift and scale.
pub(crate) fn norm_backward(
    x: &[f32],
    grad: &[f32],
    parts: &Parts<'_>,
    at: [usize; 2],
    eps: f32,
    wanted: bool,
) -> (Vec<f32>, Option<Vec<f32>>) {
    let tasks = parts.tasks();
    let width = parts.width;
    let mut found = Vec::new();
    let dx = written(x.len(), |dx| {
        let outs = parts.split(&tasks, dx);
        found = tasks
            .par_iter()
            .zip(outs)
            .map(|(task, dx)| {
                let gain: Vec<f32> = parts
                    .part(task.level, at[1])
                    .iter()
                    .map(|s| 1.0 + s)
                    .collect();
                let (x, g) = (parts.of(*task, x), parts.of(*task, grad));
                let mut sums = vec![0.0f32; 2 * width];
                let (d_shift, d_scale) = sums.split_at_mut(width);
                simd(
                    #[inline(always)]
                    || {
                        let rows = x.chunks_exact(width).zip(g.chunks_exact(width));
                        for (dx, (x, g)) in dx.chunks_exact_mut(width).zip(rows) {
                            layer_row(dx, x, g, &gain, d_scale, d_shift, eps);
                        }
                    },
                );
                sums
            })
            .collect::<Vec<_>>();
    });
    (
        dx,
        wanted.then(|| parts.table_gradient(&tasks, &found, &at)),
    )
}

/// `x + gate·y`.
pub(crate) fn gated_add(x: &[f32], y: &[f32], parts: &Parts<'_>, gate: usize) -> Vec<f32> {
    let tasks = parts.tasks();
    let width = parts.width;
    written(x.len(), |out| {
        let outs = parts.split(&tasks, out);
        tasks.par_iter().zip(outs).for_each(|(task, out)| {
            let gate = parts.part(task.level, gate);
            let (x, y) = (parts.of(*task, x), parts.of(*task, y));
            simd(
                #[inline(always)]
                || {
                    let rows = x.chunks_exact(width).zip(y.chunks_exact(width));
                    for (out, (x, y)) in out.chunks_exact_mut(width).zip(rows) {
                        for i in 0..width {
                            out[i] = gate[i].mul_add(y[i], x[i]);
                        }
                    }
                },
            );
        });
    })
}

/// `gate·g`: the gradient of [`gated_add`] by `y`.
pub(crate) fn gated(grad: &[f32], parts: &Parts<'_>, gate: usize) -> Vec<f32> {
    let tasks = parts.tasks();
    let width = parts.width;
    written(grad.len(), |out| {
        let outs = parts.split(&tasks, out);
        tasks.par_iter().zip(outs).for_each(|(task, out)| {
            let gate = parts.part(task.level, gate);
            let g = parts.of(*task, grad);
            simd(
                #[inline(always)]
                || {
                    for (out, g) in out.chunks_exact_mut(width).zip(g.chunks_exact(width)) {
                        for i in 0..width {
                            out[i] = gate[i] * g[i];
                        }
                    }
                },
            );
        });
    })
}

/// `Σ g·y` over the rows of each level: the gradient of [`gated_add`] by the table.
pub(crate) fn gate_gradient(grad: &[f32], y: &[f32], parts: &Parts<'_>, gate: usize) -> Vec<f32> {
    let tasks = parts.tasks();
    let width = parts.width;
    let sums = |task: &Task| {
        let (g, y) = (parts.of(*task, grad), parts.of(*task, y));
        let mut sums = vec![0.0f32; width];
        simd(
            #[inline(always)]
            || {
                for (g, y) in g.chunks_exact(width).zip(y.chunks_exact(width)) {
                    for i in 0..width {
                        sums[i] += g[i] * y[i];
                    }
                }
            },
        );
        sums
    };
    let found: Vec<Vec<f32>> = tasks.par_iter().map(sums).collect();
    parts.table_gradient(&tasks, &found, &[gate])
}
