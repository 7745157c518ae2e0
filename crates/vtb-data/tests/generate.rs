//! Data sets are the same whatever happens while they are made.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail by panicking, and says when it is skipped"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{data_set, files, make, plan, read_all, request, small, tree};
use serde_json::{Value, json};
use vtb_data::DataError;
use vtb_data::generate::{
    ClipSettings, ClipSize, Ended, GenerateFault, Plan, Splits, choose_tasks, generate,
};
use vtb_data::manifest::Manifest;
use vtb_data::video::{SizeFit, VideoReader};
use vtb_puzzle::{record_seed, verify};

/// Runs until `records` are finished. True if the run was interrupted.
fn interrupted(plan: &Plan, dir: &Path, workers: usize, records: u64) -> bool {
    let ended = generate(
        plan,
        dir,
        workers,
        &mut |progress| match progress.done < records {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        },
    );
    match ended.unwrap() {
        Ended::Finished(_) => false,
        Ended::Interrupted { done, total } => {
            assert!(done >= records && done < total + 1);
            true
        }
    }
}

fn fault(result: Result<impl Sized, DataError>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn the_number_of_workers_changes_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan(&small(7, true));
    for workers in [1, 2, 5] {
        make(&plan, &dir.path().join(workers.to_string()), workers);
    }
    let one = tree(&dir.path().join("1"));
    assert_eq!(one, tree(&dir.path().join("2")));
    assert_eq!(one, tree(&dir.path().join("5")));
    let names: BTreeSet<&str> = one.keys().map(String::as_str).collect();
    assert!(names.contains("manifest.jsonl") && names.contains("generation.json"));
    let ends = |end: &str| names.iter().filter(|name| name.ends_with(end)).count();
    // Three tasks of seven records, and nothing that belongs to the work itself.
    assert_eq!((ends(".png"), ends(".mp4"), ends("data.json")), (42, 21, 3));
    assert_eq!(names.len(), 42 + 21 + 3 + 2);
}

#[test]
fn a_record_depends_on_seed_task_and_number_alone() {
    let dir = tempfile::tempdir().unwrap();
    let all = read_all(&data_set(&small(9, false), &dir.path().join("all")));
    let fewer = read_all(&data_set(&small(4, false), &dir.path().join("fewer")));
    let mut alone = small(9, false);
    alone.tasks.retain(|task| task.info().name == "midpoint");
    alone.params.retain(|task, _| task == "midpoint");
    let alone = read_all(&data_set(&alone, &dir.path().join("alone")));
    let of = |task: &'static str| all.iter().filter(move |entry| entry.task == task);
    for task in ["color_grid", "maze_square", "midpoint"] {
        assert_eq!(of(task).count(), 9);
        let mut number = 0;
        for entry in of(task) {
            // Numbers whose scene was seen before are passed over; none is used twice.
            let seed = entry.record.as_ref().unwrap().seed;
            number = (number..99)
                .find(|i| record_seed(11, task, *i) == seed)
                .unwrap()
                + 1;
        }
        let first: Vec<_> = of(task).take(4).map(|entry| &entry.id).collect();
        let few = fewer.iter().filter(|entry| entry.task == task);
        assert!(few.map(|entry| &entry.id).eq(first));
    }
    let ids = |entry: &vtb_data::manifest::ManifestEntry| (entry.id.clone(), entry.split.clone());
    assert!(of("midpoint").map(ids).eq(alone.iter().map(ids)));
}

#[test]
fn every_record_follows_from_itself_and_its_files_are_named_by_hash() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data_set(&small(5, true), dir.path());
    for entry in read_all(&manifest) {
        let record = entry.record.as_ref().unwrap();
        verify(record).unwrap();
        assert_eq!(entry.assets().count(), 3);
        for asset in entry.assets() {
            asset.verify().unwrap();
        }
        let task = vtb_puzzle::find(&entry.task).unwrap();
        for (asset, layer) in [
            (&entry.puzzle, vtb_puzzle::Layer::Puzzle),
            (
                entry.solution.as_ref().unwrap(),
                vtb_puzzle::Layer::Solution,
            ),
        ] {
            let picture = task.draw(record, layer).unwrap();
            let bytes = asset.read(1 << 20).unwrap();
            assert_eq!(bytes, vtb_puzzle::encode_png(&picture).unwrap());
        }
    }
}

#[test]
fn clips_have_the_frames_and_the_size_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = small(2, true);
    request.video = Some(ClipSettings {
        frames: 9,
        fps: 8.0,
        size: Some(ClipSize {
            width: 96,
            height: 128,
            fit: SizeFit::Resample,
        }),
    });
    for entry in read_all(&data_set(&request, dir.path())) {
        let video = entry.video.clone().unwrap();
        assert_eq!((video.fps, video.frames), (Some(8.0), Some(9)));
        let reader = VideoReader::open(&video.file.path).unwrap();
        let info = reader.info();
        assert_eq!((info.width, info.height, info.fps), (96, 128, 8.0));
        assert_eq!(info.frame_count, 9);
    }
}

