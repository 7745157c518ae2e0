//! One optimizer step of an objective that the workspace does not know, on a backend this crate chose: burn's `flex`,
//! without the fused kernels that `vtb-nn/flex` would add.

use std::error::Error;

use burn::tensor::{DType, Device};
use serde_json::Value;
use vtb_lora::LoraConfig;
use vtb_models_vlm::qwen3_vl::Qwen3Vl;
use vtb_models_vlm::tiny::TinySpec;
use vtb_nn::lm::{BackwardOptions, CausalLm, LmRow};
use vtb_nn::trainable::Trainable;
use vtb_trainer::TrainError;
use vtb_trainer::optim::{AdamW, AdamWConfig, global_norm};
use vtb_trainer::train::{Objective, Position, StepOutput};

/// Raises the likelihood of even tokens and lowers that of odd ones.
struct PreferEven {
    rows: Vec<LmRow>,
}

impl<M: CausalLm> Objective<M> for PreferEven {
    fn step(&mut self, model: &M, _step: u64) -> Result<StepOutput, TrainError> {
        let targets: Vec<Vec<u32>> = self
            .rows
            .iter()
            .map(|row| row.ids.iter().zip(&row.scored).filter(|(_, s)| **s).map(|(id, _)| *id).collect())
            .collect();
        let mut loss = 0.0;
        let gradients = model.backward(&self.rows, &BackwardOptions::default(), &mut |scores| {
            let sign = |id: &u32| if id % 2 == 0 { -1.0f32 } else { 1.0 };
            let weights: Vec<Vec<f32>> =
                targets.iter().map(|ids| ids.iter().map(sign).collect()).collect();
            for (scores, weights) in scores.iter().zip(&weights) {
                let terms = scores.logp.iter().zip(weights).map(|(l, w)| f64::from(l * w));
                loss += terms.sum::<f64>();
            }
            Ok(weights)
        })?;
        let metrics = [("loss".to_owned(), loss)].into();
        Ok(StepOutput { gradients, metrics, ..StepOutput::default() })
    }

    fn position(&self) -> Position {
        Position::default()
    }

    fn state(&self) -> Result<Value, TrainError> {
        Ok(Value::Null)
    }

    fn restore(&mut self, _position: &Position, _state: &Value) -> Result<(), TrainError> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let config = TinySpec::default().config(512)?;
    let mut model = Qwen3Vl::fresh(config, 1, &Device::flex(), DType::F32)?;
    model.attach_adapter(&LoraConfig::default(), 2)?;
    let row = LmRow { ids: (5..25).collect(), images: vec![], scored: (0..20).map(|i| i > 0).collect() };
    let mut objective = PreferEven { rows: vec![row] };
    let mut optimizer = AdamW::new(AdamWConfig::default(), &model.trainable())?;
    let mut losses = Vec::new();
    for step in 0..3 {
        let output = objective.step(&model, step)?;
        assert!(global_norm(&output.gradients)?.norm > 0.0);
        losses.push(output.metrics["loss"]);
        let values = optimizer.step(model.trainable_values(), output.gradients, 1e-2)?;
        model.set_trainable(values)?;
    }
    assert!(losses[2] < losses[0], "{losses:?}");
    println!("loss {:.4} -> {:.4}", losses[0], losses[2]);
    Ok(())
}
