//! Sizes and constants of the autoencoder: `vae/config.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use vtb_nn::checkpoint::TensorSource;

use crate::DiffusionError;
use crate::files;

/// The class named in the configuration.
const CLASS: &str = "AutoencoderKLWan";
/// Colours of a picture.
pub(super) const COLOURS: usize = 3;
/// Bounds that no published model comes near; above lie mistakes, and files made to exhaust memory.
const MAX_WIDTH: usize = 8192;
const MAX_CHANNELS: usize = 1024;
const MAX_STAGES: usize = 8;
const MAX_BLOCKS: usize = 64;

/// Configuration of the autoencoder of Wan 2.2, named as diffusers has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VaeConfig {
    /// Name of the class.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Channels of the encoder at full size.
    pub base_dim: usize,
    /// Channels of the decoder at full size; as in the encoder where absent.
    #[serde(default)]
    pub decoder_base_dim: Option<usize>,
    /// Channels of a latent.
    pub z_dim: usize,
    /// Channels of every stage, in multiples of the base; between two stages sides halve.
    pub dim_mult: Vec<usize>,
    /// Residual blocks of a stage of the encoder; the decoder has one more.
    pub num_res_blocks: usize,
    /// Which halvings halve the number of frames as well.
    pub temperal_downsample: Vec<bool>,
    /// Whether stages have shortcuts, as in Wan 2.2; models without are not supported.
    #[serde(default)]
    pub is_residual: bool,
    /// Channels of a picture in patches.
    #[serde(default = "colours")]
    pub in_channels: usize,
    /// The same of the output.
    #[serde(default = "colours")]
    pub out_channels: usize,
    /// Side of a patch of pixels that makes one pixel of more channels.
    #[serde(default)]
    pub patch_size: Option<usize>,
    /// Attention outside the middle; must be empty.
    #[serde(default)]
    pub attn_scales: Vec<f64>,
    /// No part of inference.
    #[serde(default)]
    pub dropout: f64,
    /// Frames of a cell of the latent.
    #[serde(default = "four")]
    pub scale_factor_temporal: usize,
    /// Pixels of a cell of the latent, each way.
    #[serde(default = "eight")]
    pub scale_factor_spatial: usize,
    /// Mean of every latent channel.
    pub latents_mean: Vec<f64>,
    /// Deviation of every latent channel.
    pub latents_std: Vec<f64>,
}

fn colours() -> usize {
    COLOURS
}

fn four() -> usize {
    4
}

fn eight() -> usize {
    8
}

/// Means of the published latents. Source: `vae/config.json` of Wan2.2-TI2V-5B.
const MEAN: [f64; 48] = [
    -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813,
    0.0891, 0.1570, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108,
    -0.2158, 0.2502, -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313,
    -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944,
    0.3573, -0.0548, -0.1681, -0.0667,
];
/// Deviations of the published latents, from the same file.
const DEVIATION: [f64; 48] = [
    0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901,
    0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
    0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944,
    0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
];

