//! `train-grpo` with a reward of your own beside ours.
//!
//! ```text
//! cargo run --release --example train_custom_reward -- --max-steps 20 --output-dir runs/own-reward
//! ```

use std::process::ExitCode;

use clap::Parser;
use serde::Deserialize;
use vtb_bins::options::TrainOptions;
use vtb_bins::{ending, grpo_run};
use vtb_rewards::{Completion, Reference, Registry, Reward, Score, params};

/// 1 up to `words` words before the answer, then less and less down to 0 at twice as many.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShortReasoning {
    words: u32,
}

impl Reward for ShortReasoning {
    fn name(&self) -> &str {
        "short_reasoning"
    }

    fn score(&self, completion: &Completion<'_>, _row: &Reference) -> Score {
        let text = completion.text();
        let reasoning = text.split("<answer>").next().unwrap_or(text);
        let used = reasoning.split_whitespace().count();
        let allowed = f64::from(self.words.max(1));
        let excess = (used as f64 - allowed).max(0.0) / allowed;
        Score::ok((1.0 - excess).max(0.0)).component("words", used as f64)
    }
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: TrainOptions,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    ending::start();
    ending::finish(train(&cli.options))
}

fn train(options: &TrainOptions) -> anyhow::Result<ExitCode> {
    let mut registry = Registry::builtin();
    registry.register("short_reasoning", |given| {
        let reward: ShortReasoning = params("short_reasoning", given)?;
        Ok(Box::new(reward))
    })?;
    grpo_run::run(options, &registry)
}
