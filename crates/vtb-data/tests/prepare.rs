//! Exports of our own data sets and of trees in the Python projects' form, whole and damaged.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use common::*;
use serde_json::{Value, json};
use vtb_data::generate::ClipSize;
use vtb_data::prepare::*;
use vtb_data::video::{SizeFit, VideoReader};
use vtb_data::{DataError, JsonlDataset, OpenOptions, RowRules, RowSource, image_io};

fn strict() -> Settings {
    Settings {
        selection: Selection::default(),
        verify: Verify::Full,
        max_bad_rows: 0,
        dry: false,
    }
}

fn lenient(max_bad_rows: usize) -> Settings {
    Settings {
        max_bad_rows,
        ..strict()
    }
}

fn finish<E: Exporter>(source: &Source, settings: &Settings, exporter: E) -> Report {
    let done = run(source, settings, exporter, &mut |_| {
        ControlFlow::Continue(())
    });
    done.unwrap().unwrap()
}

fn common(source: &Source, out: &Path, mode: PathMode) -> Common {
    Common::new(source.root(), out, mode, false, false).unwrap()
}

fn vlm(source: &Source, out: &Path, settings: &Settings) -> vtb_data::Result<Option<Report>> {
    let exporter = VlmExport::new(common(source, out, PathMode::Output), Schema::Swift)?;
    run(source, settings, exporter, &mut |_| {
        ControlFlow::Continue(())
    })
}

fn image(source: &Source, out: &Path, settings: &Settings) -> vtb_data::Result<Option<Report>> {
    let common = common(source, out, PathMode::Relative);
    let exporter = ImageExport::new(common, &out.join(METADATA))?;
    run(source, settings, exporter, &mut |_| {
        ControlFlow::Continue(())
    })
}

#[track_caller]
fn refused(dir: &Path, parts: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let fault = match Source::open(dir, false) {
        Err(fault) => fault,
        Ok(source) => image(&source, out.path(), &strict()).map(drop).unwrap_err(),
    };
    let text = fault.to_string();
    for part in parts {
        assert!(text.contains(part), "{part} is not named: {text}");
    }
    let left = files(out.path(), "");
    assert!(left.is_empty(), "{left:?} was left");
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn questions_take_turns_by_task_and_read_back() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manifest = data_set(&small(3, false), dir.path());
    let source = Source::open(dir.path(), false).unwrap();
    let report = vlm(&source, out.path(), &strict()).unwrap().unwrap();
    assert_eq!(report.total(), manifest.len());
    let rows = lines(&out.path().join(TRAIN_SFT));
    let tasks: Vec<&str> = rows
        .iter()
        .map(|row| row["task_type"].as_str().unwrap())
        .collect();
    let turn = ["color_grid", "maze_square", "midpoint"];
    assert_eq!(tasks, turn.repeat(3));
    for (name, rules) in [(TRAIN_SFT, RowRules::sft()), (TRAIN_GRPO, RowRules::grpo())] {
        let data = JsonlDataset::open(out.path().join(name), &OpenOptions::new(rules)).unwrap();
        assert_eq!(data.len(), manifest.len());
        let ids: BTreeSet<_> = (0..data.len()).map(|at| data.row(at).unwrap().id).collect();
        assert_eq!(ids.len(), manifest.len(), "a row is doubled");
        for at in 0..data.len() {
            let row = data.row(at).unwrap();
            row.load_images(&image_io::ImageOptions::default()).unwrap();
            let entry = manifest.iter().map(Result::unwrap);
            let entry = entry
                .into_iter()
                .find(|e| Some(&e.id) == row.id.as_ref())
                .unwrap();
            assert_eq!(
                row.extra["scene_hash"],
                entry.record.as_ref().unwrap().scene_hash
            );
            assert_eq!(row.extra["split"].as_str(), entry.split.as_deref());
            assert_eq!(row.extra.contains_key("maze"), entry.task == "maze_square");
            // Text for every kind of answer: a column has one type.
            assert!(row.solution.unwrap().is_string());
        }
    }
}

