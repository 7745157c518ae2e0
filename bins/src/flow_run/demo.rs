//! Puzzles for runs without data of one's own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;
use vtb_data::generate::{ClipSettings, Ended, Plan, Request, choose_tasks, generate};
use vtb_data::manifest::Manifest;
use vtb_data::prepare::{Common, Exporter, PathMode, Selection, Settings, Source, Verify, run};
use vtb_trainer::rng;

use super::family::DemoData;

/// Puzzles to make, of every task as many.
pub(crate) struct Wish {
    /// Tasks, and their parameters that differ from the defaults.
    pub(crate) params: BTreeMap<String, Value>,
    /// Training puzzles of each.
    pub(crate) train: usize,
    /// Held-out puzzles of each, of other scenes.
    pub(crate) eval: usize,
    /// Their solution clips.
    pub(crate) video: Option<ClipSettings>,
    /// Name of the file of rows.
    pub(crate) file: &'static str,
}

/// Makes puzzles below `dir`: held-out ones first, then training ones of other scenes. What is there already stays.
///
/// # Errors
/// They cannot be made or written.
pub(crate) fn puzzles<E: Exporter>(
    wish: &Wish,
    seed: u64,
    dir: &Path,
    export: impl Fn(Common, &Path) -> vtb_data::Result<E>,
) -> anyhow::Result<DemoData> {
    let judge = dir.join("eval");
    let part = |count, purpose, held_out, dir: &Path| -> anyhow::Result<_> {
        let rows = dir.join(wish.file);
        if rows.is_file() {
            return Ok(rows);
        }
        let seed = rng::seed(seed, purpose, 0, 0);
        make(wish, count, seed, held_out, dir)?;
        let source = Source::open(dir, false)?;
        let common = Common::new(source.root(), dir, PathMode::Relative, false, false)?;
        let settings = Settings {
            selection: Selection::default(),
            verify: Verify::Quick,
            max_bad_rows: 0,
            dry: false,
        };
        run(&source, &settings, export(common, &rows)?, &mut |_| {
            ControlFlow::Continue(())
        })?
        .context("the puzzles were not exported")?;
        Ok(rows)
    };
    let eval = part(wish.eval, "held-out puzzles", BTreeSet::new(), &judge)?;
    let mut held_out = BTreeSet::new();
    for entry in Manifest::open(&judge)?.iter() {
        held_out.extend(entry?.record.map(|record| record.scene_hash));
    }
    let train = part(wish.train, "training puzzles", held_out, &dir.join("train"))?;
    Ok(DemoData { train, eval, judge })
}

fn make(
    wish: &Wish,
    count: usize,
    seed: u64,
    held_out: BTreeSet<String>,
    dir: &Path,
) -> anyhow::Result<()> {
    let tasks: Vec<String> = wish.params.keys().cloned().collect();
    let request = Request {
        tasks: choose_tasks(&tasks, &[], &[])?,
        params: wish.params.clone(),
        count: count as u64,
        seed,
        video: wish.video,
        splits: None,
        held_out,
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let plan = Plan::new(request)?;
    match generate(&plan, dir, workers, &mut |_| ControlFlow::Continue(()))? {
        Ended::Finished(_) => Ok(()),
        Ended::Interrupted { done, total } => bail!("only {done} of {total} puzzles were made"),
    }
}
