//! Settings that all trainers of flow-matching models have: every key, its default and its meaning.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vtb_lora::AdapterFormat;
use vtb_trainer::checkpoint::Retention;
use vtb_trainer::objectives::flow::FlowConfig;
use vtb_trainer::optim::AdamWConfig;
use vtb_trainer::schedule::{Decay, ScheduleConfig};
use vtb_trainer::train::{FlowSettings, LoopConfig};

use crate::settings::{LoraSection, SaveSection};

/// Settings of a run: `M` names the model, `D` the data, `S` says how previews are sampled where there is a choice, and
/// `P` what the run without a model of one's own makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowRun<M, D, S, P> {
    /// Where everything is written.
    pub output_dir: String,
    /// Everything random derives from it.
    pub seed: u64,
    /// The model.
    pub model: M,
    /// The data.
    pub data: D,
    /// The adapter.
    pub lora: LoraSection,
    /// Steps, learning rate, optimizer.
    pub train: FlowTrainSection,
    /// Batches.
    pub batch: FlowSettings,
    /// Noise levels and their weights.
    pub flow: FlowConfig,
    /// Held-out rows.
    pub eval: FlowEvalSection,
    /// Previews.
    pub samples: SampleSection,
    /// How previews are sampled; absent where there is one way.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub sampler: S,
    /// The run without a model of one's own.
    pub demo: P,
    /// Checkpoints.
    pub save: SaveSection,
    /// Forms in which the adapter is written.
    pub export: ExportSection,
    /// Logs.
    pub log: FlowLogSection,
}

/// Whether a section has no keys.
fn is_nothing<T>(_: &T) -> bool {
    size_of::<T>() == 0
}

/// A table of settings.
pub trait Section: Clone + Serialize + DeserializeOwned + 'static {}

impl<T: Clone + Serialize + DeserializeOwned + 'static> Section for T {}

/// The keys that every model section has.
pub trait ModelKeys: Section {
    /// The model, without which a tiny one is made, and the adapter to start from.
    fn named(&mut self) -> [&mut Option<String>; 2];
    /// Whether a model is named.
    fn is_named(&self) -> bool;
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    fn device(&self) -> &str;
    /// `auto`, `f32` or `bf16`.
    fn precision(&self) -> &str;
}

/// The keys that every data section has.
pub trait DataKeys: Section {
    /// The key of [`Self::root`].
    const ROOT: &'static str;

    /// Training rows; without them puzzles are made.
    fn train(&self) -> Option<&str>;
    /// Held-out rows.
    fn eval(&self) -> Option<&str>;
    /// Both of them, to be changed.
    fn named(&mut self) -> [&mut Option<String>; 2];
    /// Share of the training rows that is held out in place of such a file; 0: none.
    fn eval_split(&self) -> f64;
    /// Files of rows are relative to this folder; without it to the file of rows.
    fn root(&self) -> Option<&str>;
    /// Encoded prompts and samples; without it below the run directory.
    fn cache_dir(&self) -> Option<&str>;
    /// Whether rows of like shape are put into the same batch.
    fn bucket(&self) -> bool;
    /// Threads that read rows ahead, and most rows read and not used yet.
    fn ahead(&self) -> (usize, usize);
}

/// Steps, learning rate and optimizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowTrainSection {
    /// Optimizer steps.
    pub max_steps: u64,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// How it goes on after the warm-up.
    pub schedule: Decay,
    /// Steps from 0 up to the highest rate.
    pub warmup_steps: u64,
    /// Warm-up as a fraction of all steps, where `warmup_steps` is 0.
    pub warmup_ratio: f64,
    /// Last rate as a fraction of the highest.
    pub min_lr_ratio: f64,
    /// AdamW.
    pub beta1: f64,
    /// AdamW.
    pub beta2: f64,
    /// AdamW.
    pub eps: f64,
    /// AdamW, decoupled.
    pub weight_decay: f64,
    /// Gradients are scaled down to this norm; 0 is off.
    pub max_grad_norm: f64,
    /// Keep an average of the adapter, which is evaluated and exported in its place; 0 is off.
    pub ema_decay: f64,
    /// Steps between evaluations on held-out rows; 0: only before and after.
    pub eval_steps: u64,
    /// Steps in a row that may be skipped for gradients that are not finite.
    pub max_skipped_steps: u64,
}

