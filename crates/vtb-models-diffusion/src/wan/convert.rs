//! From one layout of a model directory to the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use vtb_nn::checkpoint::{RenamedSource, TensorSource, save_safetensors, save_sharded_as};

use super::dir::{ORIGINAL_ENCODER, ORIGINAL_TOKENIZER, ORIGINAL_VAE, write_index};
use super::names::WanPart;
use super::text::Umt5Config;
use super::vae::VaeConfig;
use super::{VideoModelDir, WanLayout};
use crate::{DiffusionError, files};

/// Most bytes of a shard, as diffusers has it.
const SHARD: u64 = 10 << 30;
/// File name of the text encoder's weights in the layout of diffusers, without ending.
const ENCODER_STEM: &str = "model";

/// Writes a model in another layout. Tensors keep their values and types, one is held at a time. In the original layout the
/// text encoder and the autoencoder become safetensors, not pickles; everything here reads them, as DiffSynth-Studio does.
///
/// # Errors
/// `out` is not empty; the model has constants that original files do not hold; weights cannot be read; the disk refuses.
pub fn convert(model: &VideoModelDir, to: WanLayout, out: &Path) -> Result<(), DiffusionError> {
    let io = |e| DiffusionError::io(out, e);
    fs::create_dir_all(out).map_err(io)?;
    if fs::read_dir(out).map_err(io)?.next().is_some() {
        return Err(DiffusionError::file(
            out,
            "is not empty; name a folder that is not there yet",
        ));
    }
    match to {
        WanLayout::Diffusers => to_diffusers(model, out),
        WanLayout::Original => to_original(model, out),
    }
}

fn folder(path: &Path) -> Result<&Path, DiffusionError> {
    fs::create_dir_all(path).map_err(|e| DiffusionError::io(path, e))?;
    Ok(path)
}

fn to_diffusers(model: &VideoModelDir, out: &Path) -> Result<(), DiffusionError> {
    let sharded = |part: WanPart, name: &str, stem: &str| {
        let dir = out.join(name);
        folder(&dir)?;
        model.with_weights(part, |source| {
            save_sharded_as(&dir, stem, source, SHARD, &BTreeMap::new())?;
            Ok(())
        })?;
        Ok::<_, DiffusionError>(dir)
    };
    let stem = files::WEIGHTS_STEM;
    let dir = sharded(WanPart::Transformer, "transformer", stem)?;
    model.transformer.write(&dir)?;
    let dir = sharded(WanPart::Vae, "vae", stem)?;
    model.vae.write(dir.join(files::CONFIG))?;
    let dir = sharded(WanPart::TextEncoder, "text_encoder", ENCODER_STEM)?;
    model.encoder().write(&dir)?;
    model.scheduler.write(folder(&out.join("scheduler"))?)?;
    copy_folder(model.tokenizer(), &out.join("tokenizer"))?;
    write_index(out)
}

fn to_original(model: &VideoModelDir, out: &Path) -> Result<(), DiffusionError> {
    constants_are_known(model)?;
    let single = |part: WanPart, stem: &str| {
        model.with_weights(part, |source| {
            let source = original(source, part)?;
            let path = out.join(format!("{stem}.safetensors"));
            Ok(save_safetensors(path, &source, &BTreeMap::new())?)
        })
    };
    model.with_weights(WanPart::Transformer, |source| {
        let source = original(source, WanPart::Transformer)?;
        save_sharded_as(out, files::WEIGHTS_STEM, &source, SHARD, &BTreeMap::new())?;
        Ok(())
    })?;
    single(WanPart::TextEncoder, ORIGINAL_ENCODER)?;
    single(WanPart::Vae, ORIGINAL_VAE)?;
    copy_folder(model.tokenizer(), &out.join(ORIGINAL_TOKENIZER))?;
    model.transformer.write_original(out)
}

/// Original files hold tensors and no constants: what is read back must be what is written.
fn constants_are_known(model: &VideoModelDir) -> Result<(), DiffusionError> {
    let fault = |what: &str| {
        let message = format!(
            "{what}; the original files have no place for them, so other values would be read back"
        );
        Err(DiffusionError::file(model.root(), message))
    };
    let vae = model.with_weights(WanPart::Vae, VaeConfig::of_shapes)?;
    let (mean, deviation) = (&model.vae.latents_mean, &model.vae.latents_std);
    if (&vae.latents_mean, &vae.latents_std) != (mean, deviation) {
        return fault("the means and deviations of its latents are not the published ones");
    }
    let encoder = model.with_weights(WanPart::TextEncoder, Umt5Config::of_shapes)?;
    if &encoder != model.encoder() {
        return fault("the settings of its text encoder are not the published ones");
    }
    Ok(())
}

fn original(source: &dyn TensorSource, part: WanPart) -> Result<RenamedSource<'_>, DiffusionError> {
    Ok(RenamedSource::new(source, |name| part.original(name))?)
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), DiffusionError> {
    folder(to)?;
    for item in fs::read_dir(from).map_err(|e| DiffusionError::io(from, e))? {
        let item = item.map_err(|e| DiffusionError::io(from, e))?;
        let path = item.path();
        if path.is_file() {
            let copied = fs::copy(&path, to.join(item.file_name()));
            copied.map_err(|e| DiffusionError::io(&path, e))?;
        }
    }
    Ok(())
}
