//! A checkpoint is a transaction: whatever fails, an earlier valid one remains.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use serde_json::json;
use vtb_trainer::TrainError;
use vtb_trainer::checkpoint::{
    CRASH_AT, Checkpoint, CheckpointMeta, CheckpointStore, Content, Contents, FailPoint,
    HostTensor, HostTensors, Retention, encode_tensors, latest,
};

const KEEP_ONE: Retention = Retention {
    last: 1,
    best: false,
};

fn meta(step: u64) -> CheckpointMeta {
    CheckpointMeta {
        step,
        epoch: 1,
        cursor: json!({"index": step * 4}),
        seed: u64::MAX,
        world: 1,
        config: json!({"lr": 0.1}),
        dataset_fingerprint: "abc".into(),
        score: None,
        extra: json!({"mean": 0.1 + 0.2}),
    }
}

fn tensors(step: u64) -> HostTensors {
    let data = vec![step as f32, 0.5, -1.0, 2.0];
    BTreeMap::from([(
        "w".to_string(),
        HostTensor {
            shape: vec![2, 2],
            data,
        },
    )])
}

/// A file of bytes, a streamed file and a directory with a directory in it.
fn contents(step: u64) -> Contents<'static> {
    let bytes = encode_tensors(&tensors(step), None).unwrap();
    BTreeMap::from([
        ("optimizer.safetensors".to_string(), Content::Bytes(bytes)),
        (
            "nested/stream.txt".to_string(),
            Content::Stream {
                size_hint: 4,
                write: Box::new(move |out| {
                    out.write_all(format!("s{step}").as_bytes())
                        .map_err(|e| TrainError::io("stream", e))
                }),
            },
        ),
        (
            "adapter".to_string(),
            Content::Tree {
                size_hint: 8,
                write: Box::new(move |dir| {
                    let put = |name: &str| {
                        fs::write(dir.join(name), format!("{name}{step}"))
                            .map_err(|e| TrainError::io(dir, e))
                    };
                    fs::create_dir(dir.join("sub")).map_err(|e| TrainError::io(dir, e))?;
                    put("a.json")?;
                    put("sub/b.json")
                }),
            },
        ),
    ])
}

fn assert_whole(checkpoint: &Checkpoint) {
    let step = checkpoint.manifest.meta.step;
    assert_eq!(checkpoint.manifest.meta, meta(step));
    assert_eq!(
        checkpoint.tensors("optimizer.safetensors").unwrap().0,
        tensors(step)
    );
    let text = |name: &str| String::from_utf8(checkpoint.read(name).unwrap()).unwrap();
    assert_eq!(text("nested/stream.txt"), format!("s{step}"));
    assert_eq!(text("adapter/sub/b.json"), format!("sub/b.json{step}"));
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn store(dir: &Path, retention: Retention) -> CheckpointStore {
    CheckpointStore::with_fail_point(dir, retention, FailPoint::Off).unwrap()
}

#[test]
fn what_is_saved_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), Retention::default());
    assert!(store.latest().unwrap().is_none());
    let path = store.save(meta(3), contents(3)).unwrap();
    assert_eq!(path, dir.path().join("step-3"));
    let found = store.latest().unwrap().unwrap();
    assert_whole(&found);
    assert_eq!(found, store.at_step(3).unwrap());
    assert!(store.at_step(4).is_err());
    assert!(latest(&dir.path().join("absent")).unwrap().is_none());
}

#[test]
fn the_same_state_gives_the_same_bytes() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&a, &b] {
        store(dir.path(), KEEP_ONE)
            .save(meta(1), contents(1))
            .unwrap();
    }
    let manifest =
        |dir: &tempfile::TempDir| fs::read(dir.path().join("step-1/manifest.json")).unwrap();
    assert_eq!(manifest(&a), manifest(&b));
}

#[test]
fn retention_keeps_the_last_and_the_best() {
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention {
        last: 2,
        best: true,
    };
    let store = store(dir.path(), retention);
    for (step, score) in [
        (1, 0.1),
        (2, 0.9),
        (3, 0.2),
        (4, f64::NEG_INFINITY),
        (5, 0.3),
    ] {
        let meta = CheckpointMeta {
            score: Some(score),
            ..meta(step)
        };
        store.save(meta, contents(step)).unwrap();
    }
    assert_eq!(names(dir.path()), ["step-2", "step-4", "step-5"]);
    store.drop_after(4).unwrap();
    assert_eq!(names(dir.path()), ["step-2", "step-4"]);
}

/// Every single damaged byte and every truncation of every file sends `latest` back to the step before.
#[test]
fn damage_is_found_and_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let keep_all = Retention {
        last: 0,
        best: false,
    };
    let store = store(dir.path(), keep_all);
    store.save(meta(1), contents(1)).unwrap();
    store.save(meta(2), contents(2)).unwrap();
    let whole = latest(dir.path()).unwrap().unwrap();
    let step_found = || latest(dir.path()).unwrap().unwrap().manifest.meta.step;
    for name in [
        "manifest.json",
        "optimizer.safetensors",
        "adapter/sub/b.json",
    ] {
        let path = dir.path().join("step-2").join(name);
        let good = fs::read(&path).unwrap();
        // The final newline of the manifest carries nothing.
        for at in 0..good.len() - 1 {
            let mut bad = good.clone();
            bad[at] ^= 0x01;
            fs::write(&path, &bad).unwrap();
            // A blank for another blank, or a digit beyond the precision of a number, says the same.
            let found = latest(dir.path()).unwrap().unwrap();
            assert!(
                found.manifest.meta.step == 1 || found == whole,
                "{name} flipped at {at}"
            );
            fs::write(&path, &good[..at]).unwrap();
            assert_eq!(step_found(), 1, "{name} cut at {at}");
        }
        fs::write(&path, good).unwrap();
        assert_eq!(step_found(), 2);
    }
    fs::remove_file(dir.path().join("step-2/adapter/a.json")).unwrap();
    assert_eq!(step_found(), 1);
}

