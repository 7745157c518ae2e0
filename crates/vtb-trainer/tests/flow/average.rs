//! Averaged weights in the step loop.

use std::cell::RefCell;

use vtb_trainer::checkpoint::HostTensors;
use vtb_trainer::train::Evaluation;

use crate::support::{Linear, Run, tensors};

const STEPS: u64 = 6;
const DECAY: f64 = 0.2;

#[track_caller]
fn near(found: &HostTensors, expected: &[(String, Vec<f64>)]) {
    assert_eq!(found.len(), expected.len());
    for (name, values) in expected {
        for (x, y) in found[name].data.iter().zip(values) {
            assert!((f64::from(*x) - y).abs() < 1e-6, "{name}: {x} {y}");
        }
    }
}

#[test]
fn the_average_is_kept_beside_the_values_and_is_what_others_see() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("averaged");
    let seen = RefCell::new(Vec::new());
    let mut evaluate = |model: &Linear, step: u64| {
        seen.borrow_mut().push((step, model.host()));
        Ok(Evaluation::default())
    };
    let drawn = RefCell::new(Vec::new());
    let mut draw = |model: &Linear, step: u64| {
        drawn.borrow_mut().push((step, model.host()));
        Ok(Default::default())
    };
    let mut run = Run::new(STEPS);
    run.config.ema_decay = DECAY;
    (run.config.eval_steps, run.config.sample_steps) = (1, 1);
    run.evaluate = Some(&mut evaluate);
    run.samples = Some(&mut draw);
    let (_, model) = run.go(&root).unwrap();

    let start = Linear::new().host();
    let mut average: Vec<(String, Vec<f64>)> = start
        .iter()
        .map(|(name, t)| (name.clone(), t.data.iter().map(|x| f64::from(*x)).collect()))
        .collect();
    for step in 1..=STEPS {
        let values = tensors(&root, step, "trainable.safetensors");
        let n = (step - 1) as f64;
        let decay = DECAY.min((1.0 + n) / (10.0 + n));
        for (name, average) in &mut average {
            for (a, x) in average.iter_mut().zip(&values[name].data) {
                *a = decay * *a + (1.0 - decay) * f64::from(*x);
            }
        }
        let kept = tensors(&root, step, "ema.safetensors");
        near(&kept, &average);
        assert_ne!(kept, values);
        assert_eq!(tensors(&root, step, "shown.safetensors"), kept);
        assert_eq!(seen.borrow()[step as usize - 1], (step, kept.clone()));
        assert_eq!(drawn.borrow()[step as usize], (step, kept));
    }
    assert_eq!(drawn.borrow()[0], (0, start));
    assert_eq!(model.host(), tensors(&root, STEPS, "ema.safetensors"));

    // Looking at the average leaves no trace in what trains.
    let plain = dir.path().join("plain");
    let (_, model) = Run::new(STEPS).go(&plain).unwrap();
    for step in 1..=STEPS {
        let of = |root| tensors(root, step, "trainable.safetensors");
        assert_eq!(of(&plain), of(&root));
        assert!(
            !plain
                .join(format!("checkpoints/step-{step}/ema.safetensors"))
                .exists()
        );
    }
    assert_eq!(
        model.host(),
        tensors(&plain, STEPS, "trainable.safetensors")
    );
}

#[test]
fn a_decay_without_meaning_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(1);
    run.config.ema_decay = 1.0;
    let text = run.go(dir.path()).unwrap_err().to_string();
    assert!(text.contains("ema_decay = 1"), "{text}");
}
