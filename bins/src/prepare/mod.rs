//! `prepare-data`: one file for each subcommand, and what they share.

mod check;
mod image;
mod options;
mod parquet;
mod report;
mod video;
mod vlm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use options::{Data, Paths};

/// Makes training files from data sets of puzzles.
///
/// Data sets are those of generate-dataset, trees of `<task>/data.json` and canonical manifests of the Python projects,
/// and Parquet files. Every record is checked; the first that cannot be used ends the run.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLE)]
pub struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Questions for language models: train_sft.jsonl and train_grpo.jsonl
    Vlm(vlm::Vlm),
    /// Pictures before and after for image editing: metadata.json
    Image(image::Image),
    /// Clips and prompts for video models: train_video.csv
    Video(video::Video),
    /// The whole data set in Parquet or WebDataset shards
    Parquet(parquet::Parquet),
    /// Reads a training file from end to end: rows, pictures, clips, tokens, repeats, leakage
    ///
    /// Ends with 1 where something must not be trained on.
    Check(check::Check),
    /// Draws some rows of a training file: prompt, what it starts from, what it is to become
    Preview(check::Preview),
}

const EXAMPLE: &str = "\
Example:
  generate-dataset --output-dir data/mazes --task-groups maze --count 1000 --video
  prepare-data vlm --data-root data/mazes --output-dir data/mazes-vlm
  prepare-data video --data-root data/mazes --output-path data/mazes-video/train_video.csv --frames 81 --size 480x896

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.";

/// Runs a subcommand.
///
/// # Errors
/// Whatever keeps the export from being made.
pub fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.what {
        What::Vlm(vlm) => vlm.run(),
        What::Image(image) => image.run(),
        What::Video(video) => video.run(),
        What::Parquet(parquet) => parquet.run(),
        What::Check(check) => check.run(),
        What::Preview(preview) => preview.run(),
    }
}
