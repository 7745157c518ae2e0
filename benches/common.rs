//! What the benchmarks share: times and the kernel's word on memory.

#![allow(dead_code, reason = "each benchmark uses a part")]

use std::process::Command;
use std::time::Instant;

use serde_json::Value;

/// Median seconds of `reps` runs after two warm-up runs.
pub(crate) fn median(reps: usize, mut f: impl FnMut()) -> f64 {
    f();
    f();
    let mut times: Vec<f64> = (0..reps)
        .map(|_| {
            let started = Instant::now();
            f();
            started.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[reps / 2]
}

/// Most KiB this process has held resident.
pub(crate) fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:"));
    let number = line.and_then(|l| l.split_whitespace().nth(1));
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Runs the reference, a script beside the benchmarks, with two threads, and prints what both have in common; `None` where
/// it does not run.
pub(crate) fn compare(ours: &Value, python: &str, script: &str, reps: usize) -> Option<()> {
    let theirs = reference(python, script, reps)?;
    println!("| | ours ms | diffusers ms | ours / theirs |");
    println!("|---|---|---|---|");
    for (name, theirs) in theirs.as_object().into_iter().flatten() {
        let (Some(ours), Some(theirs)) = (ours[name].as_f64(), theirs.as_f64()) else {
            continue;
        };
        println!(
            "| {name} | {ours:.1} | {theirs:.1} | {:.2} |",
            ours / theirs
        );
    }
    Some(())
}

fn reference(python: &str, script: &str, reps: usize) -> Option<Value> {
    let script = format!(
        "{}/../benches/reference/{script}",
        env!("CARGO_MANIFEST_DIR")
    );
    let args = [&script, "--threads", "2", "--reps", &reps.to_string()];
    let output = Command::new(python).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(text.get(text.find('{')?..)?).ok()
}
