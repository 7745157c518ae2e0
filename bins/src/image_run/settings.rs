//! The settings of `train-image`: every key, its default and its meaning.

use serde::{Deserialize, Serialize};
use vtb_data::LastBatch;
use vtb_lora::ModuleFilter;
use vtb_models_diffusion::qwen_image::{Activation, EditTemplate, RECIPE_TARGETS, sizes};
use vtb_trainer::objectives::flow::FlowConfig;
use vtb_trainer::train::FlowSettings;

use crate::flow_run::{
    DataKeys, ExportSection, FlowEvalSection, FlowLogSection, FlowRun, FlowTrainSection, ModelKeys,
    SampleSection,
};
use crate::settings::{LoraSection, SaveSection};

/// Settings of `train-image`.
pub type ImageRun = FlowRun<EditModelSection, EditDataSection, OneWay, EditDemoSection>;

/// Nothing to choose: previews are sampled as the model's files say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneWay {}

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

impl ModelKeys for EditModelSection {
    fn named(&mut self) -> [&mut Option<String>; 2] {
        [&mut self.path, &mut self.adapter]
    }

    fn is_named(&self) -> bool {
        self.path.is_some()
    }

    fn device(&self) -> &str {
        &self.device
    }

    fn precision(&self) -> &str {
        &self.precision
    }
}

impl DataKeys for EditDataSection {
    const ROOT: &'static str = "data.image_root";

    fn train(&self) -> Option<&str> {
        self.train.as_deref()
    }

    fn eval(&self) -> Option<&str> {
        self.eval.as_deref()
    }

    fn named(&mut self) -> [&mut Option<String>; 2] {
        [&mut self.train, &mut self.eval]
    }

    fn eval_split(&self) -> f64 {
        self.eval_split
    }

    fn root(&self) -> Option<&str> {
        self.image_root.as_deref()
    }

    fn cache_dir(&self) -> Option<&str> {
        self.cache_dir.as_deref()
    }

    fn bucket(&self) -> bool {
        self.bucket
    }

    fn ahead(&self) -> (usize, usize) {
        (self.threads, self.ahead)
    }
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
            train: FlowTrainSection::recipe(),
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
            sampler: OneWay {},
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
            log: FlowLogSection { seconds: 5.0 },
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
            train: FlowTrainSection::demo(),
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
}
