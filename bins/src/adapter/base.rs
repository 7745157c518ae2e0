//! The base model of an adapter: where its weights lie.

use std::path::{Path, PathBuf};

use anyhow::Context;
use vtb_models_diffusion::files::{MODEL_INDEX, part};
use vtb_nn::checkpoint::Checkpoint;

use super::find_model;

/// The part of a model in the diffusers layout that adapters are for.
pub(super) const TRANSFORMER: &str = "transformer";

/// The folder of the transformer of a model in the diffusers layout; none where `model` has another layout.
///
/// # Errors
/// A model in the diffusers layout that has no transformer.
pub(super) fn transformer_of(model: &Path) -> anyhow::Result<Option<PathBuf>> {
    match model.join(MODEL_INDEX).is_file() {
        true => Ok(Some(part(model, TRANSFORMER)?)),
        false => Ok(None),
    }
}

/// Opens the weights in a folder of a base model.
///
/// # Errors
/// Weights that are not there or damaged.
pub(super) fn open_weights(dir: &Path) -> anyhow::Result<Checkpoint> {
    Checkpoint::open(dir).context("the base model cannot be opened")
}

/// The weights an adapter of `model` is for; those of the transformer where it is in the diffusers layout.
///
/// # Errors
/// A model that is not there or damaged.
pub(super) fn open_base(model: &str) -> anyhow::Result<Checkpoint> {
    let path = find_model(model)?;
    open_weights(transformer_of(&path)?.as_deref().unwrap_or(&path))
}
