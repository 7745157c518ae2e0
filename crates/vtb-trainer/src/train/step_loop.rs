//! The loop: objective, clipping, optimizer, logs, checkpoints.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

use serde_json::Value;
use vtb_nn::lm::NamedTensors;
use vtb_nn::trainable::Trainable;

use super::config::{FREE_KEYS, LoopConfig, RunContext};
use super::hooks::{DrawSamples, Hooks, ShowCompletions};
use super::objective::{Objective, Position, StepOutput};
use crate::TrainError;
use crate::checkpoint::{
    Checkpoint, CheckpointMeta, CheckpointStore, Content, HostTensor, ResumeCheck, encode_tensors,
    latest,
};
use crate::optim::{AdamW, Ema, clip, fits, global_norm, to_device, to_host};
use crate::progress::Phase;
use crate::run_dir::{Metrics, MetricsLog};
use crate::schedule::Schedule;
use crate::tensorboard::EventWriter;

const TRAINABLE: &str = "trainable.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const EMA: &str = "ema.safetensors";
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
/// run continues as if it had never stopped. At the end `model` is what the last checkpoint holds for other programs:
/// with the averaged weights where averages are kept.
pub fn train<M: Trainable>(
    model: &mut M,
    objective: &mut dyn Objective<M>,
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
    if let Some(ema) = &state.ema {
        model.set_trainable(ema.values().clone())?;
    }
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
    /// Their average, where it is kept.
    ema: Option<Ema>,
    /// Optimizer steps finished.
    step: u64,
    saved: Option<u64>,
    skipped: u64,
    score: Option<f64>,
}

impl<'a> Loop<'a> {
    fn open<M: Trainable>(
        model: &mut M,
        objective: &mut dyn Objective<M>,
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
        }
        let mut ema = Ema::new(config.ema_decay, &values)?;
        if let Some(checkpoint) = &found {
            if let Some(ema) = &mut ema {
                ema.load(checkpoint, EMA, &params, run.device)?;
            }
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
            ema,
            step,
            saved: found.map(|_| step),
            skipped: 0,
            score,
        })
    }

    fn run<M: Trainable>(
        &mut self,
        model: &mut M,
        objective: &mut dyn Objective<M>,
        mut hooks: Hooks<'_, M>,
    ) -> Result<Outcome, TrainError> {
        if let Some(draw) = hooks.samples.as_deref_mut()
            && self.step == 0
        {
            self.sample_untrained(model, draw)?;
        }
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
                let evaluation = self.averaged(model, |model| evaluate(model, self.step))?;
                metrics.values.extend(evaluation.metrics);
                self.score = evaluation.score;
            }
            let last = self.step == self.config.max_steps;
            let mut failed = None;
            if let Some(draw) = hooks.samples.as_deref_mut()
                && (last || due(self.step, self.config.sample_steps))
            {
                match self.sample(model, draw) {
                    Ok(values) => metrics.values.extend(values),
                    // The step is saved before the run ends with it.
                    Err(error) => failed = Some(error),
                }
            }
            self.log.write(&metrics)?;
            self.events.metrics(&metrics)?;
            hooks.reporter.on_step(&metrics);
            let interrupted = hooks.interrupt.is_set();
            let due_now = interrupted || last || due(self.step, self.config.save_steps);
            if due_now || failed.is_some() {
                self.save(model, objective, &mut hooks)?;
            }
            if let Some(error) = failed {
                return Err(error);
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
    fn update<M: Trainable>(
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
        if let Some(ema) = &mut self.ema {
            ema.update(&self.values);
        }
        Ok(metrics)
    }

    /// Runs `look` on the model that others get to see: where averages are kept, with the averaged weights.
    fn averaged<M: Trainable, T>(
        &self,
        model: &mut M,
        look: impl FnOnce(&M) -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        let Some(ema) = &self.ema else {
            return look(model);
        };
        model.set_trainable(ema.values().clone())?;
        let found = look(model);
        model.set_trainable(self.values.clone())?;
        found
    }

    /// Samples of the model as it is, and the numbers that go with them.
    fn sample<M: Trainable>(
        &self,
        model: &mut M,
        draw: &mut DrawSamples<'_, M>,
    ) -> Result<BTreeMap<String, f64>, TrainError> {
        let scores = self.averaged(model, |model| draw(model, self.step))?;
        let named = |(name, score)| (format!("sample/{name}"), score);
        Ok(scores.into_iter().map(named).collect())
    }

    /// Samples before the first step, with a row of their own in the log. A run that was stopped before its first
    /// checkpoint and begins again may have that row already.
    fn sample_untrained<M: Trainable>(
        &mut self,
        model: &mut M,
        draw: &mut DrawSamples<'_, M>,
    ) -> Result<(), TrainError> {
        if !self.log.is_empty()? {
            return Ok(());
        }
        let values = self.sample(model, draw)?;
        if !values.is_empty() {
            let metrics = Metrics { step: 0, values };
            self.log.write(&metrics)?;
            self.events.metrics(&metrics)?;
        }
        Ok(())
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
    fn save<M: Trainable>(
        &mut self,
        model: &mut M,
        objective: &dyn Objective<M>,
        hooks: &mut Hooks<'_, M>,
    ) -> Result<(), TrainError> {
        self.log.sync()?;
        match self.write(model, objective, hooks) {
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

    fn write<M: Trainable>(
        &self,
        model: &mut M,
        objective: &dyn Objective<M>,
        hooks: &Hooks<'_, M>,
    ) -> Result<(), TrainError> {
        let params = model.trainable();
        let values = to_host(&self.values, &params)?;
        let mut contents = self.averaged(model, |model| (hooks.export)(model, self.step))?;
        contents.insert(
            TRAINABLE.into(),
            Content::Bytes(encode_tensors(&values, None)?),
        );
        contents.insert(OPTIMIZER.into(), Content::Bytes(self.optimizer.encode()?));
        if let Some(ema) = &self.ema {
            contents.insert(EMA.into(), Content::Bytes(ema.encode(&params)?));
        }
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
fn guard<'a>(run: &RunContext<'a>) -> ResumeCheck<'a> {
    ResumeCheck {
        config: run.config,
        dataset_fingerprint: run.dataset_fingerprint,
        seed: run.seed,
        world: 1,
        allowed: &FREE_KEYS,
    }
}

/// Refuses to go on with other settings or other data, as [`train`] does, for programs that have work to do before they
/// come to it. Without a checkpoint there is nothing to refuse.
///
/// # Errors
/// [`TrainError::Resume`] with everything that differs; a checkpoint that cannot be read.
pub fn check_resume(run: &RunContext<'_>) -> Result<(), TrainError> {
    if !run.resume {
        return Ok(());
    }
    match latest(&run.dir.checkpoints())? {
        Some(checkpoint) => guard(run).check(&checkpoint),
        None => Ok(()),
    }
}

fn restore<M: Trainable>(
    checkpoint: &Checkpoint,
    model: &mut M,
    optimizer: &mut AdamW,
    objective: &mut dyn Objective<M>,
    run: &RunContext<'_>,
) -> Result<(u64, NamedTensors), TrainError> {
    guard(run).check(checkpoint)?;
    let (tensors, _): (BTreeMap<String, HostTensor>, _) = checkpoint.tensors(TRAINABLE)?;
    fits(&tensors, &model.trainable(), &checkpoint.file(TRAINABLE)?)?;
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
