//! Rotary position embedding, with angles from any position scheme. Pairs are a value and the one half a head further
//! (language models), or neighbours (diffusion transformers).

use burn::tensor::{DType, Device, Tensor, TensorData};

#[cfg(feature = "flex")]
use crate::cpu;
use crate::diff_op::{AnyTensor, DiffOp, apply};

/// Cosines and sines of every token, f32, outside autodiff.
#[derive(Debug, Clone)]
pub struct RopeTable {
    /// `[tokens, dim/2]`.
    pub cos: Tensor<2>,
    /// `[tokens, dim/2]`.
    pub sin: Tensor<2>,
}

impl RopeTable {
    /// From angles in radians, row-major `[tokens, half]`. Cosines are taken in f64 and rounded once.
    pub fn from_angles(angles: &[f32], half: usize, device: &Device) -> Self {
        let rows = angles.len().checked_div(half).unwrap_or(0);
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f32> = angles.iter().map(|a| f(*a as f64) as f32).collect();
            Tensor::from_data(TensorData::new(values, [rows, half]), (device, DType::F32))
        };
        Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
        }
    }
}

/// How the frequencies of a head share the three axes of a position (time, height, width).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MRope {
    /// Frequency `i` turns with height if `i mod 3 = 1` and `i < 3·sections[1]`, with width if `i mod 3 = 2` and
    /// `i < 3·sections[2]`, else with time (Qwen3-VL).
    Interleaved([usize; 3]),
    /// The first `sections[0]` frequencies turn with time, the next with height, the rest with width (Qwen2.5-VL).
    Chunked([usize; 3]),
}

impl MRope {
    /// Axis of frequency `i`.
    pub fn axis(self, i: usize) -> usize {
        match self {
            Self::Interleaved(sections) => match i % 3 {
                1 if i < 3 * sections[1] => 1,
                2 if i < 3 * sections[2] => 2,
                _ => 0,
            },
            Self::Chunked(sections) => {
                if i < sections[0] {
                    0
                } else if i < sections[0] + sections[1] {
                    1
                } else {
                    2
                }
            }
        }
    }

    /// Angles `position[axis(i)]·theta^(-2i/dim)` of every token, `[tokens, dim/2]`, in f32 as the reference does.
    pub fn angles(self, positions: &[[i32; 3]], dim: usize, theta: f64) -> Vec<f32> {
        let frequencies = inverse_frequencies(dim, theta);
        let axes: Vec<usize> = (0..frequencies.len()).map(|i| self.axis(i)).collect();
        let of = |p: &[i32; 3]| -> Vec<f32> {
            axes.iter()
                .zip(&frequencies)
                .map(|(a, f)| p[*a] as f32 * f)
                .collect()
        };
        positions.iter().flat_map(of).collect()
    }
}

/// Angles of 2-D positions: the first quarter of the head turns with the row, the second with the column.
///
/// Source: the Qwen vision towers, theta 10000 over `dim/2` frequencies split between the axes.
pub fn vision_angles(positions: &[[i32; 2]], dim: usize, theta: f64) -> Vec<f32> {
    let frequencies = inverse_frequencies(dim / 2, theta);
    let of = |[y, x]: &[i32; 2]| -> Vec<f32> {
        let along = |p: i32| frequencies.iter().map(move |f| p as f32 * f);
        along(*y).chain(along(*x)).collect()
    };
    positions.iter().flat_map(of).collect()
}

/// `theta^(-2i/dim)` for `i < dim/2`, in f32.
pub fn inverse_frequencies(dim: usize, theta: f64) -> Vec<f32> {
    (0..dim / 2)
        .map(|i| 1.0 / (theta as f32).powf((2 * i) as f32 / dim as f32))
        .collect()
}

/// Rotates `x`, computed in f32 and cast back.
///
/// # Shapes
/// `x` is `[tokens, heads, dim]` and the table has a row per token.
pub fn rope(x: Tensor<3>, table: &RopeTable) -> Tensor<3> {
    rotated(x, table, Pairs::Halves)
}

