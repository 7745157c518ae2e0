//! The settings of training programs: every key, its default and its meaning. The TOML files in `configs/` have this
//! shape.

mod defaults;

use serde::{Deserialize, Serialize};
use vtb_data::{Bucket, RowCheck};
use vtb_lora::{LoraConfig, LoraInit, ModuleFilter};
use vtb_models_vlm::encode::{LabelPolicy, Overflow};
use vtb_models_vlm::model::FullTraining;
use vtb_rewards::RewardSpec;
use vtb_trainer::checkpoint::Retention;
use vtb_trainer::objectives::grpo::GrpoConfig;
use vtb_trainer::optim::{AdamWConfig, ParamGroup};
use vtb_trainer::schedule::{Decay, ScheduleConfig};
use vtb_trainer::train::{GrpoSettings, LoadOptions, LoopConfig, SftSettings};

/// Settings of `train-grpo`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpoRun {
    /// Where everything is written.
    pub output_dir: String,
    /// Everything random derives from it.
    pub seed: u64,
    /// The model.
    pub model: ModelSection,
    /// The data.
    pub data: DataSection,
    /// The adapter.
    pub lora: LoraSection,
    /// Steps, learning rate, optimizer.
    pub train: TrainSection,
    /// Batches.
    pub batch: GrpoSettings,
    /// The objective.
    pub grpo: GrpoConfig,
    /// Where completions come from.
    pub rollout: RolloutSection,
    /// Reward functions.
    pub rewards: Vec<RewardSpec>,
    /// The run without a model of one's own.
    pub demo: DemoSection,
    /// Held-out rows.
    pub eval: EvalSection,
    /// Checkpoints.
    pub save: SaveSection,
    /// Logs.
    pub log: LogSection,
}

/// Settings of `train-sft`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftRun {
    /// Where everything is written.
    pub output_dir: String,
    /// Everything random derives from it.
    pub seed: u64,
    /// The model.
    pub model: ModelSection,
    /// The data.
    pub data: DataSection,
    /// The adapter.
    pub lora: LoraSection,
    /// Steps, learning rate, optimizer.
    pub train: TrainSection,
    /// Batches.
    pub batch: SftSettings,
    /// The run without a model of one's own.
    pub demo: DemoSection,
    /// Held-out rows.
    pub eval: EvalSection,
    /// Checkpoints.
    pub save: SaveSection,
    /// Logs.
    pub log: LogSection,
}

/// Which model, where and how precise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// Model directory or name on the hub; without it a tiny model is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// PEFT directory, or name on the hub, to start from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// `auto` (f32 on the CPU, bf16 on a GPU), `f32` or `bf16`.
    pub precision: String,
    /// Most tokens of a row, prompt and answer.
    pub max_length: usize,
    /// What becomes of longer rows: `raise` ends the run with the row's name, `left` and `right` take text away from the
    /// beginning or the end, never a picture.
    pub truncation_strategy: String,
}

/// Training and held-out rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// ms-swift JSONL, or name on the hub; without it puzzles are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<String>,
    /// Held-out JSONL; `[eval]` says how it is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval: Option<String>,
    /// Share of the training rows that is held out in place of such a file; 0: none.
    pub eval_split: f64,
    /// Unusable rows that are left out; one more is an error. Above 0 every row is checked before training.
    pub max_bad_rows: usize,
    /// `background`: 256 rows are checked before training and the others while it begins. `full`: all before it.
    pub check: RowCheck,
    /// Pictures and videos must lie below this directory, links followed; without it anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_root: Option<String>,
    /// What is learned of a conversation: `default` every answer, `last_round` the last one, `all` the questions too.
    pub loss_scale: String,
    /// Rows that share a batch: `none` leaves it to chance, `length` and `pixels` put like ones together.
    pub bucket: Bucket,
    /// Threads that prepare rows ahead; 0 prepares them within the step.
    pub threads: usize,
    /// Most rows prepared and not used yet.
    pub ahead: usize,
    /// Keeps decoded and resized pictures for the next epoch and the next run; without it they are made each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<String>,
    /// Most that directory may hold, in GiB; the least recently used pictures go first.
    pub cache_gib: f64,
}

impl ModelSection {
    /// No model in particular, on this device in this precision.
    pub fn on(device: &str, precision: &str) -> Self {
        Self {
            device: device.to_owned(),
            precision: precision.to_owned(),
            ..defaults::common_model()
        }
    }

