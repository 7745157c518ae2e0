//! Adapter directories: one made by peft, our own, and damaged ones.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use vtb_lora::{Factors, LoraConfig, LoraError, ModuleFilter, read_adapter, write_adapter};
use vtb_nn::NnError;
use vtb_nn::checkpoint::{Checkpoint, MemorySource, TensorSource, save_safetensors};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn config() -> LoraConfig {
    LoraConfig {
        r: 2,
        alpha: 4.0,
        targets: ModuleFilter::names(["q", "v"]),
        rank_pattern: vec![("1.v".into(), 1)],
        ..LoraConfig::default()
    }
}

fn factors() -> BTreeMap<String, Factors> {
    let pair = |r: usize, seed: f32| Factors {
        a: TensorData::new((0..r * 4).map(|i| i as f32 + seed).collect(), [r, 4]),
        b: TensorData::new((0..3 * r).map(|i| i as f32 - seed).collect(), [3, r]),
    };
    BTreeMap::from([
        ("layers.0.q".into(), pair(2, 0.5)),
        ("layers.1.q".into(), pair(2, 1.5)),
        ("layers.1.v".into(), pair(1, 2.5)),
    ])
}

fn written() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("dir");
    write_adapter(dir.path(), &config(), "base", &factors()).expect("writes");
    dir
}

/// Rewrites the weights of an adapter directory.
fn edit(dir: &Path, change: impl FnOnce(&mut BTreeMap<String, TensorData>)) {
    let path = dir.join("adapter_model.safetensors");
    let source = Checkpoint::open(&path).expect("opens");
    let mut tensors: BTreeMap<String, TensorData> = source
        .names()
        .into_iter()
        .map(|n| (n.clone(), source.load(&n).expect("loads")))
        .collect();
    change(&mut tensors);
    save_safetensors(&path, &MemorySource::new("edit", tensors), &BTreeMap::new()).expect("saves");
}

#[test]
fn an_adapter_of_peft_is_read_with_its_values_and_ranks() {
    let adapter = read_adapter(fixture().join("adapter")).expect("reads");
    let sums = fs::read(fixture().join("adapter_sums.json")).expect("fixture");
    let sums: BTreeMap<String, [f64; 2]> = serde_json::from_slice(&sums).expect("fixture");
    assert_eq!(
        adapter.factors.keys().collect::<Vec<_>>(),
        sums.keys().collect::<Vec<_>>()
    );
    for (path, pair) in &adapter.factors {
        for (data, expected) in [&pair.a, &pair.b].into_iter().zip(sums[path]) {
            let sum: f64 = data
                .as_slice::<f32>()
                .expect("f32")
                .iter()
                .map(|x| f64::from(*x))
                .sum();
            assert!((sum - expected).abs() < 1e-9, "{path}: {sum} {expected}");
        }
    }
    let rules = adapter.config.rules("fixture").expect("valid");
    let path = "model.language_model.layers.0.mlp.up_proj";
    assert_eq!(
        (
            rules.rank(path).expect("rank"),
            rules.scaling(path).expect("scaling")
        ),
        (3, 2.0)
    );
    assert_eq!((adapter.config.dropout, adapter.base_model), (0.1, None));
}

#[test]
fn what_is_written_comes_back_and_the_bytes_repeat() {
    let dir = written();
    let adapter = read_adapter(dir.path()).expect("reads");
    assert_eq!((adapter.config, adapter.factors), (config(), factors()));
    assert_eq!(adapter.base_model.as_deref(), Some("base"));
    let weights = |dir: &Path| fs::read(dir.join("adapter_model.safetensors")).expect("reads");
    assert_eq!(weights(dir.path()), weights(written().path()));
    let names = Checkpoint::open(dir.path().join("adapter_model.safetensors"))
        .expect("opens")
        .names();
    assert_eq!(names[0], "base_model.model.layers.0.q.lora_A.weight");
    assert_eq!(names.len(), 6);
}

#[test]
fn all_linear_is_written_as_the_modules_it_meant() {
    let dir = tempfile::tempdir().expect("dir");
    let config = LoraConfig {
        targets: ModuleFilter::all_linear(),
        ..config()
    };
    write_adapter(dir.path(), &config, "base", &factors()).expect("writes");
    let adapter = read_adapter(dir.path()).expect("reads");
    assert_eq!(
        adapter.config.targets,
        ModuleFilter::names(factors().into_keys())
    );
}