#[test]
fn mazes_without_ids_are_asked_about_with_ids() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bare = |name| (name, json!({"print_ids": false}));
    let mazes = ["maze_hexagon", "maze_labyrinth", "maze_square"].map(bare);
    let manifest = data_set(&request(&mazes, 1), dir.path());
    let source = Source::open(dir.path(), false).unwrap();
    vlm(&source, out.path(), &strict()).unwrap();
    for row in lines(&out.path().join(TRAIN_GRPO)) {
        let entry = read_all(&manifest)
            .into_iter()
            .find(|e| row["id"] == *e.id)
            .unwrap();
        let record = entry.record.unwrap();
        let task = vtb_puzzle::find(&record.task).unwrap();
        let mut params = record.params.clone();
        params["print_ids"] = true.into();
        let printed = task.generate(&params, record.seed).unwrap();
        let shown = out.path().join(row["images"][0].as_str().unwrap());
        let wanted = task.draw(&printed, vtb_puzzle::Layer::Puzzle).unwrap();
        assert_eq!(image::open(&shown).unwrap().into_rgb8(), wanted);
        assert_ne!(
            std::fs::read(&shown).unwrap(),
            entry.puzzle.read(1 << 20).unwrap()
        );
        let asked = row["messages"][0]["content"].as_str().unwrap();
        assert_eq!(asked, format!("<image>{}", printed.prompts.text));
        assert_ne!(printed.prompts.text, record.prompts.text);
    }
}

#[test]
fn chat_rows_have_parts() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    data_set(&small(1, false), dir.path());
    let source = Source::open(dir.path(), false).unwrap();
    let paths = common(&source, out.path(), PathMode::Absolute);
    finish(
        &source,
        &strict(),
        VlmExport::new(paths, Schema::Trl).unwrap(),
    );
    for row in lines(&out.path().join(TRAIN_SFT)) {
        let asked = &row["prompt"][0]["content"];
        assert_eq!(asked[0], json!({"type": "image"}));
        assert_eq!(asked[1]["type"], "text");
        assert!(!asked[1]["text"].as_str().unwrap().contains("<image>"));
        let answer = row["completion"][0]["content"][0]["text"].as_str().unwrap();
        assert!(answer.starts_with("<answer>"));
        assert!(Path::new(row["images"][0].as_str().unwrap()).is_absolute());
        assert!(row.get("messages").is_none());
    }
    let grpo = lines(&out.path().join(TRAIN_GRPO));
    assert!(grpo.iter().all(|row| row.get("completion").is_none()));
}

#[test]
fn pictures_before_and_after() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manifest = data_set(&small(2, false), dir.path());
    let source = Source::open(dir.path(), false).unwrap();
    image(&source, out.path(), &strict()).unwrap();
    let text = std::fs::read_to_string(out.path().join(METADATA)).unwrap();
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(rows.len(), manifest.len());
    for (row, entry) in rows.iter().zip(read_all(&manifest)) {
        assert_eq!(row["id"], *entry.id);
        assert_eq!(row["task_type"], *entry.task);
        assert_eq!(row["prompt"], *entry.prompts.image);
        // From the data set's folder, as the readers' base path wants it.
        let at = |field: &str| dir.path().join(row[field].as_str().unwrap());
        assert_eq!(at("edit_image"), entry.puzzle.path);
        assert_eq!(at("image"), entry.solution.unwrap().path);
    }
}

