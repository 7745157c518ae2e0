//! `train-video`: what Wan2.2-TI2V learns from, beside what every model of flow matching shares.

mod family;
mod frames;
mod preview;
mod rows;
mod settings;

use std::process::ExitCode;

use crate::flow_run;
use crate::options::TrainOptions;

pub use frames::{FrameSampling, ShortClip};
pub use settings::VideoRun;

/// Runs the program.
///
/// # Errors
/// Whatever keeps it from its end, in one sentence.
pub fn run(options: &TrainOptions) -> anyhow::Result<ExitCode> {
    flow_run::run::<family::Wan>(options)
}
