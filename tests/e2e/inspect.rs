//! Training files looked at before anything is trained on them: `prepare-data check` and `preview`, `reward check`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;

use std::path::{Path, PathBuf};

use common::{path, run, stdout, succeed};
use serde_json::{Value, json};

const GENERATE: &str = env!("CARGO_BIN_EXE_generate-dataset");
const PREPARE: &str = env!("CARGO_BIN_EXE_prepare-data");
const REWARD: &str = env!("CARGO_BIN_EXE_reward");

/// A data set with clips, and its three training files.
struct Files {
    dir: tempfile::TempDir,
    sft: PathBuf,
    grpo: PathBuf,
    edits: PathBuf,
    clips: PathBuf,
}

fn files() -> Files {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let data = at("data");
    let args = [
        "--output-dir",
        path(&data),
        "--tasks",
        "color_grid,maze_square,rects",
        "--count",
        "4",
        "--seed",
        "7",
        "--canvas-width",
        "256",
        "--split",
        "train=0.5,test=0.5",
        "--video",
        "--frames",
        "9",
    ];
    succeed(GENERATE, &args);
    let args = ["--data-root", path(&data)];
    let vlm = at("vlm");
    succeed(
        PREPARE,
        &[&["vlm"], &args[..], &["--output-dir", path(&vlm)]].concat(),
    );
    let edits = at("edits/metadata.json");
    succeed(
        PREPARE,
        &[&["image"], &args[..], &["--output-path", path(&edits)]].concat(),
    );
    let clips = at("clips/train_video.csv");
    let shape = [
        "--output-path",
        path(&clips),
        "--size",
        "256x256",
        "--frames",
        "9",
    ];
    succeed(PREPARE, &[&["video"], &args[..], &shape].concat());
    let [sft, grpo] = ["train_sft.jsonl", "train_grpo.jsonl"].map(|name| vlm.join(name));
    Files {
        dir,
        sft,
        grpo,
        edits,
        clips,
    }
}

/// The report of a check, and whether it found nothing wrong.
fn check(file: &Path, extra: &[&str]) -> (String, bool) {
    let args = [&["check", path(file)], extra].concat();
    let done = run(PREPARE, &args);
    let code = done.status.code();
    assert!(
        matches!(code, Some(0 | 1)),
        "{code:?}: {}",
        common::stderr(&done)
    );
    (stdout(&done), code == Some(0))
}

