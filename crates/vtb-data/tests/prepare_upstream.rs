//! Our exports of the Python projects' data beside the exports that their own tools made of it.
//!
//! The recorded material lies beside the workspace; without it the tests do nothing but say so.
//! `cargo test -p vtb-data --test prepare_upstream -- --ignored --nocapture` prints the table of
//! `docs/upstream.md`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vtb_data::prepare::*;
use vtb_data::video::VideoReader;
use vtb_data::{JsonlDataset, OpenOptions, RowRules, RowSource};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/upstream");

fn recorded(folder: &str) -> Option<PathBuf> {
    let place = Path::new(RECORDED).join(folder);
    if !place.exists() {
        println!("skipped: the recorded data is not here ({folder})");
        return None;
    }
    Some(place)
}

fn settings(groups: &[&str]) -> Settings {
    let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    Settings {
        selection: Selection::new(&[], &groups, &[]).unwrap(),
        verify: Verify::Full,
        max_bad_rows: 0,
        dry: false,
    }
}

fn finish<E: Exporter>(source: &Source, settings: &Settings, exporter: E) -> Report {
    let done = run(source, settings, exporter, &mut |_| {
        ControlFlow::Continue(())
    });
    done.unwrap().unwrap()
}

fn common(source: &Source, out: &Path) -> Common {
    Common::new(source.root(), out, PathMode::Relative, false, false).unwrap()
}

fn jsonl(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn rows(path: &Path) -> Vec<Value> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let names = reader.headers().unwrap().clone();
    let row = |row: csv::Result<csv::StringRecord>| -> Value {
        let fields = names
            .iter()
            .zip(row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>());
        fields
            .map(|(name, value)| (name.to_owned(), Value::from(value)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    reader.records().map(row).collect()
}

/// Records by puzzle, solution and clip, each path from the data set's folder: prompts to find.
fn records(root: &Path) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for folder in std::fs::read_dir(root).unwrap() {
        let folder = folder.unwrap().path();
        let task = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read(folder.join("data.json")).unwrap();
        let list: Vec<Value> = serde_json::from_slice(&text).unwrap();
        for record in list {
            let image = record["image"].as_str().unwrap();
            let solution = record["solution_image_path"].as_str().unwrap();
            let clip = solution.replace(".png", ".mp4");
            for path in [image, solution, &clip] {
                found.insert(format!("{task}/{path}"), record.clone());
            }
        }
    }
    found
}

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    file: &'static str,
    theirs: usize,
    doubled: usize,
    worker_named: usize,
    unknown_group: usize,
    ours: usize,
    fields: String,
    differ: usize,
    why: &'static str,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            file,
            theirs,
            doubled,
            worker_named,
            unknown_group,
            ours,
            fields,
            differ,
            why,
        } = self;
        write!(
            f,
            "| `{file}` | {theirs} | {doubled} | {worker_named} | {unknown_group} | {ours} | {fields} | {differ} | {why} |"
        )
    }
}

/// Their rows without the second of each pair, which a worker's folder gave: by `key`.
fn undoubled(theirs: &[Value], key: &str) -> (BTreeMap<String, Value>, usize, usize) {
    let mut kept: BTreeMap<String, Value> = BTreeMap::new();
    let (mut doubled, mut worker) = (0, 0);
    for row in theirs {
        let name = match &row[key] {
            Value::Array(list) => list[0].as_str().unwrap().to_owned(),
            other => other.as_str().unwrap().to_owned(),
        };
        let is_worker = row["task_type"]
            .as_str()
            .is_some_and(|task| task.starts_with("worker_"));
        worker += usize::from(is_worker);
        match kept.get(&name) {
            None => {
                kept.insert(name, row.clone());
            }
            Some(first) => {
                doubled += 1;
                let first_is_worker = first["task_type"]
                    .as_str()
                    .is_some_and(|task| task.starts_with("worker_"));
                if first_is_worker && !is_worker {
                    kept.insert(name, row.clone());
                }
            }
        }
    }
    (kept, doubled, worker)
}

/// Compares rows that have the same key; `equal` are the fields that must be the same in all.
/// Returns how many have another prompt.
#[track_caller]
fn compare(
    ours: &[Value],
    theirs: &BTreeMap<String, Value>,
    key: &str,
    equal: &[&str],
    prompt: fn(&Value) -> &str,
) -> usize {
    let named: BTreeMap<String, &Value> = ours
        .iter()
        .map(|row| {
            let name = match &row[key] {
                Value::Array(list) => list[0].as_str().unwrap(),
                other => other.as_str().unwrap(),
            };
            (name.to_owned(), row)
        })
        .collect();
    assert_eq!(named.len(), ours.len(), "a row is doubled");
    let sets = |rows: BTreeSet<&String>| rows.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(sets(named.keys().collect()), sets(theirs.keys().collect()));
    let mut differ = 0;
    for (name, row) in &named {
        for field in equal {
            assert_eq!(row[*field], theirs[name][*field], "{name}: {field}");
        }
        differ += usize::from(prompt(row) != prompt(&theirs[name]));
    }
    differ
}

