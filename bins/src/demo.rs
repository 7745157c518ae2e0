//! The run without a model or data of one's own: a tiny model of the true architecture and generated puzzles.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use vtb_data::{GeneratedDataset, PuzzleSpec, RowMode, RowSource};
use vtb_models_vlm::qwen3_vl::Qwen3Vl;
use vtb_models_vlm::tiny::TinySpec;
use vtb_nn::checkpoint::Checkpoint;
use vtb_trainer::rng;

use crate::model::Machine;
use crate::settings::DemoSection;

/// Rows of the tiny model's embedding matrix.
const VOCABULARY: usize = 512;
/// Puzzles whose texts train the tokenizer.
const CORPUS: usize = 200;

/// Generated puzzles of one task, split by scene.
pub struct Puzzles {
    /// To train on.
    pub train: Arc<GeneratedDataset>,
    /// Of other scenes than all training puzzles.
    pub eval: Arc<GeneratedDataset>,
    /// Accuracy of guessing.
    pub chance: f64,
}

/// Generates both sets. They share no scene: training leaves out every scene hash of the held-out set.
pub fn puzzles(demo: &DemoSection, seed: u64, mode: RowMode) -> anyhow::Result<Puzzles> {
    let spec = |purpose: &str, count: usize| PuzzleSpec {
        task: demo.task.clone(),
        params: demo.params.clone(),
        seed: rng::seed(seed, purpose, 0, 0),
        count,
    };
    let none = BTreeSet::new();
    let eval = GeneratedDataset::new(
        &spec("held-out puzzles", demo.eval_puzzles),
        RowMode::Grpo,
        &none,
    )?;
    let held_out = eval.scene_hashes();
    let train = GeneratedDataset::new(
        &spec("training puzzles", demo.train_puzzles),
        mode,
        &held_out,
    )?;
    let chance = eval.records().iter().map(|r| r.chance()).sum::<f64>() / eval.len() as f64;
    Ok(Puzzles {
        train: Arc::new(train),
        eval: Arc::new(eval),
        chance,
    })
}

/// Writes a tiny model directory with fresh weights.
pub fn write_tiny_model(
    dir: &Path,
    data: &dyn RowSource,
    seed: u64,
    machine: &Machine,
) -> anyhow::Result<()> {
    let mut corpus = Vec::new();
    for index in 0..data.len().min(CORPUS) {
        let row = data.row(index)?;
        corpus.extend(row.messages.into_iter().map(|m| m.content));
        corpus.extend(row.solution.and_then(|s| s.as_str().map(str::to_owned)));
    }
    let config = TinySpec::default().write_files(dir, &corpus, VOCABULARY)?;
    let seed = rng::seed(seed, "fresh weights", 0, 0);
    Qwen3Vl::fresh(config, seed, &machine.device, machine.dtype)?.save(dir)?;
    Ok(())
}

/// Whether a directory already holds complete weights.
pub fn has_weights(dir: &Path) -> bool {
    Checkpoint::open(dir).is_ok()
}
