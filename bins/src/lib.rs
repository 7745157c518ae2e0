//! What the programs of vtb share: configuration, models and data from the command line, evaluation, endings.
//!
//! Invariant: a program checks everything it was given before it opens a device or writes a file.

pub mod adapter;
pub mod allocator;
pub mod answers;
pub mod clip;
pub mod completions;
pub mod config;
pub mod data;
pub mod demo;
pub mod doctor;
pub mod edit;
pub mod ending;
pub mod evaluate;
pub mod flow_run;
pub mod gpu_check;
pub mod grpo_run;
mod guard;
pub mod image_run;
pub mod inspect;
pub mod memory;
pub mod model;
pub mod options;
pub mod plan;
pub mod prepare;
pub mod probe;
pub mod reward_check;
pub mod rollout;
pub mod session;
pub mod settings;
pub mod sft_run;
pub mod source;
pub mod video;
pub mod video_run;
