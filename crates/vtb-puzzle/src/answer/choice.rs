//! Reads which option an answer names.

use super::options::{Named, OptionSet, lead_len};
use super::policy::{AnswerPolicy, AnswerStatus, MultiplePolicy, TagPolicy};
use super::span::{extract_span, without_tags};
use super::tokens::{Token, normalize, tokenize};

/// What told the option, from most to least explicit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnswerMethod {
    /// The whole answer is the option: `B`, `(B)`, `option B`, `answer: B`, `Bravo`.
    Direct,
    /// "answer B" or "the answer is B" in a sentence.
    AnswerPhrase,
    /// The last line is nothing but the option.
    FinalLine,
    /// "option B" or "choice B" in a sentence.
    OptionPhrase,
    /// A code word, a capital letter standing alone, or the words of an option.
    Mention,
    /// Some words that only one option has.
    SomeWords,
}

impl AnswerMethod {
    /// Between 0 and 1: how explicit the answer is. An ordering, not a probability.
    #[must_use]
    pub fn confidence(self) -> f64 {
        match self {
            Self::Direct => 1.0,
            Self::AnswerPhrase => 0.9,
            Self::FinalLine => 0.8,
            Self::OptionPhrase => 0.7,
            Self::Mention => 0.5,
            Self::SomeWords => 0.4,
        }
    }
}

/// What a text says about a choice; see [`parse_choice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChoiceAnswer {
    /// How reading went.
    pub status: AnswerStatus,
    /// Index into the options; `Some` exactly when the status is `Ok`.
    pub option: Option<usize>,
    /// What told the option; `Some` exactly when the status is `Ok`.
    pub method: Option<AnswerMethod>,
    /// Every option named by the evidence that decided, each once, in order of first mention.
    pub mentions: Vec<usize>,
    /// The answer stood between tags.
    pub tagged: bool,
    /// Something follows the closing tag.
    pub trailing: bool,
}

