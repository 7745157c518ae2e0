//! Our files opened by transformers and peft. Skipped with a message where Python or its packages are missing;
//! `VTB_PYTHON` names the interpreter.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use vtb_lora::{LoraConfig, ModuleFilter, read_adapter, write_adapter};
use vtb_nn::checkpoint::{Checkpoint, save_sharded};

const SKIPPED: i32 = 77;

/// Standard output of `check.py`, or `None` if it cannot run here.
fn check(action: &str, dir: &Path) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/check.py");
    let python = std::env::var("VTB_PYTHON").unwrap_or_else(|_| "python3".into());
    let run = Command::new(&python)
        .args(["-W", "ignore"])
        .args([script.as_path(), Path::new(action), dir])
        .env("HF_HUB_OFFLINE", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output();
    let Ok(output) = run else {
        eprintln!("skipped: {python} cannot be started");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() == Some(SKIPPED) {
        eprintln!("skipped: {text}");
        return None;
    }
    assert!(
        output.status.success(),
        "{action}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(text)
}

#[test]
fn peft_loads_what_we_write() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapter");
    let adapter = read_adapter(fixture).expect("reads");
    for targets in [adapter.config.targets.clone(), ModuleFilter::all_linear()] {
        let dir = tempfile::tempdir().expect("dir");
        let config = LoraConfig {
            targets,
            ..adapter.config.clone()
        };
        write_adapter(dir.path(), &config, "tiny", &adapter.factors).expect("writes");
        let Some(found) = check("adapter", dir.path()) else {
            return;
        };
        let found: BTreeMap<String, f64> = serde_json::from_str(&found).expect("JSON");
        let ours: BTreeMap<String, f64> = adapter
            .factors
            .keys()
            .map(|path| (path.clone(), config.scaling(path).expect("valid")))
            .collect();
        assert_eq!(found, ours);
    }
}

#[test]
fn transformers_loads_our_shards_and_we_load_its_files() {
    let theirs = tempfile::tempdir().expect("dir");
    if check("save", theirs.path()).is_none() {
        return;
    }
    let checkpoint = Checkpoint::open(theirs.path()).expect("opens");
    for limit in [u64::MAX, 20_000] {
        let ours = tempfile::tempdir().expect("dir");
        let files = save_sharded(ours.path(), &checkpoint, limit, &BTreeMap::new()).expect("saves");
        assert_eq!(files.len() > 2, limit < u64::MAX);
        std::fs::copy(
            theirs.path().join("config.json"),
            ours.path().join("config.json"),
        )
        .expect("copies");
        check("model", ours.path());
    }
}
