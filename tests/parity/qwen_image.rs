//! The Qwen-Image transformer against diffusers, its adapters against peft: tiny random models in f32.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::DType;
use vtb_lora::read_adapter;
use vtb_models_diffusion::qwen_image::QwenImageTransformer;
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{AdapterState, NamedTensors};
use vtb_nn::trainable::Trainable;
use vtb_nn::velocity::{FlowBackwardOptions, FlowCondition, FlowRow, Latent, VelocityModel};
use vtb_trainer::optim::{AdamW, AdamWConfig};

use support::flow::{latents, texts, weighted_mse};
use support::{Reference, close, close_relative, fixtures, values};

const MODELS: [&str; 2] = ["plain", "edit"];

fn dir(model: &str) -> PathBuf {
    fixtures().join("qwen_image").join(model)
}

fn load(model: &str) -> QwenImageTransformer {
    QwenImageTransformer::load(&dir(model), &cpu_device(), DType::F32).unwrap()
}

fn cases(model: &str) -> Reference {
    Reference::open(dir(model).join("cases.safetensors"))
}

/// The samples of a case: noisy latent `target`, references `{refs}.0`, `{refs}.1`, ...
fn rows(
    reference: &Reference,
    prefix: &str,
    target: &str,
    refs: &str,
    sigma: &str,
) -> Vec<FlowRow> {
    let noisy = latents(reference, target);
    let sigmas = reference.floats(sigma);
    let references: Vec<Vec<Latent>> = (0..)
        .map(|k| format!("{refs}.{k}"))
        .take_while(|name| reference.has(name))
        .map(|name| latents(reference, &name))
        .collect();
    let texts = texts(reference, prefix);
    let each = noisy.into_iter().zip(sigmas).zip(texts).enumerate();
    each.map(|(i, ((noisy, sigma), text))| FlowRow {
        noisy,
        sigma,
        condition: Arc::new(FlowCondition {
            text,
            references: references.iter().map(|r| r[i].clone()).collect(),
            clean_frames: 0,
        }),
    })
    .collect()
}

fn case_rows(reference: &Reference, case: &str) -> Vec<FlowRow> {
    rows(
        reference,
        &format!("{case}."),
        &format!("{case}.latent.target"),
        &format!("{case}.latent.ref"),
        &format!("{case}.timestep"),
    )
}

#[test]
fn velocities_are_theirs() {
    for name in MODELS {
        let model = load(name);
        let reference = cases(name);
        for case in ["one", "two", "none", "pair"] {
            let rows = case_rows(&reference, case);
            let theirs = latents(&reference, &format!("{case}.velocity"));
            let ours = model.velocity(&rows, AdapterState::On).unwrap();
            for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                let what = format!("{name} {case} {i}");
                assert_eq!(ours.shape, theirs.shape, "{what}");
                close_relative(&what, &ours.values, &theirs.values, 1e-5);
                close(&what, &ours.values, &theirs.values, 1e-4);
            }
            // A sample does not depend on the samples beside it, nor on their sizes.
            let mut mixed = rows.clone();
            mixed.extend(case_rows(&reference, "two"));
            let together = model.velocity(&mixed, AdapterState::On).unwrap();
            for (ours, together) in ours.iter().zip(&together) {
                close_relative(name, &together.values, &ours.values, 1e-5);
            }
        }
    }
}

#[test]
fn bf16_is_near() {
    for name in MODELS {
        let model = QwenImageTransformer::load(&dir(name), &cpu_device(), DType::BF16).unwrap();
        let reference = cases(name);
        let ours = model
            .velocity(&case_rows(&reference, "two"), AdapterState::On)
            .unwrap();
        let theirs = latents(&reference, "two.velocity");
        let cosine = support::cosine(&ours[0].values, &theirs[0].values);
        assert!(cosine > 0.999, "{name}: {cosine}");
    }
}

/// Targets `n - x0` from `noisy = (1-σ)·x0 + σ·n`.
fn step_rows(reference: &Reference) -> (Vec<FlowRow>, Vec<Latent>, Vec<f32>) {
    let rows = rows(reference, "", "noisy", "ref", "sigma");
    let clean = latents(reference, "x0");
    let targets = rows.iter().zip(clean).map(|(row, clean)| {
        let pairs = row.noisy.values.iter().zip(&clean.values);
        Latent {
            shape: clean.shape,
            values: pairs.map(|(x, x0)| (x - x0) / row.sigma).collect(),
        }
    });
    (rows.clone(), targets.collect(), reference.floats("weight"))
}

fn gradients(model: &QwenImageTransformer, reference: &Reference, recompute: bool) -> NamedTensors {
    let (rows, targets, weights) = step_rows(reference);
    let options = FlowBackwardOptions {
        dropout_seed: None,
        recompute,
    };
    model
        .backward(&rows, &options, &mut weighted_mse(targets, weights, 0))
        .unwrap()
}

