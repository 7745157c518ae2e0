//! Judging a text answer against a record.

use serde::{Deserialize, Serialize};

use crate::answer::{
    AnswerPolicy, AnswerStatus, parse_choice, parse_grid, parse_path, parse_sequence,
};
use crate::graph::{MazeGraph, PathCheck, PathRules, check_path};
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

/// What an answer is judged by: the part of a [`Record`] that judges look at.
///
/// Puzzles that were made elsewhere have no record, but this much is known of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Question<'a> {
    /// The right answer.
    pub answer: &'a Answer,
    /// What an answer may be, or each name of a sequence; empty for paths and grids.
    pub options: &'a [String],
    /// The text prompt lists the options, in this order.
    pub options_listed: bool,
    /// Mazes: cells, open passages, start, goal.
    pub graph: Option<&'a MazeGraph>,
    /// Mazes: what a path may do.
    pub path_rules: PathRules,
}

impl Record {
    /// What an answer to this record is judged by.
    #[must_use]
    pub fn question(&self) -> Question<'_> {
        Question {
            answer: &self.answer,
            options: &self.options,
            options_listed: self.options_listed,
            graph: self.graph.as_ref(),
            path_rules: self.path_rules,
        }
    }
}

/// Most rows and columns that an answer's grid may have.
pub const MAX_GRID_SIDE: usize = 64;

/// Judges `text` by the record's answer, options and graph; total. See [`judge_question`].
#[must_use]
pub fn judge_record(record: &Record, text: &str, policy: &AnswerPolicy) -> Verdict {
    judge_question(&record.question(), text, policy)
}

/// Judges `text`; total.
///
/// A choice is right when it is the answer, a sequence or grid when all its places are; a path is
/// right when it is a legal route on the graph under the path rules, whichever route that is.
#[must_use]
pub fn judge_question(question: &Question<'_>, text: &str, policy: &AnswerPolicy) -> Verdict {
    match question.answer {
        Answer::Choice(gold) => judge_choice(question, gold, text, policy),
        Answer::Path(_) => match question.graph {
            Some(graph) => judge_path(question, graph, text, policy),
            None => Verdict {
                outcome: Outcome::Invalid,
                correct: false,
                parsed: None,
                reason: "the record has no maze graph to judge a path by".to_owned(),
                status: AnswerStatus::Missing,
                path: None,
            },
        },
        Answer::Sequence(gold) => judge_sequence(question, gold, text, policy),
        Answer::Grid(gold) => judge_grid(gold, text, policy),
    }
}

/// How many places of a sequence or grid are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceCheck {
    /// Places that hold what belongs there.
    pub right: usize,
    /// Places of the answer or of the solution, whichever has more.
    pub places: usize,
    /// The first wrong place, in a sentence; `None` when the answer is the solution.
    pub fault: Option<String>,
}

impl PlaceCheck {
    /// Right places among all, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.right as f64 / self.places.max(1) as f64
    }
}

/// Compares names in order with those that belong there.
#[must_use]
pub fn check_sequence(gold: &[String], given: &[String]) -> PlaceCheck {
    let pairs = || gold.iter().zip(given);
    let wrong = pairs().position(|(wanted, found)| wanted != found);
    let fault = match wrong {
        Some(at) => Some(format!(
            "place {} is `{}`, but `{}` belongs there",
            at + 1,
            given[at],
            gold[at]
        )),
        None if gold.len() != given.len() => Some(format!(
            "{} names are given and {} are asked for",
            given.len(),
            gold.len()
        )),
        None => None,
    };
    PlaceCheck {
        right: pairs().filter(|(wanted, found)| wanted == found).count(),
        places: gold.len().max(given.len()),
        fault,
    }
}

/// Compares a grid with the right one, cell by cell.
#[must_use]
pub fn check_grid(gold: &[Vec<u8>], given: &[Vec<u8>]) -> PlaceCheck {
    let cell = |rows: &[Vec<u8>], row: usize, column: usize| {
        rows.get(row).and_then(|cells| cells.get(column)).copied()
    };
    let (mut right, mut places, mut fault) = (0, 0, None);
    for row in 0..gold.len().max(given.len()) {
        let width = |rows: &[Vec<u8>]| rows.get(row).map_or(0, Vec::len);
        for column in 0..width(gold).max(width(given)) {
            places += 1;
            let (wanted, found) = (cell(gold, row, column), cell(given, row, column));
            if wanted == found {
                right += 1;
            } else if fault.is_none() {
                let place = format!("row {}, column {}", row + 1, column + 1);
                fault = Some(match (wanted, found) {
                    (Some(wanted), Some(found)) => {
                        format!("{place} is {found}, but {wanted} belongs there")
                    }
                    (Some(_), None) => format!("{place} is not given"),
                    _ => format!("{place} lies outside the grid"),
                });
            }
        }
    }
    PlaceCheck {
        right,
        places,
        fault,
    }
}

fn judge_sequence(
    question: &Question<'_>,
    gold: &[String],
    text: &str,
    policy: &AnswerPolicy,
) -> Verdict {
    let answer = parse_sequence(text, question.options, gold.len().saturating_mul(4), policy);
    let check = check_sequence(gold, &answer.names);
    let parsed = Answer::Sequence(answer.names);
    judge_places(answer.status, &parsed, check)
}

fn judge_grid(gold: &[Vec<u8>], text: &str, policy: &AnswerPolicy) -> Verdict {
    let answer = parse_grid(text, MAX_GRID_SIDE, policy);
    let check = check_grid(gold, &answer.rows);
    judge_places(answer.status, &Answer::Grid(answer.rows), check)
}

fn judge_places(status: AnswerStatus, parsed: &Answer, check: PlaceCheck) -> Verdict {
    let read = status == AnswerStatus::Ok;
    let (outcome, reason) = match check.fault {
        _ if !read => unread(status),
        Some(fault) => (Outcome::Wrong, fault),
        None => (
            Outcome::Correct,
            format!("all {} places are right", check.places),
        ),
    };
    Verdict {
        outcome,
        correct: outcome == Outcome::Correct,
        parsed: read.then(|| parsed.to_string()),
        reason,
        status,
        path: None,
    }
}

fn judge_choice(question: &Question<'_>, gold: &str, text: &str, policy: &AnswerPolicy) -> Verdict {
    // A lone letter names an option by its place only if the solver was shown the list.
    let option_letters = policy.option_letters && question.options_listed;
    let policy = AnswerPolicy {
        option_letters,
        ..policy.clone()
    };
    let answer = parse_choice(text, question.options, &policy);
    let parsed = answer
        .option
        .and_then(|at| question.options.get(at))
        .cloned();
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

fn judge_path(
    question: &Question<'_>,
    graph: &MazeGraph,
    text: &str,
    policy: &AnswerPolicy,
) -> Verdict {
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
    let check = check_path(graph, &answer.ids, question.path_rules);
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
        AnswerStatus::Malformed => (Outcome::Invalid, "tags, list or grid are malformed"),
        AnswerStatus::Multiple => (Outcome::Ambiguous, "several answer tags disagree"),
        AnswerStatus::OutOfSet => (Outcome::Invalid, "the answer is not among the options"),
        AnswerStatus::Ambiguous => (Outcome::Ambiguous, "several options are named"),
        AnswerStatus::Empty => (Outcome::Invalid, "the answer is empty"),
    };
    (outcome, reason.to_owned())
}
