//! From one layout of a model directory to the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;
use vtb_nn::checkpoint::{RenamedSource, TensorSource, save_safetensors, save_sharded_as};

use super::dir::{ORIGINAL_ENCODER, ORIGINAL_TOKENIZER, ORIGINAL_VAE};
use super::names::WanPart;
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
/// `out` is not empty, or holds the model; weights cannot be read; the disk refuses.
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
    let index = json!({
        "_class_name": "WanImageToVideoPipeline",
        "_diffusers_version": "0.36.0",
        "boundary_ratio": null,
        "expand_timesteps": true,
        "image_encoder": [null, null],
        "image_processor": [null, null],
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "transformer_2": [null, null],
        "vae": ["diffusers", "AutoencoderKLWan"],
    });
    files::write_json(&out.join(files::MODEL_INDEX), &index)
}

fn to_original(model: &VideoModelDir, out: &Path) -> Result<(), DiffusionError> {
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
