//! Held-out rows: what a model makes of them, greedily, sampled, and token by token.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use vtb_data::Role;
use vtb_data::stats::pass_at_k;
use vtb_nn::lm::{CausalLm, LmRow, SampleOptions, ScoreOptions};
use vtb_rewards::{Completion, Registry, Reward};
use vtb_trainer::TrainError;
use vtb_trainer::objectives::Accuracy;
use vtb_trainer::objectives::scores::sft_rows;
use vtb_trainer::objectives::sft::{SftStats, sft_loss};
use vtb_trainer::train::{Evaluation, PromptSource, RowEncoder};

use crate::answers::Ask;
use crate::data::{Rows, spread};
use crate::settings::EvalSection;

/// Held-out rows and how they are measured.
pub struct HeldOut {
    rows: Rows,
    /// Rows with a solution.
    solved: Vec<usize>,
    /// Rows that end with an answer.
    answered: Vec<usize>,
    settings: EvalSection,
    stop_ids: Vec<u32>,
    seed: u64,
    judge: Box<dyn Reward>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Rows with a solution that were answered rightly, greedily; absent where no row has one.
    #[serde(flatten)]
    pub accuracy: Option<Accuracy>,
    /// Share of these rows of which at least one of k samples is right, by k (unbiased, Chen et al. 2021).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pass_at: BTreeMap<usize, f64>,
    /// Mean loss of the tokens of answers that stand in the rows, nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Share of these tokens that were the likeliest ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_accuracy: Option<f64>,
}

impl HeldOut {
    /// Measures `rows`, or `max_rows` of them, evenly spread. Reads each of these once.
    ///
    /// # Errors
    /// A row cannot be read, or none has anything to compare with: neither `solution` nor an answer of the assistant.
    pub fn new(
        rows: Rows,
        settings: &EvalSection,
        stop_ids: &[u32],
        seed: u64,
    ) -> Result<Self, TrainError> {
        let judge = Registry::builtin()
            .build("auto", &serde_json::Value::Null)
            .map_err(TrainError::other)?;
        let count = rows.source().len();
        let most = match settings.max_rows {
            0 => count,
            most => most,
        };
        let (mut solved, mut answered) = (Vec::new(), Vec::new());
        for index in spread(count, most) {
            let row = rows.source().row(index).map_err(TrainError::other)?;
            if row.solution.is_some() {
                solved.push(index);
            }
            if row
                .messages
                .last()
                .is_some_and(|m| m.role == Role::Assistant)
            {
                answered.push(index);
            }
        }
        if solved.is_empty() && answered.is_empty() {
            return Err(TrainError::Input(
                "no held-out row has a `solution` or an answer of the assistant to compare with"
                    .into(),
            ));
        }
        Ok(Self {
            rows,
            solved,
            answered,
            settings: settings.clone(),
            stop_ids: stop_ids.to_vec(),
            seed,
            judge,
        })
    }

    /// Everything there is to measure.
    ///
    /// # Errors
    /// A row or its pictures cannot be read; the model fails.
    pub fn measure(&self, model: &dyn CausalLm) -> Result<Measured, TrainError> {
        let mut measured = Measured::default();
        if !self.solved.is_empty() {
            let right = self.right(model, 1, 0.0)?;
            let count = right.iter().filter(|right| **right > 0).count();
            measured.accuracy = Some(Accuracy::from_counts(count, right.len()));
        }
        let samples = self.settings.num_samples;
        if samples > 0 && !self.solved.is_empty() {
            let right = self.right(model, samples, self.settings.temperature as f32)?;
            let doubled = std::iter::successors(Some(1), |k| Some(2 * k));
            let ks = doubled.take_while(|k| *k < samples).chain([samples]);
            for k in ks {
                let each = right
                    .iter()
                    .filter_map(|right| pass_at_k(samples, *right, k));
                let mean = each.sum::<f64>() / right.len() as f64;
                measured.pass_at.insert(k, mean);
            }
        }
        if !self.answered.is_empty() {
            let stats = self.teacher_forced(model)?;
            measured.loss = (stats.tokens > 0).then(|| stats.loss / stats.tokens as f64);
            measured.token_accuracy = stats.token_accuracy();
        }
        Ok(measured)
    }

