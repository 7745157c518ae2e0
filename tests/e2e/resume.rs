//! A run that was killed and resumed is the run that was not.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{GRPO, SFT, path, run, succeed};

const STEPS: &str = "12";

fn arguments<'a>(own: &'a common::Own, out: &'a Path, extra: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "--model",
        path(&own.model),
        "--data",
        path(&own.data),
        "--output-dir",
        path(out),
        "--max-steps",
        STEPS,
        "--seed",
        "11",
        "--learning-rate",
        "0.003",
        "--batch-size",
        "4",
        "--gradient-accumulation",
        "2",
        "--set",
        "lora.dropout=0.1",
        "--set",
        "save.steps=5",
        "--set",
        "log.seconds=0",
    ];
    args.extend(extra);
    args
}

fn lines(out: &Path) -> usize {
    std::fs::read_to_string(out.join("metrics.jsonl")).map_or(0, |t| t.lines().count())
}

/// `metrics.jsonl` without measured times.
fn metrics(out: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let parse = |line: &str| {
        let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
        row.as_object_mut().unwrap().remove("time");
        row
    };
    text.lines().map(parse).collect()
}

fn killed_run_equals_straight_run(program: &str, extra: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(dir.path(), "color_grid");
    let (straight, killed) = (dir.path().join("straight"), dir.path().join("killed"));
    succeed(program, &arguments(&own, &straight, extra));
    let mut child = Command::new(program)
        .args(arguments(&own, &killed, extra))
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while lines(&killed) < 6 {
        assert!(
            started.elapsed() < Duration::from_secs(300),
            "the run does not move"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(killed.join("checkpoints/step-5").exists());
    assert!(lines(&killed) < 12, "killed too late to mean anything");
    let mut args = arguments(&own, &killed, extra);
    args.push("--resume");
    succeed(program, &args);
    assert_eq!(metrics(&straight), metrics(&killed));
    for file in [
        "trainable.safetensors",
        "optimizer.safetensors",
        "adapter/adapter_model.safetensors",
    ] {
        let read = |out: &Path| std::fs::read(out.join("checkpoints/step-12").join(file)).unwrap();
        assert_eq!(read(&straight), read(&killed), "{file}");
    }
    changed_data_is_refused(program, &own, &killed, extra);
}

fn changed_data_is_refused(program: &str, own: &common::Own, out: &Path, extra: &[&str]) {
    let text = std::fs::read_to_string(&own.data).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    std::fs::write(&own.data, format!("{rest}{first}\n")).unwrap();
    let mut args = arguments(own, out, extra);
    args.push("--resume");
    common::refuse(program, &args, 1, &["differs", "dataset", path(&own.data)]);
}

#[test]
fn sft() {
    killed_run_equals_straight_run(SFT, &[]);
}

#[test]
fn sft_in_buckets_with_pictures_from_a_cache() {
    let cache = tempfile::tempdir().unwrap();
    let cache_dir = format!("data.cache_dir={:?}", path(cache.path()));
    let extra = [
        "--set",
        "data.bucket=length",
        "--set",
        "batch.last=ragged",
        "--set",
        "data.threads=3",
        "--set",
        &cache_dir,
    ];
    killed_run_equals_straight_run(SFT, &extra);
    assert!(cache.path().join("pictures-1").read_dir().unwrap().count() > 0);
}

#[test]
fn grpo_with_dynamic_sampling_and_batches_used_twice() {
    let extra = [
        "--set",
        "grpo.max_completion_length=6",
        "--set",
        "grpo.dynamic_sample=true",
        "--set",
        "grpo.num_generations=4",
        "--set",
        "batch.steps_per_generation=2",
        "--set",
        "grpo.num_iterations=2",
        "--set",
        "grpo.beta=0.05",
        "--set",
        "data.bucket=pixels",
    ];
    killed_run_equals_straight_run(GRPO, &extra);
}

#[test]
fn a_crash_at_any_write_of_a_checkpoint_leaves_an_earlier_one() {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(dir.path(), "color_grid");
    for (i, at) in ["12", "25", "31", "38"].iter().enumerate() {
        let out = dir.path().join(format!("crash-{i}"));
        let args = arguments(&own, &out, &["--set", "save.steps=2"]);
        let output = Command::new(SFT)
            .args(&args)
            .env("VTB_CRASH_AT", at)
            .output()
            .unwrap();
        assert!(!output.status.success(), "operation {at} was never reached");
        let mut again = args.clone();
        again.push("--resume");
        succeed(SFT, &again);
        assert!(
            out.join("checkpoints/step-12/adapter/adapter_config.json")
                .exists()
        );
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_finishes_the_step_and_saves() {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(dir.path(), "color_grid");
    let out = dir.path().join("run");
    let mut args = arguments(&own, &out, &[]);
    let steps = args.iter().position(|a| *a == STEPS).unwrap();
    args[steps] = "100000";
    let mut child = Command::new(SFT)
        .args(&args)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while lines(&out) < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    run("kill", &["-TERM", &child.id().to_string()]);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let saved = lines(&out);
    assert!(out.join(format!("checkpoints/step-{saved}")).exists());
}
