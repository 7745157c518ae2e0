//! Merged checkpoints and reports on adapters, made from files.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{DType, Device, TensorData};
use vtb_lora::{
    AdapterFile, AdapterReport, Factors, LoraConfig, MergedSource, ModuleFilter, write_adapter,
};
use vtb_nn::checkpoint::{Checkpoint, MemorySource, TensorSource, save_safetensors};

fn wave(shape: [usize; 2], seed: f32) -> TensorData {
    let values = (0..shape[0] * shape[1]).map(|i| ((i as f32 + seed) * 0.61).sin() * 0.3);
    TensorData::new(values.collect::<Vec<f32>>(), shape)
}

fn pair(r: usize, inputs: usize, outputs: usize) -> Factors {
    Factors {
        a: wave([r, inputs], 0.5),
        b: wave([outputs, r], 7.5),
    }
}

fn save(dir: &Path) -> AdapterFile {
    let config = LoraConfig {
        r: 2,
        alpha: 3.0,
        targets: ModuleFilter::names(["q", "qkv"]),
        rank_pattern: vec![("qkv".into(), 1)],
        ..LoraConfig::default()
    };
    let factors = BTreeMap::from([
        ("model.language_model.layers.0.q".into(), pair(2, 5, 4)),
        ("model.visual.blocks.0.qkv".into(), pair(1, 3, 6)),
    ]);
    write_adapter(dir, &config, "org/base", &factors).expect("writes");
    AdapterFile::open(dir).expect("opens")
}

fn base() -> MemorySource {
    let tensors = BTreeMap::from([
        ("model.layers.0.q.weight".to_owned(), wave([4, 5], 1.0)),
        ("visual.blocks.0.qkv.weight".to_owned(), wave([6, 3], 2.0)),
        ("model.embed_tokens.weight".to_owned(), wave([9, 5], 3.0)),
        ("counts".to_owned(), TensorData::new(vec![1i64, 2], [2])),
    ]);
    MemorySource::new("base", tensors)
}

fn values(data: &TensorData) -> Vec<f64> {
    data.iter::<f64>().collect()
}

/// `w + scale·B·A` in f64.
fn expected(w: &TensorData, pair: &Factors, scale: f64) -> Vec<f64> {
    let [w, a, b] = [w, &pair.a, &pair.b].map(values);
    let (r, inputs) = (pair.a.shape()[0], pair.a.shape()[1]);
    let delta = |i: usize| {
        (0..r)
            .map(|k| b[i / inputs * r + k] * a[k * inputs + i % inputs])
            .sum::<f64>()
    };
    (0..w.len()).map(|i| w[i] + scale * delta(i)).collect()
}

