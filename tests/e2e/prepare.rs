//! Data sets made, exported and trained on, as a user does it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;

use std::path::Path;
use std::process::Command;

use common::{path, refuse, stderr, stdout, succeed};
use serde_json::Value;
use vtb_data::{JsonlDataset, OpenOptions, RowRules, RowSource};
use vtb_rewards::{Completion, Reference, Registry};

const GENERATE: &str = env!("CARGO_BIN_EXE_generate-dataset");
const PREPARE: &str = env!("CARGO_BIN_EXE_prepare-data");

fn generate(dir: &Path, extra: &[&str]) {
    let mut args = vec!["--output-dir", path(dir), "--seed", "7"];
    args.extend(extra);
    succeed(GENERATE, &args);
}

/// The rows of a file, each judged: the right answer gets everything, no answer and a wrong one do
/// not.
fn judged(file: &Path) -> Vec<vtb_data::TrainRow> {
    let data = JsonlDataset::open(file, &OpenOptions::new(RowRules::sft())).unwrap();
    let reward = Registry::builtin().build("auto", &Value::Null).unwrap();
    let rows: Vec<_> = (0..data.len()).map(|at| data.row(at).unwrap()).collect();
    for row in &rows {
        let reference = Reference::from_row(&row.columns()).unwrap();
        let gold = row.messages.last().unwrap().content.clone();
        let score = |text: &str| {
            reward
                .score(&Completion::new(text.to_owned()), &reference)
                .value
        };
        assert_eq!(score(&gold), 1.0, "{:?}: {gold}", row.task_type);
        assert!(score("") < 1.0 && score("<answer>nothing of it</answer>") < 1.0);
        row.load_images(&Default::default()).unwrap();
    }
    rows
}

#[test]
fn every_task_goes_out_and_comes_back_with_its_answer() {
    let dir = tempfile::tempdir().unwrap();
    let [data, vlm, shards, again] = ["data", "vlm", "shards", "again"].map(|n| dir.path().join(n));
    generate(&data, &["--count", "1"]);
    let manifest = vtb_data::manifest::Manifest::open(&data).unwrap();
    let args = [
        "vlm",
        "--data-root",
        path(&data),
        "--output-dir",
        path(&vlm),
    ];
    let told = stdout(&succeed(PREPARE, &args));
    assert!(
        told.contains("train_sft.jsonl") && told.contains("train_grpo.jsonl"),
        "{told}"
    );
    let rows = judged(&vlm.join("train_sft.jsonl"));
    assert_eq!(rows.len(), manifest.len());
    assert!(rows.len() > 40, "{}", rows.len());
    // Pictures and records through Parquet, and questions of them.
    let args = [
        "parquet",
        "--data-root",
        path(&data),
        "--output-dir",
        path(&shards),
    ];
    succeed(PREPARE, &args);
    let args = [
        "vlm",
        "--data-root",
        path(&shards),
        "--output-dir",
        path(&again),
    ];
    succeed(PREPARE, &args);
    assert_eq!(judged(&again.join("train_sft.jsonl")).len(), rows.len());
    let edits = dir.path().join("edits/metadata.json");
    let args = [
        "image",
        "--dataset-root",
        path(&data),
        "--output-path",
        path(&edits),
    ];
    succeed(PREPARE, &args);
    let text = std::fs::read(&edits).unwrap();
    let edits: Vec<Value> = serde_json::from_slice(&text).unwrap();
    assert_eq!(edits.len(), manifest.len());
}

#[test]
fn underscores_dashes_and_both_names_of_the_data_mean_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    generate(&data, &["--count", "2", "--tasks", "color_grid,midpoint"]);
    let mut texts = Vec::new();
    for names in [
        [
            "--data-root",
            "--output-path",
            "--task-groups",
            "--path-mode",
        ],
        [
            "--data_root",
            "--output_path",
            "--task_groups",
            "--path_mode",
        ],
        [
            "--dataset-root",
            "--output-path",
            "--task_groups",
            "--path-mode",
        ],
        [
            "--dataset_root",
            "--output_path",
            "--task-groups",
            "--path_mode",
        ],
    ] {
        let out = dir.path().join(format!("out{}.json", texts.len()));
        let values = [path(&data), path(&out), "eyeballing", "absolute"];
        let mut args = vec!["image"];
        args.extend(
            names
                .iter()
                .zip(values)
                .flat_map(|(name, value)| [*name, value]),
        );
        let mut dry = args.clone();
        dry.push(if names[0].contains('_') {
            "--dry_run"
        } else {
            "--dry-run"
        });
        let told = succeed(PREPARE, &dry);
        assert!(
            stderr(&told).contains("nothing was written"),
            "{}",
            stderr(&told)
        );
        assert!(stdout(&told).contains("midpoint"), "{}", stdout(&told));
        assert!(!out.exists());
        succeed(PREPARE, &args);
        texts.push(std::fs::read_to_string(&out).unwrap());
    }
    let rows: Vec<Value> = serde_json::from_str(&texts[0]).unwrap();
    assert_eq!(rows.len(), 2);
    assert!(Path::new(rows[0]["image"].as_str().unwrap()).is_absolute());
    assert!(texts.iter().all(|text| *text == texts[0]));
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    generate(&data, &["--count", "2", "--tasks", "color_grid,midpoint"]);
    let root = ["--data-root", path(&data)];
    let refused = |what: &str, args: &[&str], code, parts: &[&str]| {
        let mut all = vec![what];
        all.extend(root);
        all.extend(args);
        refuse(PREPARE, &all, code, parts);
    };
    let out = dir.path().join("out.csv");
    let to = ["--output-path", path(&out)];
    let video = |args: &[&str], parts: &[&str]| {
        let mut all = to.to_vec();
        all.extend(args);
        refused("video", &all, 2, parts);
    };
    video(&["--frames", "80"], &["77 or 81", "--any-shape"]);
    video(&["--size", "500x873"], &["512x864", "--any-shape"]);
    video(&["--frames", "1", "--any-shape"], &["1 frames"]);
    refused(
        "image",
        &["--task-groups", "mazes"],
        2,
        &["did you mean maze"],
    );
    let named = |args: &[&str], parts: &[&str]| {
        refused("image", &[&to[..], args].concat(), 2, parts);
    };
    named(
        &["--tasks", "midpint"],
        &["midpint", "color_grid, midpoint"],
    );
    named(&["--split", "train"], &["split", "none"]);
    refused(
        "parquet",
        &["--output-dir", path(&data)],
        2,
        &["no folder of an earlier export"],
    );
    refuse(PREPARE, &["vlm", "--data-root", "nowhere"], 2, &["nowhere"]);
    let picture = std::fs::read_dir(data.join("midpoint/puzzles"))
        .unwrap()
        .next();
    std::fs::remove_file(picture.unwrap().unwrap().path()).unwrap();
    let place = dir.path().join("vlm");
    let to = ["--output-dir", path(&place)];
    refused("vlm", &to, 1, &["record", "`image`", "_puzzle.png"]);
    let args = [&["vlm"], &root[..], &to[..], &["--lenient"]].concat();
    let told = succeed(PREPARE, &args);
    assert!(
        stderr(&told).contains("1 records were left out"),
        "{}",
        stderr(&told)
    );
    assert!(stderr(&told).contains("3 rows"), "{}", stderr(&told));
}

