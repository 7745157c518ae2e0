//! Sizes of the transformer: `config.json`, as diffusers or as the original files have it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::DiffusionError;
use crate::files;

/// The class named in the configuration of diffusers.
const CLASS: &str = "WanTransformer3DModel";
/// The class named in the original configuration.
const ORIGINAL_CLASS: &str = "WanModel";
/// Rows of text a transformer sees; shorter prompts are filled up with zeros.
pub const TEXT_LEN: usize = 512;
/// Bounds that no published model comes near; above lie mistakes, and files made to exhaust memory.
const MAX_LAYERS: usize = 1024;
const MAX_WIDTH: usize = 1 << 17;
/// Positions along an axis for which the reference has frequencies.
pub const MAX_POSITION: usize = 1024;

/// Configuration of a Wan transformer that makes clips from text and a first picture (TI2V), with the names of diffusers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WanConfig {
    /// Name of the class.
    #[serde(rename = "_class_name", default = "class")]
    pub class_name: String,
    /// Frames, rows and columns of the latent that make a token; one frame.
    pub patch_size: [usize; 3],
    /// Heads.
    pub num_attention_heads: usize,
    /// Width of a head.
    pub attention_head_dim: usize,
    /// Channels of the latent.
    pub in_channels: usize,
    /// Channels of the velocity, the same.
    pub out_channels: usize,
    /// Width of the text states.
    pub text_dim: usize,
    /// Sines and cosines of a noise level.
    pub freq_dim: usize,
    /// Width inside the MLPs.
    pub ffn_dim: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Whether the norm before cross-attention has gain and bias; all published models have them.
    pub cross_attn_norm: bool,
    /// Norm of queries and keys: over all heads at once.
    pub qk_norm: Option<String>,
    /// Epsilon of every norm.
    pub eps: f64,
    /// Width of picture states in image-to-video models of Wan 2.1; not supported.
    #[serde(default)]
    pub image_dim: Option<usize>,
    /// Keys of pictures in the same models; not supported.
    #[serde(default)]
    pub added_kv_proj_dim: Option<usize>,
    /// Positions along an axis.
    #[serde(default = "max_position")]
    pub rope_max_seq_len: usize,
    /// Learned positions of pictures in the same models; not supported.
    #[serde(default)]
    pub pos_embed_seq_len: Option<usize>,
    /// Rows of text the model sees. diffusers leaves this to its pipeline.
    #[serde(default = "text_len", skip_serializing_if = "is_text_len")]
    pub text_len: usize,
}

/// The original form.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Original {
    #[serde(rename = "_class_name", default = "original_class")]
    class_name: String,
    #[serde(default = "ti2v")]
    model_type: String,
    dim: usize,
    eps: f64,
    ffn_dim: usize,
    freq_dim: usize,
    in_dim: usize,
    num_heads: usize,
    num_layers: usize,
    out_dim: usize,
    #[serde(default = "text_len")]
    text_len: usize,
    #[serde(default = "text_dim")]
    text_dim: usize,
    #[serde(default = "patch")]
    patch_size: [usize; 3],
}

fn class() -> String {
    CLASS.to_owned()
}

fn original_class() -> String {
    ORIGINAL_CLASS.to_owned()
}

fn ti2v() -> String {
    "ti2v".to_owned()
}

fn text_len() -> usize {
    TEXT_LEN
}

fn is_text_len(len: &usize) -> bool {
    *len == TEXT_LEN
}

fn text_dim() -> usize {
    4096
}

fn patch() -> [usize; 3] {
    [1, 2, 2]
}

fn max_position() -> usize {
    MAX_POSITION
}

fn across_heads() -> Option<String> {
    Some("rms_norm_across_heads".to_owned())
}

impl WanConfig {
    /// The published sizes of Wan2.2-TI2V-5B.
    pub fn published() -> Self {
        Self {
            class_name: class(),
            patch_size: patch(),
            num_attention_heads: 24,
            attention_head_dim: 128,
            in_channels: 48,
            out_channels: 48,
            text_dim: text_dim(),
            freq_dim: 256,
            ffn_dim: 14336,
            num_layers: 30,
            cross_attn_norm: true,
            qk_norm: across_heads(),
            eps: 1e-6,
            image_dim: None,
            added_kv_proj_dim: None,
            rope_max_seq_len: MAX_POSITION,
            pos_embed_seq_len: None,
            text_len: TEXT_LEN,
        }
    }

