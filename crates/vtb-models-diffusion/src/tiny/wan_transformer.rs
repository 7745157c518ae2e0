//! A transformer of clips with random weights that an adapter can learn on at once.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use vtb_nn::checkpoint::{MemorySource, save_safetensors};

use super::transformer::{BIAS, PLACE, SHARPNESS, normals};
use crate::wan::{WanConfig, WanTransformer};
use crate::{DiffusionError, files};

/// Gates of self-attention and MLP.
const GATE: f32 = 0.3;

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

/// The values of a tensor.
///
/// As with pictures ([`super::transformer`]) some things are not random, for an untrained model must not be without any way
/// to do its task. The last layer is the transpose of the first. Half of the heads attend to their own row and column, in
/// every frame of the clip, and hand on what stands there: their values are what the first layer was given, their output
/// is what it made of it. Gates are open by half. What to make of it is left to be learned.
fn values(name: &str, shape: &[usize], config: &WanConfig, seed: u64) -> Vec<f32> {
    let count = shape.iter().product();
    if name == "proj_out.weight" {
        return transposed(count, config, seed);
    }
    if name.ends_with("attn1.to_v.weight") || name.ends_with("attn1.to_out.0.weight") {
        return handing_on(name, config, seed);
    }
    if name.ends_with("scale_shift_table") {
        let width = config.width();
        let mut table = normals(seed, name, count, BIAS);
        for gate in [2, 5] {
            for value in table.iter_mut().skip(gate * width).take(width) {
                *value += GATE;
            }
        }
        return table;
    }
    if name.ends_with(".norm_q.weight") || name.ends_with(".norm_k.weight") {
        return vec![SHARPNESS; count];
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
    let inputs = channels * cells;
    let first = first_layer(count, config, seed);
    let scale = gain("proj_out.weight");
    let value = |i: usize| {
        let (output, column) = (i / width, i % width);
        let (cell, channel) = (output / channels, output % channels);
        first[column * inputs + channel * cells + cell] * scale
    };
    (0..count).map(value).collect()
}

/// Values or output of self-attention: random, but for the heads that attend to their own place.
fn handing_on(name: &str, config: &WanConfig, seed: u64) -> Vec<f32> {
    let (width, dim) = (config.width(), config.attention_head_dim);
    let deviation = gain(name) / (width as f32).sqrt();
    let mut values = normals(seed, name, width * width, deviation);
    let looking = config.num_attention_heads.div_ceil(2) * dim;
    let inputs = config.in_channels * config.patch_size.iter().product::<usize>();
    let first = first_layer(width * inputs, config, seed);
    // The columns of the first layer are of length √(width/inputs), and nearly orthogonal.
    let inverse = inputs as f32 / width as f32;
    for i in 0..looking.min(inputs) {
        for column in 0..width {
            let made = first[column * inputs + i];
            match name.ends_with("to_v.weight") {
                true => values[i * width + column] = made * inverse,
                false => values[column * width + i] = made,
            }
        }
    }
    values
}

/// Weights of the layer that makes tokens of patches.
fn first_layer(count: usize, config: &WanConfig, seed: u64) -> Vec<f32> {
    let inputs = config.in_channels * config.patch_size.iter().product::<usize>();
    let deviation = 1.0 / (inputs as f32).sqrt();
    normals(seed, "patch_embedding.weight", count, deviation)
}

/// How much larger the outputs of a matrix are than its inputs, as with pictures.
fn gain(name: &str) -> f32 {
    let of = [
        ("time_embedder.linear_1.weight", 2.0),
        ("time_embedder.linear_2.weight", 0.15),
        ("time_proj.weight", 4.0),
        ("attn1.to_out.0.weight", 0.3),
        // Nothing gates what comes of the text.
        ("attn2.to_out.0.weight", 0.1),
        ("ffn.net.2.weight", 0.3),
        ("proj_out.weight", 0.6),
    ];
    let found = of.iter().find(|(end, _)| name.ends_with(end));
    found.map_or(1.0, |(_, gain)| *gain)
}
