//! `train-image`: from settings to a summary.

mod demo;
mod plan;
mod previews;
mod rows;
mod session;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::ending::Usage;
use crate::options::TrainOptions;
use crate::session::{names_model, settings as resolve};
use crate::source::{IMAGE_EVAL_ROWS, IMAGE_ROWS, Inputs, Named, Wanted};

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
    if options.device_memory.is_some() {
        return Err(Usage("--device-memory: train-image does not plan memory yet".into()).into());
    }
    let resumed = options.resume.then(|| PathBuf::from(&run.output_dir));
    let named = Named {
        model: &mut run.model.path,
        adapter: &mut run.model.adapter,
        train: &mut run.data.train,
        eval: &mut run.data.eval,
    };
    let inputs = Inputs::find(Wanted::Pipeline, named, resumed.as_deref())?;
    let plan = plan::plan(&run, &inputs)?;
    if options.dry_run {
        print!("plan (no device was opened, nothing was written)\n{plan}");
        return Ok(ExitCode::SUCCESS);
    }
    let places = inputs.fetch(&IMAGE_ROWS, &IMAGE_EVAL_ROWS)?;
    Session::open(run, options, places)?.run(options, &plan)
}