/// Compares every gradient. What nothing reads (the text of the last block) has none here and none there; the query of
/// that text has one of zeros.
fn gradients_are_theirs(model: &QwenImageTransformer, folder: &str, file: &str) -> NamedTensors {
    let reference = Reference::open(dir(folder).join(format!("{file}.safetensors")));
    let said = std::fs::read_to_string(dir(folder).join(format!("{file}.json"))).unwrap();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let listed = |list: &str, key: &str| {
        let names = said[list].as_array().unwrap();
        names.iter().any(|name| name == key)
    };
    let ours = gradients(model, &reference, true);
    let kept = gradients(model, &reference, false);
    for info in model.trainable() {
        let path = info.name;
        let what = format!("{folder}/{file} {path}");
        let key = format!("base_model.model.{path}");
        assert_eq!(
            !ours.contains_key(&path),
            listed("no_gradient", &key),
            "{what}"
        );
        let Some(gradient) = ours.get(&path) else {
            continue;
        };
        let gradient = values(gradient);
        assert_eq!(
            gradient,
            values(&kept[&path]),
            "{what}: recompute changed it"
        );
        if listed("zero_gradient", &key) {
            assert!(gradient.iter().all(|g| *g == 0.0), "{what}");
            continue;
        }
        close_relative(
            &what,
            &gradient,
            &reference.floats(&format!("grad.{key}")),
            1e-4,
        );
    }
    ours
}

#[test]
fn adapters_train_as_theirs() {
    for name in MODELS {
        let mut model = load(name);
        let base = model.parameters();
        let lora = dir(name).join("lora");
        model
            .load_adapter(read_adapter(&lora).unwrap(), &lora)
            .unwrap();
        assert!(model.parameters() > base);
        let reference = Reference::open(dir(name).join("lora_step.safetensors"));
        let (rows, ..) = step_rows(&reference);
        let ours = model.velocity(&rows, AdapterState::On).unwrap();
        let theirs = latents(&reference, "velocity");
        close_relative(name, &ours[0].values, &theirs[0].values, 1e-5);
        let off = model.velocity(&rows, AdapterState::Off).unwrap();
        assert_ne!(off, ours);

        let gradients = gradients_are_theirs(&model, name, "lora_step");
        let config = AdamWConfig {
            weight_decay: 0.01,
            ..Default::default()
        };
        let mut adamw = AdamW::new(config, &model.trainable()).unwrap();
        let after = adamw
            .step(model.trainable_values(), gradients, 1e-4)
            .unwrap();
        for (path, value) in &after {
            let key = format!("after.base_model.model.{path}");
            if !reference.has(&key) {
                assert!(name == "plain" || !reference.has("after"), "{key}");
                continue;
            }
            let theirs = reference.floats(&key);
            close(path, &values(value), &theirs, 1e-6);
        }
    }
}

#[test]
fn batches_train_as_theirs() {
    let mut model = load("edit");
    let lora = dir("edit").join("lora");
    model
        .load_adapter(read_adapter(&lora).unwrap(), &lora)
        .unwrap();
    gradients_are_theirs(&model, "edit", "lora_batch");
}

#[test]
fn every_linear_layer_can_be_adapted() {
    let mut model = load("edit");
    let lora = dir("edit").join("lora_all");
    model
        .load_adapter(read_adapter(&lora).unwrap(), &lora)
        .unwrap();
    assert_eq!(model.trainable().len(), 2 * model.linears().len());
    gradients_are_theirs(&model, "edit", "lora_all_step");
}

#[test]
fn rows_that_do_not_fit_are_named() {
    let model = load("edit");
    let reference = cases("edit");
    let good = case_rows(&reference, "one").remove(0);
    let with = |change: fn(&mut FlowRow)| {
        let mut row = good.clone();
        change(&mut row);
        let error = model
            .velocity(&[good.clone(), row], AdapterState::On)
            .unwrap_err();
        error.to_string()
    };
    type Change = fn(&mut FlowRow);
    let cases: [(&str, Change); 5] = [
        ("expected [16, 1, H, W]", |row| {
            row.noisy = Latent::zeros([4, 1, 8, 8])
        }),
        ("multiples of 2", |row| {
            row.noisy = Latent::zeros([16, 1, 8, 7])
        }),
        ("noise level 1.5", |row| row.sigma = 1.5),
        ("expected [tokens, 40]", |row| {
            let condition = Arc::make_mut(&mut row.condition);
            condition.text.width = 24;
        }),
        ("with 0 values", |row| row.noisy.values.clear()),
    ];
    for (part, change) in cases {
        let error = with(change);
        assert!(
            error.contains("row 1 of the batch") && error.contains(part),
            "{error}"
        );
    }
}
