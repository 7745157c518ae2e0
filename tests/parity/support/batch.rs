//! Rows packed into one sequence against the same rows alone.

use vtb_models_vlm::model::{Tower, Vlm};
use vtb_nn::lm::{BackwardOptions, CausalLm, LmRow, NamedTensors, ScoreOptions, TokenScores};
use vtb_nn::trainable::Trainable;
use vtb_trainer::optim::accumulate;

use super::{Bounds, Reference, close, close_relative, values};

/// Every token of a packed batch has the states and logits that the reference gives its row alone.
#[track_caller]
pub(crate) fn packed_is_theirs<T: Tower>(
    what: &str,
    model: &Vlm<T>,
    reference: &Reference,
    names: &[&str],
    rows: &[LmRow],
    bounds: Bounds,
) {
    let tokens: usize = rows.iter().map(|row| row.ids.len()).sum();
    let check = |key: &str, ours: Vec<f32>, bound: f32| {
        let width = ours.len() / tokens;
        assert_eq!(width * tokens, ours.len(), "{what} {key}");
        let mut rest = ours.as_slice();
        for (name, row) in names.iter().zip(rows) {
            let (ours, tail) = rest.split_at(row.ids.len() * width);
            rest = tail;
            let theirs = reference.floats(&format!("{name}.{key}"));
            close(&format!("{what} packed {name} {key}"), ours, &theirs, bound);
        }
    };
    let states = model.hidden_states(rows).unwrap();
    let (last, hidden) = states.split_last().unwrap();
    for (i, state) in hidden.iter().enumerate() {
        check(&format!("text.hidden.{i}"), values(state), bounds.hidden);
    }
    check("text.final", values(last), bounds.last);
    check(
        "logits",
        values(&model.logits(rows).unwrap()),
        bounds.logits,
    );
}

/// Rows packed into one sequence have the scores that each has alone, and the sum of the gradients.
#[track_caller]
pub(crate) fn packed_is_unpacked(model: &dyn CausalLm, rows: &[LmRow]) {
    let options = ScoreOptions::default();
    let together = model.token_scores(rows, &options).unwrap();
    for (row, packed) in rows.iter().zip(&together) {
        let alone = model
            .token_scores(std::slice::from_ref(row), &options)
            .unwrap();
        close("packed scores", &packed.logp, &alone[0].logp, 1e-5);
    }
    let sum = |rows: &[LmRow]| -> NamedTensors {
        let mut ones = |scores: &[TokenScores]| -> Result<Vec<Vec<f32>>, vtb_nn::NnError> {
            Ok(scores.iter().map(|s| vec![1.0; s.logp.len()]).collect())
        };
        model
            .backward(rows, &BackwardOptions::default(), &mut ones)
            .unwrap()
    };
    let packed = sum(rows);
    let mut alone = NamedTensors::new();
    for row in rows {
        accumulate(&mut alone, sum(std::slice::from_ref(row)));
    }
    assert_eq!(packed.len(), model.trainable().len());
    for (path, gradient) in &packed {
        close_relative(path, &values(gradient), &values(&alone[path]), 1e-4);
    }
}
