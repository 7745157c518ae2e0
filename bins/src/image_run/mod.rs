//! `train-image`: what Qwen-Image-Edit learns from, beside what every model of flow matching shares.

mod family;
mod rows;
mod settings;

use std::process::ExitCode;

use crate::flow_run;
use crate::options::TrainOptions;

pub use settings::ImageRun;

/// Runs the program.
///
/// # Errors
/// Whatever keeps it from its end, in one sentence.
pub fn run(options: &TrainOptions) -> anyhow::Result<ExitCode> {
    flow_run::run::<family::Edit>(options)
}