/// A full disk, for which a limit on the size of files stands in, and a kill: what was there stays.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_earlier_export_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    generate(
        &data,
        &["--count", "12", "--tasks", "color_grid,maze_square"],
    );
    let limited = |args: &[&str], blocks: u32| {
        // The signal that comes with the limit is ignored, so that writing fails as on a full disk.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let mut command = Command::new("bash");
        command.args(["-c", &script, "bash", PREPARE]).args(args);
        command.output().unwrap()
    };
    let text = |file: &str| dir.path().join(file).to_str().unwrap().to_owned();
    let (csv, json, vlm, shards, tars) = (
        text("c/v.csv"),
        text("i/m.json"),
        text("vlm"),
        text("shards"),
        text("tars"),
    );
    let root = ["--data-root", path(&data)];
    let exports: [(&[&str], u32); 5] = [
        (&["vlm", "--output-dir", &vlm], 16),
        (&["image", "--output-path", &json], 4),
        (&["video", "--output-path", &csv, "--frames", "5"], 4),
        (&["parquet", "--output-dir", &shards], 16),
        (
            &["parquet", "--format", "webdataset", "--output-dir", &tars],
            16,
        ),
    ];
    for (args, blocks) in exports {
        let whole = [args, &root[..]].concat();
        succeed(PREPARE, &[&whole[..], &["--tasks", "color_grid"]].concat());
        let out = Path::new(args.last().unwrap_or(&""));
        let out = if args.contains(&"--frames") {
            Path::new(&csv)
        } else {
            out
        };
        let before = everything(out);
        assert!(!before.is_empty());
        let failed = limited(&whole, blocks);
        let told = stderr(&failed);
        assert_eq!(failed.status.code(), Some(1), "{args:?}: {told}");
        assert!(told.contains("File too large"), "{told}");
        assert_eq!(everything(out), before, "{args:?}");
        let left = walk(dir.path())
            .into_iter()
            .filter(|p| path(p.strip_prefix(dir.path()).unwrap()).contains(".tmp"));
        assert_eq!(left.count(), 0, "{args:?}");
        succeed(PREPARE, &whole);
        assert_ne!(everything(out), before);
    }
}

/// Path and content of a file, or of every file of a folder.
fn everything(place: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let files = if place.is_dir() {
        walk(place)
    } else {
        vec![place.to_owned()]
    };
    files
        .into_iter()
        .map(|file| (file.clone(), std::fs::read(&file).unwrap()))
        .collect()
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let place = entry.unwrap().path();
        match place.is_dir() {
            true => found.extend(walk(&place)),
            false => found.push(place),
        }
    }
    found.sort();
    found
}

#[test]
fn grpo_trains_on_a_mixture_of_every_kind_of_answer() {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(dir.path(), "color_grid");
    let [data, vlm, out] = ["puzzles", "vlm", "run"].map(|name| dir.path().join(name));
    let tasks = "color_grid,maze_square,rects,mirror,midpoint";
    generate(&data, &["--count", "1", "--tasks", tasks]);
    let args = [
        "vlm",
        "--data-root",
        path(&data),
        "--output-dir",
        path(&vlm),
    ];
    succeed(PREPARE, &args);
    let file = vlm.join("train_grpo.jsonl");
    let args = [
        "--model",
        path(&own.model),
        "--data",
        path(&file),
        "--output-dir",
        path(&out),
        "--max-steps",
        "1",
        "--batch-size",
        "10",
        "--num-generations",
        "2",
        "--max-completion-length",
        "4",
    ];
    succeed(common::GRPO, &args);
    let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let step: Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    assert!(step["rewards/auto/mean"].is_number(), "{step}");
}
