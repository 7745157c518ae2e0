//! `prepare-data parquet`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use vtb_data::prepare::{Common, PathMode, TarExport};

use super::options::{Data, usage};
use super::report::export;

/// The whole data set with its pictures, for `datasets` and other readers.
#[derive(Debug, Args)]
pub(super) struct Parquet {
    #[command(flatten)]
    data: Data,
    /// Folder of the shards: new, or with an earlier export, which it replaces when it is complete
    #[arg(
        long,
        alias = "output_dir",
        value_name = "DIR",
        default_value = "data/parquet"
    )]
    output_dir: PathBuf,
    /// Kind of the shards
    #[arg(long, value_enum, default_value_t = Format::Parquet)]
    format: Format,
    /// Largest shard in MiB, one row aside
    #[arg(long, alias = "shard_size", value_name = "MIB", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    shard_size: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Parquet with the features of Hugging Face
    Parquet,
    /// Tar files, one name for the files of a record
    Webdataset,
}

impl Parquet {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let (source, settings) = self.data.open()?;
        let dry = self.data.dry_run;
        // No file is named inside shards.
        let beside = self.output_dir.parent().unwrap_or(&self.output_dir);
        let common = Common::new(source.root(), beside, PathMode::Absolute, false, dry)?;
        let (place, limit) = (&self.output_dir, self.shard_size << 20);
        match self.format {
            Format::Webdataset => {
                let exporter = TarExport::new(common, place, limit).map_err(usage)?;
                export(&source, &settings, exporter)
            }
            Format::Parquet => {
                #[cfg(feature = "parquet")]
                {
                    let exporter = vtb_data::prepare::ParquetExport::new(common, place, limit);
                    export(&source, &settings, exporter.map_err(usage)?)
                }
                #[cfg(not(feature = "parquet"))]
                {
                    let reason =
                        "this build writes no Parquet files; build it with the feature `parquet`";
                    Err(crate::ending::Usage(reason.to_owned()).into())
                }
            }
        }
    }
}
