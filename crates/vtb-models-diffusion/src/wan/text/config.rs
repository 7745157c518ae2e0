//! Sizes of UMT5: `config.json` of transformers, or the shapes of the tensors where there is no such file.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;
use vtb_nn::checkpoint::TensorSource;

use super::super::names::WanPart;
use crate::{DiffusionError, files};

/// The kind of model named in the configuration.
const MODEL_TYPE: &str = "umt5";
/// A gate with the tanh form of GELU.
const GATED_GELU: &str = "gated-gelu";

/// Configuration of the encoder of a UMT5, named as in the published file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Umt5Config {
    /// Kind of model; a plain T5 shares one table of positions between layers and is not supported.
    pub model_type: String,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream, and of the states.
    pub d_model: usize,
    /// Width of a head.
    pub d_kv: usize,
    /// Width inside the MLPs.
    pub d_ff: usize,
    /// Heads.
    pub num_heads: usize,
    /// Layers of the encoder.
    pub num_layers: usize,
    /// Distances that are told apart, both directions together.
    #[serde(default = "buckets")]
    pub relative_attention_num_buckets: usize,
    /// Distance from which on all are one.
    #[serde(default = "max_distance")]
    pub relative_attention_max_distance: usize,
    /// Epsilon of every norm.
    #[serde(default = "epsilon")]
    pub layer_norm_epsilon: f64,
    /// Form of the MLPs.
    #[serde(default = "gated_gelu")]
    pub feed_forward_proj: String,
}

fn buckets() -> usize {
    32
}

fn max_distance() -> usize {
    128
}

fn epsilon() -> f64 {
    1e-6
}

fn gated_gelu() -> String {
    GATED_GELU.to_owned()
}

impl Umt5Config {
    /// The published sizes of UMT5-XXL.
    pub fn published() -> Self {
        Self {
            model_type: MODEL_TYPE.to_owned(),
            vocab_size: 256_384,
            d_model: 4096,
            d_kv: 64,
            d_ff: 10_240,
            num_heads: 64,
            num_layers: 24,
            relative_attention_num_buckets: buckets(),
            relative_attention_max_distance: max_distance(),
            layer_norm_epsilon: epsilon(),
            feed_forward_proj: gated_gelu(),
        }
    }

    /// Reads and checks `config.json` of a `text_encoder` folder.
    ///
    /// # Errors
    /// The file is missing or malformed, or describes another model; file and field are named.
    pub fn from_dir(dir: &Path) -> Result<Self, DiffusionError> {
        let path = dir.join(files::CONFIG);
        let config: Self = files::read_json(&path)?;
        config.fault().map_or(Ok(config.clone()), |fault| {
            Err(DiffusionError::file(&path, fault))
        })
    }

    /// The sizes of weights that come without a configuration, with original names or those of transformers. What shapes do
    /// not tell is as published: the largest distance and epsilon.
    ///
    /// # Errors
    /// A tensor that tells a size is missing or has another rank, or sizes do not go together.
    pub fn of_shapes(source: &dyn TensorSource) -> Result<Self, DiffusionError> {
        let names: std::collections::BTreeMap<String, String> = source
            .names()
            .into_iter()
            .map(|name| (WanPart::TextEncoder.diffusers(&name), name))
            .collect();
        let sides = |name: &str| {
            let info = names.get(name).and_then(|stored| source.info(stored));
            match info.as_ref().map(|info| info.shape.as_slice()) {
                Some(&[rows, columns]) => Ok([rows, columns]),
                _ => Err(DiffusionError::file(
                    source.origin(),
                    format!("has no matrix `{name}`; are these the weights of a UMT5 encoder?"),
                )),
            }
        };
        let table = if names.contains_key("shared.weight") {
            "shared.weight"
        } else {
            "encoder.embed_tokens.weight"
        };
        let [vocab_size, d_model] = sides(table)?;
        let attention = "encoder.block.0.layer.0.SelfAttention";
        let [inner, _] = sides(&format!("{attention}.q.weight"))?;
        let [buckets, heads] = sides(&format!("{attention}.relative_attention_bias.weight"))?;
        let [d_ff, _] = sides("encoder.block.0.layer.1.DenseReluDense.wi_0.weight")?;
        let layers = (0..).take_while(|layer| {
            names.contains_key(&format!("encoder.block.{layer}.layer.0.layer_norm.weight"))
        });
        let config = Self {
            vocab_size,
            d_model,
            d_kv: inner.checked_div(heads).unwrap_or_default(),
            d_ff,
            num_heads: heads,
            num_layers: layers.count(),
            relative_attention_num_buckets: buckets,
            ..Self::published()
        };
        config.fault().map_or(Ok(config.clone()), |fault| {
            Err(DiffusionError::file(source.origin(), fault))
        })
    }

