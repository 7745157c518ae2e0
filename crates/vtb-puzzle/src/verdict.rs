//! Judging a text answer against a record.

use serde::{Deserialize, Serialize};

use crate::answer::{AnswerPolicy, AnswerStatus, parse_choice, parse_path};
use crate::graph::{MazeGraph, PathCheck, check_path};
use crate::record::{Answer, Record};

/// How an answer came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The answer is right.
    Correct,
    /// The answer can be read and is not right.
    Wrong,
    /// There is no answer that can be read.
    Invalid,
    /// Several different answers are given.
    Ambiguous,
}

/// A judgement with its reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How it came out.
    pub outcome: Outcome,
    /// `outcome` is [`Outcome::Correct`].
    pub correct: bool,
    /// The answer that was read, if one was.
    pub parsed: Option<String>,
    /// One sentence.
    pub reason: String,
    /// What the parser said.
    pub status: AnswerStatus,
    /// Mazes: how far the path is legal.
    pub path: Option<PathCheck>,
}

/// Judges `text` by the record's answer, options and graph; total.
///
/// A choice is right when it is the answer; a path is right when it is a legal route on the graph
/// under the record's rules, whichever route that is.
#[must_use]
pub fn judge_record(record: &Record, text: &str, policy: &AnswerPolicy) -> Verdict {
    match &record.answer {
        Answer::Choice(gold) => judge_choice(record, gold, text, policy),
        Answer::Path(_) => match &record.graph {
            Some(graph) => judge_path(record, graph, text, policy),
            None => Verdict {
                outcome: Outcome::Invalid,
                correct: false,
                parsed: None,
                reason: "the record has no maze graph to judge a path by".to_owned(),
                status: AnswerStatus::Missing,
                path: None,
            },
        },
    }
}

fn judge_choice(record: &Record, gold: &str, text: &str, policy: &AnswerPolicy) -> Verdict {
    // A lone letter names an option by its place only if the solver was shown the list.
    let option_letters = policy.option_letters && record.options_listed;
    let policy = AnswerPolicy {
        option_letters,
        ..policy.clone()
    };
    let answer = parse_choice(text, &record.options, &policy);
    let parsed = answer.option.and_then(|at| record.options.get(at)).cloned();
    let (outcome, reason) = match &parsed {
        Some(option) if option == gold => (Outcome::Correct, format!("`{option}` is right")),
        Some(option) => (Outcome::Wrong, format!("`{option}` is not the answer")),
        None => unread(answer.status),
    };
    let correct = outcome == Outcome::Correct;
    Verdict {
        outcome,
        correct,
        parsed,
        reason,
        status: answer.status,
        path: None,
    }
}

fn judge_path(record: &Record, graph: &MazeGraph, text: &str, policy: &AnswerPolicy) -> Verdict {
    let answer = parse_path(text, graph.cells().len().saturating_mul(4), policy);
    if answer.status != AnswerStatus::Ok {
        let (outcome, reason) = unread(answer.status);
        let status = answer.status;
        return Verdict {
            outcome,
            correct: false,
            parsed: None,
            reason,
            status,
            path: None,
        };
    }
    let check = check_path(graph, &answer.ids, record.path_rules);
    let (outcome, reason) = match (check.fault, check.first_error_index) {
        (Some(fault), Some(at)) => (Outcome::Wrong, fault.describe(&answer.ids, at)),
        _ => (
            Outcome::Correct,
            format!("a legal route of {} cells", answer.ids.len()),
        ),
    };
    Verdict {
        outcome,
        correct: check.valid,
        parsed: Some(format!("{:?}", answer.ids)),
        reason,
        status: answer.status,
        path: Some(check),
    }
}

fn unread(status: AnswerStatus) -> (Outcome, String) {
    let (outcome, reason) = match status {
        AnswerStatus::Ok => (Outcome::Invalid, "the answer names no option"),
        AnswerStatus::Missing => (Outcome::Invalid, "there is no answer in the text"),
        AnswerStatus::Malformed => (Outcome::Invalid, "tags or list are malformed"),
        AnswerStatus::Multiple => (Outcome::Ambiguous, "several answer tags disagree"),
        AnswerStatus::OutOfSet => (Outcome::Invalid, "the answer is not among the options"),
        AnswerStatus::Ambiguous => (Outcome::Ambiguous, "several options are named"),
        AnswerStatus::Empty => (Outcome::Invalid, "the answer is empty"),
    };
    (outcome, reason.to_owned())
}
