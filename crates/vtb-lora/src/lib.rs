//! Low-rank adapters: which layers they sit on, their settings, and their files.
//!
//! Targets, ranks and scalings follow peft exactly, so that an adapter trained here behaves the same where it is
//! loaded, and the other way round: [`match_targets`], [`LoraConfig`], [`read_adapter`], [`write_adapter`]. A file is
//! looked at by [`AdapterFile`] and [`AdapterReport`], rewritten for other readers by [`Adapter::renamed`] and
//! [`Adapter::folded`], and added into a base checkpoint, tensor by tensor, by [`MergedSource`]. Adapters of diffusion
//! models are read from the files of diffusers, ComfyUI, Kohya and DiffSynth by [`read_any`], and written for them by
//! [`write_as`].

mod adapter_config;
pub mod attach;
mod config;
mod convert;
mod error;
mod file;
mod fit;
mod formats;
mod inspect;
#[allow(
    non_snake_case,
    reason = "module fields carry the published tensor names lora_A and lora_B"
)]
mod linear;
mod merge;
mod pattern;
mod peft;
mod stack_files;
#[allow(
    non_snake_case,
    reason = "module fields carry the published tensor names lora_A and lora_B"
)]
mod stacked;
mod stored;
mod targets;

pub use config::{LoraConfig, LoraInit, ModuleFilter, RankRules};
pub use convert::NameLayout;
pub use error::LoraError;
pub use file::AdapterFile;
pub use formats::{
    AdapterFormat, AdapterHeader, DIFFUSERS_FILE, DiffusionFamily, read_any, write_as,
};
pub use inspect::{AdapterReport, DeltaGroup};
pub use linear::{AdapterPass, Factor, LoraLinear};
pub use merge::MergedSource;
pub use peft::{Adapter, Factors, read_adapter, write_adapter};
pub use stacked::Stacked;
pub use targets::{LinearInfo, MatchReport, StackInfo, StackMatch, TargetMatch, match_targets};
