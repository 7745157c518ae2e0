//! Choosing the next token: penalties and filters in the order of `transformers`, then a draw.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use vtb_nn::lm::{Completion, SampleOptions, StopReason};

use crate::config::VisionIds;

/// One row's stream of choices.
#[derive(Debug)]
pub struct Sampler {
    /// Ids the repetition penalty applies to, sorted.
    seen: Vec<u32>,
    banned: Vec<u32>,
    rng: ChaCha8Rng,
    ids: Vec<u32>,
    logprobs: Vec<f32>,
    stop: Option<StopReason>,
}

impl Sampler {
    /// A stream for a row that starts with `prompt`. Vision tokens are never chosen: they would claim pictures
    /// that are not there.
    pub fn new(prompt: &[u32], options: &SampleOptions, seed: u64, vision: &VisionIds) -> Self {
        let mut seen = Vec::new();
        if options.repetition_penalty != 1.0 {
            seen.extend_from_slice(prompt);
            seen.sort_unstable();
            seen.dedup();
        }
        Self {
            seen,
            banned: vision.all().to_vec(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            ids: Vec::new(),
            logprobs: Vec::new(),
            stop: None,
        }
    }

    /// Whether the completion has ended.
    pub fn finished(&self) -> bool {
        self.stop.is_some()
    }

    /// The next token for `logits`, or the last one again once finished.
    pub fn next(&mut self, logits: &[f32], options: &SampleOptions) -> u32 {
        if self.finished() {
            return self.ids.last().copied().unwrap_or(0);
        }
        let id = self.pick(logits, options);
        self.logprobs
            .push(log_probability(logits, id, options.temperature));
        self.ids.push(id);
        if options.repetition_penalty != 1.0
            && let Err(place) = self.seen.binary_search(&id)
        {
            self.seen.insert(place, id);
        }
        if options.stop_ids.contains(&id) {
            self.stop = Some(StopReason::Stop);
        } else if self.ids.len() >= options.max_new_tokens {
            self.stop = Some(StopReason::Length);
        }
        id
    }

    fn pick(&mut self, logits: &[f32], options: &SampleOptions) -> u32 {
        let mut scores = logits.to_vec();
        for id in &self.banned {
            if let Some(score) = scores.get_mut(*id as usize) {
                *score = f32::NEG_INFINITY;
            }
        }
        process_logits(&mut scores, &self.seen, options);
        if options.temperature == 0.0 {
            return argmax(&scores);
        }
        let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f64 = scores.iter().map(|s| f64::from(s - max).exp()).sum();
        let mut left = self.rng.random::<f64>() * total;
        let mut last = argmax(&scores);
        for (id, score) in scores.iter().enumerate() {
            let weight = f64::from(score - max).exp();
            if weight > 0.0 {
                last = id as u32;
                left -= weight;
                if left < 0.0 {
                    break;
                }
            }
        }
        last
    }

    /// What was chosen.
    pub fn into_completion(self) -> Completion {
        let stop = self.stop.unwrap_or(StopReason::Length);
        Completion {
            ids: self.ids,
            logprobs: self.logprobs,
            stop,
        }
    }
}

/// Applies repetition penalty, temperature, top-k and top-p in this order; dropped tokens get negative infinity.
/// `seen` are the ids of prompt and output.
pub fn process_logits(scores: &mut [f32], seen: &[u32], options: &SampleOptions) {
    let penalty = options.repetition_penalty;
    if penalty != 1.0 {
        for id in seen {
            if let Some(s) = scores.get_mut(*id as usize) {
                *s = if *s < 0.0 { *s * penalty } else { *s / penalty };
            }
        }
    }
    if options.temperature > 0.0 && options.temperature != 1.0 {
        for s in scores.iter_mut() {
            *s /= options.temperature;
        }
    }
    if options.temperature == 0.0 {
        return;
    }
    if options.top_k > 0 && options.top_k < scores.len() {
        let mut sorted = scores.to_vec();
        let (_, kth, _) = sorted.select_nth_unstable_by(options.top_k - 1, |a, b| b.total_cmp(a));
        let kth = *kth;
        for s in scores.iter_mut().filter(|s| **s < kth) {
            *s = f32::NEG_INFINITY;
        }
    }
    if options.top_p < 1.0 {
        top_p(scores, options.top_p);
    }
}

/// Drops the tokens whose ascending cumulative probability is at most `1-p`; the best one always stays.
fn top_p(scores: &mut [f32], p: f32) {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let Some(&best) = order.last() else { return };
    let max = scores[best];
    let weights: Vec<f32> = order.iter().map(|i| (scores[*i] - max).exp()).collect();
    let total: f32 = weights.iter().sum();
    let mut cumulative = 0.0;
    for (i, weight) in order.iter().zip(weights) {
        cumulative += weight / total;
        if cumulative > 1.0 - p || *i == best {
            break;
        }
        scores[*i] = f32::NEG_INFINITY;
    }
}

/// Lowest index of the largest score.
fn argmax(scores: &[f32]) -> u32 {
    let mut best = 0;
    for (i, s) in scores.iter().enumerate() {
        if *s > scores[best] {
            best = i;
        }
    }
    best as u32
}

/// `ln p(id)` under `softmax(logits/temperature)`; greedy choices are scored at temperature 1.
fn log_probability(logits: &[f32], id: u32, temperature: f32) -> f32 {
    let scale = if temperature > 0.0 {
        1.0 / temperature
    } else {
        1.0
    };
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) * scale;
    let sum: f32 = logits.iter().map(|l| (l * scale - max).exp()).sum();
    logits[id as usize] * scale - max - sum.ln()
}