    /// Reads and checks the `config.json` of a folder, in either form.
    ///
    /// # Errors
    /// The file is missing or malformed, or describes another model; file and field are named.
    pub fn from_dir(dir: &Path) -> Result<Self, DiffusionError> {
        let path = dir.join(files::CONFIG);
        let fields: serde_json::Value = files::read_json(&path)?;
        let malformed = |e: serde_json::Error| DiffusionError::file(&path, e.to_string());
        let class = fields.get("_class_name").and_then(|c| c.as_str());
        let config = if class == Some(ORIGINAL_CLASS) {
            Self::from_original(serde_json::from_value(fields).map_err(malformed)?)
        } else {
            Ok(serde_json::from_value(fields).map_err(malformed)?)
        };
        let config = config.map_err(|fault| DiffusionError::file(&path, fault))?;
        match config.fault() {
            Some(fault) => Err(DiffusionError::file(&path, fault)),
            None => Ok(config),
        }
    }

    /// Checks sizes that were not read from a file.
    ///
    /// # Errors
    /// They do not go together.
    pub fn validate(&self) -> Result<(), DiffusionError> {
        self.fault()
            .map_or(Ok(()), |fault| Err(DiffusionError::input(fault)))
    }

    /// Writes `config.json` into a folder as diffusers has it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), DiffusionError> {
        files::write_json(&dir.join(files::CONFIG), self)
    }

    /// Writes `config.json` into a folder as the original files have it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_original(&self, dir: &Path) -> Result<(), DiffusionError> {
        let original = Original {
            class_name: original_class(),
            model_type: ti2v(),
            dim: self.width(),
            eps: self.eps,
            ffn_dim: self.ffn_dim,
            freq_dim: self.freq_dim,
            in_dim: self.in_channels,
            num_heads: self.num_attention_heads,
            num_layers: self.num_layers,
            out_dim: self.out_channels,
            text_len: self.text_len,
            text_dim: self.text_dim,
            patch_size: self.patch_size,
        };
        files::write_json(&dir.join(files::CONFIG), &original)
    }

    /// Width of the residual stream.
    pub fn width(&self) -> usize {
        self.attention_head_dim * self.num_attention_heads
    }

    /// How a head is shared by frame, row and column: rows and columns get two values for every six, the frame the rest.
    pub fn axes(&self) -> [usize; 3] {
        let side = 2 * (self.attention_head_dim / 6);
        [self.attention_head_dim - 2 * side, side, side]
    }

    fn from_original(original: Original) -> Result<Self, String> {
        if original.model_type != "ti2v" {
            return Err(format!(
                "`model_type` is `{}`: only `ti2v` models are supported",
                original.model_type
            ));
        }
        let heads = original.num_heads;
        if heads == 0 || !original.dim.is_multiple_of(heads) {
            return Err(format!(
                "`dim` is {}, which {heads} heads do not share evenly",
                original.dim
            ));
        }
        Ok(Self {
            patch_size: original.patch_size,
            num_attention_heads: heads,
            attention_head_dim: original.dim / heads,
            in_channels: original.in_dim,
            out_channels: original.out_dim,
            text_dim: original.text_dim,
            freq_dim: original.freq_dim,
            ffn_dim: original.ffn_dim,
            num_layers: original.num_layers,
            eps: original.eps,
            text_len: original.text_len,
            ..Self::published()
        })
    }

    fn fault(&self) -> Option<String> {
        if self.class_name != CLASS {
            return Some(format!(
                "`_class_name` is `{}`, expected {CLASS} or {ORIGINAL_CLASS}",
                self.class_name
            ));
        }
        for (key, set) in [
            ("image_dim", self.image_dim.is_some()),
            ("added_kv_proj_dim", self.added_kv_proj_dim.is_some()),
            ("pos_embed_seq_len", self.pos_embed_seq_len.is_some()),
        ] {
            if set {
                return Some(format!(
                    "`{key}` is set: models of Wan 2.1 that see pictures by an encoder are not supported"
                ));
            }
        }
        if !self.cross_attn_norm || self.qk_norm != across_heads() {
            return Some(
                "`cross_attn_norm` must be true and `qk_norm` `rms_norm_across_heads`: other models are not supported"
                    .into(),
            );
        }
        let [frames, rows, columns] = self.patch_size;
        if frames != 1 || rows != columns {
            return Some(format!(
                "`patch_size` is {:?}, it must be one frame of as many rows as columns",
                self.patch_size
            ));
        }
        let sizes = [
            ("patch_size", rows, 16),
            ("in_channels", self.in_channels, MAX_WIDTH),
            ("out_channels", self.out_channels, MAX_WIDTH),
            ("num_layers", self.num_layers, MAX_LAYERS),
            ("attention_head_dim", self.attention_head_dim, 1024),
            ("num_attention_heads", self.num_attention_heads, 1024),
            ("text_dim", self.text_dim, MAX_WIDTH),
            ("freq_dim", self.freq_dim, MAX_WIDTH),
            ("ffn_dim", self.ffn_dim, MAX_WIDTH),
            ("text_len", self.text_len, 1 << 16),
        ];
        for (key, value, most) in sizes {
            if !(1..=most).contains(&value) {
                return Some(format!("`{key}` is {value}, it must lie in 1..={most}"));
            }
        }
        if self.in_channels != self.out_channels {
            return Some(format!(
                "`in_channels` is {} and `out_channels` {}: models with conditions in further channels are not supported",
                self.in_channels, self.out_channels
            ));
        }
        if !self.freq_dim.is_multiple_of(2)
            || !self.attention_head_dim.is_multiple_of(2)
            || self.attention_head_dim < 6
        {
            return Some(
                "`freq_dim` and `attention_head_dim` must be even, `attention_head_dim` at least 6"
                    .into(),
            );
        }
        if !(self.eps > 0.0 && self.eps < 1.0) {
            return Some(format!(
                "`eps` is {}, it must lie between 0 and 1",
                self.eps
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sizes_hold_together_in_both_forms() {
        let config = WanConfig::published();
        config.validate().unwrap();
        assert_eq!(config.width(), 3072);
        assert_eq!(config.axes(), [44, 42, 42]);
        let dir = tempfile::tempdir().unwrap();
        config.write(dir.path()).unwrap();
        assert_eq!(WanConfig::from_dir(dir.path()).unwrap(), config);
        config.write_original(dir.path()).unwrap();
        assert_eq!(WanConfig::from_dir(dir.path()).unwrap(), config);
    }

    #[test]
    fn faults_name_file_and_field() {
        let dir = tempfile::tempdir().unwrap();
        let good = serde_json::to_value(WanConfig::published()).unwrap();
        let cases = [
            ("num_layers", serde_json::json!(0), "num_layers"),
            ("ffn_dim", serde_json::json!("wide"), "invalid type"),
            ("image_dim", serde_json::json!(1280), "image_dim"),
            ("patch_size", serde_json::json!([2, 2, 2]), "patch_size"),
            ("qk_norm", serde_json::json!(null), "qk_norm"),
            ("in_channels", serde_json::json!(36), "in_channels"),
            ("eps", serde_json::json!(-1.0), "eps"),
            ("_class_name", serde_json::json!("Other"), "expected Wan"),
        ];
        for (key, value, word) in cases {
            let mut bad = good.clone();
            bad[key] = value;
            std::fs::write(dir.path().join("config.json"), bad.to_string()).unwrap();
            let error = WanConfig::from_dir(dir.path()).unwrap_err().to_string();
            assert!(
                error.contains("config.json") && error.contains(word),
                "{error}"
            );
        }
        let other = serde_json::json!({"_class_name": "WanModel", "model_type": "i2v", "dim": 64, "eps": 1e-6,
            "ffn_dim": 64, "freq_dim": 32, "in_dim": 36, "num_heads": 2, "num_layers": 1, "out_dim": 16});
        std::fs::write(dir.path().join("config.json"), other.to_string()).unwrap();
        let error = WanConfig::from_dir(dir.path()).unwrap_err().to_string();
        assert!(error.contains("model_type"), "{error}");
    }
}
