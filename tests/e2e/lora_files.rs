//! Adapters with made-up factors on a diffusion transformer, and what they do to its weights.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::TensorData;
use vtb_lora::{Adapter, DiffusionFamily, Factors, LinearInfo, LoraConfig, ModuleFilter};

/// A folder of the tiny Qwen-Image models.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/qwen_image")
        .join(name)
}

/// An adapter of every layer: two ranks and four alphas, by kinds of layers and for single ones.
pub(crate) fn made(modules: &[LinearInfo], use_rslora: bool) -> Adapter {
    let family = DiffusionFamily::of(modules.iter().map(|m| m.path.as_str())).unwrap();
    let path = |i: usize| family.diffusers(&modules[i].path).unwrap();
    let config = LoraConfig {
        r: 3,
        alpha: 4.5,
        use_rslora,
        targets: ModuleFilter::names((0..modules.len()).map(path)),
        rank_pattern: vec![(path(1), 2), ("to_q".into(), 5), ("proj_out".into(), 1)],
        alpha_pattern: vec![(path(0), 1.25), ("to_k".into(), 3.0), ("net.2".into(), 1.5)],
        ..LoraConfig::default()
    };
    let rules = config.rules("test").unwrap();
    let mut factors = BTreeMap::new();
    for (i, module) in modules.iter().enumerate() {
        let (r, seed) = (rules.rank(&path(i)).unwrap(), i as f32);
        let (inputs, outputs) = (module.in_features, module.out_features);
        let wave = |count: usize, size: f32| -> Vec<f32> {
            let value = |k: usize| size * ((k as f32 * 12.9898 + seed).sin() * 43.758).fract();
            (0..count).map(value).collect()
        };
        let a = wave(r * inputs, (inputs as f32).sqrt().recip());
        let pair = Factors {
            a: TensorData::new(a, [r, inputs]),
            b: TensorData::new(wave(outputs * r, 0.2), [outputs, r]),
        };
        factors.insert(path(i), pair);
    }
    Adapter {
        config,
        base_model: Some("org/base".into()),
        factors,
    }
}

/// `scale·B·A` of every layer.
pub(crate) fn deltas(adapter: &Adapter) -> BTreeMap<String, Vec<f64>> {
    let rules = adapter.config.rules("test").unwrap();
    let delta = |(path, pair): (&String, &Factors)| {
        let scale = rules.scaling(path).unwrap();
        let [a, b] = [&pair.a, &pair.b].map(|f| f.iter::<f64>().collect::<Vec<_>>());
        let (r, inputs) = (pair.a.shape()[0], pair.a.shape()[1]);
        let at = |i: usize| {
            let (row, column) = (i / inputs, i % inputs);
            let sum = |k: usize| b[row * r + k] * a[k * inputs + column];
            scale * (0..r).map(sum).sum::<f64>()
        };
        (
            path.clone(),
            (0..pair.b.shape()[0] * inputs).map(at).collect(),
        )
    };
    adapter.factors.iter().map(delta).collect()
}

/// Both adapters change the same weights by the same amounts.
#[track_caller]
pub(crate) fn same(left: &Adapter, right: &Adapter, tolerance: f64) {
    let (left, right) = (deltas(left), deltas(right));
    assert!(left.keys().eq(right.keys()));
    for (path, left) in &left {
        assert!(left.iter().any(|v| v.abs() > 0.005), "{path} does nothing");
        assert_eq!(left.len(), right[path].len(), "{path}");
        for (l, r) in left.iter().zip(&right[path]) {
            assert!((l - r).abs() <= tolerance, "{path}: {l} {r}");
        }
    }
}
