//! Module patterns: Python regular expressions on module paths, run within a step limit.

use fancy_regex::{Regex, RegexBuilder};

use crate::LoraError;

/// Steps after which a match counts as too expensive; honest patterns need a few hundred.
const BACKTRACK_LIMIT: usize = 100_000;
/// Longer patterns are refused: adapter files are untrusted input.
const MAX_LENGTH: usize = 64 << 10;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    matcher: Matcher,
    written: String,
}

#[derive(Debug, Clone)]
enum Matcher {
    Regex(Box<Regex>),
    /// A name without any operator but dots, as nearly all keys of `rank_pattern` and `alpha_pattern` are: there may be
    /// one for each layer, and each is tried on every layer.
    Name(Name),
}

/// The end of a path, letter by letter.
#[derive(Debug, Clone)]
struct Name {
    /// `None` for the dot, which stands for any letter.
    letters: Vec<Option<char>>,
    /// Whether it is the whole path (`^`).
    whole: bool,
}

impl Name {
    /// The expression as a name; `None` if it is more than that.
    fn parse(expression: &str) -> Option<Self> {
        let rest = expression.strip_prefix('^');
        let mut letters = Vec::new();
        let mut chars = rest.unwrap_or(expression).chars();
        while let Some(c) = chars.next() {
            letters.push(match c {
                '.' => None,
                '\\' => Some(chars.next().filter(char::is_ascii_punctuation)?),
                c if c.is_alphanumeric() || c == '_' => Some(c),
                _ => return None,
            });
        }
        let whole = rest.is_some();
        Some(Self { letters, whole })
    }

    fn ends(&self, path: &str) -> bool {
        let mut chars = path.chars();
        for letter in self.letters.iter().rev() {
            match (letter, chars.next_back()) {
                (None, Some(c)) if c != '\n' => {}
                (Some(letter), Some(c)) if *letter == c => {}
                _ => return false,
            }
        }
        let before = chars.as_str();
        before.is_empty() || (!self.whole && before.ends_with('.') && !before.contains('\n'))
    }
}

impl Pattern {
    /// Python's `re.fullmatch(pattern, path)`: how a string in `target_modules` selects.
    pub(crate) fn full(pattern: &str) -> Result<Self, LoraError> {
        Self::compile(pattern, &format!(r"\A(?:{pattern})\z"))
    }

    /// The whole path or its end after a dot: how keys of `rank_pattern` and `alpha_pattern` select. The groups are
    /// numbered as in peft's expression, so that back references mean the same.
    pub(crate) fn path_end(pattern: &str) -> Result<Self, LoraError> {
        match Name::parse(pattern) {
            Some(name) if pattern.len() <= MAX_LENGTH => Ok(Self {
                matcher: Matcher::Name(name),
                written: pattern.to_owned(),
            }),
            _ => Self::compile(pattern, &format!(r"\A(.*\.)?({pattern})\z")),
        }
    }

    /// The first number that follows a segment matching `segment`: the index of a layer. Without `segment`, the
    /// first number that is neither the first nor the second segment.
    pub(crate) fn layer_index(segment: Option<&str>) -> Result<Self, LoraError> {
        match segment {
            None => Self::compile("layer index", r"\A.*?\.[^.]*\.(?P<idx>\d+)\."),
            Some(s) => Self::compile(s, &format!(r"\A(?:(?:.*?\.)??{s}\.(?P<idx>\d+)\.)")),
        }
    }

    fn compile(written: &str, expression: &str) -> Result<Self, LoraError> {
        let fail = |message: String| LoraError::Pattern {
            pattern: shorten(written),
            message,
        };
        if expression.len() > MAX_LENGTH {
            return Err(fail(format!("is longer than {MAX_LENGTH} bytes")));
        }
        let regex = RegexBuilder::new(expression)
            .backtrack_limit(BACKTRACK_LIMIT)
            .build()
            .map_err(|e| fail(format!("is not a regular expression: {e}")))?;
        Ok(Self {
            matcher: Matcher::Regex(Box::new(regex)),
            written: written.to_owned(),
        })
    }

    pub(crate) fn matches(&self, path: &str) -> Result<bool, LoraError> {
        match &self.matcher {
            Matcher::Regex(regex) => regex
                .is_match(path)
                .map_err(|e| self.too_expensive(path, &e)),
            Matcher::Name(name) => Ok(name.ends(path)),
        }
    }

