//! One row of a training file: the ms-swift schema, read strictly.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::error::{DataError, Origin, Result, RowFault};
use crate::image_ref::ImageRef;
use crate::message::{IMAGE_TAG, Message, Role, VIDEO_TAG};

/// What rows are used for, which decides how a conversation has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowMode {
    /// Supervised: the last message is the assistant's, and is learned.
    Sft,
    /// Reinforcement: assistant messages at the end are dropped, the model writes its own.
    Grpo,
}

/// What a row has to fulfil.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRules {
    /// What the rows are for.
    pub mode: RowMode,
    /// Whether `solution` must be there: rewards that compare with it score 0 without.
    pub require_solution: bool,
    /// Longest line in bytes. Longer ones are never held in memory.
    pub max_line_bytes: usize,
}

impl RowRules {
    /// Supervised rows; lines up to 32 MiB.
    pub fn sft() -> Self {
        Self {
            mode: RowMode::Sft,
            require_solution: false,
            max_line_bytes: 32 << 20,
        }
    }

    /// Prompts with a solution; lines up to 32 MiB.
    pub fn grpo() -> Self {
        Self {
            mode: RowMode::Grpo,
            require_solution: true,
            ..Self::sft()
        }
    }
}

/// One example.
///
/// The number of [`IMAGE_TAG`]s over all messages equals the number of images: a row that names
/// images and has no tag at all gets them in front of its first message that is not the system's,
/// as ms-swift does; any other difference is an error. The same holds for videos and [`VIDEO_TAG`].
#[derive(Debug, Clone, PartialEq)]
pub struct TrainRow {
    /// The conversation, at least one message.
    pub messages: Vec<Message>,
    /// Pictures in the order of their tags.
    pub images: Vec<ImageRef>,
    /// Video files in the order of their tags.
    pub videos: Vec<PathBuf>,
    /// What rewards compare with: text (an option letter) or a list (a path of cell numbers).
    pub solution: Option<Value>,
    /// The puzzle's task.
    pub task_type: Option<String>,
    /// The family of the task.
    pub task_group: Option<String>,
    /// The row's name in its data set.
    pub id: Option<String>,
    /// Every other column, as it stands: `options`, `maze`, `scene_hash`, a user's own.
    pub extra: Map<String, Value>,
    /// Where the row stands, for messages.
    pub origin: Origin,
}

impl TrainRow {
    /// Parses one line.
    ///
    /// `base` is the directory that relative image paths start from. No image is opened.
    ///
    /// # Errors
    /// [`DataError::Row`] with file, line, field and what was expected there.
    pub fn parse(line: &[u8], origin: Origin, rules: &RowRules, base: &Path) -> Result<Self> {
        match parse(line, &origin, rules, base) {
            Ok(row) => Ok(row),
            Err(fault) => Err(DataError::Row { origin, fault }),
        }
    }

