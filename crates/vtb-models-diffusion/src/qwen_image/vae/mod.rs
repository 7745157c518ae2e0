//! The autoencoder of Qwen-Image (AutoencoderKLQwenImage) on single pictures: a convolutional network between pictures and
//! latents an eighth of their size.
//!
//! It runs outside autodiff. On the CPU it holds three pictures of the widest stage at a time and nothing larger: with the
//! published sizes about 1.3 GB for a megapixel in f32, beside 0.2 GB of weights.

mod config;
mod decoder;
mod encoder;
mod names;

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};
use vtb_nn::NnError;
use vtb_nn::checkpoint::{Checkpoint, RenamedSource, TensorSource};
use vtb_nn::device::cpu_device;
use vtb_nn::loader::Loader;
use vtb_nn::velocity::Latent;

pub use config::VaeConfig;
use decoder::Decoder;
use encoder::Encoder;

use crate::DiffusionError;
use crate::causal::{Pointwise, each_channel};
use crate::files;

/// A picture on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Colours, height, width.
    pub shape: [usize; 3],
    /// Row-major values in -1..=1, as many as the shape says.
    pub values: Vec<f32>,
}

/// Pictures to latents and back.
#[derive(Debug, Clone)]
pub struct QwenImageVae {
    config: VaeConfig,
    encoder: Encoder,
    quant_conv: Pointwise,
    post_quant_conv: Pointwise,
    decoder: Decoder,
    device: Device,
    dtype: DType,
}

/// Every tensor of a file of this configuration, by its diffusers name, with its whole shape: taps along time included, as
/// are convolutions along time, which single pictures do not use.
///
/// # Errors
/// The sizes do not go together.
pub fn tensors(config: &VaeConfig) -> Result<BTreeMap<String, Vec<usize>>, DiffusionError> {
    config.validate()?;
    let loader = Loader::shapes_only(&cpu_device(), DType::F32);
    QwenImageVae::build(&loader, config.clone(), &cpu_device(), DType::F32);
    Ok(loader.shapes())
}

