//! Manifests of ours and trees of others, read into the same entries.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail by panicking, and says when it is skipped"
)]

mod common;

use std::path::{Path, PathBuf};

use common::{data_set, read_all, small};
use serde_json::{Value, json};
use vtb_data::manifest::{Manifest, ManifestEntry};
use vtb_puzzle::{Answer, TaskGroup};

fn fault(result: vtb_data::Result<Manifest>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn folder_and_file_open_alike_and_entries_come_by_number() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data_set(&small(3, true), dir.path());
    let file = Manifest::open(dir.path().join("manifest.jsonl")).unwrap();
    let entries = read_all(&manifest);
    assert_eq!(entries, read_all(&file));
    assert_eq!((manifest.len(), manifest.is_empty()), (9, false));
    assert_eq!(manifest.entry(4).unwrap(), entries[4]);
    assert!(manifest.entry(9).unwrap_err().to_string().contains("row 9"));
    let maze = &entries[3];
    assert_eq!(
        (maze.task.as_str(), maze.group),
        ("maze_square", TaskGroup::Maze)
    );
    assert!(maze.puzzle.path.starts_with(dir.path()));
    assert!(maze.prompts.text.contains("<answer>"));
    assert!(fault(Manifest::open(dir.path().join("none"))).contains("cannot open"));
}