#[test]
fn a_selection_takes_what_it_names() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manifest = data_set(&small(6, false), dir.path());
    let source = Source::open(dir.path(), false).unwrap();
    let some = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let select = |tasks: &[&str], groups: &[&str], splits: &[&str]| {
        let selection = Selection::new(&some(tasks), &some(groups), &some(splits)).unwrap();
        let settings = Settings {
            selection,
            ..strict()
        };
        image(&source, out.path(), &settings)
    };
    let wanted = |test: fn(&vtb_data::manifest::ManifestEntry) -> bool| {
        read_all(&manifest)
            .iter()
            .filter(|entry| test(entry))
            .count()
    };
    let total = |found: vtb_data::Result<Option<Report>>| found.unwrap().unwrap().total();
    assert_eq!(total(select(&["midpoint"], &[], &[])), 6);
    assert_eq!(total(select(&[], &["maze", "eyeballing"], &[])), 12);
    assert_eq!(total(select(&["all"], &["all"], &[])), 18);
    let test = wanted(|entry| entry.split.as_deref() == Some("test"));
    assert!(test > 0);
    assert_eq!(total(select(&[], &[], &["test"])), test);
    let fault = |found: vtb_data::Result<Option<Report>>| found.unwrap_err().to_string();
    assert!(fault(select(&["midpint"], &[], &[])).contains("no record of the data set has task"));
    assert!(fault(select(&[], &[], &["tset"])).contains("there: test, train"));
    let wrong = Selection::new(&[], &["mazes".to_owned()], &[]).unwrap_err();
    assert!(wrong.to_string().contains("did you mean maze?"));
}

#[test]
fn clips_are_taken_or_made_at_the_size_that_is_asked_for() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manifest = data_set(&small(1, true), dir.path());
    let clips = |place: &Path, shape: VideoShape| -> Vec<csv::StringRecord> {
        let source = Source::open(place, false).unwrap();
        let file = out.path().join("train_video.csv");
        let paths = common(&source, out.path(), PathMode::Relative);
        finish(
            &source,
            &strict(),
            VideoExport::new(paths, &file, shape).unwrap(),
        );
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("\"video\",\"prompt\",\"task_type\",\"task_group\",\"id\""));
        assert!(
            text.lines()
                .all(|line| line.starts_with('"') && line.ends_with('"'))
        );
        csv::Reader::from_path(&file)
            .unwrap()
            .records()
            .map(Result::unwrap)
            .collect()
    };
    let taken = clips(dir.path(), VideoShape::default());
    for (row, entry) in taken.iter().zip(read_all(&manifest)) {
        assert_eq!(dir.path().join(&row[0]), entry.video.unwrap().file.path);
        assert_eq!(row[1], *entry.prompts.video);
        assert_eq!(row[4], *entry.id);
    }
    let shape = VideoShape {
        frames: Some(9),
        size: Some(ClipSize {
            width: 64,
            height: 96,
            fit: SizeFit::Resample,
        }),
        fps: Some(12.0),
    };
    // Drawn from the records here; in the second round the records are not there, and the clips
    // are decoded.
    let tree = tempfile::tempdir().unwrap();
    copy(dir.path(), tree.path());
    std::fs::remove_file(tree.path().join("manifest.jsonl")).unwrap();
    for place in [dir.path(), tree.path()] {
        let made = clips(place, shape);
        assert_eq!(made.len(), 3);
        for row in &made {
            assert!(
                Path::new(&row[0]).is_absolute(),
                "it lies outside of the data set"
            );
            let reader = VideoReader::open(Path::new(&row[0])).unwrap();
            let info = reader.info().clone();
            assert_eq!((info.frame_count, info.width, info.height), (9, 64, 96));
            assert!((info.fps - 12.0).abs() < 1e-9);
            assert_eq!(reader.collect_frames().unwrap().len(), 9);
        }
    }
    // A record without a clip is drawn only where the number of frames is said.
    let bare = tempfile::tempdir().unwrap();
    data_set(&small(1, false), bare.path());
    let source = Source::open(bare.path(), false).unwrap();
    let paths = common(&source, out.path(), PathMode::Relative);
    let file = out.path().join("bare.csv");
    let exporter = VideoExport::new(paths, &file, VideoShape::default()).unwrap();
    let fault = run(&source, &strict(), exporter, &mut |_| {
        ControlFlow::Continue(())
    });
    assert!(
        fault
            .unwrap_err()
            .to_string()
            .contains("give a number of frames")
    );
    assert!(!file.exists());
    assert_eq!(clips(bare.path(), shape).len(), 3);
}

