//! A model that makes clips: what it is is checked first, its parts are loaded when they are needed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use burn::tensor::DType;
use vtb_lora::Adapter;
use vtb_models_diffusion::wan::vae::{Tiling, WanVae};
use vtb_models_diffusion::wan::{
    VideoInputs, VideoModelDir, WanTransformer, clip_latent, latent_clip, latent_shape,
    video_latent,
};
use vtb_models_vlm::processor::Rgb;
use vtb_nn::velocity::Latent;

use super::settings::ClipSettings;
use crate::edit::{Told, fitting};
use crate::model::Machine;

/// A model directory and an adapter that fits it. Of the model's weights nothing is read yet.
pub struct VideoModel {
    dir: VideoModelDir,
    adapter: Option<(Adapter, PathBuf)>,
}

impl VideoModel {
    /// Opens a directory in either layout, and an adapter of any form.
    ///
    /// # Errors
    /// A part of the model is missing; modules of the adapter that the transformer does not have, which are named.
    pub fn open(path: &Path, adapter: Option<&Path>) -> anyhow::Result<Self> {
        let dir = VideoModelDir::open(path)
            .with_context(|| format!("cannot use the model {}", path.display()))?;
        let adapter = match adapter {
            Some(path) => {
                let linears = WanTransformer::outline(&dir.transformer)?.linears();
                Some((fitting(path, &linears)?, path.to_owned()))
            }
            None => None,
        };
        Ok(Self { dir, adapter })
    }

    /// Shape of the latent of a clip: channels, frames, height and width in cells.
    pub fn latent_shape(&self, frames: usize, (width, height): (usize, usize)) -> [usize; 4] {
        latent_shape(self.dir.transformer.out_channels, frames, width, height)
    }

    /// Encodes `count` requests and loads what draws them. The text encoder leaves memory before the transformer
    /// arrives. `words` gives the prompt of a request, `picture` its first frame.
    ///
    /// # Errors
    /// As `picture`; weights that are missing or do not fit.
    pub fn prepare(
        self,
        machine: &Machine,
        settings: &ClipSettings,
        count: usize,
        words: &dyn Fn(usize) -> String,
        picture: &dyn Fn(usize) -> anyhow::Result<Rgb>,
        told: &Told,
    ) -> anyhow::Result<(ClipDrawing, Vec<VideoInputs>)> {
        let shown = self.dir.root().display().to_string();
        let load = || format!("cannot load the model {shown}");
        let (device, dtype) = (&machine.device, machine.dtype);
        let (texts, negative) = {
            told.note("loading the text encoder");
            let encoder = self.dir.load_text(device, dtype).with_context(load)?;
            told.begin("prompts", count);
            let negative = settings
                .guides()
                .then(|| encoder.encode(&settings.negative_prompt))
                .transpose()?
                .map(Arc::new);
            let encode = |index| {
                let states = encoder.encode(&words(index))?;
                told.step();
                anyhow::Ok(states)
            };
            let texts = (0..count).map(encode).collect::<anyhow::Result<Vec<_>>>()?;
            (texts, negative)
        };
        told.note("loading the autoencoder");
        // Rounding shows in flat colours, and it is small beside the transformer.
        let vae = self.dir.load_vae(device, DType::F32).with_context(load)?;
        told.begin("pictures", count);
        let mut inputs = Vec::with_capacity(count);
        for (index, text) in texts.into_iter().enumerate() {
            let picture = picture(index)?;
            let size = (picture.width, picture.height);
            inputs.push(VideoInputs {
                first: Some(clip_latent(&[picture], &vae)?),
                text,
                negative: negative.clone(),
                shape: self.latent_shape(settings.frames, size),
            });
            told.step();
        }
        told.note("loading the transformer");
        let loaded = self.dir.load_transformer(device, dtype);
        let mut transformer = loaded.with_context(load)?;
        if let Some((adapter, path)) = self.adapter {
            transformer.load_adapter(adapter, &path)?;
        }
        Ok((ClipDrawing { vae, transformer }, inputs))
    }
}

/// What turns encoded requests into clips.
pub struct ClipDrawing {
    vae: WanVae,
    transformer: WanTransformer,
}

impl ClipDrawing {
    /// Draws from `noise`: the latent and the frames. `step` hears of every step. `tiled` decodes in tiles, which takes
    /// less memory.
    ///
    /// # Errors
    /// The noise has another shape than the inputs ask for; a value is not finite.
    pub fn draw(
        &self,
        inputs: &VideoInputs,
        noise: Latent,
        settings: &ClipSettings,
        tiled: bool,
        step: &mut dyn FnMut(),
    ) -> anyhow::Result<(Latent, Vec<Rgb>)> {
        let sampling = settings.sampling();
        let latent = video_latent(inputs, &self.transformer, &sampling, noise, &mut |_, _| {
            step();
        })?;
        let frames = latent_clip(&latent, &self.vae, tiled.then(Tiling::default))?;
        Ok((latent, frames))
    }
}
