//! The longest batch first: what does not fit shows at the start, not after hours.

use std::time::Instant;

use anyhow::anyhow;
use vtb_models_vlm::AnyVlm;
use vtb_nn::lm::{BackwardOptions, CausalLm, LmRow};
use vtb_trainer::train::{PromptSource, RowEncoder, with_completion};

use crate::data::{Rows, spread};
use crate::guard::guard;
use crate::memory::LOOKED_AT;

/// How the rows of a pass are made.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// Rows of a pass.
    pub rows: usize,
    /// Tokens to come after each prompt; 0 for supervised rows.
    pub completion: usize,
    /// Completions of a prompt; 1 for supervised rows.
    pub generations: usize,
    /// Blocks keep their input only.
    pub recompute: bool,
}

impl Probe {
    /// Runs one training pass over the longest of up to 2,048 rows and throws its gradients away. Returns a line that says
    /// what was run.
    ///
    /// # Errors
    /// A row cannot be read, or the pass fails, out of memory for one.
    pub fn run(&self, model: &AnyVlm, rows: &Rows) -> anyhow::Result<String> {
        let began = Instant::now();
        let batch = self.longest(rows)?;
        let tokens: usize = batch.iter().map(|row| row.ids.len()).sum();
        let longest = batch.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let told = format!(
            "the longest batch ({} rows of up to {longest} tokens, {tokens} in all)",
            batch.len()
        );
        let options = BackwardOptions {
            recompute: self.recompute,
            ..BackwardOptions::default()
        };
        let pass = guard(|| {
            let gradients = model.backward(&batch, &options, &mut |scores| {
                let each = scores.iter().map(|s| vec![-1.0; s.logp.len()]);
                Ok(each.collect())
            })?;
            // Work on a GPU is done when its result is asked for.
            if let Some((_, last)) = gradients.into_iter().next_back() {
                last.try_into_data().map_err(|e| anyhow!("{e:?}"))?;
            }
            Ok(())
        });
        pass.map_err(|fault| {
            anyhow!(
                "{told} fails: {fault}. If memory is short, lower batch.batch_size or switch batch.recompute on; \
                 train.probe = false begins without this test"
            )
        })?;
        Ok(format!(
            "probe: {told} went through in {:.1} s",
            began.elapsed().as_secs_f64()
        ))
    }

    /// A pass of the longest rows.
    fn longest(&self, rows: &Rows) -> anyhow::Result<Vec<LmRow>> {
        let mut sizes = spread(rows.source().len(), LOOKED_AT)
            .map(|index| Ok((rows.extent(index)?.tokens, index)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        sizes.sort_unstable_by_key(|(tokens, index)| (std::cmp::Reverse(*tokens), *index));
        let distinct = self.rows.div_ceil(self.generations);
        // Fewer rows than a pass takes come round again.
        let chosen = sizes.iter().cycle().take(distinct);
        let mut batch = Vec::with_capacity(self.rows);
        for (_, index) in chosen {
            if self.completion == 0 {
                batch.push(rows.encode(*index)?);
                continue;
            }
            let prompt = rows.prompt(*index)?.row;
            let filler = prompt.ids.last().copied().unwrap_or(0);
            let row = with_completion(&prompt, &vec![filler; self.completion]);
            batch.extend(std::iter::repeat_n(row, self.generations));
        }
        batch.truncate(self.rows);
        Ok(batch)
    }
}
