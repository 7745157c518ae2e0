//! `adapter merge`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use vtb_lora::{AdapterFile, LinearInfo, LoraError, MergedSource};
use vtb_models_diffusion::files::{CONFIG, WEIGHTS_STEM};
use vtb_models_vlm::export::export_model;
use vtb_models_vlm::files::ModelDir;
use vtb_nn::checkpoint::{Checkpoint, TensorSource, save_sharded_as};
use vtb_nn::device::cpu_device;
use vtb_trainer::checkpoint::free_bytes;

use super::base::{TRANSFORMER, open_weights, transformer_of};
use super::output::NewDir;
use super::watched::Watched;
use super::{Stored, find_adapter, find_model};
use crate::ending::{Stopped, Usage};
use crate::plan::gib;

#[derive(Debug, Args)]
pub(super) struct Merge {
    /// Base model: a directory in the Hugging Face or the diffusers layout, or org/name@revision. Of the latter layout
    /// its transformer gets the adapter, all else is copied
    #[arg(long, value_name = "DIR|NAME")]
    model: String,
    /// Adapter: a PEFT directory, or org/name@revision of one; for models in the diffusers layout a file of any form too
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
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        NewDir::check(&self.output_dir)?;
        let model = find_model(&self.model)?;
        match transformer_of(&model)? {
            Some(transformer) => self.pipeline(&model, &transformer),
            None => self.plain(&model),
        }
    }

    /// A model in the Hugging Face layout.
    fn plain(&self, model: &Path) -> anyhow::Result<ExitCode> {
        let dir = ModelDir::open(model)?;
        let base = open_weights(dir.root())?;
        let adapter = AdapterFile::open(find_adapter(&self.adapter)?)?;
        let dtype = self.dtype.dtype();
        let merged = fitted(&base, &adapter, dtype, &dir)?;
        let of = format!("{} tensors", merged.names().len());
        self.write(&merged, &of, 0, |watched, to| {
            Ok(export_model(&dir, watched, dtype, self.max_shard_size, to)?)
        })
    }

    /// A model in the diffusers layout: its transformer with the adapter, everything else as it is.
    fn pipeline(&self, model: &Path, transformer: &Path) -> anyhow::Result<ExitCode> {
        let base = open_weights(transformer)?;
        let layers = LinearInfo::of_checkpoint(&base);
        let adapter = AdapterFile::open_any(find_adapter(&self.adapter)?, Some(&layers))?;
        let merged = MergedSource::new(&base, &adapter, self.dtype.dtype(), &cpu_device())?;
        let mut rest = parts(model)?;
        rest.push(transformer.join(CONFIG));
        let mut bytes = 0;
        for file in &rest {
            let found = fs::metadata(file).with_context(|| file.display().to_string())?;
            bytes += found.len();
        }
        self.write(&merged, "the transformer", bytes, |watched, out| {
            let to = out.join(TRANSFORMER);
            fs::create_dir(&to).with_context(|| to.display().to_string())?;
            let (most, entries) = (self.max_shard_size, BTreeMap::new());
            save_sharded_as(&to, WEIGHTS_STEM, watched, most, &entries)?;
            for file in &rest {
                let place = out.join(file.strip_prefix(model)?);
                if let Some(folder) = place.parent() {
                    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
                }
                watched.copy(file, &place)?;
            }
            Ok(())
        })
    }

    /// Makes the directory whole or not at all. `write` fills it with the tensors of `merged`, whose layers are some of
    /// `of`, and with files of `rest` bytes.
    #[allow(clippy::print_stdout, reason = "results go to standard output")]
    fn write(
        &self,
        merged: &MergedSource<'_>,
        of: &str,
        rest: u64,
        write: impl FnOnce(&Watched<'_>, &Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<ExitCode> {
        let bytes = merged.byte_len() + rest;
        let out = NewDir::begin(&self.output_dir)?;
        check_space(out.path(), bytes)?;
        let watched = Watched::new(merged, bytes)?;
        let done = write(&watched, out.path());
        if watched.is_stopped() {
            bail!(Stopped("interrupted; nothing was written".into()));
        }
        drop(watched);
        done?;
        out.finish()?;
        println!(
            "merged {} layers of {of}, {}, into {}",
            merged.changed().count(),
            gib(bytes),
            self.output_dir.display()
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// Every file of a model in the diffusers layout but those of its transformer: at its root, and in its folders.
fn parts(model: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let list = |dir: &Path| -> anyhow::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
        Ok(entries
            .map(|e| e.map(|e| e.path()))
            .collect::<Result<_, _>>()?)
    };
    for path in list(model)? {
        if path.is_file() {
            files.push(path);
        } else if path.is_dir() && path.file_name().is_some_and(|name| name != TRANSFORMER) {
            files.extend(list(&path)?.into_iter().filter(|file| file.is_file()));
        }
    }
    Ok(files)
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
