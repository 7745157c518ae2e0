//! A device and a number format under comparison, and the inputs every lane shares.

use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Where and in which format an operation runs.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    /// As reports name it.
    pub(super) label: String,
    /// Where tensors live.
    pub(super) device: Device,
    /// Format of weights and activations.
    pub(super) dtype: DType,
}

impl Lane {
    pub(super) fn new(label: String, device: Device, dtype: DType) -> Self {
        Self {
            label,
            device,
            dtype,
        }
    }

    /// Random values times `scale`, a power of two, in the lane's format.
    pub(super) fn random<const D: usize>(
        &self,
        shape: [usize; D],
        seed: u64,
        scale: f32,
    ) -> Tensor<D> {
        self.random_as(shape, seed, scale, self.dtype)
    }

    /// As [`Lane::random`], in the given format.
    pub(super) fn random_as<const D: usize>(
        &self,
        shape: [usize; D],
        seed: u64,
        scale: f32,
        dtype: DType,
    ) -> Tensor<D> {
        let values: Vec<f32> = values(shape.iter().product(), seed)
            .into_iter()
            .map(|x| x * scale)
            .collect();
        Tensor::from_data(TensorData::new(values, shape), (&self.device, dtype))
    }

    /// A random leaf of the autodiff graph.
    pub(super) fn leaf<const D: usize>(&self, shape: [usize; D], seed: u64) -> Tensor<D> {
        self.random(shape, seed, 1.0).autodiff().require_grad()
    }
}

/// `len` values in `[-1.5, 1.5)` that bf16 holds exactly: lanes then differ by how they compute, not by what they
/// were given.
pub(super) fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let draw = |_| f32::from_bits(rng.random_range(-1.5f32..1.5).to_bits() & 0xffff_0000);
    (0..len).map(draw).collect()
}

/// Row-major values in f32.
pub(super) fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
