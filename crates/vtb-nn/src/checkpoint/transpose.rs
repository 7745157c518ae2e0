//! Transposing stacks of matrices on the host, for layouts that differ between writers.

use burn::tensor::{DType, TensorData, bf16, f16};
use rayon::prelude::*;

use crate::NnError;

/// Side of the squares that are moved at once, so that both sides stay in a cache.
const TILE: usize = 64;

/// `[n, rows, columns]` to `[n, columns, rows]`, matrix by matrix in place: every thread needs room for one matrix.
///
/// # Errors
/// [`NnError::Input`] for another rank, or for a type that weights do not have.
pub fn swap_last_axes(data: TensorData) -> Result<TensorData, NnError> {
    let shape = data.shape().to_vec();
    let (&[n, rows, columns], dtype) = (shape.as_slice(), data.dtype()) else {
        return Err(NnError::input(format!(
            "a tensor of shape {shape:?} is no stack of matrices to transpose"
        )));
    };
    let swapped = [n, columns, rows];
    match dtype {
        DType::F32 => swap::<f32>(data, rows, columns, swapped),
        DType::BF16 => swap::<bf16>(data, rows, columns, swapped),
        DType::F16 => swap::<f16>(data, rows, columns, swapped),
        DType::F64 => swap::<f64>(data, rows, columns, swapped),
        other => Err(NnError::input(format!(
            "weights of type {other:?} cannot be transposed"
        ))),
    }
}

fn swap<T: burn::tensor::Element + Copy + Send + Sync>(
    data: TensorData,
    rows: usize,
    columns: usize,
    shape: [usize; 3],
) -> Result<TensorData, NnError> {
    let mut values = data
        .try_into_vec::<T>()
        .map_err(|e| NnError::input(format!("a tensor cannot be read: {e:?}")))?;
    if rows * columns > 0 {
        values
            .par_chunks_exact_mut(rows * columns)
            .for_each_init(Vec::new, |scratch, matrix| {
                scratch.clear();
                scratch.extend_from_slice(matrix);
                transpose(scratch, matrix, rows, columns);
            });
    }
    Ok(TensorData::new(values, shape))
}

/// Writes `from`, `rows × columns`, to `to`, `columns × rows`.
fn transpose<T: Copy>(from: &[T], to: &mut [T], rows: usize, columns: usize) {
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for row in top..(top + TILE).min(rows) {
                for column in left..(left + TILE).min(columns) {
                    to[column * rows + row] = from[row * columns + column];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_matrix_is_transposed_and_twice_is_nothing() {
        let (n, rows, columns) = (3, 70, 130);
        let values: Vec<f32> = (0..n * rows * columns).map(|i| i as f32).collect();
        let data = TensorData::new(values, [n, rows, columns]);
        let swapped = swap_last_axes(data.clone()).expect("a stack");
        assert_eq!(swapped.shape().as_slice(), [n, columns, rows]);
        let (a, b) = (
            data.as_slice::<f32>().expect("f32"),
            swapped.as_slice::<f32>().expect("f32"),
        );
        for (i, value) in a.iter().enumerate() {
            let (matrix, row, column) = (i / (rows * columns), i / columns % rows, i % columns);
            assert_eq!(b[(matrix * columns + column) * rows + row], *value);
        }
        assert_eq!(swap_last_axes(swapped).expect("a stack"), data);
        assert!(swap_last_axes(TensorData::new(vec![1.0f32], [1])).is_err());
        assert!(swap_last_axes(TensorData::new(vec![1i32], [1, 1, 1])).is_err());
    }
}
