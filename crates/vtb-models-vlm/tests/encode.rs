//! Conversations encoded with a tiny model directory: exact text, exact labels, limits.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::sync::Arc;

use tempfile::TempDir;
use vtb_models_vlm::VlmError;
use vtb_models_vlm::chat::Message;
use vtb_models_vlm::config::{GenerationConfig, Qwen3VlConfig};
use vtb_models_vlm::encode::{LabelPolicy, Media, Overflow, RowEncoder};
use vtb_models_vlm::files::ModelDir;
use vtb_models_vlm::positions::positions;
use vtb_models_vlm::processor::Rgb;
use vtb_models_vlm::tiny::TinySpec;
use vtb_nn::lm::{ImagePatches, LmRow};

struct Tiny {
    _dir: TempDir,
    model: ModelDir,
    config: Qwen3VlConfig,
    encoder: RowEncoder,
}

fn tiny() -> Tiny {
    let dir = tempfile::tempdir().unwrap();
    let corpus: Vec<String> = (0..30)
        .map(|i| format!("Which colour has cell {i}?\n\n\nAnswer with one of A, B, C."))
        .collect();
    let config = TinySpec::default()
        .write_files(dir.path(), &corpus, 512)
        .unwrap();
    let model = ModelDir::open(dir.path()).unwrap();
    let encoder = RowEncoder::from_dir(&model, &config).unwrap();
    Tiny {
        _dir: dir,
        model,
        config,
        encoder,
    }
}

impl Tiny {
    fn picture(&self, width: usize, height: usize) -> Arc<ImagePatches> {
        let pixels = (0..width * height * 3).map(|i| i as u8).collect();
        let image = Rgb::new("test", width, height, pixels).unwrap();
        Arc::new(self.encoder.images.process("test", &image).unwrap())
    }

    fn text(&self, ids: &[u32]) -> String {
        self.encoder.tokenizer.decode(ids, false).unwrap()
    }

    /// The stretches of scored tokens, as text.
    fn learned(&self, row: &LmRow) -> Vec<String> {
        let tokens: Vec<_> = row.ids.iter().zip(&row.scored).collect();
        tokens
            .chunk_by(|a, b| a.1 == b.1)
            .filter(|run| *run[0].1)
            .map(|run| self.text(&run.iter().map(|t| *t.0).collect::<Vec<_>>()))
            .collect()
    }
}

const HEAD: &str = "<|im_start|>assistant\n";

#[test]
fn a_written_directory_reads_back() {
    let tiny = tiny();
    assert_eq!(Qwen3VlConfig::from_dir(&tiny.model).unwrap(), tiny.config);
    let generation = GenerationConfig::from_dir(&tiny.model).unwrap();
    assert_eq!(generation.eos, tiny.encoder.tokenizer.stop_ids());
    assert_eq!(tiny.encoder.images.settings.min_pixels, 1024);
}

#[test]
fn prompts_are_chatml_with_one_placeholder_per_merged_token() {
    let mut tiny = tiny();
    let pads = |n| {
        format!(
            "<|vision_start|>{}<|vision_end|>",
            "<|image_pad|>".repeat(n)
        )
    };
    // 96x64 pixels are 6x4 patches, 6 tokens; 32x32 is one.
    let images = [tiny.picture(96, 64), tiny.picture(32, 32)];
    let messages = [
        Message::system("Be brief."),
        Message::user("<image>Q?<image>"),
    ];
    let row = tiny.encoder.encode_prompt(&messages, &images).unwrap();
    let expected = format!(
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{}Q?{}<|im_end|>\n{HEAD}",
        pads(6),
        pads(1)
    );
    assert_eq!(tiny.text(&row.ids), expected);
    assert!(row.scored.is_empty() && row.images.len() == 2);
    let grids: Vec<_> = row.images.iter().map(|image| image.grid).collect();
    positions(&row.ids, &grids, &tiny.config.ids, 2).unwrap();

    tiny.encoder.options.add_vision_id = true;
    let row = tiny
        .encoder
        .encode_prompt(&[Message::user("Q?")], &images)
        .unwrap();
    let expected = format!(
        "<|im_start|>user\nPicture 1: {}Picture 2: {}Q?<|im_end|>\n{HEAD}",
        pads(6),
        pads(1)
    );
    assert_eq!(tiny.text(&row.ids), expected);
}

#[test]
fn answers_and_their_two_closing_tokens_are_learned() {
    let tiny = tiny();
    let images = [tiny.picture(64, 64)];
    let mut messages = vec![
        Message::system("S"),
        Message::user("<image>one"),
        Message::assistant("A."),
        Message::user("two"),
        Message::assistant("\n\nB."),
    ];
    let learned = |messages: &[Message], policy| {
        tiny.learned(
            &tiny
                .encoder
                .encode_training(messages, &images, policy)
                .unwrap(),
        )
    };
    let both = ["A.<|im_end|>\n", "\n\nB.<|im_end|>\n"];
    assert_eq!(learned(&messages, LabelPolicy::Default), both);
    assert_eq!(learned(&messages, LabelPolicy::LastRound), both[1..]);
    let all = learned(&messages, LabelPolicy::All);
    assert!(
        all[0].starts_with("system\n"),
        "position 0 is never scored: {all:?}"
    );
    assert!(!all.concat().contains("image_pad"));
    messages[2].loss = Some(false);
    assert_eq!(learned(&messages, LabelPolicy::Default), both[1..]);
    messages[2].loss = Some(true);
    assert_eq!(learned(&messages, LabelPolicy::LastRound), both);
}