fn content(row: &Value) -> &str {
    row["messages"][0]["content"].as_str().unwrap()
}

fn prompt(row: &Value) -> &str {
    row["prompt"].as_str().unwrap()
}

/// Every line of the table, each checked on the way.
fn table() -> Option<Vec<Line>> {
    let (dataset, clips, exports) = (
        recorded("dataset")?,
        recorded("video_dataset")?,
        recorded("exports")?,
    );
    let out = tempfile::tempdir().unwrap();
    let mut table = Vec::new();
    let source = Source::open(&dataset, false).unwrap();
    let records_of = records(&dataset);

    let chosen = settings(&["eyeballing", "maze"]);
    let exporter = VlmExport::new(common(&source, out.path()), Schema::Swift).unwrap();
    finish(&source, &chosen, exporter);
    for file in [TRAIN_SFT, TRAIN_GRPO] {
        let theirs = jsonl(&exports.join(file));
        let (kept, doubled, worker_named) = undoubled(&theirs, "images");
        let ours = jsonl(&out.path().join(file));
        let equal = ["images", "solution", "task_type", "task_group", "id"];
        let differ = compare(&ours, &kept, "images", &equal, content);
        for row in &ours {
            // The record's own prompt: the one for texts where there is one.
            let record = &records_of[row["images"][0].as_str().unwrap()];
            let own = record.get("gpt5_prompt").unwrap_or(&record["prompt"]);
            assert!(content(row).contains(own.as_str().unwrap()));
            let last = row["messages"].as_array().unwrap().last().unwrap();
            let bare = row["solution"].as_str().unwrap();
            if file == TRAIN_SFT {
                assert_eq!(last["content"], format!("<answer>{bare}</answer>"));
                let theirs = &kept[row["images"][0].as_str().unwrap()];
                assert_eq!(theirs["messages"][1]["content"], bare);
            } else {
                assert_eq!(last["role"], "user");
            }
        }
        let fields = "`images`, `solution`, `task_type`, `task_group`, `id`";
        table.push(Line {
            file,
            theirs: theirs.len(),
            doubled,
            worker_named,
            unknown_group: 0,
            ours: ours.len(),
            fields: fields.to_owned(),
            differ,
            why: match file {
                TRAIN_SFT => {
                    "`messages`: their questions of their own and their last line are \
                              not copied; the record's prompt is there. The answer is in tags"
                }
                _ => "`messages`: as above, without an answer on both sides",
            },
        });
    }

    let everything = settings(&[]);
    let place = out.path().join(METADATA);
    let exporter = ImageExport::new(common(&source, out.path()), &place).unwrap();
    finish(&source, &everything, exporter);
    let theirs: Vec<Value> =
        serde_json::from_slice(&std::fs::read(exports.join(METADATA)).unwrap()).unwrap();
    let (kept, doubled, worker_named) = undoubled(&theirs, "edit_image");
    let ours: Vec<Value> = serde_json::from_slice(&std::fs::read(&place).unwrap()).unwrap();
    let equal = ["image", "edit_image", "task_type"];
    let differ = compare(&ours, &kept, "edit_image", &equal, prompt);
    for row in &ours {
        let record = &records_of[row["edit_image"].as_str().unwrap()];
        assert_eq!(
            row["prompt"].as_str(),
            record["prompt"].as_str().map(str::trim)
        );
    }
    table.push(Line {
        file: METADATA,
        theirs: theirs.len(),
        doubled,
        worker_named,
        unknown_group: ours.iter().filter(|row| row["task_group"] == "visual").count(),
        ours: ours.len(),
        fields: "`image`, `edit_image`, `task_type`".to_owned(),
        differ,
        why: "`prompt`: the record's whole; theirs is stripped, often of the words that ask for red",
    });
    // The group that theirs lets through whatever is asked for is left out when it is not.
    let exporter = ImageExport::new(common(&source, out.path()), &place).unwrap();
    let report = finish(&source, &chosen, exporter);
    assert_eq!(report.total(), 60);
    assert!(report.rows.keys().all(|(group, _)| group != "visual"));

    let source = Source::open(&clips, false).unwrap();
    let place = out.path().join("train_video.csv");
    let exporter =
        VideoExport::new(common(&source, out.path()), &place, VideoShape::default()).unwrap();
    finish(&source, &everything, exporter);
    let (theirs, ours) = (rows(&exports.join("train_video.csv")), rows(&place));
    let (kept, doubled, _) = undoubled(&theirs, "video");
    let differ = compare(&ours, &kept, "video", &["video"], prompt);
    let records_of = records(&clips);
    for row in &ours {
        let record = &records_of[row["video"].as_str().unwrap()];
        assert_eq!(
            row["prompt"].as_str(),
            record["prompt"].as_str().map(str::trim)
        );
        assert_eq!(row["id"], record["id"]);
    }
    table.push(Line {
        file: "train_video.csv",
        theirs: theirs.len(),
        doubled,
        worker_named: 0,
        unknown_group: 0,
        ours: ours.len(),
        fields: "`video`".to_owned(),
        differ,
        why: "`prompt`: the record's; theirs is one sentence for all mazes. `task_type`, \
              `task_group`, `id` are added",
    });
    Some(table)
}