/// A tree in the Python projects' form with one task, and the place of its records.
fn tree(dir: &Path) -> PathBuf {
    let made = tempfile::tempdir().unwrap();
    let params = [("midpoint", json!({"width": 400, "height": 380}))];
    data_set(&request(&params, 3), made.path());
    copy(&made.path().join("midpoint"), &dir.join("midpoint"));
    dir.join("midpoint/data.json")
}

fn edit(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut records: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    change(&mut records);
    std::fs::write(file, records.to_string()).unwrap();
}

#[test]
fn faults_of_a_tree_name_record_and_field() {
    let dir = tempfile::tempdir().unwrap();
    let file = tree(dir.path());
    let whole = std::fs::read(&file).unwrap();
    let id = |at: usize| {
        let records: Value = serde_json::from_slice(&whole).unwrap();
        records[at]["id"].as_str().unwrap().to_owned()
    };
    let with = |change: &dyn Fn(&mut Value), parts: &[&str]| {
        std::fs::write(&file, &whole).unwrap();
        edit(&file, change);
        refused(dir.path(), parts);
    };
    let second = format!("record 2 ({})", id(1));
    let (swap, image, solution) = ("swapped", "`image`", "`solution_image_path`");
    with(
        &|r| {
            let other = r[1]["image"].clone();
            r[1]["image"] = r[1]["solution_image_path"].clone();
            r[1]["solution_image_path"] = other;
        },
        &[&second, swap, solution],
    );
    with(
        &|r| r[1]["solution_image_path"] = r[1]["image"].clone(),
        &[&second, "byte for byte"],
    );
    with(
        &|r| r[1]["correct_option"] = "Q".into(),
        &[&second, "none of the options"],
    );
    let wrong = |r: &mut Value| {
        let right = r[1]["correct_option"].as_str().unwrap().to_owned();
        let other = if right == "A" { "B" } else { "A" };
        r[1]["correct_option"] = other.into();
    };
    with(&wrong, &[&second, solution, "does not show the answer"]);
    with(
        &|r| r[1]["image"] = "nowhere.png".into(),
        &[&second, image, "nowhere.png"],
    );
    with(
        &|r| r[1]["image"] = "/etc/hostname".into(),
        &[&second, image, "stays below"],
    );
    with(
        &|r| r[1]["image"] = "../../x.png".into(),
        &[&second, image, "stays below"],
    );
    with(
        &|r| r[1]["task_group"] = "mazes".into(),
        &[&second, "no group"],
    );
    with(&|r| r[1]["id"] = r[0]["id"].clone(), &[&id(0), "already"]);
    // A key that stands twice, text that is cut off, and bytes that are no text.
    let text = String::from_utf8(whole.clone()).unwrap();
    let twice = text.replacen("{\"id\":", "{\"prompt\":\"a\",\"prompt\":\"b\",\"id\":", 1);
    assert_ne!(twice, text);
    std::fs::write(&file, twice).unwrap();
    refused(dir.path(), &["data.json", "\"prompt\" stands twice"]);
    std::fs::write(&file, &whole[..whole.len() - 40]).unwrap();
    refused(dir.path(), &["data.json", "EOF"]);
    let mut bytes = whole.clone();
    let at = text.find("prompt").unwrap() + 20;
    bytes[at] = 0xff;
    std::fs::write(&file, bytes).unwrap();
    refused(dir.path(), &["data.json"]);
}

/// A PNG file whose header claims what its data does not hold, or whose data is much more than it
/// looks.
fn png(width: u32, height: u32, real: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    if real {
        let picture = image::GrayImage::new(width, height);
        let mut at = std::io::Cursor::new(&mut bytes);
        picture.write_to(&mut at, image::ImageFormat::Png).unwrap();
    } else {
        let picture = image::RgbImage::new(2, 2);
        bytes = image_io::encode_png(&picture).unwrap();
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
    }
    bytes
}

