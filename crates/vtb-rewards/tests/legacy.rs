//! `legacy_overlap` equals the score it is named after.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

use std::fs;
use std::path::Path;

use serde_json::Value;
use vtb_rewards::{legacy_choice, legacy_overlap, legacy_path};

/// Recorded results of the earlier trainer, beside the workspace; absent in a plain clone.
const RECORDED: &str = "../../../shared/upstream/rewards/reward_cases.jsonl";

#[test]
fn own_cases() {
    let path = "[12, 13, 14, 23, 32]";
    let cases = [
        ("<answer>x</answer> then <answer> b </answer>", "B", 1.0),
        ("<answer>B</answer><answer>", "B", -1.0),
        ("\u{1c}b", " B ", 1.0),
        ("Ⓑ", "B", -1.0),
        ("B", "", 0.0),
        ("B", "[B]", -1.0),
        (path, path, 1.0),
        ("[32]", path, 0.2),
        ("[12, 13, 14, 14, 23, 32]", path, 5.0 / 6.0),
        ("[-, 12, 13, 14, 23, 32]", path, 1.0),
        ("[--12, 13]", path, -1.0),
        ("[١٢, 13, 14, 23, 32]", path, 1.0),
        ("[②]", path, -1.0),
        ("<answer>[1]</answer><answer> [12]", path, 0.0),
        ("[1, 0]", "[true, 0.0]", 1.0),
        ("[1]", "[NaN]", 0.0),
        ("[1]", "[1, {\"a\": [2]}]", 0.5),
        ("anything", "[]", 0.0),
        ("[1]", "[01]", -1.0),
    ];
    for (completion, solution, value) in cases {
        let got = legacy_overlap(completion, solution);
        assert!(
            (got - value).abs() < 1e-12,
            "{completion} for {solution}: {got} is not {value}"
        );
    }
    let huge = format!("[{}]", "9".repeat(5000));
    assert_eq!(legacy_path(&huge, "[1]"), -1.0);
    assert_eq!(legacy_path("[1]", "{\"1\": 2}"), 0.0);
    assert_eq!(legacy_path("[1]", "\"\""), 0.0);
    assert_eq!(legacy_path("[1]", "null"), -1.0);
    assert_eq!(legacy_path("[1, 2]", &format!("[{huge}, 1]")), 0.0);
    assert_eq!(legacy_path("[1]", &huge), -1.0);
}

#[test]
fn recorded_cases() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORDED);
    let Ok(text) = fs::read_to_string(&file) else {
        println!("skipped: the recorded cases are not here ({RECORDED})");
        return;
    };
    let mut compared = 0;
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (completion, solution) = (case["completion"].as_str(), case["solution"].as_str());
        let (completion, solution) = (completion.unwrap(), solution.unwrap());
        for (column, score) in [
            ("dispatch", legacy_overlap(completion, solution)),
            ("reward_eyeballing", legacy_choice(completion, solution)),
            ("reward_maze", legacy_path(completion, solution)),
        ] {
            let expected = case["vtb_training"][column].as_f64().unwrap();
            assert!(
                (score - expected).abs() < 1e-12,
                "case {}, {column}: {score} is not {expected}",
                case["id"]
            );
            compared += 1;
        }
    }
    assert!(compared >= 300, "only {compared} scores were compared");
}
