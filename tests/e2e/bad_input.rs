//! What is wrong with an input is said in one line, and nothing half-written stays.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;

use std::fs;

use common::{GRPO, INFER, SFT, path, refuse};

fn args<'a>(own: &'a common::Own, out: &'a std::path::Path) -> Vec<&'a str> {
    vec![
        "--model",
        path(&own.model),
        "--data",
        path(&own.data),
        "--output-dir",
        path(out),
        "--max-steps",
        "1",
    ]
}

#[test]
fn broken_models() {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(dir.path(), "color_grid");
    let out = dir.path().join("run");
    let weights = own.model.join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    refuse(SFT, &args(&own, &out), 1, &["model.safetensors"]);
    fs::remove_file(&weights).unwrap();
    refuse(GRPO, &args(&own, &out), 1, &["safetensors"]);
    fs::write(&weights, &whole).unwrap();
    let config = own.model.join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replace("\"intermediate_size\": 256", "\"intermediate_size\": 224"),
    )
    .unwrap();
    refuse(
        SFT,
        &args(&own, &out),
        1,
        &["mlp.gate_proj.weight", "256", "224"],
    );
    fs::write(&config, "{").unwrap();
    refuse(SFT, &args(&own, &out), 1, &["config.json"]);
    refuse(
        SFT,
        &["--model", "/nowhere", "--data", path(&own.data)],
        1,
        &["/nowhere"],
    );
    assert!(!out.exists(), "a refused run leaves nothing behind");
}

#[test]
fn broken_data() {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(dir.path(), "color_grid");
    let out = dir.path().join("run");
    let good = fs::read_to_string(&own.data).unwrap();
    fs::write(&own.data, "").unwrap();
    refuse(SFT, &args(&own, &out), 1, &["train.jsonl"]);
    fs::write(&own.data, format!("{good}{{\"messages\": 5}}\n")).unwrap();
    refuse(GRPO, &args(&own, &out), 1, &["train.jsonl:25", "messages"]);
    let mut dry = args(&own, &out);
    dry.push("--dry-run");
    refuse(SFT, &dry, 1, &["train.jsonl:25", "messages"]);
    let two = good.replacen("<image>", "<image><image>", 1);
    fs::write(&own.data, two).unwrap();
    refuse(SFT, &args(&own, &out), 1, &["train.jsonl:1"]);
    fs::write(&own.data, &good).unwrap();
    assert!(!out.exists());
    let pictures = walk(dir.path())
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == "png"));
    for picture in pictures {
        fs::write(&picture, b"\x89PNG\r\n\x1a\nnothing").unwrap();
    }
    refuse(SFT, &args(&own, &out), 1, &["train.jsonl:", "png"]);
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path))
        } else {
            found.push(path)
        }
    }
    found
}

#[test]
fn settings_without_meaning() {
    let text = refuse(
        GRPO,
        &["--set", "train.learning_rat=1"],
        2,
        &["train.learning_rat", "train.learning_rate"],
    );
    assert!(
        text.contains("did you mean") || text.contains("learning_rate"),
        "{text}"
    );
    refuse(
        GRPO,
        &["--batch-size", "6", "--dry-run"],
        2,
        &["num_generations", "multiple"],
    );
    refuse(
        GRPO,
        &["--set", "grpo.temperature=0", "--dry-run"],
        2,
        &["temperature"],
    );
    refuse(SFT, &["--device", "tpu", "--dry-run"], 2, &["tpu", "cuda"]);
    refuse(
        SFT,
        &[
            "--set",
            "data.cache_gib=0",
            "--set",
            "data.ahead=0",
            "--dry-run",
        ],
        2,
        &["data.cache_gib", "data.ahead"],
    );
    refuse(
        SFT,
        &["--set", "data.bucket=size", "--dry-run"],
        2,
        &["data.bucket"],
    );
    refuse(
        GRPO,
        &["--set", "rewards=[{name=\"chioce\"}]", "--dry-run"],
        2,
        &["chioce", "choice"],
    );
    refuse(GRPO, &["--model", "m", "--dry-run"], 2, &["--data"]);
    refuse(GRPO, &["--config", "/nowhere.toml"], 2, &["/nowhere.toml"]);
}

#[test]
fn a_run_directory_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(dir.path(), "color_grid");
    let out = dir.path().join("run");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("precious"), "x").unwrap();
    refuse(SFT, &args(&own, &out), 1, &["already holds a run"]);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
}

#[test]
fn questions_that_cannot_be_asked() {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(dir.path(), "color_grid");
    let model = path(&own.model);
    let picture = dir.path().join("not-a-picture.png");
    fs::write(&picture, "hello").unwrap();
    refuse(
        INFER,
        &["--model", model, "--image", path(&picture), "--prompt", "x"],
        1,
        &["not-a-picture.png"],
    );
    refuse(
        INFER,
        &["--model", model, "--image", "/nowhere.png", "--prompt", "x"],
        1,
        &["/nowhere.png"],
    );
    refuse(
        INFER,
        &["--model", model, "--prompt", "<image> what?"],
        1,
        &["<image>"],
    );
    refuse(
        INFER,
        &[
            "--model",
            model,
            "--adapter",
            path(dir.path()),
            "--prompt",
            "x",
        ],
        1,
        &["adapter_config.json"],
    );
}

/// A file system that is full while a checkpoint is written: a limit on file size stands in for it.
#[cfg(unix)]
#[test]
fn a_full_disk_is_told_and_leaves_no_half_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(dir.path(), "color_grid");
    let out = dir.path().join("run");
    let arguments = args(&own, &out).join(" ");
    // 64 blocks of 512 bytes: enough for logs, too little for an optimizer state.
    let script = format!("trap '' XFSZ; ulimit -f 64; exec {SFT} {arguments}");
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    let text = common::stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("error: "), "{text}");
    let left = fs::read_dir(out.join("checkpoints")).map_or(0, |d| d.count());
    assert_eq!(left, 0, "{text}");
}