#[test]
fn a_clip_that_cannot_be_written_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let params = [(
        "midpoint",
        json!({"width": 4000, "height": 200, "candidates": 3}),
    )];
    let mut request = request(&params, 1);
    request.video = Some(ClipSettings {
        frames: 3,
        ..ClipSettings::default()
    });
    let run = generate(&Plan::new(request).unwrap(), dir.path(), 1, &mut |_| {
        ControlFlow::Continue(())
    });
    let text = fault(run);
    assert!(
        text.contains("midpoint") && text.contains("4000x200"),
        "{text}"
    );
    assert!(!dir.path().join("manifest.jsonl").exists());
}

#[test]
fn video_settings_are_checked_before_anything_is_made() {
    let check = |video: ClipSettings| {
        let mut request = small(1, true);
        request.video = Some(video);
        fault(Plan::new(request))
    };
    let usual = ClipSettings::default();
    assert!(check(ClipSettings { frames: 1, ..usual }).contains("1 frames"));
    assert!(check(ClipSettings { fps: 0.0, ..usual }).contains("fps is 0"));
    let size = |width, height| ClipSettings {
        size: Some(ClipSize {
            width,
            height,
            fit: SizeFit::Pad,
        }),
        ..usual
    };
    assert!(check(size(97, 96)).contains("97x96; sides must be even"));
    assert!(check(size(5000, 96)).contains("5000x96"));
}

/// Few scenes: two sizes of circles and nothing else that varies but colours.
fn tiny() -> Value {
    json!({
        "canvas": 64, "palette": ["blue", "green", "purple", "red"], "tints": 1, "offset": 0.0,
        "radius_min": 0.1, "radius_max": 0.1, "spacing_min": 0.25, "spacing_max": 0.25,
    })
}

#[test]
fn every_scene_once_and_not_one_more() {
    let dir = tempfile::tempdir().unwrap();
    let task = vtb_puzzle::find("color_grid").unwrap();
    let space = task.scene_space(&tiny()).unwrap().unwrap();
    let count = u64::try_from(space).unwrap();
    assert!(count < 3000, "{count}");
    let params = [("color_grid", tiny())];
    let manifest = data_set(&request(&params, count), &dir.path().join("all"));
    let scenes: BTreeSet<String> = read_all(&manifest)
        .iter()
        .map(|entry| entry.record.as_ref().unwrap().scene_hash.clone())
        .collect();
    assert_eq!(scenes.len() as u64, count);
    let text = std::fs::read_to_string(dir.path().join("all/generation.json")).unwrap();
    let counts: Value = serde_json::from_str(&text).unwrap();
    let counts = &counts["tasks"]["color_grid"];
    assert_eq!(counts["records"], count);
    let left_out = counts["tried"].as_u64().unwrap() - count;
    assert_eq!(counts["repeated"], left_out);

    let more = Plan::new(request(&params, count + 1))
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(
        &more,
        DataError::Generate(GenerateFault::SceneSpace { space: s, .. }) if *s == space
    ));
    assert!(more.to_string().contains(&count.to_string()), "{more}");

    let mut rest = request(&params, 40);
    rest.seed = 99;
    rest.held_out = scenes.iter().skip(60).cloned().collect();
    let held: BTreeSet<String> = rest.held_out.clone();
    for entry in read_all(&data_set(&rest, &dir.path().join("rest"))) {
        assert!(!held.contains(&entry.record.unwrap().scene_hash));
    }
    rest.count = 61;
    let run = generate(
        &Plan::new(rest).unwrap(),
        &dir.path().join("few"),
        2,
        &mut |_| ControlFlow::Continue(()),
    );
    assert!(fault(run).contains("distinct scenes were found"));
}

#[test]
fn a_task_without_any_scene_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let crowded = json!({"width": 128, "height": 128, "candidates": 8, "marker_radius": 64});
    let plan = plan(&request(&[("midpoint", crowded)], 3));
    let run = generate(&plan, dir.path(), 2, &mut |_| ControlFlow::Continue(()));
    let text = fault(run);
    assert!(
        text.starts_with("16 seeds in a row gave no scene"),
        "{text}"
    );
}

