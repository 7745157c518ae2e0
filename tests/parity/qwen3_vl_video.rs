//! Rows with videos against `transformers`, on a tiny random model (`tests/fixtures`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod support;

use burn::tensor::DType;
use support::{
    Reference, VIDEO_ROWS, close, close_relative, fixtures, greedy_alone_and_in_a_batch, pass,
    positions_are_theirs, values,
};
use vtb_models_vlm::qwen3_vl::{FullTraining, Qwen3Vl};
use vtb_nn::device::cpu_device;

fn load() -> (Qwen3Vl, Reference) {
    let model = Qwen3Vl::load(fixtures().join("qwen3_vl/tied"), &cpu_device(), DType::F32).unwrap();
    let reference = Reference::open(fixtures().join("qwen3_vl_video/cases.safetensors"));
    (model, reference)
}

#[test]
fn positions_embeddings_and_logits() {
    let (model, reference) = load();
    for name in VIDEO_ROWS {
        let row = reference.video_row(name, &model);
        positions_are_theirs("video", &model, &reference, name, &row);
        let row = std::slice::from_ref(&row);
        let states = model.hidden_states(row).unwrap();
        let embedded = reference.floats(&format!("{name}.embedded"));
        let what = format!("{name} embedded");
        close(&what, &values(&states[0]), &embedded, 1e-5);
        let theirs = reference.floats(&format!("{name}.logits"));
        let logits = model.logits(row).unwrap();
        close(&format!("{name} logits"), &values(&logits), &theirs, 1e-4);
    }
}

#[test]
fn greedy_ids_alone_and_in_a_batch() {
    let (model, reference) = load();
    let rows = VIDEO_ROWS.map(|name| reference.video_row(name, &model));
    greedy_alone_and_in_a_batch("video", &model, &reference, &VIDEO_ROWS, &rows, Some(2e-5));
}

#[test]
fn the_tower_learns_from_videos() {
    let (mut model, reference) = load();
    model.train_full(FullTraining::Everything);
    for name in VIDEO_ROWS {
        let row = reference.video_row(name, &model);
        let (loss, gradients) = pass(&model, &[row], true);
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
