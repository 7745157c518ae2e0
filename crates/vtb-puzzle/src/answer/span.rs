//! Finds the part of a text that holds the answer: the tag pairs.

use std::borrow::Cow;
use std::ops::Range;

use super::policy::{AnswerPolicy, AnswerStatus, MultiplePolicy, TagPolicy};
use super::tokens::normalize;

const TAG: &[u8] = b"answer";
const END_OF_REASONING: &[u8] = b"</think>";
const START_OF_REASONING: &[u8] = b"<think>";

/// Where the answer of a text stands; see [`extract_span`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerSpan<'a> {
    /// `Ok`, `Missing`, `Malformed` or `Multiple`.
    pub status: AnswerStatus,
    /// Contents of the tag pair that counts, or the text that stands for it; empty unless `Ok`.
    pub text: &'a str,
    /// `text` comes from between tags.
    pub tagged: bool,
    /// Well-formed tag pairs found.
    pub pairs: usize,
    /// Something other than whitespace follows the last closing tag.
    pub trailing: bool,
    /// What precedes the first tag; empty without tags.
    pub before: &'a str,
}

impl<'a> AnswerSpan<'a> {
    fn failed(status: AnswerStatus) -> Self {
        Self {
            status,
            text: "",
            tagged: false,
            pairs: 0,
            trailing: false,
            before: "",
        }
    }

    fn untagged(text: &'a str) -> Self {
        Self {
            text,
            ..Self::failed(AnswerStatus::Ok)
        }
    }
}

/// Text of raw bytes: broken UTF-8 becomes the replacement character.
#[must_use]
pub fn text_from_bytes(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Finds the answer in `text`: the contents of `<answer>..</answer>` (any case, blanks allowed in
/// the tags).
///
/// A reasoning block that ends in `</think>` is never searched, nor is one that `<think>` opens and nothing closes: an
/// answer there is a thought that was cut off. Tags that do not pair or nest make
/// the answer malformed, whatever else the text says; several pairs with the same contents are one
/// answer; with different contents [`AnswerPolicy::multiple`] decides.
#[must_use]
pub fn extract_span<'a>(text: &'a str, policy: &AnswerPolicy) -> AnswerSpan<'a> {
    if text.len() > policy.max_bytes {
        return AnswerSpan::failed(AnswerStatus::Malformed);
    }
    let body_at = end_of_reasoning(text);
    let body = &text[body_at..];
    let body = &body[..unfinished_reasoning(body)];
    if policy.tags == TagPolicy::Ignored {
        return AnswerSpan::untagged(body);
    }
    let tags = find_tags(body);
    let (Some(first), Some(last)) = (tags.first(), tags.last()) else {
        return match policy.tags {
            TagPolicy::Required => AnswerSpan::failed(AnswerStatus::Missing),
            _ => AnswerSpan::untagged(body),
        };
    };
    let pairs = pair_up(&tags);
    let chosen = pairs
        .as_deref()
        .ok_or(AnswerStatus::Malformed)
        .and_then(|pairs| choose(body, pairs, policy.multiple));
    AnswerSpan {
        status: chosen.err().unwrap_or(AnswerStatus::Ok),
        text: chosen.unwrap_or(""),
        tagged: chosen.is_ok(),
        pairs: pairs.map_or(0, |pairs| pairs.len()),
        trailing: !body[last.place.end..].trim().is_empty(),
        before: &text[..body_at + first.place.start],
    }
}

struct Tag {
    place: Range<usize>,
    closing: bool,
}

/// `text` with its answer tags blanked out, for readers of the whole text.
pub(super) fn without_tags(text: &str) -> Cow<'_, str> {
    let tags = find_tags(text);
    if tags.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for tag in tags {
        out.push_str(&text[from..tag.place.start]);
        out.push('\n');
        from = tag.place.end;
    }
    out.push_str(&text[from..]);
    Cow::Owned(out)
}

fn find_tags(text: &str) -> Vec<Tag> {
    text.match_indices('<')
        .filter_map(|(at, _)| {
            let rest = text[at + 1..].trim_start();
            let inner = rest.strip_prefix('/');
            let closing = inner.is_some();
            let name = inner.map_or(rest, str::trim_start);
            let matches = name.as_bytes().get(..TAG.len())?.eq_ignore_ascii_case(TAG);
            let end = matches.then(|| name[TAG.len()..].trim_start())?;
            let end = text.len() - end.strip_prefix('>')?.len();
            Some(Tag {
                place: at..end,
                closing,
            })
        })
        .collect()
}

/// The insides of the pairs; `None` if a tag has no partner or pairs nest.
fn pair_up(tags: &[Tag]) -> Option<Vec<Range<usize>>> {
    let pairs = tags.chunks(2).map(|pair| match pair {
        [open, close] if !open.closing && close.closing => Some(open.place.end..close.place.start),
        _ => None,
    });
    pairs.collect()
}

