//! `prepare-data image`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use vtb_data::prepare::{ImageExport, PathMode};

use super::options::{Data, Paths, folder_of};
use super::report::export;

/// Pictures before (`edit_image`) and after (`image`), with prompts.
#[derive(Debug, Args)]
pub(super) struct Image {
    #[command(flatten)]
    data: Data,
    /// The file
    #[arg(
        long,
        alias = "output_path",
        value_name = "FILE",
        default_value = "data/image/metadata.json"
    )]
    output_path: PathBuf,
    #[command(flatten)]
    paths: Paths,
}

impl Image {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let folder = folder_of(&self.output_path)?;
        let (source, settings) = self.data.open()?;
        let dry = self.data.dry_run;
        let common = self
            .paths
            .common(&source, &folder, PathMode::Relative, dry)?;
        export(
            &source,
            &settings,
            ImageExport::new(common, &self.output_path)?,
        )
    }
}
