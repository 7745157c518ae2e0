//! The base model of an adapter, as far as its layers are concerned.

use std::path::{Path, PathBuf};

use anyhow::Context;
use vtb_lora::LinearInfo;
use vtb_nn::checkpoint::Checkpoint;

use super::find_model;

/// The weights an adapter of `model` is for; those of the transformer where it is a pipeline of diffusers.
///
/// # Errors
/// A model that is not there or damaged.
pub(super) fn open_base(model: &str) -> anyhow::Result<Checkpoint> {
    let path = weights_of(find_model(model)?);
    Checkpoint::open(&path).context("the base model")
}

/// The linear layers of a model; no weights are read.
///
/// # Errors
/// A model that is not there or damaged.
pub(super) fn linears_of(model: &str) -> anyhow::Result<Vec<LinearInfo>> {
    Ok(LinearInfo::of_checkpoint(&open_base(model)?))
}

fn weights_of(path: PathBuf) -> PathBuf {
    let transformer = path.join("transformer");
    match path.join("model_index.json").is_file() && Path::is_dir(&transformer) {
        true => transformer,
        false => path,
    }
}
