//! What a run is going to do, said before it does it.

use std::fmt::Write;
use std::path::Path;

use vtb_models_vlm::config::AnyVlmConfig;
use vtb_models_vlm::files::ModelDir;

use crate::settings::{LoraSection, TrainSection};

/// Lines of a plan.
#[derive(Debug, Default)]
pub struct Plan {
    text: String,
}

impl Plan {
    /// Adds `name: value`.
    pub fn line(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "  {name:<18} {value}");
    }

    /// The model's size and what its weights and trainable parameters take.
    pub fn model(
        &mut self,
        path: Option<&Path>,
        lora: &LoraSection,
        train: &TrainSection,
        bytes: u64,
    ) -> anyhow::Result<()> {
        let Some(path) = path else {
            self.line(
                "model",
                "a tiny Qwen3-VL, made here (random weights, real file layout)",
            );
            return Ok(());
        };
        let config = AnyVlmConfig::from_dir(&ModelDir::open(path)?)?;
        let parameters = config.parameters();
        self.line("model", path.display());
        self.line(
            "parameters",
            format!("{} ({})", parameters, gib(parameters * bytes)),
        );
        if train.mode == "full" {
            self.line(
                "trainable",
                format!("all; gradients and AdamW {}", gib(parameters * 12)),
            );
        } else {
            self.line(
                "adapter",
                format!(
                    "rank {}, alpha {}, targets {}",
                    lora.rank, lora.alpha, lora.targets
                ),
            );
        }
        Ok(())
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Bytes in the unit a person reads.
pub fn gib(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 30 => format!("{:.2} GiB", b as f64 / f64::from(1 << 30)),
        b if b >= 1 << 20 => format!("{:.1} MiB", b as f64 / f64::from(1 << 20)),
        b => format!("{b} bytes"),
    }
}
