//! The loop: objective, clipping, optimizer, logs, checkpoints.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use serde_json::Value;
use vtb_nn::lm::{CausalLm, NamedTensors};

use super::objective::{Objective, Position, StepOutput};
use crate::TrainError;
use crate::checkpoint::{
    Checkpoint, CheckpointMeta, CheckpointStore, Content, Contents, HostTensor, ResumeCheck,
    Retention, encode_tensors,
};
use crate::optim::{AdamW, AdamWConfig, clip, global_norm, to_device, to_host};
use crate::progress::{Phase, Reporter};
use crate::run_dir::{Metrics, MetricsLog, RunDir};
use crate::schedule::{Schedule, ScheduleConfig};
use crate::signal::Interrupt;
use crate::tensorboard::EventWriter;

const TRAINABLE: &str = "trainable.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
/// Settings a resumed run may change: they do not touch what was computed.
const FREE_KEYS: [&str; 18] = [
    "output_dir",
    "log",
    "save",
    "model.device",
    "train.probe",
    "data.check",
    "data.threads",
    "data.ahead",
    "data.cache_dir",
    "data.cache_gib",
    "rollout.url",
    "rollout.adapter_dir",
    "rollout.server_adapter_dir",
    "rollout.api_key_env",
    "rollout.concurrency",
    "rollout.timeout_seconds",
    "rollout.attempts",
    "rollout.canary_tolerance",
];

/// Settings of the loop.
#[derive(Debug, Clone, PartialEq)]
pub struct LoopConfig {
    /// Optimizer steps in all.
    pub max_steps: u64,
    /// Learning rates.
    pub schedule: ScheduleConfig,
    /// AdamW.
    pub optimizer: AdamWConfig,
    /// Gradients are scaled down to this global norm; 0 is off.
    pub max_grad_norm: f64,
    /// Steps between checkpoints; the last step is always saved. 0: only the last.
    pub save_steps: u64,
    /// Which checkpoints stay.
    pub retention: Retention,
    /// Steps between evaluations; 0 is never.
    pub eval_steps: u64,
    /// Steps between logged completions; 0 is never.
    pub completion_steps: u64,
    /// Steps whose gradients may be skipped in a row for not being finite before the run stops.
    pub max_skipped_steps: u64,
}

/// What identifies the run.
pub struct RunContext<'a> {
    /// Where everything is written.
    pub dir: &'a RunDir,
    /// Name shown while it runs.
    pub phase: &'a str,
    /// The resolved settings, compared on resume.
    pub config: &'a Value,
    /// Identifies the training data.
    pub dataset_fingerprint: &'a str,
    /// The run seed.
    pub seed: u64,
    /// Goes on from the latest checkpoint.
    pub resume: bool,
    /// Where trainable parameters live.
    pub device: &'a Device,
}

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

/// Files of a checkpoint that other programs read: an adapter or a model.
pub type Export<'a, M> = dyn Fn(&M) -> Result<Contents<'static>, TrainError> + 'a;

/// Takes the completions worth showing of a step, beside their JSON lines: the path without ending, and the objects.
pub type ShowCompletions<'a> = dyn FnMut(&Path, &[Value]) -> Result<(), TrainError> + 'a;

/// What the program supplies.
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
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// A signal came; the state after this many steps is saved.
    Interrupted(u64),
    /// The objective asked to stop; the sentence says why.
    Stopped(u64, String),
}

/// Trains `model` until `max_steps`, an interrupt, or an error. Every `save_steps` the whole state is saved; a resumed
/// run continues as if it had never stopped.
pub fn train<M: CausalLm>(
    model: &mut M,
    objective: &mut dyn Objective,
    config: &LoopConfig,
    run: &RunContext<'_>,
    hooks: Hooks<'_, M>,
) -> Result<Outcome, TrainError> {
    let mut state = Loop::open(model, objective, config, run)?;
    let phase = Phase {
        name: run.phase.to_owned(),
        total_steps: config.max_steps,
        done_steps: state.step,
    };
    hooks.reporter.on_start(&phase);
    let outcome = state.run(model, objective, hooks)?;
    state.log.sync()?;
    Ok(outcome)
}

