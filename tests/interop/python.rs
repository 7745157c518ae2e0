//! Scripts of this folder, run by the interpreter that `VTB_PYTHON` names.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// Exit code of the scripts where a package is missing.
const SKIPPED: i32 = 77;

/// Runs a script of this folder; `None`, with a message, where Python or a package is missing.
pub(crate) fn python(script: &str, args: &[&str]) -> Option<Value> {
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
        String::from_utf8_lossy(&output.stderr)
    );
    let start = text
        .find('{')
        .unwrap_or_else(|| panic!("{script} printed {text}"));
    Some(serde_json::from_str(&text[start..]).unwrap())
}
