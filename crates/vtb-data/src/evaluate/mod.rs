//! Predictions judged against a data set: a verdict for every attempt, accuracy, a report.
//!
//! [`evaluate`] reads and judges, [`Evaluation::write`] leaves `results.jsonl`, `summary.json` and
//! `report.html`. Nothing that a prediction holds can stop it: what cannot be read is a verdict.
//!
//! Invariant: every record of the data set counts, also one that nothing was predicted for, unless
//! [`Settings::skip_missing`] says otherwise; results follow from the files alone, in the order
//! of the data set, whatever the number of threads.

mod baseline;
mod cases;
mod html;
mod judge;
mod predictions;
mod report;
mod summary;
mod table;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::Serialize;
use vtb_puzzle::answer::AnswerPolicy;
use vtb_puzzle::{Outcome, TaskGroup};

use crate::error::{DataError, Result};
use crate::image_io::write_whole;
use crate::manifest::Manifest;
pub use predictions::Given;
pub use summary::{Bin, GroupSummary, Score, Summary, TaskSummary};

/// Names of the files that are written.
pub const RESULTS: &str = "results.jsonl";
/// The numbers.
pub const SUMMARY: &str = "summary.json";
/// The numbers and failed cases as a page.
pub const REPORT: &str = "report.html";

/// What was asked of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A text with the answer.
    Text,
    /// An edited picture.
    Image,
    /// A clip.
    Video,
}

impl Kind {
    /// Name on the command line, and of the field in rows of predictions.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Video => "video",
        }
    }

    /// Names of the file in an attempt's folder, the likeliest first.
    fn file_names(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["content", "answer", "output", "prediction"],
            Self::Image => &[
                "last_frame",
                "generated",
                "candidate",
                "output",
                "prediction",
            ],
            Self::Video => &["generated", "output", "prediction", "result"],
        }
    }

    fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["txt"],
            Self::Image => &["png", "jpg", "jpeg", "webp", "bmp"],
            Self::Video => &["mp4", "mov", "gif", "y4m", "webm"],
        }
    }
}

/// How to judge.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Where the paths of a JSONL file of predictions start; its own folder if `None`.
    pub root: Option<PathBuf>,
    /// Records that nothing was predicted for do not count, instead of counting as invalid.
    pub skip_missing: bool,
    /// How text answers are read.
    pub policy: AnswerPolicy,
}

/// A judged attempt: a line of `results.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attempt {
    /// The record.
    pub id: String,
    /// Which attempt at it, from 1; 0 where nothing was predicted.
    pub attempt: usize,
    /// Its task.
    pub task: String,
    /// How it came out.
    pub verdict: Outcome,
    /// One sentence.
    pub reason: String,
    /// The answer that was read, if one was.
    pub parsed: Option<String>,
    /// The right answer.
    pub answer: String,
    /// 1 when correct, below that how near a picture or clip came; texts have 0 or 1.
    pub score: f64,
    /// The prediction's file could not be read; says nothing of the model where the form is just
    /// not known here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
}

/// A record with all attempts at it, and what is needed to count them.
#[derive(Debug, Clone)]
struct Judged {
    index: usize,
    group: TaskGroup,
    task: String,
    /// The right option, where there are options.
    label: Option<String>,
    chance: f64,
    difficulty: Option<f64>,
    /// Whether the rules of [`baseline::SHORTCUTS`] pick the right option.
    shortcuts: Option<[bool; baseline::SHORTCUTS.len()]>,
    missing: bool,
    attempts: Vec<Attempt>,
}

/// Everything that was judged.
pub struct Evaluation<'a> {
    manifest: &'a Manifest,
    predictions: Vec<Vec<Given>>,
    records: Vec<Judged>,
    summary: Summary,
}

/// Judges `predictions`, a JSONL file or a folder, against the data set. `tell` is given the number
/// of records done and wanted, from any thread.
///
/// # Errors
/// [`DataError`] of the data set or of the predictions' file; what a single prediction holds is
/// never one.
pub fn evaluate<'a>(
    manifest: &'a Manifest,
    kind: Kind,
    predictions: &Path,
    settings: &Settings,
    tell: &(dyn Fn(usize, usize) + Sync),
) -> Result<Evaluation<'a>> {
    let ids: Result<Vec<String>> = manifest.iter().map(|entry| Ok(entry?.id)).collect();
    let root = settings.root.as_deref();
    let given = predictions::read_predictions(predictions, root, kind, &ids?)?;
    let wanted: Vec<usize> = (0..given.len())
        .filter(|at| !settings.skip_missing || !given[*at].is_empty())
        .collect();
    let judges = judge::Judges::new(manifest, kind, settings.policy.clone())?;
    let done = AtomicUsize::new(0);
    let records: Result<Vec<Judged>> = wanted
        .par_iter()
        .map(|&index| {
            let judged = judges.record(index, &given[index]);
            tell(done.fetch_add(1, Ordering::Relaxed) + 1, wanted.len());
            judged
        })
        .collect();
    let records = records?;
    let summary = Summary::new(kind, manifest.path(), predictions, &records);
    Ok(Evaluation {
        manifest,
        predictions: given,
        records,
        summary,
    })
}

impl Evaluation<'_> {
    /// The numbers.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Every judged attempt, in the order of the data set.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.records.iter().flat_map(|record| &record.attempts)
    }

    /// Writes `results.jsonl`, `summary.json` and `report.html` into `dir`, which is made if it is
    /// not there. At most `cases` failed attempts are shown in the report.
    ///
    /// # Errors
    /// [`DataError::Io`].
    pub fn write(&self, dir: &Path, cases: usize) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|e| DataError::io(dir, "create", e))?;
        write_whole(&dir.join(RESULTS), true, |file| {
            self.attempts().try_for_each(|attempt| {
                serde_json::to_writer(&mut *file, attempt)?;
                file.write_all(b"\n")
            })
        })?;
        let page = report::page(&self.summary, &cases::choose(self, cases));
        write_whole(&dir.join(REPORT), true, |file| {
            file.write_all(page.as_bytes())
        })?;
        write_whole(&dir.join(SUMMARY), true, |file| {
            serde_json::to_writer_pretty(&mut *file, &self.summary)?;
            file.write_all(b"\n")
        })
    }
}
