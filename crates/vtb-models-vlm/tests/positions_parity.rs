//! Positions against those `transformers` gives (`tests/parity` holds the script).

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::path::Path;

use serde_json::Value;
use vtb_models_vlm::config::VisionIds;
use vtb_models_vlm::positions::positions;

fn numbers<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<T> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn positions_and_delta_equal_the_reference() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/qwen3_vl/positions.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let image = u32::try_from(file["image_token_id"].as_u64().unwrap()).unwrap();
    let tokens = VisionIds {
        image,
        video: image + 1,
        vision_start: image - 2,
        vision_end: image - 1,
    };
    let merge = usize::try_from(file["spatial_merge_size"].as_u64().unwrap()).unwrap();
    let layouts = file["layouts"].as_array().unwrap();
    assert!(layouts.len() > 2);
    for layout in layouts {
        let ids: Vec<u32> = numbers(&layout["input_ids"]);
        let grids: Vec<[usize; 3]> = numbers(&layout["grid_thw"]);
        let (ours, delta) = positions(&ids, &grids, &tokens, merge).unwrap();
        let theirs: Vec<Vec<i32>> = numbers(&layout["position_ids"]);
        for (axis, theirs) in theirs.iter().enumerate() {
            let ours: Vec<i32> = ours.iter().map(|p| p[axis]).collect();
            assert_eq!(&ours, theirs);
        }
        assert_eq!(i64::from(delta), layout["rope_delta"].as_i64().unwrap());
    }
}