fn rows(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn write(file: &Path, rows: &[Value]) {
    let lines: Vec<_> = rows.iter().map(Value::to_string).collect();
    std::fs::write(file, lines.join("\n")).unwrap();
}

#[test]
fn files_are_checked_shown_and_scored() {
    let files = files();
    let root = path(files.dir.path());
    let edit_base = ["--base-path", &format!("{root}/data")];
    // What was just made has no fault.
    for (file, extra, kind) in [
        (&files.sft, &[][..], "conversations with answers"),
        (&files.grpo, &[][..], "prompts with solutions"),
        (&files.edits, &edit_base[..], "pictures to draw"),
        (&files.clips, &[][..], "clips to draw"),
    ] {
        let extra = if file == &files.clips {
            clip_base(&files.clips)
        } else {
            extra.iter().map(|e| (*e).to_owned()).collect()
        };
        let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
        let (report, clean) = check(file, &extra);
        assert!(clean, "{}\n{report}", file.display());
        assert!(report.contains(kind), "{report}");
        assert!(report.contains("rows                   12"), "{report}");
        let sheet = files.dir.path().join("sheet.png");
        let mut args = vec!["preview", path(file), "--rows", "5", "--out", path(&sheet)];
        args.extend(&extra);
        assert!(stdout(&succeed(PREPARE, &args)).starts_with("5 rows"));
        let shown = image::open(&sheet).unwrap().into_rgb8();
        assert_eq!(shown.dimensions(), (1280, 3 * 216));
        let colours: std::collections::BTreeSet<_> = shown.pixels().map(|p| p.0).collect();
        assert!(colours.len() > 20, "a sheet of {} colours", colours.len());
    }
    scored(&files);
    broken_conversations(&files);
    broken_pictures(&files);
}

/// Where the clips of a CSV file start: paths are relative to its folder or to the data set.
fn clip_base(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let first = text
        .lines()
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap()
        .trim_matches('"')
        .to_owned();
    let folder = file.parent().unwrap();
    match folder.join(&first).exists() {
        true => Vec::new(),
        false => vec![
            "--base-path".to_owned(),
            path(&folder.with_file_name("data")).to_owned(),
        ],
    }
}

fn scored(files: &Files) {
    let told = stdout(&succeed(
        REWARD,
        &["check", path(&files.grpo), "--rewards", "auto"],
    ));
    let gold = told.lines().find(|line| line.starts_with("gold ")).unwrap();
    let numbers: Vec<_> = gold.split_whitespace().skip(1).collect();
    assert_eq!(numbers, ["12", "1.000", "1.000", "1.000"], "{told}");
    // A reward that pays for any text cannot tell right from wrong.
    let done = run(REWARD, &["check", path(&files.grpo), "--rewards", "format"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(
        stdout(&done).contains("`wrong` is paid no less than gold"),
        "{}",
        stdout(&done)
    );
    let done = run(REWARD, &["check", path(&files.grpo), "--rewards", "autp"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(common::stderr(&done).contains("did you mean `auto`"));
}

fn broken_conversations(files: &Files) {
    let folder = files.sft.parent().unwrap();
    let good = rows(&files.sft);
    let case = |name: &str, rows: &[Value], extra: &[&str], said: &str| {
        let file = folder.join(name);
        write(&file, rows);
        let (report, clean) = check(&file, extra);
        assert!(!clean && report.contains(said), "{name}: {report}");
    };
    case(
        "doubled.jsonl",
        &[good.clone(), good[..1].to_vec()].concat(),
        &[],
        "a row repeats another: 1",
    );
    let mut lost = good.clone();
    lost[2]["images"] = json!(["nowhere.png"]);
    case("lost.jsonl", &lost, &[], "cannot be read: 1");
    let mut leaks = good.clone();
    let split = if leaks[0]["split"] == "train" {
        "test"
    } else {
        "train"
    };
    leaks.push(leaks[0].clone());
    leaks[12]["split"] = json!(split);
    leaks[12]["messages"][0]["content"] = json!("<image>Another question?");
    case("leak.jsonl", &leaks, &[], "a scene stands in two splits: 1");
    let grpo = path(&files.grpo);
    case(
        "same.jsonl",
        &good,
        &["--against", grpo],
        "train_grpo.jsonl too: 12",
    );
}

fn broken_pictures(files: &Files) {
    let text = std::fs::read_to_string(&files.edits).unwrap();
    let good: Vec<Value> = serde_json::from_str(&text).unwrap();
    let base = format!("{}/data", path(files.dir.path()));
    let case = |name: &str, rows: &[Value], said: &str| {
        let file = files.edits.with_file_name(name);
        std::fs::write(&file, Value::from(rows.to_vec()).to_string()).unwrap();
        let (report, clean) = check(&file, &["--base-path", &base]);
        assert!(!clean && report.contains(said), "{name}: {report}");
    };
    let mut same = good.clone();
    same[1]["image"] = same[1]["edit_image"].clone();
    case(
        "same.json",
        &same,
        "what is to be drawn is there already: 1",
    );
    let mut swapped = good.clone();
    let (image, edit) = (good[0]["image"].clone(), good[0]["edit_image"].clone());
    swapped.push(json!({"prompt": "again", "image": edit, "edit_image": image}));
    case(
        "swapped.json",
        &swapped,
        "source and target may be swapped: 2",
    );
}