    /// What becomes of rows that are too long; `None` for a strategy there is none of.
    pub fn overflow(&self) -> Option<Overflow> {
        match self.truncation_strategy.as_str() {
            "raise" => Some(Overflow::Drop),
            "left" => Some(Overflow::Left),
            "right" => Some(Overflow::Right),
            _ => None,
        }
    }
}

impl DataSection {
    /// What is learned; `None` for a policy there is none of.
    pub fn labels(&self) -> Option<LabelPolicy> {
        match self.loss_scale.as_str() {
            "default" => Some(LabelPolicy::Default),
            "last_round" => Some(LabelPolicy::LastRound),
            "all" => Some(LabelPolicy::All),
            _ => None,
        }
    }

    /// As objectives want it.
    pub fn load_options(&self) -> LoadOptions {
        LoadOptions {
            threads: self.threads,
            ahead: self.ahead,
            bucket: self.bucket,
        }
    }
}

/// The adapter that trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraSection {
    /// Rank of the factors.
    pub rank: usize,
    /// The delta is scaled by alpha/rank (or alpha/√rank).
    pub alpha: f64,
    /// Dropout before factor A.
    pub dropout: f64,
    /// Scale by alpha/√rank.
    pub rslora: bool,
    /// `all-linear`, a regular expression for whole module paths, or a list of path ends. The default list, the seven
    /// projections, means those of the decoder, whatever layers a vision tower has.
    pub targets: ModuleFilter,
    /// Modules to leave alone although they are targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<ModuleFilter>,
    /// Stacks of experts to adapt as well, such as `mlp.experts.gate_up_proj`: path ends. Needs a dropout of 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_parameters: Vec<String>,
}

impl Default for LoraSection {
    /// Rank 16, alpha 32 on the seven projections of the decoder.
    fn default() -> Self {
        let names = [
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
        ];
        Self {
            rank: 16,
            alpha: 32.0,
            dropout: 0.0,
            rslora: false,
            targets: ModuleFilter::names(names),
            exclude: None,
            target_parameters: Vec::new(),
        }
    }
}

impl LoraSection {
    /// As `vtb-lora` wants it.
    pub fn config(&self) -> LoraConfig {
        LoraConfig {
            r: self.rank,
            alpha: self.alpha,
            dropout: self.dropout,
            use_rslora: self.rslora,
            init: LoraInit::Kaiming,
            targets: self.targets.clone(),
            exclude: self.exclude.clone(),
            target_parameters: self.target_parameters.clone(),
            ..LoraConfig::default()
        }
    }
}

/// Steps, learning rate and optimizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSection {
    /// `lora`, or `full` for the model's own weights.
    pub mode: String,
    /// `full`: leave the vision tower as it is. Adapters sit where `lora.targets` says.
    pub freeze_vit: bool,
    /// `full`: leave the mergers between vision tower and decoder as they are.
    pub freeze_aligner: bool,
    /// Optimizer steps.
    pub max_steps: u64,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// That of what trains in the vision tower; without it the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vit_lr: Option<f64>,
    /// That of what trains in the mergers; without it the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aligner_lr: Option<f64>,
    /// `cosine`, `linear` or `constant`.
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
    /// AdamW, decoupled; norms and biases never decay.
    pub weight_decay: f64,
    /// Gradients are scaled down to this norm; 0 is off.
    pub max_grad_norm: f64,
    /// Steps between evaluations on held-out rows; 0: only before and after.
    pub eval_steps: u64,
    /// Run the longest batch before the first step, so that a lack of memory shows at once.
    pub probe: bool,
    /// Steps in a row that may be skipped for gradients that are not finite.
    pub max_skipped_steps: u64,
}

impl TrainSection {
    /// Which parts train in full mode.
    pub fn full(&self) -> FullTraining {
        FullTraining {
            language: true,
            vision: !self.freeze_vit,
            aligner: !self.freeze_aligner,
        }
    }

    /// Parameters with learning rates of their own. The schedule is one; rates are shares of the highest.
    fn groups(&self) -> Vec<ParamGroup> {
        if self.vit_lr.is_none() && self.aligner_lr.is_none() {
            return Vec::new();
        }
        // The first that fits counts, so the mergers, which lie inside the tower, come first.
        let parts = [
            (r"model\.visual\.(deepstack_)?merger", self.aligner_lr),
            (r"model\.visual\.", self.vit_lr),
        ];
        let group = |(pattern, rate): (&str, Option<f64>)| ParamGroup {
            pattern: pattern.to_owned(),
            lr_scale: rate.map_or(1.0, |rate| rate / self.learning_rate),
            weight_decay: None,
        };
        parts.map(group).into()
    }

