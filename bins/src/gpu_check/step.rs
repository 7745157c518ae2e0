//! One training pass of a tiny Qwen3-VL with a LoRA, with and without a picture.

use std::sync::Arc;

use burn::tensor::{DType, Tensor, TensorData};
use vtb_lora::LoraConfig;
use vtb_models_vlm::config::Qwen3VlConfig;
use vtb_models_vlm::qwen3_vl::Qwen3Vl;
use vtb_models_vlm::tiny::TinySpec;
use vtb_nn::lm::{BackwardOptions, CausalLm, ImagePatches, LmRow, NamedTensors};
use vtb_nn::trainable::Trainable;

use super::compare::{Kind, Output};
use super::lane::{Lane, read, values};

/// Names of the checks, and whether blocks are recomputed.
pub(super) const STEPS: [(&str, bool); 2] = [
    ("tiny step, recomputed", true),
    ("tiny step, graph kept", false),
];

const SEED: u64 = 20;

/// Mean negative log-likelihood of two rows and its gradient by every adapter factor.
pub(super) fn run(lane: &Lane, recompute: bool) -> anyhow::Result<Vec<Output>> {
    let config = TinySpec::default().config(512)?;
    let rows = rows(&config);
    let mut model = Qwen3Vl::fresh(config, SEED, &lane.device, lane.dtype)?;
    model.attach_adapter(&LoraConfig::default(), SEED)?;
    // Fresh second factors are zero, and with them half of all gradients.
    let factors = factors(lane, &model);
    model.set_trainable(factors)?;
    let options = BackwardOptions {
        recompute,
        ..BackwardOptions::default()
    };
    let (mut logp, mut entropy) = (Vec::new(), Vec::new());
    let gradients = model.backward(&rows, &options, &mut |scores| {
        logp = scores.iter().flat_map(|s| s.logp.clone()).collect();
        entropy = scores.iter().flat_map(|s| s.entropy.clone()).collect();
        let weight = -1.0 / logp.len() as f32;
        Ok(scores.iter().map(|s| vec![weight; s.logp.len()]).collect())
    })?;
    let loss = -logp.iter().sum::<f32>() / logp.len() as f32;
    let output = |name, values| Output {
        name,
        kind: Kind::Model,
        values,
    };
    let (vision, text): (NamedTensors, NamedTensors) = gradients
        .into_iter()
        .partition(|(name, _)| name.starts_with("model.visual"));
    let flat = |tensors: NamedTensors| tensors.into_values().flat_map(read).collect();
    Ok(vec![
        output("loss", vec![loss]),
        output("logp", logp),
        output("entropy", entropy),
        output("decoder gradients", flat(text)),
        output("vision gradients", flat(vision)),
    ])
}

fn factors(lane: &Lane, model: &Qwen3Vl) -> NamedTensors {
    let trainable = model.trainable().into_iter().enumerate();
    let value = |(i, info): (usize, vtb_nn::lm::ParamInfo)| {
        let len = info.shape.iter().product();
        let data: Vec<f32> = values(len, i as u64)
            .into_iter()
            .map(|x| x / 16.0)
            .collect();
        let data = TensorData::new(data, [len]);
        (
            info.name,
            Tensor::from_data(data, (&lane.device, DType::F32)),
        )
    };
    trainable.map(value).collect()
}

/// A row with a picture that is not square, and a shorter one without.
fn rows(config: &Qwen3VlConfig) -> Vec<LmRow> {
    let grid = [1, 4, 8];
    let patches: usize = grid.iter().product();
    let picture = ImagePatches {
        values: values(patches * config.vision.patch_dim(), 5),
        grid,
        key: 1,
    };
    let mut ids = vec![config.ids.vision_start];
    ids.extend(vec![config.ids.image; patches / config.vision.merge_unit()]);
    ids.push(config.ids.vision_end);
    let text = |n: u32| (0..n).map(|i| 3 + i * 29 % 200);
    ids.extend(text(20));
    let scored = |len: usize| (0..len).map(|i| i + 12 > len).collect();
    let with = LmRow {
        scored: scored(ids.len()),
        ids,
        images: vec![Arc::new(picture)],
    };
    let ids: Vec<u32> = text(17).collect();
    let without = LmRow {
        scored: scored(ids.len()),
        ids,
        images: Vec::new(),
    };
    vec![with, without]
}
