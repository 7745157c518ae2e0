//! The programs with experts and with videos: rows read as they are drawn, trained on and answered.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::path::{Path, PathBuf};

use common::{INFER, SFT, path, refuse, stdout, succeed};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use vtb_data::video::{VideoSettings, write_frames, write_mp4};

/// A folder of frames, an MP4 and a picture, and rows that show one or several of them.
fn write_data(dir: &Path) -> PathBuf {
    let frames = |n: u8, shade: u8| -> Vec<RgbImage> {
        let one = |i| RgbImage::from_pixel(32, 32, Rgb([i * 20, shade, 128]));
        (0..n).map(one).collect()
    };
    write_frames(&dir.join("short"), &frames(4, 10), 2.0).unwrap();
    write_mp4(
        &dir.join("long.mp4"),
        &frames(9, 200),
        VideoSettings::at(2.0),
    )
    .unwrap();
    frames(1, 90)[0].save(dir.join("still.png")).unwrap();
    let row = |text: &str, images: &[&str], videos: &[&str]| {
        let answer = "<answer>red</answer>";
        let messages =
            json!([{"role": "user", "content": text}, {"role": "assistant", "content": answer}]);
        json!({"messages": messages, "images": images, "videos": videos, "solution": "red"})
    };
    let rows = [
        row("<video>Which color?", &[], &["short"]),
        row("Which color is missing?", &[], &["long.mp4"]),
        row("<image> before <video> after", &["still.png"], &["short"]),
        row("<video>then<video>?", &[], &["long.mp4", "short"]),
        row("Which color?", &["still.png"], &[]),
        row("No picture at all.", &[], &[]),
    ];
    let file = dir.join("train.jsonl");
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    file
}

fn metrics(out: &Path, key: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let value = |line: &str| serde_json::from_str::<Value>(line).unwrap()[key].as_f64();
    text.lines().filter_map(value).collect()
}

#[test]
fn experts_train_on_pictures_and_videos_and_answer() {
    let dir = tempfile::tempdir().unwrap();
    let model = common::tiny_moe(dir.path());
    let data = write_data(dir.path());
    let out = dir.path().join("run");
    let mut args = vec!["--model", path(&model), "--data", path(&data)];
    args.extend([
        "--output-dir",
        path(&out),
        "--batch-size",
        "3",
        "--max-steps",
        "8",
    ]);
    args.extend([
        "--learning-rate",
        "0.02",
        "--set",
        "train.schedule=constant",
    ]);
    args.extend(["--set", "data.bucket=length", "--set", "data.threads=2"]);
    args.extend([
        "--set",
        "batch.router_aux_loss_coef=0.01",
        "--set",
        "log.seconds=0",
    ]);
    succeed(SFT, &args);
    let losses = metrics(&out, "loss");
    assert_eq!(losses.len(), 8);
    assert!(losses[7] < losses[0], "{losses:?}");
    // Two of four experts, equally busy, make 2; what is written is the step's.
    let balance = metrics(&out, "aux_loss");
    assert_eq!(balance.len(), 8);
    assert!(
        balance.iter().all(|x| (1.5..4.0).contains(x)),
        "{balance:?}"
    );

    let adapter = out.join("checkpoints/step-8/adapter");
    let (clip, still) = (dir.path().join("short"), dir.path().join("still.png"));
    let mut args = vec![
        "--model",
        path(&model),
        "--adapter",
        path(&adapter),
        "--json",
    ];
    args.extend([
        "--video",
        path(&clip),
        "--image",
        path(&still),
        "--max-new-tokens",
        "4",
    ]);
    args.extend(["--prompt", "<image>Which color?<video>"]);
    let answer: Value = serde_json::from_str(&stdout(&succeed(INFER, &args))).unwrap();
    assert!(!answer["token_ids"].as_array().unwrap().is_empty());
    let groups = |form: &str| {
        let mut args = args.clone();
        args.extend(["--video-form", form]);
        let answer: Value = serde_json::from_str(&stdout(&succeed(INFER, &args))).unwrap();
        answer["prompt_token_ids"].as_array().unwrap().len()
    };
    // The nested form has a start and an end token around all groups.
    assert_eq!(groups("nested"), groups("groups") + 2);
}

#[test]
fn videos_that_are_absent_or_outside_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let model = common::tiny_moe(dir.path());
    let data = write_data(dir.path());
    let out = dir.path().join("run");
    let args = [
        "--model",
        path(&model),
        "--data",
        path(&data),
        "--output-dir",
        path(&out),
    ];
    let root = format!("data.image_root={}", dir.path().join("short").display());
    let mut confined = args.to_vec();
    confined.extend(["--set", root.as_str(), "--max-steps", "1"]);
    refuse(
        SFT,
        &confined,
        1,
        &["train.jsonl:2", "video 1", "lies outside"],
    );
    std::fs::remove_file(dir.path().join("long.mp4")).unwrap();
    let mut dry = args.to_vec();
    dry.push("--dry-run");
    refuse(SFT, &dry, 1, &["train.jsonl:2", "video 1", "long.mp4"]);
    // A file that is there and no video is told when it is drawn.
    std::fs::write(dir.path().join("long.mp4"), "no video").unwrap();
    let mut broken = args.to_vec();
    broken.extend(["--batch-size", "6", "--max-steps", "1"]);
    refuse(SFT, &broken, 1, &["train.jsonl:", "video 1", "long.mp4"]);
}