    /// The solution as text: as it is, or a list or number as compact JSON.
    pub fn solution_text(&self) -> Option<String> {
        Some(match self.solution.as_ref()? {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// Every column but the conversation and its pictures: what a reward compares an answer with.
    pub fn columns(&self) -> Map<String, Value> {
        let text = |value: &Option<String>| value.clone().map(Value::from);
        let named = [
            ("solution", self.solution.clone()),
            ("task_type", text(&self.task_type)),
            ("task_group", text(&self.task_group)),
            ("id", text(&self.id)),
        ];
        let named = named
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        named.chain(self.extra.clone()).collect()
    }

    /// The row as one object of the schema. Pictures are written as `images` says, one per image.
    pub fn to_json(&self, images: Vec<Value>) -> Value {
        let message = |m: &Message| {
            let mut object = json!({"role": m.role.as_str(), "content": m.content});
            if let Some(loss) = m.loss {
                object["loss"] = loss.into();
            }
            object
        };
        let mut object = Map::new();
        object.insert(
            "messages".into(),
            self.messages.iter().map(message).collect(),
        );
        object.insert("images".into(), images.into());
        if !self.videos.is_empty() {
            let path = |path: &PathBuf| Value::from(path.display().to_string());
            object.insert("videos".into(), self.videos.iter().map(path).collect());
        }
        object.extend(self.columns());
        Value::Object(object)
    }
}

fn parse(
    line: &[u8],
    origin: &Origin,
    rules: &RowRules,
    base: &Path,
) -> std::result::Result<TrainRow, RowFault> {
    if line.len() > rules.max_line_bytes {
        return Err(RowFault::TooLong {
            limit: rules.max_line_bytes,
        });
    }
    let mut columns = unique_object(line)?;
    let raw_messages = take_list(&mut columns, "messages")?
        .ok_or_else(|| RowFault::Missing("messages".to_owned()))?;
    let mut inside = Vec::new();
    let mut messages = Vec::with_capacity(raw_messages.len());
    for (i, value) in raw_messages.iter().enumerate() {
        messages.push(Message::parse(value, i, &mut inside)?);
    }
    let images = images(&mut columns, &inside, base)?;
    let videos = videos(&mut columns, base)?;
    finish_conversation(&mut messages, rules.mode)?;
    place_video_tags(&mut messages, videos.len())?;
    place_tags(&mut messages, images.len())?;
    let solution = columns.remove("solution").filter(|v| !v.is_null());
    if solution.is_none() && rules.require_solution {
        return Err(RowFault::Missing("solution".to_owned()));
    }
    Ok(TrainRow {
        messages,
        images,
        videos,
        solution,
        task_type: take_text(&mut columns, "task_type")?,
        task_group: take_text(&mut columns, "task_group")?,
        id: take_text(&mut columns, "id")?,
        extra: columns,
        origin: origin.clone(),
    })
}

/// One JSON object in which no key stands twice.
pub(crate) fn unique_object(line: &[u8]) -> std::result::Result<Map<String, Value>, RowFault> {
    let object: UniqueKeys = serde_json::from_slice(line).map_err(json_fault)?;
    Ok(object.0)
}

/// The parser's words without its line number, which is always 1 here.
fn json_fault(error: serde_json::Error) -> RowFault {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let place = format!(" at line {line} column {column}");
    RowFault::Json(text.replace(&place, &format!(" at column {column}")))
}

/// The row's pictures: from the column, or from the messages.
fn images(
    columns: &mut Map<String, Value>,
    inside: &[(String, &Value)],
    base: &Path,
) -> std::result::Result<Vec<ImageRef>, RowFault> {
    let column: Vec<(String, Value)> = match columns.remove("images") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => {
            let named = |(i, value)| (format!("images[{i}]"), value);
            list.into_iter().enumerate().map(named).collect()
        }
        Some(one) => vec![("images".to_owned(), one)],
    };
    match (column.is_empty(), inside.is_empty()) {
        (false, false) => Err(RowFault::ImagesTwice),
        (false, true) => column
            .iter()
            .map(|(f, v)| ImageRef::parse(v, base, f))
            .collect(),
        (true, _) => inside
            .iter()
            .map(|(f, v)| ImageRef::parse(v, base, f))
            .collect(),
    }
}

/// The row's videos, which are files.
fn videos(
    columns: &mut Map<String, Value>,
    base: &Path,
) -> std::result::Result<Vec<PathBuf>, RowFault> {
    let list = take_list(columns, "videos")?.unwrap_or_default();
    let file = |(i, value): (usize, &Value)| {
        let field = format!("videos[{i}]");
        match ImageRef::parse(value, base, &field)? {
            ImageRef::Path(path) => Ok(path),
            ImageRef::Encoded(_) | ImageRef::Pixels(_) => Err(RowFault::Field {
                field,
                expected: "the path of a video file",
                found: kind(value),
            }),
        }
    };
    list.iter().enumerate().map(file).collect()
}

fn finish_conversation(
    messages: &mut Vec<Message>,
    mode: RowMode,
) -> std::result::Result<(), RowFault> {
    let by_assistant = |m: Option<&Message>| m.is_some_and(|m| m.role == Role::Assistant);
    match mode {
        RowMode::Sft if messages.is_empty() => Err(RowFault::Conversation("the list is empty")),
        RowMode::Sft if !by_assistant(messages.last()) => Err(RowFault::Conversation(
            "supervised rows end with an assistant message",
        )),
        RowMode::Sft => Ok(()),
        RowMode::Grpo => {
            while by_assistant(messages.last()) {
                messages.pop();
            }
            if messages.iter().any(|m| m.role == Role::User) {
                Ok(())
            } else {
                Err(RowFault::Conversation("no user message is left to answer"))
            }
        }
    }
}

/// Makes tags and pictures agree (see [`TrainRow`]).
fn place_tags(messages: &mut [Message], images: usize) -> std::result::Result<(), RowFault> {
    let tags: usize = messages.iter().map(Message::image_tags).sum();
    if tags == images {
        return Ok(());
    }
    let first = messages.iter_mut().find(|m| m.role != Role::System);
    match first {
        Some(message) if tags == 0 => {
            message.content.insert_str(0, &IMAGE_TAG.repeat(images));
            Ok(())
        }
        _ => Err(RowFault::ImageCount { tags, images }),
    }
}

/// The same for videos.
fn place_video_tags(messages: &mut [Message], videos: usize) -> std::result::Result<(), RowFault> {
    let tags: usize = messages
        .iter()
        .map(|m| m.content.matches(VIDEO_TAG).count())
        .sum();
    if tags == videos {
        return Ok(());
    }
    let first = messages.iter_mut().find(|m| m.role != Role::System);
    match first {
        Some(message) if tags == 0 => {
            message.content.insert_str(0, &VIDEO_TAG.repeat(videos));
            Ok(())
        }
        _ => Err(RowFault::VideoCount { tags, videos }),
    }
}

fn take_list(
    columns: &mut Map<String, Value>,
    field: &str,
) -> std::result::Result<Option<Vec<Value>>, RowFault> {
    match columns.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(other) => Err(RowFault::Field {
            field: field.to_owned(),
            expected: "a list",
            found: kind(&other),
        }),
    }
}

/// A column of text; numbers are taken for their digits.
pub(crate) fn take_text(
    columns: &mut Map<String, Value>,
    field: &str,
) -> std::result::Result<Option<String>, RowFault> {
    match columns.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(other) => Err(RowFault::Field {
            field: field.to_owned(),
            expected: "text or a number",
            found: kind(&other),
        }),
    }
}

