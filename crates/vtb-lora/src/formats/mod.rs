//! Adapters of diffusion models in the files of other programs.
//!
//! One adapter, five files. They differ in how a layer is called and in where the scale of `B·A` stands:
//!
//! | form | example of a name | scale |
//! |---|---|---|
//! | PEFT folder | `base_model.model.transformer_blocks.0.attn.to_q.lora_A.weight` | `adapter_config.json` |
//! | diffusers | `transformer.transformer_blocks.0.attn.to_q.lora_A.weight` | settings in the header, else 1 |
//! | ComfyUI | `diffusion_model.transformer_blocks.0.attn.to_q.lora_A.weight` | `.alpha` by rank, else 1 |
//! | Kohya | `lora_unet_transformer_blocks_0_attn_to_q.lora_down.weight` | `.alpha` by rank, else 1 |
//! | DiffSynth | `transformer_blocks.0.attn.to_q.lora_A.default.weight` | 1: it is in the factors |
//!
//! Inside, a layer has the path of diffusers' transformer. For Qwen-Image all forms agree on it; for Wan the last three
//! use the names of the original files, which [`DiffusionFamily`] translates.

mod diffusers;
mod header;
mod keys;
mod layers;
mod names;
mod open;
mod read;
mod settings;
mod write;

use std::fmt;
use std::path::Path;

pub use header::AdapterHeader;
pub(crate) use keys::partner;
pub use names::DiffusionFamily;
pub use write::write_as;

use crate::{Adapter, AdapterFile, LinearInfo, LoraError};

/// The name diffusers gives a file that is told none, and looks for in a folder.
pub const DIFFUSERS_FILE: &str = "pytorch_lora_weights.safetensors";

/// The form of an adapter's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdapterFormat {
    /// A folder of PEFT.
    Peft,
    /// One file, as diffusers' `save_lora_weights` writes it.
    Diffusers,
    /// One file for ComfyUI, which other trainers write too.
    ComfyUi,
    /// One file of Kohya's trainers.
    Kohya,
    /// One file of DiffSynth.
    DiffSynth,
}

impl AdapterFormat {
    /// All forms.
    pub const ALL: [Self; 5] = [
        Self::Peft,
        Self::Diffusers,
        Self::ComfyUi,
        Self::Kohya,
        Self::DiffSynth,
    ];

    /// Its name on command lines and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peft => "peft",
            Self::Diffusers => "diffusers",
            Self::ComfyUi => "comfyui",
            Self::Kohya => "kohya",
            Self::DiffSynth => "diffsynth",
        }
    }

    /// What stands before every layer's name.
    fn prefix(self) -> &'static str {
        match self {
            Self::Peft => crate::peft::PREFIX,
            Self::Diffusers => "transformer.",
            Self::ComfyUi => "diffusion_model.",
            Self::Kohya => "lora_unet_",
            Self::DiffSynth => "",
        }
    }
}

impl fmt::Display for AdapterFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads an adapter of any form: a folder of PEFT, a safetensors file, or a folder with one such file. Layers get the
/// paths of diffusers' transformer, ranks and scales that differ between them become patterns of the settings, and
/// factors of any float type become f32. With `modules`, the linear layers of the model, every name in a file must be
/// that of one of them and have its sizes; without, one of Qwen-Image or Wan.
///
/// # Errors
/// As [`AdapterFile::open_any`]; the first of [`AdapterFile::faults`].
pub fn read_any(
    path: impl AsRef<Path>,
    modules: Option<&[LinearInfo]>,
) -> Result<(Adapter, AdapterFormat), LoraError> {
    let file = AdapterFile::open_any(path, modules)?;
    Ok((file.read()?, file.format()))
}
