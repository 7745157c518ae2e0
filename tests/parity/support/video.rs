//! Rows with videos against the reference.

use vtb_models_vlm::model::{FullTraining, Tower, Vlm};

use super::{
    Reference, VIDEO_ROWS, close, close_relative, greedy_alone_and_in_a_batch, pass,
    positions_are_theirs, values,
};

/// Positions, embeddings with the features of pictures and videos in place, logits and greedy tokens.
#[track_caller]
pub(crate) fn videos_are_seen<T: Tower>(what: &str, model: &Vlm<T>, reference: &Reference) {
    let rows = VIDEO_ROWS.map(|name| reference.video_row(name, model));
    for (name, row) in VIDEO_ROWS.iter().zip(&rows) {
        positions_are_theirs(what, model, reference, name, row);
        let row = std::slice::from_ref(row);
        let states = model.hidden_states(row).unwrap();
        let embedded = reference.floats(&format!("{name}.embedded"));
        let key = format!("{what} {name} embedded");
        close(&key, &values(&states[0]), &embedded, 1e-5);
        let theirs = reference.floats(&format!("{name}.logits"));
        let ours = values(&model.logits(row).unwrap());
        close(&format!("{what} {name} logits"), &ours, &theirs, 1e-4);
    }
    greedy_alone_and_in_a_batch(what, model, reference, &VIDEO_ROWS, &rows, Some(2e-5));
}

/// The loss of every row and the `kept` gradients that the reference has of it, everything training.
#[track_caller]
pub(crate) fn videos_are_learned<T: Tower>(model: &mut Vlm<T>, reference: &Reference, kept: usize) {
    model.train_full(FullTraining::EVERYTHING);
    for name in VIDEO_ROWS {
        let row = reference.video_row(name, model);
        let (loss, gradients) = pass(model, &[row], true);
        let theirs = f64::from(reference.floats(&format!("{name}.loss"))[0]);
        assert!(
            (loss - theirs).abs() < 1e-5 * theirs,
            "{name}: {loss}, theirs {theirs}"
        );
        let mut seen = 0;
        for (path, gradient) in &gradients {
            let key = format!("{name}.grad.{path}");
            if reference.has(&key) {
                close_relative(&key, &values(gradient), &reference.floats(&key), 1e-4);
                seen += 1;
            }
        }
        assert_eq!(seen, kept, "{name}");
    }
}