/// What a value is, for messages; short texts are quoted.
pub(crate) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(on) => on.to_string(),
        Value::Number(_) => "a number".to_owned(),
        Value::String(text) if text.is_empty() => "empty text".to_owned(),
        Value::String(text) if text.len() <= 24 => format!("{text:?}"),
        Value::String(_) => "text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// A JSON object in which no key stands twice: which of the two was meant, nobody knows.
struct UniqueKeys(Map<String, Value>);

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = UniqueKeys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut access: A,
            ) -> std::result::Result<UniqueKeys, A::Error> {
                let mut map = Map::new();
                while let Some((key, value)) = access.next_entry::<String, Value>()? {
                    if map.contains_key(&key) {
                        let text = format!("the key {key:?} stands twice");
                        return Err(serde::de::Error::custom(text));
                    }
                    map.insert(key, value);
                }
                Ok(UniqueKeys(map))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn origin() -> Origin {
        Origin {
            file: Path::new("t.jsonl").into(),
            line: 3,
        }
    }

    fn read(value: &Value, rules: RowRules) -> Result<TrainRow> {
        TrainRow::parse(
            value.to_string().as_bytes(),
            origin(),
            &rules,
            Path::new("/d"),
        )
    }

    fn fault(value: &Value, rules: RowRules) -> String {
        read(value, rules).unwrap_err().to_string()
    }

    fn row() -> Value {
        json!({
            "messages": [
                {"role": "user", "content": "<image> Which?"},
                {"role": "assistant", "content": "B"},
            ],
            "images": ["p/a.png"], "solution": "B", "task_type": "midpoint",
            "task_group": "eyeballing", "id": "x-1", "options": ["A", "B"],
        })
    }

    #[test]
    fn a_row_is_read_whole() {
        let found = read(&row(), RowRules::sft()).unwrap();
        assert_eq!(found.messages.len(), 2);
        assert_eq!(found.images, [ImageRef::Path("/d/p/a.png".into())]);
        assert_eq!(found.solution_text().as_deref(), Some("B"));
        assert_eq!(found.task_type.as_deref(), Some("midpoint"));
        assert_eq!(found.id.as_deref(), Some("x-1"));
        assert_eq!(found.extra["options"], json!(["A", "B"]));
        assert_eq!(found.to_json(vec!["p/a.png".into()]), row());
    }

    #[test]
    fn videos_are_files_with_tags_of_their_own() {
        let mut value = row();
        value["videos"] = json!(["v/a.mp4", {"path": "b.gif"}]);
        let found = read(&value, RowRules::sft()).unwrap();
        assert_eq!(
            found.videos,
            [PathBuf::from("/d/v/a.mp4"), "/d/b.gif".into()]
        );
        assert_eq!(found.messages[0].content, "<video><video><image> Which?");
        assert_eq!(
            found.to_json(vec![])["videos"],
            json!(["/d/v/a.mp4", "/d/b.gif"])
        );
        value["messages"][0]["content"] = json!("<video><image>");
        let text = fault(&value, RowRules::sft());
        assert!(
            text.contains("1 <video> tags and the row has 2 videos"),
            "{text}"
        );
        value["videos"] = json!(["data:video/mp4;base64,AAAA"]);
        assert!(fault(&value, RowRules::sft()).contains("videos[0]"));
        value["videos"] = Value::Null;
        assert!(fault(&value, RowRules::sft()).contains("has 0 videos"));
    }

    #[test]
    fn reinforcement_drops_the_answer_and_wants_a_solution() {
        assert_eq!(read(&row(), RowRules::grpo()).unwrap().messages.len(), 1);
        let mut bare = row();
        bare["solution"] = Value::Null;
        assert_eq!(
            fault(&bare, RowRules::grpo()),
            "t.jsonl:3: field `solution` is missing"
        );
        let relaxed = RowRules {
            require_solution: false,
            ..RowRules::grpo()
        };
        assert_eq!(read(&bare, relaxed).unwrap().solution, None);
        let answer_only = json!({"messages": [{"role": "assistant", "content": "B"}]});
        assert!(fault(&answer_only, relaxed).contains("no user message is left"));
    }

    #[test]
    fn supervision_needs_an_answer_at_the_end() {
        let mut question = row();
        question["messages"].as_array_mut().unwrap().pop();
        assert!(fault(&question, RowRules::sft()).contains("end with an assistant message"));
        assert!(fault(&json!({"messages": []}), RowRules::sft()).contains("the list is empty"));
    }

    #[test]
    fn tags_and_images_must_agree() {
        let mut two = row();
        two["images"] = json!(["a.png", "b.png"]);
        assert_eq!(
            fault(&two, RowRules::sft()),
            "t.jsonl:3: the messages hold 1 <image> tags and the row has 2 images"
        );
        let mut none = row();
        none["images"] = json!([]);
        assert!(fault(&none, RowRules::sft()).contains("has 0 images"));
        let untagged = json!({
            "messages": [
                {"role": "system", "content": "s"}, {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"},
            ],
            "images": ["a.png", "b.png"],
        });
        let found = read(&untagged, RowRules::sft()).unwrap();
        assert_eq!(found.messages[0].content, "s");
        assert_eq!(found.messages[1].content, "<image><image>q");
    }

    #[test]
    fn one_image_may_stand_without_a_list_and_parts_may_bring_theirs() {
        let mut one = row();
        one["images"] = json!("p/a.png");
        assert_eq!(read(&one, RowRules::sft()).unwrap().images.len(), 1);
        let mut inside = row();
        inside["messages"][0]["content"] = json!([
            {"type": "image", "image": "q.png"}, {"type": "text", "text": "?"}
        ]);
        assert!(fault(&inside, RowRules::sft()).contains("use one of the two"));
        inside.as_object_mut().unwrap().remove("images");
        let found = read(&inside, RowRules::sft()).unwrap();
        assert_eq!(found.images, [ImageRef::Path("/d/q.png".into())]);
    }

    #[test]
    fn hostile_lines_get_an_answer() {
        let rules = RowRules {
            max_line_bytes: 1 << 20,
            ..RowRules::sft()
        };
        let text = |line: &str| {
            let row = TrainRow::parse(line.as_bytes(), origin(), &rules, Path::new(""));
            row.unwrap_err().to_string()
        };
        assert!(text("{\"messages\": [").contains("t.jsonl:3: not a JSON object: EOF"));
        assert!(text("[1]").contains("not a JSON object"));
        assert!(text("{\"id\":1,\"id\":2,\"messages\":[]}").contains("\"id\" stands twice"));
        assert!(text(&format!("{{\"x\":{}", "[".repeat(100_000))).contains("recursion"));
        assert!(text("{\"x\": 1e400}").contains("not a JSON object"));
        assert!(text(&" ".repeat((1 << 20) + 1)).contains("longer than 1048576 bytes"));
        assert!(text("{}").contains("field `messages` is missing"));
        assert!(text("{\"messages\": {}}").contains("`messages` must be a list, not an object"));
        let invalid = TrainRow::parse(b"{\"\xff\":1}", origin(), &rules, Path::new(""));
        assert!(
            invalid
                .unwrap_err()
                .to_string()
                .contains("not a JSON object")
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(line in prop::collection::vec(any::<u8>(), 0..300)) {
            for rules in [RowRules::sft(), RowRules::grpo()] {
                let _ = TrainRow::parse(&line, origin(), &rules, Path::new("d"));
            }
        }

        /// A valid row with one byte changed: closer to what damage looks like.
        #[test]
        fn a_damaged_row_never_panics(at in 0usize..200, byte: u8) {
            let mut line = row().to_string().into_bytes();
            let at = at % line.len();
            line[at] = byte;
            let _ = TrainRow::parse(&line, origin(), &RowRules::sft(), Path::new("d"));
        }
    }
}
