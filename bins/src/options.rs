//! Command-line options of the training programs, and how they become overrides of settings.

use std::path::PathBuf;

use clap::Args;

/// Options every training program has. Each flag is shorthand for a key of the configuration.
#[derive(Debug, Clone, Args)]
pub struct TrainOptions {
    /// Model directory (Hugging Face layout; train-image: diffusers layout; train-video: that or the original files), or a
    /// name on the hub: org/name@revision [key: model.path; default: make a tiny model]
    #[arg(long, value_name = "DIR|NAME", help_heading = "Model and data")]
    pub model: Option<PathBuf>,
    /// Adapter to start from: a PEFT directory (train-image, train-video: any form), or org/name@revision [key: model.adapter]
    #[arg(long, value_name = "DIR|NAME", help_heading = "Model and data")]
    pub adapter: Option<PathBuf>,
    /// Training rows, ms-swift JSONL (train-image: metadata.json; train-video: train_video.csv); paths in it are absolute
    /// or relative to the file. A data set on the hub is org/name@revision:file [key: data.train; default: generate puzzles]
    #[arg(long, value_name = "FILE|NAME", help_heading = "Model and data")]
    pub data: Option<PathBuf>,
    /// Held-out rows of the same form, measured before and after [key: data.eval]
    #[arg(long, value_name = "FILE|NAME", help_heading = "Model and data")]
    pub eval_data: Option<PathBuf>,

    /// Optimizer steps [key: train.max_steps]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub max_steps: Option<u64>,
    /// Highest learning rate [key: train.learning_rate]
    #[arg(long, value_name = "X", help_heading = "Training")]
    pub learning_rate: Option<f64>,
    /// Rows (grpo: completions) per forward and backward pass [key: batch.batch_size]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub batch_size: Option<usize>,
    /// Passes per optimizer step [key: batch.gradient_accumulation]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub gradient_accumulation: Option<usize>,
    /// Rank of the adapter [key: lora.rank]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub lora_rank: Option<usize>,
    /// Seed of everything random [key: seed; default: 42]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub seed: Option<u64>,

    /// `auto`, `cpu`, `cuda` or `cuda:N` [key: model.device; default: auto]
    #[arg(long, value_name = "DEVICE", help_heading = "Machine")]
    pub device: Option<String>,
    /// `auto`, `f32` or `bf16` [key: model.precision; default: auto = f32 on the CPU, bf16 on a GPU]
    #[arg(long, value_name = "FORMAT", help_heading = "Machine")]
    pub precision: Option<String>,

    /// Run directory; must be new unless --resume [key: output_dir]
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    pub output_dir: Option<PathBuf>,
    /// Go on from the latest checkpoint of the run directory, exactly
    #[arg(long, help_heading = "Run")]
    pub resume: bool,
    /// Configuration file; flags and --set win over it
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub config: Option<PathBuf>,
    /// Override any key of the configuration, such as train.weight_decay=0.1; may be repeated
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Run")]
    pub set: Vec<String>,
    /// Print the resolved configuration and stop
    #[arg(long, help_heading = "Run")]
    pub print_config: bool,
    /// Check everything, print the plan and stop: no device is opened, nothing is written
    #[arg(long, help_heading = "Run")]
    pub dry_run: bool,
    /// With --dry-run: memory of the device to plan for, GiB [default: what is free on this machine's]
    #[arg(long, value_name = "GIB", help_heading = "Run", requires = "dry_run")]
    pub device_memory: Option<f64>,
    /// Live terminal dashboard (needs a build with `--features tui`)
    #[arg(long, help_heading = "Run")]
    pub tui: bool,
}

impl TrainOptions {
    /// The flags as `key=value` overrides, before those of `--set`.
    pub fn overrides(&self) -> Vec<String> {
        let text = |p: &Option<PathBuf>| p.as_ref().map(|p| quoted(&p.display().to_string()));
        let number = |v: Option<String>| v;
        let pairs = [
            ("model.path", text(&self.model)),
            ("model.adapter", text(&self.adapter)),
            ("data.train", text(&self.data)),
            ("data.eval", text(&self.eval_data)),
            (
                "train.max_steps",
                number(self.max_steps.map(|v| v.to_string())),
            ),
            (
                "train.learning_rate",
                self.learning_rate.map(|v| format!("{v:?}")),
            ),
            ("batch.batch_size", self.batch_size.map(|v| v.to_string())),
            (
                "batch.gradient_accumulation",
                self.gradient_accumulation.map(|v| v.to_string()),
            ),
            ("lora.rank", self.lora_rank.map(|v| v.to_string())),
            ("seed", self.seed.map(|v| v.to_string())),
            ("model.device", self.device.as_deref().map(quoted)),
            ("model.precision", self.precision.as_deref().map(quoted)),
            ("output_dir", text(&self.output_dir)),
        ];
        let mut all: Vec<String> = pairs
            .into_iter()
            .filter_map(|(k, v)| Some(format!("{k}={}", v?)))
            .collect();
        all.extend(self.set.iter().cloned());
        all
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
