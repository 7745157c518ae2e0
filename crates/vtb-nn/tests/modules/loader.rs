//! Fresh values, values of a checkpoint, and everything that does not fit.

use std::collections::BTreeMap;

use burn::tensor::{DType, TensorData, bf16};
use vtb_nn::NnError;
use vtb_nn::checkpoint::{Checkpoint, MemorySource, save_safetensors};
use vtb_nn::device::cpu_device;
use vtb_nn::loader::Loader;
use vtb_nn::params::visit_params;

use crate::support::{Stack, init, random, read};

fn named(stack: &Stack) -> BTreeMap<String, TensorData> {
    let mut all = BTreeMap::new();
    visit_params(stack, "model", |path, value, shape| {
        all.insert(path, TensorData::new(read(value), shape));
    });
    all
}

fn loads(tensors: BTreeMap<String, TensorData>, ignore: &str) -> Result<Stack, NnError> {
    let source = MemorySource::new("weights.safetensors", tensors);
    let loader = Loader::from_source(&source, &cpu_device(), DType::F32);
    let stack = Stack::load(loader.pp("model"));
    loader
        .finish(|name| !ignore.is_empty() && name.starts_with(ignore))
        .map(|()| stack)
}

#[test]
fn fresh_values_depend_on_the_rule_alone() {
    let (a, b) = (Stack::fresh(DType::F32), Stack::fresh(DType::F32));
    assert_eq!(named(&a), named(&b));
    let other = |name: &str, shape: &[usize]| init(&format!("{name}!"), shape);
    let c = Stack::load(Loader::fresh(&other, &cpu_device(), DType::F32));
    for (name, values) in named(&c) {
        assert_ne!(values, named(&a)[&name], "{name}");
    }
}

#[test]
fn fresh_values_are_rounded_to_the_asked_type() {
    let loader = Loader::fresh(&init, &cpu_device(), DType::BF16);
    let values = read(loader.pp("a").param::<2>("b", [3, 5]).val());
    let want: Vec<f32> = init("a.b", &[3, 5])
        .into_iter()
        .map(|x| bf16::from_f32(x).to_f32())
        .collect();
    assert_eq!(values, want);
    assert_eq!(loader.has("anything"), None);
    assert!(loader.finish(|_| false).is_ok());
}

#[test]
fn places_nest() {
    let loader = Loader::fresh(&init, &cpu_device(), DType::F32);
    assert_eq!((loader.prefix(), loader.path("x").as_str()), ("", "x"));
    let deep = loader.pp("model").pp("blocks").pp(3);
    assert_eq!(
        (deep.prefix(), deep.path("w").as_str()),
        ("model.blocks.3", "model.blocks.3.w")
    );
}

#[test]
fn a_checkpoint_comes_back_whole() {
    let tensors = named(&Stack::fresh(DType::F32));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let source = MemorySource::new("memory", tensors.clone());
    save_safetensors(&path, &source, &BTreeMap::new()).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let loader = Loader::from_source(&checkpoint, &cpu_device(), DType::F32);
    let model = loader.pp("model");
    assert_eq!(model.has("scale"), Some(true));
    assert_eq!(model.has("blocks.0.up.bias"), Some(false));
    let stack = Stack::load(model);
    loader.finish(|_| false).unwrap();
    assert_eq!(named(&stack), tensors);
}

#[test]
fn a_missing_tensor_is_named_with_its_file() {
    let mut tensors = named(&Stack::fresh(DType::F32));
    tensors.remove("model.blocks.1.up.bias");
    let error = loads(tensors, "").unwrap_err();
    assert!(matches!(error, NnError::Missing { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("model.blocks.1.up.bias"), "{message}");
    assert!(message.contains("weights.safetensors"), "{message}");
}

#[test]
fn a_misshapen_tensor_is_named_with_both_shapes() {
    let mut tensors = named(&Stack::fresh(DType::F32));
    // As many values, transposed: only the shape tells.
    let weight = TensorData::new(random(72, 3), [6, 12]);
    tensors.insert("model.blocks.0.up.weight".to_owned(), weight);
    let error = loads(tensors, "").unwrap_err();
    assert!(matches!(error, NnError::Shape { .. }), "{error:?}");
    let message = error.to_string();
    for part in ["model.blocks.0.up.weight", "[6, 12]", "[12, 6]"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn tensors_nobody_asked_for_are_reported_unless_ignored() {
    let mut tensors = named(&Stack::fresh(DType::F32));
    for i in 0..12 {
        tensors.insert(format!("extra.{i:02}"), TensorData::new(vec![1.0f32], [1]));
    }
    let message = loads(tensors.clone(), "").unwrap_err().to_string();
    for part in [
        "12 tensors",
        "extra.00",
        "extra.07",
        "4 more",
        "weights.safetensors",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("extra.08"), "too long a list: {message}");
    assert!(loads(tensors, "extra.").is_ok());
}

#[test]
fn every_fault_is_counted_and_listed() {
    let mut tensors = named(&Stack::fresh(DType::F32));
    tensors.remove("model.scale");
    tensors.insert(
        "model.blocks.2.norm".to_owned(),
        TensorData::new(vec![1.0f32; 7], [7]),
    );
    tensors.insert("stray".to_owned(), TensorData::new(vec![1.0f32], [1]));
    let message = loads(tensors, "").unwrap_err().to_string();
    for part in [
        "3 faults",
        "model.scale",
        "model.blocks.2.norm",
        "[7]",
        "stray",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains('\n'), "{message}");
}

#[test]
fn integers_are_not_weights() {
    let mut tensors = named(&Stack::fresh(DType::F32));
    tensors.insert("model.scale".to_owned(), TensorData::new(vec![1i64], [1]));
    let message = loads(tensors, "").unwrap_err().to_string();
    assert!(
        message.contains("model.scale") && message.contains("I64"),
        "{message}"
    );
}

#[test]
fn a_fault_reported_once_is_gone() {
    let source = MemorySource::new("empty", BTreeMap::new());
    let loader = Loader::from_source(&source, &cpu_device(), DType::F32);
    // A stand-in of the asked shape lets the building go on.
    assert_eq!(loader.param::<2>("w", [2, 3]).val().dims(), [2, 3]);
    assert!(loader.finish(|_| false).is_err());
    assert!(loader.finish(|_| false).is_ok());
}
