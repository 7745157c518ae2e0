//! Made-up adapters of both families, what they do to a weight, and files written by hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use vtb_lora::{
    Adapter, AdapterFormat, AdapterHeader, Factors, LinearInfo, LoraConfig, ModuleFilter, read_any,
    write_as,
};
use vtb_nn::checkpoint::{MemorySource, save_safetensors};

pub(crate) const QWEN: [&str; 8] = [
    "transformer_blocks.0.attn.to_q",
    "transformer_blocks.0.attn.to_out.0",
    "transformer_blocks.0.attn.add_k_proj",
    "transformer_blocks.0.img_mod.1",
    "transformer_blocks.1.attn.to_q",
    "transformer_blocks.1.txt_mlp.net.2",
    "transformer_blocks.11.img_mlp.net.0.proj",
    "norm_out.linear",
];

pub(crate) const WAN: [&str; 8] = [
    "blocks.0.attn1.to_q",
    "blocks.0.attn1.to_out.0",
    "blocks.0.attn2.to_k",
    "blocks.0.ffn.net.0.proj",
    "blocks.1.attn1.to_q",
    "blocks.1.ffn.net.2",
    "condition_embedder.time_proj",
    "proj_out",
];

pub(crate) fn wave(count: usize, seed: f32) -> Vec<f32> {
    let value = |i: usize| ((i as f32 * 12.9898 + seed).sin() * 43.758).fract();
    (0..count).map(value).collect()
}

pub(crate) fn made(r: usize, [inputs, outputs]: [usize; 2], seed: f32) -> Factors {
    Factors {
        a: TensorData::new(wave(r * inputs, seed), [r, inputs]),
        b: TensorData::new(wave(outputs * r, seed + 0.5), [outputs, r]),
    }
}

/// Sizes that no two layers in a row share.
pub(crate) fn sizes(i: usize) -> [usize; 2] {
    [3 + i % 3, 4 + i % 2]
}

/// Ranks, alphas and scales of their own for several layers.
pub(crate) fn adapter(paths: &[&str], use_rslora: bool) -> Adapter {
    let end = |path: &str| {
        path.rsplit_once('.')
            .map_or(path, |(_, end)| end)
            .to_owned()
    };
    let config = LoraConfig {
        r: 4,
        alpha: 3.0,
        use_rslora,
        targets: ModuleFilter::names(paths.iter().copied()),
        rank_pattern: vec![(paths[4].to_owned(), 1), (end(paths[0]), 2)],
        alpha_pattern: vec![(paths[3].to_owned(), 4.0), (end(paths[7]), 0.7)],
        ..LoraConfig::default()
    };
    let rules = config.rules("test").unwrap();
    let factors = paths.iter().enumerate().map(|(i, path)| {
        let pair = made(rules.rank(path).unwrap(), sizes(i), i as f32);
        ((*path).to_owned(), pair)
    });
    Adapter {
        factors: factors.collect(),
        config,
        base_model: Some("org/base".into()),
    }
}

pub(crate) fn linears(paths: &[&str]) -> Vec<LinearInfo> {
    let linear = |(i, path): (usize, &&str)| LinearInfo {
        path: (*path).to_owned(),
        in_features: sizes(i)[0],
        out_features: sizes(i)[1],
        is_head: false,
    };
    paths.iter().enumerate().map(linear).collect()
}

/// `scale·B·A` of every layer, row-major.
pub(crate) fn deltas(adapter: &Adapter) -> BTreeMap<String, Vec<f64>> {
    let rules = adapter.config.rules("test").unwrap();
    let delta = |(path, pair): (&String, &Factors)| {
        let scale = rules.scaling(path).unwrap();
        let [a, b] = [&pair.a, &pair.b].map(|f| f.iter::<f64>().collect::<Vec<_>>());
        let (r, inputs) = (pair.a.shape()[0], pair.a.shape()[1]);
        assert_eq!(r, rules.rank(path).unwrap(), "{path}");
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

#[track_caller]
pub(crate) fn same(left: &Adapter, right: &Adapter, tolerance: f64) {
    let (left, right) = (deltas(left), deltas(right));
    assert!(left.keys().eq(right.keys()), "{left:?} {right:?}");
    for (path, left) in &left {
        assert!(left.iter().any(|v| v.abs() > 0.05), "{path} does nothing");
        assert_eq!(left.len(), right[path].len(), "{path}");
        for (l, r) in left.iter().zip(&right[path]) {
            assert!((l - r).abs() <= tolerance, "{path}: {l} {r}");
        }
    }
}

pub(crate) fn header() -> AdapterHeader {
    AdapterHeader {
        base_model: Some("org/base".into()),
        base_hash: Some("ab12".into()),
        dataset_hash: Some("cd34".into()),
        step: Some(500),
        template: Some("edit-list".into()),
        activation: Some("gelu-tanh".into()),
        zero_cond_t: Some(true),
        other: BTreeMap::from([("modelspec.title".to_owned(), "mazes".to_owned())]),
    }
}

pub(crate) fn write(dir: &Path, format: AdapterFormat, adapter: &Adapter, dtype: DType) -> PathBuf {
    let path = match format {
        AdapterFormat::Peft => dir.join("peft"),
        _ => dir.join(format!("{format}.safetensors")),
    };
    let (config, factors) = (&adapter.config, &adapter.factors);
    write_as(format, &path, config, factors, &header(), dtype).unwrap();
    path
}

/// A file of tensors, as another program writes it.
pub(crate) fn save(path: &Path, tensors: &[(&str, TensorData)], entries: &[(&str, &str)]) {
    let tensors = tensors
        .iter()
        .map(|(name, data)| ((*name).to_owned(), data.clone()));
    let entries = entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let source = MemorySource::new("test", tensors.collect());
    save_safetensors(path, &source, &entries.collect()).unwrap();
}

pub(crate) fn matrix(rows: usize, columns: usize, value: f32) -> TensorData {
    TensorData::new(vec![value; rows * columns], [rows, columns])
}

pub(crate) fn number(value: f32) -> TensorData {
    TensorData::new(vec![value], Vec::<usize>::new())
}

#[track_caller]
pub(crate) fn refused(path: &Path, modules: Option<&[LinearInfo]>, parts: &[&str]) {
    let fault = read_any(path, modules).unwrap_err().to_string();
    for part in parts.iter().chain(&[path.to_str().unwrap()]) {
        assert!(fault.contains(part), "`{part}` is not named: {fault}");
    }
    assert!(!fault.contains('\n') && fault.len() < 1000, "{fault}");
}
