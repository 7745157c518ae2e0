//! Pictures are the same bytes on every machine.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use vtb_puzzle::{Layer, Puzzle, canonical_json, encode_png, find, record_seed, registry};

fn sha256(task: &str, params: &Value, seed: u64, layer: Layer) -> String {
    let puzzle = find(task).unwrap();
    let record = puzzle.generate(params, seed).unwrap();
    let png = encode_png(&puzzle.draw(&record, layer).unwrap()).unwrap();
    Sha256::digest(&png)
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A change here means: raise the task's version.
#[test]
fn pictures_have_not_changed() {
    let small = json!({"canvas": 96});
    let noisy = json!({"candidates": 7, "theme": "dark", "noise": 10, "width": 480, "height": 600});
    let braided = json!({"rows": 15, "cols": 11, "braid": 0.5, "width": 480});
    let golden = [
        (
            "color_grid",
            &Value::Null,
            1,
            Layer::Puzzle,
            "ad5bf5e9373e11fb0f512cb5",
        ),
        (
            "color_grid",
            &small,
            2,
            Layer::Puzzle,
            "816de07236099b11c434ac06",
        ),
        (
            "color_grid",
            &small,
            2,
            Layer::Solution,
            "aea88f92f56f6d22b931ec64",
        ),
        (
            "maze_square",
            &Value::Null,
            3,
            Layer::Puzzle,
            "a1f2b407be15d247058b5325",
        ),
        (
            "maze_square",
            &braided,
            4,
            Layer::Growing(0.37),
            "23b446859b74db7a84b4f4ea",
        ),
        (
            "maze_square",
            &Value::Null,
            3,
            Layer::Solution,
            "95be2dc7546785517f30afff",
        ),
        (
            "midpoint",
            &Value::Null,
            5,
            Layer::Puzzle,
            "e7076df42b6de9b9fd1f5560",
        ),
        (
            "midpoint",
            &noisy,
            6,
            Layer::Growing(0.5),
            "b5700e091bc85ba7e5293b59",
        ),
        (
            "midpoint",
            &Value::Null,
            5,
            Layer::Solution,
            "1df0b146f6f1d4614b3b108d",
        ),
    ];
    let drawn: Vec<_> = golden
        .iter()
        .map(|&(task, params, seed, layer, _)| sha256(task, params, seed, layer))
        .collect();
    let expected: Vec<_> = golden.iter().map(|row| row.4).collect();
    assert_eq!(drawn, expected);
}

/// Record, puzzle, half-drawn construction and solution of one puzzle of a task, as one hash.
fn all_of(task: &dyn Puzzle) -> String {
    let record = task
        .generate(&Value::Null, record_seed(1, task.info().name, 0))
        .unwrap();
    let mut hash = Sha256::new();
    let value = serde_json::to_value((&record.params, &record.scene, &record.answer)).unwrap();
    hash.update(canonical_json(&value));
    for layer in [Layer::Puzzle, Layer::Growing(0.4), Layer::Solution] {
        hash.update(task.draw(&record, layer).unwrap().as_raw());
    }
    let hex = hash.finalize();
    hex.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A change here means: raise the task's version, and take over the table that is printed.
#[test]
fn no_task_has_changed() {
    let found: Vec<String> = registry()
        .iter()
        .map(|task| {
            format!(
                "{} {} {}",
                task.info().name,
                task.info().version,
                all_of(*task)
            )
        })
        .collect();
    let known: Vec<&str> = include_str!("golden.txt").lines().collect();
    assert_eq!(
        found,
        known,
        "tests/golden.txt would be:\n{}",
        found.join("\n")
    );
}