#[test]
fn other_types_and_adapter_names_are_accepted() {
    let dir = written();
    edit(dir.path(), |tensors| {
        *tensors = std::mem::take(tensors)
            .into_iter()
            .map(|(name, data)| {
                let name = name.replace(".weight", ".default.weight");
                (name, data.try_cast(DType::BF16).expect("cast"))
            })
            .collect();
    });
    assert_eq!(read_adapter(dir.path()).expect("reads").factors, factors());
}

#[test]
fn incomplete_and_foreign_tensors_are_named() {
    let a = "base_model.model.layers.0.q.lora_A.weight";
    let b = "base_model.model.layers.0.q.lora_B.weight";
    let fail = |change: &dyn Fn(&mut BTreeMap<String, TensorData>)| {
        let dir = written();
        edit(dir.path(), change);
        read_adapter(dir.path()).expect_err("refused")
    };
    let missing = fail(&|t| drop(t.remove(b)));
    assert!(
        matches!(&missing, LoraError::Nn(NnError::Missing { name, .. }) if name == b),
        "{missing}"
    );
    let missing = fail(&|t| drop(t.remove(a)));
    assert!(
        matches!(&missing, LoraError::Nn(NnError::Missing { name, .. }) if name == a),
        "{missing}"
    );
    for (name, shape) in [
        (a, vec![3, 4]),
        (b, vec![3, 1]),
        (a, vec![8]),
        (b, vec![3, 2, 1]),
    ] {
        let count = shape.iter().product();
        let wrong = fail(&|t| {
            t.insert(
                name.into(),
                TensorData::new(vec![0f32; count], shape.clone()),
            );
        });
        assert!(
            matches!(&wrong, LoraError::Nn(NnError::Shape { name: n, .. }) if n == name),
            "{wrong}"
        );
    }
    let zero = || TensorData::new(vec![0f32; 8], [2, 4]);
    let foreign = fail(&|t| drop(t.insert("base_model.model.lm_head.weight".into(), zero())));
    assert!(
        foreign
            .to_string()
            .contains("`base_model.model.lm_head.weight`"),
        "{foreign}"
    );
    let twice = fail(&|t| drop(t.insert(a.replace(".weight", ".default.weight"), zero())));
    assert!(twice.to_string().contains("same factor"), "{twice}");
    let empty = fail(&|t| t.clear());
    assert!(empty.to_string().contains("no tensors"), "{empty}");
    let ints = fail(&|t| drop(t.insert(a.into(), TensorData::new(vec![0i64; 8], [2, 4]))));
    assert!(ints.to_string().contains("I64"), "{ints}");
}

#[test]
fn absent_truncated_and_pickled_files_are_errors() {
    let dir = written();
    let weights = dir.path().join("adapter_model.safetensors");
    let bytes = fs::read(&weights).expect("reads");
    for length in [0, 7, 100, bytes.len() - 1] {
        fs::write(&weights, &bytes[..length]).expect("write");
        let error = read_adapter(dir.path()).expect_err("truncated").to_string();
        assert!(
            error.contains("adapter_model.safetensors: is truncated"),
            "{error}"
        );
    }
    fs::remove_file(&weights).expect("remove");
    let error = read_adapter(dir.path()).expect_err("absent").to_string();
    assert!(error.contains("adapter_model.safetensors"), "{error}");
    fs::write(dir.path().join("adapter_model.bin"), "x").expect("write");
    let error = read_adapter(dir.path()).expect_err("pickled").to_string();
    assert!(error.contains("pickled"), "{error}");
    fs::remove_file(dir.path().join("adapter_config.json")).expect("remove");
    let error = read_adapter(dir.path()).expect_err("absent").to_string();
    assert!(error.contains("adapter_config.json"), "{error}");
}

#[test]
fn factors_that_contradict_the_settings_are_not_written() {
    let dir = tempfile::tempdir().expect("dir");
    let target = dir.path().join("adapter");
    let other = LoraConfig { r: 3, ..config() };
    let error = write_adapter(&target, &other, "base", &factors()).expect_err("rank");
    assert!(
        matches!(error, LoraError::Nn(NnError::Shape { .. })),
        "{error}"
    );
    assert!(write_adapter(&target, &config(), "base", &BTreeMap::new()).is_err());
    assert!(!target.exists(), "nothing half-written");
}
