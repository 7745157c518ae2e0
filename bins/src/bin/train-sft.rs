//! Supervised fine-tuning of a Qwen3-VL or Qwen2.5-VL.

use std::process::ExitCode;

use clap::Parser;
use vtb_bins::{ending, options::TrainOptions, sft_run};

/// Fine-tunes a Qwen3-VL or Qwen2.5-VL on conversations with pictures: an adapter, or all weights with --set train.mode=full.
///
/// Without arguments it makes a tiny model of the true architecture and puzzles of its own and trains on them. With
/// --model and --data it trains an adapter for a model of yours. Loss is taken on assistant turns.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLE)]
struct Cli {
    #[command(flatten)]
    options: TrainOptions,
}

const EXAMPLE: &str = "\
Example:
  train-sft --model ./Qwen3-VL-4B-Instruct --data train_sft.jsonl --output-dir runs/sft \\
            --max-steps 1000 --learning-rate 1e-4 --lora-rank 16

Rows are JSON lines with `messages` and `images`; the last message is the assistant's. See --print-config for every
key and its default.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (the state is saved; go on with --resume).";

fn main() -> ExitCode {
    let cli = Cli::parse();
    ending::start();
    ending::finish(sft_run::run(&cli.options))
}
