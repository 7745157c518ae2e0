//! What a program supplies to the step loop.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::TrainError;
use crate::checkpoint::Contents;
use crate::progress::Reporter;
use crate::signal::Interrupt;

/// Numbers of an evaluation, and which of them ranks checkpoints.
#[derive(Debug, Clone, Default)]
pub struct Evaluation {
    /// Named numbers.
    pub metrics: BTreeMap<String, f64>,
    /// Higher is better.
    pub score: Option<f64>,
}

/// Evaluates a model after a step.
pub type Evaluate<'a, M> = dyn FnMut(&M, u64) -> Result<Evaluation, TrainError> + 'a;

/// Files of a checkpoint that other programs read, after so many steps: an adapter or a model.
pub type Export<'a, M> = dyn Fn(&M, u64) -> Result<Contents<'static>, TrainError> + 'a;

/// Takes the completions worth showing of a step, beside their JSON lines: the path without ending, and the objects.
pub type ShowCompletions<'a> = dyn FnMut(&Path, &[Value]) -> Result<(), TrainError> + 'a;

/// Draws what the model makes of some prompts after so many steps, into [`crate::run_dir::RunDir::samples`]. Numbers it
/// returns are logged below `sample/`.
pub type DrawSamples<'a, M> = dyn FnMut(&M, u64) -> Result<BTreeMap<String, f64>, TrainError> + 'a;

/// What the program supplies. Where averages of the weights are kept, evaluation, samples and export see the averaged
/// model.
pub struct Hooks<'a, M> {
    /// Shown progress.
    pub reporter: &'a mut dyn Reporter,
    /// Finish the step, save, stop.
    pub interrupt: &'a Interrupt,
    /// Runs every `eval_steps`.
    pub evaluate: Option<&'a mut Evaluate<'a, M>>,
    /// Adds files to every checkpoint.
    pub export: &'a Export<'a, M>,
    /// Keeps completions in another form as well.
    pub completions: Option<&'a mut ShowCompletions<'a>>,
    /// Runs before the first step, every `sample_steps`, and after the last step.
    pub samples: Option<&'a mut DrawSamples<'a, M>>,
}
