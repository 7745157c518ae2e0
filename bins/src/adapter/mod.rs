//! `adapter`: one file for each subcommand, and what they share.

mod base;
mod compare;
mod convert;
mod inspect;
mod merge;
mod output;
mod probes;
mod verify;
mod watched;

use std::path::PathBuf;
use std::process::ExitCode;

use burn::tensor::DType;
use clap::{Parser, Subcommand, ValueEnum};

use crate::source::{Wanted, resolve};

/// Looks at LoRA adapters, merges them into their base model, rewrites them for other programs, and checks the result.
///
/// Adapters are directories of PEFT: those of the training programs (`checkpoints/step-N/adapter`), of peft and of
/// ms-swift. Those of diffusion models may be files of diffusers, ComfyUI, Kohya and DiffSynth too (inspect, convert,
/// merge). Models, and adapters that are directories of PEFT, may be names on the hub: org/name@revision.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLE)]
pub struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Prints settings, adapted layers, the size of what was learnt, and every fault
    ///
    /// Ends with 1 where the adapter has a fault.
    Inspect(inspect::Inspect),
    /// Writes the base model with the adapter added in, for transformers, vLLM and these programs
    ///
    /// Weights are read, merged in f32, rounded once and written one tensor at a time. The directory appears whole or not
    /// at all.
    Merge(merge::Merge),
    /// Writes the adapter anew, by the names and settings another program expects
    Convert(convert::Convert),
    /// Compares the logits of base and adapter with those of the merged model, on texts and a picture
    ///
    /// Ends with 1 where they differ by more than rounding explains, or where rounding took what the adapter had learnt.
    Verify(verify::Verify),
}

const EXAMPLE: &str = "\
Example:
  adapter inspect runs/sft/checkpoints/step-500/adapter
  adapter merge --model Qwen/Qwen3-VL-4B-Instruct --adapter runs/sft/checkpoints/step-500/adapter \\
      --output-dir models/mazes-4b
  adapter verify --model Qwen/Qwen3-VL-4B-Instruct --adapter runs/sft/checkpoints/step-500/adapter \\
      --merged models/mazes-4b
  adapter convert runs/sft/checkpoints/step-500/adapter --to vllm --output-dir adapters/mazes-vllm
  adapter convert epoch-4.safetensors --to comfyui --dtype bf16 --output mazes.safetensors

Exit codes: 0 done and nothing found, 1 a fault was found or the run failed, 2 wrong usage, 130 interrupted.";

/// Runs the program.
///
/// # Errors
/// Wrong usage; files that cannot be read or written; an adapter that is none, or of another model.
pub fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.what {
        What::Inspect(inspect) => inspect.run(),
        What::Merge(merge) => merge.run(),
        What::Convert(convert) => convert.run(),
        What::Verify(verify) => verify.run(),
    }
}

/// How merged weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stored {
    /// As in the base model
    Keep,
    /// 4 bytes a weight
    F32,
    /// 2 bytes a weight, the range of f32
    Bf16,
    /// 2 bytes a weight, three more bits of precision than bf16, a smaller range
    F16,
}

impl Stored {
    fn dtype(self) -> Option<DType> {
        match self {
            Self::Keep => None,
            Self::F32 => Some(DType::F32),
            Self::Bf16 => Some(DType::BF16),
            Self::F16 => Some(DType::F16),
        }
    }
}

fn find_adapter(text: &str) -> anyhow::Result<PathBuf> {
    resolve(Wanted::Adapter, text)
}

/// A model in either layout.
fn find_model(text: &str) -> anyhow::Result<PathBuf> {
    resolve(Wanted::AnyModel, text)
}
