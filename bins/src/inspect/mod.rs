//! A training file looked at from end to end before anything is trained on it: `prepare-data check` and
//! `prepare-data preview`.
//!
//! Every row is read, every picture and clip decoded, in parallel, one row in memory per thread. What is found is
//! counted by kind ([`Findings`]) with the first places, so that a report stays short whatever the file.

mod chat;
mod clip;
mod edit;
mod findings;
mod leak;
mod sheet;

use std::path::{Path, PathBuf};

use vtb_data::RowMode;
use vtb_data::media::MediaKind;
use vtb_models_vlm::config::AnyVlmConfig;
use vtb_models_vlm::encode::RowEncoder;
use vtb_models_vlm::files::ModelDir;

pub use findings::{Findings, Spread};
pub use sheet::preview;

use crate::ending::Usage;

/// What a training file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Conversations (JSONL with `messages`), for train-sft and train-grpo
    Vlm,
    /// Pictures to draw (`metadata.json` with `image`)
    Image,
    /// Clips to draw (CSV with `video`)
    Video,
}

impl Kind {
    /// The kind of a file: what it is said to be, or what its name and columns say.
    ///
    /// # Errors
    /// The file cannot be read, or is of no known kind.
    pub fn of(path: &Path, said: Option<Self>) -> anyhow::Result<Self> {
        if let Some(said) = said {
            return Ok(said);
        }
        let lines = path.extension().is_some_and(|ending| ending == "jsonl");
        let kind = match MediaKind::of_file(path) {
            Ok(Some(MediaKind::Image)) if lines && chat::has_messages(path) => Self::Vlm,
            Ok(Some(MediaKind::Image)) => Self::Image,
            Ok(Some(MediaKind::Video)) => Self::Video,
            Ok(None) | Err(_) if lines => Self::Vlm,
            Ok(None) => {
                let path = path.display();
                let what = "it has neither `messages` nor `image` nor `video`; name its --kind";
                return Err(Usage(format!("{path}: {what}")).into());
            }
            Err(fault) => return Err(fault.into()),
        };
        Ok(kind)
    }
}

/// How a file is looked at.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// What the file is for; told from the file where it is not said.
    pub kind: Option<Kind>,
    /// How conversations have to end; told from the first row where it is not said.
    pub mode: Option<RowMode>,
    /// Model directory whose tokenizer, template and picture settings count tokens.
    pub model: Option<PathBuf>,
    /// Most tokens of a row.
    pub max_length: Option<usize>,
    /// Most pixels of a picture to draw; larger ones are noted, trainers shrink them.
    pub max_pixels: Option<u64>,
    /// Where relative paths start, instead of the file's folder.
    pub base: Option<PathBuf>,
    /// Files that must share no scene with this one.
    pub against: Vec<PathBuf>,
}

/// Reads `file` from end to end.
///
/// # Errors
/// The file itself cannot be read. What is wrong with rows is in the findings.
pub fn check(file: &Path, options: &CheckOptions) -> anyhow::Result<Findings> {
    let (mut findings, scenes) = look(file, options, true)?;
    for other in &options.against {
        let other_options = CheckOptions {
            kind: None,
            model: None,
            base: None,
            ..options.clone()
        };
        let (_, others) = look(other, &other_options, false)?;
        scenes.compare(&others, other, &mut findings);
    }
    scenes.within(&mut findings);
    Ok(findings)
}

/// What a file holds; without `whole` only its scenes.
fn look(
    file: &Path,
    options: &CheckOptions,
    whole: bool,
) -> anyhow::Result<(Findings, leak::Scenes)> {
    match Kind::of(file, options.kind)? {
        Kind::Vlm => chat::look(file, options, whole),
        Kind::Image => edit::look(file, options, whole),
        Kind::Video => clip::look(file, options, whole),
    }
}

/// Tokenizer, template and picture settings of a model directory; its weights are not read.
fn open_processor(dir: &Path) -> anyhow::Result<RowEncoder> {
    let files = ModelDir::open(dir)?;
    Ok(AnyVlmConfig::from_dir(&files)?.encoder(&files)?)
}
