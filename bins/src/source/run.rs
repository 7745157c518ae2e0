//! Model, adapter and data of a training run: found, recorded with their commits, fetched.

use std::path::{Path, PathBuf};

use super::{Source, Wanted, as_recorded, rows_file};
use crate::memory::{States, on_gpu};
use crate::settings::{DataSection, LoraSection, ModelSection, TrainSection};

/// What a run reads, found and not fetched yet.
#[derive(Default)]
pub struct Inputs {
    /// The model.
    pub model: Option<Source>,
    /// The adapter to start from.
    pub adapter: Option<Source>,
    /// Training rows.
    pub train: Option<Source>,
    /// Held-out rows.
    pub eval: Option<Source>,
}

/// Where it all lies on this machine.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Model directory.
    pub model: Option<PathBuf>,
    /// The model as other programs find it: a path, or `org/name`.
    pub model_name: Option<String>,
    /// Adapter directory.
    pub adapter: Option<PathBuf>,
    /// File of training rows.
    pub train: Option<PathBuf>,
    /// File of held-out rows.
    pub eval: Option<PathBuf>,
}

/// Where settings name what a run reads.
pub struct Named<'a> {
    /// `model.path`.
    pub model: &'a mut Option<String>,
    /// `model.adapter`.
    pub adapter: &'a mut Option<String>,
    /// `data.train`.
    pub train: &'a mut Option<String>,
    /// `data.eval`.
    pub eval: &'a mut Option<String>,
}

impl<'a> Named<'a> {
    /// The places of language models.
    pub fn of(model: &'a mut ModelSection, data: &'a mut DataSection) -> Self {
        Self {
            model: &mut model.path,
            adapter: &mut model.adapter,
            train: &mut data.train,
            eval: &mut data.eval,
        }
    }
}

impl Inputs {
    /// Finds everything that the settings name, and writes names on the hub into them with the commits they stand
    /// for. `model` says which layout the model has; `resumed` is the directory of a run that goes on: its commits stay.
    ///
    /// # Errors
    /// As [`Source::find`].
    pub fn find(model: Wanted, named: Named<'_>, resumed: Option<&Path>) -> anyhow::Result<Self> {
        let recorded = resumed.and_then(|dir| read_config(&dir.join("config.resolved.toml")));
        let find = |wanted, table: &str, key: &str, text: &mut Option<String>| {
            let Some(given) = text.as_deref() else {
                return anyhow::Ok(None);
            };
            let before = recorded
                .as_ref()
                .and_then(|c| c.get(table)?.get(key)?.as_str());
            let before = before
                .filter(|_| !Path::new(given).exists())
                .and_then(|before| as_recorded(given, before));
            let source = Source::find(wanted, before.as_deref().unwrap_or(given))?;
            *text = Some(source.name());
            Ok(Some(source))
        };
        Ok(Self {
            model: find(model, "model", "path", named.model)?,
            adapter: find(Wanted::Adapter, "model", "adapter", named.adapter)?,
            train: find(Wanted::Data, "data", "train", named.train)?,
            eval: find(Wanted::Data, "data", "eval", named.eval)?,
        })
    }

    /// Fetches what is not on this machine. Rows that are a folder are looked for under `names`, held-out ones under
    /// `eval_names`.
    ///
    /// # Errors
    /// As [`Source::fetch`] and [`rows_file`].
    pub fn fetch(&self, names: &[&str], eval_names: &[&str]) -> anyhow::Result<Places> {
        let fetch = |source: &Option<Source>| source.as_ref().map(Source::fetch).transpose();
        let rows = |source: &Option<Source>, names: &[&str]| {
            let path = fetch(source)?;
            path.map(|path| rows_file(&path, names)).transpose()
        };
        Ok(Places {
            model: fetch(&self.model)?,
            model_name: self.model.as_ref().map(Source::plain_name),
            adapter: fetch(&self.adapter)?,
            train: rows(&self.train, names)?,
            eval: rows(&self.eval, eval_names)?,
        })
    }

    /// The directory of the model, where it is on this machine already.
    pub fn local_model(&self) -> Option<&Path> {
        self.model.as_ref().and_then(Source::local)
    }

    /// What of the model stays in memory; `None` where none is named.
    ///
    /// # Errors
    /// Its configuration cannot be read, or the adapter's targets match nothing.
    pub fn states(
        &self,
        model: &ModelSection,
        train: &TrainSection,
        lora: &LoraSection,
        accumulates: bool,
    ) -> anyhow::Result<Option<States>> {
        let Some(source) = &self.model else {
            return Ok(None);
        };
        let gpu = on_gpu(&model.device);
        let half = match model.precision.as_str() {
            "bf16" => true,
            "auto" => gpu,
            _ => false,
        };
        let bytes = if half { 2 } else { 4 };
        let config = source.model_config()?;
        Ok(Some(States::new(
            config,
            train,
            lora,
            bytes,
            !gpu,
            accumulates,
        )?))
    }

    /// Where rows lie that need not be fetched.
    ///
    /// # Errors
    /// As [`rows_file`].
    pub fn local_rows(&self, names: &[&str], eval_names: &[&str]) -> anyhow::Result<Places> {
        let rows = |source: &Option<Source>, names: &[&str]| {
            let path = source.as_ref().and_then(Source::local);
            path.map(|path| rows_file(path, names)).transpose()
        };
        Ok(Places {
            train: rows(&self.train, names)?,
            eval: rows(&self.eval, eval_names)?,
            ..Places::default()
        })
    }
}

/// Settings of an earlier start. What cannot be read is told where the run directory is opened.
fn read_config(path: &Path) -> Option<toml::Table> {
    std::fs::read_to_string(path).ok()?.parse().ok()
}

/// Lets other handlers of Ctrl-C take the place of those of downloads.
pub fn take_over_signals() {
    #[cfg(feature = "hub")]
    super::stop::release();
}
