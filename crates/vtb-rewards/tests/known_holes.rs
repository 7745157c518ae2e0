//! Every way in which the earlier scores are known to be wrong or gamed, with the value that ours
//! gives instead (and, beside it, the earlier value, reproduced by `legacy_overlap`).

#![allow(clippy::unwrap_used)] // helpers of tests, outside `#[test]`

use serde_json::{Value, json};
use vtb_puzzle::answer::AnswerStatus::{
    self, Ambiguous, Empty, Malformed, Missing, Multiple, Ok, OutOfSet,
};
use vtb_rewards::{
    ChoiceParams, ChoiceReward, Completion, FormatParams, FormatReward, PathParams, PathReward,
    Reference, Registry, Reward, Score, ScoreStatus, legacy_overlap,
};

fn choice() -> ChoiceReward {
    ChoiceReward::new(ChoiceParams::default()).unwrap()
}

fn path() -> PathReward {
    PathReward::new(PathParams::default()).unwrap()
}

fn letters() -> Reference {
    Reference::choice(&["A", "B", "C", "D", "E"], "B").unwrap()
}

/// The path 1..10 with a dead end 3-12-13, a cell 11 behind the goal, and no cell 14.
fn maze() -> Value {
    let mut passages: Vec<[u32; 2]> = (1..10).map(|id| [id, id + 1]).collect();
    passages.extend([[3, 12], [12, 13], [10, 11], [13, 15]]);
    let cells: Vec<u32> = (1..=13).chain([15]).collect();
    json!({"cells": cells, "passages": passages, "start": 1, "goal": 10})
}

fn row(row: Value) -> Reference {
    Reference::from_row(row.as_object().unwrap()).unwrap()
}

fn walk() -> Reference {
    row(json!({"solution": "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", "maze": maze()}))
}

fn score(reward: &dyn Reward, reference: &Reference, text: &str) -> Score {
    reward.score(&Completion::new(text), reference)
}

#[track_caller]
fn check(got: &Score, status: AnswerStatus, value: f64, text: &str) {
    assert_eq!(
        got.status,
        ScoreStatus::Answer(status),
        "{text}: {}",
        got.message
    );
    assert!(
        (got.value - value).abs() < 1e-12,
        "{text}: {} is not {value}",
        got.value
    );
}

/// Completion, earlier value, our status, our value; the solution is B among A to E.
const LETTER_CASES: [(&str, f64, AnswerStatus, f64); 25] = [
    ("B", 1.0, Ok, 1.0),
    ("b", 1.0, Ok, 1.0),
    ("<answer>B.</answer>", -1.0, Ok, 1.0),
    ("<answer>(B)</answer>", -1.0, Ok, 1.0),
    ("<answer>[B]</answer>", -1.0, Ok, 1.0),
    ("<answer>Answer: B.</answer>", -1.0, Ok, 1.0),
    ("<answer>A</answer><answer>B</answer>", 1.0, Multiple, -1.0),
    ("<answer>B</answer> <answer>b</answer>", 1.0, Ok, 1.0),
    ("<answer>B</answer><answer>A", -1.0, Malformed, -1.0),
    ("<answer>B", -1.0, Malformed, -1.0),
    ("B</answer>", -1.0, Malformed, -1.0),
    ("<answer><answer>B</answer></answer>", 1.0, Malformed, -1.0),
    ("<ANSWER>B</ANSWER>", -1.0, Ok, 1.0),
    ("< answer >B</ answer >", -1.0, Ok, 1.0),
    ("<answer>Z</answer>", 0.0, OutOfSet, -1.0),
    ("<answer>В</answer>", 0.0, OutOfSet, -1.0), // Cyrillic
    ("<answer>Ｚ</answer>", 0.0, OutOfSet, -1.0), // full-width Z
    ("<answer>Ｂ</answer>", 0.0, Ok, 1.0),       // full-width B
    ("Option B", -1.0, Ok, 1.0),
    ("**B**", -1.0, Ok, 1.0),
    ("<answer>B</answer> because I say so", 1.0, Ok, 1.0),
    ("<answer>A</answer>", 0.0, Ok, 0.0),
    ("<answer>A or B</answer>", -1.0, Ambiguous, -1.0),
    ("<answer></answer>", -1.0, Empty, -1.0),
    ("I cannot tell", -1.0, Missing, -1.0),
];

#[test]
fn letter_answers_get_their_intended_value() {
    for (text, earlier, status, value) in LETTER_CASES {
        check(&score(&choice(), &letters(), text), status, value, text);
        assert_eq!(legacy_overlap(text, "B"), earlier, "{text}");
    }
}

