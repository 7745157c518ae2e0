//! Pictures processed here against what Pillow and `transformers` made of them (`tests/parity` holds the script).

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use vtb_models_vlm::processor::{
    AlphaPolicy, DecodeOptions, ImageProcessor, ImageSettings, bicubic, read_rgb, smart_resize,
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/preprocess")
}

fn json(name: &str) -> Value {
    let text = std::fs::read_to_string(fixtures().join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn size(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

#[test]
fn sizes_equal_the_reference() {
    let table = json("smart_resize.json");
    let factor = size(&table["factor"]);
    for row in table["sizes"].as_array().unwrap() {
        for (which, bounds) in table["bounds"].as_object().unwrap() {
            let (h, w) = (size(&row["height"]), size(&row["width"]));
            let ours = smart_resize(h, w, factor, size(&bounds[0]), size(&bounds[1])).ok();
            let theirs = row[which].as_array().map(|v| (size(&v[0]), size(&v[1])));
            assert_eq!(ours, theirs, "{h}x{w} {which}");
        }
    }
}

#[test]
fn resized_pixels_equal_pillow_to_the_bit() {
    for case in json("cases.json")["cases"].as_array().unwrap() {
        let options = decode_options(case);
        let name = case["source"].as_str().unwrap();
        let source = read_rgb(&fixtures().join(name), &options).unwrap();
        let (height, width) = (size(&case["resized"][0]), size(&case["resized"][1]));
        let ours = bicubic(&source, width, height);
        let path = fixtures().join(case["horizontal_first_png"].as_str().unwrap());
        let theirs = read_rgb(&path, &DecodeOptions::default()).unwrap();
        assert!(
            ours == theirs,
            "{name} {} {}",
            case["bounds"],
            case["alpha"]
        );
    }
}

#[test]
fn patch_rows_equal_transformers() {
    let cases = json("cases.json");
    let stride = size(&cases["row_stride"]);
    let mut compared = 0;
    for case in cases["cases"].as_array().unwrap() {
        // Where Pillow 13 swaps its passes, the rows are those of other pixels.
        if case["pillow_sha256"] != case["horizontal_first_sha256"] {
            continue;
        }
        let settings = ImageSettings {
            min_pixels: size(&case["min_pixels"]),
            max_pixels: size(&case["max_pixels"]),
            decode: decode_options(case),
            ..ImageSettings::default()
        };
        let path = fixtures().join(case["source"].as_str().unwrap());
        let made = ImageProcessor::new(settings)
            .load(&[path])
            .unwrap()
            .remove(0);
        let grid: Vec<usize> = case["grid_thw"]
            .as_array()
            .unwrap()
            .iter()
            .map(size)
            .collect();
        assert_eq!(made.grid.as_slice(), grid);
        for (row, values) in case["pillow_patch_rows"].as_object().unwrap() {
            let row: usize = row.parse().unwrap();
            let ours = made.values[row * 1536..(row + 1) * 1536]
                .iter()
                .step_by(stride);
            for (ours, theirs) in ours.zip(values.as_array().unwrap()) {
                assert_eq!(ours.to_bits(), (theirs.as_f64().unwrap() as f32).to_bits());
                compared += 1;
            }
        }
    }
    assert!(compared > 500, "only {compared} values were compared");
}

fn decode_options(case: &Value) -> DecodeOptions {
    let alpha = match case["alpha"].as_str() {
        Some("white") => AlphaPolicy::OverWhite,
        _ => AlphaPolicy::Drop,
    };
    DecodeOptions {
        alpha,
        ..DecodeOptions::default()
    }
}
