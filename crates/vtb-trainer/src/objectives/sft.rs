//! Supervised fine-tuning: the mean negative log-probability of the response tokens.
//!
//! `L = -Σ w·logp / N`, with `N` the number of scored tokens of the *whole* optimizer step over all micro-batches
//! (and ranks), not of one micro-batch: a short micro-batch must not weigh as much as a long one. Weights scale
//! terms, not `N`, as ms-swift's `loss_scale` does.

use super::{Metrics, ObjectiveError};

/// Scores of one row's response tokens.
#[derive(Debug, Clone, Copy)]
pub struct SftRow<'a, T = f32> {
    /// Log-probabilities of the scored tokens.
    pub logp: &'a [T],
    /// Entropy of each token's distribution; empty when it was not computed.
    pub entropy: &'a [f32],
    /// Whether each token was the likeliest; empty when it was not asked.
    pub top: &'a [bool],
    /// Weight of each scored token; 1 when absent.
    pub weights: Option<&'a [f32]>,
}

/// A micro-batch's share of the step's loss.
#[derive(Debug, Clone, PartialEq)]
pub struct SftLoss {
    /// Share of the loss, to be added up.
    pub loss: f64,
    /// Derivative of the loss by each scored log-probability, row by row.
    pub gradients: Vec<Vec<f32>>,
    /// Sums for the log.
    pub stats: SftStats,
}

/// Sums over the micro-batches of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SftStats {
    /// Loss so far.
    pub loss: f64,
    /// Scored tokens so far.
    pub tokens: usize,
    entropy: f64,
    entropy_tokens: usize,
    top: usize,
    top_tokens: usize,
}

impl SftStats {
    /// Adds another micro-batch of the same step.
    pub fn merge(&mut self, other: &Self) {
        self.loss += other.loss;
        self.tokens += other.tokens;
        self.entropy += other.entropy;
        self.entropy_tokens += other.entropy_tokens;
        self.top += other.top;
        self.top_tokens += other.top_tokens;
    }

    /// Share of the tokens that were the likeliest ones, where it was asked.
    pub fn token_accuracy(&self) -> Option<f64> {
        (self.top_tokens > 0).then(|| self.top as f64 / self.top_tokens as f64)
    }

    /// `loss`, `scored_tokens` (both of this step), and where they were computed `entropy` in nats and
    /// `token_accuracy`.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::from([
            ("loss".to_owned(), self.loss),
            ("scored_tokens".to_owned(), self.tokens as f64),
        ]);
        if self.entropy_tokens > 0 {
            let mean = self.entropy / self.entropy_tokens as f64;
            metrics.insert("entropy".to_owned(), mean);
        }
        if let Some(share) = self.token_accuracy() {
            metrics.insert("token_accuracy".to_owned(), share);
        }
        metrics
    }
}

/// Loss and derivatives of a micro-batch. `step_tokens` counts the scored tokens of the whole optimizer step.
///
/// # Errors
/// If `step_tokens` is 0 although tokens are given, or lists of a row differ in length.
pub fn sft_loss<T: Copy + Into<f64>>(
    rows: &[SftRow<'_, T>],
    step_tokens: usize,
) -> Result<SftLoss, ObjectiveError> {
    let mut stats = SftStats::default();
    let mut gradients = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        check(index, row)?;
        if step_tokens == 0 && !row.logp.is_empty() {
            return Err(ObjectiveError::Empty("the step's scored tokens"));
        }
        let weight = |t: usize| row.weights.map_or(1.0, |w| f64::from(w[t]));
        let scale = 1.0 / step_tokens.max(1) as f64;
        let mut sum = 0.0;
        let mut gradient = Vec::with_capacity(row.logp.len());
        for (t, &logp) in row.logp.iter().enumerate() {
            sum += weight(t) * logp.into();
            gradient.push((-weight(t) * scale) as f32);
        }
        stats.loss -= sum * scale;
        stats.tokens += row.logp.len();
        stats.entropy += row.entropy.iter().map(|&e| f64::from(e)).sum::<f64>();
        stats.entropy_tokens += row.entropy.len();
        stats.top += row.top.iter().filter(|top| **top).count();
        stats.top_tokens += row.top.len();
        gradients.push(gradient);
    }
    Ok(SftLoss {
        loss: stats.loss,
        gradients,
        stats,
    })
}

