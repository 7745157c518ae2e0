//! Sizes and constants of the autoencoder: `vae/config.json`.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::DiffusionError;
use crate::files;

/// The class named in the configuration.
const CLASS: &str = "AutoencoderKLQwenImage";
/// Bounds that no published model comes near; above lie mistakes, and files made to exhaust memory.
const MAX_WIDTH: usize = 8192;
const MAX_CHANNELS: usize = 1024;
const MAX_STAGES: usize = 8;
const MAX_BLOCKS: usize = 64;

/// Configuration of the autoencoder, named as in the published file.
#[derive(Debug, Clone, PartialEq)]
pub struct VaeConfig {
    /// Channels at full size.
    pub base_dim: usize,
    /// Channels of a latent.
    pub z_dim: usize,
    /// Channels of every stage, in multiples of `base_dim`; between two stages sides halve.
    pub dim_mult: Vec<usize>,
    /// Residual blocks of a stage of the encoder; the decoder has one more.
    pub num_res_blocks: usize,
    /// Which halvings halve time as well. One frame passes them like the others; the file holds a weight more.
    pub temperal_downsample: Vec<bool>,
    /// Colours of a picture.
    pub input_channels: usize,
    /// Mean of every latent channel.
    pub latents_mean: Vec<f64>,
    /// Deviation of every latent channel.
    pub latents_std: Vec<f64>,
}

impl VaeConfig {
    /// The published sizes and constants.
    pub fn published() -> Self {
        Self {
            base_dim: 96,
            z_dim: 16,
            dim_mult: vec![1, 2, 4, 4],
            num_res_blocks: 2,
            temperal_downsample: vec![false, true, true],
            input_channels: 3,
            latents_mean: vec![
                -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134,
                -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
            ],
            latents_std: vec![
                2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526,
                2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
            ],
        }
    }

    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    /// The file is missing or malformed, describes another model, or holds a setting this model does not have; file and
    /// field are named.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, DiffusionError> {
        let path = path.as_ref();
        let fields: Map<String, Value> = files::read_json(path)?;
        Self::parse(fields).map_err(|fault| DiffusionError::file(path, fault))
    }

    /// Writes a `config.json` that diffusers reads too.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), DiffusionError> {
        let value = json!({
            "_class_name": CLASS,
            "attn_scales": [],
            "base_dim": self.base_dim,
            "dim_mult": self.dim_mult,
            "dropout": 0.0,
            "input_channels": self.input_channels,
            "latents_mean": self.latents_mean,
            "latents_std": self.latents_std,
            "num_res_blocks": self.num_res_blocks,
            "temperal_downsample": self.temperal_downsample,
            "z_dim": self.z_dim,
        });
        files::write_json(path.as_ref(), &value)
    }

    /// Checks sizes that were not read from a file.
    ///
    /// # Errors
    /// They do not go together.
    pub fn validate(&self) -> Result<(), DiffusionError> {
        self.check().map_err(DiffusionError::input)
    }

    /// Pixels along a side for each value of a latent: 8 as published.
    pub fn factor(&self) -> usize {
        1 << (self.dim_mult.len() - 1)
    }

    /// Channels of every stage, at full size first.
    pub(super) fn widths(&self) -> Vec<usize> {
        self.dim_mult.iter().map(|m| m * self.base_dim).collect()
    }

    /// Names that begin with an underscore say how the file came about; but for the class they are passed over.
    fn parse(mut fields: Map<String, Value>) -> Result<Self, String> {
        let class: String = take(&mut fields, "_class_name")?;
        if class != CLASS {
            return Err(format!("`_class_name` is `{class}`, expected {CLASS}"));
        }
        let config = Self {
            base_dim: take(&mut fields, "base_dim")?,
            z_dim: take(&mut fields, "z_dim")?,
            dim_mult: take(&mut fields, "dim_mult")?,
            num_res_blocks: take(&mut fields, "num_res_blocks")?,
            temperal_downsample: take(&mut fields, "temperal_downsample")?,
            input_channels: take_or(&mut fields, "input_channels", 3)?,
            latents_mean: take(&mut fields, "latents_mean")?,
            latents_std: take(&mut fields, "latents_std")?,
        };
        let scales: Vec<f64> = take_or(&mut fields, "attn_scales", Vec::new())?;
        if !scales.is_empty() {
            return Err(format!(
                "`attn_scales` is {scales:?}: attention outside the middle is not supported, it must be empty"
            ));
        }
        // No part of inference.
        let _: f64 = take_or(&mut fields, "dropout", 0.0)?;
        if let Some(name) = fields.keys().find(|name| !name.starts_with('_')) {
            return Err(format!("`{name}` is no setting of {CLASS}"));
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let sizes = [
            ("base_dim", self.base_dim, MAX_WIDTH),
            ("z_dim", self.z_dim, MAX_CHANNELS),
            ("num_res_blocks", self.num_res_blocks, MAX_BLOCKS),
            ("input_channels", self.input_channels, MAX_CHANNELS),
            ("the length of `dim_mult`", self.dim_mult.len(), MAX_STAGES),
        ];
        for (key, value, most) in sizes {
            if !(1..=most).contains(&value) {
                let key = if key.contains(' ') {
                    key.to_owned()
                } else {
                    format!("`{key}`")
                };
                return Err(format!("{key} is {value}, it must lie in 1..={most}"));
            }
        }
        let stages = self.dim_mult.len();
        for (i, multiple) in self.dim_mult.iter().enumerate() {
            let width = multiple.saturating_mul(self.base_dim);
            // The decoder halves the channels of all but its last stage.
            let least = if i == 0 { 1 } else { 2 };
            if !(least..=MAX_WIDTH).contains(&width) {
                return Err(format!(
                    "`dim_mult` makes stage {i} {width} channels wide, it must be {least} to {MAX_WIDTH}"
                ));
            }
        }
        if self.temperal_downsample.len() != stages - 1 {
            return Err(format!(
                "`temperal_downsample` has {} entries; between the {stages} stages of `dim_mult` lie {}",
                self.temperal_downsample.len(),
                stages - 1
            ));
        }
        files::check_latents(self.z_dim, &self.latents_mean, &self.latents_std)
    }
}

