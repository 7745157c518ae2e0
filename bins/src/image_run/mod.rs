//! `train-image`: from settings to a summary.

mod demo;
mod inputs;
mod plan;
mod previews;
mod rows;
mod session;
mod settings;

use std::process::ExitCode;

use crate::options::TrainOptions;
use crate::session::{names_model, settings as resolve};

use inputs::Inputs;
use session::Session;
pub use settings::ImageRun;

/// Runs the program.
///
/// # Errors
/// Whatever keeps it from its end, in one sentence.
#[allow(clippy::print_stdout, reason = "results go to standard output")]
pub fn run(options: &TrainOptions) -> anyhow::Result<ExitCode> {
    let own_model = options.model.is_some() || names_model(options);
    let resolved = resolve(options, &ImageRun::defaults(!own_model), |run| {
        run.output_dir.clone()
    })?;
    if options.print_config {
        print!("{}", resolved.toml);
        return Ok(ExitCode::SUCCESS);
    }
    let mut run = resolved.value;
    plan::check(&run)?;
    let inputs = Inputs::find(&mut run)?;
    let plan = plan::plan(&run, &inputs)?;
    if options.dry_run {
        print!("plan (no device was opened, nothing was written)\n{plan}");
        return Ok(ExitCode::SUCCESS);
    }
    let places = inputs.fetch()?;
    Session::open(run, options, places)?.run(options, &plan)
}
