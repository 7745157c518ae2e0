//! Batched generation with a key-value cache.

mod cache;
mod sampler;

use std::collections::HashMap;

use burn::tensor::{DType, Tensor, TensorData};
use rayon::prelude::*;
use vtb_lora::AdapterPass;
use vtb_nn::NnError;
use vtb_nn::lm::{Completion, LmRow, SampleOptions, StopReason};

pub use cache::{Cache, LayerCache, StepContext};
pub use sampler::{Sampler, process_logits};

use crate::model::{BatchPlan, Tower, Vlm, indices};

/// Continues every row. Equal prompts are run once and share their prefill.
pub(crate) fn generate<T: Tower>(
    model: &Vlm<T>,
    rows: &[LmRow],
    options: &SampleOptions,
    seeds: &[u64],
) -> Result<Vec<Completion>, NnError> {
    if rows.len() != seeds.len() {
        return Err(NnError::input(format!(
            "{} rows but {} seeds",
            rows.len(),
            seeds.len()
        )));
    }
    if rows.is_empty() || options.max_new_tokens == 0 {
        let empty = Completion {
            ids: Vec::new(),
            logprobs: Vec::new(),
            stop: StopReason::Length,
        };
        return Ok(vec![empty; rows.len()]);
    }
    let (distinct, which) = distinct_rows(rows);
    let (mut cache, plan, logits) = prefill(model, &distinct, &which, options.max_new_tokens)?;
    let mut samplers: Vec<Sampler> = rows
        .iter()
        .zip(seeds)
        .map(|(row, seed)| Sampler::new(&row.ids, options, *seed, &model.config().ids))
        .collect();
    let deltas: Vec<i32> = which.iter().map(|i| plan.deltas[*i]).collect();
    let lengths: Vec<usize> = which.iter().map(|i| plan.lengths[*i]).collect();
    let mut chosen = choose(&mut samplers, logits, Some(&which), options);
    for step in 1..options.max_new_tokens {
        if samplers.iter().all(Sampler::finished) {
            break;
        }
        let positions: Vec<i32> = (0..rows.len())
            .map(|b| (lengths[b] + step - 1) as i32 + deltas[b])
            .collect();
        let logits = decode_step(model, &chosen, &positions, &mut cache);
        chosen = choose(&mut samplers, logits, None, options);
    }
    Ok(samplers.into_iter().map(Sampler::into_completion).collect())
}

/// Indices of rows that differ, and for every row the place of its like among them.
fn distinct_rows(rows: &[LmRow]) -> (Vec<LmRow>, Vec<usize>) {
    let mut seen: HashMap<(&[u32], Vec<u64>), usize> = HashMap::new();
    let mut distinct = Vec::new();
    let mut which = Vec::with_capacity(rows.len());
    for row in rows {
        let key = (
            row.ids.as_slice(),
            row.images.iter().map(|i| i.key).collect(),
        );
        let place = *seen.entry(key).or_insert_with(|| {
            distinct.push(LmRow {
                ids: row.ids.clone(),
                images: row.images.clone(),
                scored: vec![],
            });
            distinct.len() - 1
        });
        which.push(place);
    }
    (distinct, which)
}

/// Runs the distinct prompts and spreads their keys and values over the rows. The logits are those of the last
/// position of each distinct prompt.
fn prefill<T: Tower>(
    model: &Vlm<T>,
    distinct: &[LmRow],
    which: &[usize],
    max_new: usize,
) -> Result<(Cache, BatchPlan, Tensor<2>), NnError> {
    let plan = BatchPlan::new(distinct, model.config())?;
    let mut cache = Cache::new(&plan.lengths, which, max_new);
    let hidden = model.decode_packed(&plan, AdapterPass::EVAL, |_, layer, x, context| {
        layer.forward_kv(x, context, |k, v| cache.fill(k, v))
    });
    let mut last = Vec::with_capacity(distinct.len());
    let mut end = 0;
    for length in &plan.lengths {
        end += length;
        last.push(end - 1);
    }
    let last = hidden.select(0, indices(&last, model.device()));
    Ok((cache, plan, model.head_logits(last)))
}

fn decode_step<T: Tower>(
    model: &Vlm<T>,
    ids: &[u32],
    positions: &[i32],
    cache: &mut Cache,
) -> Tensor<2> {
    let context = cache.step(model, positions);
    let ids: Vec<usize> = ids.iter().map(|id| *id as usize).collect();
    let language = &model.network().model.language_model;
    let mut x = language
        .embed_tokens
        .weight
        .val()
        .select(0, indices(&ids, model.device()));
    for (layer, cache) in language.layers.iter().zip(cache.layers_mut()) {
        x = layer.step(x, &context, cache);
    }
    model.head_logits(x)
}

/// Lets every sampler pick its next token from its row of logits. Finished rows get the padding id.
fn choose(
    samplers: &mut [Sampler],
    logits: Tensor<2>,
    which: Option<&[usize]>,
    options: &SampleOptions,
) -> Vec<u32> {
    let vocab = logits.dims()[1];
    let data: TensorData = logits.into_data();
    let values = data.as_slice::<f32>().unwrap_or_default();
    let next = |(b, sampler): (usize, &mut Sampler)| {
        let row = which.map_or(b, |w| w[b]);
        sampler.next(&values[row * vocab..(row + 1) * vocab], options)
    };
    samplers.par_iter_mut().enumerate().map(next).collect()
}

impl<T: Tower> Vlm<T> {
    /// Logits in f32 of hidden states before the final norm, `[rows, vocab]`.
    pub(crate) fn head_logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let network = self.network();
        let normed = network.model.language_model.norm.forward(hidden);
        vtb_nn::ops::linear(normed, network.head(), None).cast(DType::F32)
    }
}
