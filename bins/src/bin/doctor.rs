//! Is everything here that the programs need?

use std::process::ExitCode;

use clap::Parser;
use vtb_bins::{doctor, ending};

fn main() -> ExitCode {
    let cli = doctor::Cli::parse();
    ending::start();
    ending::finish(doctor::run(&cli))
}