impl QwenImageVae {
    /// Reads a `vae` folder: `config.json` and `diffusion_pytorch_model.safetensors`, or its shards, with the names of
    /// diffusers or of Wan 2.1 (ComfyUI). `dtype` is that of weights and activations; norms are computed in f32.
    ///
    /// # Errors
    /// The folder or a file is missing or damaged, the configuration is of another model, a tensor is missing, has another
    /// shape, or is not of this model.
    pub fn load(
        dir: impl AsRef<Path>,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, DiffusionError> {
        let dir = dir.as_ref();
        if !dir.is_dir() {
            let message = format!(
                "is no directory; expected the folder of an autoencoder with {} and {}.safetensors",
                files::CONFIG,
                files::WEIGHTS_STEM
            );
            return Err(DiffusionError::file(dir, message));
        }
        let config = VaeConfig::read(dir.join(files::CONFIG))?;
        Self::from_source(&Checkpoint::open(dir)?, config, device, dtype)
    }

    /// As [`QwenImageVae::load`] from tensors alone, such as a single file that comes without a configuration
    /// ([`VaeConfig::published`]).
    ///
    /// # Errors
    /// As [`QwenImageVae::load`].
    pub fn from_source(
        source: &dyn TensorSource,
        config: VaeConfig,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, DiffusionError> {
        config.validate()?;
        let source = RenamedSource::new(source, |name| names::diffusers_name(name, &config))?;
        let loader = Loader::from_source(&source, device, dtype);
        let vae = Self::build(&loader, config, device, dtype);
        loader.finish(|_| false)?;
        Ok(vae)
    }

    fn build(loader: &Loader<'_>, config: VaeConfig, device: &Device, dtype: DType) -> Self {
        let z = config.z_dim;
        Self {
            encoder: Encoder::load(&loader.pp("encoder"), &config),
            quant_conv: Pointwise::causal(&loader.pp("quant_conv"), 2 * z, 2 * z),
            post_quant_conv: Pointwise::causal(&loader.pp("post_quant_conv"), z, z),
            decoder: Decoder::load(&loader.pp("decoder"), &config),
            config,
            device: device.clone(),
            dtype,
        }
    }

    /// Sizes and constants.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The mean latent of a picture, each channel less its mean and divided by its deviation: what the transformer sees.
    /// `[z, 1, height/f, width/f]`.
    ///
    /// # Errors
    /// The picture has other colours than the model, no pixels, sides that are no multiple of [`VaeConfig::factor`], or
    /// fewer or more values than its shape says.
    pub fn encode(&self, picture: &Picture) -> Result<Latent, DiffusionError> {
        let mut latent = self.encode_raw(picture)?;
        let (mean, deviation) = (&self.config.latents_mean, &self.config.latents_std);
        each_channel(&mut latent, mean, deviation, |x, mean, std| {
            (x - mean) / std
        });
        Ok(latent)
    }

    /// The picture of a latent that [`QwenImageVae::encode`] could have made, clamped to -1..=1.
    ///
    /// # Errors
    /// The latent has other channels than the model, more than one frame, no values, or fewer or more than its shape says.
    pub fn decode(&self, latent: &Latent) -> Result<Picture, DiffusionError> {
        let mut latent = latent.clone();
        self.check_latent(&latent)?;
        let (mean, deviation) = (&self.config.latents_mean, &self.config.latents_std);
        each_channel(&mut latent, mean, deviation, |x, mean, std| x * std + mean);
        let mut picture = self.decode_raw(&latent)?;
        for value in &mut picture.values {
            *value = value.clamp(-1.0, 1.0);
        }
        Ok(picture)
    }

    /// The mean latent as the network makes it.
    ///
    /// # Errors
    /// As [`QwenImageVae::encode`].
    pub fn encode_raw(&self, picture: &Picture) -> Result<Latent, DiffusionError> {
        let [colours, height, width] = picture.shape;
        let (wanted, factor) = (self.config.input_channels, self.config.factor());
        if colours != wanted {
            return Err(DiffusionError::input(format!(
                "a picture of {colours} colours for an autoencoder of {wanted}"
            )));
        }
        if height == 0 || width == 0 || height % factor != 0 || width % factor != 0 {
            return Err(DiffusionError::input(format!(
                "a picture of {height}×{width} pixels (height × width): the autoencoder takes sides that are multiples of \
                 {factor}; scale or crop it"
            )));
        }
        fits(&picture.values, picture.shape, "picture")?;
        let x = self.upload(&picture.values, picture.shape);
        let moments = self.quant_conv.forward(self.encoder.forward(x));
        let (values, [z, height, width]) = download(moments.narrow(2, 0, self.config.z_dim))?;
        Ok(Latent {
            shape: [z, 1, height, width],
            values,
        })
    }

    /// The picture as the network makes it from a latent with the means and deviations of [`QwenImageVae::encode_raw`];
    /// values may lie outside -1..=1.
    ///
    /// # Errors
    /// As [`QwenImageVae::decode`].
    pub fn decode_raw(&self, latent: &Latent) -> Result<Picture, DiffusionError> {
        self.check_latent(latent)?;
        let [z, _, height, width] = latent.shape;
        let x = self.upload(&latent.values, [z, height, width]);
        let picture = self.decoder.forward(self.post_quant_conv.forward(x));
        let (values, shape) = download(picture)?;
        Ok(Picture { shape, values })
    }

    fn check_latent(&self, latent: &Latent) -> Result<(), DiffusionError> {
        let ([z, frames, height, width], wanted) = (latent.shape, self.config.z_dim);
        let fault = if z != wanted {
            format!("a latent of {z} channels for an autoencoder of {wanted}")
        } else if frames != 1 {
            format!("a latent of {frames} frames; this autoencoder makes single pictures")
        } else if height == 0 || width == 0 {
            format!("a latent of {height}×{width} values a channel makes no picture")
        } else {
            return fits(&latent.values, [z, height, width], "latent");
        };
        Err(DiffusionError::input(fault))
    }

    /// Planes `[channels, height, width]` as a channel-last tensor.
    fn upload(&self, values: &[f32], shape: [usize; 3]) -> Tensor<3> {
        let data = TensorData::new(values.to_vec(), shape);
        Tensor::<3>::from_data(data, (&self.device, self.dtype)).permute([1, 2, 0])
    }
}

/// There are as many values as the shape says.
fn fits(values: &[f32], [c, h, w]: [usize; 3], what: &str) -> Result<(), DiffusionError> {
    let count = c.checked_mul(h).and_then(|n| n.checked_mul(w));
    if count == Some(values.len()) {
        return Ok(());
    }
    Err(DiffusionError::input(format!(
        "a {what} of {c}×{h}×{w} values comes with {}",
        values.len()
    )))
}

/// Planes `[channels, height, width]` of a channel-last tensor, with their shape.
fn download(x: Tensor<3>) -> Result<(Vec<f32>, [usize; 3]), DiffusionError> {
    let planes = x.permute([2, 0, 1]).cast(DType::F32);
    let shape = planes.dims();
    let values = planes.into_data().try_into_vec::<f32>();
    let values = values.map_err(|e| NnError::input(format!("the result cannot be read: {e:?}")))?;
    Ok((values, shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_model_has_the_published_tensors() {
        let tensors = tensors(&VaeConfig::published()).unwrap();
        assert_eq!(tensors.len(), 194);
        let values: usize = tensors.values().map(|s| s.iter().product::<usize>()).sum();
        assert_eq!(values, 126_892_531);
        let shape = |name: &str| tensors[name].as_slice();
        assert_eq!(shape("encoder.conv_in.weight"), [96, 3, 3, 3, 3]);
        assert_eq!(
            shape("encoder.down_blocks.5.time_conv.weight"),
            [192, 192, 3, 1, 1]
        );
        assert_eq!(
            shape("decoder.up_blocks.1.upsamplers.0.time_conv.weight"),
            [768, 384, 3, 1, 1]
        );
        assert!(!tensors.contains_key("decoder.up_blocks.2.upsamplers.0.time_conv.weight"));
        assert_eq!(
            shape("decoder.mid_block.attentions.0.norm.gamma"),
            [384, 1, 1]
        );
    }
}
