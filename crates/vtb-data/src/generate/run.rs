//! Carrying a plan out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;
use vtb_puzzle::{Record, TaskGroup};

use super::pick::{Picker, Tally};
use super::plan::{Plan, Settings, TaskPlan};
use super::progress::{OnProgress, Progress, Watch};
use super::row::upstream_row;
use super::store::{Growing, Journal, Store};
use super::work::{Maker, folders};
use crate::error::{DataError, Result};
use crate::manifest::{AssetRefs, MANIFEST, SCHEMA, manifest_line};

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// The data set is complete.
    Finished(Summary),
    /// The callback asked to stop. The same call goes on where this one stopped.
    Interrupted {
        /// Records finished.
        done: u64,
        /// Records wanted.
        total: u64,
    },
}

/// A complete data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The manifest.
    pub manifest: PathBuf,
    /// Records of all tasks.
    pub records: u64,
    /// Those of them that earlier runs had finished.
    pub reused: u64,
    /// By task.
    pub tasks: BTreeMap<String, TaskSummary>,
}

/// What there is of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskSummary {
    /// Its family.
    pub group: TaskGroup,
    /// What became of the seeds.
    #[serde(flatten)]
    pub tally: Tally,
    /// Records by part.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub splits: BTreeMap<String, u64>,
}

/// The content of `generation.json`.
#[derive(Serialize)]
struct Generation<'a> {
    schema: u64,
    program: &'static str,
    settings: &'a Settings<'a>,
    complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<&'a BTreeMap<String, TaskSummary>>,
}

/// Makes the data set of `plan` in `dir`, which must not exist, be empty, or hold a run of the
/// same plan; that is then taken up, and files that were changed are made again.
///
/// `on_progress` is called after each record, from any worker, one call at a time; it must not wait
/// for parallel work of its own. When it asks to stop, what is finished stays.
///
/// # Errors
/// [`GenerateFault::OtherSettings`](super::GenerateFault::OtherSettings), `NotOurs`, `Busy`,
/// `Damaged` for the folder; [`DataError::TooFewScenes`] and `Barren` for a task that does not
/// give as many scenes; [`DataError::Puzzle`], [`DataError::Video`] and [`DataError::Io`] for a
/// file that cannot be made. After an error, too, the same call goes on where this one stopped.
pub fn generate(
    plan: &Plan,
    dir: &Path,
    workers: usize,
    on_progress: &mut OnProgress<'_>,
) -> Result<Ended> {
    let workers = workers.clamp(1, 1024);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build();
    let pool = pool.map_err(|fault| {
        let source = std::io::Error::other(fault);
        DataError::io(dir, "start workers for", source)
    })?;
    let total = plan.records();
    // A shorter life for the reference, as the watch wants it.
    let mut tell = |progress: &Progress<'_>| on_progress(progress);
    let watch = Watch::new(total, &mut tell);
    pool.install(|| run(plan, dir, watch))
}

fn run(plan: &Plan, dir: &Path, watch: Watch<'_>) -> Result<Ended> {
    let settings = plan.settings();
    let (text, value) = generation(&settings, None)?;
    let store = Store::open(dir, &value, &text)?;
    let ledger = Ledger {
        stop: AtomicBool::new(false),
        book: Mutex::new((store.journal()?, watch)),
    };
    let mut manifest = Growing::create(dir.join(MANIFEST))?;
    let mut tasks = BTreeMap::new();
    for task in &plan.tasks {
        match run_task(plan, task, dir, &store, &ledger, &mut manifest)? {
            Some(summary) => tasks.insert(task.name.to_owned(), summary),
            None => {
                let (done, total) = (ledger.counts().0, plan.records());
                return Ok(Ended::Interrupted { done, total });
            }
        };
    }
    manifest.finish()?;
    store.finish(&generation(&settings, Some(&tasks))?.0)?;
    let (records, reused) = ledger.counts();
    Ok(Ended::Finished(Summary {
        manifest: dir.join(MANIFEST),
        records,
        reused,
        tasks,
    }))
}

