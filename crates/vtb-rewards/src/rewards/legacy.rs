//! The score of the earlier trainer, for comparison only: it overlaps strings, and has holes.

use super::python::{self, Item};
use crate::{Completion, Reference, Reward, Score};

const OPEN: &str = "<answer>";
const CLOSE: &str = "</answer>";

/// Reward `legacy_overlap`: [`legacy_overlap`] of the text of the completion and of the solution.
pub struct LegacyOverlap;

impl Reward for LegacyOverlap {
    fn name(&self) -> &str {
        "legacy_overlap"
    }

    fn score(&self, completion: &Completion<'_>, reference: &Reference) -> Score {
        Score::ok(legacy_overlap(completion.text(), &reference.solution))
    }
}

/// [`legacy_path`] for a solution in brackets, else [`legacy_choice`].
#[must_use]
pub fn legacy_overlap(completion: &str, solution: &str) -> f64 {
    let bare = python::strip(solution);
    if bare.starts_with('[') && bare.ends_with(']') {
        legacy_path(completion, solution)
    } else {
        legacy_choice(completion, solution)
    }
}

/// 1 if the answer is the solution, 0 if it is another single letter, -1 otherwise. Case and
/// surrounding blanks do not matter; the options are not looked at.
#[must_use]
pub fn legacy_choice(completion: &str, solution: &str) -> f64 {
    let answer = python::strip(extract(completion));
    if !python::is_one_letter(answer) {
        return -1.0;
    }
    let same = answer.to_lowercase() == python::strip(solution).to_lowercase();
    if same { 1.0 } else { 0.0 }
}

/// `min(N, prefix + suffix) / max(N, M)`, where `N` and `M` are the lengths of the solution and of
/// the answer, and prefix and suffix count the equal items at the front and at the back. -1 where
/// there is no list in the answer or no JSON list in the solution, 0 for an empty solution. Items
/// that are not whole numbers are dropped.
#[must_use]
pub fn legacy_path(completion: &str, solution: &str) -> f64 {
    let Some(wanted) = python::read_sequence(solution) else {
        return -1.0;
    };
    if wanted.is_empty() {
        return 0.0;
    }
    let Some(given) = first_list(extract(completion)).and_then(read_list) else {
        return -1.0;
    };
    let same = |(a, b): &(&Option<String>, &String)| a.as_ref() == Some(*b);
    let prefix = wanted.iter().zip(&given).take_while(same).count();
    let suffix = wanted
        .iter()
        .rev()
        .zip(given.iter().rev())
        .take_while(same)
        .count();
    let overlap = wanted.len().min(prefix + suffix);
    overlap as f64 / wanted.len().max(given.len()) as f64
}

/// From the last opening tag to the next closing one; the whole text if there is no such pair.
fn extract(text: &str) -> &str {
    let inside = text.rfind(OPEN).and_then(|at| {
        let rest = &text[at + OPEN.len()..];
        Some(&rest[..rest.find(CLOSE)?])
    });
    inside.unwrap_or(text)
}

fn first_list(text: &str) -> Option<&str> {
    let rest = &text[text.find('[')? + 1..];
    Some(&rest[..rest.find(']')?])
}

/// `None` if an item looks like a number but is none.
fn read_list(inside: &str) -> Option<Vec<String>> {
    let mut numbers = Vec::new();
    for item in inside.split(',') {
        match python::read_item(python::strip(item)) {
            Item::Int(number) => numbers.push(number),
            Item::Other => {}
            Item::Invalid => return None,
        }
    }
    Some(numbers)
}
