//! Numbers of flow matching for the log.

use super::loss::RowLoss;
use crate::objectives::Metrics;

/// Parts of the range of noise levels that are told apart.
const QUARTERS: usize = 4;

/// Sums over the rows of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FlowStats {
    rows: usize,
    loss: f64,
    mse: f64,
    sigma: f64,
    /// Loss and rows by quarter of the range of noise levels.
    quarters: [(f64, usize); QUARTERS],
}

impl FlowStats {
    /// Adds a row at noise level `sigma`.
    pub fn add(&mut self, row: RowLoss, sigma: f64) {
        self.rows += 1;
        self.loss += row.loss;
        self.mse += row.mse;
        self.sigma += sigma;
        let quarter = (sigma.clamp(0.0, 1.0) * QUARTERS as f64) as usize;
        let (loss, rows) = &mut self.quarters[quarter.min(QUARTERS - 1)];
        *loss += row.loss;
        *rows += 1;
    }

    /// Means over the rows: `loss`, `mse` (without weights), `sigma`, and of the quarters from clean to noisy that had
    /// rows `loss/sigma_q1` to `loss/sigma_q4`.
    pub fn metrics(&self) -> Metrics {
        let rows = self.rows.max(1) as f64;
        let mut metrics = Metrics::from([
            ("loss".to_owned(), self.loss / rows),
            ("mse".to_owned(), self.mse / rows),
            ("sigma".to_owned(), self.sigma / rows),
        ]);
        for (i, (loss, rows)) in self.quarters.iter().enumerate() {
            if *rows > 0 {
                metrics.insert(format!("loss/sigma_q{}", i + 1), loss / *rows as f64);
            }
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_averaged_and_told_apart_by_quarter() {
        let mut stats = FlowStats::default();
        for (loss, mse, sigma) in [(1.0, 2.0, 0.1), (3.0, 4.0, 0.75), (5.0, 6.0, 1.0)] {
            stats.add(RowLoss { loss, mse }, sigma);
        }
        let metrics = stats.metrics();
        assert_eq!((metrics["loss"], metrics["mse"]), (3.0, 4.0));
        assert!((metrics["sigma"] - 1.85 / 3.0).abs() < 1e-12);
        assert_eq!(metrics["loss/sigma_q1"], 1.0);
        assert_eq!(metrics["loss/sigma_q4"], 4.0);
        assert_eq!(metrics.len(), 5);
    }
}
