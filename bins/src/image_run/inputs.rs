//! What a run reads: where it is, and where it lies once it is fetched.

use std::path::{Path, PathBuf};

use anyhow::bail;

use super::settings::ImageRun;
use crate::source::{Source, Wanted};

/// Files looked for where data is a folder.
const ROW_FILES: [&str; 4] = [
    "metadata.json",
    "metadata.jsonl",
    "metadata.csv",
    "train.json",
];

/// What a run reads, found and not fetched yet.
pub(super) struct Inputs {
    pub(super) model: Option<Source>,
    pub(super) adapter: Option<Source>,
    pub(super) train: Option<Source>,
    pub(super) eval: Option<Source>,
}

/// Where it lies on this machine.
pub(super) struct Places {
    pub(super) model: Option<PathBuf>,
    pub(super) model_name: Option<String>,
    pub(super) adapter: Option<PathBuf>,
    pub(super) train: Option<PathBuf>,
    pub(super) eval: Option<PathBuf>,
}

impl Inputs {
    pub(super) fn find(run: &mut ImageRun) -> anyhow::Result<Self> {
        let find = |wanted, text: &mut Option<String>| -> anyhow::Result<Option<Source>> {
            let source = text.as_deref().map(|given| Source::find(wanted, given));
            let source = source.transpose()?;
            if let Some(source) = &source {
                *text = Some(source.name());
            }
            Ok(source)
        };
        Ok(Self {
            model: find(Wanted::Pipeline, &mut run.model.path)?,
            adapter: find(Wanted::Adapter, &mut run.model.adapter)?,
            train: find(Wanted::Data, &mut run.data.train)?,
            eval: find(Wanted::Data, &mut run.data.eval)?,
        })
    }

    pub(super) fn fetch(&self) -> anyhow::Result<Places> {
        let fetch = |source: &Option<Source>| source.as_ref().map(Source::fetch).transpose();
        let rows = |source: &Option<Source>| -> anyhow::Result<Option<PathBuf>> {
            fetch(source)?.map(|path| row_file(&path)).transpose()
        };
        Ok(Places {
            model: fetch(&self.model)?,
            model_name: self.model.as_ref().map(Source::plain_name),
            adapter: fetch(&self.adapter)?,
            train: rows(&self.train)?,
            eval: rows(&self.eval)?,
        })
    }
}

/// A file of rows, or the one that a folder holds.
pub(super) fn row_file(path: &Path) -> anyhow::Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let files = ROW_FILES.iter().map(|name| path.join(name));
    match files.into_iter().find(|file| file.is_file()) {
        Some(file) => Ok(file),
        None => bail!("{} holds none of {}", path.display(), ROW_FILES.join(", ")),
    }
}