#[test]
fn hostile_pictures_are_refused_within_limits() {
    let dir = tempfile::tempdir().unwrap();
    let file = tree(dir.path());
    let records: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let place = dir.path().join("midpoint");
    let puzzle = place.join(records[1]["image"].as_str().unwrap());
    let whole = std::fs::read(&puzzle).unwrap();
    let id = records[1]["id"].as_str().unwrap();
    // 60 000 pixels a side; 12 000 a side, 144 million in 140 kB that unpack to as many bytes.
    std::fs::write(&puzzle, png(60_000, 60_000, false)).unwrap();
    refused(dir.path(), &[id, "`image`"]);
    let bomb = png(12_000, 12_000, true);
    assert!(bomb.len() < 1 << 20);
    std::fs::write(&puzzle, bomb).unwrap();
    refused(dir.path(), &[id, "`image`", "more than"]);
    std::fs::write(&puzzle, &whole[..whole.len() / 2]).unwrap();
    refused(dir.path(), &[id, "`image`"]);
    std::fs::write(&puzzle, b"text").unwrap();
    refused(dir.path(), &[id, "`image`"]);
    std::fs::remove_file(&puzzle).unwrap();
    std::fs::create_dir(&puzzle).unwrap();
    refused(dir.path(), &[id, "`image`", "no file"]);
}

#[cfg(unix)]
#[test]
fn links_must_not_lead_out_of_the_data_set() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = tree(dir.path());
    let records: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let puzzle = dir
        .path()
        .join("midpoint")
        .join(records[0]["image"].as_str().unwrap());
    let moved = other.path().join("p.png");
    std::fs::rename(&puzzle, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &puzzle).unwrap();
    refused(
        dir.path(),
        &[
            records[0]["id"].as_str().unwrap(),
            "leads out of the data set",
        ],
    );
    // Within it they may.
    std::fs::remove_file(&puzzle).unwrap();
    std::fs::rename(&moved, dir.path().join("p.png")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("p.png"), &puzzle).unwrap();
    let source = Source::open(dir.path(), false).unwrap();
    image(&source, other.path(), &strict()).unwrap().unwrap();
}

#[test]
fn a_clip_with_lying_tables_is_a_fault_of_its_record() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    data_set(&small(1, true), dir.path());
    std::fs::remove_file(dir.path().join("manifest.jsonl")).unwrap();
    let clip = files(dir.path(), ".mp4").remove(0);
    let mut bytes = std::fs::read(&clip).unwrap();
    // The number of sizes in `stsz`, behind version and default size.
    let at = bytes.windows(4).position(|name| name == b"stsz").unwrap() + 12;
    bytes[at..at + 4].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
    std::fs::write(&clip, bytes).unwrap();
    let source = Source::open(dir.path(), false).unwrap();
    let file = out.path().join("train_video.csv");
    let shape = VideoShape {
        frames: Some(5),
        ..VideoShape::default()
    };
    let export = |settings: &Settings| {
        let paths = common(&source, out.path(), PathMode::Relative);
        let exporter = VideoExport::new(paths, &file, shape).unwrap();
        run(&source, settings, exporter, &mut |_| {
            ControlFlow::Continue(())
        })
    };
    let fault = export(&strict()).unwrap_err();
    assert!(matches!(fault, DataError::Record { .. }), "{fault}");
    assert!(
        fault.to_string().contains("`solution_video_path`"),
        "{fault}"
    );
    assert!(!file.exists());
    let report = export(&lenient(1)).unwrap().unwrap();
    assert_eq!((report.total(), report.bad.len()), (2, 1));
}

