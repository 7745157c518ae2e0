//! The encoder of UMT5: every layer has a table of its own for how far apart two tokens are.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::activation::softmax;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use vtb_nn::checkpoint::{Checkpoint, RenamedSource, TensorSource};
use vtb_nn::device::cpu_device;
use vtb_nn::loader::Loader;
use vtb_nn::ops::{Gelu, gelu, linear, rms_norm};

use super::super::names::WanPart;
use super::Umt5Config;
use crate::DiffusionError;

/// The embedding, and what transformers calls it a second time.
const SHARED: &str = "shared.weight";
const TIED: &str = "encoder.embed_tokens.weight";

/// Token ids to states.
///
/// Weights and products are of one type, the residual stream, norms and softmax are f32. It runs outside autodiff.
#[derive(Debug, Clone)]
pub struct Umt5Encoder {
    config: Umt5Config,
    /// `[vocab, d_model]`.
    embedding: Tensor<2>,
    layers: Vec<Layer>,
    norm: Norm,
    device: Device,
    dtype: DType,
}

#[derive(Debug, Clone)]
struct Norm {
    /// `[d_model]`, f32.
    weight: Tensor<1>,
    eps: f32,
}

#[derive(Debug, Clone)]
struct Layer {
    attention_norm: Norm,
    /// `[inner, d_model]`.
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    /// `[d_model, inner]`.
    o: Tensor<2>,
    /// `[heads, buckets]`, f32: added to scores.
    distance: Tensor<2>,
    mlp_norm: Norm,
    /// `[d_ff, d_model]`, with the activation.
    gate: Tensor<2>,
    /// `[d_ff, d_model]`.
    up: Tensor<2>,
    /// `[d_model, d_ff]`.
    down: Tensor<2>,
}

