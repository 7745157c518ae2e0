//! Random values, reading tensors back, and comparing.

use burn::tensor::{DType, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vtb_nn::device::cpu_device;

/// `len` values in `[-1.5, 1.5)`, the same for every call with the same seed.
pub(crate) fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.5f32..1.5)).collect()
}

/// Eighths between -2 and 2: exact in every float format.
pub(crate) fn eighths(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len)
        .map(|_| rng.random_range(-16i32..=16) as f32 / 8.0)
        .collect()
}

/// A tensor outside autodiff.
pub(crate) fn tensor<const D: usize>(values: &[f32], shape: [usize; D], dtype: DType) -> Tensor<D> {
    Tensor::from_data(
        TensorData::new(values.to_vec(), shape),
        (&cpu_device(), dtype),
    )
}

/// Row-major values.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Largest difference at most `tolerance` times the largest wanted magnitude, and a millionth: what f32 leaves of
/// gradients that cancel.
pub(crate) fn assert_close(got: &[f64], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: lengths");
    let size = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        // Written so that a NaN on either side fails.
        let close = (g - w).abs() <= tolerance * size + 1e-6;
        assert!(
            close,
            "{what}: element {i} is {g}, wanted {w} (largest {size})"
        );
    }
}

/// Cosine above 0.999 and lengths within five percent.
pub(crate) fn assert_aligned(got: &[f64], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: lengths");
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let (g, w) = (dot(got, got).sqrt(), dot(want, want).sqrt());
    if w < 1e-9 {
        assert!(g < 5e-2, "{what}: length {g}, wanted nothing");
        return;
    }
    let cosine = dot(got, want) / (g * w);
    assert!(cosine > 0.999, "{what}: cosine {cosine}");
    assert!((g / w - 1.0).abs() < 0.05, "{what}: length {g}, wanted {w}");
}
