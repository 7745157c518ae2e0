//! Reads names in order from an answer.

use super::path::last_list;
use super::policy::{AnswerPolicy, AnswerStatus, TagPolicy};
use super::span::{extract_span, without_tags};
use super::tokens::normalize;

/// Words that may stand between names.
const LINKS: [&str; 3] = ["and", "then", "next"];
/// Least number of letters of a lead-in such as `Answer:`; fewer may be a name.
const LEAD_LETTERS: usize = 4;

/// What a text says about a sequence; see [`parse_sequence`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceAnswer {
    /// How reading went; `names` counts only where this is `Ok`.
    pub status: AnswerStatus,
    /// The names in order, spelt as the options are; empty unless `Ok`.
    pub names: Vec<String>,
    /// The list has more names than allowed.
    pub too_long: bool,
    /// The list stood between tags.
    pub tagged: bool,
    /// Something follows the closing tag.
    pub trailing: bool,
}

/// Reads a list of `options` in order, at most `max_len` of them; an option may come up again.
///
/// The list is the last pair of square brackets, else what stands between the tags, else the last
/// line. Names are separated by commas, semicolons, arrows, line ends or, where that leaves no
/// doubt, blanks; case, blanks inside a name, quotes and numbering do not matter. Anything that is no
/// option makes the answer `OutOfSet` (`Missing` where neither tags nor brackets say that it is one);
/// a bracket without partner and more than `max_len` names make it `Malformed`.
#[must_use]
pub fn parse_sequence(
    text: &str,
    options: &[String],
    max_len: usize,
    policy: &AnswerPolicy,
) -> SequenceAnswer {
    let span = extract_span(text, policy);
    let mut answer = SequenceAnswer {
        status: span.status,
        names: Vec::new(),
        too_long: false,
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
        answer.status = AnswerStatus::Empty;
        return answer;
    }
    let (list, marked) = match last_list(&text) {
        Ok(inside) => (inside, true),
        Err(AnswerStatus::Missing) if span.tagged => (without_lead(&text), true),
        Err(AnswerStatus::Missing) => (without_lead(last_line(&text)), false),
        Err(status) => {
            answer.status = status;
            return answer;
        }
    };
    read_names(list, options, max_len, &mut answer);
    if answer.status == AnswerStatus::OutOfSet && !marked {
        answer.status = AnswerStatus::Missing;
    }
    answer
}

fn last_line(text: &str) -> &str {
    let mut lines = text.lines().rev();
    lines.find(|line| !line.trim().is_empty()).unwrap_or("")
}

/// `text` without a lead-in like `Answer:` or `The order is:`.
fn without_lead(text: &str) -> &str {
    match text.split_once(':') {
        Some((lead, rest)) if is_lead(lead) && !rest.trim().is_empty() => rest,
        _ => text,
    }
}

fn is_lead(text: &str) -> bool {
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    letters >= LEAD_LETTERS && !text.contains([',', ';', '\n'])
}

fn read_names(list: &str, options: &[String], max_len: usize, answer: &mut SequenceAnswer) {
    let keys: Vec<_> = options.iter().map(|option| key(option)).collect();
    let known = |text: &str| {
        let wanted = key(text);
        keys.iter()
            .position(|key| !key.is_empty() && *key == wanted)
    };
    let mut names = Vec::new();
    let pieces = list.split([',', ';', '\n', '>', '→', '⇒']);
    for piece in pieces.map(without_number) {
        let found = match known(piece) {
            Some(at) => Some(vec![at]),
            None => words(piece).map(known).collect(),
        };
        let Some(found) = found else {
            answer.status = AnswerStatus::OutOfSet;
            return;
        };
        names.extend(found.into_iter().filter_map(|at| options.get(at)).cloned());
        if names.len() > max_len {
            answer.status = AnswerStatus::Malformed;
            answer.too_long = true;
            return;
        }
    }
    answer.status = match names.is_empty() {
        true => AnswerStatus::Empty,
        false => AnswerStatus::Ok,
    };
    answer.names = names;
}

