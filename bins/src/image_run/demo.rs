//! The run without a model or data of one's own: mazes and a tiny model of the true architecture.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use vtb_data::generate::{Ended, Plan, Request, choose_tasks, generate};
use vtb_data::manifest::Manifest;
use vtb_data::media::read_edit_rows;
use vtb_data::prepare::{
    Common, ImageExport, METADATA, PathMode, Selection, Settings, Source, Verify, run,
};
use vtb_models_diffusion::files::MODEL_INDEX;
use vtb_models_diffusion::tiny::TinyEditSpec;
use vtb_trainer::rng;

use super::settings::EditDemoSection;

/// Puzzles whose prompts train the tokenizer.
const CORPUS: usize = 64;

/// Generated data and where it lies.
pub(super) struct DemoData {
    /// Rows to train on.
    pub(super) train: PathBuf,
    /// Held-out rows.
    pub(super) eval: PathBuf,
    /// Held-out puzzles, whose records judge previews.
    pub(super) judge: PathBuf,
}

/// Makes puzzles below `dir`: held-out ones first, then training ones of other scenes. What is there already stays.
pub(super) fn data(demo: &EditDemoSection, seed: u64, dir: &Path) -> anyhow::Result<DemoData> {
    let judge = dir.join("eval");
    let eval = puzzles(
        demo,
        demo.eval_puzzles,
        rng::seed(seed, "held-out puzzles", 0, 0),
        BTreeSet::new(),
        &judge,
    )?;
    let mut held_out = BTreeSet::new();
    for entry in Manifest::open(&judge)?.iter() {
        held_out.extend(entry?.record.map(|record| record.scene_hash));
    }
    let seed = rng::seed(seed, "training puzzles", 0, 0);
    let train = puzzles(demo, demo.train_puzzles, seed, held_out, &dir.join("train"))?;
    Ok(DemoData { train, eval, judge })
}

fn puzzles(
    demo: &EditDemoSection,
    count: usize,
    seed: u64,
    held_out: BTreeSet<String>,
    dir: &Path,
) -> anyhow::Result<PathBuf> {
    let rows = dir.join(METADATA);
    if rows.is_file() {
        return Ok(rows);
    }
    let tasks = choose_tasks(std::slice::from_ref(&demo.task), &[], &[])?;
    let request = Request {
        tasks,
        params: BTreeMap::from([(demo.task.clone(), demo.params.clone())]),
        count: count as u64,
        seed,
        video: None,
        splits: None,
        held_out,
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let plan = Plan::new(request)?;
    match generate(&plan, dir, workers, &mut |_| ControlFlow::Continue(()))? {
        Ended::Finished(_) => {}
        Ended::Interrupted { done, total } => bail!("only {done} of {total} puzzles were made"),
    }
    let source = Source::open(dir, false)?;
    let common = Common::new(source.root(), dir, PathMode::Relative, false, false)?;
    let settings = Settings {
        selection: Selection::default(),
        verify: Verify::Quick,
        max_bad_rows: 0,
        dry: false,
    };
    let exporter = ImageExport::new(common, &rows)?;
    run(&source, &settings, exporter, &mut |_| {
        ControlFlow::Continue(())
    })?
    .context("the puzzles were not exported")?;
    Ok(rows)
}

/// Writes a tiny model directory with fresh weights, unless one is there.
pub(super) fn model(dir: &Path, rows: &Path, seed: u64) -> anyhow::Result<()> {
    if dir.join(MODEL_INDEX).is_file() {
        return Ok(());
    }
    let rows = read_edit_rows(rows, None)?;
    let corpus: Vec<String> = rows
        .into_iter()
        .take(CORPUS)
        .map(|row| row.prompt)
        .collect();
    TinyEditSpec::default().write(dir, &corpus, rng::seed(seed, "fresh weights", 0, 0))?;
    Ok(())
}
