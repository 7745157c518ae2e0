//! A Wan model from one layout of its files to the other.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use vtb_bins::ending;
use vtb_bins::source::{Wanted, resolve};
use vtb_models_diffusion::wan::{VideoModelDir, WanLayout, convert};

/// Writes a Wan2.2-TI2V in the layout of diffusers, or as the original files lie.
///
/// Every tensor keeps its value and type. Among original files the text encoder and the autoencoder are written as
/// safetensors, which every program here reads as it reads `.pth`.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLE)]
struct Cli {
    /// Model directory in either layout, or the name of one in the diffusers layout on the hub: org/name@revision
    #[arg(long, value_name = "DIR|NAME")]
    model: String,
    /// Layout to write
    #[arg(long, value_enum)]
    to: Layout,
    /// Folder to write, which is empty or not there yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Layout {
    /// A folder for each part
    Diffusers,
    /// The original files side by side
    Original,
}

const EXAMPLE: &str = "\
Example:
  convert-model --model Wan2.2-TI2V-5B --to diffusers --out Wan2.2-TI2V-5B-Diffusers

Exit codes: 0 written, 1 failed, 2 wrong usage.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    ending::start();
    ending::finish(run(&cli))
}

#[allow(
    clippy::print_stdout,
    reason = "the folder that was written is the result"
)]
fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let path = resolve(Wanted::Pipeline, &cli.model)?;
    let model = VideoModelDir::open(&path)
        .with_context(|| format!("cannot use the model {}", path.display()))?;
    let to = match cli.to {
        Layout::Diffusers => WanLayout::Diffusers,
        Layout::Original => WanLayout::Original,
    };
    convert(&model, to, &cli.out)?;
    println!("{}", cli.out.display());
    Ok(ExitCode::SUCCESS)
}
