//! The settings of `train-video`: every key, its default and its meaning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vtb_data::LastBatch;
use vtb_lora::ModuleFilter;
use vtb_models_diffusion::wan::{RECIPE_TARGETS, Solver};
use vtb_trainer::objectives::flow::FlowConfig;
use vtb_trainer::train::FlowSettings;

use super::frames::{FrameChoice, FrameSampling, ShortClip};
use crate::flow_run::{
    DataKeys, ExportSection, FlowEvalSection, FlowLogSection, FlowRun, FlowTrainSection, ModelKeys,
    SampleSection,
};
use crate::settings::{LoraSection, SaveSection};

/// Settings of `train-video`.
pub type VideoRun = FlowRun<VideoModelSection, VideoDataSection, SamplerSection, VideoDemoSection>;

/// Which model, where and how precise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoModelSection {
    /// Directory in the diffusers layout or with the original files, or name on the hub; without it a tiny model is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Adapter to start from, in any form: a folder of PEFT, a safetensors file, or a name on the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// `auto` (f32 on the CPU, bf16 on a GPU), `f32` or `bf16`.
    pub precision: String,
}

/// Training and held-out rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoDataSection {
    /// `train_video.csv` of `prepare-data video`, or the same as JSON or JSON lines; without it puzzles are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<String>,
    /// Held-out rows of the same form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval: Option<String>,
    /// Share of the training rows that is held out in place of such a file; 0: none.
    pub eval_split: f64,
    /// Clips are relative to this folder; without it to the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_root: Option<String>,
    /// Frames of a sample: 4k + 1.
    pub frames: usize,
    /// Width of a sample in pixels, a multiple of 32. Clips are scaled until they cover it, and the middle is kept.
    pub width: usize,
    /// Its height, likewise.
    pub height: usize,
    /// How frames are taken: `head`, `uniform` or `chunk`.
    pub sampling: FrameSampling,
    /// What becomes of clips that have too few: `refuse` or `shorten`.
    pub short: ShortClip,
    /// Whether the first frame is given, and the others are learned; without it all are, from the prompt alone.
    pub first_frame: bool,
    /// Encoded prompts and clips; without it below the run directory. Runs may share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<String>,
    /// Whether rows of like shape are put into the same batch.
    pub bucket: bool,
    /// Threads that read rows ahead; 0 reads them within the step.
    pub threads: usize,
    /// Most rows read and not used yet.
    pub ahead: usize,
}

impl VideoDataSection {
    /// The choice of frames.
    pub(super) fn choice(&self) -> FrameChoice {
        FrameChoice {
            sampling: self.sampling,
            short: self.short,
            frames: self.frames,
        }
    }
}

/// How previews are sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerSection {
    /// `unipc` or `euler`.
    pub solver: Solver,
    /// Shift of the noise levels; above 1 is towards noise.
    pub shift: f64,
    /// Frames per second of the files.
    pub fps: f64,
}

impl Default for SamplerSection {
    fn default() -> Self {
        Self {
            solver: Solver::UniPc,
            shift: 5.0,
            fps: 16.0,
        }
    }
}

/// The run a stranger starts. Read only where no model or no data is named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoDemoSection {
    /// Puzzle tasks.
    pub tasks: Vec<String>,
    /// Parameters by task that differ from its defaults.
    pub params: BTreeMap<String, Value>,
    /// Training puzzles of each task.
    pub train_puzzles: usize,
    /// Held-out puzzles of each task, of other scenes.
    pub eval_puzzles: usize,
}

impl ModelKeys for VideoModelSection {
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

impl DataKeys for VideoDataSection {
    const ROOT: &'static str = "data.video_root";

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
        self.video_root.as_deref()
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

impl VideoRun {
    /// Defaults; those of the default run where `demo` is set, those for real models otherwise.
    pub fn defaults(demo: bool) -> Self {
        let run = Self {
            output_dir: "runs/video".into(),
            seed: 42,
            model: VideoModelSection {
                path: None,
                adapter: None,
                device: "auto".into(),
                precision: "auto".into(),
            },
            data: VideoDataSection {
                train: None,
                eval: None,
                eval_split: 0.0,
                video_root: None,
                frames: 81,
                width: 480,
                height: 896,
                sampling: FrameSampling::Head,
                short: ShortClip::Refuse,
                first_frame: true,
                cache_dir: None,
                bucket: true,
                threads: 2,
                ahead: 8,
            },
            lora: LoraSection {
                rank: 32,
                alpha: 32.0,
                targets: ModuleFilter::names(RECIPE_TARGETS),
                ..LoraSection::default()
            },
            train: FlowTrainSection::recipe(),
            batch: FlowSettings::default(),
            flow: FlowConfig::wan(),
            eval: FlowEvalSection {
                levels: 8,
                max_rows: 16,
                batch_size: 1,
            },
            samples: SampleSection {
                prompts: None,
                count: 2,
                every: 500,
                steps: 30,
                cfg: 5.0,
                negative_prompt: String::new(),
                judge: None,
            },
            sampler: SamplerSection::default(),
            demo: VideoDemoSection {
                tasks: vec!["maze_square".into(), "midpoint".into()],
                params: demo_params(),
                train_puzzles: 192,
                eval_puzzles: 8,
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
            data: VideoDataSection {
                frames: 9,
                width: 128,
                height: 128,
                ..run.data
            },
            train: FlowTrainSection {
                max_steps: 2000,
                ..FlowTrainSection::demo()
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
                count: 4,
                steps: 20,
                cfg: 1.0,
                ..run.samples
            },
            ..run
        }
    }
}

fn demo_params() -> BTreeMap<String, Value> {
    let maze = json!({
        "rows": 7,
        "cols": 7,
        "cell": 16,
        "min_path": 3,
        "print_ids": false,
    });
    let midpoint = json!({
        "width": 256,
        "height": 256,
        "candidates": 3,
        "marker_radius": 14.0,
        "line_width": 8.0,
    });
    BTreeMap::from([("maze_square".into(), maze), ("midpoint".into(), midpoint)])
}