impl FlowTrainSection {
    /// For a published model.
    pub(crate) fn recipe() -> Self {
        Self {
            max_steps: 2000,
            learning_rate: 1e-4,
            schedule: Decay::Constant,
            warmup_steps: 0,
            warmup_ratio: 0.0,
            min_lr_ratio: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            ema_decay: 0.0,
            eval_steps: 250,
            max_skipped_steps: 5,
        }
    }

    /// For a tiny model that learns from nothing.
    pub(crate) fn demo() -> Self {
        Self {
            max_steps: 600,
            learning_rate: 3e-3,
            schedule: Decay::Cosine,
            warmup_ratio: 0.02,
            weight_decay: 0.0,
            beta2: 0.99,
            ..Self::recipe()
        }
    }
}

/// How held-out rows are measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowEvalSection {
    /// Noise levels at which every row is measured, spread evenly over those of training.
    pub levels: usize,
    /// Most rows measured, evenly spread; 0: all.
    pub max_rows: usize,
    /// Rows and levels per pass.
    pub batch_size: usize,
}

/// Previews: what is drawn while training goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleSection {
    /// Rows to draw, a file as the training data's; without it the first held-out rows, else the first rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<String>,
    /// Most rows drawn; 0: none.
    pub count: usize,
    /// Steps between previews; 0: only before and after.
    pub every: u64,
    /// Steps from noise to a preview.
    pub steps: usize,
    /// Guidance; 1 is none and half the work.
    pub cfg: f32,
    /// What the result is to be unlike, where there is guidance.
    pub negative_prompt: String,
    /// Data set of puzzles (folder of `generate-dataset`) whose judges score previews by the `id` of their rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<String>,
}

/// What is written beside the state of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportSection {
    /// Any of `peft`, `diffusers`, `comfyui`, `kohya`, `diffsynth`.
    pub formats: Vec<String>,
}

impl ExportSection {
    /// The forms; the first name there is none of as an error.
    ///
    /// # Errors
    /// The name.
    pub fn parsed(&self) -> Result<Vec<AdapterFormat>, String> {
        let find = |name: &String| {
            let found = AdapterFormat::ALL.into_iter().find(|f| f.name() == name);
            found.ok_or_else(|| name.clone())
        };
        self.formats.iter().map(find).collect()
    }
}

/// Progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowLogSection {
    /// Seconds between lines of progress where there is no terminal.
    pub seconds: f64,
}

impl<M, D, S, P> FlowRun<M, D, S, P> {
    /// As the loop wants it.
    pub fn loop_config(&self) -> LoopConfig {
        let train = &self.train;
        LoopConfig {
            max_steps: train.max_steps,
            schedule: ScheduleConfig {
                learning_rate: train.learning_rate,
                decay: train.schedule,
                warmup_steps: train.warmup_steps,
                warmup_ratio: train.warmup_ratio,
                min_lr_ratio: train.min_lr_ratio,
            },
            optimizer: AdamWConfig {
                beta1: train.beta1,
                beta2: train.beta2,
                eps: train.eps,
                weight_decay: train.weight_decay,
                groups: Vec::new(),
            },
            max_grad_norm: train.max_grad_norm,
            save_steps: self.save.steps,
            retention: Retention {
                last: self.save.keep_last,
                best: self.save.keep_best,
            },
            eval_steps: train.eval_steps,
            completion_steps: 0,
            sample_steps: self.samples.every,
            ema_decay: train.ema_decay,
            max_skipped_steps: train.max_skipped_steps,
        }
    }
}
