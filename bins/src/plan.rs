//! What a run is going to do, said before it does it.

use std::fmt::Write;

use crate::memory::States;
use crate::settings::{LoraSection, TrainSection};
use crate::source::{Inputs, Source};

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

    /// Held-out rows and the adapter to start from, where they are named.
    pub fn inputs(&mut self, inputs: &Inputs) {
        if let Some(eval) = &inputs.eval {
            self.line("held-out data", eval.in_plan());
        }
        if let Some(adapter) = &inputs.adapter {
            self.line("start from", adapter.in_plan());
        }
    }

    /// The model, and what its weights and what trains take.
    pub fn model(
        &mut self,
        source: Option<&Source>,
        states: Option<&States>,
        lora: &LoraSection,
        train: &TrainSection,
    ) {
        let (Some(source), Some(states)) = (source, states) else {
            self.line(
                "model",
                "a tiny Qwen3-VL, made here (random weights, real file layout)",
            );
            return;
        };
        let all = states.config.parameters();
        self.line("model", source.in_plan());
        self.line("parameters", format!("{all} ({})", gib(states.weights())));
        let trains = states.trainable.parameters;
        let share = 100.0 * trains as f64 / all.max(1) as f64;
        let told = gib(states.training());
        self.line(
            "trainable",
            match train.mode.as_str() {
                "full" => format!("{trains} ({share:.1} %); gradients and AdamW {told}"),
                _ => format!("{trains} ({share:.2} %); with gradients and AdamW {told}"),
            },
        );
        if train.mode != "full" {
            self.line(
                "adapter",
                format!(
                    "rank {}, alpha {}, targets {}",
                    lora.rank, lora.alpha, lora.targets
                ),
            );
        }
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
