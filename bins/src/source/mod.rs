//! Where a model, an adapter or data come from: a path on this machine, or a name on the hub.
//!
//! A path that exists wins. What begins like a path or ends like a file is never a name on the hub.

#[cfg(feature = "hub")]
mod progress;
mod rows;
mod run;
#[cfg(feature = "hub")]
mod stop;

use std::path::{Path, PathBuf};

#[cfg(feature = "hub")]
use anyhow::Context;
#[cfg(feature = "hub")]
use vtb_data::hub::{Hub, HubError, HubSettings, Kind, Repo, Snapshot, Unwatched};
use vtb_models_vlm::config::AnyVlmConfig;
use vtb_models_vlm::files::{CONFIG, ModelDir};

#[cfg(feature = "hub")]
use crate::ending::Stopped;
use crate::ending::Usage;
#[cfg(feature = "hub")]
use crate::plan::gib;

pub use rows::{
    EVAL_ROWS, GRPO_ROWS, IMAGE_EVAL_ROWS, IMAGE_ROWS, SFT_ROWS, VIDEO_EVAL_ROWS, VIDEO_ROWS,
    rows_file,
};
pub use run::{Inputs, Named, Places, take_over_signals};

/// Largest `config.json` that is read ahead of a download.
#[cfg(feature = "hub")]
const CONFIG_LIMIT: u64 = 4 << 20;

/// What an argument stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A model directory.
    Model,
    /// A model directory in the diffusers layout.
    Pipeline,
    /// A model directory in either layout.
    AnyModel,
    /// A PEFT directory; on this machine, a file of another form too.
    Adapter,
    /// A file of rows, or a folder of data.
    Data,
}

/// Where an argument leads. A name on the hub is looked up already, and nothing of it fetched.
pub struct Source(Place);

enum Place {
    Local(PathBuf),
    #[cfg(feature = "hub")]
    Hub(Box<(Hub, Snapshot)>),
}

/// The local path of an argument; what is on the hub is fetched.
///
/// # Errors
/// [`Usage`] for what is neither a path nor a name; whatever the hub says.
pub fn resolve(wanted: Wanted, text: &str) -> anyhow::Result<PathBuf> {
    Source::find(wanted, text)?.fetch()
}

impl Source {
    /// Finds out what an argument is.
    ///
    /// # Errors
    /// [`Usage`] for what is neither a path nor a name; whatever the hub says.
    pub fn find(wanted: Wanted, text: &str) -> anyhow::Result<Self> {
        let path = Path::new(text);
        // A path that does not exist is left to its reader, which says what it expects there.
        if path.exists() || is_path(text) {
            return Ok(Self(Place::Local(path.to_owned())));
        }
        on_hub(wanted, text)
    }

    /// The argument as a run records it: a path, or the name with the commit that it stands for now.
    pub fn name(&self) -> String {
        match &self.0 {
            Place::Local(path) => path.display().to_string(),
            #[cfg(feature = "hub")]
            Place::Hub(found) => found.1.repo().to_string(),
        }
    }

    /// The name by which other programs find it: a path, or `org/name`.
    pub fn plain_name(&self) -> String {
        match &self.0 {
            Place::Local(path) => path.display().to_string(),
            #[cfg(feature = "hub")]
            Place::Hub(found) => found.1.repo().id().to_owned(),
        }
    }

    /// For a plan: the name, and what is to be downloaded.
    pub fn in_plan(&self) -> String {
        match &self.0 {
            Place::Local(path) => path.display().to_string(),
            #[cfg(feature = "hub")]
            Place::Hub(found) => {
                let (name, snapshot) = (self.name(), &found.1);
                match snapshot.missing_files() {
                    0 => format!("{name} (in the cache)"),
                    files => format!(
                        "{name} ({files} files, {} to download)",
                        gib(snapshot.missing_bytes())
                    ),
                }
            }
        }
    }

    /// The path of what is on this machine already, other than in the hub's cache.
    pub fn local(&self) -> Option<&Path> {
        match &self.0 {
            Place::Local(path) => Some(path),
            #[cfg(feature = "hub")]
            Place::Hub(_) => None,
        }
    }

    /// The configuration of a model, which is read without fetching the rest.
    pub fn model_config(&self) -> anyhow::Result<AnyVlmConfig> {
        match &self.0 {
            Place::Local(path) => Ok(AnyVlmConfig::from_dir(&ModelDir::open(path)?)?),
            #[cfg(feature = "hub")]
            Place::Hub(found) => {
                let (hub, snapshot) = &**found;
                let text = hub.read(snapshot, CONFIG, CONFIG_LIMIT, &Unwatched)?;
                let file = PathBuf::from(format!("{}: {CONFIG}", self.name()));
                let json = serde_json::from_slice(&text)
                    .with_context(|| format!("{} is not JSON", file.display()))?;
                Ok(AnyVlmConfig::from_json(&file, &json)?)
            }
        }
    }

