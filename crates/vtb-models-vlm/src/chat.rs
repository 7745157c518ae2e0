//! Conversations: messages made of text, pictures and videos.

use serde_json::Value;

use crate::VlmError;

/// Marks the place of a picture in plain text.
pub const IMAGE_TAG: &str = "<image>";
/// Marks the place of a video in plain text.
pub const VIDEO_TAG: &str = "<video>";

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text.
    Text(String),
    /// The next picture of the conversation.
    Image,
    /// The next video of the conversation.
    Video,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// Pieces in order.
    pub parts: Vec<Part>,
    /// Whether to learn from this turn, where the row says so itself.
    pub loss: Option<bool>,
}

impl Message {
    /// A turn in which `<image>` tags mark pictures and `<video>` tags videos.
    pub fn new(role: impl Into<String>, text: &str) -> Self {
        Self {
            role: role.into(),
            parts: split_tags(text),
            loss: None,
        }
    }

    /// A user turn.
    pub fn user(text: &str) -> Self {
        Self::new("user", text)
    }

    /// An assistant turn.
    pub fn assistant(text: &str) -> Self {
        Self::new("assistant", text)
    }

    /// A system turn.
    pub fn system(text: &str) -> Self {
        Self::new("system", text)
    }

    /// Reads one element of a `messages` list: `content` is a string with `<image>` and `<video>` tags or a list
    /// of parts (`{"type": "text", "text": ...}`, `{"type": "image"}`, `{"type": "video"}`); `loss` may be true or false.
    ///
    /// # Errors
    /// Says what is wrong with the message; the caller adds the row.
    pub fn from_json(value: &Value) -> Result<Self, VlmError> {
        let fail = |message: &str| Err(VlmError::Messages(message.to_owned()));
        let Some(role) = value.get("role").and_then(Value::as_str) else {
            return fail("a message needs a `role`: system, user, assistant or tool");
        };
        if !["system", "user", "assistant", "tool"].contains(&role) {
            return fail(&format!(
                "message role `{role}` is not one of system, user, assistant, tool"
            ));
        }
        let parts = match value.get("content") {
            Some(Value::String(text)) => split_tags(text),
            Some(Value::Array(list)) => list.iter().map(part).collect::<Result<_, _>>()?,
            _ => {
                return fail(&format!(
                    "the {role} message needs a `content`: text or parts"
                ));
            }
        };
        let loss = match value.get("loss") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(loss)) => Some(*loss),
            Some(_) => return fail("`loss` of a message must be true or false"),
        };
        Ok(Self {
            role: role.to_owned(),
            parts,
            loss,
        })
    }

    /// Reads a `messages` list.
    pub fn list_from_json(value: &Value) -> Result<Vec<Self>, VlmError> {
        match value.as_array() {
            Some(list) if !list.is_empty() => list.iter().map(Self::from_json).collect(),
            _ => Err(VlmError::Messages(
                "`messages` must be a list with a message".to_owned(),
            )),
        }
    }

    /// Number of pictures the turn marks.
    pub fn images(&self) -> usize {
        self.count(&Part::Image)
    }

    /// Number of videos the turn marks.
    pub fn videos(&self) -> usize {
        self.count(&Part::Video)
    }

    fn count(&self, wanted: &Part) -> usize {
        self.parts.iter().filter(|part| *part == wanted).count()
    }
}

/// Fits a conversation to its pictures and videos, as `ms-swift` does: those without a tag come before the text of the
/// first turn that is not the system's, pictures first.
///
/// # Errors
/// More tags than pictures or videos, or no turn to put them in.
pub fn place_media(
    messages: &[Message],
    images: usize,
    videos: usize,
) -> Result<Vec<Message>, VlmError> {
    let missing = |tagged: usize, there: usize, what: &str, tag: &str| {
        there.checked_sub(tagged).ok_or_else(|| {
            VlmError::Messages(format!(
                "the messages mark {tagged} {what} with {tag}, but the row has {there}"
            ))
        })
    };
    let tagged: usize = messages.iter().map(Message::images).sum();
    let no_image = missing(tagged, images, "pictures", IMAGE_TAG)?;
    let tagged: usize = messages.iter().map(Message::videos).sum();
    let no_video = missing(tagged, videos, "videos", VIDEO_TAG)?;
    let mut placed = messages.to_vec();
    if no_image + no_video > 0 {
        let first = placed.iter_mut().find(|message| message.role != "system");
        let first = first.ok_or_else(|| {
            let what = "pictures or videos in";
            VlmError::Messages(format!(
                "no message to put the row's {} {what}",
                no_image + no_video
            ))
        })?;
        let mut parts = vec![Part::Image; no_image];
        parts.resize(no_image + no_video, Part::Video);
        first.parts.splice(..0, parts);
    }
    Ok(placed)
}

