//! When samples are drawn, and where their numbers go.

use std::collections::BTreeMap;
use std::path::Path;

use vtb_trainer::TrainError;

use crate::support::{Linear, Run, metrics};

const STEPS: u64 = 5;

/// Runs with a hook that counts itself; the steps it was called at.
fn drawn(root: &Path, change: impl FnOnce(&mut Run<'_>)) -> Vec<u64> {
    let mut steps = Vec::new();
    let mut draw = |_: &Linear, step: u64| {
        steps.push(step);
        Ok(BTreeMap::from([("likeness".to_owned(), step as f64 + 0.5)]))
    };
    let mut run = Run::new(STEPS);
    run.config.sample_steps = 2;
    run.samples = Some(&mut draw);
    change(&mut run);
    run.go(root).unwrap();
    steps
}

#[test]
fn samples_come_before_the_first_step_every_few_steps_and_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("run");
    assert_eq!(drawn(&root, |_| ()), [0, 2, 4, 5]);
    for row in metrics(&root) {
        let step = row["step"].as_u64().unwrap();
        let score = row.get("sample/likeness").and_then(|x| x.as_f64());
        let expected = [0, 2, 4, 5].contains(&step).then_some(step as f64 + 0.5);
        assert_eq!(score, expected, "step {step}");
    }
    assert_eq!(metrics(&root).len() as u64, STEPS + 1);
    let ends = dir.path().join("ends");
    assert_eq!(drawn(&ends, |run| run.config.sample_steps = 0), [0, STEPS]);
}

#[test]
fn a_resumed_run_repeats_no_samples() {
    let dir = tempfile::tempdir().unwrap();
    let (straight, stopped) = (dir.path().join("straight"), dir.path().join("stopped"));
    drawn(&straight, |_| ());
    assert_eq!(drawn(&stopped, |run| run.stop_after = Some(2)), [0, 2]);
    assert_eq!(drawn(&stopped, |run| run.resume = true), [4, 5]);
    assert_eq!(metrics(&stopped), metrics(&straight));
    // Finished, and nothing more to do.
    assert!(drawn(&stopped, |run| run.resume = true).is_empty());
}

/// The steps of `metrics.jsonl`.
fn logged(root: &Path) -> Vec<Option<u64>> {
    metrics(root)
        .iter()
        .map(|row| row["step"].as_u64())
        .collect()
}

#[test]
fn a_run_that_died_before_its_first_checkpoint_begins_again_without_a_second_row() {
    let dir = tempfile::tempdir().unwrap();
    let mut draw = |_: &Linear, _: u64| Ok(BTreeMap::from([("likeness".to_owned(), 0.5)]));
    let mut die = |_: &Linear, _: u64| Err(TrainError::Input("rows cannot be measured".into()));
    let mut run = Run::new(STEPS);
    run.config.eval_steps = 1;
    run.evaluate = Some(&mut die);
    run.samples = Some(&mut draw);
    assert!(run.go(dir.path()).is_err());
    assert_eq!(metrics(dir.path()).len(), 1);
    assert_eq!(drawn(dir.path(), |run| run.resume = true), [2, 4, 5]);
    assert_eq!(
        logged(dir.path()),
        (0..=STEPS).map(Some).collect::<Vec<_>>()
    );
}

#[test]
fn samples_that_cannot_be_drawn_end_the_run_behind_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut die = |_: &Linear, step: u64| match step {
        0 => Ok(BTreeMap::new()),
        _ => Err(TrainError::Input("the picture cannot be drawn".into())),
    };
    let mut run = Run::new(STEPS);
    run.config.sample_steps = 3;
    run.samples = Some(&mut die);
    let error = run.go(dir.path()).unwrap_err();
    assert!(error.to_string().contains("cannot be drawn"), "{error}");
    assert!(dir.path().join("checkpoints/step-3").is_dir());
    assert_eq!(drawn(dir.path(), |run| run.resume = true), [4, 5]);
    assert_eq!(
        logged(dir.path()),
        (1..=STEPS).map(Some).collect::<Vec<_>>()
    );
}