#[test]
fn weights_gain_their_deltas_and_are_rounded_once() {
    let dir = tempfile::tempdir().expect("dir");
    let adapter = save(dir.path());
    let (base, device) = (base(), Device::flex());
    // Names of an older release find their layers.
    let q = ("model.layers.0.q.weight", pair(2, 5, 4), 1.5);
    let qkv = ("visual.blocks.0.qkv.weight", pair(1, 3, 6), 3.0);
    for (dtype, unit) in [(None, 0.0), (Some(DType::BF16), 2f64.powi(-8))] {
        let merged = MergedSource::new(&base, &adapter, dtype, &device).expect("fits");
        assert_eq!(merged.changed().collect::<Vec<_>>(), [q.0, qkv.0]);
        for (name, pair, scale) in [&q, &qkv] {
            let info = merged.info(name).expect("there");
            assert_eq!(info.dtype, dtype.unwrap_or(DType::F32));
            let found = merged.load(name).expect("merges");
            assert_eq!(
                (found.dtype(), found.shape().to_vec()),
                (info.dtype, info.shape)
            );
            let wanted = expected(&base.load(name).expect("there"), pair, *scale);
            for (found, wanted) in values(&found).iter().zip(wanted) {
                let error = (found - wanted).abs();
                assert!(
                    error <= unit * wanted.abs() + 1e-6,
                    "{name}: {found} {wanted}"
                );
            }
        }
        // The rest is what it was, integers in their own type.
        let table = merged.load("model.embed_tokens.weight").expect("there");
        let cast = base.load_as("model.embed_tokens.weight", table.dtype());
        assert_eq!(table, cast.expect("floats"));
        assert_eq!(merged.load("counts").expect("there").dtype(), DType::I64);
        assert_eq!(merged.names(), base.names());
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let dir = tempfile::tempdir().expect("dir");
    let adapter = save(dir.path());
    let device = Device::flex();
    let fail = |tensors: &[(&str, [usize; 2])]| {
        let tensors = tensors
            .iter()
            .map(|(name, shape)| ((*name).to_owned(), wave(*shape, 0.0)));
        let base = MemorySource::new("base", tensors.collect());
        let Err(error) = MergedSource::new(&base, &adapter, None, &device) else {
            panic!("fits");
        };
        error.to_string()
    };
    let q = ("model.layers.0.q.weight", [4, 5]);
    assert!(fail(&[q]).contains("`model.visual.blocks.0.qkv`"));
    let error = fail(&[q, ("visual.blocks.0.qkv.weight", [6, 4])]);
    assert!(
        error.contains("[1, 3]") && error.contains("[1, 4]"),
        "{error}"
    );
}

#[test]
fn numbers_beyond_a_type_are_no_merge() {
    let dir = tempfile::tempdir().expect("dir");
    let adapter = save(dir.path());
    let mut tensors = BTreeMap::new();
    for name in base().names() {
        tensors.insert(name.clone(), base().load(&name).expect("there"));
    }
    let large = TensorData::new(vec![70_000.0f32; 20], [4, 5]);
    tensors.insert("model.layers.0.q.weight".into(), large);
    let base = MemorySource::new("base", tensors);
    let device = Device::flex();
    let merged = MergedSource::new(&base, &adapter, Some(DType::F16), &device).expect("fits");
    let error = merged
        .load("model.layers.0.q.weight")
        .expect_err("too large");
    assert!(
        error.to_string().contains("`model.layers.0.q.weight`"),
        "{error}"
    );
    let wide = MergedSource::new(&base, &adapter, Some(DType::BF16), &device).expect("fits");
    wide.load("model.layers.0.q.weight").expect("fits");
}

#[test]
fn a_report_tells_groups_and_norms() {
    let dir = tempfile::tempdir().expect("dir");
    let report = AdapterReport::new(&save(dir.path()), &Device::flex()).expect("reads");
    assert_eq!((report.layers, report.parameters), (2, 18 + 9));
    assert_eq!((report.names, report.faults.len()), ("peft", 0));
    let of = |part: &str| {
        report
            .groups
            .iter()
            .find(|g| g.part == part)
            .expect("group")
    };
    let zero = TensorData::new(vec![0f32; 20], [4, 5]);
    let delta = expected(&zero, &pair(2, 5, 4), 1.5);
    let wanted = delta.iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!((of("decoder").norm_max - wanted).abs() < 1e-5 * wanted);
    assert_eq!((of("vision").rank, of("vision").scale), (1, 3.0));
    assert_eq!(of("vision").dtype, "f32");
    let text = report.to_string();
    assert!(
        text.contains("org/base") && text.contains("qkv = 1"),
        "{text}"
    );
}

#[test]
fn every_fault_of_an_adapter_is_told_with_its_tensor() {
    let dir = tempfile::tempdir().expect("dir");
    drop(save(dir.path()));
    let file = dir.path().join("adapter_model.safetensors");
    let source = Checkpoint::open(&file).expect("opens");
    let mut tensors = BTreeMap::new();
    for name in source.names() {
        tensors.insert(name.clone(), source.load(&name).expect("there"));
    }
    let at = |end: &str| format!("base_model.model.{end}.weight");
    let mut broken = vec![0.5f32; 8];
    broken[5] = f32::NAN;
    broken[7] = f32::INFINITY;
    tensors.insert(
        at("model.language_model.layers.0.q.lora_B"),
        TensorData::new(broken, [4, 2]),
    );
    tensors.remove(&at("model.visual.blocks.0.qkv.lora_A"));
    tensors.insert(at("lm_head"), wave([2, 2], 0.0));
    tensors.insert(
        at("model.language_model.layers.1.q.lora_A"),
        wave([3, 5], 0.0),
    );
    tensors.insert(
        at("model.language_model.layers.1.q.lora_B"),
        wave([4, 3], 0.0),
    );
    let broken = MemorySource::new("broken", tensors);
    save_safetensors(&file, &broken, &BTreeMap::new()).expect("writes");
    let opened = AdapterFile::open(dir.path()).expect("opens");
    let report = AdapterReport::new(&opened, &Device::flex()).expect("reads");
    let faults = report.faults.join("\n");
    for part in [
        "layers.0.q.lora_B.weight` has 2 numbers that are not finite, the first, NaN, in row 2, column 1",
        "`base_model.model.model.visual.blocks.0.qkv.lora_A.weight` is missing",
        "`base_model.model.lm_head.weight` is no factor",
        "layers.1.q.lora_A.weight` in",
        "[3, 5]",
    ] {
        assert!(faults.contains(part), "{part}:\n{faults}");
    }
    assert_eq!(report.faults.len(), 4, "{faults}");
    assert!(MergedSource::new(&base(), &opened, None, &Device::flex()).is_err());
}
