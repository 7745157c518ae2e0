//! The programs with a Qwen2.5-VL in the place of the default family.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::path::Path;

use common::{GRPO, INFER, SFT, path, refuse, stdout, succeed};
use serde_json::Value;

#[test]
fn both_trainings_and_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(dir.path(), "color_grid");
    let model = common::tiny_qwen2_5(dir.path());
    let run = |program: &str, out: &Path, extra: &[&str]| {
        let mut args = vec!["--model", path(&model), "--data", path(&own.data)];
        args.extend(["--output-dir", path(out), "--batch-size", "4"]);
        args.extend(["--set", "train.schedule=constant", "--set", "log.seconds=0"]);
        args.extend(extra);
        succeed(program, &args);
    };
    let out = dir.path().join("sft");
    let mut extra = vec!["--max-steps", "8", "--learning-rate", "0.02"];
    let cache = format!("data.cache_dir={}", dir.path().join("cache").display());
    extra.extend([
        "--set",
        "data.bucket=pixels",
        "--set",
        "data.threads=2",
        "--set",
        cache.as_str(),
    ]);
    run(SFT, &out, &extra);
    let losses: Vec<f64> = std::fs::read_to_string(out.join("metrics.jsonl"))
        .unwrap()
        .lines()
        .filter_map(|l| serde_json::from_str::<Value>(l).unwrap()["loss"].as_f64())
        .collect();
    assert_eq!(losses.len(), 8);
    assert!(losses[7] < losses[0], "{losses:?}");
    let adapter = out.join("checkpoints/step-8/adapter");
    let text = std::fs::read_to_string(adapter.join("adapter_config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let targets = config["target_modules"].as_str().unwrap();
    assert!(targets.starts_with(r"model\.language_model\."), "{targets}");

    let out = dir.path().join("grpo");
    let extra = [
        "--adapter",
        path(&adapter),
        "--max-steps",
        "2",
        "--num-generations",
        "4",
        "--max-completion-length",
        "6",
    ];
    run(GRPO, &out, &extra);
    assert!(out.join("checkpoints/step-2/adapter").exists());

    let answer = succeed(
        INFER,
        &[
            "--model",
            path(&model),
            "--adapter",
            path(&adapter),
            "--prompt",
            "Q?",
            "--json",
            "--max-new-tokens",
            "4",
        ],
    );
    let answer: Value = serde_json::from_str(&stdout(&answer)).unwrap();
    assert!(!answer["token_ids"].as_array().unwrap().is_empty());
}

#[test]
fn an_adapter_of_the_other_family_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let model = common::tiny_qwen2_5(dir.path());
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fixtures/qwen3_vl/tied/lora_list"
    );
    let args = [
        "--model",
        path(&model),
        "--adapter",
        fixture,
        "--prompt",
        "Q?",
    ];
    refuse(
        INFER,
        &args,
        1,
        &["layers.3.mlp.down_proj", "another model"],
    );
}

#[test]
fn videos_are_refused_rather_than_misplaced() {
    let dir = tempfile::tempdir().unwrap();
    let model = common::tiny_qwen2_5(dir.path());
    let clip = dir.path().join("clip");
    let frames = vec![image::RgbImage::new(56, 56); 4];
    vtb_data::video::write_frames(&clip, &frames, 2.0).unwrap();
    // Newer saves of this family bring video settings too.
    let settings = vtb_models_vlm::processor::VideoSettings::default().to_json();
    let file = model.join("video_preprocessor_config.json");
    std::fs::write(file, settings.to_string()).unwrap();
    let args = [
        "--model",
        path(&model),
        "--video",
        path(&clip),
        "--prompt",
        "Q?",
    ];
    refuse(INFER, &args, 1, &["pictures alone"]);
}
