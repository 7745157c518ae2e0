//! The Wan transformer against diffusers, its adapters against peft: tiny random models in f32.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::DType;
use vtb_lora::read_adapter;
use vtb_models_diffusion::wan::{WanConfig, WanTransformer};
use vtb_nn::checkpoint::Checkpoint;
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{AdapterState, NamedTensors};
use vtb_nn::trainable::Trainable;
use vtb_nn::velocity::{
    FlowBackwardOptions, FlowCondition, FlowRow, Latent, TextStates, VelocityModel,
};
use vtb_trainer::optim::{AdamW, AdamWConfig};

use support::flow::{latents, texts, weighted_mse};
use support::{Reference, close, close_relative, fixtures, values};

/// Width of a head divisible by 6, and not.
const MODELS: [&str; 2] = ["plain", "odd"];
const CASES: [(&str, usize); 5] = [
    ("picture", 0),
    ("clip", 0),
    ("long", 1),
    ("full", 1),
    ("two", 1),
];
/// Rows of text of these models.
const TEXT_LEN: usize = 16;

fn dir(model: &str) -> PathBuf {
    fixtures().join("wan/dit").join(model)
}

fn config(model: &str) -> WanConfig {
    WanConfig {
        text_len: TEXT_LEN,
        ..WanConfig::from_dir(&dir(model)).unwrap()
    }
}

fn load(model: &str, dtype: DType) -> WanTransformer {
    let weights = Checkpoint::open(dir(model)).unwrap();
    WanTransformer::from_source(config(model), &weights, &cpu_device(), dtype).unwrap()
}

fn cases(model: &str) -> Reference {
    Reference::open(dir(model).join("cases.safetensors"))
}

fn rows(noisy: Vec<Latent>, sigmas: &[f32], texts: Vec<TextStates>, clean: usize) -> Vec<FlowRow> {
    let each = noisy.into_iter().zip(sigmas).zip(texts);
    each.map(|((noisy, sigma), text)| FlowRow {
        noisy,
        sigma: *sigma,
        condition: Arc::new(FlowCondition {
            text,
            references: Vec::new(),
            clean_frames: clean,
        }),
    })
    .collect()
}

fn case_rows(reference: &Reference, case: &str, clean: usize) -> Vec<FlowRow> {
    let noisy = latents(reference, &format!("{case}.latent"));
    let sigmas = reference.floats(&format!("{case}.sigma"));
    rows(noisy, &sigmas, texts(reference, &format!("{case}.")), clean)
}

#[test]
fn velocities_are_theirs() {
    for name in MODELS {
        let model = load(name, DType::F32);
        let reference = cases(name);
        for (case, clean) in CASES {
            let rows = case_rows(&reference, case, clean);
            let theirs = latents(&reference, &format!("{case}.velocity"));
            let ours = model.velocity(&rows, AdapterState::On).unwrap();
            assert_eq!(ours.len(), theirs.len());
            for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                let what = format!("{name} {case} {i}");
                assert_eq!(ours.shape, theirs.shape, "{what}");
                close_relative(&what, &ours.values, &theirs.values, 1e-5);
                close(&what, &ours.values, &theirs.values, 5e-5);
            }
            // A sample does not depend on those beside it, their sizes, or whether they begin with a clean frame.
            let mut mixed = rows.clone();
            mixed.extend(case_rows(&reference, "clip", 0));
            mixed.extend(case_rows(&reference, "full", 1));
            let together = model.velocity(&mixed, AdapterState::On).unwrap();
            for (ours, together) in ours.iter().zip(&together) {
                close_relative(name, &together.values, &ours.values, 1e-5);
            }
        }
    }
}

#[test]
fn a_clean_frame_is_noise_level_zero() {
    let (model, reference) = (load("plain", DType::F32), cases("plain"));
    let told = model
        .velocity(&case_rows(&reference, "full", 1), AdapterState::On)
        .unwrap();
    let untold = model
        .velocity(&case_rows(&reference, "full", 0), AdapterState::On)
        .unwrap();
    let apart = told[0].values.iter().zip(&untold[0].values);
    assert!(apart.into_iter().any(|(a, b)| (a - b).abs() > 0.01));
}

