//! A transformer with random weights that an adapter can learn on at once.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use vtb_nn::checkpoint::{MemorySource, save_safetensors};

use crate::qwen_image::{QwenImageTransformer, TransformerConfig};
use crate::{DiffusionError, files};

/// Deviation of biases.
const BIAS: f32 = 0.02;

/// Writes a `transformer` folder. Every tensor has a stream of its own, named by seed and name.
pub(super) fn write(
    dir: &Path,
    config: &TransformerConfig,
    seed: u64,
) -> Result<(), DiffusionError> {
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let count = shape.iter().product();
        let values = match shape.as_slice() {
            [_, inputs] => {
                let deviation = gain(&name) / (*inputs as f32).sqrt();
                normals(seed, &name, count, deviation)
            }
            _ if name.ends_with(".weight") => vec![1.0; count],
            _ => normals(seed, &name, count, BIAS),
        };
        (name, TensorData::new(values, shape))
    };
    let tensors = QwenImageTransformer::tensors(config)?;
    let source = MemorySource::new(
        "the tiny transformer",
        tensors.into_iter().map(tensor).collect(),
    );
    config.write(dir)?;
    let path = dir.join(format!("{}.safetensors", files::WEIGHTS_STEM));
    Ok(save_safetensors(path, &source, &BTreeMap::new())?)
}

/// How much larger the outputs of a matrix are than its inputs.
///
/// The features of a noise level have a mean square of a half, and SiLU takes away as much again, twice: the embedding is
/// enlarged, so that what follows it is of the size of 1 and differs between levels. Shifts, scales and gates are then about
/// 0.3. The first velocities are small.
fn gain(name: &str) -> f32 {
    let of = [
        ("timestep_embedder.linear_1.weight", 2.0),
        ("timestep_embedder.linear_2.weight", 1.5),
        ("_mod.1.weight", 0.3),
        ("norm_out.linear.weight", 0.3),
        ("proj_out.weight", 0.3),
    ];
    let found = of.iter().find(|(end, _)| name.ends_with(end));
    found.map_or(1.0, |(_, gain)| *gain)
}

/// Normal numbers by Box and Muller.
fn normals(seed: u64, name: &str, count: usize, deviation: f32) -> Vec<f32> {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(name.as_bytes());
    let mut rng = ChaCha8Rng::from_seed(hash.finalize().into());
    let draw = |_| {
        let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        normal as f32 * deviation
    };
    (0..count).map(draw).collect()
}
