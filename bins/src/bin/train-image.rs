//! LoRA training of Qwen-Image-Edit.

use std::process::ExitCode;

use clap::Parser;
use vtb_bins::{ending, image_run, options::TrainOptions};

/// Trains an adapter for Qwen-Image-Edit on pictures before and after.
///
/// Without arguments it makes a tiny model of the true architecture and mazes with their solutions, and trains on them.
/// With --model and --data it trains an adapter for a model of yours: prompts and pictures are encoded into a cache first,
/// then the encoders leave memory and the transformer trains.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLE)]
struct Cli {
    #[command(flatten)]
    options: TrainOptions,
}

const EXAMPLE: &str = "\
Example:
  train-image --model ./Qwen-Image-Edit-2511 --data data/image/metadata.json --output-dir runs/image \\
              --max-steps 2000 --learning-rate 1e-4 --lora-rank 32

Rows have `prompt`, `image` (the target) and `edit_image` (one picture, or a list), as `prepare-data image` writes
them. --model is a directory in the diffusers layout. See --print-config for every key and its default.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (the state is saved; go on with --resume).";

fn main() -> ExitCode {
    let cli = Cli::parse();
    ending::start();
    ending::finish(image_run::run(&cli.options))
}
