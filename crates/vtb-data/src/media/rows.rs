//! Rows that name a picture or a clip to draw.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::table::{RawRow, read_table};
use crate::error::{DataError, Origin, Result, RowFault};
use crate::image_ref::ImageRef;
use crate::row::{kind, take_text};

/// What a training file teaches to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// Pictures: it has the column `image`.
    Image,
    /// Clips: it has the column `video`.
    Video,
}

/// A picture to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct EditRow {
    /// What is asked for; never empty.
    pub prompt: String,
    /// What is to be drawn.
    pub image: ImageRef,
    /// The pictures it starts from, in order; none for a picture from words alone.
    pub edit_images: Vec<ImageRef>,
    /// Every other column, as it stands: `task_type`, `id`, a user's own.
    pub extra: Map<String, Value>,
    /// Where the row stands, for messages.
    pub origin: Origin,
}

impl EditRow {
    /// Its `id` as text; `None` where it has none.
    ///
    /// # Errors
    /// [`DataError::Row`] for an `id` that is neither text nor a number.
    pub fn id(&self) -> Result<Option<String>> {
        id_of(&self.extra, &self.origin)
    }
}

/// A clip to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipRow {
    /// What is asked for; never empty.
    pub prompt: String,
    /// The clip: a file, or a folder of frames.
    pub video: PathBuf,
    /// The picture it starts from, where it is not the clip's first frame.
    pub input_image: Option<ImageRef>,
    /// Every other column, as it stands: `task_type`, `id`, a user's own.
    pub extra: Map<String, Value>,
    /// Where the row stands, for messages.
    pub origin: Origin,
}

impl ClipRow {
    /// Its `id` as text; `None` where it has none.
    ///
    /// # Errors
    /// As [`EditRow::id`].
    pub fn id(&self) -> Result<Option<String>> {
        id_of(&self.extra, &self.origin)
    }
}

/// Reads a file of pictures to draw: `metadata.json`, JSON lines or CSV.
///
/// Columns: `prompt`, `image`, and `edit_image`, which is one picture or a list. Relative paths
/// start at `base`, or at the file's folder. No picture is opened.
///
/// # Errors
/// [`DataError::Io`], [`DataError::Empty`], and [`DataError::Row`] naming line (number of the row in
/// a JSON list) and column.
pub fn read_edit_rows(path: &Path, base: Option<&Path>) -> Result<Vec<EditRow>> {
    let base = start_of(path, base);
    let rows = read_table(path)?.into_iter();
    rows.map(|row| in_row(row, |columns, origin| edit_row(columns, origin, &base)))
        .collect()
}

/// Reads a file of clips to draw: CSV, JSON lines or a JSON list.
///
/// Columns: `prompt`, `video`, and `input_image`. Paths as in [`read_edit_rows`].
///
/// # Errors
/// As [`read_edit_rows`].
pub fn read_clip_rows(path: &Path, base: Option<&Path>) -> Result<Vec<ClipRow>> {
    let base = start_of(path, base);
    let rows = read_table(path)?.into_iter();
    rows.map(|row| in_row(row, |columns, origin| clip_row(columns, origin, &base)))
        .collect()
}

impl MediaKind {
    /// What a file teaches, by the columns of its first row; `None` where it has neither.
    ///
    /// # Errors
    /// As [`read_edit_rows`].
    pub fn of_file(path: &Path) -> Result<Option<Self>> {
        let rows = read_table(path)?;
        let has = |name| {
            rows.first()
                .is_some_and(|(columns, _)| columns.contains_key(name))
        };
        Ok(match (has("video"), has("image")) {
            (true, _) => Some(Self::Video),
            (false, true) => Some(Self::Image),
            (false, false) => None,
        })
    }
}

fn id_of(extra: &Map<String, Value>, origin: &Origin) -> Result<Option<String>> {
    match extra.get("id") {
        Some(Value::String(id)) if !id.is_empty() => Ok(Some(id.clone())),
        Some(Value::Number(id)) => Ok(Some(id.to_string())),
        None | Some(Value::Null) => Ok(None),
        Some(other) => {
            let fault = RowFault::Field {
                field: "id".to_owned(),
                expected: "text or a number",
                found: kind(other),
            };
            let origin = origin.clone();
            Err(DataError::Row { origin, fault })
        }
    }
}

fn start_of(path: &Path, base: Option<&Path>) -> PathBuf {
    let own = || path.parent().unwrap_or(Path::new("")).to_owned();
    base.map_or_else(own, Path::to_owned)
}

fn in_row<T>(
    (columns, origin): RawRow,
    read: impl FnOnce(Map<String, Value>, Origin) -> std::result::Result<T, RowFault>,
) -> Result<T> {
    let place = origin.clone();
    read(columns, origin).map_err(|fault| DataError::Row {
        origin: place,
        fault,
    })
}

fn edit_row(
    mut columns: Map<String, Value>,
    origin: Origin,
    base: &Path,
) -> std::result::Result<EditRow, RowFault> {
    let prompt = prompt(&mut columns)?;
    let image = take(&mut columns, "image")?;
    let image = ImageRef::parse(&image, base, "image")?;
    let edit_images = match columns.remove("edit_image") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => {
            let parse = |(value, at)| ImageRef::parse(value, base, &format!("edit_image[{at}]"));
            list.iter()
                .zip(0..)
                .map(parse)
                .collect::<std::result::Result<_, _>>()?
        }
        Some(one) => vec![ImageRef::parse(&one, base, "edit_image")?],
    };
    Ok(EditRow {
        prompt,
        image,
        edit_images,
        extra: columns,
        origin,
    })
}