#[test]
fn parts_share_no_scene_and_keep_their_records() {
    let dir = tempfile::tempdir().unwrap();
    let params = [("color_grid", tiny())];
    let splits = Splits::parse("train=0.5,validation=0.25,test=0.25").unwrap();
    let mut parts: BTreeMap<String, String> = BTreeMap::new();
    for (seed, count) in [(1, 40), (1, 160), (2, 120)] {
        let mut request = request(&params, count);
        (request.seed, request.splits) = (seed, Some(splits.clone()));
        let place = dir.path().join(format!("{seed}-{count}"));
        let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
        for entry in read_all(&data_set(&request, &place)) {
            let (scene, part) = (entry.record.unwrap().scene_hash, entry.split.unwrap());
            *sizes.entry(part.clone()).or_default() += 1;
            assert_eq!(*parts.entry(scene).or_insert(part.clone()), part);
        }
        let text = std::fs::read_to_string(place.join("generation.json")).unwrap();
        let generation: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(generation["tasks"]["color_grid"]["splits"], json!(sizes));
        assert_eq!(sizes.len(), 3);
    }
}

#[test]
fn a_run_that_was_stopped_anywhere_ends_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan(&small(6, true));
    let whole = dir.path().join("whole");
    make(&plan, &whole, 2);
    let whole = tree(&whole);
    for stop in [1, 2, 6, 7, 13, 16] {
        let place = dir.path().join(stop.to_string());
        assert!(interrupted(&plan, &place, 1 + stop as usize % 2, stop));
        let summary = make(&plan, &place, 2);
        assert!(summary.reused >= stop && summary.reused < 18, "{stop}");
        assert_eq!(tree(&place), whole, "stopped after {stop}");
    }
    // Stopped again and again.
    let place = dir.path().join("often");
    for stop in [3, 5, 8, 11, 16] {
        assert!(interrupted(&plan, &place, 2, stop));
    }
    make(&plan, &place, 1);
    assert_eq!(tree(&place), whole);
    // Complete already.
    let summary = make(&plan, &place, 2);
    assert_eq!((summary.records, summary.reused), (18, 18));
    assert_eq!(tree(&place), whole);
}

#[test]
fn what_a_killed_run_leaves_is_taken_up_or_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan(&small(6, false));
    let whole = dir.path().join("whole");
    make(&plan, &whole, 2);
    let whole = tree(&whole);
    let begun = dir.path().join("begun");
    assert!(interrupted(&plan, &begun, 1, 9));
    let journal = std::fs::read(begun.join("generation.journal")).unwrap();
    let lines = journal.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines >= 9);
    let cuts = [0, 1, journal.len() / 2, journal.len() - 1, journal.len()];
    for (number, cut) in cuts.into_iter().enumerate() {
        let place = dir.path().join(format!("cut{number}"));
        common::copy(&begun, &place);
        std::fs::write(place.join("generation.journal"), &journal[..cut]).unwrap();
        let pictures = files(&place, "_puzzle.png");
        // A picture cut off, one missing, and another half written.
        std::fs::write(&pictures[number], b"\x89PNG").unwrap();
        std::fs::remove_file(&pictures[number + 1]).unwrap();
        let mut unfinished = pictures[number + 1].clone().into_os_string();
        unfinished.push(".tmp");
        std::fs::write(&unfinished, b"\x89P").unwrap();
        std::fs::write(place.join("manifest.jsonl.tmp"), b"{\"schema\"").unwrap();
        // Stopped once more on the way.
        interrupted(&plan, &place, 2, 5);
        make(&plan, &place, 2);
        assert_eq!(tree(&place), whole, "journal cut at {cut}");
    }
    // A complete set of which a file was changed.
    let place = dir.path().join("changed");
    make(&plan, &place, 2);
    let picture = &files(&place, "_solution.png")[3];
    std::fs::write(picture, b"other").unwrap();
    let manifest = Manifest::open(&place).unwrap();
    let checks = read_all(&manifest);
    let faults: Vec<String> = checks
        .iter()
        .flat_map(|entry| entry.assets().filter_map(|asset| asset.verify().err()))
        .map(|fault| fault.to_string())
        .collect();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].contains("SHA-256") && faults[0].contains("_solution.png"));
    let summary = make(&plan, &place, 2);
    assert_eq!(summary.reused, 17);
    assert_eq!(tree(&place), whole);
}

const PLACE: &str = "VTB_TEST_GENERATE_IN";

fn killed_request() -> vtb_data::generate::Request {
    small(60, false)
}

/// Not a test by itself: what the next one starts and kills.
#[test]
fn a_process_to_be_killed() {
    if let Some(place) = std::env::var_os(PLACE) {
        make(&plan(&killed_request()), Path::new(&place), 2);
    }
}

#[test]
fn a_killed_process_leaves_nothing_that_matters() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan(&killed_request());
    let whole = dir.path().join("whole");
    make(&plan, &whole, 2);
    let whole = tree(&whole);
    let place = dir.path().join("killed");
    for pictures in [1, 40, 150] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_to_be_killed"])
            .env(PLACE, &place)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while files(&place, ".png").len() < pictures && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    make(&plan, &place, 2);
    assert_eq!(tree(&place), whole);
}

