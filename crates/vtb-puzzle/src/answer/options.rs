//! The options of a question, prepared for finding them in a text.

use super::code_words::letter_of;
use super::tokens::{Token, normalize, tokenize};

/// Words that may stand before an option and say nothing.
const LEAD_INS: [&str; 16] = [
    "the",
    "my",
    "final",
    "correct",
    "right",
    "best",
    "answer",
    "option",
    "choice",
    "letter",
    "candidate",
    "is",
    "it's",
    "it",
    "boxed",
    "would",
];
/// Longest answer that may name an option by some of its words.
const MAX_PARTIAL_WORDS: usize = 6;

/// Options as lower-case words.
pub(super) struct OptionSet {
    keys: Vec<Vec<String>>,
    whole: Vec<String>,
    /// Every option is a single letter.
    pub(super) letters: bool,
    by_place: bool,
}

/// What a short answer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    One(usize),
    Several,
    Nothing,
}

impl OptionSet {
    pub(super) fn new(options: &[String], option_letters: bool) -> Self {
        let whole: Vec<_> = options.iter().map(|option| fold(option)).collect();
        let keys: Vec<Vec<String>> = whole
            .iter()
            .map(|option| {
                tokenize(option)
                    .into_iter()
                    .map(|token| token.key)
                    .collect()
            })
            .collect();
        let is_letter = |option: &String| option.chars().count() == 1;
        let letters = !whole.is_empty()
            && whole
                .iter()
                .all(|option| is_letter(option) && option.chars().all(char::is_alphabetic));
        let by_place = option_letters && !whole.iter().any(is_letter);
        Self {
            keys,
            whole,
            letters,
            by_place,
        }
    }

    /// The option that `text` is, letter by letter.
    pub(super) fn exact(&self, text: &str) -> Option<usize> {
        let wanted = fold(text);
        self.whole.iter().position(|option| *option == wanted)
    }

    /// The option written at `tokens[at]`, and its length in words; of several the longest.
    pub(super) fn at(&self, tokens: &[Token<'_>], at: usize) -> Option<(usize, usize)> {
        let rest = tokens.get(at..)?;
        let starts_here = |key: &[String]| {
            !key.is_empty()
                && rest.len() >= key.len()
                && key.iter().zip(rest).all(|(word, token)| *word == token.key)
        };
        let spelled = self
            .keys
            .iter()
            .enumerate()
            .filter(|(_, key)| starts_here(key));
        spelled
            .map(|(option, key)| (option, key.len()))
            .max_by_key(|&(option, len)| (len, std::cmp::Reverse(option)))
    }

    /// The option whose code word stands at `tokens[at]` (`x-ray` is two words).
    pub(super) fn code_word_at(&self, tokens: &[Token<'_>], at: usize) -> Option<(usize, usize)> {
        let token = tokens.get(at).filter(|_| self.letters)?;
        let next_is_ray = tokens.get(at + 1).is_some_and(|next| next.key == "ray");
        let (letter, len) = match token.key.as_str() {
            "x" if next_is_ray => ('x', 2),
            word => (letter_of(word)?, 1),
        };
        let is_letter = |option: &String| option.starts_with(letter);
        Some((self.whole.iter().position(is_letter)?, len))
    }

    /// The option a lone letter at `tokens[at]` names by its place, where options are words.
    pub(super) fn place_at(&self, tokens: &[Token<'_>], at: usize) -> Option<(usize, usize)> {
        let key = tokens.get(at).filter(|_| self.by_place)?.key.as_bytes();
        let [letter @ b'a'..=b'z'] = key else {
            return None;
        };
        let place = usize::from(letter - b'a');
        (place < self.keys.len()).then_some((place, 1))
    }

    /// Any of the spellings at `tokens[at]`.
    pub(super) fn any_at(&self, tokens: &[Token<'_>], at: usize) -> Option<(usize, usize)> {
        self.code_word_at(tokens, at)
            .or_else(|| self.at(tokens, at))
            .or_else(|| self.place_at(tokens, at))
    }

    /// The option that all of `tokens` together spell, lead-in words aside.
    pub(super) fn direct(&self, tokens: &[Token<'_>]) -> Option<usize> {
        let leads = lead_len(tokens);
        (0..=leads).find_map(|skip| {
            let (option, len) = self.any_at(tokens, skip)?;
            (skip + len == tokens.len()).then_some(option)
        })
    }

    /// The one option of several words that contains every word of a short answer.
    pub(super) fn by_some_words(&self, tokens: &[Token<'_>]) -> Named {
        let rest = &tokens[lead_len(tokens)..];
        if self.letters || rest.is_empty() || rest.len() > MAX_PARTIAL_WORDS {
            return Named::Nothing;
        }
        let holds_all = |key: &&Vec<String>| rest.iter().all(|token| key.contains(&token.key));
        let mut found = self
            .keys
            .iter()
            .enumerate()
            .filter(|(_, key)| holds_all(key));
        match (found.next(), found.next()) {
            (Some((option, _)), None) => Named::One(option),
            (Some(_), Some(_)) => Named::Several,
            (None, _) => Named::Nothing,
        }
    }
}

/// How many words at the front say nothing.
pub(super) fn lead_len(tokens: &[Token<'_>]) -> usize {
    let is_lead = |token: &&Token<'_>| LEAD_INS.contains(&token.key.as_str());
    tokens.iter().take_while(is_lead).count()
}

fn fold(text: &str) -> String {
    normalize(text).trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(options: &[&str]) -> OptionSet {
        let owned: Vec<String> = options.iter().map(ToString::to_string).collect();
        OptionSet::new(&owned, true)
    }

    fn direct(options: &[&str], text: &str) -> Option<usize> {
        set(options).direct(&tokenize(text))
    }

    #[test]
    fn short_answers_spell_an_option() {
        for text in [
            "B",
            "(b)",
            "Option B",
            "**B**",
            "answer: B.",
            "Bravo",
            "the answer is B",
        ] {
            assert_eq!(direct(&["A", "B"], text), Some(1), "{text}");
        }
        assert_eq!(direct(&["A", "B"], "C"), None);
        assert_eq!(direct(&["A", "B"], "charlie"), None);
        assert_eq!(direct(&["A", "X"], "x-ray"), Some(1));
        assert_eq!(direct(&["blue", "light blue"], "Light-Blue"), Some(1));
        assert_eq!(direct(&["blue", "red"], "(B)"), Some(1));
        assert_eq!(direct(&["blue", "red"], "(C)"), None);
        assert_eq!(set(&["+", "-"]).exact(" - "), Some(1));
    }

    #[test]
    fn some_words_name_an_option_only_if_no_other_fits() {
        let options = set(&["large circle", "small circle", "square"]);
        let named = |text| options.by_some_words(&tokenize(text));
        assert_eq!(named("the large"), Named::One(0));
        assert_eq!(named("circle"), Named::Several);
        assert_eq!(named("the huge circle"), Named::Nothing);
        assert_eq!(named("the"), Named::Nothing);
    }
}