impl VaeConfig {
    /// The published sizes and constants.
    pub fn published() -> Self {
        Self {
            class_name: CLASS.into(),
            base_dim: 160,
            decoder_base_dim: Some(256),
            z_dim: 48,
            dim_mult: vec![1, 2, 4, 4],
            num_res_blocks: 2,
            temperal_downsample: vec![false, true, true],
            is_residual: true,
            in_channels: 4 * COLOURS,
            out_channels: 4 * COLOURS,
            patch_size: Some(2),
            attn_scales: Vec::new(),
            dropout: 0.0,
            scale_factor_temporal: 4,
            scale_factor_spatial: 16,
            latents_mean: MEAN.to_vec(),
            latents_std: DEVIATION.to_vec(),
        }
    }

    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    /// The file is missing or malformed, or describes another model; file and field are named.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, DiffusionError> {
        let path = path.as_ref();
        let config: Self = files::read_json(path)?;
        match config.check() {
            Ok(()) => Ok(config),
            Err(fault) => Err(DiffusionError::file(path, fault)),
        }
    }

    /// The configuration of weights that come without one, from the shapes of tensors with the names of diffusers. The
    /// constants of latents are the published ones where there are 48 channels, else means of 0 and deviations of 1.
    ///
    /// # Errors
    /// Tensors are missing, or are those of another model.
    pub fn of_shapes(source: &dyn TensorSource) -> Result<Self, DiffusionError> {
        let fault = |what: String| DiffusionError::file(source.origin(), what);
        let first = |name: &str| -> Result<[usize; 2], DiffusionError> {
            let info = source.info(name);
            match info.as_ref().map(|i| i.shape.as_slice()) {
                Some([output, input, ..]) => Ok([*output, *input]),
                _ => Err(fault(format!("holds no convolution `{name}`"))),
            }
        };
        let has = |name: String| source.info(&name).is_some();
        let stages = (0..MAX_STAGES)
            .take_while(|i| has(format!("encoder.down_blocks.{i}.resnets.0.conv1.weight")))
            .count();
        let [base, patched] = first("encoder.conv_in.weight")?;
        let [decoder_width, z] = first("decoder.conv_in.weight")?;
        let mut dim_mult = Vec::with_capacity(stages);
        for i in 0..stages {
            let [width, _] = first(&format!("encoder.down_blocks.{i}.resnets.0.conv1.weight"))?;
            dim_mult.push(width / base.max(1));
        }
        let last = dim_mult.last().copied().unwrap_or(1).max(1);
        let config = Self {
            base_dim: base,
            decoder_base_dim: Some(decoder_width / last),
            z_dim: z,
            num_res_blocks: (0..MAX_BLOCKS)
                .take_while(|i| has(format!("encoder.down_blocks.0.resnets.{i}.conv1.weight")))
                .count(),
            temperal_downsample: (0..stages.saturating_sub(1))
                .map(|i| {
                    has(format!(
                        "encoder.down_blocks.{i}.downsampler.time_conv.weight"
                    ))
                })
                .collect(),
            in_channels: patched,
            out_channels: patched,
            patch_size: Some((patched / COLOURS).isqrt()),
            dim_mult,
            latents_mean: match z {
                48 => MEAN.to_vec(),
                z => vec![0.0; z],
            },
            latents_std: match z {
                48 => DEVIATION.to_vec(),
                z => vec![1.0; z],
            },
            ..Self::published()
        };
        let config = Self {
            scale_factor_spatial: config.factor(),
            scale_factor_temporal: config.frame_factor(),
            ..config
        };
        config.check().map_err(fault)?;
        Ok(config)
    }

    /// Writes a `config.json`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), DiffusionError> {
        files::write_json(path.as_ref(), self)
    }

    /// Checks sizes that were not read from a file.
    ///
    /// # Errors
    /// They do not go together.
    pub fn validate(&self) -> Result<(), DiffusionError> {
        self.check().map_err(DiffusionError::input)
    }

    /// Pixels along a side for each value of a latent: 16 as published.
    pub fn factor(&self) -> usize {
        self.patch() << self.dim_mult.len().saturating_sub(1)
    }

    /// Frames for each frame of a latent after the first: 4 as published.
    pub fn frame_factor(&self) -> usize {
        1 << self.temperal_downsample.iter().filter(|t| **t).count()
    }

    /// Side of a patch of pixels.
    pub(super) fn patch(&self) -> usize {
        self.patch_size.unwrap_or(1)
    }

    /// Channels of every stage of the encoder, at full size first.
    pub(super) fn widths(&self) -> Vec<usize> {
        self.dim_mult.iter().map(|m| m * self.base_dim).collect()
    }

    /// Channels of every stage of the decoder, at the size of the latent first.
    pub(super) fn decoder_widths(&self) -> Vec<usize> {
        let base = self.decoder_base_dim.unwrap_or(self.base_dim);
        self.dim_mult.iter().rev().map(|m| m * base).collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.class_name != CLASS {
            return Err(format!(
                "`_class_name` is `{}`, expected {CLASS}",
                self.class_name
            ));
        }
        if !self.is_residual {
            return Err(
                "`is_residual` is false: this is an autoencoder of Wan 2.1, only that of Wan 2.2 is supported".into(),
            );
        }
        if !self.attn_scales.is_empty() {
            return Err(
                "`attn_scales` is not empty: attention outside the middle is not supported".into(),
            );
        }
        let base = self.decoder_base_dim.unwrap_or(self.base_dim);
        let sizes = [
            ("base_dim", self.base_dim, MAX_WIDTH),
            ("decoder_base_dim", base, MAX_WIDTH),
            ("z_dim", self.z_dim, MAX_CHANNELS),
            ("num_res_blocks", self.num_res_blocks, MAX_BLOCKS),
            ("patch_size", self.patch(), 8),
            ("dim_mult.len()", self.dim_mult.len(), MAX_STAGES),
        ];
        for (key, value, most) in sizes {
            if !(1..=most).contains(&value) {
                return Err(format!("`{key}` is {value}, it must lie in 1..={most}"));
            }
        }
        let widest = self.base_dim.max(base);
        let narrow = |m: &&usize| **m == 0 || m.saturating_mul(widest) > MAX_WIDTH;
        if let Some(multiple) = self.dim_mult.iter().find(narrow) {
            return Err(format!(
                "`dim_mult` holds {multiple}, which makes a stage without channels or wider than {MAX_WIDTH}"
            ));
        }
        let stages = self.dim_mult.len();
        if self.temperal_downsample.len() != stages - 1 {
            return Err(format!(
                "`temperal_downsample` has {} entries; between the {stages} stages of `dim_mult` lie {}",
                self.temperal_downsample.len(),
                stages - 1
            ));
        }
        let patched = COLOURS * self.patch() * self.patch();
        for (key, value, wanted) in [
            ("in_channels", self.in_channels, patched),
            ("out_channels", self.out_channels, patched),
            (
                "scale_factor_spatial",
                self.scale_factor_spatial,
                self.factor(),
            ),
            (
                "scale_factor_temporal",
                self.scale_factor_temporal,
                self.frame_factor(),
            ),
        ] {
            if value != wanted {
                return Err(format!("`{key}` is {value}, the other sizes make {wanted}"));
            }
        }
        self.check_shortcuts()?;
        crate::files::check_latents(self.z_dim, &self.latents_mean, &self.latents_std)
    }

    /// Shortcuts divide the channels of a block among those of a stage.
    fn check_shortcuts(&self) -> Result<(), String> {
        let (down, up) = (self.widths(), self.decoder_widths());
        let mut input = self.base_dim;
        for (stage, output) in down.iter().enumerate() {
            let block = match self.temperal_downsample.get(stage) {
                Some(true) => 8,
                Some(false) => 4,
                None => 1,
            };
            if !(input * block).is_multiple_of(*output) {
                return Err(format!(
                    "`dim_mult` makes stage {stage} of the encoder {output} channels wide, which blocks of {input} do not \
                     divide into"
                ));
            }
            input = *output;
        }
        let mut input = up.first().copied().unwrap_or(1);
        for (stage, output) in up.iter().enumerate() {
            if let Some(time) = self.temperal_downsample.iter().rev().nth(stage) {
                let block = if *time { 8 } else { 4 };
                if !(output * block).is_multiple_of(input) {
                    return Err(format!(
                        "`dim_mult` makes stage {stage} of the decoder {output} channels wide, which {input} channels do \
                         not fill"
                    ));
                }
            }
            input = *output;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let config = VaeConfig::published();
        config.validate().unwrap();
        assert_eq!((config.factor(), config.frame_factor()), (16, 4));
        config.write(&path).unwrap();
        assert_eq!(VaeConfig::read(&path).unwrap(), config);
    }

    #[test]
    fn faults_name_file_and_field() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        VaeConfig::published().write(&path).unwrap();
        let good: Value = files::read_json(&path).unwrap();
        for (key, value) in [
            ("_class_name", json!("AutoencoderKLQwenImage")),
            ("is_residual", json!(false)),
            ("base_dim", json!(0)),
            ("base_dim", json!("wide")),
            ("dim_mult", json!([1, 0, 4, 4])),
            ("dim_mult", json!([1, 2, 4, u64::MAX])),
            ("dim_mult", json!([1, 9, 4, 4])),
            ("temperal_downsample", json!([true])),
            ("attn_scales", json!([0.5])),
            ("patch_size", json!(3)),
            ("scale_factor_spatial", json!(8)),
            ("scale_factor_temporal", json!(8)),
            ("latents_mean", json!([0.0])),
            ("latents_std", json!(vec![0.0; 48])),
        ] {
            let mut bad = good.clone();
            bad[key] = value.clone();
            files::write_json(&path, &bad).unwrap();
            let error = VaeConfig::read(&path).unwrap_err().to_string();
            let named =
                key == "patch_size" || error.contains(key) || error.contains("invalid type");
            assert!(
                named && error.contains("config.json"),
                "{key} {value}: {error}"
            );
        }
    }
}
