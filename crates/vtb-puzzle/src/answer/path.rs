//! Reads a path of cell ids from an answer.

use super::policy::{AnswerPolicy, AnswerStatus};
use super::span::extract_span;
use crate::graph::CellId;

/// What a text says about a path; see [`parse_path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathAnswer {
    /// How reading went; `ids` counts only where this is `Ok`.
    pub status: AnswerStatus,
    /// The cells in order; empty unless `Ok`.
    pub ids: Vec<CellId>,
    /// The list is not strict JSON: a comma too many, leading zeros, or items left out.
    pub lenient: bool,
    /// Items left out because they are not cell ids ([`AnswerPolicy::drop_bad_items`]).
    pub dropped: usize,
    /// The list has more items than allowed.
    pub too_long: bool,
    /// The list stood between tags.
    pub tagged: bool,
    /// Something follows the closing tag.
    pub trailing: bool,
}

/// Reads the last top-level bracket list of `text` as cell ids, at most `max_len` of them.
///
/// Strict JSON integers first; then a list separated by commas, which is flagged as `lenient`.
/// Anything that is not a plain non-negative integer of 32 bits (floats, signs, words, inner lists)
/// makes the list malformed, as do a bracket without partner and more than `max_len` items; a list
/// of nothing is `Empty`; no list at all is `Missing`. Whether the cells exist is the graph's
/// affair.
#[must_use]
pub fn parse_path(text: &str, max_len: usize, policy: &AnswerPolicy) -> PathAnswer {
    let span = extract_span(text, policy);
    let mut answer = PathAnswer {
        status: span.status,
        ids: Vec::new(),
        lenient: false,
        dropped: 0,
        too_long: false,
        tagged: span.tagged,
        trailing: span.trailing,
    };
    if span.status != AnswerStatus::Ok {
        return answer;
    }
    if span.text.trim().is_empty() {
        answer.status = AnswerStatus::Empty;
        return answer;
    }
    match last_list(span.text) {
        Ok(inside) => read_list(inside, max_len, policy.drop_bad_items, &mut answer),
        Err(status) => answer.status = status,
    }
    answer
}

/// What stands inside the last top-level pair of brackets.
pub(super) fn last_list(text: &str) -> Result<&str, AnswerStatus> {
    let (mut depth, mut start, mut found) = (0_usize, 0, None);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' => {
                if depth == 0 {
                    start = at + 1;
                }
                depth += 1;
            }
            b']' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    found = Some(&text[start..at]);
                }
            }
            _ => {}
        }
    }
    match found {
        _ if depth > 0 => Err(AnswerStatus::Malformed),
        None => Err(AnswerStatus::Missing),
        Some(inside) => Ok(inside),
    }
}

fn read_list(inside: &str, max_len: usize, drop_bad: bool, answer: &mut PathAnswer) {
    let inside = inside.trim();
    answer.status = AnswerStatus::Malformed;
    if inside.split(',').all(|item| item.trim().is_empty()) {
        answer.status = AnswerStatus::Empty;
        return;
    }
    let body = inside.strip_suffix(',').unwrap_or(inside);
    answer.lenient = body.len() < inside.len();
    let mut ids = Vec::new();
    for item in body.split(',').map(str::trim) {
        match item.parse::<CellId>().ok().filter(|_| is_digits(item)) {
            Some(id) => {
                answer.lenient |= item.len() > 1 && item.starts_with('0');
                ids.push(id);
            }
            None if drop_bad => {
                answer.lenient = true;
                answer.dropped += 1;
            }
            None => return,
        }
        if ids.len() > max_len {
            answer.too_long = true;
            return;
        }
    }
    answer.status = if ids.is_empty() {
        AnswerStatus::Empty
    } else {
        AnswerStatus::Ok
    };
    answer.ids = ids;
}

/// `str::parse` also takes a plus sign.
fn is_digits(item: &str) -> bool {
    item.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> PathAnswer {
        parse_path(text, 20, &AnswerPolicy::default())
    }

    #[test]
    fn the_last_list_counts() {
        for text in [
            "[1, 2, 3]",
            "<answer>[1,2,3]</answer>",
            "from [7, 8] I conclude [ 1 ,2,\n3 ].",
            "![img](x) [1, 2, 3]",
            "{\"path\": [1, 2, 3]}",
        ] {
            let answer = read(text);
            assert_eq!(
                (answer.status, answer.ids),
                (AnswerStatus::Ok, vec![1, 2, 3]),
                "{text}"
            );
            assert!(!answer.lenient, "{text}");
        }
    }

    #[test]
    fn sloppy_lists_are_read_and_flagged() {
        assert!(read("[1, 2, 3,]").lenient);
        assert!(read("[01, 2]").lenient);
        let policy = AnswerPolicy {
            drop_bad_items: true,
            ..AnswerPolicy::default()
        };
        let answer = parse_path("[1, x, -2, 3]", 20, &policy);
        assert_eq!((answer.ids, answer.dropped), (vec![1, 3], 2));
        assert!(answer.lenient);
        assert_eq!(parse_path("[x]", 20, &policy).status, AnswerStatus::Empty);
    }

    #[test]
    fn what_is_no_list_of_ids_is_refused() {
        for text in [
            "[1, x, 3]",
            "[1.0, 2.0]",
            "[-1, 2]",
            "[+1]",
            "[1-2-3]",
            "[[1, 2]]",
            "[1, , 2]",
            "[1 2]",
            "['1']",
            "[٣]",
            "[99999999999]",
            "[1, 2",
            "\\[1, 2\\]",
            "[1, 2] and [",
        ] {
            let answer = read(text);
            assert_eq!(answer.status, AnswerStatus::Malformed, "{text}");
            assert!(answer.ids.is_empty(), "{text}");
        }
        assert_eq!(read("1, 2, 3").status, AnswerStatus::Missing);
        assert_eq!(read("(1, 2)").status, AnswerStatus::Missing);
        for text in ["[]", "[ ]", "[,,]", "<answer> </answer>", ""] {
            assert_eq!(read(text).status, AnswerStatus::Empty, "{text}");
        }
    }

    #[test]
    fn long_lists_are_refused() {
        let answer = parse_path("[1,2,3]", 2, &AnswerPolicy::default());
        assert_eq!(answer.status, AnswerStatus::Malformed);
        assert!(answer.too_long && answer.ids.is_empty());
    }
}
