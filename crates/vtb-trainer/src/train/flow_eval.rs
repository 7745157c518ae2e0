//! Held-out rows at fixed noise levels with fixed noise.

use std::collections::BTreeMap;
use std::sync::Arc;

use vtb_nn::lm::AdapterState;
use vtb_nn::velocity::VelocityModel;

use super::flow_data::{FlowSource, Samples};
use super::flow_pass::{FlowPass, held_out_stream};
use super::hooks::Evaluation;
use crate::TrainError;
use crate::objectives::flow::{FlowConfig, Levels, RowLoss, row_losses};

/// Measures the loss on held-out rows: every row at the same few noise levels, spread evenly over the distribution of
/// training, with noise that depends on the seed, the row and the level alone. Two measurements differ by the model only;
/// the loss of a training step differs by what was drawn.
pub struct FlowEval<D: FlowSource> {
    rows: Samples<D>,
    levels: Levels,
    grid: usize,
    batch_size: usize,
    seed: u64,
}

/// Means at one noise level.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LevelLoss {
    /// Noise level; a mean where levels depend on the size of a row.
    pub sigma: f64,
    /// Mean squared error, without weight.
    pub mse: f64,
}

/// What a measurement found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FlowMeasured {
    /// Rows measured.
    pub rows: usize,
    /// Mean of the weighted losses over rows and levels: what training minimises.
    pub loss: f64,
    /// Mean squared error over rows and levels, without weights.
    pub mse: f64,
    /// By level, the noisiest first.
    pub levels: Vec<LevelLoss>,
}

impl FlowMeasured {
    /// `eval/loss`, `eval/mse`, and `eval/mse_level_1` with its `eval/sigma_level_1` and so on by level, the noisiest first.
    /// Checkpoints are ranked by the loss.
    pub fn evaluation(&self) -> Evaluation {
        let whole = [("eval/loss", self.loss), ("eval/mse", self.mse)];
        let mut metrics: BTreeMap<String, f64> =
            whole.map(|(name, value)| (name.to_owned(), value)).into();
        for (i, level) in self.levels.iter().enumerate() {
            metrics.insert(format!("eval/mse_level_{}", i + 1), level.mse);
            metrics.insert(format!("eval/sigma_level_{}", i + 1), level.sigma);
        }
        let score = (self.rows > 0).then_some(-self.loss);
        Evaluation { metrics, score }
    }
}

impl<D: FlowSource> FlowEval<D> {
    /// Measures every row of `rows` at `grid` levels, `batch_size` at a time.
    ///
    /// # Errors
    /// Settings without meaning, named.
    pub fn new(
        rows: D,
        config: &FlowConfig,
        grid: usize,
        batch_size: usize,
        seed: u64,
    ) -> Result<Self, TrainError> {
        if grid == 0 || batch_size == 0 {
            return Err(TrainError::Config(format!(
                "{grid} noise levels and {batch_size} rows at a time measure nothing; give at least 1 of each"
            )));
        }
        Ok(Self {
            rows: Samples(rows),
            levels: Levels::new(config)?,
            grid,
            batch_size,
            seed,
        })
    }

    /// The losses of `model` as it is, its adapter on.
    ///
    /// # Errors
    /// A row cannot be read or does not fit the model.
    pub fn measure<M: VelocityModel + ?Sized>(
        &self,
        model: &M,
    ) -> Result<FlowMeasured, TrainError> {
        let mut sums = Sums::new(self.grid);
        let mut pass = FlowPass::default();
        let mut shape = None;
        for row in 0..self.rows.0.len() {
            let sample = Arc::new(self.rows.checked(row)?);
            let own = Some(sample.shape());
            if shape != own {
                sums.add(model, std::mem::take(&mut pass))?;
                shape = own;
            }
            for level in 0..self.grid {
                let quantile = (level as f64 + 0.5) / self.grid as f64;
                let at = self.levels.at(quantile, sample.clean.shape);
                let rng = held_out_stream(self.seed, row, level);
                pass.push(Arc::clone(&sample), at, rng);
                if pass.rows().len() == self.batch_size {
                    sums.add(model, std::mem::take(&mut pass))?;
                }
            }
        }
        sums.add(model, pass)?;
        Ok(sums.means())
    }
}

/// Sums over rows and levels, in that order whatever the passes.
struct Sums {
    /// Rows measured, at each level.
    done: usize,
    whole: RowLoss,
    levels: Vec<LevelLoss>,
}

impl Sums {
    fn new(grid: usize) -> Self {
        Self {
            done: 0,
            whole: RowLoss::default(),
            levels: vec![LevelLoss::default(); grid],
        }
    }

    /// Runs a pass that goes on where the one before ended.
    fn add<M: VelocityModel + ?Sized>(
        &mut self,
        model: &M,
        pass: FlowPass,
    ) -> Result<(), TrainError> {
        if pass.rows().is_empty() {
            return Ok(());
        }
        let velocities = model.velocity(pass.rows(), AdapterState::On)?;
        let losses = row_losses(&velocities, &pass.targets())?;
        for (loss, level) in losses.iter().zip(pass.levels()) {
            let grid = self.levels.len();
            let sum = &mut self.levels[self.done % grid];
            sum.sigma += level.sigma;
            sum.mse += loss.mse;
            self.whole.loss += loss.loss;
            self.whole.mse += loss.mse;
            self.done += 1;
        }
        Ok(())
    }

    fn means(self) -> FlowMeasured {
        let rows = self.done / self.levels.len();
        let (rows_f64, all) = (rows.max(1) as f64, self.done.max(1) as f64);
        let mean = |sum: LevelLoss| LevelLoss {
            sigma: sum.sigma / rows_f64,
            mse: sum.mse / rows_f64,
        };
        FlowMeasured {
            rows,
            loss: self.whole.loss / all,
            mse: self.whole.mse / all,
            levels: self.levels.into_iter().map(mean).collect(),
        }
    }
}
