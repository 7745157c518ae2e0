//! The GRPO loss of a micro-batch and its derivative by every log-probability.

use super::config::{ImportanceLevel, LossType};
use super::metrics::LossStats;
use super::ratio::{Clip, Term, k3, surrogate, weighted};
use crate::objectives::ObjectiveError;

/// What the loss reads of the settings; see [`super::GrpoConfig::loss_settings`].
#[derive(Debug, Clone, PartialEq)]
pub struct LossSettings {
    /// How token losses are averaged.
    pub loss_type: LossType,
    /// Ratio per token or per completion.
    pub level: ImportanceLevel,
    /// Clip distance below 1.
    pub epsilon_low: f64,
    /// Clip distance above 1.
    pub epsilon_high: f64,
    /// Cap of the ratio where the clip does not act.
    pub delta: Option<f64>,
    /// Weight of the KL term.
    pub beta: f64,
    /// Divisor of [`LossType::DrGrpo`].
    pub max_completion_length: usize,
}

/// One completion as the loss sees it. All lists run over the same completion tokens.
#[derive(Debug, Clone, Copy)]
pub struct LossRow<'a, T = f32> {
    /// Log-probabilities under the policy in training.
    pub logp: &'a [T],
    /// Entropies of the policy in training, for the log; empty when not computed.
    pub entropy: &'a [f32],
    /// Log-probabilities when sampled. `None` while the policy has not moved since: the ratio is then exactly 1 and
    /// carries the gradient `-A`, as if `logp` itself had been given, held constant.
    pub old_logp: Option<&'a [T]>,
    /// Log-probabilities of the reference policy; read only if `beta > 0`.
    pub ref_logp: Option<&'a [T]>,
    /// Whether each token takes part; see [`super::completion_mask`].
    pub mask: &'a [bool],
    /// Advantage of the completion.
    pub advantage: f64,
}

/// What the losses are averaged over: counts over *all* micro-batches (and ranks, gradients being summed over
/// them), known before the first backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepCounts {
    /// Completions of the optimizer step, those masked out included.
    pub rows: usize,
    /// Unmasked completion tokens of the optimizer step.
    pub tokens: usize,
    /// Unmasked completion tokens of the generation batch that the step is a part of; equal to `tokens` when each
    /// generation batch is one optimizer step.
    pub generation_tokens: usize,
}

impl StepCounts {
    /// Counts of a generation batch that is consumed in one optimizer step per pass.
    pub fn whole<'a>(masks: impl IntoIterator<Item = &'a [bool]>) -> Self {
        let (mut rows, mut tokens) = (0, 0);
        for mask in masks {
            rows += 1;
            tokens += active(mask);
        }
        Self {
            rows,
            tokens,
            generation_tokens: tokens,
        }
    }

    /// Weight of each token of a completion with `length` unmasked tokens.
    fn weight(&self, settings: &LossSettings, length: usize) -> f64 {
        let divisor = match settings.loss_type {
            LossType::Grpo => self.rows as f64 * length as f64,
            LossType::Bnpo => self.tokens as f64,
            LossType::DrGrpo => self.rows as f64 * settings.max_completion_length as f64,
            LossType::Dapo | LossType::Cispo => self.generation_tokens as f64,
        };
        1.0 / divisor
    }
}

/// A micro-batch's share of the step's loss.
#[derive(Debug, Clone, PartialEq)]
pub struct GrpoLoss {
    /// Share of the loss, to be added up.
    pub loss: f64,
    /// Derivative of the loss by each log-probability, row by row; 0 where masked.
    pub gradients: Vec<Vec<f32>>,
    /// Sums for the log.
    pub stats: LossStats,
}

