//! Positions, hidden states, logits and greedy tokens of single rows and of batches.

use vtb_models_vlm::model::{BatchPlan, Tower, Vlm};
use vtb_nn::lm::{CausalLm, Completion, LmRow, SampleOptions, ScoreOptions};

use super::{Reference, close, values};

/// How far values may lie from the reference.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Hidden states before the final norm.
    pub(crate) hidden: f32,
    /// Hidden states after it.
    pub(crate) last: f32,
    /// Logits.
    pub(crate) logits: f32,
}

/// Rotary positions of every token of the row alone, and what decoding adds to an index.
#[track_caller]
pub(crate) fn positions_are_theirs<T: Tower>(
    what: &str,
    model: &Vlm<T>,
    reference: &Reference,
    name: &str,
    row: &LmRow,
) {
    let plan = BatchPlan::new(std::slice::from_ref(row), model.config()).unwrap();
    let expected = reference.ints(&format!("{name}.position_ids"));
    let length = row.ids.len();
    assert_eq!((expected.len(), plan.positions.len()), (3 * length, length));
    for (i, position) in plan.positions.iter().enumerate() {
        let theirs = [0, 1, 2].map(|axis| expected[axis * length + i] as i32);
        assert_eq!(*position, theirs, "{what} {name} token {i}");
    }
    let delta = reference.ints(&format!("{name}.rope_delta"))[0];
    assert_eq!(i64::from(plan.deltas[0]), delta, "{what} {name} delta");
}

/// What enters every layer, what leaves the final norm, and logits, of the row alone.
#[track_caller]
pub(crate) fn states_and_logits<T: Tower>(
    what: &str,
    model: &Vlm<T>,
    reference: &Reference,
    name: &str,
    row: &LmRow,
    bounds: Bounds,
) {
    let row = std::slice::from_ref(row);
    let states = model.hidden_states(row).unwrap();
    let (last, hidden) = states.split_last().unwrap();
    assert_eq!(hidden.len(), model.config().text.num_layers, "{what}");
    let check = |key: &str, ours: &[f32], bound: f32| {
        let theirs = reference.floats(&format!("{name}.{key}"));
        close(&format!("{what} {name} {key}"), ours, &theirs, bound);
    };
    for (i, state) in hidden.iter().enumerate() {
        check(&format!("text.hidden.{i}"), &values(state), bounds.hidden);
    }
    check("text.final", &values(last), bounds.last);
    check(
        "logits",
        &values(&model.logits(row).unwrap()),
        bounds.logits,
    );
}

/// Sixteen tokens of cached greedy decoding are those of the reference, for every row alone and for all in a batch.
/// With `full`, their log-probabilities are within that of one pass over prompt and completion.
#[track_caller]
pub(crate) fn greedy_alone_and_in_a_batch<T: Tower>(
    what: &str,
    model: &Vlm<T>,
    reference: &Reference,
    names: &[&str],
    rows: &[LmRow],
    full: Option<f32>,
) {
    let options = SampleOptions {
        max_new_tokens: 16,
        temperature: 0.0,
        ..Default::default()
    };
    let seeds: Vec<u64> = (1..).take(rows.len()).collect();
    let batch = model.generate(rows, &options, &seeds).unwrap();
    assert_eq!((names.len(), rows.len()), (rows.len(), batch.len()));
    for ((name, row), together) in names.iter().zip(rows).zip(&batch) {
        let theirs = reference.ids(&format!("{name}.greedy.ids"));
        assert_eq!(theirs.len(), options.max_new_tokens);
        let alone = model
            .generate(std::slice::from_ref(row), &options, &[9])
            .unwrap();
        assert_eq!(alone[0].ids, theirs, "{what} {name} alone");
        assert_eq!(together.ids, theirs, "{what} {name} in a batch");
        if let Some(bound) = full {
            cached_is_uncached(model, row, together, bound);
        }
    }
}

/// The cached log-probabilities must be those of one forward pass over prompt and completion.
#[track_caller]
fn cached_is_uncached(model: &dyn CausalLm, row: &LmRow, completion: &Completion, bound: f32) {
    let mut full = row.clone();
    full.scored = vec![false; full.ids.len()];
    full.ids.extend(&completion.ids);
    full.scored.resize(full.ids.len(), true);
    let scores = model
        .token_scores(&[full], &ScoreOptions::default())
        .unwrap();
    close(
        "cached log-probabilities",
        &completion.logprobs,
        &scores[0].logp,
        bound,
    );
}
