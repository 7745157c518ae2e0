//! The files of a model in the diffusers layout: a folder per part, each with its configuration, and an index of parts.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use vtb_nn::checkpoint::read_bounded;

use crate::DiffusionError;

/// Names the pipeline and the class of every part.
pub const MODEL_INDEX: &str = "model_index.json";
/// Settings of a part.
pub const CONFIG: &str = "config.json";
/// Settings of the noise schedule.
pub const SCHEDULER_CONFIG: &str = "scheduler_config.json";
/// The file name of weights, without ending.
pub const WEIGHTS_STEM: &str = "diffusion_pytorch_model";

/// The most bytes read of a configuration.
const CONFIG_LIMIT: u64 = 4 << 20;

/// Reads a bounded JSON file into `T`.
///
/// # Errors
/// The file cannot be read, is larger than 4 MiB, is no JSON, or lacks a field; file and field are named.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, DiffusionError> {
    let bytes = read_bounded(path, CONFIG_LIMIT)?;
    serde_json::from_slice(&bytes).map_err(|e| DiffusionError::file(path, e.to_string()))
}

/// Writes indented JSON with a final newline.
///
/// # Errors
/// The file cannot be written.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), DiffusionError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| DiffusionError::file(path, e.to_string()))?;
    std::fs::write(path, text + "\n").map_err(|e| DiffusionError::io(path, e))
}

/// The folder of a part of a model.
///
/// # Errors
/// It is not there; the error says which parts a model has.
pub fn part(model: &Path, name: &str) -> Result<PathBuf, DiffusionError> {
    let dir = model.join(name);
    if dir.is_dir() {
        return Ok(dir);
    }
    let what = if model.is_dir() {
        format!(
            "holds no folder `{name}`; a model in the diffusers layout has transformer, vae, text_encoder, tokenizer, \
             processor and scheduler"
        )
    } else {
        "is no directory; expected a model in the diffusers layout".to_owned()
    };
    Err(DiffusionError::file(model, what))
}

/// Checks the constants of a latent's channels.
///
/// # Errors
/// Says which value cannot be.
pub(crate) fn check_latents(
    channels: usize,
    mean: &[f64],
    deviation: &[f64],
) -> Result<(), String> {
    for (key, values) in [("latents_mean", mean), ("latents_std", deviation)] {
        if values.len() != channels {
            return Err(format!(
                "`{key}` has {} entries for the {channels} channels of `z_dim`",
                values.len()
            ));
        }
        if values.iter().any(|v| !(*v as f32).is_finite()) {
            return Err(format!("`{key}` holds a number that is not finite"));
        }
    }
    match deviation
        .iter()
        .find(|s| !(**s as f32).is_normal() || **s < 0.0)
    {
        Some(bad) => Err(format!(
            "`latents_std` holds {bad}; deviations are above zero"
        )),
        None => Ok(()),
    }
}
