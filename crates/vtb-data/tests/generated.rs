//! Rows made from puzzles: distinct, disjoint from what is held out, the same every time, and the
//! same again after they were written to files.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeSet;

use serde_json::json;
use vtb_data::{
    DataError, GeneratedDataset, ImageOptions, JsonlDataset, OpenOptions, PuzzleSpec, Role,
    RowMode, RowRules, RowSource, write_jsonl,
};

fn spec(task: &str, seed: u64, count: usize) -> PuzzleSpec {
    PuzzleSpec {
        task: task.to_owned(),
        params: json!(null),
        seed,
        count,
    }
}

fn make(task: &str, seed: u64, count: usize, held_out: &BTreeSet<String>) -> GeneratedDataset {
    GeneratedDataset::new(&spec(task, seed, count), RowMode::Grpo, held_out).unwrap()
}

#[test]
fn splits_share_no_scene_even_with_one_seed() {
    let held_out = make("color_grid", 1, 60, &BTreeSet::new());
    let train = make("color_grid", 1, 300, &held_out.scene_hashes());
    assert_eq!((held_out.len(), train.len()), (60, 300));
    assert_eq!(
        train.scene_hashes().len(),
        300,
        "scenes within the split are distinct"
    );
    assert!(train.scene_hashes().is_disjoint(&held_out.scene_hashes()));
}

#[test]
fn the_same_spec_gives_the_same_rows_for_any_number_of_threads() {
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let first = one.install(|| make("color_grid", 3, 40, &BTreeSet::new()));
    let second = make("color_grid", 3, 40, &BTreeSet::new())
        .with_pictures()
        .unwrap();
    assert_eq!(first.fingerprint(), second.fingerprint());
    for i in 0..40 {
        assert_eq!(first.row(i).unwrap(), second.row(i).unwrap());
    }
    assert_ne!(
        first.fingerprint(),
        make("color_grid", 4, 40, &BTreeSet::new()).fingerprint()
    );
    // A longer set begins with the shorter one.
    let longer = make("color_grid", 3, 50, &BTreeSet::new());
    assert_eq!(longer.records()[..40], first.records()[..]);
}

#[test]
fn too_many_rows_and_unknown_tasks_are_refused() {
    let fail = |spec: &PuzzleSpec| {
        GeneratedDataset::new(spec, RowMode::Sft, &BTreeSet::new()).unwrap_err()
    };
    assert!(matches!(
        fail(&spec("color_grid", 0, 0)),
        DataError::Empty { .. }
    ));
    assert!(
        fail(&spec("colour_grid", 0, 1))
            .to_string()
            .contains("did you mean `color_grid`?")
    );
    let wrong = PuzzleSpec {
        params: json!({"no_such": 1}),
        ..spec("color_grid", 0, 1)
    };
    assert!(fail(&wrong).to_string().contains("no_such"));
}

#[test]
fn a_search_that_finds_no_new_scene_ends() {
    let params = json!({
        "canvas": 64, "palette": ["blue", "green", "purple", "red"], "tints": 1, "offset": 0.0,
        "radius_max": 0.075, "spacing_max": 0.245,
    });
    let space = vtb_puzzle::find("color_grid")
        .unwrap()
        .scene_space(&params)
        .unwrap()
        .unwrap();
    let some = |count| PuzzleSpec {
        params: params.clone(),
        ..spec("color_grid", 0, count)
    };
    let all = GeneratedDataset::new(&some(space as usize), RowMode::Grpo, &BTreeSet::new());
    // Nothing is left, which the number of scenes alone does not tell.
    let held_out = all.unwrap().scene_hashes();
    let error = GeneratedDataset::new(&some(1), RowMode::Grpo, &held_out).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("puzzle color_grid: 0 distinct scenes were found in 256 tries"),
        "{text}"
    );
}

#[test]
fn supervision_adds_the_answer() {
    let sft = GeneratedDataset::new(&spec("midpoint", 2, 3), RowMode::Sft, &BTreeSet::new());
    let sft = sft.unwrap();
    for i in 0..3 {
        let row = sft.row(i).unwrap();
        assert_eq!(row.messages[0].image_tags(), 1);
        assert_eq!(row.messages[1].role, Role::Assistant);
        assert_eq!(row.messages[1].content, sft.records()[i].gold_text());
    }
    assert_eq!(
        make("midpoint", 2, 1, &BTreeSet::new())
            .row(0)
            .unwrap()
            .messages
            .len(),
        1
    );
}

#[test]
fn what_is_written_reads_back_as_the_same_rows() {
    for (task, column) in [("maze_square", "maze"), ("color_grid", "options")] {
        let data =
            GeneratedDataset::new(&spec(task, 7, 5), RowMode::Sft, &BTreeSet::new()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let options = ImageOptions::default();
        let file = write_jsonl(dir.path(), "train.jsonl", &data, &options).unwrap();
        let confined = ImageOptions {
            root: Some(dir.path().join("images")),
            ..options.clone()
        };
        let open = OpenOptions {
            images: confined,
            ..OpenOptions::new(RowRules::sft())
        };
        let back = JsonlDataset::open(&file, &open).unwrap();
        assert_eq!(back.len(), 5);
        for i in 0..5 {
            let (a, b) = (data.row(i).unwrap(), back.row(i).unwrap());
            assert_eq!(a.messages, b.messages);
            assert_eq!(a.columns(), b.columns());
            assert!(a.columns().contains_key(column));
            assert_eq!(
                a.columns()["scene_hash"],
                data.records()[i].scene_hash.as_str()
            );
            assert_eq!(
                a.load_images(&options).unwrap(),
                b.load_images(&options).unwrap()
            );
        }
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 2, "nothing but the file and its pictures");
    }
}

#[test]
fn names_from_a_file_cannot_leave_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let png = vtb_data::image_io::encode_png(&image::RgbImage::new(2, 2)).unwrap();
    std::fs::write(dir.path().join("a.png"), png).unwrap();
    let row = |id: &str| {
        json!({"messages": [{"role": "user", "content": "q"}], "images": ["a.png", "a.png"],
            "solution": "A", "id": id})
    };
    let text = [row("../../evil"), row("same"), row("same")]
        .map(|r| r.to_string())
        .join("\n");
    let source = dir.path().join("in.jsonl");
    std::fs::write(&source, text).unwrap();
    let data = JsonlDataset::open(&source, &OpenOptions::new(RowRules::grpo())).unwrap();
    let out = dir.path().join("out");
    write_jsonl(&out, "t.jsonl", &data, &ImageOptions::default()).unwrap();
    let mut names: Vec<String> = std::fs::read_dir(out.join("images"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let wanted = [
        "row_0.png",
        "row_0_1.png",
        "row_2.png",
        "row_2_1.png",
        "same.png",
        "same_1.png",
    ];
    assert_eq!(names, wanted);
}

#[test]
fn an_export_that_fails_leaves_the_older_file() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("train.jsonl");
    std::fs::write(&old, "older\n").unwrap();
    // The place for pictures is taken by a file: the first write fails.
    std::fs::write(dir.path().join("images"), "").unwrap();
    let data = make("color_grid", 1, 2, &BTreeSet::new());
    let error = write_jsonl(dir.path(), "train.jsonl", &data, &ImageOptions::default());
    assert!(error.unwrap_err().to_string().contains("images"));
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "older\n");
}
