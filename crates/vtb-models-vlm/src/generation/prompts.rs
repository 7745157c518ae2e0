//! Prompts before anything is generated: each distinct one is run once, and kept until its last row has begun.

use std::collections::HashMap;

use burn::tensor::Tensor;
use vtb_lora::AdapterPass;
use vtb_nn::NnError;
use vtb_nn::lm::LmRow;

use crate::model::{BatchPlan, Tower, Vlm, indices};

/// Most tokens of one pass over prompts, unless a single prompt is longer: what bounds its activations.
const PASS_TOKENS: usize = 16_384;

/// The distinct prompts of some rows.
pub(super) struct Prompts {
    distinct: Vec<LmRow>,
    /// Prompt of every row.
    which: Vec<usize>,
    /// Rows of every prompt that have not begun.
    waiting: Vec<usize>,
    read: Vec<Option<Prompt>>,
}

/// A prompt that was run.
pub(super) struct Prompt {
    /// Keys and values of every layer, each `[tokens, kv_heads, dim]`.
    pub(super) layers: Vec<[Tensor<3>; 2]>,
    /// Logits of the first new token.
    pub(super) logits: Vec<f32>,
    /// Position of the first new token.
    pub(super) position: i32,
}

impl Prompts {
    pub(super) fn new(rows: &[LmRow]) -> Self {
        let mut seen: HashMap<(&[u32], Vec<u64>), usize> = HashMap::new();
        let mut distinct = Vec::new();
        let mut which = Vec::with_capacity(rows.len());
        for row in rows {
            let images = row.images.iter().map(|i| i.key).collect();
            let place = *seen.entry((&row.ids, images)).or_insert_with(|| {
                distinct.push(LmRow {
                    ids: row.ids.clone(),
                    images: row.images.clone(),
                    scored: vec![],
                });
                distinct.len() - 1
            });
            which.push(place);
        }
        let mut waiting = vec![0; distinct.len()];
        which.iter().for_each(|place| waiting[*place] += 1);
        Self {
            read: distinct.iter().map(|_| None).collect(),
            distinct,
            which,
            waiting,
        }
    }

    /// Rows in an order in which those of one prompt follow each other.
    pub(super) fn order(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.which.len()).collect();
        rows.sort_by_key(|row| self.which[*row]);
        rows
    }

    /// Tokens of the longest prompt.
    pub(super) fn longest(&self) -> usize {
        let lengths = self.distinct.iter().map(|row| row.ids.len());
        lengths.max().unwrap_or(0)
    }

    /// Runs the prompts of these rows that were not run before.
    pub(super) fn run<T: Tower>(
        &mut self,
        model: &Vlm<T>,
        rows: impl Iterator<Item = usize>,
    ) -> Result<(), NnError> {
        let mut missing: Vec<usize> = rows.map(|row| self.which[row]).collect();
        missing.sort_unstable();
        missing.dedup();
        missing.retain(|place| self.read[*place].is_none());
        let mut rest = missing.as_slice();
        while !rest.is_empty() {
            let mut tokens = 0;
            let fits = |place: &&usize| {
                tokens += self.distinct[**place].ids.len();
                tokens <= PASS_TOKENS
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (some, others) = rest.split_at(count);
            rest = others;
            let rows: Vec<LmRow> = some.iter().map(|at| self.distinct[*at].clone()).collect();
            for (place, prompt) in some.iter().zip(pass(model, &rows)?) {
                self.read[*place] = Some(prompt);
            }
        }
        Ok(())
    }

    /// Logits of the first new token of a row whose prompt was run; none of one that was not.
    pub(super) fn logits(&self, row: usize) -> &[f32] {
        let prompt = self.read[self.which[row]].as_ref();
        prompt.map_or(&[], |prompt| &prompt.logits)
    }

    /// Calls `begin` with the prompt of a row, which was run; it is dropped after its last row.
    pub(super) fn begin<R>(&mut self, row: usize, begin: impl FnOnce(&Prompt) -> R) -> Option<R> {
        let place = self.which[row];
        let found = self.read[place].as_ref().map(begin);
        self.waiting[place] -= 1;
        if self.waiting[place] == 0 {
            self.read[place] = None;
        }
        found
    }
}

/// One pass over prompts packed one after another.
fn pass<T: Tower>(model: &Vlm<T>, rows: &[LmRow]) -> Result<Vec<Prompt>, NnError> {
    let plan = BatchPlan::new(rows, model.config())?;
    let mut layers: Vec<Vec<[Tensor<3>; 2]>> = rows.iter().map(|_| Vec::new()).collect();
    let ends = plan.lengths.iter().scan(0, |end, length| {
        *end += length;
        Some(*end)
    });
    let ends: Vec<usize> = ends.collect();
    let hidden = model.decode_packed(&plan, AdapterPass::EVAL, |_, layer, x, context| {
        layer.forward_kv(x, context, |keys, values| {
            for ((layers, end), length) in layers.iter_mut().zip(&ends).zip(&plan.lengths) {
                let own = |all: &Tensor<3>| all.clone().narrow(0, end - length, *length);
                layers.push([own(keys), own(values)]);
            }
        })
    });
    let last: Vec<usize> = ends.iter().map(|end| end - 1).collect();
    let logits = model.head_logits(hidden.select(0, indices(&last, model.device())));
    let vocab = logits.dims()[1];
    let data = logits.into_data();
    let values = data.as_slice::<f32>().unwrap_or_default();
    let prompts = layers.into_iter().zip(values.chunks_exact(vocab));
    Ok(prompts
        .zip(plan.lengths.iter().zip(&plan.deltas))
        .map(|((layers, logits), (length, delta))| Prompt {
            layers,
            logits: logits.to_vec(),
            position: *length as i32 + delta,
        })
        .collect())
}
