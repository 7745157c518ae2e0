//! The autoencoder of Wan 2.2 (AutoencoderKLWan): a causal convolutional network between clips and latents of a sixteenth
//! of their sides and a quarter of their frames.
//!
//! It runs outside autodiff and in pieces of a clip, after each of which only what layers look back at stays in memory: the
//! results do not depend on the pieces. The first frame of a latent is that of the first picture alone.

mod clip;
mod config;
mod decoder;
mod encoder;
mod tiles;

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{DType, Device};
use vtb_nn::checkpoint::{Checkpoint, TensorSource};
use vtb_nn::device::cpu_device;
use vtb_nn::loader::Loader;
use vtb_nn::velocity::Latent;

pub use clip::Clip;
use clip::{host, patched, unpatched};
pub use config::VaeConfig;
use decoder::Decoder;
use encoder::Encoder;
pub use tiles::Tiling;

use crate::DiffusionError;
use crate::causal::{Frames, Memory, Pointwise, each_channel};
use crate::files;

/// Clips to latents and back.
#[derive(Debug, Clone)]
pub struct WanVae {
    config: VaeConfig,
    encoder: Encoder,
    quant_conv: Pointwise,
    post_quant_conv: Pointwise,
    decoder: Decoder,
    device: Device,
    dtype: DType,
    /// Frames of the latent that are run at once; 0 runs a clip whole. More frames take more memory and launch less.
    pub piece: usize,
}

/// Every tensor of a file of this configuration, by its diffusers name, with its shape.
///
/// # Errors
/// The sizes do not go together.
pub fn tensors(config: &VaeConfig) -> Result<BTreeMap<String, Vec<usize>>, DiffusionError> {
    config.validate()?;
    let loader = Loader::shapes_only(&cpu_device(), DType::F32);
    WanVae::build(&loader, config.clone(), &cpu_device(), DType::F32);
    Ok(loader.shapes())
}

