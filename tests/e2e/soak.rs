//! Runs that go on for long, and runs that are killed over and over. Minutes each, so they are asked for:
//!
//!     cargo test --workspace --test soak -- --ignored --nocapture

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{GRPO, own_model_and_data, succeed, training, words};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn arguments(own: &common::Own, out: &Path, steps: usize, save: &str) -> Vec<String> {
    let steps = format!("train.max_steps={steps}");
    let sets = [
        steps.as_str(),
        save,
        "batch.batch_size=16",
        "batch.steps_per_generation=2",
        "batch.max_num_seqs=12",
        "grpo.max_completion_length=8",
        "grpo.dynamic_sample=true",
        "grpo.entropy_floor=0.0",
        "log.seconds=60",
    ];
    training(own, out, &sets)
}

fn spawn(args: &[String]) -> Child {
    Command::new(GRPO)
        .args(args)
        .env_remove("RUST_LOG")
        .env("RAYON_NUM_THREADS", "2")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn steps(out: &Path) -> usize {
    fs::read_to_string(out.join("metrics.jsonl")).map_or(0, |text| text.lines().count())
}

/// Resident memory of a process in MiB.
#[cfg(target_os = "linux")]
fn resident(child: &Child) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

/// Least squares: the slope of `y` by `x`, and its standard error.
#[cfg(target_os = "linux")]
fn slope(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (mx, my) = (mean(|p| p.0), mean(|p| p.1));
    let sxx: f64 = points.iter().map(|(x, _)| (x - mx).powi(2)).sum();
    let sxy: f64 = points.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
    let slope = sxy / sxx;
    let rest = |(x, y): &(f64, f64)| (y - my - slope * (x - mx)).powi(2);
    let variance = points.iter().map(rest).sum::<f64>() / (n - 2.0);
    (slope, (variance / sxx).sqrt())
}

/// Memory does not grow with steps: over the last two thirds of 3,000 of them, by less than a hundredth.
#[test]
#[ignore = "3,000 steps of reinforcement take minutes"]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_steps() {
    const STEPS: usize = 3_000;
    let dir = tempfile::tempdir().unwrap();
    let own = own_model_and_data(dir.path(), "color_grid");
    let out = dir.path().join("run");
    let args = arguments(&own, &out, STEPS, "save.steps=250");
    let mut child = spawn(&args);
    let mut points = Vec::new();
    while child.try_wait().unwrap().is_none() {
        if let Some(held) = resident(&child) {
            points.push((steps(&out) as f64, held));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(steps(&out), STEPS);
    let late: Vec<_> = points
        .into_iter()
        .filter(|(step, _)| *step > STEPS as f64 / 3.0)
        .collect();
    assert!(late.len() >= 30, "{} looks at the memory", late.len());
    let mean = late.iter().map(|(_, held)| held).sum::<f64>() / late.len() as f64;
    let (slope, error) = slope(&late);
    let grown = slope * STEPS as f64;
    eprintln!(
        "{} looks: {mean:.1} MiB on average; {grown:+.2} MiB in {STEPS} steps, standard error {:.2}",
        late.len(),
        error * STEPS as f64
    );
    assert!(
        grown < mean / 100.0 + 3.0 * error * STEPS as f64,
        "it grows by {grown} MiB"
    );
}

/// A hundred kills without warning, at moments that chance picks, over as many runs as they take.
#[test]
#[ignore = "a hundred kills take minutes"]
fn a_hundred_kills_change_nothing() {
    const KILLS: usize = 100;
    const STEPS: usize = 30;
    let dir = tempfile::tempdir().unwrap();
    let own = own_model_and_data(dir.path(), "color_grid");
    let straight = dir.path().join("straight");
    let args = arguments(&own, &straight, STEPS, "save.steps=2");
    let began = Instant::now();
    succeed(GRPO, &words(&args));
    let whole = began.elapsed();
    let read = |out: &Path| {
        let at = out.join(format!("checkpoints/step-{STEPS}"));
        let files = [
            "trainable.safetensors",
            "optimizer.safetensors",
            "adapter/adapter_model.safetensors",
        ];
        files.map(|file| fs::read(at.join(file)).unwrap())
    };
    let wanted = read(&straight);
    let mut dice = ChaCha8Rng::seed_from_u64(7);
    let (mut kills, mut runs) = (0, 0);
    while kills < KILLS {
        let out = dir.path().join(format!("killed-{runs}"));
        let mut args = arguments(&own, &out, STEPS, "save.steps=2");
        loop {
            if out.exists() && !args.contains(&"--resume".to_owned()) {
                args.push("--resume".to_owned());
            }
            let mut child = spawn(&args);
            // Anywhere between starting up and half of the run.
            let wait = whole.mul_f64(dice.random_range(0.0..0.5));
            let began = Instant::now();
            let mut ended = None;
            while ended.is_none() && (began.elapsed() < wait || kills == KILLS) {
                std::thread::sleep(Duration::from_millis(2));
                ended = child.try_wait().unwrap();
            }
            if let Some(status) = ended {
                assert!(status.success(), "run {runs} after {kills} kills: {status}");
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        assert!(
            read(&out) == wanted,
            "run {runs} differs after {kills} kills"
        );
        assert_eq!(steps(&out), STEPS);
        fs::remove_dir_all(&out).unwrap();
        runs += 1;
    }
    eprintln!("{kills} kills over {runs} runs");
}
