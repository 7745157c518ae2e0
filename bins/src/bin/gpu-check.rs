//! Does the GPU compute what the CPU computes, how fast, and in how much memory?

use std::process::ExitCode;

use clap::Parser;
use vtb_bins::{ending, gpu_check};

/// Checks an NVIDIA GPU: every operation and a tiny training step against the CPU, rates of products, attention and
/// copies at real sizes, decoder layers of 4B and 8B size, and memory.
///
/// Writes a dated JSON report. Ends with 0 if every check passed, 1 if one did not, 2 if there is no GPU to check.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    options: gpu_check::Options,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    ending::start();
    ending::finish(gpu_check::run(&cli.options))
}