fn choose<'a>(
    body: &'a str,
    pairs: &[Range<usize>],
    policy: MultiplePolicy,
) -> Result<&'a str, AnswerStatus> {
    let inside = |at: usize| body.get(pairs.get(at)?.clone());
    let first = inside(0).unwrap_or("");
    match policy {
        MultiplePolicy::First => Ok(first),
        MultiplePolicy::Last => Ok(inside(pairs.len() - 1).unwrap_or("")),
        MultiplePolicy::Error => {
            let wanted = fingerprint(first);
            let same =
                (1..pairs.len()).all(|at| inside(at).map(fingerprint).as_ref() == Some(&wanted));
            same.then_some(first).ok_or(AnswerStatus::Multiple)
        }
    }
}

/// Contents that differ only in case, width or blanks are the same answer.
fn fingerprint(inside: &str) -> String {
    let mut text = normalize(inside).to_lowercase();
    text.retain(|c| !c.is_whitespace());
    text
}

/// Where a thought begins that is not closed, in a text after which none is.
fn unfinished_reasoning(body: &str) -> usize {
    let mut windows = body.as_bytes().windows(START_OF_REASONING.len());
    windows
        .position(|window| window.eq_ignore_ascii_case(START_OF_REASONING))
        .unwrap_or(body.len())
}

fn end_of_reasoning(text: &str) -> usize {
    let bytes = text.as_bytes();
    let found = bytes
        .windows(END_OF_REASONING.len())
        .rposition(|window| window.eq_ignore_ascii_case(END_OF_REASONING));
    found.map_or(0, |at| at + END_OF_REASONING.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str) -> AnswerSpan<'_> {
        extract_span(text, &AnswerPolicy::default())
    }

    #[test]
    fn tags_are_found_in_any_case_and_spacing() {
        for text in [
            "<answer>B</answer>",
            "why <ANSWER>B</Answer>\n",
            "< answer >B< / answer\n>",
        ] {
            let found = span(text);
            assert_eq!(
                (found.status, found.text),
                (AnswerStatus::Ok, "B"),
                "{text}"
            );
            assert!(
                found.tagged && !found.trailing && found.pairs == 1,
                "{text}"
            );
        }
        assert_eq!(span("why <answer>B</answer> x").before, "why ");
        assert!(span("<answer>B</answer> x").trailing);
    }

    #[test]
    fn tags_that_do_not_pair_are_malformed() {
        for text in [
            "<answer>B",
            "B</answer>",
            "</answer><answer>B",
            "<answer><answer>B</answer></answer>",
            "<answer>B</answer><answer>A",
        ] {
            assert_eq!(span(text).status, AnswerStatus::Malformed, "{text}");
        }
    }

    #[test]
    fn several_pairs_follow_the_policy() {
        let text = "<answer>A</answer><answer>B</answer>";
        assert_eq!(span(text).status, AnswerStatus::Multiple);
        let with = |multiple| AnswerPolicy {
            multiple,
            ..AnswerPolicy::default()
        };
        assert_eq!(extract_span(text, &with(MultiplePolicy::Last)).text, "B");
        assert_eq!(extract_span(text, &with(MultiplePolicy::First)).text, "A");
        let same = span("<answer>B</answer> <answer> b </answer>");
        assert_eq!((same.status, same.pairs), (AnswerStatus::Ok, 2));
    }

    #[test]
    fn missing_tags_follow_the_policy() {
        let with = |tags| AnswerPolicy {
            tags,
            ..AnswerPolicy::default()
        };
        let missing = extract_span("B", &with(TagPolicy::Required));
        assert_eq!(missing.status, AnswerStatus::Missing);
        assert_eq!(span("B").text, "B");
        assert!(!span("B").tagged);
        let whole = extract_span("<answer>B", &with(TagPolicy::Ignored));
        assert_eq!((whole.status, whole.text), (AnswerStatus::Ok, "<answer>B"));
        assert_eq!(without_tags(whole.text), "\nB");
    }

    #[test]
    fn reasoning_blocks_and_oversized_texts_are_not_read() {
        assert_eq!(span("<think><answer>A</think>B").text, "B");
        // A prompt that opened the thought: the completion only closes it.
        let closed = span("It may be <answer>A</answer>.\n</think>\n\n<answer>B</answer>");
        assert_eq!((closed.text, closed.pairs), ("B", 1));
        // A thought that was cut off holds no answer.
        let cut = span("<think>\nIt may be <answer>A</answer>");
        assert_eq!((cut.text, cut.tagged, cut.pairs), ("", false, 0));
        let again = span("<think>x</think><answer>B</answer> <THINK>or <answer>A</answer>");
        assert_eq!((again.text, again.pairs), ("B", 1));
        let tiny = AnswerPolicy {
            max_bytes: 3,
            ..AnswerPolicy::default()
        };
        assert_eq!(extract_span("BBBB", &tiny).status, AnswerStatus::Malformed);
        assert_eq!(text_from_bytes(&[0xff, b'B']), "\u{fffd}B");
    }
}