    /// As the loop wants it.
    pub fn loop_config(&self, save: &SaveSection, log: &LogSection) -> LoopConfig {
        LoopConfig {
            max_steps: self.max_steps,
            schedule: ScheduleConfig {
                learning_rate: self.learning_rate,
                decay: self.schedule,
                warmup_steps: self.warmup_steps,
                warmup_ratio: self.warmup_ratio,
                min_lr_ratio: self.min_lr_ratio,
            },
            optimizer: AdamWConfig {
                beta1: self.beta1,
                beta2: self.beta2,
                eps: self.eps,
                weight_decay: self.weight_decay,
                groups: self.groups(),
            },
            max_grad_norm: self.max_grad_norm,
            save_steps: save.steps,
            retention: Retention {
                last: save.keep_last,
                best: save.keep_best,
            },
            eval_steps: self.eval_steps,
            completion_steps: log.completion_steps,
            sample_steps: 0,
            ema_decay: 0.0,
            max_skipped_steps: self.max_skipped_steps,
        }
    }
}

/// Where completions come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutSection {
    /// `in-process`: the model that trains samples too. `http`: a server that holds a copy of it and loads adapters while
    /// it runs, such as vLLM.
    pub backend: String,
    /// The server.
    pub url: String,
    /// Adapters are written here for the server; without it below the run directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter_dir: Option<String>,
    /// That directory as the server sees it, where its path is another one there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_adapter_dir: Option<String>,
    /// Environment variable that holds the server's key; none is sent where it is not set.
    pub api_key_env: String,
    /// Requests at a time.
    pub concurrency: usize,
    /// Longest time of one request.
    pub timeout_seconds: f64,
    /// Attempts where a connection breaks or the server is overloaded.
    pub attempts: u32,
    /// Largest mean difference, in nats, between the server's log-probabilities and ours when an adapter is tried.
    pub canary_tolerance: f64,
}

impl Default for RolloutSection {
    fn default() -> Self {
        Self {
            backend: "in-process".into(),
            url: "http://127.0.0.1:8000".into(),
            adapter_dir: None,
            server_adapter_dir: None,
            api_key_env: "VTB_ROLLOUT_API_KEY".into(),
            concurrency: 64,
            timeout_seconds: 600.0,
            attempts: 5,
            canary_tolerance: 0.1,
        }
    }
}

/// The run a stranger starts: a tiny model and generated puzzles. Read only where no model or no data is named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemoSection {
    /// Puzzle task.
    pub task: String,
    /// Parameters of the task that differ from its defaults.
    pub params: serde_json::Value,
    /// Training puzzles.
    pub train_puzzles: usize,
    /// Held-out puzzles, of other scenes.
    pub eval_puzzles: usize,
    /// Steps of the supervised warm start (`train-grpo`).
    pub warm_steps: u64,
    /// Rows per step of the warm start.
    pub warm_batch: usize,
    /// Highest learning rate of the warm start.
    pub warm_learning_rate: f64,
}

/// How held-out rows are measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalSection {
    /// Most rows measured, evenly spread; 0: all.
    pub max_rows: usize,
    /// Most tokens of an answer; 0: `grpo.max_completion_length`, in `train-sft` 64.
    pub max_new_tokens: usize,
    /// Answers sampled to each row for pass@k, besides the greedy one; 0: none.
    pub num_samples: usize,
    /// Temperature of these.
    pub temperature: f64,
    /// Answers that decode at a time.
    pub batch_size: usize,
}

/// Checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaveSection {
    /// Steps between checkpoints; 0: only the last.
    pub steps: u64,
    /// How many of the latest stay; 0 keeps all.
    pub keep_last: usize,
    /// Keep the best as well, by held-out accuracy.
    pub keep_best: bool,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    /// Steps between logged completions; 0: never.
    pub completion_steps: u64,
    /// Also as Parquet files, with the pictures of their prompts.
    pub completion_pictures: bool,
    /// Seconds between progress lines where there is no terminal.
    pub seconds: f64,
}
