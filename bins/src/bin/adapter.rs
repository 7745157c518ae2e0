//! Adapters after training: looked at, merged, rewritten for other programs, compared.

use std::process::ExitCode;

use clap::Parser;
use vtb_bins::{adapter, ending};

fn main() -> ExitCode {
    let cli = adapter::Cli::parse();
    ending::start();
    ending::finish(adapter::run(&cli))
}
