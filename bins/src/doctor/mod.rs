//! `doctor`: what the programs find on this machine, and how to get what is missing.
//!
//! Every look is harmless: nothing is downloaded, and nothing is left behind.

mod gpu;
mod hub;
mod machine;
mod report;

use std::process::ExitCode;

use clap::Parser;

use report::Report;

/// Looks at this machine: program, processor, memory, disk, GPU with driver and NVRTC, hub access.
///
/// What is missing comes with the way to get it. Nothing is downloaded or changed, and no token is shown.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLE)]
pub struct Cli {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
ok: there. warn: usable, with a drawback. missing: not there; needed only where it says so.

Exit codes: 0 programs run here with their defaults, 1 something that they need is missing, 2 wrong usage.";

/// Runs the program.
///
/// # Errors
/// None but a JSON object that cannot be written.
#[allow(clippy::print_stdout, reason = "results go to standard output")]
pub fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let lookup = |name: &str| std::env::var_os(name);
    let mut report = Report::default();
    machine::program(&mut report);
    machine::processor(&mut report);
    machine::memory(&mut report);
    let cache = hub::look(&mut report, &lookup);
    machine::disks(&mut report, cache.as_deref());
    gpu::look(&mut report);
    machine::environment(&mut report, std::env::vars_os());
    match cli.json {
        true => println!("{}", serde_json::to_string_pretty(&report.to_json())?),
        false => print!("{}", report.table()),
    }
    Ok(match report.usable() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