    /// The number captured by [`Pattern::layer_index`].
    pub(crate) fn index(&self, path: &str) -> Result<Option<usize>, LoraError> {
        let Matcher::Regex(regex) = &self.matcher else {
            return Ok(None);
        };
        let captures = regex
            .captures(path)
            .map_err(|e| self.too_expensive(path, &e))?;
        Ok(captures.and_then(|c| c.name("idx")?.as_str().parse().ok()))
    }

    fn too_expensive(&self, path: &str, error: &fancy_regex::Error) -> LoraError {
        LoraError::Pattern {
            pattern: shorten(&self.written),
            message: format!("cannot be matched against `{path}` ({error}); write a simpler one"),
        }
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_matches_the_whole_path_with_look_around() {
        let swift = r"^(model\.language_model(?=\.).*\.(q_proj|o_proj))$";
        let pattern = Pattern::full(swift).expect("compiles");
        let hit = |p: &str| pattern.matches(p).expect("cheap");
        assert!(hit("model.language_model.layers.0.self_attn.q_proj"));
        assert!(!hit("model.language_model.layers.0.self_attn.q_proj.x"));
        assert!(!hit("model.language_models.layers.0.self_attn.q_proj"));
        // An alternation is bounded as a whole.
        let either = Pattern::full("a|ab").expect("compiles");
        assert!(either.matches("ab").expect("cheap"));
        assert!(!either.matches("abc").expect("cheap"));
    }

    #[test]
    fn names_match_as_their_expressions_do() {
        let paths = [
            "",
            "a",
            "a.b",
            "x.a.b",
            "xa.b",
            "axb",
            "x.axb",
            "a..b",
            "\n",
            "a\nb",
            "x\ny.a.b",
            "ä.b",
            "x.ä.b",
            "blocks.1.to_q",
            "blocks.11.to_q",
            ".a.b",
        ];
        for name in [
            "",
            "a",
            "a.b",
            "^a.b",
            r"^a\.b",
            r"a\.b",
            ".",
            "..",
            ".b",
            "ä.b",
            "^",
            "to_q",
            "blocks.1.to_q",
            r"\..b",
        ] {
            let quick = Pattern::path_end(name).expect("compiles");
            assert!(matches!(quick.matcher, Matcher::Name(_)), "{name}");
            let slow = Pattern::compile(name, &format!(r"\A(.*\.)?({name})\z"));
            let slow = slow.expect("compiles");
            for path in paths {
                let [quick, slow] = [&quick, &slow].map(|p| p.matches(path).expect("cheap"));
                assert_eq!(quick, slow, "`{name}` on {path:?}");
            }
        }
        for expression in [
            "a*", "a$", "(a)", "[a]", "a|b", r"\d", r"a\", "a-b", "a+", "a?", "{a", "b^a",
        ] {
            assert!(Name::parse(expression).is_none(), "{expression}");
        }
    }

    #[test]
    fn layer_indices_take_the_first_number() {
        let any = Pattern::layer_index(None).expect("compiles");
        let at = |p: &str| any.index(p).expect("cheap");
        assert_eq!(at("model.layers.12.mlp.up_proj"), Some(12));
        assert_eq!(at("model.layers.1.experts.7.up_proj"), Some(1));
        assert_eq!(at("layers.3.up_proj"), None);
        assert_eq!(at("model.layers.99999999999999999999999.up_proj"), None);
        let named = Pattern::layer_index(Some("blocks")).expect("compiles");
        assert_eq!(named.index("blocks.3.x").expect("cheap"), Some(3));
        assert_eq!(
            named.index("model.layers.1.blocks.4.x").expect("cheap"),
            Some(4)
        );
        assert_eq!(named.index("model.layers.1.x").expect("cheap"), None);
    }

    #[test]
    fn hostile_patterns_are_errors() {
        let bomb = Pattern::full(r"(?:(?=a)(a+)+)+\1b").expect("compiles");
        let path = "a".repeat(60);
        assert!(
            bomb.matches(&path)
                .expect_err("too expensive")
                .to_string()
                .contains("simpler")
        );
        assert!(Pattern::full("(").is_err());
        assert!(Pattern::full(&"(".repeat(50_000)).is_err());
        assert!(Pattern::full(&"a".repeat(MAX_LENGTH)).is_err());
    }
}