struct Loop<'a> {
    config: &'a LoopConfig,
    run: &'a RunContext<'a>,
    schedule: Schedule,
    optimizer: AdamW,
    store: CheckpointStore,
    log: MetricsLog,
    events: EventWriter,
    /// What trains, in f32. Of a model that stores it in fewer bits these are the true values: updates too small for
    /// the model's type add up here.
    values: NamedTensors,
    /// Optimizer steps finished.
    step: u64,
    saved: Option<u64>,
    skipped: u64,
    score: Option<f64>,
}

impl<'a> Loop<'a> {
    fn open<M: CausalLm>(
        model: &mut M,
        objective: &mut dyn Objective,
        config: &'a LoopConfig,
        run: &'a RunContext<'a>,
    ) -> Result<Self, TrainError> {
        let params = model.trainable();
        if params.is_empty() {
            return Err(TrainError::Config(
                "nothing is trainable; attach an adapter or unfreeze weights".into(),
            ));
        }
        let mut optimizer = AdamW::new(config.optimizer.clone(), &params)?;
        let store = CheckpointStore::open(run.dir.checkpoints(), config.retention)?;
        let found = if run.resume { store.latest()? } else { None };
        let mut step = 0;
        let mut score = None;
        let mut values = model.trainable_values();
        if let Some(checkpoint) = &found {
            (step, values) = restore(checkpoint, model, &mut optimizer, objective, run)?;
            score = checkpoint.manifest.meta.score;
            store.drop_after(step)?;
        }
        let resumed = run.resume.then_some(step);
        Ok(Self {
            config,
            run,
            schedule: Schedule::new(&config.schedule, config.max_steps)?,
            optimizer,
            store,
            log: run.dir.metrics(resumed)?,
            events: EventWriter::create(&run.dir.tensorboard(), resumed)?,
            values,
            step,
            saved: found.map(|_| step),
            skipped: 0,
            score,
        })
    }

    fn run<M: CausalLm>(
        &mut self,
        model: &mut M,
        objective: &mut dyn Objective,
        mut hooks: Hooks<'_, M>,
    ) -> Result<Outcome, TrainError> {
        while self.step < self.config.max_steps {
            let started = Instant::now();
            let output = objective.step(model, self.step)?;
            let stop = output.stop.clone();
            let (rows, waited) = (output.rows, output.waited);
            self.log_completions(&output.completions, hooks.completions.as_deref_mut())?;
            let mut metrics = self.update(model, output)?;
            self.step += 1;
            metrics.step = self.step;
            let seconds = started.elapsed().as_secs_f64();
            metrics.set_time("step_time", seconds);
            if rows > 0 {
                metrics.set_time("rows_per_second", rows as f64 / seconds.max(1e-9));
                metrics.set_time("data_wait", waited.as_secs_f64());
            }
            if due(self.step, self.config.eval_steps)
                && let Some(evaluate) = hooks.evaluate.as_mut()
            {
                let evaluation = evaluate(model, self.step)?;
                metrics.values.extend(evaluation.metrics);
                self.score = evaluation.score;
            }
            self.log.write(&metrics)?;
            self.events.metrics(&metrics)?;
            hooks.reporter.on_step(&metrics);
            let interrupted = hooks.interrupt.is_set();
            let last = self.step == self.config.max_steps;
            if interrupted || last || due(self.step, self.config.save_steps) {
                self.save(model, objective, &mut hooks)?;
            }
            if let Some(reason) = stop {
                hooks.reporter.on_end(&reason);
                return Ok(Outcome::Stopped(self.step, reason));
            }
            if interrupted && !last {
                hooks
                    .reporter
                    .on_end(&format!("interrupted; step {} is saved", self.step));
                return Ok(Outcome::Interrupted(self.step));
            }
        }
        if self.saved != Some(self.step) {
            self.save(model, objective, &mut hooks)?;
        }
        hooks.reporter.on_end("");
        Ok(Outcome::Finished)
    }

