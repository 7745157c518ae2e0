//! Reads a grid of small numbers from an answer.

use super::path::last_list;
use super::policy::{AnswerPolicy, AnswerStatus, TagPolicy};
use super::span::{extract_span, without_tags};
use super::tokens::normalize;

/// What a text says about a grid; see [`parse_grid`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GridAnswer {
    /// How reading went; `rows` counts only where this is `Ok`.
    pub status: AnswerStatus,
    /// The rows, top row first, none of them empty but not always equally long; empty unless `Ok`.
    pub rows: Vec<Vec<u8>>,
    /// The grid is not a JSON list of lists.
    pub lenient: bool,
    /// The grid has more rows, or a row more numbers, than allowed.
    pub too_large: bool,
    /// The grid stood between tags.
    pub tagged: bool,
    /// Something follows the closing tag.
    pub trailing: bool,
}

impl GridAnswer {
    fn failed(mut self, status: AnswerStatus) -> Self {
        self.status = status;
        self.rows.clear();
        self
    }
}

/// Reads a grid of at most `max_side` rows of at most `max_side` numbers from 0 to 255.
///
/// A JSON list of lists first (the last one of the text); then, flagged as `lenient`, lines of
/// numbers: separated by blanks, commas or bars, or digits side by side, where ruled lines and code
/// fences are passed over. Lines count between tags, and where the text has nothing else. Anything
/// that is no plain number makes the grid malformed, as do brackets without partner and a grid above
/// the limit; a text without a grid is `Missing`, or malformed between tags.
#[must_use]
pub fn parse_grid(text: &str, max_side: usize, policy: &AnswerPolicy) -> GridAnswer {
    let span = extract_span(text, policy);
    let mut answer = GridAnswer {
        status: span.status,
        rows: Vec::new(),
        lenient: false,
        too_large: false,
        tagged: span.tagged,
        trailing: span.trailing,
    };
    if span.status != AnswerStatus::Ok {
        return answer;
    }
    let text = match policy.tags {
        TagPolicy::Ignored => normalize(&without_tags(span.text)),
        _ => normalize(span.text),
    };
    if text.trim().is_empty() {
        return answer.failed(AnswerStatus::Empty);
    }
    let found = match last_list(&text) {
        Ok(inside) if inside.contains('[') => nested_rows(inside),
        Ok(_) | Err(AnswerStatus::Missing) => {
            answer.lenient = true;
            // Brackets around single rows say no more than line ends do.
            let plain = text.replace(['[', ']'], " ");
            lines(&plain).ok_or(match span.tagged || plain != text {
                true => AnswerStatus::Malformed,
                false => AnswerStatus::Missing,
            })
        }
        Err(status) => Err(status),
    };
    let rows = match found {
        Ok(rows) => rows,
        Err(status) => return answer.failed(status),
    };
    if rows.is_empty() || rows.iter().all(Vec::is_empty) {
        return answer.failed(AnswerStatus::Empty);
    }
    if rows.iter().any(Vec::is_empty) {
        return answer.failed(AnswerStatus::Malformed);
    }
    if rows.len() > max_side || rows.iter().any(|row| row.len() > max_side) {
        answer.too_large = true;
        return answer.failed(AnswerStatus::Malformed);
    }
    answer.rows = rows;
    answer
}

/// The rows within the outer brackets of a list of lists.
fn nested_rows(inside: &str) -> Result<Vec<Vec<u8>>, AnswerStatus> {
    let mut rows = Vec::new();
    let mut rest = inside;
    while let Some(start) = rest.find('[') {
        let gap_is_plain = rest[..start].chars().all(|c| c == ',' || c.is_whitespace());
        let after = &rest[start + 1..];
        let end = after.find(']').filter(|_| gap_is_plain);
        let row = end
            .map(|end| &after[..end])
            .ok_or(AnswerStatus::Malformed)?;
        let body = row.trim();
        let body = body.strip_suffix(',').unwrap_or(body);
        let numbers = match body.is_empty() {
            true => Some(Vec::new()),
            false => body.split(',').map(|item| number(item.trim())).collect(),
        };
        rows.push(numbers.ok_or(AnswerStatus::Malformed)?);
        rest = &after[row.len() + 1..];
    }
    let ends_plain = rest.chars().all(|c| c == ',' || c.is_whitespace());
    ends_plain.then_some(rows).ok_or(AnswerStatus::Malformed)
}

