//! Adapters on stacks of experts, merged into files of either layout, made on matrices of either.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{DType, Device, TensorData};
use vtb_lora::{
    AdapterFile, AdapterReport, Factors, LoraConfig, LoraError, MergedSource, ModuleFilter,
    NameLayout, read_adapter, write_adapter,
};
use vtb_nn::checkpoint::{MemorySource, TensorSource};

const EXPERTS: usize = 3;
/// Inputs and outputs of the experts of each stack, and the rank and alpha of its factors.
const STACKS: [(&str, [usize; 2], usize, f64); 2] = [
    ("gate_up_proj", [4, 10], 2, 3.0),
    ("down_proj", [5, 4], 1, 2.5),
];
const MODULE: &str = "model.language_model.layers.0.mlp.experts";

fn wave(shape: &[usize], seed: f32) -> TensorData {
    let count = shape.iter().product::<usize>();
    let values = (0..count).map(|i| ((i as f32 + seed) * 0.61).sin() * 0.3);
    TensorData::new(values.collect::<Vec<f32>>(), shape.to_vec())
}

/// Factors over `from` and `to`: expert `e` in rows `e·r..` of A and columns `e, E+e, ..` of B.
fn pair(rank: usize, from: usize, to: usize) -> Factors {
    Factors {
        a: wave(&[EXPERTS * rank, from], 0.5),
        b: wave(&[to, rank * EXPERTS], 7.5),
    }
}

fn config() -> LoraConfig {
    LoraConfig {
        r: 2,
        alpha: 3.0,
        targets: ModuleFilter::names(["q"]),
        target_parameters: STACKS
            .map(|(name, ..)| format!("mlp.experts.{name}"))
            .into(),
        rank_pattern: vec![("mlp.experts.down_proj".into(), 1)],
        alpha_pattern: vec![("mlp.experts.down_proj".into(), 2.5)],
        ..LoraConfig::default()
    }
}

/// An adapter of both stacks. With `exchanged`, as peft makes it on matrices `[in, out]` that it takes for
/// `[out, in]`: the sides of its factors change places.
fn save(dir: &Path, exchanged: bool) -> AdapterFile {
    let mut factors = BTreeMap::new();
    let wrappers = [format!("{MODULE}.base_layer"), MODULE.to_owned()];
    for (wrapper, (_, [inputs, outputs], rank, _)) in wrappers.into_iter().zip(STACKS) {
        let found = match exchanged {
            false => pair(rank, inputs, outputs),
            true => pair(rank, outputs, inputs),
        };
        factors.insert(wrapper, found);
    }
    write_adapter(dir, &config(), "org/base", &factors).expect("writes");
    AdapterFile::open(dir).expect("opens")
}

/// Stacks as `[expert, in, out]`, or `[expert, out, in]`.
fn base(published: bool) -> MemorySource {
    let mut tensors = BTreeMap::new();
    for (name, [inputs, outputs], ..) in STACKS {
        let shape = match published {
            true => [EXPERTS, inputs, outputs],
            false => [EXPERTS, outputs, inputs],
        };
        tensors.insert(format!("{MODULE}.{name}"), wave(&shape, 1.0));
    }
    // A stack that nobody adapts.
    tensors.insert(
        "model.language_model.layers.1.mlp.experts.other".into(),
        wave(&[EXPERTS, 2, 2], 2.0),
    );
    MemorySource::new("base", tensors)
}

/// `scale·B_e·A_e` at `[to][from]` of expert `e`, in f64.
fn delta(pair: &Factors, rank: usize, scale: f64, e: usize, to: usize, from: usize) -> f64 {
    let [a, b] = [&pair.a, &pair.b].map(|f| f.iter::<f64>().collect::<Vec<_>>());
    let (width, columns) = (pair.a.shape()[1], pair.b.shape()[1]);
    let term = |k: usize| b[to * columns + k * EXPERTS + e] * a[(e * rank + k) * width + from];
    scale * (0..rank).map(term).sum::<f64>()
}

#[test]
fn either_layout_gains_the_deltas_of_either_adapter() {
    let device = Device::flex();
    for (published, exchanged) in [(true, false), (false, false), (true, true), (false, true)] {
        let dir = tempfile::tempdir().expect("dir");
        let adapter = save(dir.path(), exchanged);
        let base = base(published);
        for (dtype, unit) in [(None, 0.0), (Some(DType::BF16), 2f64.powi(-8))] {
            let merged = MergedSource::new(&base, &adapter, dtype, &device).expect("fits");
            assert_eq!(merged.changed().count(), 2);
            for (stack, [inputs, outputs], rank, alpha) in STACKS {
                let name = format!("{MODULE}.{stack}");
                let found = merged.load(&name).expect("merges");
                let before = base.load(&name).expect("there");
                assert_eq!(found.shape(), before.shape());
                let columns = before.shape()[2];
                let scale = alpha / rank as f64;
                let values = found.iter::<f64>().zip(before.iter::<f64>());
                for (i, (found, before)) in values.enumerate() {
                    let (e, row, column) = (
                        i / (inputs * outputs),
                        i / columns % rows_of(published, inputs, outputs),
                        i % columns,
                    );
                    let (input, output) = match published {
                        true => (row, column),
                        false => (column, row),
                    };
                    let wanted = before
                        + match exchanged {
                            false => {
                                delta(&pair(rank, inputs, outputs), rank, scale, e, output, input)
                            }
                            true => {
                                delta(&pair(rank, outputs, inputs), rank, scale, e, input, output)
                            }
                        };
                    let error = (found - wanted).abs();
                    assert!(
                        error <= unit * wanted.abs() + 1e-6,
                        "{name} {published} {exchanged} {e} {row} {column}: {found} {wanted}"
                    );
                }
            }
            let other = "model.language_model.layers.1.mlp.experts.other";
            let kept = base.load_as(other, merged.info(other).expect("there").dtype);
            assert_eq!(merged.load(other).expect("there"), kept.expect("casts"));
        }
    }
}