/// As [`rope`] with neighbours `(2i, 2i+1)` as pairs.
pub fn rope_adjacent(x: Tensor<3>, table: &RopeTable) -> Tensor<3> {
    rotated(x, table, Pairs::Adjacent)
}

fn rotated(x: Tensor<3>, table: &RopeTable, pairs: Pairs) -> Tensor<3> {
    let table = table.clone();
    apply(Rope { table, pairs }, [x.into()]).get()
}

/// Which values of a head turn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pairs {
    /// `i` and `i + dim/2`.
    Halves,
    /// `2i` and `2i + 1`.
    Adjacent,
}

#[derive(Debug)]
struct Rope {
    table: RopeTable,
    pairs: Pairs,
}

impl Rope {
    fn rotate(&self, x: Tensor<3>, sign: f32) -> Tensor<3> {
        let [tokens, heads, dim] = x.dims();
        #[cfg(feature = "flex")]
        if let (Some(xv), Some(cos), Some(sin)) = (
            cpu::View::of(&x),
            cpu::View::of(&self.table.cos),
            cpu::View::of(&self.table.sin),
        ) {
            let (cos, sin) = (cos.values(), sin.values());
            let y = cpu::elementwise::rope(xv.values(), cos, sin, [heads, dim], self.pairs, sign);
            return cpu::tensor(y, [tokens, heads, dim]);
        }
        let (dtype, half) = (x.dtype(), dim / 2);
        // Both values of a pair lie along this axis, the angles along the other one.
        let (axis, split, angles) = match self.pairs {
            Pairs::Halves => (2, [2, half], [1, half]),
            Pairs::Adjacent => (3, [half, 2], [half, 1]),
        };
        let table = |values: &Tensor<2>| values.clone().reshape([tokens, 1, angles[0], angles[1]]);
        let (cos, sin) = (table(&self.table.cos), table(&self.table.sin) * sign);
        let x = x
            .cast(DType::F32)
            .reshape([tokens, heads, split[0], split[1]]);
        let (a, b) = (x.clone().narrow(axis, 0, 1), x.narrow(axis, 1, 1));
        let first = a.clone() * cos.clone() - b.clone() * sin.clone();
        let second = b * cos + a * sin;
        Tensor::cat(vec![first, second], axis)
            .reshape([tokens, heads, dim])
            .cast(dtype)
    }
}

impl DiffOp<1> for Rope {
    fn forward(&self, [x]: [AnyTensor; 1]) -> (AnyTensor, Vec<AnyTensor>) {
        (self.rotate(x.get(), 1.0).into(), Vec::new())
    }

    fn keeps(&self, _tracked: [bool; 1]) -> [bool; 1] {
        [false]
    }

    fn backward(
        &self,
        _inputs: [Option<AnyTensor>; 1],
        _saved: Vec<AnyTensor>,
        grad: AnyTensor,
        _needs: [bool; 1],
    ) -> [Option<AnyTensor>; 1] {
        [Some(self.rotate(grad.get(), -1.0).into())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_of_the_published_sections() {
        let mrope = MRope::Interleaved([24, 20, 20]);
        let counts = (0..64).fold([0; 3], |mut c, i| {
            c[mrope.axis(i)] += 1;
            c
        });
        assert_eq!(counts, [24, 20, 20]);
        assert!((60..64).all(|i| mrope.axis(i) == 0));
        let chunked = MRope::Chunked([16, 24, 24]);
        assert_eq!([15, 16, 39, 40].map(|i| chunked.axis(i)), [0, 1, 1, 2]);
    }

    #[test]
    fn equal_axes_are_ordinary_rope() {
        let positions = [[5, 5, 5], [9, 9, 9]];
        let a = MRope::Interleaved([4, 2, 2]).angles(&positions, 16, 1e4);
        let b = MRope::Chunked([2, 3, 3]).angles(&positions, 16, 1e4);
        assert_eq!(a, b);
    }
}
