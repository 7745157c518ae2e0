//! Answers to all rows of a file: what `evaluate text` judges.

use std::fs::{File, OpenOptions as FileOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use vtb_data::{JsonlDataset, OpenOptions, RowRules};
use vtb_models_vlm::AnyVlm;
use vtb_models_vlm::encode::RowEncoder;
use vtb_nn::lm::{CausalLm, Completion, SampleOptions, StopReason};
use vtb_trainer::train::{Prompt, PromptSource};
use vtb_trainer::{TrainError, rng};

use crate::data::Rows;

/// What is asked of the model.
#[derive(Debug, Clone)]
pub struct Ask {
    /// How it answers; `max_num_seqs` says how many answers decode at a time.
    pub options: SampleOptions,
    /// Answers to each row.
    pub num_samples: usize,
    /// Seed of sampling; an answer depends on it, its row and its number alone.
    pub seed: u64,
}

impl Ask {
    /// Asks for answers to the rows `indices`, a few waves of them at a time, and hands those to each row to `each`, in
    /// order.
    ///
    /// # Errors
    /// A row or its pictures cannot be read; the model fails; what `each` says.
    pub fn each<E: From<TrainError>>(
        &self,
        model: &dyn CausalLm,
        rows: &Rows,
        indices: &[usize],
        mut each: impl FnMut(&Prompt, &[Completion]) -> Result<(), E>,
    ) -> Result<(), E> {
        let samples = self.num_samples.max(1);
        let wave = (self.options.max_num_seqs.max(1) * WAVES / samples).max(1);
        for indices in indices.chunks(wave) {
            let prompt = |index: &usize| rows.prompt(*index);
            let prompts = indices.par_iter().map(prompt);
            let prompts: Vec<Prompt> = prompts.collect::<Result<_, TrainError>>()?;
            let (mut asked, mut seeds) = (Vec::new(), Vec::new());
            for (index, prompt) in indices.iter().zip(&prompts) {
                for sample in 0..samples as u64 {
                    asked.push(prompt.row.clone());
                    seeds.push(rng::seed(self.seed, "answer", *index as u64, sample));
                }
            }
            let completions = model.generate(&asked, &self.options, &seeds);
            let completions = completions.map_err(TrainError::from)?;
            for (prompt, completions) in prompts.iter().zip(completions.chunks(samples)) {
                each(prompt, completions)?;
            }
        }
        Ok(())
    }
}

/// One answer, a line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    id: String,
    text: String,
    /// Number of the answer among those to its row.
    sample: usize,
    tokens: usize,
    /// Whether it ended by itself.
    stopped: bool,
}

/// Answers asked for at a time, in multiples of those that decode together.
const WAVES: usize = 4;

/// Answers every row of `data` into `output`, a line for each answer. Where `output` has the first answers already, it goes on
/// after them. Returns how many there are in all.
///
/// # Errors
/// A row cannot be read; `output` holds something else, or cannot be written.
pub fn answer_file(
    model: &AnyVlm,
    encoder: RowEncoder,
    data: &Path,
    output: &Path,
    ask: &Ask,
) -> anyhow::Result<usize> {
    let rules = RowRules {
        require_solution: false,
        ..RowRules::grpo()
    };
    let source = JsonlDataset::open(data, &OpenOptions::new(rules))?;
    let rows = Rows::new(Arc::new(source), Arc::new(encoder));
    let count = PromptSource::len(&rows);
    let done = answered(&rows, output, ask.num_samples)?;
    let mut file = FileOptions::new()
        .create(true)
        .append(true)
        .open(output)
        .with_context(|| format!("cannot write {}", output.display()))?;
    let bar = ProgressBar::new(count as u64).with_style(ProgressStyle::with_template(
        "{pos}/{len} rows {wide_bar} {eta} left",
    )?);
    bar.set_position(done as u64);
    let todo: Vec<usize> = (done..count).collect();
    ask.each(model, &rows, &todo, |prompt, completions| {
        let mut text = Vec::new();
        for (sample, completion) in completions.iter().enumerate() {
            let line = line(&rows, prompt, completion, sample)?;
            writeln!(text, "{}", serde_json::to_string(&line)?)?;
        }
        bar.inc(1);
        file.write_all(&text)
            .with_context(|| format!("cannot write {}", output.display()))
    })?;
    bar.finish_and_clear();
    Ok(count * ask.num_samples)
}

fn line(
    rows: &Rows,
    prompt: &Prompt,
    completion: &Completion,
    sample: usize,
) -> anyhow::Result<Line> {
    Ok(Line {
        id: prompt.id.clone(),
        text: rows.decode(&completion.ids)?,
        sample,
        tokens: completion.ids.len(),
        stopped: completion.stop == StopReason::Stop,
    })
}

/// Rows whose answers all stand in `output`. What was written of the next one is cut off.
fn answered(rows: &Rows, output: &Path, samples: usize) -> anyhow::Result<usize> {
    let shown = output.display();
    let file = match File::open(output) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
    };
    let mut reader = BufReader::new(file);
    let (mut whole, mut position, mut lines) = (0, 0, 0);
    let mut text = Vec::new();
    loop {
        text.clear();
        let read = reader
            .read_until(b'\n', &mut text)
            .with_context(|| format!("cannot read {shown}"))?;
        if text.pop() != Some(b'\n') {
            break;
        }
        position += read as u64;
        let place = lines + 1;
        let found: Line = serde_json::from_slice(&text)
            .with_context(|| format!("{shown}, line {place}: not an answer; name another file"))?;
        ensure!(
            lines / samples < PromptSource::len(rows),
            "{shown} holds answers to more rows than there are; name another file"
        );
        let row = rows.source().row(lines / samples)?;
        let id = row.id.unwrap_or_else(|| row.origin.to_string());
        ensure!(
            found.id == id && found.sample == lines % samples,
            "{shown}, line {place}: answer {} to row {}, where answer {} to row {id} belongs; name another file",
            found.sample,
            found.id,
            lines % samples
        );
        lines += 1;
        if lines % samples == 0 {
            whole = position;
        }
    }
    drop(reader);
    let file = FileOptions::new().write(true).open(output);
    file.and_then(|file| file.set_len(whole))
        .with_context(|| format!("cannot write {shown}"))?;
    Ok(lines / samples)
}