    /// The local path. Downloads what is missing, with progress; Ctrl-C keeps what arrived.
    pub fn fetch(&self) -> anyhow::Result<PathBuf> {
        match &self.0 {
            Place::Local(path) => Ok(path.clone()),
            #[cfg(feature = "hub")]
            Place::Hub(found) => {
                let (hub, snapshot) = &**found;
                let fetched = stop::guarded(|stop| {
                    let watch = progress::Download::new(self.name(), stop);
                    hub.fetch(snapshot, &watch)
                })?;
                Ok(fetched.map_err(stopped)?)
            }
        }
    }
}

/// Whether a text can only be meant as a path.
fn is_path(text: &str) -> bool {
    const FILES: [&str; 7] = [
        "jsonl",
        "json",
        "parquet",
        "csv",
        "tar",
        "safetensors",
        "toml",
    ];
    let path = Path::new(text);
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    let first = text.split('/').next().unwrap_or_default();
    let names_file = text.contains(':');
    path.is_absolute()
        || matches!(first, "." | ".." | "~")
        || (!names_file && FILES.contains(&extension))
}

fn neither(text: &str, why: &str) -> anyhow::Error {
    Usage(format!(
        "`{text}`: there is no such file or folder, and it is no name on the hub (org/name or org/name@revision): {why}"
    ))
    .into()
}

#[cfg(feature = "hub")]
fn on_hub(wanted: Wanted, text: &str) -> anyhow::Result<Source> {
    let kind = match wanted {
        Wanted::Model => Kind::Model,
        Wanted::Pipeline => Kind::Pipeline,
        Wanted::AnyModel => Kind::AnyModel,
        Wanted::Adapter => Kind::Adapter,
        Wanted::Data => Kind::Dataset,
    };
    let repo = match Repo::parse(kind, text) {
        Ok(repo) => repo,
        Err(HubError::Name { reason, .. }) => return Err(neither(text, &reason)),
        Err(fault) => return Err(fault.into()),
    };
    let look = || -> Result<_, HubError> {
        let hub = Hub::new(HubSettings::from_env()?)?;
        let snapshot =
            stop::guarded(|stop| hub.look(&repo, &progress::Download::new(repo.to_string(), stop)));
        let snapshot = snapshot.map_err(|source| HubError::Io {
            path: "signals".into(),
            action: "be handled",
            source,
        })??;
        Ok(Source(Place::Hub(Box::new((hub, snapshot)))))
    };
    look()
        .map_err(stopped)
        .with_context(|| format!("`{text}` is no path here, and on the hub it cannot be used"))
}

/// An interrupted download ends with the code of an interrupted program.
#[cfg(feature = "hub")]
fn stopped(fault: HubError) -> anyhow::Error {
    match fault {
        HubError::Stopped => Stopped(fault.to_string()).into(),
        fault => fault.into(),
    }
}

#[cfg(not(feature = "hub"))]
fn on_hub(_wanted: Wanted, text: &str) -> anyhow::Result<Source> {
    Err(neither(
        text,
        "this program was built without the feature `hub`",
    ))
}

/// The commit that a run began with, where `text` names the same repository without one.
#[cfg(feature = "hub")]
fn as_recorded(text: &str, recorded: &str) -> Option<String> {
    let [given, recorded] = [text, recorded].map(|t| Repo::parse(Kind::Model, t).ok());
    let (given, recorded) = (given?, recorded?);
    let same = given.id() == recorded.id() && given.file() == recorded.file();
    (same && !given.is_pinned() && recorded.is_pinned()).then(|| recorded.to_string())
}

#[cfg(not(feature = "hub"))]
fn as_recorded(_text: &str, _recorded: &str) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(found: anyhow::Result<Source>) -> String {
        match found {
            Ok(source) => source.name(),
            Err(fault) => format!("{fault:#}"),
        }
    }

    #[test]
    fn what_looks_like_a_path_is_one() {
        for path in [
            "/nowhere/model",
            "./org/name",
            "../org/name",
            "~/model",
            ".",
            "data/train.jsonl",
        ] {
            assert_eq!(text(Source::find(Wanted::Data, path)), path);
        }
        // The folder of this package exists and is no name that is asked for.
        assert_eq!(text(Source::find(Wanted::Model, "src")), "src");
        assert_eq!(text(Source::find(Wanted::Model, "src/bin")), "src/bin");
    }

    #[test]
    fn what_is_neither_is_a_wrong_usage() {
        for wrong in ["nowhere", "a/b/c/d", "org/na me", ""] {
            let fault = Source::find(Wanted::Model, wrong).err();
            let fault = fault.unwrap_or_else(|| panic!("{wrong} was accepted"));
            assert!(fault.is::<Usage>(), "{fault}");
            assert!(
                fault.to_string().contains("no such file or folder"),
                "{fault}"
            );
        }
    }

    #[cfg(feature = "hub")]
    #[test]
    fn a_resumed_run_keeps_its_commit() {
        let pinned = format!("org/name@{}", "a".repeat(40));
        assert_eq!(as_recorded("org/name", &pinned), Some(pinned.clone()));
        assert_eq!(as_recorded("org/name@main", &pinned), Some(pinned.clone()));
        let other = format!("org/name@{}", "b".repeat(40));
        for (given, recorded) in [
            (other.as_str(), pinned.as_str()),
            ("org/else", &pinned),
            ("org/name", "models/x"),
        ] {
            assert_eq!(as_recorded(given, recorded), None);
        }
    }
}
