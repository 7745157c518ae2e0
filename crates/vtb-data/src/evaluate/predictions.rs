//! What was predicted: rows of a JSONL file, or a folder with a file or a folder for each id.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::Kind;
use crate::error::{DataError, Origin, Result, RowFault};
use crate::lines::{Line, Lines};
use crate::manifest::{MAX_LINE, below};
use crate::row::{kind as kind_of, unique_object};

/// One attempt at one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// The text itself.
    Text(String),
    /// A file with a text, a picture or a clip, or a folder of frames.
    File(PathBuf),
    /// Nothing came out.
    Nothing,
}

/// The attempts at every record, in the order of `ids`; a record without any has none.
///
/// `root` is where the paths of a JSONL file start; its own folder if `None`.
///
/// # Errors
/// [`DataError::Io`]; [`DataError::Row`] naming line and field, also for an id that is not in
/// `ids`; [`DataError::Empty`] when there is nothing for any of them.
pub(super) fn read_predictions(
    path: &Path,
    root: Option<&Path>,
    kind: Kind,
    ids: &[String],
) -> Result<Vec<Vec<Given>>> {
    let found = match path.is_dir() {
        true => read_folder(path, kind, ids)?,
        false => read_rows(path, root, kind, ids)?,
    };
    match found.iter().all(Vec::is_empty) {
        true => Err(DataError::Empty {
            file: path.to_owned(),
            why: match path.is_dir() {
                true => "it has no file or folder named after an id of the data set",
                false => "it has no rows",
            },
        }),
        false => Ok(found),
    }
}

fn read_rows(
    path: &Path,
    root: Option<&Path>,
    kind: Kind,
    ids: &[String],
) -> Result<Vec<Vec<Given>>> {
    let places: HashMap<&str, usize> = (0..).zip(ids).map(|(at, id)| (id.as_str(), at)).collect();
    let base = root.or(path.parent()).unwrap_or(Path::new(""));
    let origin: Arc<Path> = path.into();
    let file = File::open(path).map_err(|e| DataError::io(path, "open", e))?;
    let mut lines = Lines::new(file, MAX_LINE);
    let mut found = vec![Vec::new(); ids.len()];
    while let Some(line) = lines.next().map_err(|e| DataError::io(path, "read", e))? {
        let Line { number, bytes, .. } = line;
        let fail = |fault| DataError::Row {
            origin: Origin {
                file: Arc::clone(&origin),
                line: number,
            },
            fault,
        };
        let bytes = bytes.ok_or_else(|| fail(RowFault::TooLong { limit: MAX_LINE }))?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let (id, given) = read_row(&bytes, base, kind).map_err(fail)?;
        let at = places.get(id.as_str()).ok_or_else(|| {
            fail(RowFault::Invalid {
                field: "id".to_owned(),
                reason: format!("{id:?} is not in the data set; is it the right one?"),
            })
        })?;
        found[*at].push(given);
    }
    Ok(found)
}

fn read_row(
    bytes: &[u8],
    base: &Path,
    kind: Kind,
) -> std::result::Result<(String, Given), RowFault> {
    let fields = unique_object(bytes)?;
    let id = match fields.get("id") {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        Some(other) => return Err(not_text("id", other)),
        None => return Err(RowFault::Missing("id".to_owned())),
    };
    let name = kind.name();
    let given = match (fields.get(name), kind) {
        (None, _) => return Err(RowFault::Missing(name.to_owned())),
        (Some(Value::Null), _) => Given::Nothing,
        (Some(Value::String(text)), Kind::Text) => Given::Text(text.clone()),
        (Some(Value::String(path)), _) => Given::File(below(base, path, name)?),
        (Some(other), _) => return Err(not_text(name, other)),
    };
    Ok((id, given))
}

fn not_text(field: &str, found: &Value) -> RowFault {
    RowFault::Field {
        field: field.to_owned(),
        expected: "text",
        found: kind_of(found),
    }
}

