//! `adapter merge`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use vtb_lora::{AdapterFile, LoraError, MergedSource};
use vtb_models_vlm::export::export_model;
use vtb_models_vlm::files::ModelDir;
use vtb_nn::checkpoint::{Checkpoint, TensorSource};
use vtb_nn::device::cpu_device;
use vtb_trainer::checkpoint::free_bytes;

use super::output::NewDir;
use super::watched::Watched;
use super::{Stored, find_adapter, find_model};
use crate::ending::{Stopped, Usage};
use crate::plan::gib;

#[derive(Debug, Args)]
pub(super) struct Merge {
    /// Base model: a directory in the Hugging Face layout, or org/name@revision
    #[arg(long, value_name = "DIR|NAME")]
    model: String,
    /// PEFT adapter: a directory, or org/name@revision
    #[arg(long, value_name = "DIR|NAME")]
    adapter: String,
    /// Directory to write; must not be there yet
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
    /// How weights are stored
    #[arg(long, value_enum, default_value_t = Stored::Keep)]
    dtype: Stored,
    /// Largest file of weights: a number with B, KB, MB or GB
    #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = size)]
    max_shard_size: u64,
}

impl Merge {
    #[allow(clippy::print_stdout, reason = "results go to standard output")]
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let adapter = AdapterFile::open(find_adapter(&self.adapter)?)?;
        let dir = ModelDir::open(find_model(&self.model)?)?;
        let base = Checkpoint::open(dir.root())
            .with_context(|| format!("cannot open the model {}", dir.root().display()))?;
        let dtype = self.dtype.dtype();
        let merged = fitted(&base, &adapter, dtype, &dir)?;
        let bytes = merged.byte_len();
        let out = NewDir::begin(&self.output_dir)?;
        check_space(out.path(), bytes)?;
        let watched = Watched::new(&merged, bytes)?;
        let done = export_model(&dir, &watched, dtype, self.max_shard_size, out.path());
        if watched.is_stopped() {
            bail!(Stopped("interrupted; nothing was written".into()));
        }
        drop(watched);
        done?;
        out.finish()?;
        println!(
            "merged {} layers of {} tensors, {}, into {}",
            merged.changed().count(),
            merged.names().len(),
            gib(bytes),
            self.output_dir.display()
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// The base with the adapter. An adapter of the head of a model that reads its embedding instead would be lost.
///
/// # Errors
/// An adapter that does not fit the model.
pub(super) fn fitted<'a>(
    base: &'a Checkpoint,
    adapter: &'a AdapterFile,
    dtype: Option<burn::tensor::DType>,
    dir: &ModelDir,
) -> anyhow::Result<MergedSource<'a>> {
    let merged = MergedSource::new(base, adapter, dtype, &cpu_device())?;
    if merged.changed().any(|name| name == "lm_head.weight") && is_tied(dir)? {
        bail!(LoraError::Adapter {
            path: adapter.dir().to_owned(),
            message: "adapts `lm_head`, which this model ties to its embedding: the merged head would not be read; \
                      serve the adapter as it is"
                .into(),
        });
    }
    Ok(merged)
}

/// Whether `config.json` ties the head, at its root or for its decoder.
fn is_tied(dir: &ModelDir) -> anyhow::Result<bool> {
    let path = dir.path(vtb_models_vlm::files::CONFIG);
    let text = vtb_nn::checkpoint::read_bounded(&path, 4 << 20)?;
    let config: serde_json::Value =
        serde_json::from_slice(&text).with_context(|| format!("{}", path.display()))?;
    let tied = |table: &serde_json::Value| table["tie_word_embeddings"] == true;
    Ok(tied(&config) || tied(&config["text_config"]))
}

/// Refuses before minutes of work what the disk cannot hold.
fn check_space(dir: &Path, bytes: u64) -> anyhow::Result<()> {
    match free_bytes(dir) {
        Some(free) if free < bytes => bail!(
            "the merged model takes {}, but only {} are free at {}",
            gib(bytes),
            gib(free),
            dir.parent().unwrap_or(dir).display()
        ),
        _ => Ok(()),
    }
}

/// `5GB`, `500MB`, `20KB`, `10000B`: powers of ten, as transformers reads them.
fn size(text: &str) -> Result<u64, String> {
    let units = [
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("KB", 1000),
        ("B", 1),
    ];
    let found = units.iter().find_map(|(unit, bytes)| {
        let number: u64 = text
            .to_uppercase()
            .strip_suffix(unit)?
            .trim()
            .parse()
            .ok()?;
        number.checked_mul(*bytes)
    });
    found
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| Usage("write a number with B, KB, MB or GB, such as 5GB".into()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_transformers_reads_them() {
        let cases = [
            ("5GB", Some(5_000_000_000)),
            ("500mb", Some(500_000_000)),
            ("20 KB", Some(20_000)),
            ("7B", Some(7)),
            ("0GB", None),
            ("5", None),
            ("-1GB", None),
            ("99999999999999GB", None),
        ];
        for (text, expected) in cases {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
    }
}
