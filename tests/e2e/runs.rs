//! What tests of the diffusion trainers share: a run that is killed, and what a run leaves behind.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// `summary.json`.
pub(crate) fn summary(out: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap()
}

/// `metrics.jsonl` without measured times.
pub(crate) fn metrics(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let parse = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        row.as_object_mut().unwrap().remove("time");
        row
    };
    text.lines().map(parse).collect()
}

/// Every file of a folder by its relative name.
pub(crate) fn tree(dir: &Path, base: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
    for item in std::fs::read_dir(dir).unwrap() {
        let place = item.unwrap().path();
        if place.is_dir() {
            tree(&place, base, into);
        } else {
            let name = place.strip_prefix(base).unwrap().display().to_string();
            into.insert(name, std::fs::read(&place).unwrap());
        }
    }
}

/// Starts a run, and kills it once it has logged so many rows.
pub(crate) fn kill_after(program: &str, args: &[&str], out: &Path, rows: usize) {
    let mut child = Command::new(program)
        .args(args)
        .env("RAYON_NUM_THREADS", "2")
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let lines =
        || std::fs::read_to_string(out.join("metrics.jsonl")).map_or(0, |t| t.lines().count());
    while lines() < rows {
        assert!(
            started.elapsed() < Duration::from_secs(300),
            "the run does not move"
        );
        assert!(
            child.try_wait().unwrap().is_none(),
            "the run ended by itself"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
