//! The settings of `train-image`: every key, its default and its meaning.

use serde::{Deserialize, Serialize};
use vtb_data::LastBatch;
use vtb_lora::{AdapterFormat, ModuleFilter};
use vtb_models_diffusion::qwen_image::{Activation, EditTemplate, RECIPE_TARGETS, sizes};
use vtb_trainer::checkpoint::Retention;
use vtb_trainer::objectives::flow::FlowConfig;
use vtb_trainer::optim::AdamWConfig;
use vtb_trainer::schedule::{Decay, ScheduleConfig};
use vtb_trainer::train::{FlowSettings, LoopConfig};

use crate::settings::{LoraSection, SaveSection};

/// Settings of `train-image`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRun {
    /// Where everything is written.
    pub output_dir: String,
    /// Everything random derives from it.
    pub seed: u64,
    /// The model.
    pub model: EditModelSection,
    /// The data.
    pub data: EditDataSection,
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
    /// The run without a model of one's own.
    pub demo: EditDemoSection,
    /// Checkpoints.
    pub save: SaveSection,
    /// Forms in which the adapter is written.
    pub export: ExportSection,
    /// Logs.
    pub log: EditLogSection,
}

/// Which model, where and how precise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditModelSection {
    /// Directory in the diffusers layout, or name on the hub; without it a tiny model is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Adapter to start from, in any form: a folder of PEFT, a safetensors file, or a name on the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// `auto` (f32 on the CPU, bf16 on a GPU), `f32` or `bf16`.
    pub precision: String,
    /// How pictures stand in the prompt: `list` (2509, 2511) or `single` (the first Qwen-Image-Edit).
    pub template: EditTemplate,
    /// GELU of the transformer's MLPs: `gelu_tanh` as published, `quick_gelu` as DiffSynth-Studio computes it.
    pub activation: String,
}

impl EditModelSection {
    /// The GELU; `None` for one there is none of.
    pub fn gelu(&self) -> Option<Activation> {
        match self.activation.as_str() {
            "gelu_tanh" => Some(Activation::GeluTanh),
            "quick_gelu" => Some(Activation::QuickGelu),
            _ => None,
        }
    }
}

/// Training and held-out rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditDataSection {
    /// `metadata.json` of `prepare-data image`, or the same as CSV or JSON lines; without it puzzles are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<String>,
    /// Held-out rows of the same form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval: Option<String>,
    /// Share of the training rows that is held out in place of such a file; 0: none.
    pub eval_split: f64,
    /// Pictures are relative to this folder; without it to the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_root: Option<String>,
    /// Most pixels of a target; larger ones are reduced, none is enlarged.
    pub max_pixels: usize,
    /// Pixels to which every picture to edit is brought for the transformer.
    pub reference_area: usize,
    /// The same for the text encoder, with the list template.
    pub condition_area: usize,
    /// Refuse data in which one row's target is what another starts from.
    pub check_swapped: bool,
    /// Encoded prompts and pictures; without it below the run directory. Runs may share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<String>,
    /// Whether rows of like shape are put into the same batch.
    pub bucket: bool,
    /// Threads that read rows ahead; 0 reads them within the step.
    pub threads: usize,
    /// Most rows read and not used yet.
    pub ahead: usize,
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

/// Previews: edits drawn while training goes on.
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
    /// Euler steps of a preview.
    pub steps: usize,
    /// Guidance; 1 is none and half the work.
    pub cfg: f32,
    /// What the result is to be unlike, where there is guidance.
    pub negative_prompt: String,
    /// Data set of puzzles (folder of `generate-dataset`) whose judges score previews by the `id` of their rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<String>,
}

/// The run a stranger starts. Read only where no model or no data is named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditDemoSection {
    /// Puzzle task.
    pub task: String,
    /// Parameters of the task that differ from its defaults.
    pub params: serde_json::Value,
    /// Training puzzles.
    pub train_puzzles: usize,
    /// Held-out puzzles, of other scenes.
    pub eval_puzzles: usize,
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
pub struct EditLogSection {
    /// Seconds between lines of progress where there is no terminal.
    pub seconds: f64,
}

impl ImageRun {
    /// Defaults; those of the default run where `demo` is set, those for real models otherwise.
    pub fn defaults(demo: bool) -> Self {
        let targets = ModuleFilter::names(RECIPE_TARGETS);
        let run = Self {
            output_dir: "runs/image".into(),
            seed: 42,
            model: EditModelSection {
                path: None,
                adapter: None,
                device: "auto".into(),
                precision: "auto".into(),
                template: EditTemplate::List,
                activation: "gelu_tanh".into(),
            },
            data: EditDataSection {
                train: None,
                eval: None,
                eval_split: 0.0,
                image_root: None,
                max_pixels: 1 << 20,
                reference_area: sizes::REFERENCE_AREA,
                condition_area: sizes::CONDITION_AREA,
                check_swapped: true,
                cache_dir: None,
                bucket: true,
                threads: 2,
                ahead: 8,
            },
            lora: LoraSection {
                rank: 32,
                alpha: 32.0,
                targets,
                ..LoraSection::default()
            },
            train: FlowTrainSection {
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
            },
            batch: FlowSettings::default(),
            flow: FlowConfig::default(),
            eval: FlowEvalSection {
                levels: 8,
                max_rows: 64,
                batch_size: 1,
            },
            samples: SampleSection {
                prompts: None,
                count: 4,
                every: 500,
                steps: 30,
                cfg: 4.0,
                negative_prompt: " ".into(),
                judge: None,
            },
            demo: EditDemoSection {
                task: "maze_square".into(),
                params: serde_json::json!({
                    "rows": 7,
                    "cols": 7,
                    "cell": 16,
                    "min_path": 3,
                    "print_ids": false,
                }),
                train_puzzles: 512,
                eval_puzzles: 16,
            },
            save: SaveSection {
                steps: 250,
                keep_last: 2,
                keep_best: true,
            },
            export: ExportSection {
                formats: vec!["peft".into(), "comfyui".into()],
            },
            log: EditLogSection { seconds: 5.0 },
        };
        if !demo {
            return run;
        }
        Self {
            data: EditDataSection {
                reference_area: 112 * 112,
                condition_area: 112 * 112,
                ..run.data
            },
            train: FlowTrainSection {
                max_steps: 600,
                learning_rate: 3e-3,
                schedule: Decay::Cosine,
                warmup_ratio: 0.02,
                weight_decay: 0.0,
                beta2: 0.99,
                ..run.train
            },
            batch: FlowSettings {
                batch_size: 8,
                recompute: false,
                last: LastBatch::Wrap,
                ..run.batch
            },
            eval: FlowEvalSection {
                batch_size: 8,
                ..run.eval
            },
            samples: SampleSection {
                steps: 20,
                cfg: 1.0,
                ..run.samples
            },
            ..run
        }
    }

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
