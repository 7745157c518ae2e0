//! Low-rank adapters: which layers they sit on, their settings, and their files.
//!
//! Targets, ranks and scalings follow peft exactly, so that an adapter trained here behaves the same where it is
//! loaded, and the other way round: [`match_targets`], [`LoraConfig`], [`read_adapter`], [`write_adapter`].

mod adapter_config;
mod config;
mod error;
mod fit;
#[allow(
    non_snake_case,
    reason = "module fields carry the published tensor names lora_A and lora_B"
)]
mod linear;
mod pattern;
mod peft;
#[allow(
    non_snake_case,
    reason = "module fields carry the published tensor names lora_A and lora_B"
)]
mod stacked;
mod targets;

pub use config::{LoraConfig, LoraInit, ModuleFilter, RankRules};
pub use error::LoraError;
pub use linear::{AdapterPass, Factor, LoraLinear};
pub use peft::{Adapter, Factors, read_adapter, write_adapter};
pub use stacked::Stacked;
pub use targets::{LinearInfo, MatchReport, StackInfo, StackMatch, TargetMatch, match_targets};
