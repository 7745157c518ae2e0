//! Running the programs as a user does.

#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) const GRPO: &str = env!("CARGO_BIN_EXE_train-grpo");
pub(crate) const SFT: &str = env!("CARGO_BIN_EXE_train-sft");
pub(crate) const IMAGE: &str = env!("CARGO_BIN_EXE_train-image");
pub(crate) const VIDEO: &str = env!("CARGO_BIN_EXE_train-video");
pub(crate) const INFER: &str = env!("CARGO_BIN_EXE_infer-vlm");

/// Settings that make a default run small.
pub(crate) const SMALL: &[&str] = &[
    "--set",
    "demo.train_puzzles=96",
    "--set",
    "demo.eval_puzzles=16",
    "--set",
    "demo.warm_steps=3",
    "--set",
    "demo.warm_batch=4",
    "--set",
    "batch.batch_size=8",
    "--set",
    "log.seconds=0",
];

pub(crate) fn run(program: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command
        .args(args)
        .env_remove("RUST_LOG")
        .env("RAYON_NUM_THREADS", "2");
    command.output().unwrap()
}

#[track_caller]
pub(crate) fn succeed(program: &str, args: &[&str]) -> Output {
    let output = run(program, args);
    assert!(output.status.success(), "{args:?}\n{}", stderr(&output));
    output
}

/// The program must fail with this code and one line that names `parts`.
#[track_caller]
pub(crate) fn refuse(program: &str, args: &[&str], code: i32, parts: &[&str]) -> String {
    let output = run(program, args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{text}");
    let line = text
        .lines()
        .find(|l| l.starts_with("error: "))
        .unwrap_or_else(|| panic!("{text}"));
    for part in parts {
        assert!(text.contains(part), "`{part}` is not named:\n{text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    line.to_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn path(p: &Path) -> &str {
    p.to_str().unwrap()
}

/// A tiny model and a JSONL file of puzzles with pictures, made by the libraries as a user's own would lie on disk.
pub(crate) struct Own {
    pub(crate) model: PathBuf,
    pub(crate) data: PathBuf,
}

pub(crate) fn own_model_and_data(dir: &Path, task: &str) -> Own {
    use std::collections::BTreeSet;
    let spec = vtb_data::PuzzleSpec {
        task: task.into(),
        params: match task {
            "color_grid" => {
                serde_json::json!({"canvas": 96, "prompt_style": "short", "list_options": false})
            }
            _ => serde_json::json!({"rows": 7, "cols": 7}),
        },
        seed: 5,
        count: 24,
    };
    let rows =
        vtb_data::GeneratedDataset::new(&spec, vtb_data::RowMode::Sft, &BTreeSet::new()).unwrap();
    let data = vtb_data::write_jsonl(dir, "train.jsonl", &rows, &Default::default()).unwrap();
    let machine = vtb_bins::model::Machine {
        device: vtb_nn::device::cpu_device(),
        dtype: burn::tensor::DType::F32,
    };
    let model = dir.join("model");
    vtb_bins::demo::write_tiny_model(&model, &rows, 7, &machine).unwrap();
    Own { model, data }
}

/// Arguments of a training run of one's own model and data, with settings.
pub(crate) fn training(own: &Own, out: &Path, sets: &[&str]) -> Vec<String> {
    let places = [
        ("--model", &own.model),
        ("--data", &own.data),
        ("--output-dir", &out.to_path_buf()),
    ];
    let places = places.map(|(flag, place)| [flag.to_owned(), path(place).to_owned()]);
    let sets = sets
        .iter()
        .map(|set| ["--set".to_owned(), (*set).to_owned()]);
    places.into_iter().chain(sets).flatten().collect()
}

/// These arguments as programs are given them.
pub(crate) fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// A tiny Qwen3-VL with experts and fresh weights: one dense layer, two with four experts of which a token uses two.
pub(crate) fn tiny_moe(dir: &Path) -> PathBuf {
    use vtb_models_vlm::config::MoeConfig;
    use vtb_models_vlm::tiny::TinySpec;
    let model = dir.join("moe");
    let corpus = vec!["Which color is missing? Reply <answer>red</answer>.".to_owned(); 4];
    let spec = TinySpec {
        moe: Some(MoeConfig {
            num_experts: 4,
            experts_per_token: 2,
            intermediate_size: 48,
            sparse_step: 1,
            dense_layers: vec![0],
        }),
        ..TinySpec::default()
    };
    let config = spec.write_files(&model, &corpus, 512).unwrap();
    let (device, dtype) = (vtb_nn::device::cpu_device(), burn::tensor::DType::F32);
    vtb_models_vlm::qwen3_vl::Qwen3Vl::fresh(config, 7, &device, dtype)
        .unwrap()
        .save(&model)
        .unwrap();
    model
}

/// A tiny Qwen2.5-VL with fresh weights.
pub(crate) fn tiny_qwen2_5(dir: &Path) -> PathBuf {
    let model = dir.join("qwen2_5");
    let corpus = vec!["Which color is missing? Reply <answer>color</answer>.".to_owned(); 4];
    let config = vtb_models_vlm::tiny::TinyQwen2_5Spec::default()
        .write_files(&model, &corpus, 512)
        .unwrap();
    let (device, dtype) = (vtb_nn::device::cpu_device(), burn::tensor::DType::F32);
    vtb_models_vlm::qwen2_5_vl::Qwen2_5Vl::fresh(config, 7, &device, dtype)
        .unwrap()
        .save(&model)
        .unwrap();
    model
}