#[test]
fn a_folder_is_not_shared_with_other_settings_or_other_things() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("set");
    let first = small(2, true);
    assert!(interrupted(&plan(&first), &place, 1, 2));
    let before = tree(&place);
    let refused = |change: &dyn Fn(&mut vtb_data::generate::Request)| {
        let mut other = first.clone();
        change(&mut other);
        let run = generate(&plan(&other), &place, 1, &mut |_| ControlFlow::Continue(()));
        let text = fault(run);
        assert!(text.contains("other settings"), "{text}");
        text
    };
    assert!(refused(&|r| r.seed = 12).contains("`seed` is 11 there and 12 here"));
    assert!(refused(&|r| r.count = 3).contains("`count` is 2 there and 3 here"));
    assert!(refused(&|r| r.video = None).contains("`video` is"));
    assert!(refused(&|r| r.splits = None).contains("`split` is"));
    assert!(
        refused(&|r| {
            r.params
                .insert("color_grid".to_owned(), json!({"canvas": 128}));
        })
        .contains("`tasks.color_grid.params.canvas` is 96 there and 128 here")
    );
    assert!(
        refused(&|r| {
            r.tasks.remove(0);
            r.params.remove("color_grid");
        })
        .contains("`tasks.color_grid` is set there and nothing here")
    );
    assert!(
        refused(&|r| {
            r.held_out.insert("00".to_owned());
        })
        .contains("`held_out` is nothing there")
    );
    assert_eq!(tree(&place), before);

    let foreign = dir.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("thesis.tex"), "dear").unwrap();
    let run = generate(&plan(&first), &foreign, 1, &mut |_| {
        ControlFlow::Continue(())
    });
    assert!(fault(run).contains("it has thesis.tex"));

    std::fs::write(place.join("generation.json"), "{").unwrap();
    let run = generate(&plan(&first), &place, 1, &mut |_| ControlFlow::Continue(()));
    assert!(fault(run).contains("generation.json: is not JSON"));
}

#[test]
fn two_runs_do_not_work_in_one_folder() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan(&small(2, false));
    let mut second = Vec::new();
    let ended = generate(&plan, dir.path(), 1, &mut |_| {
        // On a thread of its own, as another program would be.
        let run = std::thread::scope(|scope| {
            let other = || generate(&plan, dir.path(), 1, &mut |_| ControlFlow::Continue(()));
            scope.spawn(other).join().unwrap()
        });
        second.push(fault(run));
        ControlFlow::Continue(())
    });
    assert!(matches!(ended.unwrap(), Ended::Finished(_)));
    assert_eq!(second.len(), 6);
    assert!(second.iter().all(|text| text.contains("another run")));
}

#[test]
fn progress_counts_every_record() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan(&small(3, false));
    let mut seen = Vec::new();
    generate(&plan, dir.path(), 2, &mut |progress| {
        assert!(progress.rate > 0.0 && progress.left.is_some());
        assert_eq!((progress.total, progress.reused), (9, 0));
        seen.push((progress.task.to_owned(), progress.done));
        ControlFlow::Continue(())
    })
    .unwrap();
    let done: Vec<u64> = seen.iter().map(|(_, done)| *done).collect();
    assert_eq!(done, (1..=9).collect::<Vec<_>>());
    assert_eq!(seen[0].0, "color_grid");
    assert_eq!(seen[8].0, "midpoint");
}

#[test]
fn tasks_are_chosen_by_name_group_and_exclusion() {
    let chosen = |names: &[&str], groups: &[&str], exclude: &[&str]| {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let tasks = choose_tasks(&own(names), &own(groups), &own(exclude))?;
        Ok::<_, DataError>(tasks.iter().map(|t| t.info().name).collect::<Vec<_>>())
    };
    assert_eq!(chosen(&["midpoint"], &[], &[]).unwrap(), ["midpoint"]);
    let all = chosen(&[], &[], &[]).unwrap();
    assert_eq!(all, chosen(&["all"], &[], &[]).unwrap());
    let mazes = chosen(&[], &["maze"], &[]).unwrap();
    assert!(mazes.iter().all(|name| name.starts_with("maze_")));
    let rest = chosen(&[], &[], &["midpoint"]).unwrap();
    assert_eq!(rest.len(), all.len() - 1);
    assert!(fault(chosen(&["midpont"], &[], &[])).contains("did you mean `midpoint`?"));
    assert!(fault(chosen(&[], &[], &["maze_sqare"])).contains("did you mean `maze_square`?"));
    assert!(fault(chosen(&[], &["mazes"], &[])).contains("did you mean `maze`?"));
    assert!(fault(chosen(&["midpoint"], &["maze"], &[])).contains("no task is left"));
}
