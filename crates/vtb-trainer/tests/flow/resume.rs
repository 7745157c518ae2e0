//! A run that is stopped and resumed is the run that was never stopped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vtb_trainer::train::Outcome;

use crate::support::{Run, metrics};

const STEPS: u64 = 6;

fn run(resume: bool, stop_after: Option<u64>) -> Run<'static> {
    let mut run = Run::new(STEPS);
    run.config.ema_decay = 0.9;
    (run.resume, run.stop_after) = (resume, stop_after);
    run
}

/// Every file below the checkpoints by its path.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.join("checkpoints")];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn every_byte_is_the_same_wherever_the_run_was_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let straight = dir.path().join("straight");
    assert_eq!(run(false, None).go(&straight).unwrap().0, Outcome::Finished);
    let expected = files(&straight);
    // Manifest, values, moments, average, and the file of the hook.
    assert_eq!(expected.len(), 5 * STEPS as usize);
    for stop in 1..STEPS {
        let stopped = dir.path().join(format!("stopped-{stop}"));
        let (outcome, _) = run(false, Some(stop)).go(&stopped).unwrap();
        assert_eq!(outcome, Outcome::Interrupted(stop));
        let (outcome, _) = run(true, None).go(&stopped).unwrap();
        assert_eq!(outcome, Outcome::Finished);
        let found = files(&stopped);
        for (name, bytes) in &expected {
            assert!(
                found.get(name) == Some(bytes),
                "{} after step {stop}",
                name.display()
            );
        }
        assert_eq!(found.len(), expected.len());
        assert_eq!(metrics(&stopped), metrics(&straight));
    }
}

#[test]
fn an_average_that_was_not_kept_cannot_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut without = run(false, Some(2));
    without.config.ema_decay = 0.0;
    without.go(dir.path()).unwrap();
    let text = run(true, None).go(dir.path()).unwrap_err().to_string();
    assert!(
        text.contains("ema.safetensors") && text.contains("ema_decay"),
        "{text}"
    );
    // Nothing was thrown away.
    assert!(dir.path().join("checkpoints/step-2/manifest.json").exists());
}
