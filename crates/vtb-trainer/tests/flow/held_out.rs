//! The loss on held-out rows at fixed noise levels.

use vtb_trainer::objectives::flow::{FlowConfig, Levels, Weighting};
use vtb_trainer::train::{FlowEval, FlowMeasured};

use crate::support::{CHANNELS, Linear, Patterns};

fn measure(data: Patterns, grid: usize, batch: usize, seed: u64, model: &Linear) -> FlowMeasured {
    let eval = FlowEval::new(data, &FlowConfig::default(), grid, batch, seed).unwrap();
    eval.measure(model).unwrap()
}

fn mixed() -> Patterns {
    Patterns {
        rows: 7,
        shapes: vec![
            [CHANNELS, 1, 4, 4],
            [CHANNELS, 1, 4, 4],
            [CHANNELS, 2, 2, 3],
        ],
        given: 0,
    }
}

#[test]
fn it_does_not_depend_on_the_batch() {
    let model = Linear::new();
    let alone = measure(mixed(), 5, 1, 3, &model);
    assert_eq!(alone.rows, 7);
    for batch in [2, 3, 5, 7, 64] {
        assert_eq!(measure(mixed(), 5, batch, 3, &model), alone, "{batch}");
    }
    assert_ne!(measure(mixed(), 5, 1, 4, &model), alone);
    assert_ne!(measure(mixed(), 5, 1, 3, &Linear::zero()).mse, alone.mse);
}

#[test]
fn levels_are_spread_over_the_distribution_of_training() {
    let found = measure(mixed(), 4, 3, 1, &Linear::new());
    let levels = Levels::new(&FlowConfig::default()).unwrap();
    for (k, level) in found.levels.iter().enumerate() {
        let expected = levels.at((k as f64 + 0.5) / 4.0, [CHANNELS, 1, 4, 4]).sigma;
        assert!((level.sigma - expected).abs() < 1e-12, "{k}");
    }
    let mean = found.levels.iter().map(|l| l.mse).sum::<f64>() / 4.0;
    assert!((mean - found.mse).abs() < 1e-12);
}

/// A model that answers 0 has the mean square of `n - x0`, which is 1 more than that of `x0`.
#[test]
fn a_model_that_knows_nothing_has_the_error_it_must_have() {
    use vtb_trainer::train::FlowSource;
    let data = Patterns {
        rows: 40,
        shapes: vec![[CHANNELS, 1, 16, 16]],
        given: 0,
    };
    let squares = (0..40).flat_map(|i| data.sample(i).unwrap().clean.values);
    let size: f64 = squares.map(|x| f64::from(x).powi(2)).sum::<f64>() / (40.0 * 768.0);
    let config = FlowConfig {
        weighting: Weighting::None,
        ..FlowConfig::default()
    };
    let eval = FlowEval::new(data, &config, 6, 16, 2).unwrap();
    let found = eval.measure(&Linear::zero()).unwrap();
    assert!(
        (found.mse - (1.0 + size)).abs() < 0.02,
        "{} {size}",
        found.mse
    );
    assert_eq!(found.loss, found.mse);
}

#[test]
fn checkpoints_are_ranked_by_the_loss() {
    let found = measure(mixed(), 2, 4, 1, &Linear::new());
    let evaluation = found.evaluation();
    assert_eq!(evaluation.score, Some(-found.loss));
    assert_eq!(evaluation.metrics["eval/loss"], found.loss);
    assert_eq!(evaluation.metrics["eval/mse_level_2"], found.levels[1].mse);
    assert_eq!(
        evaluation.metrics["eval/sigma_level_2"],
        found.levels[1].sigma
    );
    assert_eq!(evaluation.metrics.len(), 6);
    let nothing = measure(Patterns::even(0), 2, 4, 1, &Linear::new());
    assert_eq!(nothing.evaluation().score, None);
    assert!(FlowEval::new(mixed(), &FlowConfig::default(), 0, 1, 1).is_err());
}
