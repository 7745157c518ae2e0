//! Training files from data sets of puzzles.

use std::process::ExitCode;

use clap::Parser;
use vtb_bins::{ending, prepare};

fn main() -> ExitCode {
    let cli = prepare::Cli::parse();
    ending::start();
    ending::finish(prepare::run(&cli))
}