impl Umt5Encoder {
    /// Reads a `text_encoder` folder: `config.json` and `model.safetensors`, or its shards. `dtype` is that of weights and
    /// products.
    ///
    /// # Errors
    /// The folder or a file is missing or damaged, the configuration is of another model, a tensor is missing, has another
    /// shape, or is not of this model; or `dtype` is f16, whose range UMT5 exceeds.
    pub fn load(
        dir: impl AsRef<Path>,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, DiffusionError> {
        let dir = dir.as_ref();
        let config = Umt5Config::from_dir(dir)?;
        Self::from_source(config, &Checkpoint::open(dir)?, device, dtype)
    }

    /// As [`Umt5Encoder::load`] from tensors with the names of transformers or the original ones
    /// ([`Umt5Config::of_shapes`]).
    ///
    /// # Errors
    /// As [`Umt5Encoder::load`].
    pub fn from_source(
        config: Umt5Config,
        source: &dyn TensorSource,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, DiffusionError> {
        config.validate()?;
        if !matches!(dtype, DType::F32 | DType::BF16) {
            return Err(DiffusionError::input(format!(
                "a text encoder in {dtype:?}: its states leave the range of f16; use bf16 or f32"
            )));
        }
        let theirs = |name: &str| WanPart::TextEncoder.diffusers(name);
        let shared = source.names().iter().any(|name| theirs(name) == SHARED);
        let source = RenamedSource::new(source, |name| match theirs(name) {
            // Some writers keep only the second name of the embedding, some both.
            name if name == TIED && !shared => SHARED.to_owned(),
            name => name,
        })?;
        let loader = Loader::from_source(&source, device, dtype);
        let encoder = Self::build(&loader, config, device, dtype);
        loader.finish(|name| name == TIED)?;
        Ok(encoder)
    }

    /// Every tensor of a model of this configuration, by its name in transformers, with its shape.
    ///
    /// # Errors
    /// The sizes do not go together.
    pub fn tensors(config: &Umt5Config) -> Result<BTreeMap<String, Vec<usize>>, DiffusionError> {
        config.validate()?;
        let loader = Loader::shapes_only(&cpu_device(), DType::F32);
        Self::build(&loader, config.clone(), &cpu_device(), DType::F32);
        Ok(loader.shapes())
    }

    fn build(loader: &Loader<'_>, config: Umt5Config, device: &Device, dtype: DType) -> Self {
        let embedding = loader.param(SHARED, [config.vocab_size, config.d_model]);
        let encoder = loader.pp("encoder");
        let layers = (0..config.num_layers)
            .map(|layer| Layer::load(&encoder.pp("block").pp(layer), &config));
        Self {
            embedding: embedding.val(),
            layers: layers.collect(),
            norm: Norm::load(&encoder.pp("final_layer_norm"), &config),
            config,
            device: device.clone(),
            dtype,
        }
    }

    /// Sizes.
    pub fn config(&self) -> &Umt5Config {
        &self.config
    }

    /// States of a text after the last norm, `[ids, d_model]` in f32. There is no padding: all tokens see each other.
    ///
    /// # Errors
    /// There are no ids, or one that the embedding lacks.
    pub fn forward(&self, ids: &[u32]) -> Result<Tensor<2>, DiffusionError> {
        let rows = self.config.vocab_size;
        if let Some(id) = ids.iter().find(|id| **id as usize >= rows) {
            return Err(DiffusionError::input(format!(
                "token {id} is not among the {rows} of the text encoder; do tokenizer and text encoder belong together?"
            )));
        }
        if ids.is_empty() {
            return Err(DiffusionError::input(
                "a text of no tokens; even an empty one has its end",
            ));
        }
        let ids = ids.iter().map(|id| *id as i32).collect();
        let mut x = self
            .embedding
            .clone()
            .select(0, self.indices(ids))
            .cast(DType::F32);
        let buckets = self.indices(pair_buckets(x.dims()[0], &self.config));
        for layer in &self.layers {
            x = x.clone() + layer.attend(x, buckets.clone(), &self.config, self.dtype);
            x = x.clone() + layer.mlp(x, self.dtype);
        }
        Ok(self.norm.forward(x))
    }

    fn indices(&self, values: Vec<i32>) -> Tensor<1, Int> {
        let len = values.len();
        Tensor::from_data(TensorData::new(values, [len]), &self.device)
    }
}

impl Norm {
    fn load(loader: &Loader<'_>, config: &Umt5Config) -> Self {
        let weight = loader.param("weight", [config.d_model]);
        Self {
            weight: weight.val().cast(DType::F32),
            eps: config.layer_norm_epsilon as f32,
        }
    }

    /// `[rows, d_model]` in f32.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        rms_norm(x, self.weight.clone(), self.eps)
    }
}

impl Layer {
    fn load(loader: &Loader<'_>, config: &Umt5Config) -> Self {
        let (width, inner, hidden) = (config.d_model, config.inner(), config.d_ff);
        let first = loader.pp("layer.0");
        let attention = first.pp("SelfAttention");
        let second = loader.pp("layer.1");
        let mlp = second.pp("DenseReluDense");
        let matrix = |place: &Loader<'_>, name: &str, shape| {
            place.pp(name).param::<2>("weight", shape).val()
        };
        let distances = [config.relative_attention_num_buckets, config.num_heads];
        let distance = matrix(&attention, "relative_attention_bias", distances);
        Self {
            attention_norm: Norm::load(&first.pp("layer_norm"), config),
            q: matrix(&attention, "q", [inner, width]),
            k: matrix(&attention, "k", [inner, width]),
            v: matrix(&attention, "v", [inner, width]),
            o: matrix(&attention, "o", [width, inner]),
            distance: distance.cast(DType::F32).transpose(),
            mlp_norm: Norm::load(&second.pp("layer_norm"), config),
            gate: matrix(&mlp, "wi_0", [hidden, width]),
            up: matrix(&mlp, "wi_1", [hidden, width]),
            down: matrix(&mlp, "wo", [width, hidden]),
        }
    }

