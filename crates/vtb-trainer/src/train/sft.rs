//! Supervised fine-tuning as an [`Objective`].

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vtb_data::{Bucket, LastBatch};
use vtb_nn::lm::{BackwardOptions, CausalLm, LmRow, NamedTensors};

use super::loader::{Load, LoadOptions, Loader};
use super::objective::{Objective, Position, RowEncoder, StepOutput};
use super::router_loss::RouterLoss;
use crate::TrainError;
use crate::objectives::scores::sft_rows;
use crate::objectives::sft::{SftStats, sft_loss};
use crate::optim::accumulate;
use crate::rng;

/// How batches are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SftSettings {
    /// Rows per forward and backward pass.
    pub batch_size: usize,
    /// Passes per optimizer step.
    pub gradient_accumulation: usize,
    /// The rows at the end of an epoch that fill no batch: `wrap` goes on with the next epoch, `ragged` makes a smaller
    /// batch, `drop` leaves them out.
    pub last: LastBatch,
    /// Recompute blocks in the backward pass instead of keeping their activations.
    pub recompute: bool,
    /// Weight of the loss that keeps the experts of a mixture equally busy; 0 is off.
    pub router_aux_loss_coef: f64,
}

impl Default for SftSettings {
    fn default() -> Self {
        Self {
            batch_size: 8,
            gradient_accumulation: 1,
            last: LastBatch::Wrap,
            recompute: true,
            router_aux_loss_coef: 0.0,
        }
    }
}

/// Token-mean cross-entropy over response tokens; the mean runs over all micro-batches of a step.
pub struct SftObjective<D: RowEncoder> {
    loader: Loader<Encoded<D>>,
    settings: SftSettings,
    seed: u64,
    dropout: bool,
}

impl<D: RowEncoder> SftObjective<D> {
    /// Trains on `data` in the order of `seed`. `dropout` says whether the model has any.
    pub fn new(
        data: D,
        load: LoadOptions,
        settings: SftSettings,
        seed: u64,
        dropout: bool,
    ) -> Result<Self, TrainError> {
        let len = data.len();
        let loader = Loader::batches(
            Encoded(data),
            len,
            seed,
            load,
            settings.batch_size,
            settings.gradient_accumulation,
            settings.last,
        )?;
        Ok(Self {
            loader,
            settings,
            seed,
            dropout,
        })
    }
}

impl<M: CausalLm + ?Sized, D: RowEncoder> Objective<M> for SftObjective<D> {
    fn step(&mut self, model: &M, step: u64) -> Result<StepOutput, TrainError> {
        let batches = (0..self.settings.gradient_accumulation)
            .map(|_| self.loader.next_batch())
            .collect::<Result<Vec<_>, _>>()?;
        let (rows, waited) = self.loader.take_counts();
        let tokens: usize = batches.iter().flatten().map(LmRow::scored_count).sum();
        let length: usize = batches.iter().flatten().map(|row| row.ids.len()).sum();
        let mut routers = RouterLoss::new(self.settings.router_aux_loss_coef, length);
        let mut gradients = NamedTensors::new();
        let mut stats = SftStats::default();
        for (i, batch) in batches.iter().enumerate() {
            let options = BackwardOptions {
                temperature: 1.0,
                dropout_seed: self
                    .dropout
                    .then(|| rng::seed(self.seed, "dropout", step, i as u64)),
                recompute: self.settings.recompute,
                router_loss: routers.weight(batch),
            };
            let (more, report) = model.backward_with_report(batch, &options, &mut |scores| {
                let loss = sft_loss(&sft_rows(scores), tokens)?;
                stats.merge(&loss.stats);
                Ok(loss.gradients)
            })?;
            routers.add(batch, &report);
            accumulate(&mut gradients, more);
        }
        let mut metrics = stats.metrics();
        metrics.extend(routers.metric());
        metrics.insert("num_tokens".into(), length as f64);
        Ok(StepOutput {
            gradients,
            metrics,
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

/// Supervised rows as a loader draws them.
struct Encoded<D>(D);

impl<D: RowEncoder> Load for Encoded<D> {
    type Row = LmRow;

    fn load(&self, index: usize) -> Result<LmRow, TrainError> {
        self.0.encode(index)
    }

    fn size(&self, index: usize, bucket: Bucket) -> Result<u64, TrainError> {
        self.0.size(index, bucket)
    }
}
