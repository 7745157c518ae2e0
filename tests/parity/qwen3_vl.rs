//! Our Qwen3-VL against `transformers` and `peft`, on tiny random models (`tests/fixtures`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod support;

use std::path::PathBuf;

use burn::tensor::{DType, TensorData};
use support::{
    Bounds, ROWS, Reference, adapter_is_theirs, close, close_relative, cosine,
    greedy_alone_and_in_a_batch, packed_is_theirs, packed_is_unpacked, pass, positions_are_theirs,
    states_and_logits, values,
};
use vtb_lora::read_adapter;
use vtb_models_vlm::qwen3_vl::{BatchPlan, FullTraining, Qwen3Vl};
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{AdapterState, CausalLm, LmRow, ScoreOptions};
use vtb_nn::trainable::Trainable;

const MODELS: [&str; 3] = ["tied", "untied", "hf4"];
const BOUNDS: Bounds = Bounds {
    hidden: 1e-5,
    last: 2e-5,
    logits: 1e-4,
};

fn fixtures() -> PathBuf {
    support::fixtures().join("qwen3_vl")
}

fn load(name: &str) -> (Qwen3Vl, Reference) {
    let dir = fixtures().join(name);
    let model = Qwen3Vl::load(&dir, &cpu_device(), DType::F32).unwrap();
    (model, Reference::open(dir.join("cases.safetensors")))
}

#[test]
fn vision_tower() {
    for name in MODELS {
        let (model, reference) = load(name);
        for row_name in ["image1", "image2"] {
            let row = reference.row(row_name, &model);
            let plan = BatchPlan::new(&[row], model.config()).unwrap();
            let trace = model.trace_vision(&plan).unwrap();
            let key = |k: &str| reference.floats(&format!("{row_name}.vision.{k}"));
            let stem: Vec<f32> = key("patch_embed")
                .iter()
                .zip(key("pos_embed"))
                .map(|(a, b)| a + b)
                .collect();
            close("stem", &values(&trace.stem), &stem, 1e-5);
            for (i, block) in trace.blocks.iter().enumerate() {
                close(
                    &format!("{name} block {i}"),
                    &values(block),
                    &key(&format!("block.{i}")),
                    1e-5,
                );
            }
            for (j, features) in trace.deepstack.iter().enumerate() {
                let what = format!("{name} deepstack {j}");
                close(
                    &what,
                    &values(features),
                    &key(&format!("deepstack.{j}")),
                    1e-5,
                );
            }
            close(
                &format!("{name} merged"),
                &values(&trace.merged),
                &key("merged"),
                1e-5,
            );
        }
    }
}

#[test]
fn decoder_states_logits_and_positions() {
    for name in MODELS {
        let (model, reference) = load(name);
        for row_name in ROWS {
            let row = reference.row(row_name, &model);
            positions_are_theirs(name, &model, &reference, row_name, &row);
            states_and_logits(name, &model, &reference, row_name, &row, BOUNDS);
        }
    }
}

#[test]
fn greedy_ids_alone_and_in_a_batch() {
    for name in MODELS {
        let (model, reference) = load(name);
        let rows = reference.rows(&model);
        greedy_alone_and_in_a_batch(name, &model, &reference, &ROWS, &rows, Some(2e-5));
    }
}

#[test]
fn adapters_logits_gradients_and_one_step() {
    for name in MODELS {
        for adapter in ["lora_list", "lora_regex"] {
            let (mut model, reference) = load(name);
            let dir = fixtures().join(name);
            let theirs = Reference::open(dir.join(format!("{adapter}.safetensors")));
            let (rows, what) = (reference.rows(&model), format!("{name} {adapter}"));
            let dir = dir.join(adapter);
            adapter_is_theirs(
                &what,
                &mut model,
                &dir,
                &theirs,
                &ROWS,
                &rows,
                str::to_owned,
            );
        }
    }
}

/// The rows of a model in several orders and repeated, by name.
const PACKS: [&[&str]; 3] = [
    &["image2", "text", "image1"],
    &["image1", "image1", "text", "image2"],
    &["text", "image2", "text"],
];

