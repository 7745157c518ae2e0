//! `convert-model` as a user runs it: both layouts of a model draw the same clip, and the pickles that others publish do too.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs;
use std::path::Path;

use common::{path, refuse, stdout, succeed};
use image::RgbImage;
use vtb_models_diffusion::tiny::TinyVideoSpec;

const CONVERT: &str = env!("CARGO_BIN_EXE_convert-model");
const INFER_VIDEO: &str = env!("CARGO_BIN_EXE_infer-video");

fn drawn(model: &Path, dir: &Path, name: &str) -> Vec<Vec<u8>> {
    let out = dir.join(name);
    let picture = dir.join("start.png");
    RgbImage::from_fn(64, 64, |x, y| {
        image::Rgb([(4 * x) as u8, (3 * y) as u8, 90])
    })
    .save(&picture)
    .unwrap();
    let args = [
        "--model",
        path(model),
        "--image",
        path(&picture),
        "--prompt",
        "A red line grows.",
        "--steps",
        "2",
        "--frames",
        "5",
        "--size",
        "64x64",
        "--out",
        path(&out),
    ];
    succeed(INFER_VIDEO, &args);
    let mut files: Vec<_> = fs::read_dir(&out)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 5);
    files.iter().map(|f| fs::read(f).unwrap()).collect()
}

#[test]
fn either_layout_draws_the_same_clip() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let (model, original, back) = (place("model"), place("original"), place("back"));
    TinyVideoSpec::default()
        .write(&model, &["A red line grows.".into()], 7)
        .unwrap();
    let convert = |from: &Path, to: &str, out: &Path| {
        let args = ["--model", path(from), "--to", to, "--out", path(out)];
        let told = succeed(CONVERT, &args);
        assert_eq!(stdout(&told).trim_end(), path(out));
    };
    convert(&model, "original", &original);
    for file in [
        "config.json",
        "diffusion_pytorch_model.safetensors",
        "models_t5_umt5-xxl-enc-bf16.safetensors",
        "Wan2.2_VAE.safetensors",
        "google/umt5-xxl/tokenizer.json",
    ] {
        assert!(original.join(file).is_file(), "{file}");
    }
    convert(&original, "diffusers", &back);
    let clip = drawn(&model, dir.path(), "a");
    assert_eq!(clip, drawn(&original, dir.path(), "b"));
    assert_eq!(clip, drawn(&back, dir.path(), "c"));

    let args = [
        "--model",
        path(&model),
        "--to",
        "original",
        "--out",
        path(&back),
    ];
    refuse(CONVERT, &args, 1, &["not empty", "back"]);
    let (none, fresh) = (place("none"), place("d"));
    let args = [
        "--model",
        path(&none),
        "--to",
        "original",
        "--out",
        path(&fresh),
    ];
    refuse(CONVERT, &args, 1, &["none", "no directory"]);
}
