//! `doctor` on whatever machine the tests run on.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const DOCTOR: &str = env!("CARGO_BIN_EXE_doctor");

fn doctor(dir: &Path, home: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(DOCTOR);
    command.args(args).current_dir(dir);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HF_") {
            command.env_remove(name);
        }
    }
    command
        .env("HF_HOME", home)
        .env("HF_TOKEN", "hf_secret")
        .env("HTTPS_PROXY", "http://user:password@proxy:1")
        .env("TMPDIR", home);
    let output = command.output().unwrap();
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(text);
        for secret in ["hf_secret", "password", "panicked"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    output
}

#[test]
fn a_machine_that_builds_this_is_usable_and_its_table_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = dir.path().join("hub/models--org--name/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join("x"), vec![1; 2 << 20]).unwrap();
    let output = doctor(dir.path(), dir.path(), &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "version",
        "features",
        "instructions",
        "main memory",
        "current folder",
        "NVRTC",
        "CUDA headers",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    if cfg!(feature = "hub") {
        assert!(
            text.contains("1 models, 0 data sets, 2.0 MiB") && text.contains("set, from HF_TOKEN"),
            "{text}"
        );
    }
    // A CUDA build on a machine with a GPU but no NVRTC is rightly refused.
    if !cfg!(feature = "cuda") {
        assert!(output.status.success(), "{text}");
    }
    let output = doctor(dir.path(), dir.path(), &["--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["usable"], output.status.success());
    let rows = found["rows"].as_array().unwrap();
    assert!(rows.len() > 12, "{found:#}");
    for row in rows {
        let status = row["status"].as_str().unwrap();
        assert!(["ok", "warn", "missing"].contains(&status));
        assert_eq!(status == "ok", row.get("hint").is_none(), "{row}");
    }
    // Nothing was left behind.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_without_room_for_a_run_is_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let output = doctor(Path::new("/proc"), dir.path(), &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("needed: cannot be written"), "{text}");
}
