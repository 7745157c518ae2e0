//! Training models that learn by flow matching: from settings to a summary.
//!
//! Everything here is the same for every [`Family`]: what is refused, the cache, the loop, previews, checkpoints. A family
//! says what its rows show, how that is encoded, and how a preview is drawn and judged.

mod demo;
mod export;
mod family;
mod fill;
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
use crate::source::{Inputs, Named, Wanted};

use session::Session;

pub(crate) use demo::{Wish, puzzles};
pub use family::{Adapted, DemoData, Family, Looked, Run, Start};
pub(crate) use previews::psnr;
pub(crate) use rows::latent;
pub use rows::{Asked, Media, Medium, Row};
pub use settings::{
    DataKeys, ExportSection, FlowEvalSection, FlowLogSection, FlowRun, FlowTrainSection, ModelKeys,
    SampleSection, Section,
};

/// Runs the program of a family.
///
/// # Errors
/// Whatever keeps it from its end, in one sentence.
#[allow(clippy::print_stdout, reason = "results go to standard output")]
pub fn run<F: Family>(options: &TrainOptions) -> anyhow::Result<ExitCode> {
    let own_model = options.model.is_some() || names_model(options);
    let resolved = resolve(options, &F::defaults(!own_model), |run| {
        run.output_dir.clone()
    })?;
    if options.print_config {
        print!("{}", resolved.toml);
        return Ok(ExitCode::SUCCESS);
    }
    let mut run = resolved.value;
    plan::check::<F>(&run)?;
    if options.device_memory.is_some() {
        let program = F::PROGRAM;
        let why = format!("--device-memory: {program} does not plan memory yet");
        return Err(Usage(why).into());
    }
    let resumed = options.resume.then(|| PathBuf::from(&run.output_dir));
    let [model, adapter] = run.model.named();
    let [train, eval] = run.data.named();
    let named = Named {
        model,
        adapter,
        train,
        eval,
    };
    let inputs = Inputs::find(Wanted::Pipeline, named, resumed.as_deref())?;
    let plan = plan::plan::<F>(&run, &inputs)?;
    if options.dry_run {
        print!("plan (no device was opened, nothing was written)\n{plan}");
        return Ok(ExitCode::SUCCESS);
    }
    let places = inputs.fetch(F::ROWS, F::EVAL_ROWS)?;
    Session::<F>::open(run, options, places)?.run(options, &plan)
}