#[test]
fn a_manifest_cannot_point_outside() {
    let dir = tempfile::tempdir().unwrap();
    let path = store(dir.path(), KEEP_ONE)
        .save(meta(1), contents(1))
        .unwrap();
    let text = fs::read_to_string(path.join("manifest.json")).unwrap();
    fs::write(
        path.join("manifest.json"),
        text.replace("nested/stream.txt", "../../etc/passwd"),
    )
    .unwrap();
    assert!(Checkpoint::open(&path).is_err());
    assert!(latest(dir.path()).unwrap().is_none());
}

#[test]
fn a_checkpoint_larger_than_the_disk_is_refused_before_writing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), KEEP_ONE);
    store.save(meta(1), contents(1)).unwrap();
    let mut huge = contents(2);
    huge.insert(
        "huge".into(),
        Content::Stream {
            size_hint: u64::MAX,
            write: Box::new(|_| unreachable!("nothing may be written")),
        },
    );
    let error = store.save(meta(2), huge).unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    assert_eq!(names(dir.path()), ["step-1"]);
}

#[test]
fn a_failing_writer_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), KEEP_ONE);
    store.save(meta(1), contents(1)).unwrap();
    let mut bad = contents(2);
    bad.insert(
        "z".into(),
        Content::Tree {
            size_hint: 0,
            write: Box::new(|dir| {
                fs::write(dir.join("half"), "x").unwrap();
                Err(TrainError::io(dir, io::Error::from(ErrorKind::StorageFull)))
            }),
        },
    );
    assert!(store.save(meta(2), bad).unwrap_err().is_disk_full());
    assert_eq!(names(dir.path()), ["step-1"]);
}

/// The disk fills up (or fails) at operation n, for every n: the error is typed, the earlier checkpoint is whole,
/// nothing lies about, and the next save succeeds.
#[test]
fn an_error_at_every_operation_leaves_a_valid_checkpoint() {
    let mut failures = 0;
    for n in 1.. {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path(), KEEP_ONE)
            .save(meta(1), contents(1))
            .unwrap();
        let fail = FailPoint::Error(n, ErrorKind::StorageFull);
        let faulty = CheckpointStore::with_fail_point(dir.path(), KEEP_ONE, fail).unwrap();
        let saved = faulty.save(meta(2), contents(2));
        let found = latest(dir.path()).unwrap().unwrap();
        assert_whole(&found);
        match saved {
            Err(error) => {
                failures += 1;
                assert!(error.is_disk_full(), "operation {n}: {error}");
                let tmp = names(dir.path()).into_iter().find(|n| n.contains(".tmp-"));
                assert_eq!(tmp, None, "operation {n}");
            }
            Ok(_) => assert_eq!(found.manifest.meta.step, 2),
        }
        // Only a save in which nothing failed leaves nothing but itself.
        let untouched = names(dir.path()) == ["step-2"];
        let store = store(dir.path(), KEEP_ONE);
        store.save(meta(3), contents(3)).unwrap();
        assert_eq!(names(dir.path()), ["step-3"]);
        assert_whole(&store.latest().unwrap().unwrap());
        if untouched {
            break;
        }
    }
    assert!(failures > 10, "only {failures} operations failed");
}

/// Not a test by itself: the process that the next test crashes.
#[test]
fn crashing_child() {
    let Ok(dir) = std::env::var("VTB_TEST_CHECKPOINTS") else {
        return;
    };
    let store = CheckpointStore::open(dir, KEEP_ONE).unwrap();
    store.save(meta(2), contents(2)).unwrap();
    // The same step again: the way of replacing one.
    store.save(meta(2), contents(2)).unwrap();
}

fn crash(dir: &Path, at: u64) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crashing_child", "--test-threads", "1"])
        .env("VTB_TEST_CHECKPOINTS", dir)
        .env(CRASH_AT, at.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
}

/// The process dies at operation n, for every n of a save with retention and a save that replaces.
#[test]
fn a_crash_at_every_operation_leaves_a_valid_checkpoint() {
    let mut crashes = 0;
    for n in 1.. {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path(), KEEP_ONE)
            .save(meta(1), contents(1))
            .unwrap();
        let status = crash(dir.path(), n);
        // What a run that starts after the crash does.
        let store = store(dir.path(), KEEP_ONE);
        let found = store.latest().unwrap().unwrap();
        assert_whole(&found);
        let debris: Vec<_> = names(dir.path())
            .into_iter()
            .filter(|n| n.contains('.'))
            .collect();
        assert!(debris.is_empty(), "operation {n} left {debris:?}");
        store.save(meta(3), contents(3)).unwrap();
        assert_whole(&store.latest().unwrap().unwrap());
        if status.success() {
            assert_eq!(found.manifest.meta.step, 2);
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 20, "only {crashes} operations crashed");
}
