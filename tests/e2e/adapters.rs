//! Adapters with made-up factors on a tiny model, far from doing nothing.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use vtb_lora::{Factors, LoraConfig, ModuleFilter, write_adapter};
use vtb_nn::checkpoint::{Checkpoint, TensorSource};

/// Two ranks, two alphas and rsLoRA, on decoder and vision tower.
pub(crate) fn settings() -> LoraConfig {
    LoraConfig {
        r: 3,
        alpha: 5.0,
        use_rslora: true,
        targets: ModuleFilter::Expression(
            r"model\.language_model\..*\.(q_proj|v_proj|down_proj)|model\.visual\.blocks\.\d+\.attn\.qkv"
                .into(),
        ),
        rank_pattern: vec![("layers.0.self_attn.q_proj".into(), 2)],
        alpha_pattern: vec![("attn.qkv".into(), 2.5)],
        ..LoraConfig::default()
    }
}

/// Both stacks of every layer of experts, with ranks and alphas of their own, beside a projection.
pub(crate) fn stack_settings() -> LoraConfig {
    LoraConfig {
        r: 3,
        alpha: 5.0,
        targets: ModuleFilter::names(["q_proj"]),
        target_parameters: vec![
            "mlp.experts.gate_up_proj".into(),
            "mlp.experts.down_proj".into(),
        ],
        rank_pattern: vec![("mlp.experts.down_proj".into(), 2)],
        alpha_pattern: vec![("mlp.experts.down_proj".into(), 3.0)],
        ..LoraConfig::default()
    }
}

/// Writes an adapter of `model`, whose experts lie as published, with [`stack_settings`].
pub(crate) fn make_on_stacks(model: &Path, to: &Path, strength: f32) {
    let base = Checkpoint::open(model).unwrap();
    let settings = stack_settings();
    let rules = settings.rules("test").unwrap();
    let mut factors = BTreeMap::new();
    for name in base.names() {
        let shape = base.info(&name).unwrap().shape;
        let (path, rank, [inputs, outputs]) = match shape.as_slice() {
            [experts, inputs, outputs] => {
                let (module, stack) = name.rsplit_once('.').unwrap();
                let path = match stack {
                    "gate_up_proj" => format!("{module}.base_layer"),
                    _ => module.to_owned(),
                };
                (
                    path,
                    experts * rules.rank(&name).unwrap(),
                    [*inputs, *outputs],
                )
            }
            [outputs, inputs] if name.ends_with("q_proj.weight") => {
                let path = name.trim_end_matches(".weight").to_owned();
                (path, settings.r, [*inputs, *outputs])
            }
            _ => continue,
        };
        let seed = name.bytes().map(f32::from).sum::<f32>();
        factors.insert(path, made(rank, inputs, outputs, seed, strength));
    }
    assert!(
        factors
            .keys()
            .filter(|path| path.contains("experts"))
            .count()
            == 4
    );
    write_adapter(to, &settings, "org/base", &factors).unwrap();
}

/// Factors far from zero, `strength` the size of B.
fn made(rank: usize, inputs: usize, outputs: usize, seed: f32, strength: f32) -> Factors {
    let wave = |count: usize, scale: f32| -> Vec<f32> {
        let value = |i: usize| scale * ((i as f32 * 12.9898 + seed).sin() * 43.758).fract();
        (0..count).map(value).collect()
    };
    Factors {
        a: TensorData::new(
            wave(rank * inputs, (inputs as f32).sqrt().recip()),
            [rank, inputs],
        ),
        b: TensorData::new(wave(outputs * rank, strength), [outputs, rank]),
    }
}

/// Writes an adapter of `model` with `settings`; B is `strength` times numbers around 1.
pub(crate) fn make(model: &Path, to: &Path, settings: &LoraConfig, strength: f32) {
    let base = Checkpoint::open(model).unwrap();
    let rules = settings.rules("test").unwrap();
    let mut factors = BTreeMap::new();
    for name in base.names() {
        let Some(path) = name.strip_suffix(".weight") else {
            continue;
        };
        let adapted = ["q_proj", "v_proj", "down_proj", "attn.qkv"];
        if !adapted.iter().any(|end| path.ends_with(end)) {
            continue;
        }
        let shape = base.info(&name).unwrap().shape;
        let r = rules.rank(path).unwrap();
        let seed = path.bytes().map(f32::from).sum::<f32>();
        let pair = made(r, shape[1], shape[0], seed, strength);
        factors.insert(path.to_owned(), pair);
    }
    assert!(factors.len() > 3);
    write_adapter(to, settings, "org/base", &factors).unwrap();
}