#[test]
fn exports_have_the_rows_of_theirs_but_for_their_defects() {
    let Some(table) = table() else {
        return;
    };
    let counts = |line: &Line| {
        (
            line.theirs,
            line.doubled,
            line.worker_named,
            line.unknown_group,
            line.ours,
        )
    };
    let found: Vec<_> = table.iter().map(counts).collect();
    assert_eq!(
        found,
        [
            (120, 60, 60, 0, 60),
            (120, 60, 60, 0, 60),
            (156, 78, 78, 18, 78),
            (8, 4, 0, 0, 4)
        ]
    );
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/upstream.md");
    let page = std::fs::read_to_string(page).unwrap();
    for line in &table {
        assert!(
            page.contains(&line.to_string()),
            "docs/upstream.md lacks:\n{line}"
        );
    }
}

#[test]
#[ignore = "prints the table of docs/upstream.md"]
fn print_the_table() {
    for line in table().into_iter().flatten() {
        println!("{line}");
    }
}

/// Every folder of theirs, every group: each row is read back with an answer, and mazes with ids
/// printed are asked about with the picture that has them.
#[test]
fn every_record_of_theirs_is_asked_about() {
    let trees = [
        ("dataset", 78),
        ("video_dataset", 4),
        ("variants/cell_ids", 6),
        ("newer_layout", 8),
    ];
    for (folder, count) in trees {
        let Some(place) = recorded(folder) else {
            return;
        };
        let out = tempfile::tempdir().unwrap();
        let source = Source::open(&place, false).unwrap();
        let paths =
            Common::new(source.root(), out.path(), PathMode::Absolute, false, false).unwrap();
        let exporter = VlmExport::new(paths, Schema::Swift).unwrap();
        let report = finish(&source, &settings(&[]), exporter);
        assert_eq!(report.total(), count, "{folder}");
        let rules = OpenOptions::new(RowRules::grpo());
        let data = JsonlDataset::open(out.path().join(TRAIN_GRPO), &rules).unwrap();
        for at in 0..data.len() {
            let row = data.row(at).unwrap();
            row.load_images(&Default::default()).unwrap();
            let maze = row.task_group.as_deref() == Some("maze");
            assert_eq!(row.extra.contains_key("maze"), maze);
            if folder == "newer_layout" {
                assert!(row.extra.contains_key("options") || maze, "{:?}", row.id);
                let picture = row.images[0].to_string();
                assert_eq!(picture.contains("/reasoning/"), maze, "{picture}");
            }
        }
    }
}

/// Both doors to the newer layout lead to the same rows.
#[test]
fn the_canonical_manifest_says_what_the_tree_says() {
    let Some(place) = recorded("newer_layout") else {
        return;
    };
    let whole = vtb_data::manifest::Manifest::open_canonical(&place, false).unwrap();
    let tree = vtb_data::manifest::Manifest::open_upstream(&place, false).unwrap();
    let named = |manifest: &vtb_data::manifest::Manifest| {
        let mut entries: Vec<_> = manifest.iter().map(Result::unwrap).collect();
        entries.sort_by(|a, b| (&a.task, &a.id).cmp(&(&b.task, &b.id)));
        for entry in &mut entries {
            entry.foreign = None;
        }
        entries
    };
    assert_eq!(whole.len(), 8);
    assert_eq!(named(&whole), named(&tree));
}

/// Their clips are VP9, which is not decoded here: taken as they are, refused where they would
/// have to be changed.
#[test]
fn clips_in_another_codec_are_named() {
    let Some(place) = recorded("video_dataset") else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let source = Source::open(&place, false).unwrap();
    let shape = VideoShape {
        frames: Some(49),
        ..VideoShape::default()
    };
    let file = out.path().join("train_video.csv");
    let exporter = VideoExport::new(common(&source, out.path()), &file, shape).unwrap();
    let ended = run(&source, &settings(&[]), exporter, &mut |_| {
        ControlFlow::Continue(())
    });
    let fault = ended.unwrap_err().to_string();
    assert!(
        fault.contains("solution_video_path") && fault.contains("VP9"),
        "{fault}"
    );
    let clip = source_clip(&place);
    assert!(VideoReader::open(&clip).is_err());
}

fn source_clip(place: &Path) -> PathBuf {
    let manifest = vtb_data::manifest::Manifest::open_upstream(place, false).unwrap();
    manifest.entry(0).unwrap().video.unwrap().file.path
}