#[test]
fn a_faulty_line_is_named_with_its_field() {
    let dir = tempfile::tempdir().unwrap();
    data_set(&small(1, false), &dir.path().join("set"));
    let text = std::fs::read_to_string(dir.path().join("set/manifest.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let path = dir.path().join("other.jsonl");
    let with = |second: &str| {
        let text = format!("{}\n\n{second}\n", lines[0]);
        std::fs::write(&path, text).unwrap();
        let text = fault(Manifest::open(&path));
        assert!(text.contains("other.jsonl:3: "), "{text}");
        text
    };
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut line: Value = serde_json::from_str(lines[1]).unwrap();
        change(&mut line);
        with(&line.to_string())
    };
    assert!(with("{").contains("not a JSON object"));
    assert!(with("[]").contains("not a JSON object"));
    assert!(with(r#"{"schema":1,"schema":1}"#).contains("stands twice"));
    assert!(with(lines[0]).contains("is the id of row 1 already"));
    assert!(
        changed(&|l| l["schema"] = json!(2)).contains("`schema`: is 2 and this program reads 1")
    );
    assert!(
        changed(&|l| l["task"] = json!("x")).contains("`task`: differs from the one in `record`")
    );
    assert!(changed(&|l| l["answer"] = json!([1])).contains("`answer`: differs"));
    assert!(changed(&|l| l["seed"] = json!("x")).contains("`seed`: invalid type"));
    assert!(changed(&|l| l["split"] = json!(3)).contains("`split` must be text, not a number"));
    assert!(changed(&|l| l["spilt"] = json!("x")).contains("there is no field `spilt`"));
    assert!(changed(&|l| l["record"]["seed"] = json!(-1)).contains("`record`: invalid value"));
    for gone in ["schema", "id", "prompts", "assets", "record"] {
        let text = changed(&|l| {
            l.as_object_mut().unwrap().remove(gone);
        });
        assert!(text.contains(&format!("`{gone}` is missing")), "{text}");
    }
    for place in ["../x.png", "/etc/x.png", "a/../../x.png", ""] {
        let text = changed(&|l| l["assets"]["puzzle"]["path"] = json!(place));
        assert!(text.contains("`assets.puzzle.path`: "), "{text}");
    }
    std::fs::write(&path, "\n").unwrap();
    assert!(fault(Manifest::open(&path)).contains("it has no rows"));
}

#[test]
fn what_is_generated_also_reads_as_a_foreign_tree() {
    let dir = tempfile::tempdir().unwrap();
    let ours = read_all(&data_set(&small(4, true), dir.path()));
    let theirs = read_all(&Manifest::open_upstream(dir.path(), false).unwrap());
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!((&ours.id, &ours.task), (&theirs.id, &theirs.task));
        assert_eq!((&ours.answer, ours.group), (&theirs.answer, theirs.group));
        assert_eq!(
            (&ours.options, &ours.split),
            (&theirs.options, &theirs.split)
        );
        assert_eq!(ours.prompts, theirs.prompts);
        let paths = |entry: &ManifestEntry| -> Vec<PathBuf> {
            entry.assets().map(|asset| asset.path.clone()).collect()
        };
        assert_eq!(paths(ours), paths(theirs));
        assert!(theirs.assets().all(|asset| asset.verify().is_ok()));
    }
    let one = Manifest::open_upstream(dir.path().join("midpoint"), false).unwrap();
    assert_eq!(one.len(), 4);
    let text = std::fs::read_to_string(dir.path().join("midpoint/data.json")).unwrap();
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(rows[0]["candidates"].as_array().unwrap().len(), 5);
    assert_eq!(rows[0]["point_radius"], 10);
    assert_eq!(rows[0]["canvas_dimensions"], json!([400, 380]));
    assert_eq!(rows[0]["video_num_frames"], 5);
    assert!(rows[0].get("solution_path_cell_ids").is_none());
}

fn tree_of(dir: &Path, task: &str, data: &Value) {
    std::fs::create_dir_all(dir.join(task)).unwrap();
    std::fs::write(dir.join(task).join("data.json"), data.to_string()).unwrap();
}

#[test]
fn a_foreign_record_that_is_not_understood_is_named_or_counted() {
    let dir = tempfile::tempdir().unwrap();
    let good = json!({"id": "a", "image": "p.png", "correct_option": "B", "prompt": "?"});
    let read = |second: Value| {
        tree_of(dir.path(), "midpoint", &json!([good, second]));
        let text = fault(Manifest::open_upstream(dir.path(), false));
        let lenient = Manifest::open_upstream(dir.path(), true).unwrap();
        assert_eq!((lenient.len(), lenient.skipped().len()), (1, 1));
        assert_eq!(lenient.skipped()[0].to_string(), text);
        assert!(text.contains("data.json: record 2 ("), "{text}");
        text
    };
    let changed = |field: &str, value: Value| {
        let mut record = good.clone();
        record["id"] = json!("b");
        record[field] = value;
        read(record)
    };
    assert!(read(json!(3)).contains("a number stands where a record should"));
    assert!(read(json!({"image": "p.png"})).contains("`id` is missing"));
    assert!(read(good.clone()).contains("(a): field `id`: a is the id of row 1 already"));
    assert!(changed("correct_option", Value::Null).contains("`correct_option`"));
    assert!(changed("correct_option", json!(2)).contains("must be text, not a number"));
    assert!(
        changed("candidates", json!([{"label": "A"}])).contains("\"B\" is none of the options A")
    );
    assert!(changed("image", json!("/tmp/x.png")).contains("`image`: "));
    assert!(changed("image", Value::Null).contains("`image` is missing"));
    assert!(changed("task_group", json!("x")).contains("`task_group`"));
    let path = json!({"id": "b", "image": "p.png", "solution_path_cell_ids": [1, -2]});
    assert!(read(path).contains("`solution_path_cell_ids` must be a list of cell numbers"));

    std::fs::write(dir.path().join("midpoint/data.json"), "[{\n,").unwrap();
    let text = fault(Manifest::open_upstream(dir.path(), true));
    assert!(text.contains("data.json:2: not a JSON"), "{text}");
    let empty = tempfile::tempdir().unwrap();
    let text = fault(Manifest::open_upstream(empty.path(), true));
    assert!(text.contains("none of its folders has a data.json"));
}

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/upstream");

fn recorded(folder: &str) -> Option<PathBuf> {
    let place = Path::new(RECORDED).join(folder);
    if !place.is_dir() {
        println!("skipped: the recorded data is not here");
        return None;
    }
    Some(place)
}

#[test]
fn recorded_data_is_read_once_and_whole() {
    let Some(place) = recorded("dataset") else {
        return;
    };
    let manifest = Manifest::open_upstream(&place, false).unwrap();
    // Thirteen tasks of six; what workers left below them is not read again.
    assert_eq!(manifest.len(), 13 * 6);
    let entries = read_all(&manifest);
    let of = |task: &str| entries.iter().filter(|e| e.task == task).count();
    assert_eq!(
        (of("midpoint"), of("maze_square"), of("circle_count")),
        (6, 6, 6)
    );
    assert_eq!((of("mirror"), of("rects")), (6, 6));
    for entry in &entries {
        assert!(entry.assets().all(|asset| asset.verify().is_ok()));
        let path = matches!(entry.answer, Answer::Path(_));
        assert_eq!(path, entry.group == TaskGroup::Maze, "{}", entry.task);
    }
    let midpoint = entries.iter().find(|e| e.task == "midpoint").unwrap();
    assert_eq!(midpoint.options, ["A", "B", "C", "D", "E"]);
}

#[test]
fn recorded_data_of_the_newer_layout_and_with_clips_is_read() {
    let (Some(newer), Some(clips)) = (recorded("newer_layout"), recorded("video_dataset")) else {
        return;
    };
    let entries = read_all(&Manifest::open_upstream(newer, false).unwrap());
    assert_eq!(entries.len(), 8);
    let colors = entries.iter().find(|e| e.task == "color_grid").unwrap();
    assert_eq!(colors.group, TaskGroup::VisualPuzzle);
    assert!(matches!(&colors.answer, Answer::Choice(c) if !c.contains([':', '.', ' '])));
    let maze = entries.iter().find(|e| e.task == "maze_square").unwrap();
    assert!(maze.reasoning.is_some() && maze.video.is_none());
    assert!(
        entries
            .iter()
            .flat_map(ManifestEntry::assets)
            .all(|a| a.verify().is_ok())
    );
    let entries = read_all(&Manifest::open_upstream(clips, false).unwrap());
    assert_eq!(entries.len(), 4);
    for entry in entries {
        // The older records name no clip: it lies beside the solution.
        let video = entry.video.as_ref().unwrap();
        assert!(
            video
                .file
                .path
                .ends_with(format!("{}_solution.mp4", entry.id))
        );
        video.file.verify().unwrap();
    }
}
