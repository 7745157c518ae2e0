//! `infer-image --data`: the rows of a file, edited one after the other.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;
mod editing;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{path, refuse, stderr, stdout, succeed};
use editing::{INFER_IMAGE, QUICK, model, pixels};
use serde_json::{Value, json};

const GENERATE: &str = env!("CARGO_BIN_EXE_generate-dataset");
const PREPARE: &str = env!("CARGO_BIN_EXE_prepare-data");
const EVALUATE: &str = env!("CARGO_BIN_EXE_evaluate");

/// Edits all rows of `data`.
fn many(data: &Path, output: &Path, extra: &[&str]) -> Vec<String> {
    let model = model();
    let args = [
        "--model",
        path(&model),
        "--data",
        path(data),
        "--output",
        path(output),
        "--steps",
        "2",
        "--size",
        "64x64",
    ];
    let all = args.iter().chain(&QUICK).chain(extra);
    all.map(|text| (*text).to_owned()).collect()
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// All files of a folder.
fn folder(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let read = |file: PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read(file).unwrap())
    };
    entries.map(read).collect()
}

fn go(args: &[String]) -> Output {
    succeed(INFER_IMAGE, &common::words(args))
}

#[test]
fn rows_of_a_data_set_are_edited_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    let (data, edits) = (
        dir.path().join("data"),
        dir.path().join("edits/metadata.json"),
    );
    let args = [
        "--output-dir",
        path(&data),
        "--tasks",
        "maze_square,color_grid",
        "--count",
        "1",
        "--seed",
        "7",
        "--canvas-width",
        "256",
    ];
    succeed(GENERATE, &args);
    let args = [
        "image",
        "--data-root",
        path(&data),
        "--output-path",
        path(&edits),
    ];
    succeed(PREPARE, &args);
    let rows: Vec<Value> = serde_json::from_slice(&fs::read(&edits).unwrap()).unwrap();
    assert!(rows.len() >= 2);
    let out = dir.path().join("edited");
    let rooted = ["--num-samples", "2", "--image-root", path(&data)];
    let told = go(&many(&edits, &out, &rooted));
    let count = format!("predictions.jsonl: {} pictures", 2 * rows.len());
    assert!(stdout(&told).contains(&count), "{}", stdout(&told));
    let whole = folder(&out);
    let found = lines(&out.join("predictions.jsonl"));
    let expected = rows
        .iter()
        .flat_map(|row| [(&row["id"], 0), (&row["id"], 1)]);
    assert!(
        found
            .iter()
            .map(|l| (&l["id"], l["sample"].as_u64().unwrap()))
            .eq(expected)
    );
    let pictures: Vec<&Vec<u8>> = found
        .iter()
        .map(|l| &whole[l["image"].as_str().unwrap()])
        .collect();
    assert!(pictures.iter().all(|png| pixels(png).0 == 64));
    assert_ne!(
        pictures[0], pictures[1],
        "attempts start from different noise"
    );
    let judged = dir.path().join("judged");
    let predictions = out.join("predictions.jsonl");
    let args = [
        "image",
        "--dataset",
        path(&data),
        "--predictions",
        path(&predictions),
        "--output",
        path(&judged),
    ];
    succeed(EVALUATE, &args);
    assert_eq!(lines(&judged.join("results.jsonl")).len(), 2 * rows.len());
}

/// Rows with ids that are no file names, without an id, and with two pictures.
fn written_rows(dir: &Path) -> PathBuf {
    let data = dir.join("metadata.json");
    let [first, second] = ["first.png", "second.png"].map(|name| model().join(name));
    let rows = json!([
        {"prompt": "Draw", "image": first, "edit_image": first, "id": "maze/1"},
        {"prompt": "Paint", "image": first, "edit_image": [first, second]},
        {"prompt": "Fill", "image": first, "edit_image": second, "id": 77},
    ]);
    fs::write(&data, rows.to_string()).unwrap();
    data
}

#[test]
fn a_stopped_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = written_rows(dir.path());
    let out = dir.path().join("out");
    let args = many(&data, &out, &["--num-samples", "2"]);
    go(&args);
    let whole = folder(&out);
    let names: Vec<&str> = whole.keys().map(String::as_str).collect();
    let pictures = [
        "2-0.png",
        "2-1.png",
        "77-0.png",
        "77-1.png",
        "maze_1-0.png",
        "maze_1-1.png",
    ];
    assert_eq!(
        names,
        [&pictures[..], &["predictions.jsonl", "settings.json"]].concat()
    );
    // Stopped while the fourth attempt was noted.
    let list = out.join("predictions.jsonl");
    let text = fs::read_to_string(&list).unwrap();
    let end = text.match_indices('\n').nth(2).unwrap().0;
    fs::write(&list, &text[..end + 9]).unwrap();
    for name in ["2-1.png", "77-0.png", "77-1.png"] {
        fs::remove_file(out.join(name)).unwrap();
    }
    let told = go(&args);
    assert_eq!(folder(&out), whole);
    assert!(
        stderr(&told).contains("prompts 2/2"),
        "two rows are left: {}",
        stderr(&told)
    );
    // A picture that is gone is drawn again, with what follows.
    fs::remove_file(out.join("77-1.png")).unwrap();
    let told = go(&args);
    assert_eq!(folder(&out), whole);
    assert!(stderr(&told).contains("prompts 1/1"), "{}", stderr(&told));
    // Nothing is left: nothing is loaded.
    assert!(!stderr(&go(&args)).contains("loading"));
    // Other settings, other pictures: they belong elsewhere.
    let other = [&args[..], &["--cfg".to_owned(), "2".to_owned()]].concat();
    refuse(
        INFER_IMAGE,
        &common::words(&other),
        2,
        &["settings.json", "cfg = 4.0", "--output"],
    );
    let fewer = many(&data, &out, &[]);
    refuse(
        INFER_IMAGE,
        &common::words(&fewer),
        1,
        &["line 1", "--output"],
    );
    assert_eq!(folder(&out), whole);
}

#[test]
fn rows_that_cannot_be_edited() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("metadata.json"), dir.path().join("out"));
    let first = model().join("first.png");
    let refused = |rows: Value, parts: &[&str]| {
        fs::write(&data, rows.to_string()).unwrap();
        refuse(
            INFER_IMAGE,
            &common::words(&many(&data, &out, &[])),
            1,
            parts,
        );
        assert!(!out.exists(), "a refused run leaves nothing behind");
    };
    let row = |id: &str, edit: Value| json!({"prompt": "x", "image": first, "edit_image": edit, "id": id});
    let good = row("a", json!(first));
    refused(
        json!([good, row("b", Value::Null)]),
        &["metadata.json:2", "edit_image"],
    );
    refused(
        json!([good, row("A", json!(first))]),
        &["metadata.json:2", "`A`", "`a`"],
    );
    refused(
        json!([good, row("b", json!("gone.png"))]),
        &["metadata.json:2", "gone.png"],
    );
    refused(json!([{"image": "x.png"}]), &["metadata.json:1", "prompt"]);
    let args = many(&dir.path().join("nowhere.json"), &out, &[]);
    refuse(INFER_IMAGE, &common::words(&args), 1, &["nowhere.json"]);
    let none = many(&data, &out, &["--num-samples", "0"]);
    refuse(INFER_IMAGE, &common::words(&none), 2, &["--num-samples"]);
    let both = many(&data, &out, &["--prompt", "x"]);
    let told = common::run(INFER_IMAGE, &common::words(&both));
    assert_eq!(told.status.code(), Some(2), "{}", stderr(&told));
}