#[test]
fn the_form_is_rewarded_only_where_it_is_kept() {
    let format = FormatReward::new(FormatParams::default()).unwrap();
    let asked = "The left one is too far off. <answer>B</answer>";
    assert_eq!(score(&format, &letters(), asked).value, 0.1);
    for text in [
        "B",
        "any words",
        "<answer>B</answer>",
        "so <answer>B</answer> because I say so",
    ] {
        assert_eq!(score(&format, &letters(), text).value, 0.0, "{text}");
    }
}

#[test]
fn completions_that_are_no_strings_are_read_or_refused_without_a_crash() {
    let of = |value: Value| choice().score(&Completion::from_json(&value), &letters());
    check(&of(json!(null)), Empty, -1.0, "null");
    check(
        &of(json!([{"role": "assistant", "content": "<answer>B</answer>"}])),
        Ok,
        1.0,
        "chat",
    );
    check(&of(json!([1, 2])), Empty, -1.0, "numbers");
}

/// Completion, earlier value, our status, our value; the solution is 1..10 in [`maze`].
const PATH_CASES: [(&str, f64, AnswerStatus, f64); 29] = [
    ("[1,2,3,4,5,6,7,8,9,10]", 1.0, Ok, 1.0),
    ("[]", 0.0, Empty, -1.0),
    ("[1]", 0.1, Ok, 0.0),
    ("[1,10]", 0.2, Ok, 0.0),
    ("[10]", 0.1, Ok, 0.0),
    ("[2,3,4,5,6,7,8,9,10]", 0.9, Ok, 0.0),
    ("[1,2,3,9,10]", 0.5, Ok, 0.8 * 2.0 / 9.0),
    (
        "[1,2,3,4,5,6,4,5,6,7,8,9,10]",
        10.0 / 13.0,
        Ok,
        0.8 * 5.0 / 9.0,
    ),
    ("[1,2,3,4,5,6,7,8,9,10,1,2,3,4,5,6,7,8,9,10]", 0.5, Ok, 0.8),
    ("[1,2,3,4,5,6,7,8,9,10,11]", 10.0 / 11.0, Ok, 0.8), // a real cell behind the goal
    ("[1,2,3,4,5,6,7,8,9,10,13]", 10.0 / 11.0, Ok, 0.8), // a real cell, elsewhere
    ("[1,2,3,4,5,6,7,8,9,10,14]", 10.0 / 11.0, Ok, 0.8), // no cell, but in range
    ("[1,2,3,4,5,6,7,8,9,10,99]", 10.0 / 11.0, Malformed, -1.0), // out of range
    ("[1,2,x,3,4,5,6,7,8,9,10]", 1.0, Malformed, -1.0),
    ("[[1,2,3,4,5,6,7,8,9,10]]", 0.9, Malformed, -1.0),
    ("[-1,2]", 0.0, Malformed, -1.0),
    ("[1.0,2.0]", 0.0, Malformed, -1.0),
    ("[1-2-3]", 0.0, Malformed, -1.0),
    ("not [5, 6] but [1,2,3,4,5,6,7,8,9,10]", 0.0, Ok, 1.0),
    (
        "[5, 6] <answer>[1,2,3,4,5,6,7,8,9,10]</answer>",
        1.0,
        Ok,
        1.0,
    ),
    ("1,2,3,4,5,6,7,8,9,10", -1.0, Missing, -1.0),
    ("(1,2,3,4,5,6,7,8,9,10)", -1.0, Missing, -1.0),
    ("[1,2,3]", 0.3, Ok, 0.8 * 2.0 / 9.0),
    ("[1,2,3,12,13]", 0.3, Ok, 0.0),    // a dead end leads away
    ("[1,2,3,12]", 0.3, Ok, 0.8 / 9.0), // one step into it
    ("[1,2,3,5,6,7,8,9,10]", 0.9, Ok, 0.8 * 2.0 / 9.0), // one cell skipped
    ("[1,2,3,3,4,5,6,7,8,9,10]", 10.0 / 11.0, Ok, 0.8 * 2.0 / 9.0),
    ("[1,2,1,2,3,4,5,6,7,8,9,10]", 10.0 / 12.0, Ok, 0.8 / 9.0),
    ("[1, 2, 3", -1.0, Malformed, -1.0),
];

