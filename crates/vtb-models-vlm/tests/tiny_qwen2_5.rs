//! A tiny Qwen2.5-VL directory: read back, encoded with its own template, run.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::sync::Arc;

use burn::tensor::DType;
use vtb_models_vlm::AnyVlm;
use vtb_models_vlm::chat::Message;
use vtb_models_vlm::config::{AnyVlmConfig, GenerationConfig, Qwen2_5VlConfig};
use vtb_models_vlm::encode::{LabelPolicy, RowEncoder};
use vtb_models_vlm::files::ModelDir;
use vtb_models_vlm::processor::Rgb;
use vtb_models_vlm::qwen2_5_vl::Qwen2_5Vl;
use vtb_models_vlm::tiny::{TinyQwen2_5Spec, TinySpec};
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{CausalLm, ImagePatches, SampleOptions};

const SYSTEM: &str = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n";

fn corpus() -> Vec<String> {
    let lines = (0..30).map(|i| format!("Which colour has cell {i}?"));
    lines.collect()
}

fn tiny() -> (tempfile::TempDir, ModelDir, Qwen2_5VlConfig) {
    let dir = tempfile::tempdir().unwrap();
    let config = TinyQwen2_5Spec::default()
        .write_files(dir.path(), &corpus(), 512)
        .unwrap();
    let model = ModelDir::open(dir.path()).unwrap();
    (dir, model, config)
}

fn picture(encoder: &RowEncoder, width: usize, height: usize) -> Arc<ImagePatches> {
    let pixels = (0..width * height * 3).map(|i| i as u8).collect();
    let image = Rgb::new("test", width, height, pixels).unwrap();
    Arc::new(encoder.images.process("test", &image).unwrap())
}

#[test]
fn a_written_directory_reads_back() {
    let (_dir, model, config) = tiny();
    assert_eq!(Qwen2_5VlConfig::from_dir(&model).unwrap(), config);
    let any = AnyVlmConfig::from_dir(&model).unwrap();
    assert_eq!(any.parameters(), config.parameters());
    let encoder = RowEncoder::from_dir(&model, &config).unwrap();
    assert_eq!(encoder.images.settings.factor(), 28);
    assert_eq!(
        encoder.images.settings.mean,
        [0.481_454_66, 0.457_827_5, 0.408_210_73]
    );
    let generation = GenerationConfig::from_dir(&model).unwrap();
    assert_eq!(generation.eos, encoder.tokenizer.stop_ids());
    // The settings of another family do not pass, even with the same tokens.
    let dir = tempfile::tempdir().unwrap();
    let other = TinySpec::default()
        .write_files(dir.path(), &corpus(), 512)
        .unwrap();
    let error = RowEncoder::from_dir(&model, &other)
        .unwrap_err()
        .to_string();
    assert!(error.contains("patch_size 14"), "{error}");
}

#[test]
fn the_template_opens_with_its_system_turn_unless_one_is_given() {
    let (_dir, model, config) = tiny();
    let encoder = RowEncoder::from_dir(&model, &config).unwrap();
    let text = |ids: &[u32]| encoder.tokenizer.decode(ids, false).unwrap();
    // 84x56 pixels are 6x4 patches, 6 tokens.
    let image = [picture(&encoder, 84, 56)];
    let row = encoder
        .encode_prompt(&[Message::user("Q?")], &image)
        .unwrap();
    let pads = "<|image_pad|>".repeat(6);
    let user = format!("<|im_start|>user\n<|vision_start|>{pads}<|vision_end|>Q?<|im_end|>\n");
    let open = "<|im_start|>assistant\n";
    assert_eq!(text(&row.ids), format!("{SYSTEM}{user}{open}"));
    let given = [Message::system("Be brief."), Message::user("Q?")];
    let row = encoder.encode_prompt(&given, &[]).unwrap();
    let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nQ?<|im_end|>\n";
    assert_eq!(text(&row.ids), format!("{expected}{open}"));

    let turns = [
        Message::user("Q?"),
        Message::assistant("A."),
        Message::user("And?"),
        Message::assistant("B."),
    ];
    let row = encoder
        .encode_training(&turns, &image, LabelPolicy::Default)
        .unwrap();
    let learned: Vec<u32> = row
        .ids
        .iter()
        .zip(&row.scored)
        .filter(|(_, s)| **s)
        .map(|(id, _)| *id)
        .collect();
    assert_eq!(text(&learned), "A.<|im_end|>\nB.<|im_end|>\n");
    assert!(text(&row.ids).starts_with(SYSTEM));
}

#[test]
fn fresh_weights_are_saved_found_by_type_and_run() {
    let (dir, model, config) = tiny();
    let fresh = Qwen2_5Vl::fresh(config.clone(), 3, &cpu_device(), DType::F32).unwrap();
    assert_eq!(fresh.parameters(), config.parameters());
    fresh.save(dir.path()).unwrap();
    let any = AnyVlm::load(dir.path(), &cpu_device(), DType::F32).unwrap();
    assert!(matches!(any, AnyVlm::Qwen2_5(_)));
    let encoder = any.encoder(&model).unwrap();
    let image = [picture(&encoder, 70, 90)];
    let row = encoder
        .encode_prompt(&[Message::user("Q?")], &image)
        .unwrap();
    let options = SampleOptions {
        max_new_tokens: 5,
        temperature: 1.0,
        ..Default::default()
    };
    let rows = [row.clone(), row];
    let made = any.generate(&rows, &options, &[1, 1]).unwrap();
    assert_eq!(made[0].ids, made[1].ids);
    assert_eq!(made[0].ids.len(), 5);
}

#[test]
fn unknown_model_types_list_what_there_is() {
    let (dir, model, _) = tiny();
    std::fs::write(dir.path().join("config.json"), r#"{"model_type": "llava"}"#).unwrap();
    let error = AnyVlmConfig::from_dir(&model).unwrap_err().to_string();
    for part in ["llava", "qwen3_vl", "qwen2_5_vl"] {
        assert!(error.contains(part), "{error}");
    }
}
