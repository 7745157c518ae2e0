//! The load-balancing loss of routers over the passes of one optimizer step.

use vtb_nn::lm::{LmRow, PassReport};

/// Shares the coefficient among the passes by their tokens, so that a step counts the loss once however it is cut, and
/// averages the loss likewise.
pub(super) struct RouterLoss {
    coefficient: f64,
    tokens: usize,
    sum: f64,
    seen: bool,
}

impl RouterLoss {
    /// For a step over `tokens` tokens.
    pub(super) fn new(coefficient: f64, tokens: usize) -> Self {
        Self {
            coefficient,
            tokens,
            sum: 0.0,
            seen: false,
        }
    }

    fn share(&self, rows: &[LmRow]) -> f64 {
        let tokens: usize = rows.iter().map(|row| row.ids.len()).sum();
        tokens as f64 / self.tokens.max(1) as f64
    }

    /// Weight of the loss in a pass over `rows`.
    pub(super) fn weight(&self, rows: &[LmRow]) -> f32 {
        (self.coefficient * self.share(rows)) as f32
    }

    /// Notes the loss of a pass.
    pub(super) fn add(&mut self, rows: &[LmRow], report: &PassReport) {
        if let Some(loss) = report.router_loss {
            self.sum += f64::from(loss) * self.share(rows);
            self.seen = true;
        }
    }

    /// `aux_loss`, in models with experts.
    pub(super) fn metric(&self) -> Option<(String, f64)> {
        self.seen.then(|| ("aux_loss".to_owned(), self.sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_share_the_coefficient_by_tokens() {
        let row = |n: usize| LmRow {
            ids: vec![1; n],
            ..LmRow::default()
        };
        let (first, second) = ([row(3), row(3)], [row(2)]);
        let mut routers = RouterLoss::new(0.5, 8);
        assert_eq!(routers.weight(&first), 0.375);
        assert_eq!(routers.weight(&second), 0.125);
        assert_eq!(routers.metric(), None);
        let report = |loss| PassReport {
            router_loss: Some(loss),
        };
        routers.add(&first, &report(2.0));
        routers.add(&second, &report(4.0));
        assert_eq!(routers.metric(), Some(("aux_loss".to_owned(), 2.5)));
    }
}
