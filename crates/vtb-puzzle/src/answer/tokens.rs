//! Splits an answer into words.

use unicode_normalization::UnicodeNormalization;

/// A word of a text: letters and digits, with apostrophes inside it (`isn't`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// As written.
    pub(super) text: &'a str,
    /// Lower case.
    pub(super) key: String,
    /// What stands between the word before and this one.
    pub(super) gap: &'a str,
}

/// Compatibility form (NFKC), so that full-width letters are letters, without invisible marks.
pub(super) fn normalize(text: &str) -> String {
    text.nfkc().filter(|c| !is_invisible(*c)).collect()
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{00ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// The words of `text` in order.
pub(super) fn tokenize(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut word, mut last_end) = (None, 0);
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let inside = match word {
            None => c.is_alphanumeric(),
            Some(_) => {
                let joins = matches!(c, '\'' | '’');
                let before_letter = chars.peek().is_some_and(|(_, next)| next.is_alphabetic());
                c.is_alphanumeric() || (joins && before_letter)
            }
        };
        match (word, inside) {
            (None, true) => word = Some(at),
            (Some(start), false) => {
                tokens.push(token(text, last_end, start, at));
                (word, last_end) = (None, at);
            }
            _ => {}
        }
    }
    if let Some(start) = word {
        tokens.push(token(text, last_end, start, text.len()));
    }
    tokens
}

fn token(text: &str, last_end: usize, start: usize, end: usize) -> Token<'_> {
    Token {
        text: &text[start..end],
        key: text[start..end].to_lowercase().replace('’', "'"),
        gap: &text[last_end..start],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        tokenize(text).into_iter().map(|token| token.key).collect()
    }

    #[test]
    fn words_are_letters_and_digits() {
        assert_eq!(
            words("**(B)** isn't 'light-blue'."),
            ["b", "isn't", "light", "blue"]
        );
        assert_eq!(words(" \n!?"), [""; 0]);
        let gaps: Vec<_> = tokenize("a, b\nc").iter().map(|token| token.gap).collect();
        assert_eq!(gaps, ["", ", ", "\n"]);
    }

    #[test]
    fn width_and_invisible_marks_do_not_matter() {
        assert_eq!(normalize("\u{200b}Ｂ"), "B");
        assert_eq!(words(&normalize("²")), ["2"]);
    }
}
