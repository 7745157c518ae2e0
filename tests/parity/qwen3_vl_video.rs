//! Rows with videos against `transformers`, on a tiny random model (`tests/fixtures`).

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use burn::tensor::DType;
use support::{Reference, fixtures, videos_are_learned, videos_are_seen};
use vtb_models_vlm::qwen3_vl::Qwen3Vl;
use vtb_nn::device::cpu_device;

fn load() -> (Qwen3Vl, Reference) {
    let model = Qwen3Vl::load(fixtures().join("qwen3_vl/tied"), &cpu_device(), DType::F32).unwrap();
    let reference = Reference::open(fixtures().join("qwen3_vl_video/cases.safetensors"));
    (model, reference)
}

#[test]
fn positions_embeddings_logits_and_greedy_ids() {
    let (model, reference) = load();
    videos_are_seen("tied", &model, &reference);
}

#[test]
fn the_tower_learns_from_videos() {
    let (mut model, reference) = load();
    videos_are_learned(&mut model, &reference, 4);
}
