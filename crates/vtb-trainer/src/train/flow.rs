//! Flow matching as an [`Objective`].

use std::sync::Arc;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vtb_data::LastBatch;
use vtb_nn::lm::NamedTensors;
use vtb_nn::velocity::{FlowBackwardOptions, VelocityModel};

use super::flow_data::{FlowSample, FlowSource, Samples};
use super::flow_pass::{FlowPass, passes, row_stream};
use super::loader::{LoadOptions, Loader};
use super::objective::{Objective, Position, StepOutput};
use crate::TrainError;
use crate::objectives::flow::{FlowConfig, FlowStats, Levels, flow_loss};
use crate::optim::accumulate;
use crate::rng;

/// How batches are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowSettings {
    /// Most rows per forward and backward pass. Rows of a pass have the same shapes; a batch that holds several takes
    /// several passes.
    pub batch_size: usize,
    /// Batches per optimizer step.
    pub gradient_accumulation: usize,
    /// The rows at the end of an epoch that fill no batch: `wrap` goes on with the next epoch, `ragged` makes a smaller
    /// batch, `drop` leaves them out.
    pub last: LastBatch,
    /// Recompute blocks in the backward pass instead of keeping their activations.
    pub recompute: bool,
}

impl Default for FlowSettings {
    fn default() -> Self {
        Self {
            batch_size: 1,
            gradient_accumulation: 1,
            last: LastBatch::Wrap,
            recompute: true,
        }
    }
}

/// Weighted mean squared error of velocities; the mean runs over all rows of a step.
pub struct FlowObjective<D: FlowSource> {
    loader: Loader<Samples<D>>,
    levels: Levels,
    settings: FlowSettings,
    seed: u64,
    dropout: bool,
}

impl<D: FlowSource> FlowObjective<D> {
    /// Trains on `data` in the order of `seed`, at the noise levels of `config`. `dropout` says whether the model has any.
    ///
    /// # Errors
    /// Settings without meaning, named, or no data.
    pub fn new(
        data: D,
        load: LoadOptions,
        settings: FlowSettings,
        config: &FlowConfig,
        seed: u64,
        dropout: bool,
    ) -> Result<Self, TrainError> {
        let len = data.len();
        let loader = Loader::batches(
            Samples(data),
            len,
            seed,
            load,
            settings.batch_size,
            settings.gradient_accumulation,
            settings.last,
        )?;
        Ok(Self {
            loader,
            levels: Levels::new(config)?,
            settings,
            seed,
            dropout,
        })
    }

    /// The samples `rows` of the step, at levels and with noise of their own.
    fn pass(&self, step: u64, samples: &[Arc<FlowSample>], rows: &[usize]) -> FlowPass {
        let mut pass = FlowPass::default();
        for &row in rows {
            let sample = Arc::clone(&samples[row]);
            let drawn = row_stream(self.seed, "noise level", step, row).random::<f64>();
            let level = self.levels.at(drawn, sample.clean.shape);
            pass.push(sample, level, row_stream(self.seed, "noise", step, row));
        }
        pass
    }
}

impl<M: VelocityModel + ?Sized, D: FlowSource> Objective<M> for FlowObjective<D> {
    fn step(&mut self, model: &M, step: u64) -> Result<StepOutput, TrainError> {
        let mut samples = Vec::new();
        for _ in 0..self.settings.gradient_accumulation {
            samples.extend(self.loader.next_batch()?.into_iter().map(Arc::new));
        }
        let (rows, waited) = self.loader.take_counts();
        let mut gradients = NamedTensors::new();
        let mut stats = FlowStats::default();
        for (i, part) in passes(&samples, self.settings.batch_size)
            .iter()
            .enumerate()
        {
            let pass = self.pass(step, &samples, part);
            let options = FlowBackwardOptions {
                dropout_seed: self
                    .dropout
                    .then(|| rng::seed(self.seed, "dropout", step, i as u64)),
                recompute: self.settings.recompute,
            };
            let more = model.backward(pass.rows(), &options, &mut |velocities| {
                let loss = flow_loss(velocities, &pass.targets(), samples.len())?;
                for (row, level) in loss.rows.iter().zip(pass.levels()) {
                    stats.add(*row, level.sigma);
                }
                Ok(loss.gradients)
            })?;
            accumulate(&mut gradients, more);
        }
        Ok(StepOutput {
            gradients,
            metrics: stats.metrics(),
            rows,
            waited,
            ..Default::default()
        })
    }

    fn position(&self) -> Position {
        self.loader.position()
    }

    fn state(&self) -> Result<Value, TrainError> {
        Ok(Value::Null)
    }

    fn restore(&mut self, position: &Position, _state: &Value) -> Result<(), TrainError> {
        self.loader.restore(&position.cursor)
    }
}