#[test]
fn path_answers_get_their_intended_value() {
    for (text, earlier, status, value) in PATH_CASES {
        check(&score(&path(), &walk(), text), status, value, text);
        let legacy = legacy_overlap(text, "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]");
        assert!(
            (legacy - earlier).abs() < 1e-12,
            "{text}: {legacy} is not {earlier}"
        );
    }
}

#[test]
fn a_solution_may_be_a_list() {
    let listed = row(json!({"solution": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "maze": maze()}));
    let text = "<answer>[1,2,3,4,5,6,7,8,9,10]</answer>";
    check(&score(&path(), &listed, text), Ok, 1.0, text);
    let legacy = Registry::builtin()
        .build("legacy_overlap", &Value::Null)
        .unwrap();
    assert_eq!(score(legacy.as_ref(), &listed, text).value, 1.0);
}

#[test]
fn free_text_answers_are_matched_with_the_options() {
    let colours = Reference::choice(&["red", "blue", "light blue", "green"], "blue").unwrap();
    let cases = [
        ("The answer is blue", Ok, 1.0),
        ("<answer>Blue.</answer>", Ok, 1.0),
        ("(B)", Ok, 1.0),
        ("<answer>A</answer>", Ok, 0.0),
        ("light blue", Ok, 0.0),
        ("blue or red", Ambiguous, -1.0),
        ("purple", OutOfSet, -1.0),
        ("<answer>G</answer>", OutOfSet, -1.0),
    ];
    for (text, status, value) in cases {
        check(&score(&choice(), &colours, text), status, value, text);
        assert_eq!(
            legacy_overlap(text, "blue"),
            if text.contains(">A<") || text.contains(">G<") {
                0.0
            } else {
                -1.0
            }
        );
    }
}

#[test]
fn another_legal_route_counts_and_a_longer_one_can_be_refused() {
    let looped = json!({
        "cells": [1, 2, 3, 4, 5, 6],
        "passages": [[1, 2], [2, 3], [3, 4], [2, 5], [5, 6], [6, 3]],
        "start": 1, "goal": 4,
    });
    let reference = row(json!({"solution": [1, 2, 3, 4], "maze": looped}));
    let round = "[1, 2, 5, 6, 3, 4]";
    let any = score(&path(), &reference, round);
    check(&any, Ok, 1.0, round);
    assert!((any.get("length").unwrap() - 4.0 / 6.0).abs() < 1e-12);
    let strict = PathReward::new(PathParams {
        require_shortest: true,
        ..PathParams::default()
    });
    check(&score(&strict.unwrap(), &reference, round), Ok, 0.8, round);
    let ruled =
        json!({"solution": [1, 2, 3, 4], "maze": looped, "path_rules": {"shortest_only": true}});
    check(&score(&path(), &row(ruled), round), Ok, 0.8, round);
    let weighted = PathReward::new(PathParams {
        weights: [("length".to_owned(), 1.0), ("legal".to_owned(), 1.0)].into(),
        ..PathParams::default()
    });
    check(
        &score(&weighted.unwrap(), &reference, round),
        Ok,
        (4.0 / 6.0 + 1.0) / 2.0,
        round,
    );
}

#[test]
fn without_a_maze_the_reference_path_is_all_there_is() {
    let alone = row(json!({"solution": [1, 2, 3, 4]}));
    check(&score(&path(), &alone, "[1,2,3,4]"), Ok, 1.0, "the path");
    check(
        &score(&path(), &alone, "[1,2,9]"),
        Ok,
        0.8 / 3.0,
        "an unknown cell is a wrong step",
    );
}

#[test]
fn path_components_are_reported() {
    let got = score(&path(), &walk(), "[1,2,3,9,10,14,2]");
    let expected = [
        ("format", 1.0),
        ("valid_ids", 6.0 / 7.0),
        ("starts", 1.0),
        ("ends", 0.0),
        ("adjacency", 3.0 / 6.0),
        ("legal_prefix", 2.0 / 9.0),
        ("no_repeat", 6.0 / 7.0),
        ("length", 0.0),
        ("legal", 0.0),
    ];
    assert_eq!(got.components.len(), expected.len());
    for ((name, value), (wanted, number)) in got.components.iter().zip(expected) {
        assert_eq!(name, wanted);
        assert!(
            (value - number).abs() < 1e-12,
            "{name}: {value} is not {number}"
        );
    }
    let unread = score(&path(), &walk(), "[x]");
    assert_eq!(unread.components.len(), expected.len());
    assert!(unread.components.iter().all(|(_, value)| *value == 0.0));
}
