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
        let wave = |count: usize, scale: f32| -> Vec<f32> {
            let value = |i: usize| scale * ((i as f32 * 12.9898 + seed).sin() * 43.758).fract();
            (0..count).map(value).collect()
        };
        let pair = Factors {
            a: TensorData::new(
                wave(r * shape[1], (shape[1] as f32).sqrt().recip()),
                [r, shape[1]],
            ),
            b: TensorData::new(wave(shape[0] * r, strength), [shape[0], r]),
        };
        factors.insert(path.to_owned(), pair);
    }
    assert!(factors.len() > 3);
    write_adapter(to, settings, "org/base", &factors).unwrap();
}
