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
    regex: Regex,
    written: String,
}

impl Pattern {
    /// Python's `re.fullmatch(pattern, path)`: how a string in `target_modules` selects.
    pub(crate) fn full(pattern: &str) -> Result<Self, LoraError> {
        Self::compile(pattern, &format!(r"\A(?:{pattern})\z"))
    }

    /// The whole path or its end after a dot: how keys of `rank_pattern` and `alpha_pattern` select. The groups are
    /// numbered as in peft's expression, so that back references mean the same.
    pub(crate) fn path_end(pattern: &str) -> Result<Self, LoraError> {
        Self::compile(pattern, &format!(r"\A(.*\.)?({pattern})\z"))
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
            regex,
            written: written.to_owned(),
        })
    }

    pub(crate) fn matches(&self, path: &str) -> Result<bool, LoraError> {
        self.regex
            .is_match(path)
            .map_err(|e| self.too_expensive(path, &e))
    }

    /// The number captured by [`Pattern::layer_index`].
    pub(crate) fn index(&self, path: &str) -> Result<Option<usize>, LoraError> {
        let captures = self
            .regex
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
