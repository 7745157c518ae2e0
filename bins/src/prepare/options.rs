//! What every export is told.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use vtb_data::DataError;
use vtb_data::prepare::{Common, PathMode, Selection, Settings, Source, Verify};

use crate::ending::Usage;

/// Which records, and how strictly.
#[derive(Debug, Args)]
pub struct Data {
    /// Data set: its folder, manifest.jsonl, canonical_manifest.jsonl, or a Parquet file
    #[arg(
        long,
        aliases = ["dataset-root", "data_root", "dataset_root"],
        value_name = "PATH",
        default_value = "data/puzzles"
    )]
    pub data_root: PathBuf,
    /// Only these tasks, or `all`
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    tasks: Vec<String>,
    /// Only tasks of these groups: eyeballing, maze, visual, visual_puzzle, text_centric, or `all`
    #[arg(long, alias = "task_groups", value_name = "GROUP", num_args = 1.., value_delimiter = ',')]
    task_groups: Vec<String>,
    /// Only these parts of the data set
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    split: Vec<String>,
    /// Leave out records that cannot be used and count them, instead of stopping at the first
    #[arg(long)]
    lenient: bool,
    /// Records that --lenient may leave out
    #[arg(
        long,
        alias = "max_bad_rows",
        value_name = "N",
        default_value_t = 100,
        requires = "lenient"
    )]
    max_bad_rows: usize,
    /// How far records are checked
    #[arg(long, value_enum, default_value_t = Check::Full)]
    verify: Check,
    /// Check everything, print what would be written and stop: nothing is written
    #[arg(long, alias = "dry_run")]
    pub dry_run: bool,
    /// Threads [default: one per core]
    #[arg(long, alias = "num_workers", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    num_workers: Option<u16>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Check {
    /// Files are there and unchanged, puzzle and solution differ
    Quick,
    /// Also: our answers and pictures follow from the record, the others' pictures are judged
    Full,
}

/// How files are named in the export.
#[derive(Debug, Args)]
pub struct Paths {
    /// Where paths start: `absolute`, `relative` to the data set, or `output`, the folder of the file that names them
    #[arg(long, alias = "path_mode", value_enum)]
    path_mode: Option<Mode>,
    /// Copy every picture and clip into the output folder
    #[arg(long)]
    copy: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    Absolute,
    Relative,
    Output,
}

impl Data {
    /// Opens the data set; `Settings` say what is taken of it.
    ///
    /// # Errors
    /// Wrong usage, and as [`Source::open`].
    pub fn open(&self) -> anyhow::Result<(Source, Settings)> {
        let selection = Selection::new(&self.tasks, &self.task_groups, &self.split);
        let selection = selection.map_err(usage)?;
        if let Some(workers) = self.num_workers {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(workers.into());
            pool.build_global()?;
        }
        if !self.data_root.exists() {
            let place = self.data_root.display();
            return Err(Usage(format!("--data-root {place}: there is nothing")).into());
        }
        let source = Source::open(&self.data_root, self.lenient)?;
        let settings = Settings {
            selection,
            verify: match self.verify {
                Check::Quick => Verify::Quick,
                Check::Full => Verify::Full,
            },
            max_bad_rows: if self.lenient { self.max_bad_rows } else { 0 },
            dry: self.dry_run,
        };
        Ok((source, settings))
    }
}

impl Paths {
    /// Names of files for an export that is written to `folder`; `usual` unless the user says otherwise.
    ///
    /// # Errors
    /// As [`Common::new`].
    pub fn common(
        &self,
        source: &Source,
        folder: &Path,
        usual: PathMode,
        dry: bool,
    ) -> anyhow::Result<Common> {
        let mode = match self.path_mode {
            None if self.copy => PathMode::Output,
            None => usual,
            Some(Mode::Absolute) => PathMode::Absolute,
            Some(Mode::Relative) => PathMode::Relative,
            Some(Mode::Output) => PathMode::Output,
        };
        Ok(Common::new(source.root(), folder, mode, self.copy, dry)?)
    }
}

/// What the user asked for wrongly, as opposed to what failed.
pub(super) fn usage(fault: DataError) -> anyhow::Error {
    match fault {
        DataError::Prepare(reason) => Usage(reason).into(),
        DataError::Generate(reason) => Usage(reason.to_string()).into(),
        other => other.into(),
    }
}

/// The folder of an output file.
pub(super) fn folder_of(path: &Path) -> anyhow::Result<PathBuf> {
    match (path.parent(), path.file_name(), path.is_dir()) {
        (Some(folder), Some(_), false) => Ok(folder.to_owned()),
        _ => {
            let place = path.display();
            Err(Usage(format!("--output-path {place}: give the name of a file")).into())
        }
    }
}