fn take<T: DeserializeOwned>(fields: &mut Map<String, Value>, key: &str) -> Result<T, String> {
    let value = fields
        .remove(key)
        .ok_or_else(|| format!("lacks the field `{key}`"))?;
    serde_json::from_value(value).map_err(|e| format!("`{key}`: {e}"))
}

fn take_or<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    key: &str,
    default: T,
) -> Result<T, String> {
    if fields.contains_key(key) {
        take(fields, key)
    } else {
        Ok(default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let config = VaeConfig::published();
        config.validate().unwrap();
        assert_eq!(config.factor(), 8);
        config.write(&path).unwrap();
        assert_eq!(VaeConfig::read(&path).unwrap(), config);
        let mut older: Value = files::read_json(&path).unwrap();
        older.as_object_mut().unwrap().remove("input_channels");
        older["_diffusers_version"] = json!("0.34.0.dev0");
        files::write_json(&path, &older).unwrap();
        assert_eq!(VaeConfig::read(&path).unwrap(), config);
    }

    #[test]
    fn faults_name_file_and_field() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        VaeConfig::published().write(&path).unwrap();
        let good: Value = files::read_json(&path).unwrap();
        let cases = [
            ("_class_name", json!("AutoencoderKLWan")),
            ("base_dim", json!(0)),
            ("base_dim", json!("wide")),
            ("base_dim", json!(1u64 << 40)),
            ("z_dim", json!(8)),
            ("dim_mult", json!([])),
            ("dim_mult", json!([1, 0, 4, 4])),
            ("dim_mult", json!([1, 2, 4, u64::MAX])),
            ("num_res_blocks", json!(-1)),
            ("temperal_downsample", json!([true])),
            ("attn_scales", json!([0.5])),
            ("latents_mean", json!([0.0])),
            ("latents_std", json!(vec![0.0; 16])),
            ("latents_std", json!(vec![-1.0; 16])),
            ("latents_mean", json!(vec![1e300; 16])),
            ("is_residual", json!(true)),
        ];
        for (key, value) in cases {
            let mut bad = good.clone();
            bad[key] = value.clone();
            files::write_json(&path, &bad).unwrap();
            let error = VaeConfig::read(&path).unwrap_err().to_string();
            let named = key == "z_dim" || error.contains(key);
            assert!(
                named && error.contains("config.json"),
                "{key} {value}: {error}"
            );
        }
        for key in ["_class_name", "z_dim", "latents_std", "temperal_downsample"] {
            let mut short = good.clone();
            short.as_object_mut().unwrap().remove(key);
            files::write_json(&path, &short).unwrap();
            let error = VaeConfig::read(&path).unwrap_err().to_string();
            assert!(
                error.contains(key) && error.contains("config.json"),
                "{error}"
            );
        }
        let error = VaeConfig::read(dir.path().join("no.json")).unwrap_err();
        assert!(error.to_string().contains("no.json"), "{error}");
    }
}