#[test]
fn faults_of_our_own_records_are_found() {
    let dir = tempfile::tempdir().unwrap();
    data_set(&small(2, false), dir.path());
    let path = dir.path().join("manifest.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    let change = |change: &dyn Fn(&mut Value)| {
        let mut rows: Vec<Value> = whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        change(&mut rows[1]);
        let text: Vec<String> = rows.iter().map(Value::to_string).collect();
        std::fs::write(&path, text.join("\n")).unwrap();
    };
    let first: Value = serde_json::from_str(whole.lines().nth(1).unwrap()).unwrap();
    let id = first["id"].as_str().unwrap();
    change(&|row| {
        let other = row["assets"]["puzzle"].clone();
        row["assets"]["puzzle"] = row["assets"]["solution"].clone();
        row["assets"]["solution"] = other;
    });
    refused(dir.path(), &[id, "record 2", "assets.puzzle", "swapped"]);
    change(&|row| {
        let right = row["answer"].as_str().unwrap().to_owned();
        let options = row["record"]["options"].as_array().unwrap().clone();
        let other = options.iter().find(|o| **o != *right).unwrap().clone();
        row["answer"] = other.clone();
        row["record"]["answer"] = other;
    });
    refused(dir.path(), &[id, "`record`", "answer"]);
    std::fs::write(&path, &whole).unwrap();
    // Another record's picture, with its own hash.
    let third: Value = serde_json::from_str(whole.lines().next().unwrap()).unwrap();
    change(&|row| row["assets"]["puzzle"] = third["assets"]["puzzle"].clone());
    refused(dir.path(), &[id, "not the one that the record draws"]);
    change(&|row| row["assets"]["puzzle"]["sha256"] = "00".into());
    refused(dir.path(), &[id, "SHA-256"]);
}

#[test]
fn lenient_leaves_out_and_counts_up_to_its_bound() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    data_set(&small(3, false), dir.path());
    let path = dir.path().join("manifest.jsonl");
    let whole = std::fs::read(&path).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // One line is not UTF-8, one names a key twice, the last is cut off; one picture is missing.
    let mut bytes = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let mut line = line.as_bytes().to_vec();
        match at {
            0 => line[30] = 0xfe,
            1 => line.splice(0..1, *b"{\"schema\":1,").for_each(drop),
            8 => line.truncate(100),
            _ => {}
        }
        bytes.extend(line);
        bytes.push(b'\n');
    }
    bytes.pop();
    std::fs::write(&path, bytes).unwrap();
    let missing: Value = serde_json::from_str(lines[4]).unwrap();
    let puzzle = missing["assets"]["puzzle"]["path"].as_str().unwrap();
    std::fs::remove_file(dir.path().join(puzzle)).unwrap();
    let fault = Source::open(dir.path(), false).unwrap_err().to_string();
    assert!(fault.contains("manifest.jsonl:1"), "{fault}");
    let source = Source::open(dir.path(), true).unwrap();
    assert_eq!(source.skipped().len(), 3);
    let report = vlm(&source, out.path(), &lenient(4)).unwrap().unwrap();
    assert_eq!((report.total(), report.bad.len()), (5, 4));
    let told: String = report
        .bad
        .iter()
        .map(|fault| format!("{fault}\n"))
        .collect();
    for part in [":1:", ":2:", "stands twice", ":9:", puzzle] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let before = std::fs::read(out.path().join(TRAIN_SFT)).unwrap();
    let fault = vlm(&source, out.path(), &lenient(3)).unwrap_err();
    assert!(
        matches!(
            fault,
            DataError::TooManyBadRows {
                bad: 4,
                allowed: 3,
                ..
            }
        ),
        "{fault}"
    );
    assert_eq!(std::fs::read(out.path().join(TRAIN_SFT)).unwrap(), before);
    let left = files(out.path(), ".tmp");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_run_that_is_broken_off_changes_nothing() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    data_set(&small(2, false), dir.path());
    let source = Source::open(dir.path(), false).unwrap();
    vlm(&source, out.path(), &strict()).unwrap();
    let before = tree_of(out.path());
    let paths = common(&source, out.path(), PathMode::Absolute);
    let exporter = VlmExport::new(paths, Schema::Trl).unwrap();
    let ended = run(
        &source,
        &strict(),
        exporter,
        &mut |_| ControlFlow::Break(()),
    );
    assert!(ended.unwrap().is_none());
    let paths = Common::new(source.root(), out.path(), PathMode::Absolute, true, true).unwrap();
    let settings = Settings {
        dry: true,
        ..strict()
    };
    let report = finish(
        &source,
        &settings,
        VlmExport::new(paths, Schema::Trl).unwrap(),
    );
    assert_eq!((report.total(), report.files.len()), (6, 0));
    assert_eq!(tree_of(out.path()), before);
}

