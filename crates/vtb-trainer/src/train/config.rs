//! Settings of the step loop, and what identifies a run.

use burn::tensor::Device;
use serde_json::Value;
use vtb_nn::lm::NamedTensors;

use crate::checkpoint::Retention;
use crate::optim::{AdamW, AdamWConfig, Ema};
use crate::run_dir::RunDir;
use crate::schedule::{Schedule, ScheduleConfig};

/// Settings a resumed run may change: they do not touch what was computed.
pub(super) const FREE_KEYS: [&str; 19] = [
    "output_dir",
    "log",
    "save",
    "samples",
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
    /// Steps between samples; 0: only before the first step and after the last. Without a hook there are none.
    pub sample_steps: u64,
    /// Decay of the average of what trains, as [`crate::optim::Ema`] has it; 0 is off.
    pub ema_decay: f64,
    /// Steps whose gradients may be skipped in a row for not being finite before the run stops.
    pub max_skipped_steps: u64,
}

impl LoopConfig {
    /// Settings that make no sense, one sentence each. [`super::train`] refuses the first of them, when model and data are
    /// there already.
    pub fn faults(&self) -> Vec<String> {
        let schedule = Schedule::new(&self.schedule, self.max_steps).err();
        let optimizer = AdamW::new(self.optimizer.clone(), &[]).err();
        let ema = Ema::new(self.ema_decay, &NamedTensors::new()).err();
        let faults = schedule.into_iter().chain(optimizer).chain(ema);
        faults.map(|fault| fault.to_string()).collect()
    }
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