/// The words of a piece that may be names.
fn words(piece: &str) -> impl Iterator<Item = &str> {
    let says_nothing = |word: &str| {
        let key = key(word);
        key.is_empty() || LINKS.contains(&key.as_str())
    };
    piece
        .split_whitespace()
        .filter(move |word| !says_nothing(word))
}

/// `1. red`, `2) red`: the number is not part of the name.
fn without_number(piece: &str) -> &str {
    let piece = piece.trim();
    let rest = piece.trim_start_matches(|c: char| c.is_ascii_digit());
    match rest.strip_prefix(['.', ')']) {
        Some(name) if rest.len() < piece.len() => name,
        _ => piece,
    }
}

/// What counts of a name: letters and digits in lower case, and a minus sign before a digit.
fn key(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let is_sign = c == '-' && chars.peek().is_some_and(char::is_ascii_digit);
        if c.is_alphanumeric() || is_sign {
            out.extend(c.to_lowercase());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_of(text: &str, options: &[&str]) -> SequenceAnswer {
        let options: Vec<_> = options.iter().map(|name| (*name).to_owned()).collect();
        parse_sequence(text, &options, 5, &AnswerPolicy::default())
    }

    fn read(text: &str) -> SequenceAnswer {
        read_of(text, &["red", "light blue", "green"])
    }

    #[test]
    fn lists_are_read_in_many_spellings() {
        for text in [
            "red, light blue, green",
            "why\n<answer>Red, Light Blue, GREEN.</answer>",
            "<answer>red -> light blue -> green</answer>",
            "<answer>\n1. red\n2. light blue\n3. green\n</answer>",
            "<answer>red; light blue; and green</answer>",
            "<answer>[\"red\", \"light blue\", \"green\"]</answer>",
            "It could be [green]. No: [red, light-blue, green]",
            "Let me see.\nThe order is: red, light blue, green",
            "<answer>red, light blue, green,</answer>",
        ] {
            let answer = read(text);
            assert_eq!(answer.status, AnswerStatus::Ok, "{text}");
            assert_eq!(answer.names, ["red", "light blue", "green"], "{text}");
        }
    }

    #[test]
    fn short_names_with_turns_are_read() {
        let options = ["A0", "A90", "C0", "C90"];
        for text in [
            "A0, C90",
            "<answer>a 0, c 90°</answer>",
            "A0 C90",
            "[A0;C90]",
        ] {
            assert_eq!(read_of(text, &options).names, ["A0", "C90"], "{text}");
        }
        let turned_back = read_of("<answer>A0, C-90</answer>", &options);
        assert_eq!(turned_back.status, AnswerStatus::OutOfSet);
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        let status = |text| read(text).status;
        for (text, expected) in [
            ("", AnswerStatus::Empty),
            ("<answer> </answer>", AnswerStatus::Empty),
            ("<answer>, ,</answer>", AnswerStatus::Empty),
            ("[]", AnswerStatus::Empty),
            ("I cannot tell.", AnswerStatus::Missing),
            ("<answer>xyzzy</answer>", AnswerStatus::OutOfSet),
            ("<answer>red, blue</answer>", AnswerStatus::OutOfSet),
            ("[red, pink]", AnswerStatus::OutOfSet),
            ("[red, green", AnswerStatus::Malformed),
            (
                "<answer>red</answer><answer>green</answer>",
                AnswerStatus::Multiple,
            ),
            (
                "<answer>red, red, red, red, red, red</answer>",
                AnswerStatus::Malformed,
            ),
        ] {
            assert_eq!(status(text), expected, "{text}");
            assert!(read(text).names.is_empty(), "{text}");
        }
        assert!(read("red, red, red, red, red, red").too_long);
    }
}
