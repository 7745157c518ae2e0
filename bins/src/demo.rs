//! The run without a model or data of one's own: a tiny model of the true architecture and generated puzzles.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rand::RngExt;
use vtb_data::{Fingerprint, GeneratedDataset, PuzzleSpec, RowMode, RowSource, TrainRow};
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

/// Supervision by a teacher who is often wrong. A policy taught only the truth is sure of itself, right or wrong, and
/// has nothing left to explore; a few steps with this teacher leave what it sees as it is and make it undecided, so
/// that it samples different answers to the same puzzle, which is what reinforcement learning lives on.
pub struct UnreliableTeacher {
    /// Rows with right answers.
    pub rows: Arc<GeneratedDataset>,
    /// Share of rows answered by one of the options at random.
    pub noise: f64,
    /// Chooses rows and answers.
    pub seed: u64,
}

impl RowSource for UnreliableTeacher {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn row(&self, index: usize) -> vtb_data::Result<TrainRow> {
        let mut row = self.rows.row(index)?;
        let record = &self.rows.records()[index];
        let mut rng = rng::stream(self.seed, "unreliable teacher", index as u64, 0);
        if record.options.is_empty() || rng.random::<f64>() >= self.noise {
            return Ok(row);
        }
        let said = &record.options[rng.random_range(0..record.options.len())];
        if let Some(answer) = row.messages.last_mut() {
            answer.content = answer.content.replace(&record.answer.to_string(), said);
        }
        Ok(row)
    }

    fn fingerprint(&self) -> Fingerprint {
        let mut found = self.rows.fingerprint();
        found.sha256 = format!("{} noise {}", found.sha256, self.noise);
        found
    }
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
