//! Inputs that two models are compared on: texts, and a puzzle with its picture and answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context;
use vtb_data::{GeneratedDataset, PuzzleSpec, RowMode};
use vtb_models_vlm::chat::Message;
use vtb_models_vlm::encode::RowEncoder;
use vtb_nn::lm::LmRow;
use vtb_trainer::train::RowEncoder as _;

use crate::data::Rows;

const TEXTS: [(&str, &str); 2] = [
    ("short text", "Which number comes next: 2, 3, 5, 8, 13?"),
    (
        "longer text",
        "A maze has an entrance in the west and an exit in the east. Its walls are drawn in black, and no path of it is a \
         dead end. Describe in a few words how you would look for the way through, and say how you would know that there \
         is none.",
    ),
];

/// A named input.
pub(super) struct Probe {
    pub(super) name: &'static str,
    pub(super) row: LmRow,
}

/// The inputs, as the model's own tokenizer, template and processor read them.
///
/// # Errors
/// A template or processor that fails.
pub(super) fn probes(encoder: Arc<RowEncoder>) -> anyhow::Result<Vec<Probe>> {
    let mut probes = Vec::new();
    for (name, text) in TEXTS {
        let row = encoder.encode_prompt(&[Message::user(text)], &[])?;
        probes.push(Probe { name, row });
    }
    let spec = PuzzleSpec {
        task: "color_grid".into(),
        params: serde_json::json!({"canvas": 256}),
        seed: 1,
        count: 1,
    };
    let puzzle = GeneratedDataset::new(&spec, RowMode::Sft, &BTreeSet::new())?;
    let row = Rows::new(Arc::new(puzzle), encoder).encode(0);
    probes.push(Probe {
        name: "puzzle with picture",
        row: row.context("the puzzle with a picture")?,
    });
    Ok(probes)
}
