//! A transformer of clips with random weights that an adapter can learn on at once.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use vtb_nn::checkpoint::{MemorySource, save_safetensors};

use super::transformer::{BIAS, PLACE, SHARPNESS, normals};
use crate::wan::{WanConfig, WanTransformer};
use crate::{DiffusionError, files};

/// Writes a `transformer` folder. Every tensor has a stream of its own, named by seed and name.
pub(super) fn write(dir: &Path, config: &WanConfig, seed: u64) -> Result<(), DiffusionError> {
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let values = values(&name, &shape, config, seed);
        (name, TensorData::new(values, shape))
    };
    let tensors = WanTransformer::tensors(config)?;
    let source = MemorySource::new(
        "the tiny transformer of clips",
        tensors.into_iter().map(tensor).collect(),
    );
    config.write(dir)?;
    let path = dir.join(format!("{}.safetensors", files::WEIGHTS_STEM));
    Ok(save_safetensors(path, &source, &BTreeMap::new())?)
}

/// The values of a tensor. As with pictures ([`super::transformer`]) two things are not random: the last layer is the
/// transpose of the first, and half of the heads attend to their own row and column, here in every frame of the clip.
fn values(name: &str, shape: &[usize], config: &WanConfig, seed: u64) -> Vec<f32> {
    let count = shape.iter().product();
    if name == "proj_out.weight" {
        return transposed(count, config, seed);
    }
    if name.ends_with(".norm_q.weight") || name.ends_with(".norm_k.weight") {
        return vec![SHARPNESS; count];
    }
    if name.ends_with("scale_shift_table") {
        return normals(seed, name, count, BIAS);
    }
    if let [_, inputs, rest @ ..] = shape {
        let inputs = inputs * rest.iter().product::<usize>();
        return normals(seed, name, count, gain(name) / (inputs as f32).sqrt());
    }
    if name.ends_with(".weight") {
        return vec![1.0; count];
    }
    let mut biases = normals(seed, name, count, BIAS);
    if name.ends_with("attn1.to_q.bias") || name.ends_with("attn1.to_k.bias") {
        let dim = config.attention_head_dim;
        let [frame, row, _] = config.axes();
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

/// The first layer has the channel slowest among the values of a patch, the last has it fastest.
fn transposed(count: usize, config: &WanConfig, seed: u64) -> Vec<f32> {
    let (width, channels) = (config.width(), config.out_channels);
    let cells: usize = config.patch_size.iter().product();
    let name = "patch_embedding.weight";
    let inputs = channels * cells;
    let first = normals(seed, name, count, 1.0 / (inputs as f32).sqrt());
    let scale = gain("proj_out.weight");
    let value = |i: usize| {
        let (output, column) = (i / width, i % width);
        let (cell, channel) = (output / channels, output % channels);
        first[column * inputs + channel * cells + cell] * scale
    };
    (0..count).map(value).collect()
}

/// How much larger the outputs of a matrix are than its inputs, as with pictures.
fn gain(name: &str) -> f32 {
    let of = [
        ("time_embedder.linear_1.weight", 2.0),
        ("time_embedder.linear_2.weight", 1.5),
        ("time_proj.weight", 0.2),
        ("proj_out.weight", 0.6),
    ];
    let found = of.iter().find(|(end, _)| name.ends_with(end));
    found.map_or(1.0, |(_, gain)| *gain)
}
