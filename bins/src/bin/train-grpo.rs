//! Reinforcement learning of a Qwen3-VL or Qwen2.5-VL on puzzles whose answers can be checked.

use std::process::ExitCode;

use clap::Parser;
use vtb_bins::{ending, grpo_run, options::TrainOptions};
use vtb_rewards::Registry;

/// Post-trains a Qwen3-VL or Qwen2.5-VL by GRPO on puzzles whose answers can be checked.
///
/// Without arguments it makes a tiny model of the true architecture and puzzles of its own, gives the model a short
/// supervised start, improves it by reinforcement learning, and measures it before and after on puzzles of scenes it
/// has never seen. With --model and --data it trains an adapter for a model of yours.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLE)]
struct Cli {
    #[command(flatten)]
    options: TrainOptions,
    /// Completions per prompt, at least 2 [key: grpo.num_generations; default: 8]
    #[arg(long, value_name = "G", help_heading = "Reinforcement learning")]
    num_generations: Option<usize>,
    /// Most tokens of a completion [key: grpo.max_completion_length]
    #[arg(long, value_name = "TOKENS", help_heading = "Reinforcement learning")]
    max_completion_length: Option<usize>,
    /// Sampling temperature, also of the loss [key: grpo.temperature; default: 1]
    #[arg(long, value_name = "T", help_heading = "Reinforcement learning")]
    temperature: Option<f64>,
    /// Weight of the KL term against the adapter-off policy [key: grpo.beta; default: 0 = never computed]
    #[arg(long, value_name = "X", help_heading = "Reinforcement learning")]
    beta: Option<f64>,
    /// `grpo`, `bnpo`, `dr_grpo`, `dapo` or `cispo` [key: grpo.loss_type; default: grpo]
    #[arg(long, value_name = "TYPE", help_heading = "Reinforcement learning")]
    loss_type: Option<String>,
}

const EXAMPLE: &str = "\
Example:
  train-grpo --model ./Qwen3-VL-4B-Instruct --data train_grpo.jsonl --output-dir runs/mazes \\
             --max-steps 500 --learning-rate 1e-6 --set grpo.loss_type=dapo --set grpo.epsilon_high=0.28

Rows are JSON lines with `messages`, `images`, `solution` and, for puzzles of this project, the columns that say how
an answer is checked. See --print-config for every key and its default.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (the state is saved; go on with --resume).";

fn main() -> ExitCode {
    let cli = Cli::parse();
    ending::start();
    let mut options = cli.options;
    let pairs = [
        (
            "grpo.num_generations",
            cli.num_generations.map(|v| v.to_string()),
        ),
        (
            "grpo.max_completion_length",
            cli.max_completion_length.map(|v| v.to_string()),
        ),
        (
            "grpo.temperature",
            cli.temperature.map(|v| format!("{v:?}")),
        ),
        ("grpo.beta", cli.beta.map(|v| format!("{v:?}"))),
        ("grpo.loss_type", cli.loss_type),
    ];
    let flags = pairs
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", value?)));
    options.set.splice(0..0, flags);
    ending::finish(grpo_run::run(&options, &Registry::builtin()))
}