/// One row a line; `None` where a line is anything else.
fn lines(text: &str) -> Option<Vec<Vec<u8>>> {
    let is_ruled = |line: &&str| {
        !line
            .chars()
            .all(|c| "-=+|_`".contains(c) || c.is_whitespace())
    };
    text.lines().filter(is_ruled).map(line_numbers).collect()
}

fn line_numbers(line: &str) -> Option<Vec<u8>> {
    let is_gap = |c: char| c.is_whitespace() || c == ',' || c == '|';
    let items: Vec<_> = line.split(is_gap).filter(|item| !item.is_empty()).collect();
    match items.as_slice() {
        // Digits side by side: one cell each.
        [digits] if digits.len() > 1 => digits
            .bytes()
            .map(|byte| byte.is_ascii_digit().then(|| byte - b'0'))
            .collect(),
        items => items.iter().map(|item| number(item)).collect(),
    }
}

/// A plain number; `str::parse` would also take a plus sign.
fn number(item: &str) -> Option<u8> {
    let plain = !item.is_empty() && item.bytes().all(|byte| byte.is_ascii_digit());
    item.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> GridAnswer {
        parse_grid(text, 4, &AnswerPolicy::default())
    }

    #[test]
    fn grids_come_as_json_or_lines() {
        for (text, lenient) in [
            ("[[1, 2], [3, 4]]", false),
            ("so\n<answer>[[1,2],\n[3,4]]</answer>", false),
            ("it was [[9]], now [[1, 2], [3, 4],]", false),
            ("<answer>[[1, 2,], [3, 4]]</answer>", false),
            ("<answer>1 2\n3 4</answer>", true),
            ("<answer>\n12\n34\n</answer>", true),
            (
                "<answer>```\n| 1 | 2 |\n|---|---|\n| 3 | 4 |\n```</answer>",
                true,
            ),
            ("1, 2\n3, 4", true),
            ("[1, 2]\n[3, 4]", true),
        ] {
            let answer = read(text);
            assert_eq!(answer.status, AnswerStatus::Ok, "{text}");
            assert_eq!(answer.rows, [[1, 2], [3, 4]], "{text}");
            assert_eq!(answer.lenient, lenient, "{text}");
        }
        assert_eq!(read("[[1, 2], [3]]").rows, [vec![1, 2], vec![3]]);
    }

    #[test]
    fn what_is_no_grid_is_refused() {
        for (text, expected) in [
            ("", AnswerStatus::Empty),
            ("<answer></answer>", AnswerStatus::Empty),
            ("[[]]", AnswerStatus::Empty),
            ("[[], [1]]", AnswerStatus::Malformed),
            ("<answer>xyzzy</answer>", AnswerStatus::Malformed),
            ("the rows are 1 2 and 3 4", AnswerStatus::Missing),
            ("[[1, 2], [3, x]]", AnswerStatus::Malformed),
            ("[[1, -2]]", AnswerStatus::Malformed),
            ("[[1.5]]", AnswerStatus::Malformed),
            ("[[+1]]", AnswerStatus::Malformed),
            ("[[256]]", AnswerStatus::Malformed),
            ("[[1], 2]", AnswerStatus::Malformed),
            ("[[[1]]]", AnswerStatus::Malformed),
            ("[[1, , 2]]", AnswerStatus::Malformed),
            ("[[1], [2]", AnswerStatus::Malformed),
            ("<answer>[1, 2] because</answer>", AnswerStatus::Malformed),
            ("[[1,2,3,4,5]]", AnswerStatus::Malformed),
            (
                "<answer>[[1]]</answer><answer>[[2]]</answer>",
                AnswerStatus::Multiple,
            ),
        ] {
            let answer = read(text);
            assert_eq!(answer.status, expected, "{text}");
            assert!(answer.rows.is_empty(), "{text}");
        }
        assert!(read("[[1],[2],[3],[4],[5]]").too_large);
    }
}
