//! Sampling by the model that trains.

use vtb_nn::lm::{CausalLm, Completion, LmRow, SampleOptions};

use super::Rollout;
use crate::TrainError;
use crate::train::Prompt;

/// The model that trains samples too: no second copy of the weights, no mismatch between engines.
#[derive(Debug, Clone, Copy)]
pub struct InProcess {
    /// Rows decoded together.
    pub batch: usize,
}

impl Rollout for InProcess {
    fn complete(
        &mut self,
        model: &dyn CausalLm,
        prompts: &[&Prompt],
        options: &SampleOptions,
        seeds: &[u64],
    ) -> Result<Vec<Completion>, TrainError> {
        let batch = self.batch.max(1);
        let mut completions = Vec::with_capacity(prompts.len());
        for (prompts, seeds) in prompts.chunks(batch).zip(seeds.chunks(batch)) {
            let rows: Vec<LmRow> = prompts.iter().map(|p| p.row.clone()).collect();
            completions.extend(model.generate(&rows, options, seeds)?);
        }
        Ok(completions)
    }
}