    /// Of `samples` answers to each row with a solution, how many are right: those the `auto` reward gives its full
    /// score.
    fn right(
        &self,
        model: &dyn CausalLm,
        samples: usize,
        temperature: f32,
    ) -> Result<Vec<usize>, TrainError> {
        let ask = Ask {
            options: SampleOptions {
                max_new_tokens: self.settings.max_new_tokens,
                temperature,
                stop_ids: self.stop_ids.clone(),
                max_num_seqs: self.settings.batch_size,
                ..SampleOptions::default()
            },
            num_samples: samples,
            seed: self.seed,
        };
        let mut right = Vec::with_capacity(self.solved.len());
        ask.each(model, &self.rows, &self.solved, |prompt, completions| {
            let mut count = 0;
            for completion in completions {
                let text = self.rows.decode(&completion.ids)?;
                let score = self.judge.score(&Completion::new(text), &prompt.reference);
                count += usize::from(score.value >= 1.0);
            }
            right.push(count);
            Ok::<(), TrainError>(())
        })?;
        Ok(right)
    }

    /// Sums over the tokens of the answers that stand in the rows.
    fn teacher_forced(&self, model: &dyn CausalLm) -> Result<SftStats, TrainError> {
        let mut stats = SftStats::default();
        // Whole rows with their activations, not one token of each: fewer at a time than decode together.
        let count = (self.settings.batch_size / 8).max(1);
        for indices in self.answered.chunks(count) {
            let encode = |index: &usize| self.rows.encode(*index);
            let rows: Vec<LmRow> = indices.par_iter().map(encode).collect::<Result<_, _>>()?;
            let scores = model.token_scores(&rows, &ScoreOptions::default())?;
            stats.merge(&sft_loss(&sft_rows(&scores), 1)?.stats);
        }
        Ok(stats)
    }
}

impl Measured {
    /// As the step loop logs it. Checkpoints are ranked by accuracy, or by the loss where no row has a solution.
    pub fn evaluation(&self) -> Evaluation {
        let mut metrics = BTreeMap::new();
        if let Some(found) = &self.accuracy {
            metrics.insert("eval/accuracy".to_owned(), found.accuracy);
            metrics.insert("eval/accuracy_low".to_owned(), found.low);
            metrics.insert("eval/accuracy_high".to_owned(), found.high);
        }
        for (k, share) in &self.pass_at {
            metrics.insert(format!("eval/pass@{k}"), *share);
        }
        let named = [
            ("eval/loss", self.loss),
            ("eval/token_accuracy", self.token_accuracy),
        ];
        for (name, value) in named {
            metrics.extend(value.map(|value| (name.to_owned(), value)));
        }
        let accuracy = self.accuracy.map(|found| found.accuracy);
        Evaluation {
            metrics,
            score: accuracy.or(self.loss.map(|loss| -loss)),
        }
    }
}

/// What a person reads, a line each.
impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if let Some(found) = &self.accuracy {
            parts.push(format!(
                "{:.1} % (95 % interval {:.1} to {:.1}, {} puzzles)",
                100.0 * found.accuracy,
                100.0 * found.low,
                100.0 * found.high,
                found.n
            ));
        }
        for (k, share) in &self.pass_at {
            parts.push(format!("pass@{k} {:.1} %", 100.0 * share));
        }
        if let Some(loss) = self.loss {
            parts.push(format!("loss {loss:.4}"));
        }
        if let Some(share) = self.token_accuracy {
            parts.push(format!("tokens {:.1} %", 100.0 * share));
        }
        f.write_str(&parts.join(", "))
    }
}