fn check<T>(index: usize, row: &SftRow<'_, T>) -> Result<(), ObjectiveError> {
    let expected = row.logp.len();
    let wrong = |what, found| ObjectiveError::Length {
        row: index,
        what,
        found,
        expected,
    };
    match row.weights {
        Some(weights) if weights.len() != expected => {
            return Err(wrong("token weights", weights.len()));
        }
        _ => {}
    }
    if !row.entropy.is_empty() && row.entropy.len() != expected {
        return Err(wrong("entropies", row.entropy.len()));
    }
    if !row.top.is_empty() && row.top.len() != expected {
        return Err(wrong("marks of likeliest tokens", row.top.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(logp: &[f32]) -> SftRow<'_> {
        SftRow {
            logp,
            entropy: &[],
            top: &[],
            weights: None,
        }
    }

    #[test]
    fn it_is_the_token_mean_over_the_step() {
        let loss = sft_loss(&[row(&[-1.0, -2.0]), row(&[-6.0])], 3).unwrap();
        assert!((loss.loss - 3.0).abs() < 1e-12);
        assert_eq!(loss.gradients, [vec![-1.0 / 3.0; 2], vec![-1.0 / 3.0]]);
        assert_eq!(loss.stats.metrics()["scored_tokens"], 3.0);
        assert!(!loss.stats.metrics().contains_key("entropy"));
    }

    #[test]
    fn micro_batches_add_up_to_the_step() {
        let rows = [
            [-1.0_f32, -2.0, -0.5].as_slice(),
            &[-6.0],
            &[],
            &[-3.0, -4.0],
        ];
        let all: Vec<_> = rows.iter().map(|r| row(r)).collect();
        let whole = sft_loss(&all, 6).unwrap();
        for cut in 0..=rows.len() {
            let (a, b) = (sft_loss(&all[..cut], 6), sft_loss(&all[cut..], 6));
            let (a, b) = (a.unwrap(), b.unwrap());
            let mut stats = a.stats.clone();
            stats.merge(&b.stats);
            assert!((stats.loss - whole.loss).abs() < 1e-12);
            assert_eq!(stats.tokens, 6);
            assert_eq!([a.gradients, b.gradients].concat(), whole.gradients);
        }
    }

    #[test]
    fn token_accuracy_counts_likeliest_tokens_of_all_rows() {
        let marked = |logp, top| SftRow { top, ..row(logp) };
        let rows = [
            marked(&[-0.1, -0.2, -3.0], &[true, true, false]),
            marked(&[-4.0], &[false]),
        ];
        let mut stats = sft_loss(&rows[..1], 4).unwrap().stats;
        assert_eq!(stats.token_accuracy(), Some(2.0 / 3.0));
        stats.merge(&sft_loss(&rows[1..], 4).unwrap().stats);
        assert_eq!(stats.metrics()["token_accuracy"], 0.5);
        let unasked = sft_loss(&[row(&[-1.0])], 1).unwrap().stats;
        assert_eq!(unasked.token_accuracy(), None);
        let error = sft_loss(&[marked(&[-1.0, -2.0], &[true])], 2).unwrap_err();
        assert!(
            error.to_string().contains("marks of likeliest tokens"),
            "{error}"
        );
    }

    #[test]
    fn weights_scale_terms_but_not_the_count() {
        let weighted = SftRow {
            weights: Some(&[2.0, 0.0]),
            ..row(&[-1.0, -5.0])
        };
        let loss = sft_loss(&[weighted], 2).unwrap();
        assert_eq!(loss.loss, 1.0);
        assert_eq!(loss.gradients, [[-1.0, 0.0]]);
    }

    #[test]
    fn bad_shapes_are_named() {
        let short = SftRow {
            weights: Some(&[1.0]),
            ..row(&[-1.0, -5.0])
        };
        let error = sft_loss(&[row(&[-1.0]), short], 3).unwrap_err();
        assert!(
            error.to_string().starts_with("row 1 has 1 token weights"),
            "{error}"
        );
        assert!(sft_loss(&[row(&[-1.0])], 0).is_err());
        assert_eq!(sft_loss(&[row(&[])], 0).unwrap().loss, 0.0);
    }
}