#[test]
fn an_answer_has_the_ids_a_policy_would_produce() {
    let tiny = tiny();
    // Newlines after the header's newline would merge with it if both were tokenised as one text.
    let answer = "\n\nB.";
    let messages = [Message::user("Q?"), Message::assistant(answer)];
    let prompt = tiny
        .encoder
        .encode_prompt(&messages[..1], Media::default())
        .unwrap();
    let completion = tiny.encoder.tokenizer.encode("\n\nB.<|im_end|>\n").unwrap();
    let sampled = tiny.encoder.with_completion(&prompt, &completion).unwrap();
    let trained = tiny
        .encoder
        .encode_training(&messages, Media::default(), LabelPolicy::Default)
        .unwrap();
    assert_eq!(trained.ids, sampled.ids);
    assert_eq!(trained.scored, sampled.scored);
    let joined = tiny
        .encoder
        .tokenizer
        .encode(&tiny.text(&trained.ids))
        .unwrap();
    assert_ne!(joined, trained.ids, "the example must need the boundary");
    assert_eq!(tiny.encoder.decode(&completion).unwrap(), "\n\nB.\n");
    assert_eq!(tiny.encoder.reply(&completion).unwrap(), "\n\nB.\n");
}

#[test]
fn completions_never_hold_placeholders() {
    let tiny = tiny();
    let prompt = tiny
        .encoder
        .encode_prompt(&[Message::user("Q?")], Media::default())
        .unwrap();
    let text = tiny
        .encoder
        .with_completion(&prompt, &[1, tiny.config.ids.image])
        .unwrap_err()
        .to_string();
    assert!(text.contains("ban the ids"), "{text}");
}

#[test]
fn long_rows_are_dropped_or_cut_around_pictures() {
    let mut tiny = tiny();
    let images = [tiny.picture(64, 64)];
    let messages = [
        Message::user("<image>which one is it?"),
        Message::assistant("A."),
    ];
    let train = |tiny: &Tiny| {
        tiny.encoder
            .encode_training(&messages, &images, LabelPolicy::Default)
    };
    let full = train(&tiny).unwrap();
    tiny.encoder.options.max_length = Some(full.ids.len());
    assert_eq!(train(&tiny).unwrap().ids, full.ids);
    tiny.encoder.options.max_length = Some(full.ids.len() - 3);
    assert!(train(&tiny).unwrap_err().in_row("7").is_too_long());
    tiny.encoder.options.overflow = Overflow::Left;
    let cut = train(&tiny).unwrap();
    assert_eq!(cut.ids.len(), full.ids.len() - 3);
    let pads = cut
        .ids
        .iter()
        .filter(|id| **id == tiny.config.ids.image)
        .count();
    assert_eq!(pads, 4);
    assert_eq!(tiny.learned(&cut), ["A.<|im_end|>\n"]);
    tiny.encoder.options.max_length = Some(6);
    assert!(train(&tiny).unwrap_err().is_too_long());
}

#[test]
fn rows_that_do_not_fit_together_are_named() {
    let tiny = tiny();
    let images = [tiny.picture(64, 64)];
    let fails = |messages: &[Message], images: &[Arc<ImagePatches>], needle: &str| {
        let error: VlmError = tiny.encoder.encode_prompt(messages, images).unwrap_err();
        let text = error.in_row("train.jsonl:3").to_string();
        assert!(
            text.starts_with("row train.jsonl:3: ") && text.contains(needle),
            "{text}"
        );
        assert!(!text.contains('\n'), "{text}");
    };
    fails(
        &[Message::user("<image><image>")],
        &images,
        "mark 2 pictures",
    );
    fails(
        &[Message::user("<|image_pad|>")],
        &images,
        "has 2 image or video placeholder tokens",
    );
    fails(
        &[Message::user("<|image_pad|>")],
        &[],
        "has 1 image or video placeholder tokens",
    );
    fails(
        &[Message::user("a"), Message::assistant("b")],
        &[],
        "remove the answer",
    );
    fails(&[], &[], "must end with a user turn");
    let train = |messages: &[Message]| {
        let made = tiny
            .encoder
            .encode_training(messages, Media::default(), LabelPolicy::Default);
        made.unwrap_err().to_string()
    };
    assert!(train(&[Message::user("a")]).contains("no answer to learn from"));
    assert!(train(&[Message::assistant("a")]).contains("a user turn must come before"));
}

#[test]
fn files_of_different_models_are_refused() {
    let tiny = tiny();
    let mut config = tiny.config.clone();
    config.ids.image += 1;
    let text = RowEncoder::from_dir(&tiny.model, &config)
        .unwrap_err()
        .to_string();
    assert!(text.contains("do not belong together"), "{text}");
    let mut config = tiny.config.clone();
    config.vision.patch_size = 14;
    let text = RowEncoder::from_dir(&tiny.model, &config)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("patch_size 16, the vision tower has 14"),
        "{text}"
    );
    std::fs::remove_file(tiny.model.path("chat_template.jinja")).unwrap();
    let text = RowEncoder::from_dir(&tiny.model, &tiny.config)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("holds no chat template; looked for"),
        "{text}"
    );
}
