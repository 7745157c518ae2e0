//! Generation with a key-value cache: rows decode together in lanes, and as rows end, waiting rows take their places
//! (continuous batching).

mod cache;
mod prompts;
mod sampler;

use std::collections::VecDeque;

use burn::tensor::{DType, Tensor, TensorData};
use rayon::prelude::*;
use vtb_nn::NnError;
use vtb_nn::lm::{Completion, LmRow, SampleOptions, StopReason};

pub use cache::{Cache, LayerCache, StepContext};
pub use sampler::{Sampler, process_logits};

use crate::model::{Tower, Vlm, indices};
use prompts::Prompts;

/// Rows enter once this part of the lanes is free: reading a few prompts more at a time costs less than many passes.
const ENTER_AT: usize = 8;

/// Continues every row. Equal prompts are run once and share their keys and values.
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
    let empty = || Completion {
        ids: Vec::new(),
        logprobs: Vec::new(),
        stop: StopReason::Length,
    };
    if rows.is_empty() || options.max_new_tokens == 0 {
        return Ok(rows.iter().map(|_| empty()).collect());
    }
    let count = match options.max_num_seqs {
        0 => rows.len(),
        most => most.min(rows.len()),
    };
    let prompts = Prompts::new(rows);
    let (longest, later) = (prompts.longest(), count < rows.len());
    let mut lanes = Lanes {
        model,
        rows,
        options,
        seeds,
        waiting: prompts.order().into(),
        prompts,
        cache: Cache::new(count, longest, options.max_new_tokens, later),
        lanes: (0..count).map(|_| None).collect(),
        chosen: vec![0; count],
        done: rows.iter().map(|_| None).collect(),
    };
    lanes.run()?;
    let done = lanes.done.into_iter();
    Ok(done.map(|found| found.unwrap_or_else(empty)).collect())
}

/// A row under way.
struct Lane {
    row: usize,
    /// Where its next token stands.
    position: i32,
    sampler: Sampler,
}

/// Rows under way, and those that wait.
struct Lanes<'a, T: Tower> {
    model: &'a Vlm<T>,
    rows: &'a [LmRow],
    options: &'a SampleOptions,
    seeds: &'a [u64],
    prompts: Prompts,
    waiting: VecDeque<usize>,
    cache: Cache,
    lanes: Vec<Option<Lane>>,
    /// The token of every lane that is read next; anything where there is no row.
    chosen: Vec<u32>,
    done: Vec<Option<Completion>>,
}

impl<T: Tower> Lanes<'_, T> {
    fn run(&mut self) -> Result<(), NnError> {
        loop {
            self.enter()?;
            if self.lanes.iter().any(Option::is_some) {
                self.close_up();
                self.step();
            } else if self.waiting.is_empty() {
                return Ok(());
            }
        }
    }

    /// Waiting rows take free lanes, if there are enough.
    fn enter(&mut self) -> Result<(), NnError> {
        let lanes = self.lanes.len();
        let free: Vec<usize> = (0..lanes).filter(|at| self.lanes[*at].is_none()).collect();
        let enough = free.len() == lanes || free.len() * ENTER_AT >= lanes;
        if self.waiting.is_empty() || free.is_empty() || !enough {
            return Ok(());
        }
        let count = free.len().min(self.waiting.len());
        let rows: Vec<usize> = self.waiting.drain(..count).collect();
        self.prompts.run(self.model, rows.iter().copied())?;
        let (all, seeds, options) = (self.rows, self.seeds, self.options);
        let vision = self.model.config().ids;
        let first = |row: &usize, logits: &[f32]| {
            let mut sampler = Sampler::new(&all[*row].ids, options, seeds[*row], &vision);
            let id = sampler.next(logits, options);
            (sampler, id)
        };
        let logits: Vec<&[f32]> = rows.iter().map(|row| self.prompts.logits(*row)).collect();
        let firsts = rows.par_iter().zip(logits);
        let firsts: Vec<_> = firsts.map(|(row, logits)| first(row, logits)).collect();
        for ((lane, row), (sampler, id)) in free.into_iter().zip(rows).zip(firsts) {
            let cache = &mut self.cache;
            let begun = self.prompts.begin(row, |prompt| {
                if !sampler.finished() {
                    cache.enter(lane, &prompt.layers);
                }
                prompt.position
            });
            let Some(position) = begun else {
                continue;
            };
            if sampler.finished() {
                self.done[row] = Some(sampler.into_completion());
                continue;
            }
            self.chosen[lane] = id;
            self.lanes[lane] = Some(Lane {
                row,
                position,
                sampler,
            });
        }
        Ok(())
    }

    /// Drops lanes without rows once nothing waits for them and they are half of all.
    fn close_up(&mut self) {
        let busy = |at: &usize| self.lanes[*at].is_some();
        let busy: Vec<usize> = (0..self.lanes.len()).filter(busy).collect();
        if !self.waiting.is_empty() || 2 * busy.len() > self.lanes.len() {
            return;
        }
        self.cache.keep(&busy);
        self.chosen = busy.iter().map(|at| self.chosen[*at]).collect();
        self.lanes.retain(Option::is_some);
    }

    /// One more token for every row under way.
    fn step(&mut self) {
        let at = |lane: &Option<Lane>| lane.as_ref().map_or(0, |lane| lane.position);
        let positions: Vec<i32> = self.lanes.iter().map(at).collect();
        let logits = decode_step(self.model, &self.chosen, &positions, &mut self.cache);
        let vocab = logits.dims()[1];
        let data: TensorData = logits.into_data();
        let values = data.as_slice::<f32>().unwrap_or_default();
        let options = self.options;
        let next = |(at, lane): (usize, &mut Option<Lane>)| {
            let Some(lane) = lane else { return 0 };
            lane.position += 1;
            lane.sampler.next(&values[at * vocab..][..vocab], options)
        };
        self.chosen = self.lanes.par_iter_mut().enumerate().map(next).collect();
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(ended) = lane.take_if(|lane| lane.sampler.finished()) {
                self.done[ended.row] = Some(ended.sampler.into_completion());
                self.cache.leave(at);
            }
        }
    }
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

impl<T: Tower> Vlm<T> {
    /// Logits in f32 of hidden states before the final norm, `[rows, vocab]`.
    pub(crate) fn head_logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let network = self.network();
        let normed = network.model.language_model.norm.forward(hidden);
        vtb_nn::ops::linear(normed, network.head(), None).cast(DType::F32)
    }
}
