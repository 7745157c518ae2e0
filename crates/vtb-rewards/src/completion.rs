//! What the policy wrote, as text.

use std::borrow::Cow;

use serde_json::Value;

/// The text of a completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion<'a> {
    text: Cow<'a, str>,
}

impl<'a> Completion<'a> {
    /// A completion that is text already.
    #[must_use]
    pub fn new(text: impl Into<Cow<'a, str>>) -> Self {
        Self { text: text.into() }
    }

    /// A completion as other trainers hand it over: a string, or a list of chat messages, of which
    /// the last of the assistant counts (the last of all if no roles are given). A message's content
    /// is a string or a list of parts, whose texts are joined. Anything else is an empty completion.
    #[must_use]
    pub fn from_json(value: &'a Value) -> Self {
        let text = match value {
            Value::Array(items) => last_message(items),
            other => content(other),
        };
        Self { text }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn last_message(items: &[Value]) -> Cow<'_, str> {
    let speaks = |item: &&Value| item.get("role").is_none_or(|role| role == "assistant");
    items
        .iter()
        .rev()
        .find(speaks)
        .map_or(Cow::Borrowed(""), content)
}

/// Text of a string, of a message (`content`), of a part (`text`) or of a list of parts.
fn content(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Object(message) => match message.get("content").or_else(|| message.get("text")) {
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(Value::Array(parts)) => {
                let texts = parts.iter().filter_map(part);
                Cow::Owned(texts.collect())
            }
            _ => Cow::Borrowed(""),
        },
        _ => Cow::Borrowed(""),
    }
}

fn part(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("text")?.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_shape_of_completion_has_a_text() {
        let cases = [
            (json!("B"), "B"),
            (json!([{"role": "assistant", "content": "B"}]), "B"),
            (
                json!([{"role": "assistant", "content": "A"}, {"role": "user", "content": "x"}]),
                "A",
            ),
            (json!([{"content": "A"}, {"content": "B"}]), "B"),
            (
                json!([{"role": "assistant", "content": [{"type": "text", "text": "B"}, "C"]}]),
                "BC",
            ),
            (json!({"role": "assistant", "content": "B"}), "B"),
            (json!(null), ""),
            (json!(7), ""),
            (json!([]), ""),
            (json!([{"role": "user", "content": "B"}]), ""),
            (json!([[["B"]]]), ""),
        ];
        for (value, text) in cases {
            assert_eq!(Completion::from_json(&value).text(), text, "{value}");
        }
        assert_eq!(Completion::new("B").text(), "B");
    }
}
