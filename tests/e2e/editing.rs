//! What tests of editing programs share: a tiny model with every part of a true one.

use std::path::{Path, PathBuf};

pub(crate) const INFER_IMAGE: &str = env!("CARGO_BIN_EXE_infer-image");

/// Pictures are seen small, which is quick.
pub(crate) const QUICK: [&str; 4] = ["--reference-area", "25600", "--condition-area", "25600"];

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/qwen_image")
}

pub(crate) fn model() -> PathBuf {
    fixtures().join("pipeline")
}

/// Values in 0..=1, row by row.
pub(crate) fn pixels(file: &[u8]) -> (u32, u32, Vec<f32>) {
    let picture = image::load_from_memory(file).unwrap().into_rgb8();
    let (width, height) = picture.dimensions();
    let values = picture.into_raw().into_iter();
    (
        width,
        height,
        values.map(|v| f32::from(v) / 255.0).collect(),
    )
}
