//! Sizes of the transformer: `transformer/config.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::DiffusionError;
use crate::files;

/// The class named in the configuration.
pub(super) const CLASS: &str = "QwenImageTransformer2DModel";
/// Bounds that no published model comes near; above lie mistakes, and files made to exhaust memory.
const MAX_LAYERS: usize = 1024;
const MAX_WIDTH: usize = 1 << 16;

/// Configuration of a Qwen-Image transformer, named as in the published file. Epsilons are 1e-6, the rotary base is 10000
/// and MLPs are four times as wide as the model; files do not say so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TransformerConfig {
    /// Name of the class.
    #[serde(rename = "_class_name", default = "class")]
    pub class_name: String,
    /// Side of a patch of the latent.
    pub patch_size: usize,
    /// Values of a token: latent channels times `patch_size²`.
    pub in_channels: usize,
    /// Channels of the latent.
    pub out_channels: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Width of a head.
    pub attention_head_dim: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Width of the text states.
    pub joint_attention_dim: usize,
    /// Guidance as an input; no published edit model has it.
    #[serde(default)]
    pub guidance_embeds: bool,
    /// How a head is shared by frame, row and column.
    pub axes_dims_rope: [usize; 3],
    /// Whether references are seen at noise level 0 (2511); absent in older models.
    #[serde(default)]
    pub zero_cond_t: bool,
    /// A further condition of layered models; not supported.
    #[serde(default)]
    pub use_additional_t_cond: bool,
    /// Positions of layered models; not supported.
    #[serde(default)]
    pub use_layer3d_rope: bool,
}

fn class() -> String {
    CLASS.to_owned()
}

impl TransformerConfig {
    /// The published sizes of Qwen-Image-Edit-2511.
    pub fn published() -> Self {
        Self {
            class_name: class(),
            patch_size: 2,
            in_channels: 64,
            out_channels: 16,
            num_layers: 60,
            attention_head_dim: 128,
            num_attention_heads: 24,
            joint_attention_dim: 3584,
            guidance_embeds: false,
            axes_dims_rope: [16, 56, 56],
            zero_cond_t: true,
            use_additional_t_cond: false,
            use_layer3d_rope: false,
        }
    }

    /// Reads and checks `config.json` of a `transformer` folder.
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

    /// Checks sizes that were not read from a file.
    ///
    /// # Errors
    /// They do not go together.
    pub fn validate(&self) -> Result<(), DiffusionError> {
        self.fault()
            .map_or(Ok(()), |fault| Err(DiffusionError::input(fault)))
    }

    /// Writes `config.json` into a folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), DiffusionError> {
        files::write_json(&dir.join(files::CONFIG), self)
    }

    /// Width of the residual stream.
    pub fn width(&self) -> usize {
        self.attention_head_dim * self.num_attention_heads
    }

    fn fault(&self) -> Option<String> {
        if self.class_name != CLASS {
            return Some(format!(
                "`_class_name` is `{}`, expected {CLASS}",
                self.class_name
            ));
        }
        for (key, on) in [
            ("guidance_embeds", self.guidance_embeds),
            ("use_additional_t_cond", self.use_additional_t_cond),
            ("use_layer3d_rope", self.use_layer3d_rope),
        ] {
            if on {
                return Some(format!("`{key}` is true: models with it are not supported"));
            }
        }
        let sizes = [
            ("patch_size", self.patch_size, 16),
            ("in_channels", self.in_channels, MAX_WIDTH),
            ("out_channels", self.out_channels, MAX_WIDTH),
            ("num_layers", self.num_layers, MAX_LAYERS),
            ("attention_head_dim", self.attention_head_dim, 1024),
            ("num_attention_heads", self.num_attention_heads, 1024),
            ("joint_attention_dim", self.joint_attention_dim, MAX_WIDTH),
        ];
        for (key, value, most) in sizes {
            if !(1..=most).contains(&value) {
                return Some(format!("`{key}` is {value}, it must lie in 1..={most}"));
            }
        }
        if self.width() > MAX_WIDTH {
            return Some(format!(
                "a width of {} is more than {MAX_WIDTH}",
                self.width()
            ));
        }
        let cells = self.patch_size * self.patch_size;
        if self.in_channels != self.out_channels * cells {
            return Some(format!(
                "`in_channels` is {}, but {} channels in patches of {}² make {}",
                self.in_channels,
                self.out_channels,
                self.patch_size,
                self.out_channels * cells
            ));
        }
        let axes = self.axes_dims_rope;
        let sum: usize = axes.iter().fold(0, |sum, axis| sum.saturating_add(*axis));
        if sum != self.attention_head_dim || axes.iter().any(|axis| axis % 2 != 0) {
            return Some(format!(
                "`axes_dims_rope` {axes:?} must be even and sum to `attention_head_dim` {}",
                self.attention_head_dim
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sizes_hold_together() {
        let config = TransformerConfig::published();
        config.validate().unwrap();
        assert_eq!(config.width(), 3072);
    }

    #[test]
    fn faults_name_file_and_field() {
        let dir = tempfile::tempdir().unwrap();
        let good = serde_json::to_value(TransformerConfig::published()).unwrap();
        let cases = [
            ("num_layers", serde_json::json!(0), "num_layers"),
            ("num_layers", serde_json::json!("many"), "invalid type"),
            ("zero_cond_t", serde_json::json!("yes"), "invalid type"),
            ("in_channels", serde_json::json!(16), "in_channels"),
            (
                "axes_dims_rope",
                serde_json::json!([16, 56, 55]),
                "axes_dims_rope",
            ),
            ("use_layer3d_rope", serde_json::json!(true), "not supported"),
            (
                "_class_name",
                serde_json::json!("Other"),
                "expected QwenImage",
            ),
        ];
        for (key, value, word) in cases {
            let mut bad = good.clone();
            bad[key] = value;
            std::fs::write(dir.path().join("config.json"), bad.to_string()).unwrap();
            let error = TransformerConfig::from_dir(dir.path())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("config.json") && error.contains(word),
                "{error}"
            );
        }
        let mut short = good;
        short.as_object_mut().unwrap().remove("num_layers");
        std::fs::write(dir.path().join("config.json"), short.to_string()).unwrap();
        let error = TransformerConfig::from_dir(dir.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("missing field `num_layers`"), "{error}");
    }
}
