//! LoRA training of Wan2.2-TI2V.

use std::process::ExitCode;

use clap::Parser;
use vtb_bins::{ending, options::TrainOptions, video_run};

/// Trains an adapter for Wan2.2-TI2V on clips and their prompts.
///
/// Without arguments it makes a tiny model of the true architecture and puzzles with clips of their solutions, and trains
/// on them. With --model and --data it trains an adapter for a model of yours: prompts and clips are encoded into a cache
/// first, then the encoders leave memory and the transformer trains.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLE)]
struct Cli {
    #[command(flatten)]
    options: TrainOptions,
}

const EXAMPLE: &str = "\
Example:
  train-video --model ./Wan2.2-TI2V-5B --data data/video/train_video.csv --output-dir runs/video \\
              --max-steps 2000 --learning-rate 1e-4 --lora-rank 32

Rows have `prompt` and `video`, as `prepare-data video` writes them; the first frame of a clip is what it starts from.
--model is a directory in the diffusers layout, or with the original files. See --print-config for every key and its
default.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (the state is saved; go on with --resume).";

fn main() -> ExitCode {
    let cli = Cli::parse();
    ending::start();
    ending::finish(video_run::run(&cli.options))
}
