//! Our files in the hands of their real readers, and theirs in ours. Needs Python with the packages of
//! `tests/parity/requirements.txt`; `VTB_PYTHON` names the interpreter. Skipped with a message where it is absent.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

#[path = "../e2e/common.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{GRPO, INFER, SFT, path, stdout, succeed};
use serde_json::Value;

/// Exit code of the scripts where a package is missing.
const SKIPPED: i32 = 77;

/// Runs a script of this folder; `None`, with a message, where Python or a package is missing.
fn python(script: &str, args: &[&str]) -> Option<Value> {
    let program = std::env::var("VTB_PYTHON").unwrap_or_else(|_| "python3".into());
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/interop"));
    let output = Command::new(&program)
        .arg(dir.join(script))
        .args(args)
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: there is no `{program}`; set VTB_PYTHON");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() == Some(SKIPPED) {
        eprintln!("skipped: {text}");
        return None;
    }
    assert!(
        output.status.success(),
        "{script}: {}",
        common::stderr(&output)
    );
    let start = text
        .find('{')
        .unwrap_or_else(|| panic!("{script} printed {text}"));
    Some(serde_json::from_str(&text[start..]).unwrap())
}

fn prompt_file(dir: &Path, text: &str) -> PathBuf {
    let file = dir.join("prompt.txt");
    std::fs::write(&file, text).unwrap();
    file
}

fn infer(args: &[&str]) -> Value {
    let mut all = vec!["--json", "--temperature", "0", "--max-new-tokens", "8"];
    all.extend(args);
    serde_json::from_str(&stdout(&succeed(INFER, &all))).unwrap()
}

/// Our greedy answer must be theirs up to the first end token, where ours stops.
#[track_caller]
fn same_answer(ours: &Value, theirs: &Value) {
    assert_eq!(ours["prompt_token_ids"], theirs["input_ids"]);
    let ids = |v: &Value| -> Vec<i64> {
        v.as_array()
            .unwrap()
            .iter()
            .map(|i| i.as_i64().unwrap())
            .collect()
    };
    let (ours, theirs) = (ids(&ours["token_ids"]), ids(&theirs["greedy_ids"]));
    assert!(!ours.is_empty());
    assert_eq!(ours, theirs[..ours.len()]);
}

#[test]
fn a_tiny_model_and_its_adapter_load_in_transformers_and_peft() {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(dir.path(), "color_grid");
    answers_are_those_of_transformers_and_peft(&own, dir.path());
}

#[test]
fn a_tiny_qwen2_5_and_its_adapter_load_in_transformers_and_peft() {
    let dir = tempfile::tempdir().unwrap();
    let mut own = common::own_model_and_data(dir.path(), "color_grid");
    own.model = common::tiny_qwen2_5(dir.path());
    answers_are_those_of_transformers_and_peft(&own, dir.path());
}

/// One question to the model, and one to an adapter trained on it, there and here.
fn answers_are_those_of_transformers_and_peft(own: &common::Own, dir: &Path) {
    let picture = std::fs::read_dir(dir.join("images"))
        .or_else(|_| std::fs::read_dir(dir.join("train")))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let question = "Which color is missing? Reply <answer>color</answer>.";
    let file = prompt_file(dir, question);
    let args = [
        "--prompt-file",
        path(&file),
        "--image",
        path(&picture),
        "--max-new-tokens",
        "8",
    ];
    let mut all = vec![path(&own.model)];
    all.extend(args);
    let Some(theirs) = python("check_model_dir.py", &all) else {
        return;
    };
    let asked = [
        "--model",
        path(&own.model),
        "--image",
        path(&picture),
        "--prompt",
        question,
    ];
    same_answer(&infer(&asked), &theirs);

    let out = dir.join("sft");
    succeed(
        SFT,
        &[
            "--model",
            path(&own.model),
            "--data",
            path(&own.data),
            "--output-dir",
            path(&out),
            "--max-steps",
            "6",
            "--learning-rate",
            "0.02",
            "--batch-size",
            "4",
            "--set",
            "train.schedule=constant",
        ],
    );
    let adapter = out.join("checkpoints/step-6/adapter");
    let mut all = vec![path(&own.model), path(&adapter)];
    all.extend(&args[..4]);
    let theirs = python("check_adapter.py", &all).unwrap();
    let mut asked = asked.to_vec();
    asked.extend(["--adapter", path(&adapter)]);
    first_token_agrees(&infer(&asked), &theirs);
}

/// The first greedy token and its log-probability, against the logits the reference computed with the adapter.
#[track_caller]
fn first_token_agrees(ours: &Value, theirs: &Value) {
    let logits: Vec<f64> = theirs["logits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect();
    let id = ours["token_ids"][0].as_u64().unwrap() as usize;
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert!(
        max - logits[id] < 1e-4,
        "the reference prefers another token by {}",
        max - logits[id]
    );
    let total: f64 = logits.iter().map(|l| (l - max).exp()).sum();
    let expected = logits[id] - max - total.ln();
    let found = ours["logprobs"][0].as_f64().unwrap();
    assert!(
        (found - expected).abs() < 1e-3,
        "log-probability {found}, the reference says {expected}"
    );
}

#[test]
fn a_model_and_rows_made_outside_train_here() {
    let dir = tempfile::tempdir().unwrap();
    let Some(made) = python("make_model_dir.py", &[path(dir.path())]) else {
        return;
    };
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    let (model, image, prompt) = (text("model"), text("image"), text("prompt_file"));
    let args = [
        &model,
        "--prompt-file",
        &prompt,
        "--image",
        &image,
        "--max-new-tokens",
        "8",
    ];
    let theirs = python("check_model_dir.py", &args).unwrap();
    let question = std::fs::read_to_string(&prompt).unwrap();
    same_answer(
        &infer(&["--model", &model, "--image", &image, "--prompt", &question]),
        &theirs,
    );

    let (grpo, sft) = (dir.path().join("run-grpo"), dir.path().join("run-sft"));
    let (grpo_rows, sft_rows) = (text("grpo"), text("sft"));
    succeed(
        GRPO,
        &[
            "--model",
            &model,
            "--data",
            &grpo_rows,
            "--output-dir",
            path(&grpo),
            "--max-steps",
            "2",
            "--max-completion-length",
            "6",
        ],
    );
    succeed(
        SFT,
        &[
            "--model",
            &model,
            "--data",
            &sft_rows,
            "--output-dir",
            path(&sft),
            "--max-steps",
            "2",
            "--batch-size",
            "4",
        ],
    );
    let events = python("check_tensorboard.py", &[path(&grpo)]).unwrap();
    assert!(events.to_string().contains("reward"), "{events}");

    let adapter = dir.path().join("peft");
    let args = [
        &model,
        path(&adapter),
        "--prompt-file",
        &prompt,
        "--image",
        &image,
    ];
    if python("make_adapter.py", &args).is_some() {
        let expected = std::fs::read_to_string(adapter.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let asked = [
            "--model",
            &model,
            "--adapter",
            path(&adapter),
            "--image",
            &image,
            "--prompt",
            &question,
        ];
        first_token_agrees(&infer(&asked), &expected);
    }
}