/// The text of `generation.json`, and the same as a value.
fn generation(
    settings: &Settings<'_>,
    tasks: Option<&BTreeMap<String, TaskSummary>>,
) -> Result<(String, Value)> {
    let content = Generation {
        schema: SCHEMA,
        program: concat!("vtb ", env!("CARGO_PKG_VERSION")),
        settings,
        complete: tasks.is_some(),
        tasks,
    };
    let fail = |e: serde_json::Error| DataError::io(Path::new("settings"), "write", e.into());
    let mut text = serde_json::to_string_pretty(&content).map_err(fail)?;
    text.push('\n');
    let value = serde_json::from_str(&text).map_err(fail)?;
    Ok((text, value))
}

/// `None`: the run was asked to stop.
fn run_task(
    plan: &Plan,
    task: &TaskPlan,
    dir: &Path,
    store: &Store,
    ledger: &Ledger<'_>,
    manifest: &mut Growing,
) -> Result<Option<TaskSummary>> {
    for folder in folders(task.name).map(|folder| dir.join(folder)) {
        std::fs::create_dir_all(&folder).map_err(|e| DataError::io(&folder, "create", e))?;
    }
    let maker = Maker {
        root: dir,
        task: task.task,
        video: plan.video.as_ref(),
    };
    let mut data = Growing::create(dir.join(task.name).join("data.json"))?;
    let mut picker = Picker::new(plan, task);
    let mut splits: BTreeMap<String, u64> = BTreeMap::new();
    let mut before = "[\n";
    loop {
        let records = picker.next()?;
        if records.is_empty() {
            break;
        }
        let made = records.par_iter().map(|record| {
            let assets = ledger.make(&maker, store, record)?;
            let Some(assets) = assets else {
                return Ok(None);
            };
            let split = plan.splits.as_ref().map(|s| s.of(&record.scene_hash));
            lines(record, split, &assets).map(|lines| Some((split, lines)))
        });
        let made: Option<Vec<_>> = made.collect::<Result<_>>()?;
        let Some(made) = made else {
            return Ok(None);
        };
        for (split, [line, row]) in made {
            manifest.add(&format!("{line}\n"))?;
            data.add(&format!("{before}{row}"))?;
            before = ",\n";
            if let Some(split) = split {
                *splits.entry(split.to_owned()).or_default() += 1;
            }
        }
    }
    data.add("\n]\n")?;
    data.finish()?;
    Ok(Some(TaskSummary {
        group: task.group,
        tally: picker.tally,
        splits,
    }))
}

/// The line of the manifest and the element of `data.json`.
fn lines(record: &Record, split: Option<&str>, assets: &AssetRefs) -> Result<[String; 2]> {
    let fail = |fault: serde_json::Error| DataError::Puzzle {
        task: record.task.clone(),
        reason: format!("{} cannot be written: {fault}", record.id),
    };
    let line = manifest_line(record, split, assets).map_err(fail)?;
    Ok([line, upstream_row(record, split, assets).map_err(fail)?])
}

/// What the workers share: the notes of what is finished, and the request to stop.
struct Ledger<'a> {
    stop: AtomicBool,
    book: Mutex<(Journal, Watch<'a>)>,
}

impl Ledger<'_> {
    /// The files of a record, made now or found finished; `None` once the run is to stop.
    fn make(&self, maker: &Maker<'_>, store: &Store, record: &Record) -> Result<Option<AssetRefs>> {
        if self.stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let known = store.known(&record.id);
        let known = known.filter(|assets| maker.is_made(record, assets));
        let assets = match known {
            Some(assets) => assets.clone(),
            None => maker.make(record)?,
        };
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let (journal, watch) = &mut *book;
        if known.is_none() {
            journal.add(&record.id, &assets)?;
        }
        if !watch.finished(&record.task, known.is_some()) {
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(Some(assets))
    }

    /// Records finished, and those of them that were found so.
    fn counts(&self) -> (u64, u64) {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        (book.1.done, book.1.reused)
    }
}