impl WanVae {
    /// Reads a `vae` folder of diffusers: `config.json` and `diffusion_pytorch_model.safetensors`, or its shards. `dtype` is
    /// that of weights and activations; norms are computed in f32.
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
        let config = VaeConfig::read(dir.join(files::CONFIG))?;
        Self::from_source(&Checkpoint::open(dir)?, config, device, dtype)
    }

    /// As [`WanVae::load`] from tensors alone, with the names of diffusers.
    ///
    /// # Errors
    /// As [`WanVae::load`].
    pub fn from_source(
        source: &dyn TensorSource,
        config: VaeConfig,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, DiffusionError> {
        config.validate()?;
        let loader = Loader::from_source(source, device, dtype);
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
            piece: 1,
        }
    }

    /// Sizes and constants.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The mean latent of a clip, each channel less its mean and divided by its deviation: what the transformer sees.
    /// `[z, (frames-1)/4 + 1, height/16, width/16]` with the published sizes.
    ///
    /// # Errors
    /// The clip has other colours, no frames or a number of them that does not fit, sides that are no multiple of
    /// [`VaeConfig::factor`], or fewer or more values than its shape says.
    pub fn encode(&self, clip: &Clip) -> Result<Latent, DiffusionError> {
        let mut latent = self.encode_raw(clip)?;
        let (mean, deviation) = (&self.config.latents_mean, &self.config.latents_std);
        each_channel(&mut latent, mean, deviation, |x, mean, std| {
            (x - mean) / std
        });
        Ok(latent)
    }

    /// The clip of a latent that [`WanVae::encode`] could have made, clamped to -1..=1.
    ///
    /// # Errors
    /// The latent has other channels than the model, no values, or fewer or more than its shape says.
    pub fn decode(&self, latent: &Latent) -> Result<Clip, DiffusionError> {
        self.check_latent(latent)?;
        let mut latent = latent.clone();
        let (mean, deviation) = (&self.config.latents_mean, &self.config.latents_std);
        each_channel(&mut latent, mean, deviation, |x, mean, std| x * std + mean);
        let mut clip = self.decode_raw(&latent)?;
        for value in &mut clip.values {
            *value = value.clamp(-1.0, 1.0);
        }
        Ok(clip)
    }

    /// As [`WanVae::decode`], in tiles that overlap: memory is that of a tile.
    ///
    /// # Errors
    /// As [`WanVae::decode`]; the tiling leaves gaps.
    pub fn decode_tiled(&self, latent: &Latent, tiling: Tiling) -> Result<Clip, DiffusionError> {
        self.check_latent(latent)?;
        tiles::decode(latent, tiling, self.config.factor(), |tile| {
            self.decode(tile)
        })
    }

    /// The mean latent as the network makes it.
    ///
    /// # Errors
    /// As [`WanVae::encode`].
    pub fn encode_raw(&self, clip: &Clip) -> Result<Latent, DiffusionError> {
        clip.check(self.config.factor(), self.config.frame_factor())?;
        let [_, frames, height, width] = clip.shape;
        let (factor, z) = (self.config.factor(), self.config.z_dim);
        let patch = self.config.patch();
        let count = (frames - 1) / self.config.frame_factor() + 1;
        let mut latent = Latent::zeros([z, count, height / factor, width / factor]);
        let mut memory = Memory::default();
        let (mut read, mut made) = (0, 0);
        while read < frames {
            let piece = self.piece_of(frames - read, read == 0);
            let place = (&self.device, self.dtype);
            let upload = |at| patched(&clip.values, clip.shape, at, patch, place);
            let x = (read..read + piece).map(upload).collect();
            read += piece;
            for moments in self.encoder.forward(x, &mut memory) {
                let mean = self.quant_conv.forward(moments).narrow(2, 0, z);
                let planes = host(mean.permute([2, 0, 1]))?;
                place_frame(&mut latent, made, &planes);
                made += 1;
            }
        }
        Ok(latent)
    }

    /// The clip as the network makes it from a latent with the means and deviations of [`WanVae::encode_raw`]; values may
    /// lie outside -1..=1.
    ///
    /// # Errors
    /// As [`WanVae::decode`].
    pub fn decode_raw(&self, latent: &Latent) -> Result<Clip, DiffusionError> {
        self.check_latent(latent)?;
        let [_, frames, height, width] = latent.shape;
        let factor = self.config.factor();
        let count = (frames - 1) * self.config.frame_factor() + 1;
        let (height, width) = (height * factor, width * factor);
        let patch = self.config.patch();
        let colours = self.config.out_channels / (patch * patch);
        let mut clip = Latent::zeros([colours, count, height, width]);
        let mut memory = Memory::default();
        let (mut read, mut made) = (0, 0);
        while read < frames {
            let piece = match self.piece {
                0 => frames,
                piece => piece.min(frames - read),
            };
            let place = (&self.device, self.dtype);
            let upload = |at| {
                let x = patched(&latent.values, latent.shape, at, 1, place);
                self.post_quant_conv.forward(x)
            };
            let x: Frames = (read..read + piece).map(upload).collect();
            read += piece;
            for frame in self.decoder.forward(x, &mut memory) {
                place_frame(&mut clip, made, &unpatched(frame, patch)?);
                made += 1;
            }
        }
        Ok(Clip {
            shape: clip.shape,
            values: clip.values,
        })
    }

    /// Frames of the next piece of a clip: those of whole frames of the latent.
    fn piece_of(&self, left: usize, first: bool) -> usize {
        let factor = self.config.frame_factor();
        match self.piece {
            0 => left,
            piece if first => (1 + (piece - 1) * factor).min(left),
            piece => (piece * factor).min(left),
        }
    }

    fn check_latent(&self, latent: &Latent) -> Result<(), DiffusionError> {
        let ([z, frames, height, width], wanted) = (latent.shape, self.config.z_dim);
        let fault = if z != wanted {
            format!("a latent of {z} channels for an autoencoder of {wanted}")
        } else if frames == 0 || height == 0 || width == 0 {
            format!("a latent of shape {:?} makes no clip", latent.shape)
        } else if !latent.is_whole() {
            format!(
                "a latent of shape {:?} comes with {} values",
                latent.shape,
                latent.values.len()
            )
        } else {
            return Ok(());
        };
        Err(DiffusionError::input(fault))
    }
}

/// Puts planes `[channels, height, width]` in the place of frame `at`.
fn place_frame(into: &mut Latent, at: usize, planes: &[f32]) {
    let (frames, len) = (into.shape[1], into.frame_len());
    for (c, plane) in planes.chunks_exact(len).enumerate() {
        let start = (c * frames + at) * len;
        into.values[start..start + len].copy_from_slice(plane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_model_has_the_published_tensors() {
        let tensors = tensors(&VaeConfig::published()).unwrap();
        assert_eq!(tensors.len(), 196);
        let values: usize = tensors.values().map(|s| s.iter().product::<usize>()).sum();
        assert_eq!(values, 704_688_668);
    }
}