    /// `o(softmax(q·kᵀ + distance)·v)` of the normalised input; scores are not scaled. `buckets` has a number for every pair
    /// of tokens, of queries first.
    fn attend(
        &self,
        x: Tensor<2>,
        buckets: Tensor<1, Int>,
        config: &Umt5Config,
        dtype: DType,
    ) -> Tensor<2> {
        let (rows, heads, dim) = (x.dims()[0], config.num_heads, config.d_kv);
        let x = self.attention_norm.forward(x).cast(dtype);
        let by_head = |w: &Tensor<2>| {
            let y = linear(x.clone(), w.clone(), None);
            y.reshape([rows, heads, dim]).swap_dims(0, 1)
        };
        let (q, k, v) = (by_head(&self.q), by_head(&self.k), by_head(&self.v));
        let distance = self.distance.clone().select(1, buckets);
        let scores = q.matmul(k.swap_dims(1, 2)).cast(DType::F32);
        let scores = scores + distance.reshape([heads, rows, rows]);
        let seen = softmax(scores, 2).cast(dtype).matmul(v);
        let seen = seen.swap_dims(0, 1).reshape([rows, heads * dim]);
        linear(seen, self.o.clone(), None).cast(DType::F32)
    }

    /// `down(gelu(gate·n) ⊙ up·n)` of the normalised input, with the tanh form of GELU.
    fn mlp(&self, x: Tensor<2>, dtype: DType) -> Tensor<2> {
        let x = self.mlp_norm.forward(x).cast(dtype);
        let gate = gelu(linear(x.clone(), self.gate.clone(), None), Gelu::Tanh);
        let hidden = gate * linear(x, self.up.clone(), None);
        linear(hidden, self.down.clone(), None).cast(DType::F32)
    }
}

/// The bucket of every pair of `len` tokens, row by row of queries.
fn pair_buckets(len: usize, config: &Umt5Config) -> Vec<i32> {
    // Keys lie `1 - len` to `len - 1` places after queries.
    let last = len as i64 - 1;
    let of: Vec<i32> = (-last..=last).map(|far| bucket(far, config)).collect();
    (0..len)
        .flat_map(|query| of[len - 1 - query..2 * len - 1 - query].iter().copied())
        .collect()
}

/// The row of the table for a key `far` places after its query: one for every short distance, then ever wider ranges up to
/// the largest distance, first backwards, then forwards. Computed in f32, as transformers does.
fn bucket(far: i64, config: &Umt5Config) -> i32 {
    let half = config.relative_attention_num_buckets / 2;
    let exact = half / 2;
    let first = if far > 0 { half } else { 0 };
    let distance = far.unsigned_abs() as usize;
    let place = if distance < exact {
        distance
    } else {
        let range = config.relative_attention_max_distance as f64 / exact as f64;
        let share = (distance as f32 / exact as f32).ln() / range.ln() as f32;
        let place = exact + (share * (half - exact) as f32) as usize;
        place.min(half - 1)
    };
    (first + place) as i32
}

#[cfg(test)]
mod tests {
    use vtb_nn::checkpoint::MemorySource;

    use super::*;

    /// Sizes that are all different.
    fn small() -> Umt5Config {
        Umt5Config {
            vocab_size: 11,
            d_model: 12,
            d_kv: 5,
            d_ff: 14,
            num_heads: 2,
            num_layers: 2,
            ..Umt5Config::published()
        }
    }

    fn weights(rename: impl Fn(&str) -> String) -> MemorySource {
        let tensor = |(name, shape): (String, Vec<usize>)| {
            let mut rng = vtb_nn::random::named(1, &name);
            let values = vtb_nn::random::normals(&mut rng, shape.iter().product());
            (rename(&name), TensorData::new(values, shape))
        };
        let tensors = Umt5Encoder::tensors(&small()).unwrap();
        MemorySource::new("memory", tensors.into_iter().map(tensor).collect())
    }

