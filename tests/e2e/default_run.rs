//! The run a stranger starts, made small.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{GRPO, IMAGE, INFER, SFT, SMALL, VIDEO, path, stdout, succeed};

#[test]
fn train_grpo_with_nothing_else_measures_before_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let mut args = vec![
        "--output-dir",
        path(&out),
        "--seed",
        "3",
        "--max-steps",
        "2",
    ];
    args.extend(SMALL);
    let output = succeed(GRPO, &args);
    let text = stdout(&output);
    for part in [
        "accuracy before",
        "accuracy after",
        "chance",
        "95 % interval",
        "infer-vlm",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let summary = std::fs::read_to_string(out.join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["task"], "color_grid");
    assert_eq!(summary["seed"], 3);
    assert!(summary["seconds"].as_f64().unwrap() > 0.0);
    assert!((summary["chance"].as_f64().unwrap() - 1.0 / 6.0).abs() < 1e-9);
    for when in ["before", "after"] {
        let found = &summary[when];
        let value = |k: &str| found[k].as_f64().unwrap();
        assert_eq!(found["n"], 16);
        assert!(value("low") <= value("accuracy") && value("accuracy") <= value("high"));
    }
    for file in [
        "config.resolved.toml",
        "manifest.json",
        "metrics.jsonl",
        "completions",
    ] {
        assert!(out.join(file).exists(), "{file}");
    }
    try_the_printed_command(&text);
}

/// The last line holds the exact command that answers a puzzle with the trained adapter.
fn try_the_printed_command(text: &str) {
    let line = text.lines().find(|l| l.starts_with("try it")).unwrap();
    let (_, args) = line.split_once("-- ").unwrap();
    let (plain, prompt) = args.split_once("--prompt '").unwrap();
    let (prompt, rest) = prompt.split_once('\'').unwrap();
    let mut args: Vec<&str> = plain.split_whitespace().collect();
    args.extend(["--prompt", prompt, "--json"]);
    args.extend(rest.split_whitespace());
    let answer: serde_json::Value = serde_json::from_str(&stdout(&succeed(INFER, &args))).unwrap();
    let ids = answer["token_ids"].as_array().unwrap();
    assert!(!ids.is_empty());
    assert_eq!(answer["logprobs"].as_array().unwrap().len(), ids.len());
    assert!(answer["prompt_token_ids"].as_array().unwrap().len() > 9);
    assert!(["stop", "length"].contains(&answer["stop_reason"].as_str().unwrap()));
}

#[test]
fn train_sft_with_nothing_else_runs() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let mut args = vec!["--output-dir", path(&out), "--max-steps", "2"];
    args.extend(SMALL);
    let text = stdout(&succeed(SFT, &args));
    assert!(text.contains("held-out accuracy"), "{text}");
    assert!(
        out.join("checkpoints/step-2/model/model.safetensors")
            .exists()
    );
}

#[test]
fn own_model_and_data_train_and_answer() {
    let dir = tempfile::tempdir().unwrap();
    for task in ["color_grid", "maze_square"] {
        let own = common::own_model_and_data(&dir.path().join(task), task);
        let (grpo, sft) = (
            dir.path().join(format!("{task}-grpo")),
            dir.path().join(format!("{task}-sft")),
        );
        let (model, data) = (path(&own.model), path(&own.data));
        let common = [
            "--model",
            model,
            "--data",
            data,
            "--eval-data",
            data,
            "--max-steps",
            "2",
        ];
        let mut args = common.to_vec();
        args.extend([
            "--output-dir",
            path(&grpo),
            "--set",
            "grpo.max_completion_length=12",
        ]);
        succeed(GRPO, &args);
        let mut args = common.to_vec();
        args.extend(["--output-dir", path(&sft), "--batch-size", "4"]);
        succeed(SFT, &args);
        let adapter = sft.join("checkpoints/step-2/adapter");
        assert!(adapter.join("adapter_config.json").exists());
        let mut args = common.to_vec();
        let again = dir.path().join(format!("{task}-warm"));
        args.extend(["--adapter", path(&adapter), "--output-dir", path(&again)]);
        args.extend(["--set", "grpo.max_completion_length=12"]);
        succeed(GRPO, &args);
    }
}

#[test]
fn a_dry_run_and_a_printed_configuration_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    for program in [GRPO, SFT] {
        let plan = stdout(&succeed(
            program,
            &["--dry-run", "--output-dir", path(&out)],
        ));
        assert!(
            plan.contains("steps") && plan.contains("learning rate"),
            "{plan}"
        );
        let config = stdout(&succeed(program, &["--print-config", "--seed", "9"]));
        assert!(config.contains("seed = 9"), "{config}");
        let file = dir.path().join("run.toml");
        std::fs::write(&file, &config).unwrap();
        let again = stdout(&succeed(
            program,
            &["--print-config", "--config", path(&file)],
        ));
        assert_eq!(
            config, again,
            "the printed configuration resolves to itself"
        );
    }
    assert!(!out.exists());
}

/// The dotted names of all keys below a table; of a list, those of its first entry.
fn keys(value: &toml::Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                keys(value, &format!("{path}.{key}"), found);
            }
        }
        toml::Value::Array(list) if list.first().is_some_and(toml::Value::is_table) => {
            keys(&list[0], path, found);
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn every_recipe_names_every_key() {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    for file in std::fs::read_dir(recipes).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap();
        let programs = [
            ("train-grpo", GRPO),
            ("train-sft", SFT),
            ("train-image", IMAGE),
            ("train-video", VIDEO),
        ];
        let found = programs.iter().find(|(start, _)| name.starts_with(start));
        let (_, program) = found.unwrap_or_else(|| panic!("{name}: of which program?"));
        let text = std::fs::read_to_string(&file).unwrap();
        let printed = stdout(&succeed(
            program,
            &["--print-config", "--config", path(&file)],
        ));
        let [written, printed] = [&text, &printed].map(|text| {
            let mut found = BTreeSet::new();
            keys(&toml::from_str(text).unwrap(), name, &mut found);
            found
        });
        assert_eq!(written, printed, "the keys of {name} and those there are");
    }
}

#[test]
fn help_reads_like_a_manual_page() {
    for program in [GRPO, SFT] {
        let help = stdout(&succeed(program, &["--help"]));
        for part in [
            "Model and data:",
            "Training:",
            "Machine:",
            "Run:",
            "Example:",
            "Exit codes",
            "key: seed",
        ] {
            assert!(help.contains(part), "{part}\n{help}");
        }
    }
}