    /// Clips, steps the optimizer and replaces the parameters. A step whose gradients are not finite is skipped and
    /// counted; too many in a row end the run.
    fn update<M: CausalLm>(
        &mut self,
        model: &mut M,
        output: StepOutput,
    ) -> Result<Metrics, TrainError> {
        let StepOutput {
            gradients,
            metrics: values,
            ..
        } = output;
        let lr = self.schedule.lr(self.step);
        let mut metrics = Metrics {
            step: self.step,
            values,
        };
        let norm = global_norm(&gradients)?;
        metrics.set("grad_norm", norm.norm);
        metrics.set("learning_rate", lr);
        if !norm.bad.is_empty() {
            self.skipped += 1;
            metrics.set("skipped_steps", self.skipped as f64);
            if self.skipped > self.config.max_skipped_steps {
                norm.require_finite(self.step)?;
            }
            tracing::warn!(
                "step {}: gradients are not finite, the update is skipped",
                self.step
            );
            return Ok(metrics);
        }
        self.skipped = 0;
        let gradients = match self.config.max_grad_norm {
            limit if limit > 0.0 => clip(gradients, &norm, limit),
            _ => gradients,
        };
        let values = std::mem::take(&mut self.values);
        self.values = self.optimizer.step(values, gradients, lr)?;
        model.set_trainable(self.values.clone())?;
        Ok(metrics)
    }

    fn log_completions(
        &self,
        completions: &[Value],
        show: Option<&mut ShowCompletions<'_>>,
    ) -> Result<(), TrainError> {
        let every = self.config.completion_steps;
        if completions.is_empty() || every == 0 || !self.step.is_multiple_of(every) {
            return Ok(());
        }
        let dir = self.run.dir.subdir("completions")?;
        let path = dir.join(format!("step-{:06}.jsonl", self.step));
        let mut text = Vec::new();
        for completion in completions {
            writeln!(text, "{completion}").map_err(|e| TrainError::io(&path, e))?;
        }
        std::fs::write(&path, text).map_err(|e| TrainError::io(&path, e))?;
        match show {
            Some(show) => show(&path.with_extension(""), completions),
            None => Ok(()),
        }
    }

    /// Saves the whole state. A full disk is told loudly and training goes on: the last checkpoint is intact.
    fn save<M: CausalLm>(
        &mut self,
        model: &M,
        objective: &dyn Objective,
        hooks: &mut Hooks<'_, M>,
    ) -> Result<(), TrainError> {
        self.log.sync()?;
        match self.write(model, objective, hooks.export) {
            Ok(()) => {
                self.saved = Some(self.step);
                Ok(())
            }
            Err(error) if error.is_disk_full() && self.step < self.config.max_steps => {
                hooks
                    .reporter
                    .on_message(&format!("step {} is NOT saved: {error}", self.step));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn write<M: CausalLm>(
        &self,
        model: &M,
        objective: &dyn Objective,
        export: &Export<'_, M>,
    ) -> Result<(), TrainError> {
        let values = to_host(&self.values, &model.trainable())?;
        let mut contents = export(model)?;
        contents.insert(
            TRAINABLE.into(),
            Content::Bytes(encode_tensors(&values, None)?),
        );
        contents.insert(OPTIMIZER.into(), Content::Bytes(self.optimizer.encode()?));
        let Position { epoch, cursor } = objective.position();
        let meta = CheckpointMeta {
            step: self.step,
            epoch,
            cursor,
            seed: self.run.seed,
            world: 1,
            config: self.run.config.clone(),
            dataset_fingerprint: self.run.dataset_fingerprint.to_owned(),
            score: self.score,
            extra: objective.state()?,
        };
        self.store.save(meta, contents).map(|_| ())
    }
}

/// Puts a checkpoint's state in place and returns its step and the values that train.
fn restore<M: CausalLm>(
    checkpoint: &Checkpoint,
    model: &mut M,
    optimizer: &mut AdamW,
    objective: &mut dyn Objective,
    run: &RunContext<'_>,
) -> Result<(u64, NamedTensors), TrainError> {
    let check = ResumeCheck {
        config: run.config,
        dataset_fingerprint: run.dataset_fingerprint,
        seed: run.seed,
        world: 1,
        allowed: &FREE_KEYS,
    };
    check.check(checkpoint)?;
    let (tensors, _): (BTreeMap<String, HostTensor>, _) = checkpoint.tensors(TRAINABLE)?;
    let values = to_device(&tensors, run.device);
    model.set_trainable(values.clone())?;
    optimizer.load(checkpoint, OPTIMIZER, run.device)?;
    let meta = &checkpoint.manifest.meta;
    let position = Position {
        epoch: meta.epoch,
        cursor: meta.cursor.clone(),
    };
    objective.restore(&position, &meta.extra)?;
    Ok((meta.step, values))
}

fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}
