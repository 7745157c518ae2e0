//! Where completions come from.

use vtb_nn::lm::{CausalLm, Completion, LmRow, SampleOptions};

use crate::TrainError;

/// Samples completions for prompts: the model in this process, or a server that holds a copy of it.
pub trait Rollout {
    /// One completion per row. `seeds[i]` is the sampling stream of row `i`; equal seeds, prompts and weights give
    /// equal completions whatever rows stand beside.
    fn complete(
        &mut self,
        model: &dyn CausalLm,
        rows: &[LmRow],
        options: &SampleOptions,
        seeds: &[u64],
    ) -> Result<Vec<Completion>, TrainError>;
}

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
        rows: &[LmRow],
        options: &SampleOptions,
        seeds: &[u64],
    ) -> Result<Vec<Completion>, TrainError> {
        let batch = self.batch.max(1);
        let mut completions = Vec::with_capacity(rows.len());
        for (rows, seeds) in rows.chunks(batch).zip(seeds.chunks(batch)) {
            completions.extend(model.generate(rows, options, seeds)?);
        }
        Ok(completions)
    }
}