    /// Checks sizes that were not read from a file.
    ///
    /// # Errors
    /// They do not go together.
    pub fn validate(&self) -> Result<(), DiffusionError> {
        self.fault()
            .map_or(Ok(()), |fault| Err(DiffusionError::input(fault)))
    }

    /// Writes `config.json` into a folder, with what transformers wants beside the sizes.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), DiffusionError> {
        let path = dir.join(files::CONFIG);
        let fail = |e: serde_json::Error| DiffusionError::file(&path, e.to_string());
        let mut value = serde_json::to_value(self).map_err(fail)?;
        let others = [
            ("architectures", json!(["UMT5EncoderModel"])),
            ("is_encoder_decoder", json!(true)),
            ("num_decoder_layers", json!(self.num_layers)),
            ("pad_token_id", json!(0)),
            ("eos_token_id", json!(1)),
            ("decoder_start_token_id", json!(0)),
            ("dropout_rate", json!(0.0)),
            ("tie_word_embeddings", json!(false)),
            ("torch_dtype", json!("float32")),
        ];
        for (key, other) in others {
            value[key] = other;
        }
        files::write_json(&path, &value)
    }

    /// Width of all heads.
    pub fn inner(&self) -> usize {
        self.d_kv * self.num_heads
    }

    fn fault(&self) -> Option<String> {
        for (key, found, expected) in [
            ("model_type", &self.model_type, MODEL_TYPE),
            ("feed_forward_proj", &self.feed_forward_proj, GATED_GELU),
        ] {
            if found != expected {
                return Some(format!("`{key}` is `{found}`, expected {expected}"));
            }
        }
        // Bounds that no published model comes near; above lie mistakes, and files made to exhaust memory.
        let sizes = [
            ("vocab_size", self.vocab_size, 1 << 22),
            ("d_model", self.d_model, 1 << 16),
            ("d_kv", self.d_kv, 1 << 10),
            ("d_ff", self.d_ff, 1 << 18),
            ("num_heads", self.num_heads, 1 << 10),
            ("num_layers", self.num_layers, 1 << 10),
        ];
        for (key, value, most) in sizes {
            if !(1..=most).contains(&value) {
                return Some(format!("`{key}` is {value}, it must lie in 1..={most}"));
            }
        }
        let (buckets, far) = (
            self.relative_attention_num_buckets,
            self.relative_attention_max_distance,
        );
        if !(4..=1024).contains(&buckets) || !buckets.is_multiple_of(4) {
            return Some(format!(
                "`relative_attention_num_buckets` is {buckets}, it must be a multiple of 4 in 4..=1024"
            ));
        }
        if far <= buckets / 4 || far > 1 << 20 {
            return Some(format!(
                "`relative_attention_max_distance` is {far}, it must be more than {} and at most {}",
                buckets / 4,
                1 << 20
            ));
        }
        let eps = self.layer_norm_epsilon;
        if !(eps > 0.0 && eps < 0.1) {
            return Some(format!(
                "`layer_norm_epsilon` is {eps}, it must lie between 0 and 0.1"
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sizes_hold_together_and_come_back() {
        let config = Umt5Config::published();
        config.validate().unwrap();
        assert_eq!(config.inner(), 4096);
        let dir = tempfile::tempdir().unwrap();
        config.write(dir.path()).unwrap();
        assert_eq!(Umt5Config::from_dir(dir.path()).unwrap(), config);
    }

    #[test]
    fn faults_name_file_and_field() {
        let dir = tempfile::tempdir().unwrap();
        let good = serde_json::to_value(Umt5Config::published()).unwrap();
        let cases = [
            ("model_type", json!("t5"), "model_type"),
            ("feed_forward_proj", json!("relu"), "gated-gelu"),
            ("num_layers", json!(0), "num_layers"),
            ("num_layers", json!(-1), "invalid value"),
            ("vocab_size", json!(1u64 << 40), "vocab_size"),
            ("relative_attention_num_buckets", json!(30), "multiple of 4"),
            ("relative_attention_max_distance", json!(8), "more than 8"),
            ("layer_norm_epsilon", json!(0), "layer_norm_epsilon"),
            ("d_model", json!(null), "invalid type"),
        ];
        for (key, value, word) in cases {
            let mut bad = good.clone();
            bad[key] = value;
            std::fs::write(dir.path().join("config.json"), bad.to_string()).unwrap();
            let error = Umt5Config::from_dir(dir.path()).unwrap_err().to_string();
            assert!(
                error.contains("config.json") && error.contains(word),
                "{error}"
            );
        }
    }
}
