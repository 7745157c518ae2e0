//! Rows with videos against `transformers`, on a tiny random model (`tests/fixtures`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod support;

use std::sync::Arc;

use burn::tensor::DType;
use support::{Reference, close, close_relative, fixtures, mean_loss, values};
use vtb_models_vlm::qwen3_vl::{BatchPlan, FullTraining, Qwen3Vl};
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{BackwardOptions, CausalLm, ImagePatches, LmRow, SampleOptions};

/// A video alone, and one between two pictures.
const ROWS: [&str; 2] = ["video", "mixed"];

fn load() -> (Qwen3Vl, Reference) {
    let model = Qwen3Vl::load(fixtures().join("qwen3_vl/tied"), &cpu_device(), DType::F32).unwrap();
    let reference = Reference::open(fixtures().join("qwen3_vl_video/cases.safetensors"));
    (model, reference)
}

/// Pictures and videos in the order of the text; the reference keeps the pixels of both kinds apart.
fn row(reference: &Reference, name: &str, model: &Qwen3Vl) -> LmRow {
    let width = model.config().vision.patch_dim();
    let pixels = |key: &str| {
        let key = format!("{name}.{key}");
        let found = reference.has(&key).then(|| reference.floats(&key));
        found.unwrap_or_default()
    };
    let mut rest = [pixels("pixel_values"), pixels("pixel_values_videos")];
    let mut images = Vec::new();
    for (i, item) in reference
        .ints(&format!("{name}.order"))
        .chunks(4)
        .enumerate()
    {
        let kind = item[0] as usize;
        let grid = [item[1] as usize, item[2] as usize, item[3] as usize];
        let tail = rest[kind].split_off(grid.iter().product::<usize>() * width);
        images.push(Arc::new(ImagePatches {
            values: std::mem::replace(&mut rest[kind], tail),
            grid,
            key: (ROWS.iter().position(|r| *r == name).unwrap() * 10 + i) as u64,
        }));
    }
    let labels = reference.ints(&format!("{name}.labels"));
    LmRow {
        ids: reference.ids(&format!("{name}.input_ids")),
        images,
        scored: labels.iter().map(|l| *l >= 0).collect(),
    }
}

#[test]
fn positions_embeddings_and_logits() {
    let (model, reference) = load();
    for name in ROWS {
        let row = row(&reference, name, &model);
        let plan = BatchPlan::new(std::slice::from_ref(&row), model.config()).unwrap();
        let expected = reference.ints(&format!("{name}.position_ids"));
        for (i, position) in plan.positions.iter().enumerate() {
            let theirs = [0, 1, 2].map(|axis| expected[axis * row.ids.len() + i] as i32);
            assert_eq!(*position, theirs, "{name} token {i}");
        }
        let delta = reference.ints(&format!("{name}.rope_delta"))[0];
        assert_eq!(i64::from(plan.deltas[0]), delta);
        let states = model.hidden_states(std::slice::from_ref(&row)).unwrap();
        let embedded = reference.floats(&format!("{name}.embedded"));
        close(
            &format!("{name} embedded"),
            &values(&states[0]),
            &embedded,
            1e-5,
        );
        let logits = model.logits(std::slice::from_ref(&row)).unwrap();
        let theirs = reference.floats(&format!("{name}.logits"));
        close(&format!("{name} logits"), &values(&logits), &theirs, 1e-4);
    }
}

#[test]
fn greedy_ids_alone_and_in_a_batch() {
    let (model, reference) = load();
    let rows: Vec<LmRow> = ROWS
        .iter()
        .map(|name| row(&reference, name, &model))
        .collect();
    let options = SampleOptions {
        max_new_tokens: 16,
        temperature: 0.0,
        ..Default::default()
    };
    let batch = model.generate(&rows, &options, &[1, 2]).unwrap();
    for ((name, row), together) in ROWS.iter().zip(&rows).zip(&batch) {
        let theirs = reference.ids(&format!("{name}.greedy.ids"));
        let alone = model
            .generate(std::slice::from_ref(row), &options, &[3])
            .unwrap();
        assert_eq!(alone[0].ids, theirs, "{name} alone");
        assert_eq!(together.ids, theirs, "{name} in a batch");
    }
}

#[test]
fn the_tower_learns_from_videos() {
    let (mut model, reference) = load();
    model.train_full(FullTraining::EVERYTHING);
    for name in ROWS {
        let row = row(&reference, name, &model);
        let mut loss = 0.0;
        let gradients = model
            .backward(
                &[row],
                &BackwardOptions::default(),
                &mut mean_loss(&mut loss),
            )
            .unwrap();
        let theirs = f64::from(reference.floats(&format!("{name}.loss"))[0]);
        assert!(
            (loss - theirs).abs() < 1e-5 * theirs,
            "{name}: {loss}, theirs {theirs}"
        );
        let mut seen = 0;
        for (path, gradient) in &gradients {
            let key = format!("{name}.grad.{path}");
            if reference.has(&key) {
                close_relative(&key, &values(gradient), &reference.floats(&key), 1e-4);
                seen += 1;
            }
        }
        assert_eq!(seen, 4);
    }
}
