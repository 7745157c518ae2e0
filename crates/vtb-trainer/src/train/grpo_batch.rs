//! A generation batch: completions with their rewards and advantages, consumed over one or more optimizer steps.

use serde::{Deserialize, Serialize};
use vtb_nn::lm::{Completion, LmRow, StopReason};

use super::objective::Prompt;
use crate::objectives::scores::GrpoRow;

/// One completion of a generation batch.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// Prompt and completion, the completion scored.
    pub(super) row: LmRow,
    /// Which prompt of the source.
    pub(super) prompt: usize,
    /// What the loss needs besides the current scores.
    pub(super) loss: GrpoRow,
    /// Log-probabilities the sampler recorded.
    pub(super) sampled: Vec<f32>,
    /// Completion ids.
    pub(super) ids: Vec<u32>,
}

impl Sample {
    pub(super) fn new(prompt: usize, row: &LmRow, ids: Vec<u32>, sampled: Vec<f32>) -> Self {
        let row = with_completion(row, &ids);
        Self {
            row,
            prompt,
            loss: GrpoRow::default(),
            sampled,
            ids,
        }
    }
}

/// A completion and its rewards before advantages are known.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub(super) prompt_index: usize,
    pub(super) prompt: Prompt,
    pub(super) completion: Completion,
    pub(super) text: String,
    /// Total reward.
    pub(super) total: f64,
    /// Each reward function's value; `None` where it does not apply.
    pub(super) parts: Vec<Option<f64>>,
}

impl Judged {
    pub(super) fn terminated(&self) -> bool {
        self.completion.stop == StopReason::Stop
    }
}

/// The prompt's row continued by a completion whose every token is scored.
pub fn with_completion(prompt: &LmRow, ids: &[u32]) -> LmRow {
    let mut row = LmRow {
        ids: prompt.ids.clone(),
        images: prompt.images.clone(),
        scored: vec![false; prompt.ids.len()],
    };
    row.ids.extend_from_slice(ids);
    row.scored.resize(row.ids.len(), true);
    row
}

/// A [`Sample`] as stored in a checkpoint; floats as bits, so that nothing is rounded.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredSample {
    prompt: usize,
    ids: Vec<u32>,
    sampled: Vec<u32>,
    advantage: u64,
    mask: Vec<bool>,
    old: Option<Vec<u32>>,
    reference: Option<Vec<u32>>,
}

impl StoredSample {
    pub(super) fn of(sample: &Sample) -> Self {
        let bits = |v: &Vec<f32>| v.iter().map(|x| x.to_bits()).collect();
        Self {
            prompt: sample.prompt,
            ids: sample.ids.clone(),
            sampled: bits(&sample.sampled),
            advantage: sample.loss.advantage.to_bits(),
            mask: sample.loss.mask.clone(),
            old: sample.loss.old_logp.as_ref().map(bits),
            reference: sample.loss.ref_logp.as_ref().map(bits),
        }
    }

    pub(super) fn prompt(&self) -> usize {
        self.prompt
    }

    pub(super) fn into_sample(self, row: &LmRow) -> Sample {
        let floats = |v: Vec<u32>| v.into_iter().map(f32::from_bits).collect::<Vec<f32>>();
        let mut sample = Sample::new(self.prompt, row, self.ids, floats(self.sampled));
        sample.loss = GrpoRow {
            advantage: f64::from_bits(self.advantage),
            mask: self.mask,
            old_logp: self.old.map(floats),
            ref_logp: self.reference.map(floats),
        };
        sample
    }
}