/// Reads which of `options` the text names.
///
/// After the tags ([`extract_span`]) evidence is looked for in this order, and the first kind found
/// decides: the whole answer is the option; "the answer is X" together with a final line that is
/// nothing but an option; "option X" or "choice X"; options named anywhere outside a negation (code
/// words, capital letters that are not the article "A" or the pronoun "I", option words); words that
/// only one option has. If the evidence names different options, [`AnswerPolicy::multiple`] says
/// which counts; by default the answer is ambiguous.
#[must_use]
pub fn parse_choice(text: &str, options: &[String], policy: &AnswerPolicy) -> ChoiceAnswer {
    let span = extract_span(text, policy);
    let mut answer = ChoiceAnswer {
        status: span.status,
        option: None,
        method: None,
        mentions: Vec::new(),
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
    let set = OptionSet::new(options, policy.option_letters);
    let tokens = tokenize(&text);
    let evidence = match set.exact(&text).filter(|_| !text.trim().is_empty()) {
        Some(option) => Some((AnswerMethod::Direct, vec![option])),
        None => find_evidence(&set, &tokens),
    };
    match evidence {
        Some((method, found)) => decide(&mut answer, method, &found, policy.multiple),
        None => answer.status = without_evidence(&text, &set, &tokens, span.tagged),
    }
    answer
}

fn decide(
    answer: &mut ChoiceAnswer,
    method: AnswerMethod,
    found: &[usize],
    policy: MultiplePolicy,
) {
    for &option in found {
        if !answer.mentions.contains(&option) {
            answer.mentions.push(option);
        }
    }
    let chosen = match (policy, answer.mentions.as_slice()) {
        (_, &[only]) => Some(only),
        (MultiplePolicy::First, _) => found.first().copied(),
        (MultiplePolicy::Last, _) => found.last().copied(),
        (MultiplePolicy::Error, _) => None,
    };
    answer.option = chosen;
    answer.method = chosen.map(|_| method);
    answer.status = match chosen {
        Some(_) => AnswerStatus::Ok,
        None => AnswerStatus::Ambiguous,
    };
}

/// Why a text that names no option fails.
fn without_evidence(
    text: &str,
    set: &OptionSet,
    tokens: &[Token<'_>],
    tagged: bool,
) -> AnswerStatus {
    if text.trim().is_empty() {
        return AnswerStatus::Empty;
    }
    let words = tokens.len() - lead_len(tokens);
    match set.by_some_words(tokens) {
        Named::Several => AnswerStatus::Ambiguous,
        _ if tokens.is_empty() => AnswerStatus::Malformed,
        _ if tagged || words == 1 => AnswerStatus::OutOfSet,
        _ => AnswerStatus::Missing,
    }
}

fn find_evidence(set: &OptionSet, tokens: &[Token<'_>]) -> Option<(AnswerMethod, Vec<usize>)> {
    if let Some(option) = set.direct(tokens) {
        return Some((AnswerMethod::Direct, vec![option]));
    }
    let mut phrases = phrases(set, tokens, &["answer"]);
    let phrased = !phrases.is_empty();
    phrases.extend(final_line(set, tokens));
    if !phrases.is_empty() {
        let method = if phrased {
            AnswerMethod::AnswerPhrase
        } else {
            AnswerMethod::FinalLine
        };
        return Some((method, phrases));
    }
    let weak = self::phrases(set, tokens, &["option", "choice"]);
    if !weak.is_empty() {
        return Some((AnswerMethod::OptionPhrase, weak));
    }
    let mentions = mentions(set, tokens);
    if !mentions.is_empty() {
        return Some((AnswerMethod::Mention, mentions));
    }
    match set.by_some_words(tokens) {
        Named::One(option) => Some((AnswerMethod::SomeWords, vec![option])),
        _ => None,
    }
}

/// Options that follow one of `heads`, with only filler words between: "answer is option B".
fn phrases(set: &OptionSet, tokens: &[Token<'_>], heads: &[&str]) -> Vec<usize> {
    const FILLERS: [&str; 10] = [
        "is",
        "should",
        "be",
        "must",
        "the",
        "option",
        "choice",
        "letter",
        "candidate",
        "therefore",
    ];
    const MAX_FILLERS: usize = 4;
    let mut found = Vec::new();
    for (head, _) in tokens
        .iter()
        .enumerate()
        .filter(|(_, t)| heads.contains(&t.key.as_str()))
    {
        let rest = &tokens[head + 1..];
        let is_filler = |token: &&Token<'_>| FILLERS.contains(&token.key.as_str());
        let fillers = rest.iter().take(MAX_FILLERS).take_while(is_filler).count();
        let at = head + 1 + fillers;
        let option = set.any_at(tokens, at).filter(|_| !is_article(tokens, at));
        found.extend(option.map(|(option, _)| option));
    }
    found
}

/// A lower-case "a" or "i" in the flow of a sentence.
fn is_article(tokens: &[Token<'_>], at: usize) -> bool {
    matches!(tokens[at].text, "a" | "i") && flows_on(tokens, at)
}

/// A word follows with nothing but blanks between.
fn flows_on(tokens: &[Token<'_>], at: usize) -> bool {
    let next = tokens.get(at + 1);
    next.is_some_and(|next| next.gap.chars().all(|c| c == ' '))
}

fn final_line(set: &OptionSet, tokens: &[Token<'_>]) -> Option<usize> {
    let start = tokens.iter().rposition(|token| token.gap.contains('\n'))?;
    set.direct(&tokens[start..])
}

/// Options named anywhere outside a negation, in order.
fn mentions(set: &OptionSet, tokens: &[Token<'_>]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let named = if set.letters {
            set.code_word_at(tokens, at)
                .or_else(|| lone_letter(set, tokens, at))
        } else {
            set.at(tokens, at)
        };
        found.extend(
            named
                .filter(|_| !is_negated(tokens, at))
                .map(|(option, _)| option),
        );
        at += named.map_or(1, |(_, len)| len);
    }
    found
}

/// A capital option letter that is neither the article "A" nor the pronoun "I".
fn lone_letter(set: &OptionSet, tokens: &[Token<'_>], at: usize) -> Option<(usize, usize)> {
    const VERBS: [&str; 14] = [
        "is", "and", "or", "because", "since", "as", "lies", "looks", "seems", "fits", "matches",
        "marks", "but", "not",
    ];
    let token = &tokens[at];
    if !token.text.chars().all(char::is_uppercase) {
        return None;
    }
    let word_like = matches!(token.text, "A" | "I") && flows_on(tokens, at);
    let next_is_verb = tokens
        .get(at + 1)
        .is_some_and(|next| VERBS.contains(&next.key.as_str()));
    set.at(tokens, at).filter(|_| !word_like || next_is_verb)
}

/// A word of negation stands at most three words before, in the same clause.
fn is_negated(tokens: &[Token<'_>], at: usize) -> bool {
    const REACH: usize = 3;
    for back in 0..REACH.min(at) {
        let gap = tokens[at - back].gap;
        let before = tokens[at - back - 1].key.as_str();
        if gap.contains(['.', ',', ';', ':', '!', '?', '\n']) || before == "but" {
            return false;
        }
        let negates = matches!(
            before,
            "not" | "never" | "neither" | "nor" | "cannot" | "instead"
        );
        if negates || before.ends_with("n't") {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use AnswerStatus::{Ambiguous, Empty, Malformed, Missing, Ok, OutOfSet};

    fn read(text: &str, options: &[&str]) -> ChoiceAnswer {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        parse_choice(text, &options, &AnswerPolicy::default())
    }

    fn letter(text: &str) -> (AnswerStatus, Option<usize>) {
        let answer = read(text, &["A", "B", "C", "D", "E"]);
        (answer.status, answer.option)
    }

    #[test]
    fn an_option_is_read_in_all_its_forms() {
        for text in [
            "B",
            "b",
            "<answer>B.</answer>",
            "<answer>(B)</answer>",
            "<answer>[B]</answer>",
            "<answer>Answer: B.</answer>",
            "<answer>Option B</answer>",
            "<answer>**B**</answer>",
            "<answer>\\boxed{B}</answer>",
            "<answer>Ｂ</answer>",
            "<answer>\u{200b}B</answer>",
            "<answer>bravo</answer>",
            "<answer>B, because it is nearest</answer>",
            "A triangle is drawn. I think the answer is B",
            "Option A is the leftmost, option C too.\nB",
            "not Alpha but Bravo",
            "I say bravo, not delta",
            "The delta is small, so the answer should be option B.",
            "<think>A</think>B",
        ] {
            assert_eq!(letter(text), (Ok, Some(1)), "{text}");
        }
        assert_eq!(letter("The answer is A"), (Ok, Some(0)));
        assert_eq!(
            letter("The answer is A because it lies there"),
            (Ok, Some(0))
        );
        assert_eq!(letter("I choose A"), (Ok, Some(0)));
    }

    #[test]
    fn answers_outside_the_options_are_told_apart() {
        for text in [
            "Z",
            "<answer>В</answer>",
            "α",
            "1",
            "AB",
            "x-ray",
            "alphabet",
        ] {
            let status = letter(text).0;
            let expected = if text == "x-ray" { Missing } else { OutOfSet };
            assert_eq!(status, expected, "{text}");
        }
        assert_eq!(letter("<answer>the hexagon</answer>").0, OutOfSet);
        assert_eq!(letter("I have no idea").0, Missing);
        assert_eq!(letter("A triangle has three sides").0, Missing);
        assert_eq!(letter("the answer is a bit unclear").0, Missing);
        assert_eq!(letter("it is not B").0, Missing);
        assert_eq!(letter("<answer> </answer>").0, Empty);
        assert_eq!(letter("").0, Empty);
        assert_eq!(letter("😀").0, Malformed);
    }

    #[test]
    fn different_mentions_are_ambiguous_unless_the_policy_picks_one() {
        for text in [
            "A or B",
            "A B C D E",
            "answer: A. answer: B",
            "answer: A\nB",
        ] {
            let found = letter(text);
            assert_eq!(found, (Ambiguous, None), "{text}");
            let options = ["A", "B", "C", "D", "E"].map(String::from);
            let last = AnswerPolicy {
                multiple: MultiplePolicy::Last,
                ..AnswerPolicy::default()
            };
            let expected = if text == "A B C D E" { 4 } else { 1 };
            assert_eq!(
                parse_choice(text, &options, &last).option,
                Some(expected),
                "{text}"
            );
        }
        assert_eq!(letter("B. Yes, B."), (Ok, Some(1)));
        assert_eq!(read("A or B", &["A", "B"]).mentions, [0, 1]);
    }

    #[test]
    fn free_text_options_match_exactly_then_by_their_words() {
        let colours = ["red", "blue", "light blue", "dark green"];
        let named = |text| read(text, &colours).option;
        assert_eq!(named("blue"), Some(1));
        assert_eq!(named("The answer is Blue."), Some(1));
        assert_eq!(named("light-blue"), Some(2));
        assert_eq!(named("it must have been light blue there"), Some(2));
        assert_eq!(named("green"), Some(3));
        assert_eq!(named("<answer>(B)</answer>"), Some(1));
        assert_eq!(named("not red but blue"), Some(1));
        assert_eq!(read("blue or red", &colours).status, Ambiguous);
        assert_eq!(read("purple", &colours).status, OutOfSet);
        assert_eq!(read("<answer>purple</answer>", &colours).status, OutOfSet);
        assert_eq!(read("anything", &[]).status, OutOfSet);
        assert_eq!(read("3", &["1", "2", "3"]).option, Some(2));
    }

    #[test]
    fn ignored_tags_are_no_words() {
        let policy = AnswerPolicy {
            tags: TagPolicy::Ignored,
            ..AnswerPolicy::default()
        };
        let options = ["A", "B"].map(String::from);
        let answer = parse_choice("<answer>B", &options, &policy);
        assert_eq!((answer.status, answer.option), (Ok, Some(1)));
        assert_eq!(answer.method.map(AnswerMethod::confidence), Some(1.0));
    }
}
