//! A model that edits: what it is is checked first, its parts are loaded when they are needed.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use vtb_lora::{Adapter, AdapterFile, LinearInfo};
use vtb_models_diffusion::qwen_image::vae::QwenImageVae;
use vtb_models_diffusion::qwen_image::{
    Activation, EditInputs, EditModelDir, EditRequest, EditTexts, QwenImageTransformer,
    edit_latent, latent_picture, latent_shape,
};
use vtb_models_vlm::processor::Rgb;
use vtb_nn::velocity::Latent;

use super::told::Told;
use crate::model::Machine;

/// Faults of an adapter that an error lists at most.
const MOST_FAULTS: usize = 8;

/// A model directory and an adapter that fits it. Of the model's weights nothing is read yet.
pub struct EditModel {
    dir: EditModelDir,
    adapter: Option<(Adapter, PathBuf)>,
}

impl EditModel {
    /// Opens a directory in the diffusers layout, and an adapter of any form.
    ///
    /// # Errors
    /// A part of the model is missing; modules of the adapter that the transformer does not have, which are named.
    pub fn open(path: &Path, adapter: Option<&Path>) -> anyhow::Result<Self> {
        let dir = EditModelDir::open(path)
            .with_context(|| format!("cannot use the model {}", path.display()))?;
        let adapter = match adapter {
            Some(path) => {
                let linears = QwenImageTransformer::outline(&dir.transformer)?.linears();
                Some((fitting(path, &linears)?, path.to_owned()))
            }
            None => None,
        };
        Ok(Self { dir, adapter })
    }

    /// Shape of the latent of a picture: channels, 1, height and width in cells.
    pub fn latent_shape(&self, (width, height): (usize, usize)) -> [usize; 4] {
        latent_shape(self.dir.transformer.out_channels, width, height)
    }

    /// Checks that the model's schedule has this many steps for a picture of this size.
    ///
    /// # Errors
    /// It has not.
    pub fn check_steps(&self, steps: usize, size: (usize, usize)) -> anyhow::Result<()> {
        let [_, _, height, width] = self.latent_shape(size);
        let patch = self.dir.transformer.patch_size;
        let tokens = (height / patch) * (width / patch);
        self.dir.scheduler.sigmas(steps, tokens)?;
        Ok(())
    }

    /// Encodes `count` requests and loads what draws them. The text encoder leaves memory before the transformer
    /// arrives. Every request is asked for twice, so that pictures need not stay in memory.
    ///
    /// # Errors
    /// As `request`; weights that are missing or do not fit.
    pub fn prepare(
        self,
        machine: &Machine,
        activation: Activation,
        count: usize,
        request: &dyn Fn(usize) -> anyhow::Result<EditRequest>,
        told: &Told,
    ) -> anyhow::Result<(Drawing, Vec<EditInputs>)> {
        let shown = self.dir.root().display().to_string();
        let load = || format!("cannot load the model {shown}");
        let (device, dtype) = (&machine.device, machine.dtype);
        let texts = {
            told.note("loading the text encoder");
            let prompts = self.dir.load_prompts(device, dtype).with_context(load)?;
            told.begin("prompts", count);
            let encode = |index| {
                let texts = EditTexts::encode(&request(index)?, &prompts)?;
                told.step();
                Ok(texts)
            };
            (0..count).map(encode).collect::<anyhow::Result<Vec<_>>>()?
        };
        told.note("loading the autoencoder");
        let vae = self.dir.load_vae(device, dtype).with_context(load)?;
        told.begin("references", count);
        let mut inputs = Vec::with_capacity(count);
        for (index, texts) in texts.into_iter().enumerate() {
            inputs.push(texts.with_references(&request(index)?, &vae)?);
            told.step();
        }
        told.note("loading the transformer");
        let loaded = self.dir.load_transformer(device, dtype);
        let mut transformer = loaded.with_context(load)?;
        transformer.options = activation;
        if let Some((adapter, path)) = self.adapter {
            transformer.load_adapter(adapter, &path)?;
        }
        let drawing = Drawing {
            dir: self.dir,
            vae,
            transformer,
        };
        Ok((drawing, inputs))
    }
}

/// What turns encoded requests into pictures.
pub struct Drawing {
    dir: EditModelDir,
    vae: QwenImageVae,
    transformer: QwenImageTransformer,
}

impl Drawing {
    /// Draws from `noise`: the latent and the picture. `step` hears of every step.
    ///
    /// # Errors
    /// The noise has another shape than the inputs ask for; a value is not finite.
    pub fn draw(
        &self,
        inputs: &EditInputs,
        noise: Latent,
        steps: usize,
        step: &mut dyn FnMut(),
    ) -> anyhow::Result<(Latent, Rgb)> {
        let patch = self.dir.transformer.patch_size;
        let latent = edit_latent(
            inputs,
            &self.transformer,
            patch,
            &self.dir.scheduler,
            steps,
            noise,
            &mut |_, _| step(),
        )?;
        let picture = latent_picture(&latent, &self.vae)?;
        Ok((latent, picture))
    }
}

/// An adapter of any form for a model with these layers. Everything that does not fit is told at once.
pub(crate) fn fitting(path: &Path, linears: &[LinearInfo]) -> anyhow::Result<Adapter> {
    let shown = path.display();
    let file = AdapterFile::open_any(path, Some(linears))
        .with_context(|| format!("cannot use the adapter {shown}"))?;
    let faults = file.faults();
    if !faults.is_empty() {
        bail!("cannot use the adapter {shown}: {}", listed(&faults));
    }
    let adapter = file.read()?;
    let error = match adapter.clone().fit(linears, path) {
        Ok(fitted) => return Ok(fitted),
        Err(error) => error,
    };
    let alone = |(name, factors): (&String, &vtb_lora::Factors)| {
        let one = Adapter {
            factors: [(name.clone(), factors.clone())].into(),
            ..adapter.clone()
        };
        one.fit(linears, path).err()
    };
    let faults: Vec<_> = adapter.factors.iter().filter_map(alone).collect();
    match faults.is_empty() {
        true => bail!("cannot use the adapter {shown}: {error}"),
        false => bail!("cannot use the adapter {shown}: {}", listed(&faults)),
    }
}

fn listed(faults: &[vtb_lora::LoraError]) -> String {
    let told: Vec<String> = faults
        .iter()
        .take(MOST_FAULTS)
        .map(ToString::to_string)
        .collect();
    let more = match faults.len().saturating_sub(MOST_FAULTS) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    told.join("; ") + &more
}
