//! The template of a thinking model: as `transformers` renders it, and what is learned under it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::path::Path;

use serde_json::Value;
use vtb_models_vlm::chat::Message;
use vtb_models_vlm::encode::{LabelPolicy, Media, RowEncoder};
use vtb_models_vlm::files::ModelDir;
use vtb_models_vlm::template::{ChatTemplate, RenderOptions};
use vtb_models_vlm::tiny::TinySpec;

fn encoder(dir: &Path) -> RowEncoder {
    let spec = TinySpec {
        thinking: true,
        ..TinySpec::default()
    };
    let config = spec
        .write_files(dir, &["Which colour?".to_owned()], 512)
        .unwrap();
    RowEncoder::from_dir(&ModelDir::open(dir).unwrap(), &config).unwrap()
}

/// Our template, and that of a published checkpoint where `VTB_THINKING_TEMPLATE` names its file: every case is the same
/// under both.
#[test]
fn texts_equal_those_of_transformers() {
    let dir = tempfile::tempdir().unwrap();
    encoder(dir.path());
    let mut templates = vec![ChatTemplate::from_dir(&ModelDir::open(dir.path()).unwrap()).unwrap()];
    if let Some(path) = std::env::var_os("VTB_THINKING_TEMPLATE") {
        let source = std::fs::read_to_string(&path).unwrap();
        templates.push(ChatTemplate::from_source("published", source).unwrap());
    }
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/thinking/cases.json");
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(cases.len() > 60);
    for (case, template) in cases
        .iter()
        .flat_map(|case| templates.iter().map(move |template| (case, template)))
    {
        let messages = Message::list_from_json(&case["messages"]).unwrap();
        let options = RenderOptions {
            add_generation_prompt: case["add_generation_prompt"].as_bool().unwrap(),
            add_vision_id: case["add_vision_id"].as_bool().unwrap(),
        };
        let text = template.render(&messages, options).unwrap();
        let what = (&case["name"], template.origin());
        assert_eq!(text, case["text"].as_str().unwrap(), "{what:?}");
    }
}

#[test]
fn thoughts_are_learned_where_the_prompt_opens_one() {
    let dir = tempfile::tempdir().unwrap();
    let encoder = encoder(dir.path());
    let thought = "<think>\nIt is red.\n</think>\n\nA";
    let mut messages = vec![Message::user("Q?"), Message::assistant(thought)];
    let learned = |messages: &[Message], policy| {
        let row = encoder.encode_training(messages, Media::default(), policy)?;
        let scored: Vec<u32> = row
            .ids
            .iter()
            .zip(&row.scored)
            .filter(|(_, scored)| **scored)
            .map(|(id, _)| *id)
            .collect();
        encoder.tokenizer.decode(&scored, false)
    };
    // The prompt ends with the opening tag, so the answer begins inside the thought.
    let answer = "It is red.\n</think>\n\nA<|im_end|>\n";
    assert_eq!(learned(&messages, LabelPolicy::Default).unwrap(), answer);
    let prompt = encoder
        .encode_prompt(&messages[..1], Media::default())
        .unwrap();
    let text = encoder.tokenizer.decode(&prompt.ids, false).unwrap();
    assert!(text.ends_with("<|im_start|>assistant\n<think>\n"), "{text}");
    // What rewards read tells a thought that was cut off from an answer.
    let ids = encoder
        .tokenizer
        .encode("It is <answer>A</answer>")
        .unwrap();
    assert_eq!(
        encoder.reply(&ids).unwrap(),
        "<think>\nIt is <answer>A</answer>"
    );
    let ids = encoder.tokenizer.encode("<think>x").unwrap();
    assert_eq!(encoder.reply(&ids).unwrap(), "<think>x");
    // Earlier thoughts are left out of the text, so earlier answers cannot be learned from it.
    messages.extend([Message::user("Why?"), Message::assistant(thought)]);
    let text = learned(&messages, LabelPolicy::Default)
        .unwrap_err()
        .to_string();
    assert!(text.contains("last_round"), "{text}");
    assert_eq!(learned(&messages, LabelPolicy::LastRound).unwrap(), answer);
}
