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
use support::{ROWS, Reference, close, close_relative, mean_loss, step, values};
use vtb_lora::read_adapter;
use vtb_models_vlm::qwen3_vl::{BatchPlan, FullTraining, Qwen3Vl};
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{BackwardOptions, CausalLm, LmRow, NamedTensors, SampleOptions, ScoreOptions};

const MODELS: [&str; 3] = ["tied", "untied", "hf4"];

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
            let plan = BatchPlan::new(std::slice::from_ref(&row), model.config()).unwrap();
            let expected = reference.ints(&format!("{row_name}.position_ids"));
            let length = row.ids.len();
            for (i, position) in plan.positions.iter().enumerate() {
                let theirs = [0, 1, 2].map(|axis| expected[axis * length + i] as i32);
                assert_eq!(*position, theirs, "{name} {row_name} token {i}");
            }
            let delta = reference.ints(&format!("{row_name}.rope_delta"))[0];
            assert_eq!(i64::from(plan.deltas[0]), delta);
            let states = model.hidden_states(std::slice::from_ref(&row)).unwrap();
            let (last, hidden) = states.split_last().unwrap();
            for (i, state) in hidden.iter().enumerate() {
                let theirs = reference.floats(&format!("{row_name}.text.hidden.{i}"));
                close(
                    &format!("{name} {row_name} hidden {i}"),
                    &values(state),
                    &theirs,
                    1e-5,
                );
            }
            let theirs = reference.floats(&format!("{row_name}.text.final"));
            close(
                &format!("{name} {row_name} final"),
                &values(last),
                &theirs,
                2e-5,
            );
            let logits = model.logits(std::slice::from_ref(&row)).unwrap();
            let theirs = reference.floats(&format!("{row_name}.logits"));
            close(
                &format!("{name} {row_name} logits"),
                &values(&logits),
                &theirs,
                1e-4,
            );
        }
    }
}

#[test]
fn greedy_ids_alone_and_in_a_batch() {
    for name in MODELS {
        let (model, reference) = load(name);
        let rows = reference.rows(&model);
        let options = SampleOptions {
            max_new_tokens: 16,
            temperature: 0.0,
            ..Default::default()
        };
        let batch = model.generate(&rows, &options, &[1, 2, 3]).unwrap();
        for ((row_name, row), together) in ROWS.iter().zip(&rows).zip(&batch) {
            let theirs: Vec<u32> = reference
                .ints(&format!("{row_name}.greedy.ids"))
                .into_iter()
                .map(|i| i as u32)
                .collect();
            let alone = model
                .generate(std::slice::from_ref(row), &options, &[9])
                .unwrap();
            assert_eq!(alone[0].ids, theirs, "{name} {row_name} alone");
            assert_eq!(together.ids, theirs, "{name} {row_name} in a batch");
            check_against_full_forward(&model, row, together);
        }
    }
}

/// The cached log-probabilities must be those of one forward pass over prompt and completion.
fn check_against_full_forward(model: &Qwen3Vl, row: &LmRow, completion: &vtb_nn::lm::Completion) {
    let mut full = row.clone();
    full.scored = vec![false; full.ids.len()];
    full.ids.extend(&completion.ids);
    full.scored.resize(full.ids.len(), true);
    let scores = model
        .token_scores(&[full], &ScoreOptions::default())
        .unwrap();
    close(
        "cached log-probabilities",
        &completion.logprobs,
        &scores[0].logp,
        2e-5,
    );
}

fn pass(model: &Qwen3Vl, rows: &[LmRow], recompute: bool) -> (f64, NamedTensors) {
    let mut loss = 0.0;
    let options = BackwardOptions {
        recompute,
        ..Default::default()
    };
    let gradients = model
        .backward(rows, &options, &mut mean_loss(&mut loss))
        .unwrap();
    (loss, gradients)
}

#[test]
fn adapters_logits_gradients_and_one_step() {
    for name in MODELS {
        for adapter in ["lora_list", "lora_regex"] {
            let (mut model, reference) = load(name);
            let dir = fixtures().join(name).join(adapter);
            let base = model.parameters();
            model
                .load_adapter(read_adapter(&dir).unwrap(), &dir)
                .unwrap();
            assert!(model.parameters() > base);
            let theirs =
                Reference::open(fixtures().join(name).join(format!("{adapter}.safetensors")));
            let rows = reference.rows(&model);
            for (row_name, row) in ROWS.iter().zip(&rows) {
                let logits = model.logits(std::slice::from_ref(row)).unwrap();
                let expected = theirs.floats(&format!("logits.{row_name}"));
                close(
                    &format!("{name} {adapter} {row_name}"),
                    &values(&logits),
                    &expected,
                    1e-4,
                );
            }
            let (loss, gradients) = pass(&model, &rows, true);
            let expected = f64::from(theirs.floats("loss")[0]);
            assert!(
                (loss - expected).abs() < 1e-5 * expected,
                "loss {loss}, theirs {expected}"
            );
            let (_, kept) = pass(&model, &rows, false);
            for (path, gradient) in &gradients {
                let expected = theirs.floats(&format!("grad.base_model.model.{path}"));
                close_relative(path, &values(gradient), &expected, 1e-4);
                assert_eq!(
                    values(gradient),
                    values(&kept[path]),
                    "{path}: recompute changed it"
                );
            }
            assert_eq!(gradients.len(), model.trainable().len());
            let after = step(&model, gradients);
            for (path, value) in &after {
                let expected = theirs.floats(&format!("after.base_model.model.{path}"));
                close(path, &values(value), &expected, 2e-5);
            }
            model.merge_adapter();
            let logits = model.logits(&rows[2..]).unwrap();
            close(
                "merged",
                &values(&logits),
                &theirs.floats("merged_logits.image2"),
                1e-4,
            );
        }
    }
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
        let (a, b) = (values(&logits), theirs.floats(&format!("{name}.logits")));
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(x, y)| f64::from(*x) * f64::from(*y))
                .sum()
        };
        let cosine = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
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
        adapter: vtb_nn::lm::AdapterState::Off,
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
