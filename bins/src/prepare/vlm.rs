//! `prepare-data vlm`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use vtb_data::prepare::{PathMode, Schema, VlmExport};

use super::options::{Data, Paths};
use super::report::export;

/// Questions for language models.
///
/// The pictures of mazes have printed cell ids: drawn from the record where the data set's have none, and taken from
/// `reasoning_image` in the data of the Python projects.
#[derive(Debug, Args)]
pub(super) struct Vlm {
    #[command(flatten)]
    data: Data,
    /// Folder of train_sft.jsonl and train_grpo.jsonl
    #[arg(
        long,
        alias = "output_dir",
        value_name = "DIR",
        default_value = "data/vlm"
    )]
    output_dir: PathBuf,
    /// Names of the columns
    #[arg(long, value_enum, default_value_t = Names::Swift)]
    schema: Names,
    #[command(flatten)]
    paths: Paths,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Names {
    /// ms-swift: `messages` with <image>; train-sft and train-grpo read it
    Swift,
    /// TRL: `prompt` and `completion` in the chat form of Hugging Face
    Trl,
}

impl Vlm {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let (source, settings) = self.data.open()?;
        let dry = self.data.dry_run;
        let common = self
            .paths
            .common(&source, &self.output_dir, PathMode::Absolute, dry)?;
        let schema = match self.schema {
            Names::Swift => Schema::Swift,
            Names::Trl => Schema::Trl,
        };
        export(&source, &settings, VlmExport::new(common, schema)?)
    }
}