fn clip_row(
    mut columns: Map<String, Value>,
    origin: Origin,
    base: &Path,
) -> std::result::Result<ClipRow, RowFault> {
    let prompt = prompt(&mut columns)?;
    let video = match take(&mut columns, "video")? {
        Value::String(text) if !text.is_empty() => base.join(text),
        other => return Err(expected("video", "the path of a clip", &other)),
    };
    let input_image = match columns.remove("input_image") {
        None | Some(Value::Null) => None,
        Some(one) => Some(ImageRef::parse(&one, base, "input_image")?),
    };
    Ok(ClipRow {
        prompt,
        video,
        input_image,
        extra: columns,
        origin,
    })
}

fn prompt(columns: &mut Map<String, Value>) -> std::result::Result<String, RowFault> {
    let text = take_text(columns, "prompt")?;
    let text = text.ok_or_else(|| RowFault::Missing("prompt".to_owned()))?;
    match text.trim().is_empty() {
        true => Err(expected("prompt", "a text", &Value::from(""))),
        false => Ok(text),
    }
}

fn take(columns: &mut Map<String, Value>, name: &str) -> std::result::Result<Value, RowFault> {
    let value = columns.remove(name).filter(|value| !value.is_null());
    value.ok_or_else(|| RowFault::Missing(name.to_owned()))
}

fn expected(field: &str, expected: &'static str, found: &Value) -> RowFault {
    RowFault::Field {
        field: field.to_owned(),
        expected,
        found: kind(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn the_three_formats_say_the_same() {
        let files = [
            (
                "m.json",
                r#"[{"prompt": "p, \"q\"", "image": "b.png", "edit_image": "a.png", "id": "7"}]"#,
            ),
            (
                "m.jsonl",
                "{\"prompt\": \"p, \\\"q\\\"\", \"image\": \"b.png\", \"edit_image\": [\"a.png\"], \"id\": \"7\"}\n\n",
            ),
            (
                "m.csv",
                "\"prompt\",\"image\",\"edit_image\",\"id\"\n\"p, \"\"q\"\"\",\"b.png\",\"a.png\",\"7\"\n",
            ),
        ];
        for (name, text) in files {
            let (dir, path) = file(name, text.as_bytes());
            let rows = read_edit_rows(&path, None).unwrap();
            assert_eq!(rows.len(), 1, "{name}");
            assert_eq!(rows[0].prompt, "p, \"q\"");
            assert_eq!(rows[0].image, ImageRef::Path(dir.path().join("b.png")));
            assert_eq!(
                rows[0].edit_images,
                [ImageRef::Path(dir.path().join("a.png"))]
            );
            assert_eq!(rows[0].extra["id"], "7");
            assert_eq!(MediaKind::of_file(&path).unwrap(), Some(MediaKind::Image));
        }
    }

    #[test]
    fn clips_start_at_the_base_path() {
        let (_dir, path) = file("v.csv", b"video,prompt,input_image\nc/1.mp4,draw,\n");
        let rows = read_clip_rows(&path, Some(Path::new("/base"))).unwrap();
        assert_eq!(rows[0].video, Path::new("/base/c/1.mp4"));
        assert_eq!(rows[0].input_image, None);
        assert_eq!(MediaKind::of_file(&path).unwrap(), Some(MediaKind::Video));
    }

    #[test]
    fn faults_name_line_and_column() {
        let cases: [(&str, &[u8], &str); 10] = [
            (
                "m.json",
                b"[{\"prompt\": \"p\", \"image\": 3}]",
                "m.json:1: field `image` must be",
            ),
            (
                "m.json",
                b"[{\"prompt\": \"p\"}]",
                "m.json:1: field `image` is missing",
            ),
            (
                "m.json",
                b"[{\"image\": \"a\", \"image\": \"b\"}]",
                "\"image\" stands twice",
            ),
            (
                "m.json",
                b"[{\"prompt\": \"p\"",
                "m.json:1: not a JSON object: a list of rows",
            ),
            ("m.json", b"[]", "it has no rows"),
            (
                "m.jsonl",
                b"{\"image\": \"b.png\"}\n",
                "m.jsonl:1: field `prompt` is missing",
            ),
            ("m.jsonl", b"{\"image\"", "m.jsonl:1: not a JSON object"),
            ("m.csv", b"prompt,image\np\n", "m.csv:2: not a CSV row"),
            ("m.csv", b"prompt,prompt\np,q\n", "\"prompt\" stands twice"),
            ("m.txt", b"x", "must end in .json, .jsonl or .csv"),
        ];
        for (name, text, said) in cases {
            let (_dir, path) = file(name, text);
            let fault = read_edit_rows(&path, None).unwrap_err().to_string();
            assert!(fault.contains(said), "{name}: {fault}");
        }
        let (_dir, path) = file("m.csv", b"prompt,image\n\"p\xff\",b.png\n");
        assert!(
            read_edit_rows(&path, None)
                .unwrap_err()
                .to_string()
                .contains("m.csv:2")
        );
        let (_dir, path) = file("m.csv", b"prompt,video\n ,b.mp4\n");
        let fault = read_clip_rows(&path, None).unwrap_err().to_string();
        assert!(
            fault.contains("m.csv:2: field `prompt` must be a text"),
            "{fault}"
        );
    }
}