/// Loss and derivatives of a micro-batch. `counts` are those of the whole optimizer step, so that shares of
/// micro-batches add up to the same total however the step is cut.
///
/// # Errors
/// If lists of a row differ in length, a reference is needed but absent, or a count is 0 although tokens are given.
pub fn grpo_loss<T: Copy + Into<f64>>(
    rows: &[LossRow<'_, T>],
    settings: &LossSettings,
    counts: &StepCounts,
) -> Result<GrpoLoss, ObjectiveError> {
    grpo_loss_weighted(rows, &[], settings, counts)
}

/// As [`grpo_loss`], the policy term of token `t` of completion `i` weighed by `weights[i][t]`, constants: see
/// [`super::CorrectionSettings::weights`]. An empty list, or none at all, stands for weights of 1. The KL term is not
/// weighed.
///
/// # Errors
/// As [`grpo_loss`]; also if there are weights and not as many as tokens.
pub fn grpo_loss_weighted<T: Copy + Into<f64>>(
    rows: &[LossRow<'_, T>],
    weights: &[Vec<f64>],
    settings: &LossSettings,
    counts: &StepCounts,
) -> Result<GrpoLoss, ObjectiveError> {
    let (gradients, stats) = evaluate(rows, weights, settings, counts)?;
    Ok(GrpoLoss {
        loss: stats.loss,
        gradients: gradients
            .into_iter()
            .map(|row| row.into_iter().map(|g| g as f32).collect())
            .collect(),
        stats,
    })
}

/// [`grpo_loss`] before derivatives are rounded to f32.
fn evaluate<T: Copy + Into<f64>>(
    rows: &[LossRow<'_, T>],
    weights: &[Vec<f64>],
    settings: &LossSettings,
    counts: &StepCounts,
) -> Result<(Vec<Vec<f64>>, LossStats), ObjectiveError> {
    let mut stats = LossStats::default();
    let mut gradients = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        check(index, row, settings)?;
        let correction = weights.get(index).map_or(&[][..], Vec::as_slice);
        if !correction.is_empty() && correction.len() != row.logp.len() {
            return Err(ObjectiveError::Length {
                row: index,
                what: "weights of the correction",
                found: correction.len(),
                expected: row.logp.len(),
            });
        }
        let mut gradient = vec![0.0; row.logp.len()];
        let length = active(row.mask);
        if length > 0 {
            let weight = counts.weight(settings, length);
            if !weight.is_finite() {
                return Err(ObjectiveError::Empty(empty_count(settings.loss_type)));
            }
            let added = add_row(row, correction, settings, weight, length, &mut gradient);
            stats.merge(&added);
        } else if settings.level == ImportanceLevel::Sequence {
            // As in TRL, a completion that is masked out counts as one that was not clipped.
            stats.units += 1;
        }
        gradients.push(gradient);
    }
    Ok((gradients, stats))
}

/// Adds a row's derivatives to `gradient` and returns its sums. `length > 0` tokens are unmasked; `correction` weighs the
/// policy term of each, or is empty.
fn add_row<T: Copy + Into<f64>>(
    row: &LossRow<'_, T>,
    correction: &[f64],
    settings: &LossSettings,
    weight: f64,
    length: usize,
    gradient: &mut [f64],
) -> LossStats {
    let mut loss = 0.0;
    let (mut low, mut high) = (0_usize, 0_usize);
    let mut count = |clip| match clip {
        Clip::None => {}
        Clip::Low => low += 1,
        Clip::High => high += 1,
    };
    let tokens = || (0..row.logp.len()).filter(|&t| row.mask[t]);
    let log_ratio = |t: usize| {
        row.old_logp
            .map_or(0.0, |old| row.logp[t].into() - old[t].into())
    };
    let corrected = |t: usize| correction.get(t).copied().unwrap_or(1.0);
    // The value and its derivative may be scaled apart.
    let mut add = |t: usize, term: Term, scale: f64, slope: f64| {
        loss += scale * term.value;
        gradient[t] += slope * term.derivative;
    };
    let term_of = |log_ratio: f64, t: usize| match settings.loss_type {
        LossType::Cispo => weighted(log_ratio, row.logp[t].into(), row.advantage, settings),
        _ => surrogate(log_ratio, row.advantage, settings),
    };
    let units = match settings.level {
        ImportanceLevel::Token => {
            for t in tokens() {
                let (term, clip) = term_of(log_ratio(t), t);
                let scale = weight * corrected(t);
                add(t, term, scale, scale);
                count(clip);
            }
            length
        }
        ImportanceLevel::Sequence => {
            let mean = tokens().map(log_ratio).sum::<f64>() / length as f64;
            let mut met = Clip::None;
            // The value counts once per token. Each token moves the shared ratio by 1/length of its own change,
            // and is felt by all `length` tokens: so the derivative by one token is that of one term, weighed by the
            // mean of the corrections. With CISPO the ratio is held constant and a token feels its own.
            let shared = match correction.is_empty() {
                true => 1.0,
                false => tokens().map(corrected).sum::<f64>() / length as f64,
            };
            for t in tokens() {
                let (term, clip) = term_of(mean, t);
                let own = weight * corrected(t);
                let slope = match settings.loss_type {
                    LossType::Cispo => own,
                    _ => weight * shared,
                };
                add(t, term, own, slope);
                met = clip;
            }
            count(met);
            1
        }
    };
    let mut kl = 0.0;
    if let Some(reference) = row.ref_logp.filter(|_| settings.beta > 0.0) {
        for t in tokens() {
            let term = k3(row.logp[t].into(), reference[t].into());
            let scale = weight * settings.beta;
            add(t, term, scale, scale);
            kl += term.value;
        }
    }
    let entropies = || tokens().filter_map(|t| row.entropy.get(t).copied());
    LossStats {
        loss,
        tokens: length,
        kl: (settings.beta > 0.0).then_some(kl),
        entropy: entropies().map(f64::from).sum(),
        entropy_tokens: entropies().count(),
        units,
        low,
        high,
        low_min: Some(low as f64 / units as f64),
        high_max: Some(high as f64 / units as f64),
    }
}

fn active(mask: &[bool]) -> usize {
    mask.iter().filter(|m| **m).count()
}

fn empty_count(loss_type: LossType) -> &'static str {
    match loss_type {
        LossType::Grpo => "the step's completions",
        LossType::DrGrpo => "the step's completions times max_completion_length",
        LossType::Bnpo => "the step's unmasked tokens",
        LossType::Dapo | LossType::Cispo => "the generation batch's unmasked tokens",
    }
}

fn check<T>(
    index: usize,
    row: &LossRow<'_, T>,
    settings: &LossSettings,
) -> Result<(), ObjectiveError> {
    let expected = row.logp.len();
    if settings.beta > 0.0 && row.ref_logp.is_none() {
        return Err(ObjectiveError::NoReference { row: index });
    }
    let lists = [
        ("mask entries", Some(row.mask.len())),
        ("old log-probabilities", row.old_logp.map(<[T]>::len)),
        ("reference log-probabilities", row.ref_logp.map(<[T]>::len)),
        (
            "entropies",
            (!row.entropy.is_empty()).then_some(row.entropy.len()),
        ),
    ];
    for (what, found) in lists {
        if let Some(found) = found.filter(|n| *n != expected) {
            return Err(ObjectiveError::Length {
                row: index,
                what,
                found,
                expected,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