    fn states(source: &dyn TensorSource, dtype: DType) -> Vec<f32> {
        let config = Umt5Config::of_shapes(source).unwrap();
        assert_eq!(config, small());
        let encoder = Umt5Encoder::from_source(config, source, &cpu_device(), dtype).unwrap();
        let states = encoder.forward(&[3, 10, 0, 3, 7]).unwrap();
        assert_eq!(states.dims(), [5, 12]);
        states.into_data().try_into_vec::<f32>().unwrap()
    }

    #[test]
    fn the_published_model_has_the_published_tensors() {
        let tensors = Umt5Encoder::tensors(&Umt5Config::published()).unwrap();
        assert_eq!(tensors.len(), 242);
        let values: usize = tensors.values().map(|s| s.iter().product::<usize>()).sum();
        assert_eq!(values, 5_680_910_336);
    }

    #[test]
    fn distances_fall_into_the_published_buckets() {
        let config = Umt5Config::published();
        let found: Vec<i32> = (-130..=130)
            .step_by(10)
            .map(|far| bucket(far, &config))
            .collect();
        let known = [
            15, 15, 15, 15, 14, 14, 14, 13, 13, 12, 11, 10, 8, 0, 24, 26, 27, 28, 29, 29, 30, 30,
            30, 31, 31, 31, 31,
        ];
        assert_eq!(found, known);
        // The ends of ranges, where rounding could show.
        for (far, place) in [
            (7, 7),
            (8, 8),
            (15, 9),
            (16, 10),
            (31, 11),
            (32, 12),
            (63, 13),
            (64, 14),
        ] {
            assert_eq!(bucket(-far, &config), place);
            assert_eq!(bucket(far, &config), place + 16);
        }
        assert_eq!(pair_buckets(3, &config), [0, 17, 18, 1, 0, 17, 2, 1, 0]);
        assert_eq!(pair_buckets(1, &config), [0]);
    }

    #[test]
    fn both_sets_of_names_and_either_name_of_the_embedding_lead_to_one() {
        let theirs = states(&weights(str::to_owned), DType::F32);
        let original = weights(|name| WanPart::TextEncoder.original(name));
        assert!(
            original
                .names()
                .contains(&"token_embedding.weight".to_owned())
        );
        assert_eq!(states(&original, DType::F32), theirs);
        let tied = weights(|name| if name == SHARED { TIED } else { name }.to_owned());
        assert_eq!(states(&tied, DType::F32), theirs);
        assert!(theirs.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn halves_are_close() {
        let (whole, half) = (
            states(&weights(str::to_owned), DType::F32),
            states(&weights(str::to_owned), DType::BF16),
        );
        let norm = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>().sqrt();
        let apart: Vec<f32> = whole.iter().zip(&half).map(|(a, b)| a - b).collect();
        assert!(
            norm(&apart) < 0.05 * norm(&whole),
            "{}",
            norm(&apart) / norm(&whole)
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let source = weights(str::to_owned);
        let load = |config, dtype| Umt5Encoder::from_source(config, &source, &cpu_device(), dtype);
        let error = load(small(), DType::F16).unwrap_err().to_string();
        assert!(error.contains("bf16"), "{error}");
        let mut config = small();
        config.num_layers = 3;
        let error = load(config, DType::F32).unwrap_err().to_string();
        assert!(error.contains("encoder.block.2"), "{error}");
        let encoder = load(small(), DType::F32).unwrap();
        let error = encoder.forward(&[3, 11]).unwrap_err().to_string();
        assert!(error.contains("token 11"), "{error}");
        assert!(encoder.forward(&[]).is_err());
        let empty = MemorySource::new("memory", BTreeMap::new());
        let error = Umt5Config::of_shapes(&empty).unwrap_err().to_string();
        assert!(
            error.contains("memory") && error.contains("embed_tokens"),
            "{error}"
        );
    }
}
