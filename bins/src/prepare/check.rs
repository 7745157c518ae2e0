//! `prepare-data check` and `prepare-data preview`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use vtb_data::RowMode;

use crate::inspect::{self, CheckOptions, Kind};

/// Which file, and what it is for.
#[derive(Debug, Args)]
struct File {
    /// Training file: JSONL with `messages`, metadata.json, or a CSV of clips
    file: PathBuf,
    /// What it is for [default: told from its columns]
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Where relative paths start [default: the file's folder]
    #[arg(long, alias = "base_path", value_name = "DIR")]
    base_path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: File,
    /// Model directory whose tokenizer, template and picture settings count tokens
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Most tokens of a row
    #[arg(long, value_name = "N", requires = "model")]
    max_length: Option<usize>,
    /// Most pixels of a picture to draw before a trainer shrinks it
    #[arg(long, value_name = "N")]
    max_pixels: Option<u64>,
    /// How conversations have to end [default: told from the first row]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Files that must share no scene with this one
    #[arg(long, value_name = "FILE", num_args = 1..)]
    against: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// With an answer, for train-sft
    Sft,
    /// With a solution to compare with, for train-grpo
    Grpo,
}

#[derive(Debug, Args)]
pub(super) struct Preview {
    #[command(flatten)]
    file: File,
    /// Rows that are shown, spread evenly over the file; 36 at most
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u8).range(1..=36))]
    rows: u8,
    /// The picture
    #[arg(long, value_name = "FILE", default_value = "sheet.png")]
    out: PathBuf,
}

impl Check {
    #[allow(clippy::print_stdout, reason = "results go to standard output")]
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let options = CheckOptions {
            kind: self.file.kind,
            mode: self.mode.map(|mode| match mode {
                Mode::Sft => RowMode::Sft,
                Mode::Grpo => RowMode::Grpo,
            }),
            model: self.model.clone(),
            max_length: self.max_length,
            max_pixels: self.max_pixels,
            base: self.file.base_path.clone(),
            against: self.against.clone(),
        };
        let findings = inspect::check(&self.file.file, &options)?;
        print!("{findings}");
        Ok(match findings.has_faults() {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        })
    }
}

impl Preview {
    #[allow(clippy::print_stdout, reason = "results go to standard output")]
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let File {
            file,
            kind,
            base_path,
        } = &self.file;
        let base = base_path.as_deref();
        let shown = inspect::preview(file, *kind, base, self.rows.into(), &self.out)?;
        println!("{shown} rows: {}", self.out.display());
        Ok(ExitCode::SUCCESS)
    }
}