/// Cuts a text at its tags.
fn split_tags(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let text_part = |text: &str| (!text.is_empty()).then(|| Part::Text(text.to_owned()));
    let mut rest = text;
    loop {
        let next = [(IMAGE_TAG, Part::Image), (VIDEO_TAG, Part::Video)]
            .into_iter()
            .filter_map(|(tag, part)| Some((rest.find(tag)?, tag, part)))
            .min_by_key(|(at, ..)| *at);
        let Some((at, tag, part)) = next else {
            parts.extend(text_part(rest));
            return parts;
        };
        parts.extend(text_part(&rest[..at]));
        parts.push(part);
        rest = &rest[at + tag.len()..];
    }
}

fn part(value: &Value) -> Result<Part, VlmError> {
    let fail = |message: String| Err(VlmError::Messages(message));
    let kind = value.get("type").and_then(Value::as_str);
    if let (Some("text") | None, Some(text)) = (kind, value.get("text").and_then(Value::as_str)) {
        return Ok(Part::Text(text.to_owned()));
    }
    match kind {
        Some("image") if value.as_object().is_some_and(|map| map.len() == 1) => Ok(Part::Image),
        Some("video") if value.as_object().is_some_and(|map| map.len() == 1) => Ok(Part::Video),
        Some("image" | "image_url" | "video") => fail(
            "a content part names its own picture or video; list them under `images` or `videos` and keep \
             {\"type\": \"image\"} or {\"type\": \"video\"}"
                .to_owned(),
        ),
        Some(kind) => fail(format!(
            "content parts of type `{kind}` are not supported, only text, image and video"
        )),
        None => fail("a content part needs a `type`: text, image or video".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_and_parts_say_the_same() {
        let tagged = Message::user("<image>Which?<video><image>");
        let parts = Message::from_json(&json!({"role": "user", "content": [
            {"type": "image"}, {"type": "text", "text": "Which?"}, {"type": "video"}, {"type": "image"}]}))
        .unwrap();
        assert_eq!(tagged, parts);
        assert_eq!((tagged.images(), tagged.videos()), (2, 1));
    }

    #[test]
    fn untagged_pictures_come_first_after_the_system_turn() {
        let messages = [
            Message::system("Be brief."),
            Message::user("Which? <image>"),
        ];
        let placed = place_media(&messages, 3, 1).unwrap();
        assert_eq!(placed[0], messages[0]);
        assert_eq!(
            placed[1],
            Message::user("<image><image><video>Which? <image>")
        );
        assert_eq!(place_media(&messages, 1, 0).unwrap(), messages);
    }

    #[test]
    fn too_many_tags_are_an_error_with_both_numbers() {
        let text = place_media(&[Message::user("<image><image>")], 1, 0)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("mark 2 pictures") && text.contains("the row has 1"),
            "{text}"
        );
        let text = place_media(&[Message::user("<video>")], 1, 0)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("mark 1 videos with <video>") && text.contains("has 0"),
            "{text}"
        );
        assert!(place_media(&[Message::system("x")], 1, 0).is_err());
    }

    #[test]
    fn malformed_messages_are_explained() {
        for (value, needle) in [
            (json!({"content": "x"}), "needs a `role`"),
            (json!({"role": "robot", "content": "x"}), "`robot`"),
            (json!({"role": "user"}), "needs a `content`"),
            (
                json!({"role": "user", "content": [{"type": "video", "video": "a.mp4"}]}),
                "`videos`",
            ),
            (
                json!({"role": "user", "content": [{"type": "audio"}]}),
                "type `audio`",
            ),
            (
                json!({"role": "user", "content": [{"type": "image", "image": "a"}]}),
                "`images`",
            ),
            (json!({"role": "user", "content": "x", "loss": 2}), "`loss`"),
        ] {
            let text = Message::from_json(&value).unwrap_err().to_string();
            assert!(text.contains(needle), "{text}");
        }
        assert!(Message::list_from_json(&json!([])).is_err());
    }
}
