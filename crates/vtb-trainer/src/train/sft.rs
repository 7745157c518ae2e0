//! Supervised fine-tuning as an [`Objective`].

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vtb_data::Sampler;
use vtb_nn::lm::{BackwardOptions, CausalLm, NamedTensors};

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
            recompute: true,
            router_aux_loss_coef: 0.0,
        }
    }
}

/// Token-mean cross-entropy over response tokens; the mean runs over all micro-batches of a step.
pub struct SftObjective<D> {
    data: D,
    sampler: Sampler,
    settings: SftSettings,
    seed: u64,
    dropout: bool,
}

impl<D: RowEncoder> SftObjective<D> {
    /// Trains on `data` in the order of `seed`. `dropout` says whether the model has any.
    pub fn new(
        data: D,
        settings: SftSettings,
        seed: u64,
        dropout: bool,
    ) -> Result<Self, TrainError> {
        if settings.batch_size == 0 || settings.gradient_accumulation == 0 {
            return Err(TrainError::Config(
                "batch_size and gradient_accumulation must be at least 1".into(),
            ));
        }
        let order = rng::seed(seed, "data order", 0, 0);
        let sampler = Sampler::new(data.len(), order, true).map_err(TrainError::other)?;
        Ok(Self {
            data,
            sampler,
            settings,
            seed,
            dropout,
        })
    }
}

impl<D: RowEncoder> Objective for SftObjective<D> {
    fn step(&mut self, model: &dyn CausalLm, step: u64) -> Result<StepOutput, TrainError> {
        let wanted = self.settings.batch_size * self.settings.gradient_accumulation;
        let rows = self
            .sampler
            .next_batch(wanted)
            .into_iter()
            .map(|index| self.data.encode(index))
            .collect::<Result<Vec<_>, _>>()?;
        let tokens: usize = rows.iter().map(|row| row.scored_count()).sum();
        let coefficient = self.settings.router_aux_loss_coef;
        let mut routers = RouterLoss::new(coefficient, rows.iter().map(|r| r.ids.len()).sum());
        let mut gradients = NamedTensors::new();
        let mut stats = SftStats::default();
        for (i, batch) in rows.chunks(self.settings.batch_size).enumerate() {
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
        metrics.insert(
            "num_tokens".into(),
            rows.iter().map(|r| r.ids.len() as f64).sum(),
        );
        Ok(StepOutput {
            gradients,
            metrics,
            ..Default::default()
        })
    }

    fn position(&self) -> Position {
        sampler_position(&self.sampler)
    }

    fn state(&self) -> Result<Value, TrainError> {
        Ok(Value::Null)
    }

    fn restore(&mut self, position: &Position, _state: &Value) -> Result<(), TrainError> {
        self.sampler = restored_sampler(position)?;
        Ok(())
    }
}

pub(super) fn sampler_position(sampler: &Sampler) -> Position {
    let state = sampler.state();
    let cursor = serde_json::to_value(state).unwrap_or_default();
    Position {
        epoch: state.epoch,
        cursor,
    }
}

pub(super) fn restored_sampler(position: &Position) -> Result<Sampler, TrainError> {
    let state = serde_json::from_value(position.cursor.clone()).map_err(TrainError::other)?;
    Sampler::resume(state).map_err(TrainError::other)
}