#[test]
fn bf16_is_near() {
    for name in MODELS {
        let (model, reference) = (load(name, DType::BF16), cases(name));
        let ours = model
            .velocity(&case_rows(&reference, "two", 1), AdapterState::On)
            .unwrap();
        let theirs = latents(&reference, "two.velocity");
        let cosine = support::cosine(&ours[0].values, &theirs[0].values);
        assert!(cosine > 0.999, "{name}: {cosine}");
    }
}

fn step_rows(reference: &Reference) -> (Vec<FlowRow>, Vec<Latent>, Vec<f32>) {
    let sigmas = reference.floats("sigma");
    let rows = rows(
        latents(reference, "noisy"),
        &sigmas,
        texts(reference, ""),
        1,
    );
    (
        rows,
        latents(reference, "target"),
        reference.floats("weight"),
    )
}

fn gradients(model: &WanTransformer, reference: &Reference, recompute: bool) -> NamedTensors {
    let (rows, targets, weights) = step_rows(reference);
    let options = FlowBackwardOptions {
        dropout_seed: None,
        recompute,
    };
    model
        .backward(&rows, &options, &mut weighted_mse(targets, weights, 1))
        .unwrap()
}

#[test]
fn adapters_train_as_theirs() {
    for variant in ["lora", "lora_all"] {
        let mut model = load("plain", DType::F32);
        let base = model.parameters();
        let lora = dir("plain").join(variant);
        model
            .load_adapter(read_adapter(&lora).unwrap(), &lora)
            .unwrap();
        assert!(model.parameters() > base);
        if variant == "lora_all" {
            assert_eq!(model.trainable().len(), 2 * model.linears().len());
        }
        let file = dir("plain").join(format!("{variant}_step.safetensors"));
        let reference = Reference::open(file);
        let (rows, ..) = step_rows(&reference);
        let ours = model.velocity(&rows, AdapterState::On).unwrap();
        for (ours, theirs) in ours.iter().zip(latents(&reference, "velocity")) {
            close_relative(variant, &ours.values, &theirs.values, 1e-5);
        }
        let off = model.velocity(&rows, AdapterState::Off).unwrap();
        assert_ne!(off, ours);

        let again = gradients(&model, &reference, true);
        let kept = gradients(&model, &reference, false);
        for info in model.trainable() {
            let path = info.name;
            let what = format!("{variant} {path}");
            let gradient = values(&again[&path]);
            assert_eq!(
                gradient,
                values(&kept[&path]),
                "{what}: recompute changed it"
            );
            let theirs = reference.floats(&format!("grad.base_model.model.{path}"));
            close_relative(&what, &gradient, &theirs, 1e-4);
        }
        let config = AdamWConfig {
            weight_decay: 0.01,
            ..Default::default()
        };
        let mut adamw = AdamW::new(config, &model.trainable()).unwrap();
        let after = adamw.step(model.trainable_values(), again, 1e-3).unwrap();
        for (path, value) in &after {
            let theirs = reference.floats(&format!("after.base_model.model.{path}"));
            close(path, &values(value), &theirs, 2e-6);
        }
    }
}

#[test]
fn rows_that_do_not_fit_are_named() {
    let (model, reference) = (load("plain", DType::F32), cases("plain"));
    let good = case_rows(&reference, "full", 1).remove(0);
    let with = |change: fn(&mut FlowRow)| {
        let mut row = good.clone();
        change(&mut row);
        let error = model
            .velocity(&[good.clone(), row], AdapterState::On)
            .unwrap_err();
        error.to_string()
    };
    type Change = fn(&mut FlowRow);
    let cases: [(&str, Change); 6] = [
        ("expected [6, frames, H, W]", |row| {
            row.noisy = Latent::zeros([4, 3, 8, 4])
        }),
        ("multiples of 2", |row| {
            row.noisy = Latent::zeros([6, 3, 8, 7])
        }),
        ("noise level -1", |row| row.sigma = -1.0),
        ("expected [tokens, 40]", |row| {
            Arc::make_mut(&mut row.condition).text.width = 39
        }),
        ("16 at most", |row| {
            let text = &mut Arc::make_mut(&mut row.condition).text;
            (text.rows, text.values) = (17, vec![0.0; 17 * 40]);
        }),
        ("not as references", |row| {
            let clip = row.noisy.clone();
            Arc::make_mut(&mut row.condition).references.push(clip);
        }),
    ];
    for (word, change) in cases {
        let error = with(change);
        assert!(error.contains("row 1") && error.contains(word), "{error}");
    }
}
