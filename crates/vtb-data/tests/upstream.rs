//! Our reader and judges on what the two Python projects wrote.
//!
//! The recorded material lies beside the workspace; without it the tests do nothing but say so.
//! `cargo test -p vtb-data --test upstream -- --ignored --nocapture` prints the tables of
//! `docs/upstream.md`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::RgbImage;
use serde_json::Value;
use tempfile::TempDir;
use vtb_data::manifest::{Manifest, ManifestEntry};
use vtb_puzzle::judge::decode_picture;
use vtb_puzzle::{Outcome, PictureJudge, PictureVerdict};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/upstream");

fn recorded(folder: &str) -> Option<PathBuf> {
    let place = Path::new(RECORDED).join(folder);
    if !place.is_dir() {
        println!("skipped: the recorded data is not here ({folder})");
        return None;
    }
    Some(place)
}

/// The trees of records, and how many records each has.
const TREES: [(&str, usize); 4] = [
    ("dataset", 78),
    ("video_dataset", 4),
    ("variants/cell_ids", 6),
    ("newer_layout", 8),
];

fn entries(folder: &str) -> Option<Vec<ManifestEntry>> {
    let manifest = Manifest::open_upstream(recorded(folder)?, false).unwrap();
    Some(manifest.iter().map(Result::unwrap).collect())
}

fn load(path: &Path) -> RgbImage {
    decode_picture(&std::fs::read(path).unwrap()).unwrap()
}

/// One drawn answer to a maze.
struct Drawn {
    puzzle: String,
    task: String,
    group: String,
    variant: String,
    /// What it was meant to be: right, wrong, or either.
    intent: Option<bool>,
    upstream: bool,
    ours: PictureVerdict,
}

impl Drawn {
    fn name(&self) -> String {
        format!("{}/{}", self.puzzle, self.variant)
    }
}

/// The recorded mazes laid out as a tree that can be opened.
fn maze_tree(place: &Path) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for kind in ["maze_square", "maze_hexagon", "maze_labyrinth"] {
        let task = dir.path().join(kind);
        std::fs::create_dir_all(task.join("puzzles")).unwrap();
        std::fs::copy(place.join(kind).with_extension("json"), task.join("data.json")).unwrap();
        for picture in place.join("puzzles").read_dir().unwrap() {
            let picture = picture.unwrap();
            let copy = task.join("puzzles").join(picture.file_name());
            std::fs::copy(picture.path(), copy).unwrap();
        }
    }
    dir
}

fn drawn() -> Option<Vec<Drawn>> {
    let place = recorded("maze_verdicts")?;
    let tree = maze_tree(&place);
    let manifest = Manifest::open_upstream(tree.path(), false).unwrap();
    let judges: BTreeMap<String, PictureJudge> = (0..manifest.len())
        .map(|at| {
            let id = manifest.entry(at).unwrap().id;
            (id, manifest.picture_judge(at).unwrap())
        })
        .collect();
    let text = std::fs::read_to_string(place.join("verdicts.jsonl")).unwrap();
    let read = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| row[field].as_str().unwrap().to_owned();
        let bytes = std::fs::read(place.join(text("candidate"))).unwrap();
        Drawn {
            ours: judges[&text("puzzle")].judge_bytes(&bytes),
            puzzle: text("puzzle"),
            task: text("maze_type"),
            group: text("group"),
            variant: text("variant"),
            intent: match text("intent").as_str() {
                "pass" => Some(true),
                "fail" => Some(false),
                _ => None,
            },
            upstream: row["upstream_pass"].as_bool().unwrap(),
        }
    };
    Some(text.lines().map(read).collect())
}

#[test]
fn explore() {
    for (folder, count) in TREES {
        let Some(place) = recorded(folder) else { return };
        let manifest = Manifest::open_upstream(place, true).unwrap();
        println!("{folder}: {} of {count}, skipped {:?}", manifest.len(), manifest.skipped());
        for at in 0..manifest.len() {
            let entry = manifest.entry(at).unwrap();
            match manifest.picture_judge(at) {
                Err(fault) => println!("{} {}: {fault}", entry.task, entry.id),
                Ok(judge) => {
                    let puzzle = judge.judge(&load(&entry.puzzle.path));
                    let solution = judge.judge(&load(&entry.solution.as_ref().unwrap().path));
                    if puzzle.outcome != Outcome::Invalid || !solution.correct {
                        println!("{} {}: puzzle {:?} {}, solution {:?} {} {:?}", entry.task, entry.id, puzzle.outcome, puzzle.reason, solution.outcome, solution.reason, solution.measures);
                    }
                }
            }
        }
    }
    for case in drawn().unwrap() {
        let ours = case.ours.correct;
        let mark = match case.intent { Some(want) if want != ours => "DIFFERS", None => "unknown", _ => "ok" };
        if mark != "ok" {
            println!("{mark} {} {} intent {:?} upstream {} ours {:?} {}", case.group, case.name(), case.intent, case.upstream, case.ours.outcome, case.ours.reason);
        }
    }
}
