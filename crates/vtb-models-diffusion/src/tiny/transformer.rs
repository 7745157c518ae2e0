//! A transformer with random weights that an adapter can learn on at once.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use vtb_nn::checkpoint::{MemorySource, save_safetensors};
use vtb_nn::random;

use crate::qwen_image::{QwenImageTransformer, TransformerConfig};
use crate::{DiffusionError, files};

/// Deviation of biases.
pub(super) const BIAS: f32 = 0.02;
/// Bias of queries and keys that look at their own place: large beside what depends on the content, which is of size 1.
pub(super) const PLACE: f32 = 8.0;
/// Gain of queries and keys: makes attention sharp enough to tell neighbours apart.
pub(super) const SHARPNESS: f32 = 2.0;

/// Writes a `transformer` folder. Every tensor has a stream of its own, named by seed and name.
pub(super) fn write(
    dir: &Path,
    config: &TransformerConfig,
    seed: u64,
) -> Result<(), DiffusionError> {
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let values = values(&name, &shape, config, seed);
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

/// The values of a tensor.
///
/// Two things are not random, for an untrained model must not be without any way to do its task. The last layer is the
/// transpose of the first, so that what stands in a token can come out again. And half of the heads of pictures attend to
/// their own row and column, in the target and in every reference, by equal biases of queries and keys on the rotary pairs
/// of the highest frequencies. What to make of it is left to be learned.
fn values(name: &str, shape: &[usize], config: &TransformerConfig, seed: u64) -> Vec<f32> {
    let count = shape.iter().product();
    if name == "proj_out.weight" {
        let [outputs, width] = [shape[0], shape[1]];
        let first = normals(seed, "img_in.weight", count, 1.0 / (outputs as f32).sqrt());
        let scale = gain(name);
        let place = |i: usize| first[i % width * outputs + i / width] * scale;
        return (0..count).map(place).collect();
    }
    if name.ends_with(".norm_q.weight") || name.ends_with(".norm_k.weight") {
        return vec![SHARPNESS; count];
    }
    if let [_, inputs] = shape {
        return normals(seed, name, count, gain(name) / (*inputs as f32).sqrt());
    }
    if name.ends_with(".weight") {
        return vec![1.0; count];
    }
    let mut biases = normals(seed, name, count, BIAS);
    if name.ends_with(".to_q.bias") || name.ends_with(".to_k.bias") {
        let dim = config.attention_head_dim;
        let [frame, row, _] = config.axes_dims_rope;
        let looking = config.num_attention_heads.div_ceil(2);
        for head in biases.chunks_exact_mut(dim).take(looking) {
            // The first values of the pairs of the two highest frequencies of rows, and of columns.
            for at in [frame, frame + 2, frame + row, frame + row + 2] {
                if let Some(bias) = head.get_mut(at) {
                    *bias = PLACE;
                }
            }
        }
    }
    biases
}

/// How much larger the outputs of a matrix are than its inputs.
///
/// The features of a noise level have a mean square of a half, and SiLU takes away as much again, twice: the embedding is
/// enlarged, so that what follows it is of the size of 1 and differs between levels. Shifts, scales and gates are then about
/// 0.2. The first velocities are those of a model that takes everything it sees for noise.
fn gain(name: &str) -> f32 {
    let of = [
        ("timestep_embedder.linear_1.weight", 2.0),
        ("timestep_embedder.linear_2.weight", 1.5),
        ("_mod.1.weight", 0.2),
        ("norm_out.linear.weight", 0.1),
        ("proj_out.weight", 0.6),
    ];
    let found = of.iter().find(|(end, _)| name.ends_with(end));
    found.map_or(1.0, |(_, gain)| *gain)
}

/// Normal numbers of a stream named by the tensor.
pub(super) fn normals(seed: u64, name: &str, count: usize, deviation: f32) -> Vec<f32> {
    let mut rng = random::named(seed, name);
    (0..count)
        .map(|_| random::pair(&mut rng)[0] as f32 * deviation)
        .collect()
}