fn tree_of(dir: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    common::tree(dir)
}

#[test]
fn a_copy_stands_alone() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    data_set(&small(2, true), dir.path());
    let source = Source::open(dir.path(), false).unwrap();
    let paths = || Common::new(source.root(), out.path(), PathMode::Output, true, false).unwrap();
    finish(
        &source,
        &strict(),
        VlmExport::new(paths(), Schema::Swift).unwrap(),
    );
    let file = out.path().join("train_video.csv");
    let clips = VideoExport::new(paths(), &file, VideoShape::default()).unwrap();
    finish(&source, &strict(), clips);
    std::fs::remove_dir_all(dir.path()).unwrap();
    let moved = tempfile::tempdir().unwrap();
    copy(out.path(), moved.path());
    let rules = OpenOptions::new(RowRules::grpo());
    let data = JsonlDataset::open(moved.path().join(TRAIN_GRPO), &rules).unwrap();
    for at in 0..data.len() {
        data.row(at)
            .unwrap()
            .load_images(&Default::default())
            .unwrap();
    }
    for row in csv::Reader::from_path(moved.path().join("train_video.csv"))
        .unwrap()
        .records()
    {
        VideoReader::open(&moved.path().join(&row.unwrap()[0])).unwrap();
    }
}

#[test]
fn shards_of_tar_files_hold_every_sample_once() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manifest = data_set(&small(3, true), dir.path());
    let source = Source::open(dir.path(), false).unwrap();
    let place = out.path().join("tars");
    let export = |limit| {
        let paths = common(&source, out.path(), PathMode::Absolute);
        finish(
            &source,
            &strict(),
            TarExport::new(paths, &place, limit).unwrap(),
        )
    };
    // Small enough that each sample has a shard of its own, then all in one for each split.
    for (limit, shards) in [(1, manifest.len()), (1 << 30, 2)] {
        let report = export(limit);
        assert_eq!(report.files.len(), shards);
        assert_eq!(files(&place, ".tar").len(), shards, "older shards are gone");
        let mut seen = BTreeSet::new();
        for file in &report.files {
            let mut archive = tar::Archive::new(std::fs::File::open(file).unwrap());
            for entry in archive.entries().unwrap() {
                let mut entry = entry.unwrap();
                let name = entry.path().unwrap().to_str().unwrap().to_owned();
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
                let (key, end) = name.split_once('.').unwrap();
                if end == "json" {
                    let row: Value = serde_json::from_slice(&bytes).unwrap();
                    assert!(
                        file.to_str()
                            .unwrap()
                            .contains(row["split"].as_str().unwrap())
                    );
                    let record = serde_json::from_str(row["record"].as_str().unwrap()).unwrap();
                    vtb_puzzle::verify(&record).unwrap();
                    assert!(row.as_object().unwrap().values().all(Value::is_string));
                }
                assert!(seen.insert((key.to_owned(), end.to_owned())));
            }
        }
        let ends: BTreeSet<&str> = seen.iter().map(|(_, end)| end.as_str()).collect();
        assert_eq!(ends, BTreeSet::from(["json", "mp4", "png", "solution.png"]));
        assert_eq!(seen.len(), 4 * manifest.len());
    }
    // A folder that is somebody's own is not replaced.
    let own = out.path().join("own");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("x"), "").unwrap();
    let paths = common(&source, out.path(), PathMode::Absolute);
    let fault = TarExport::new(paths, &own, 1).unwrap_err().to_string();
    assert!(fault.contains("no folder of an earlier export"), "{fault}");
}
