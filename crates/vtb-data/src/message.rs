//! Conversations: roles, texts and the places of pictures in them.

use serde_json::Value;

use crate::error::RowFault;
use crate::row::kind;

/// The mark in a text that a picture stands for.
pub const IMAGE_TAG: &str = "<image>";

/// The mark in a text that a video stands for.
pub const VIDEO_TAG: &str = "<video>";

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions that hold for the whole conversation.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
    /// The answer of a tool.
    Tool,
}

impl Role {
    /// The name used in files and chat templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::System, Self::User, Self::Assistant, Self::Tool]
            .into_iter()
            .find(|role| role.as_str() == name)
    }
}

/// One turn. Pictures are [`IMAGE_TAG`]s in the text, in the order of the row's images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// Whether this turn is trained on, where the file says so; otherwise the objective decides.
    pub loss: Option<bool>,
}

/// A stretch of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Words, never empty.
    Text(&'a str),
    /// The next picture of the row.
    Image,
}

impl Message {
    /// A turn without a say on its loss.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            loss: None,
        }
    }

    /// Texts and pictures in order.
    ///
    /// ```
    /// use vtb_data::{Message, Piece, Role};
    /// let message = Message::new(Role::User, "<image> What is it?");
    /// let pieces: Vec<Piece> = message.pieces().collect();
    /// assert_eq!(pieces, [Piece::Image, Piece::Text(" What is it?")]);
    /// ```
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let texts = self.content.split(IMAGE_TAG).enumerate();
        texts.flat_map(|(i, text)| {
            let image = (i > 0).then_some(Piece::Image);
            let text = (!text.is_empty()).then_some(Piece::Text(text));
            image.into_iter().chain(text)
        })
    }

    /// Pictures the text has room for.
    pub fn image_tags(&self) -> usize {
        self.content.matches(IMAGE_TAG).count()
    }

    /// Reads one element of `messages`; pictures found inside it are appended to `inside`, each
    /// with the name of its field.
    pub(crate) fn parse<'v>(
        value: &'v Value,
        index: usize,
        inside: &mut Vec<(String, &'v Value)>,
    ) -> Result<Self, RowFault> {
        let at = |name: &str| format!("messages[{index}].{name}");
        let wrong = |field: String, expected, found: &Value| RowFault::Field {
            field,
            expected,
            found: kind(found),
        };
        let Value::Object(map) = value else {
            return Err(wrong(format!("messages[{index}]"), "an object", value));
        };
        let role = map
            .get("role")
            .ok_or_else(|| RowFault::Missing(at("role")))?;
        let role = role.as_str().and_then(Role::parse).ok_or_else(|| {
            wrong(
                at("role"),
                "one of `system`, `user`, `assistant`, `tool`",
                role,
            )
        })?;
        let content = map
            .get("content")
            .ok_or_else(|| RowFault::Missing(at("content")))?;
        let content = match content {
            Value::String(text) => text.clone(),
            Value::Array(parts) => join_parts(parts, &at("content"), inside)?,
            other => return Err(wrong(at("content"), "text or a list of parts", other)),
        };
        let loss = match map.get("loss") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(on)) => Some(*on),
            Some(other) => return Err(wrong(at("loss"), "true or false", other)),
        };
        Ok(Self {
            role,
            content,
            loss,
        })
    }
}

/// A list of `{"type": "text" | "image" | "video", ...}` as one text with tags.
fn join_parts<'v>(
    parts: &'v [Value],
    field: &str,
    inside: &mut Vec<(String, &'v Value)>,
) -> Result<String, RowFault> {
    let mut text = String::new();
    for (i, part) in parts.iter().enumerate() {
        let here = format!("{field}[{i}]");
        match part.get("type").and_then(Value::as_str) {
            Some("text") => {
                let words = part.get("text").and_then(Value::as_str);
                text.push_str(words.ok_or_else(|| RowFault::Missing(format!("{here}.text")))?);
            }
            Some(kind @ ("image" | "image_url")) => {
                text.push_str(IMAGE_TAG);
                // A part may bring its picture along, or leave it to the column.
                let own = ["image", "image_url", "path", "url", "bytes"];
                let found = own
                    .iter()
                    .find_map(|key| part.get(*key).filter(|v| !v.is_null()));
                match found {
                    Some(_) if part.get("bytes").is_some_and(|v| !v.is_null()) => {
                        inside.push((here, part));
                    }
                    Some(picture) => inside.push((format!("{here}.{kind}"), picture)),
                    None => {}
                }
            }
            // The file stands in the column.
            Some("video") if part.as_object().is_some_and(|map| map.len() == 1) => {
                text.push_str(VIDEO_TAG);
            }
            Some("video") => {
                return Err(RowFault::Field {
                    field: here,
                    expected: "{\"type\": \"video\"} alone, with the file in the row's `videos`",
                    found: kind(part),
                });
            }
            _ => {
                return Err(RowFault::Field {
                    field: format!("{here}.type"),
                    expected: "`text`, `image` or `video`",
                    found: part.get("type").map_or_else(|| "absent".to_owned(), kind),
                });
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pieces_keep_order_and_drop_nothing() {
        let message = Message::new(Role::User, "a<image><image>b<image>");
        let pieces: Vec<_> = message.pieces().collect();
        use Piece::{Image, Text};
        assert_eq!(pieces, [Text("a"), Image, Image, Text("b"), Image]);
        assert_eq!(message.image_tags(), 3);
        assert_eq!(Message::new(Role::User, "").pieces().count(), 0);
    }

    #[test]
    fn parts_become_a_text_with_tags() {
        let value = json!({"role": "user", "content": [
            {"type": "image"},
            {"type": "text", "text": "left, "},
            {"type": "image", "image": "r.png"},
            {"type": "image_url", "image_url": {"url": "data:;base64,AQID"}},
        ]});
        let mut inside = Vec::new();
        let message = Message::parse(&value, 2, &mut inside).unwrap();
        assert_eq!(message.content, "<image>left, <image><image>");
        assert_eq!(inside.len(), 2);
        assert_eq!(
            inside[0],
            ("messages[2].content[2].image".to_owned(), &json!("r.png"))
        );
    }

    #[test]
    fn faults_name_the_field() {
        let fault = |value: Value| Message::parse(&value, 1, &mut Vec::new()).unwrap_err();
        let text = |value| fault(value).to_string();
        assert!(text(json!("hi")).contains("`messages[1]` must be an object"));
        assert!(text(json!({"content": "x"})).contains("`messages[1].role` is missing"));
        assert!(text(json!({"role": "bot", "content": "x"})).contains("`messages[1].role`"));
        assert!(text(json!({"role": "user"})).contains("`messages[1].content` is missing"));
        assert!(text(json!({"role": "user", "content": null})).contains("not null"));
        let sound = json!({"role": "user", "content": [{"type": "audio"}]});
        assert!(text(sound).contains("`messages[1].content[0].type`"));
        let video = json!({"role": "user", "content": [{"type": "video", "video": "a.mp4"}]});
        assert!(text(video).contains("`videos`"));
    }
}
