//! An adapter of peft in our hands: what it computes, how it trains, and what it is when merged.

use std::path::Path;

use vtb_lora::read_adapter;
use vtb_models_vlm::model::{Tower, Vlm};
use vtb_nn::lm::{CausalLm, LmRow};
use vtb_nn::trainable::Trainable;

use super::{Reference, close, close_relative, pass, step, values};

/// Loads `dir` into `model` and compares logits, loss, gradients (recomputed and kept), one AdamW step and the logits
/// of the merge with `theirs`, in which `peft_name` says how a parameter is called. The model is merged then.
#[track_caller]
pub(crate) fn adapter_is_theirs<T: Tower>(
    what: &str,
    model: &mut Vlm<T>,
    dir: &Path,
    theirs: &Reference,
    names: &[&str],
    rows: &[LmRow],
    peft_name: impl Fn(&str) -> String,
) {
    let base = model.parameters();
    model.load_adapter(read_adapter(dir).unwrap(), dir).unwrap();
    assert!(model.parameters() > base);
    for (name, row) in names.iter().zip(rows) {
        let logits = model.logits(std::slice::from_ref(row)).unwrap();
        let expected = theirs.floats(&format!("logits.{name}"));
        close(&format!("{what} {name}"), &values(&logits), &expected, 1e-4);
    }
    let (loss, gradients) = pass(model, rows, true);
    let expected = f64::from(theirs.floats("loss")[0]);
    assert!(
        (loss - expected).abs() < 1e-5 * expected,
        "{what}: loss {loss}, theirs {expected}"
    );
    let (_, kept) = pass(model, rows, false);
    assert_eq!(gradients.len(), model.trainable().len());
    for (path, gradient) in &gradients {
        let key = format!("grad.base_model.model.{}", peft_name(path));
        let ours = values(gradient);
        close_relative(&format!("{what} {path}"), &ours, &theirs.floats(&key), 1e-4);
        assert_eq!(ours, values(&kept[path]), "{path}: recompute changed it");
    }
    for (path, value) in &step(model, gradients) {
        let key = format!("after.base_model.model.{}", peft_name(path));
        close(path, &values(value), &theirs.floats(&key), 2e-5);
    }
    model.merge_adapter();
    let (name, row) = (names.last().unwrap(), rows.last().unwrap());
    let logits = model.logits(std::slice::from_ref(row)).unwrap();
    let expected = theirs.floats(&format!("merged_logits.{name}"));
    close(&format!("{what} merged"), &values(&logits), &expected, 1e-4);
}