#[test]
fn packed_rows_have_the_states_and_logits_of_each_alone() {
    for name in MODELS {
        let (model, reference) = load(name);
        for names in PACKS {
            let rows: Vec<LmRow> = names.iter().map(|n| reference.row(n, &model)).collect();
            packed_is_theirs(name, &model, &reference, names, &rows, BOUNDS);
        }
    }
}

#[test]
fn packed_rows_have_the_loss_and_gradients_of_each_alone() {
    for name in MODELS {
        let (mut model, reference) = load(name);
        let dir = fixtures().join(name).join("lora_regex");
        model
            .load_adapter(read_adapter(&dir).unwrap(), &dir)
            .unwrap();
        for names in PACKS {
            let rows: Vec<LmRow> = names.iter().map(|n| reference.row(n, &model)).collect();
            packed_is_unpacked(&model, &rows);
        }
    }
    let (mut model, reference) = load("tied");
    model.train_full(FullTraining::EVERYTHING);
    packed_is_unpacked(&model, &reference.rows(&model));
}

#[test]
fn gradients_of_every_parameter() {
    let (mut model, reference) = load("tied");
    model.train_full(FullTraining::EVERYTHING);
    let theirs = Reference::open(fixtures().join("tied/full_gradients.safetensors"));
    let (loss, gradients) = pass(&model, &reference.rows(&model), true);
    assert!((loss - f64::from(theirs.floats("loss")[0])).abs() < 1e-5 * loss);
    assert_eq!(gradients.len(), model.trainable().len());
    for (path, gradient) in &gradients {
        close_relative(
            path,
            &values(gradient),
            &theirs.floats(&format!("grad.{path}")),
            1e-4,
        );
    }
}

#[test]
fn bf16_agrees_with_the_reference_in_bf16() {
    let dir = fixtures().join("untied");
    let model = Qwen3Vl::load(&dir, &cpu_device(), DType::BF16).unwrap();
    let reference = Reference::open(dir.join("cases.safetensors"));
    let theirs = Reference::open(dir.join("bf16.safetensors"));
    for name in ROWS {
        let logits = model.logits(&[reference.row(name, &model)]).unwrap();
        let cosine = cosine(&values(&logits), &theirs.floats(&format!("{name}.logits")));
        assert!(cosine > 0.999, "{name}: cosine {cosine}");
    }
    let mut adapted = Qwen3Vl::load(&dir, &cpu_device(), DType::BF16).unwrap();
    adapted
        .load_adapter(read_adapter(dir.join("lora_list")).unwrap(), &dir)
        .unwrap();
    let (loss, gradients) = pass(&adapted, &reference.rows(&adapted), true);
    let exact = f64::from(Reference::open(dir.join("lora_list.safetensors")).floats("loss")[0]);
    assert!(
        (loss - exact).abs() < 0.02 * exact,
        "bf16 loss {loss}, f32 {exact}"
    );
    assert!(gradients.values().all(|g| g.dtype() == DType::F32));
}

#[test]
fn adapter_off_is_the_base_model() {
    let (mut model, reference) = load("untied");
    let rows = reference.rows(&model);
    let base = model.token_scores(&rows, &ScoreOptions::default()).unwrap();
    let dir = fixtures().join("untied/lora_list");
    model
        .load_adapter(read_adapter(&dir).unwrap(), &dir)
        .unwrap();
    let on = model.token_scores(&rows, &ScoreOptions::default()).unwrap();
    let off = ScoreOptions {
        adapter: AdapterState::Off,
        ..Default::default()
    };
    let off = model.token_scores(&rows, &off).unwrap();
    assert_eq!(base, off);
    assert_ne!(base, on);
}

#[test]
fn a_saved_model_is_the_same_model() {
    let (model, reference) = load("untied");
    let dir = tempfile::tempdir().unwrap();
    model.save(dir.path()).unwrap();
    let again = Qwen3Vl::load(dir.path(), &cpu_device(), DType::F32).unwrap();
    let rows = reference.rows(&model);
    let logits = |m: &Qwen3Vl| -> TensorData { m.logits(&rows).unwrap().into_data() };
    assert_eq!(logits(&model), logits(&again));
}