fn read_folder(root: &Path, kind: Kind, ids: &[String]) -> Result<Vec<Vec<Given>>> {
    let attempts = |id: &String| {
        // An id that is no plain name can have no folder.
        let Ok(place) = below(root, id, "id") else {
            return Ok(Vec::new());
        };
        if !place.is_dir() {
            let files = kind
                .endings()
                .iter()
                .map(|end| root.join(format!("{id}.{end}")));
            return Ok(files
                .filter(|file| file.is_file())
                .take(1)
                .map(Given::File)
                .collect());
        }
        let inside = sorted(&place)?;
        if let Some(file) = choose(&place, &inside, kind) {
            return Ok(vec![Given::File(file)]);
        }
        let mut all = Vec::new();
        for folder in inside.iter().filter(|path| path.is_dir()) {
            all.extend(choose(folder, &sorted(folder)?, kind).map(Given::File));
        }
        Ok(all)
    };
    ids.iter().map(attempts).collect()
}

/// What a folder has, numbers in names by their value.
fn sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let fail = |e| DataError::io(dir, "list", e);
    let entries = std::fs::read_dir(dir).map_err(fail)?;
    let paths: std::io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(fail)?;
    paths.sort_by_cached_key(|path| natural(path));
    Ok(paths)
}

/// Sorts `attempt_10` after `attempt_2`.
fn natural(path: &Path) -> Vec<(String, u64)> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut parts = vec![(String::new(), 0u64)];
    let mut in_number = false;
    for char in name.chars() {
        match char.to_digit(10) {
            Some(digit) => {
                if let Some((_, number)) = parts.last_mut() {
                    *number = number.saturating_mul(10).saturating_add(digit.into());
                }
                in_number = true;
            }
            None => {
                if std::mem::take(&mut in_number) {
                    parts.push((String::new(), 0));
                }
                if let Some((text, _)) = parts.last_mut() {
                    text.push(char);
                }
            }
        }
    }
    parts.push((name, 0));
    parts
}

/// The attempt in a folder: a file of a usual name, else the first of a fitting kind, else the
/// folder itself where it is one of frames.
fn choose(dir: &Path, inside: &[PathBuf], kind: Kind) -> Option<PathBuf> {
    let usual = kind.file_names().iter();
    let mut usual = usual.flat_map(|name| {
        kind.endings()
            .iter()
            .map(move |end| format!("{name}.{end}"))
    });
    if let Some(path) = usual.find_map(|name| Some(dir.join(name)).filter(|path| path.is_file())) {
        return Some(path);
    }
    if kind == Kind::Video && dir.join("timing.json").is_file() {
        return Some(dir.to_owned());
    }
    let fits = |path: &&PathBuf| {
        let end = path.extension().and_then(|end| end.to_str());
        path.is_file()
            && end.is_some_and(|end| kind.endings().contains(&end.to_ascii_lowercase().as_str()))
    };
    inside.iter().find(fits).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_their_numbers() {
        let mut names = ["a10", "a2", "b1", "a", "a2b", "10", "9"].map(PathBuf::from);
        names.sort_by_cached_key(|path| natural(path));
        assert_eq!(
            names,
            ["9", "10", "a", "a2", "a2b", "a10", "b1"].map(PathBuf::from)
        );
    }

    #[test]
    fn rows_are_read_strictly() {
        let read = |text: &str, kind| read_row(text.as_bytes(), Path::new("/p"), kind);
        let text = read(r#"{"id": 7, "text": "B", "more": 1}"#, Kind::Text).unwrap();
        assert_eq!(text, ("7".to_owned(), Given::Text("B".to_owned())));
        let file = read(r#"{"id": "x", "image": "a/b.png"}"#, Kind::Image).unwrap();
        assert_eq!(file.1, Given::File(PathBuf::from("/p/a/b.png")));
        assert_eq!(
            read(r#"{"id": "x", "video": null}"#, Kind::Video)
                .unwrap()
                .1,
            Given::Nothing
        );
        for (row, word) in [
            (r#"{"id": "x", "text": "B"}"#, "`image` is missing"),
            (r#"{"image": "a.png"}"#, "`id` is missing"),
            (r#"{"id": "x", "image": 3}"#, "`image` must be text"),
            (r#"{"id": "x", "image": "../a.png"}"#, "stays below"),
            (r#"{"id": "x", "image": "/etc/a.png"}"#, "stays below"),
            (
                r#"{"id": "x", "id": "y", "image": "a"}"#,
                "not a JSON object",
            ),
            ("[]", "not a JSON object"),
        ] {
            let fault = read(row, Kind::Image).unwrap_err().to_string();
            assert!(fault.contains(word), "{row}: {fault}");
        }
    }
}