fn rows_of(published: bool, inputs: usize, outputs: usize) -> usize {
    match published {
        true => inputs,
        false => outputs,
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let dir = tempfile::tempdir().expect("dir");
    let adapter = save(dir.path(), false);
    let device = Device::flex();
    let fail = |shapes: &[(&str, [usize; 3])]| {
        let tensors = shapes
            .iter()
            .map(|(name, shape)| (format!("{MODULE}.{name}"), wave(shape, 0.0)));
        let base = MemorySource::new("base", tensors.collect());
        match MergedSource::new(&base, &adapter, None, &device) {
            Ok(_) => panic!("fits"),
            Err(error) => error.to_string(),
        }
    };
    let gate_up = ("gate_up_proj", [3, 4, 10]);
    let text = fail(&[]);
    assert!(
        text.contains(MODULE) && text.contains("does not have"),
        "{text}"
    );
    // One stack is there, the other not; other sizes; another number of experts.
    let text = fail(&[gate_up]);
    assert!(text.contains("gate_up_proj` [3, 4, 10]"), "{text}");
    let text = fail(&[gate_up, ("down_proj", [3, 4, 6])]);
    assert!(
        text.contains("fit none of") && text.contains("down_proj` [3, 4, 6]"),
        "{text}"
    );
    let text = fail(&[("gate_up_proj", [2, 4, 10]), ("down_proj", [3, 4, 5])]);
    assert!(
        text.contains("[6, 4]") && text.contains("[10, 6]"),
        "{text}"
    );
}

#[test]
fn square_matrices_are_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let settings = LoraConfig {
        target_parameters: vec!["experts.down_proj".into()],
        rank_pattern: Vec::new(),
        alpha_pattern: Vec::new(),
        ..config()
    };
    let factors = BTreeMap::from([(MODULE.to_owned(), pair(2, 4, 4))]);
    write_adapter(dir.path(), &settings, "org/base", &factors).expect("writes");
    let adapter = AdapterFile::open(dir.path()).expect("opens");
    let tensors = BTreeMap::from([(format!("{MODULE}.down_proj"), wave(&[EXPERTS, 4, 4], 1.0))]);
    let base = MemorySource::new("base", tensors);
    let Err(error) = MergedSource::new(&base, &adapter, None, &Device::flex()) else {
        panic!("merged");
    };
    let text = error.to_string();
    assert!(
        text.contains("down_proj`, whose matrices are square") && text.contains("merge_adapter"),
        "{text}"
    );
}

#[test]
fn a_report_has_the_stacks_by_name_with_their_ranks_and_norms() {
    let dir = tempfile::tempdir().expect("dir");
    let report = AdapterReport::new(&save(dir.path(), false), &Device::flex()).expect("reads");
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    assert_eq!(report.groups.len(), 2);
    for (name, [inputs, outputs], rank, alpha) in STACKS {
        let group = report.groups.iter().find(|g| g.module == name);
        let group = group.expect("by its name");
        let scale = alpha / rank as f64;
        assert_eq!((group.rank, group.alpha, group.scale), (rank, alpha, scale));
        assert_eq!(group.largest, format!("{MODULE}.{name}"));
        let factors = pair(rank, inputs, outputs);
        let mut square = 0.0;
        for e in 0..EXPERTS {
            for to in 0..outputs {
                let row = (0..inputs).map(|from| delta(&factors, rank, scale, e, to, from));
                square += row.map(|x| x * x).sum::<f64>();
            }
        }
        let wanted = square.sqrt();
        assert!((group.norm_max - wanted).abs() < 1e-5 * wanted, "{group:?}");
    }
    // Another rank in the settings than in the factors.
    let path = dir.path().join("adapter_config.json");
    let text = std::fs::read_to_string(&path).expect("reads");
    let broken = text.replace(
        "\"mlp.experts.down_proj\": 1",
        "\"mlp.experts.down_proj\": 2",
    );
    assert_ne!(text, broken);
    std::fs::write(&path, broken).expect("writes");
    let adapter = AdapterFile::open(dir.path()).expect("opens");
    let report = AdapterReport::new(&adapter, &Device::flex()).expect("reads");
    assert!(
        report.faults.len() == 1 && report.faults[0].contains("3 rows, no multiple of the rank 2"),
        "{:?}",
        report.faults
    );
    assert!(MergedSource::new(&base(true), &adapter, None, &Device::flex()).is_err());
}

#[test]
fn other_names_and_scales_are_refused() {
    let dir = tempfile::tempdir().expect("dir");
    drop(save(dir.path(), false));
    let adapter = || read_adapter(dir.path()).expect("reads");
    let kept = adapter()
        .renamed(NameLayout::Current, dir.path())
        .expect("keeps its names");
    assert_eq!(kept.config, adapter().config);
    let refused = [
        adapter().renamed(NameLayout::Legacy, dir.path()),
        adapter().folded(dir.path()),
    ];
    for result in refused {
        let Err(error @ LoraError::Adapter { .. }) = result else {
            panic!("converted");
        };
        let text = error.to_string();
        assert!(
            text.contains(MODULE) && text.contains("adapter merge"),
            "{text}"
        );
    }
}
