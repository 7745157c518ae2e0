//! Trees of `<task>/data.json`, as the Python projects write them.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use vtb_puzzle::{Answer, Prompts, TaskGroup};

use super::line::invalid;
use super::upstream_rule::{Board, layers};
use super::{Asset, ForeignRecord, ManifestEntry, VideoAsset, below, fault_at};
use crate::error::{DataError, Result, RowFault};
use crate::row::{kind, unique_object};

const DATA: &str = "data.json";
/// Largest file in bytes; it is held in memory.
const MAX_FILE: u64 = 1 << 30;

type Fields = Map<String, Value>;
type Found<T> = std::result::Result<T, RowFault>;

/// The entries of a tree, and the records that `lenient` left out.
pub(super) fn read_tree(dir: &Path, lenient: bool) -> Result<(Vec<ManifestEntry>, Vec<DataError>)> {
    let (mut entries, mut skipped) = (Vec::new(), Vec::new());
    for (folder, path) in data_files(dir)? {
        let mut ids = HashMap::new();
        let file: Arc<Path> = path.into();
        for (json, number) in records(&file)?.into_iter().zip(1..) {
            let record = ForeignRecord {
                file: Arc::clone(&file),
                number,
                json: json.into(),
            };
            let base = file.parent().unwrap_or(Path::new(""));
            match read_record(record, &folder, base, &mut ids) {
                Ok(entry) => entries.push(entry),
                Err(fault) if lenient => skipped.push(fault),
                Err(fault) => return Err(fault),
            }
        }
    }
    if entries.is_empty() && skipped.is_empty() {
        let file = dir.to_path_buf();
        let why = "its data.json files have no records";
        return Err(DataError::Empty { file, why });
    }
    Ok((entries, skipped))
}

/// Every `data.json` with the name of its folder, sorted.
fn data_files(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let named = |folder: &Path| {
        let name = folder.file_name().unwrap_or_default();
        (name.to_string_lossy().into_owned(), folder.join(DATA))
    };
    if dir.join(DATA).is_file() {
        let whole = dir.canonicalize();
        return Ok(vec![named(whole.as_deref().unwrap_or(dir))]);
    }
    let tasks = dir.join("tasks");
    let root = if tasks.is_dir() { &tasks } else { dir };
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let mut folders = Vec::new();
        for entry in root.read_dir()? {
            folders.push(entry?.path());
        }
        folders.sort();
        Ok(folders)
    };
    let folders = list().map_err(|e| DataError::io(root, "list", e))?;
    let files: Vec<_> = folders.iter().map(|folder| named(folder)).collect();
    let files: Vec<_> = files
        .into_iter()
        .filter(|(_, path)| path.is_file())
        .collect();
    if files.is_empty() {
        let file = root.to_path_buf();
        let why = "none of its folders has a data.json";
        return Err(DataError::Empty { file, why });
    }
    Ok(files)
}

/// The records of a file, unread: most of what they hold is wanted only if one is judged.
fn records(path: &Path) -> Result<Vec<Box<RawValue>>> {
    let fail = |e| DataError::io(path, "read", e);
    let file = File::open(path).map_err(fail)?;
    let mut text = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut text)
        .map_err(fail)?;
    if text.len() as u64 > MAX_FILE {
        let text = format!("it has more than {MAX_FILE} bytes");
        return Err(fail(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            text,
        )));
    }
    serde_json::from_slice(&text).map_err(|fault| {
        let line = fault.line() as u64;
        fault_at(&Arc::from(path), line, RowFault::Json(fault.to_string()))
    })
}

impl ForeignRecord {
    /// The record's fields.
    ///
    /// # Errors
    /// [`DataError::Record`] when it is no object, or holds a key twice.
    pub fn fields(&self) -> Result<Map<String, Value>> {
        let fail = |fault| self.fault("without id", fault);
        match unique_object(self.json.as_bytes()) {
            Ok(fields) => Ok(fields),
            Err(fault) => match serde_json::from_str::<Value>(&self.json) {
                Ok(value) if !value.is_object() => {
                    let found = format!("{} stands where a record should", kind(&value));
                    Err(fail(RowFault::Json(found)))
                }
                _ => Err(fail(fault)),
            },
        }
    }

    /// The error that names this record.
    pub(super) fn fault(&self, id: &str, fault: RowFault) -> DataError {
        DataError::Record {
            file: self.file.to_path_buf(),
            number: self.number,
            id: id.to_owned(),
            fault: Box::new(fault),
        }
    }
}

/// The entry of a record in the folder `base`, whose name may tell the task.
pub(super) fn read_record(
    record: ForeignRecord,
    folder: &str,
    base: &Path,
    ids: &mut HashMap<String, usize>,
) -> Result<ManifestEntry> {
    let fields = record.fields()?;
    let id = match &fields.get("id") {
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => return Err(record.fault("without id", RowFault::Missing("id".to_owned()))),
    };
    let entry = understand(&fields, &id, folder, base).map_err(|fault| record.fault(&id, fault))?;
    if let Some(first) = ids.insert(id.clone(), record.number) {
        let first = first as u64;
        let fault = RowFault::Repeated {
            id: id.clone(),
            first,
        };
        return Err(record.fault(&id, fault));
    }
    Ok(ManifestEntry {
        foreign: Some(Box::new(record)),
        ..entry
    })
}

fn understand(fields: &Fields, id: &str, folder: &str, base: &Path) -> Found<ManifestEntry> {
    let (group, answer, options) = answer(fields)?;
    let asset = |field| -> Found<Option<Asset>> {
        let Some(path) = text(fields, field)? else {
            return Ok(None);
        };
        let path = below(base, path, field)?;
        Ok(Some(Asset { path, sha256: None }))
    };
    let puzzle = asset("image")?.ok_or_else(|| RowFault::Missing("image".to_owned()))?;
    let solution = asset("solution_image_path")?;
    // Older records do not name their clip.
    let beside = || solution.as_ref().and_then(clip_beside);
    let video = asset("solution_video_path")?.or_else(beside);
    let video = video.map(|file| VideoAsset {
        file,
        fps: fields.get("video_fps").and_then(Value::as_f64),
        frames: fields.get("video_num_frames").and_then(Value::as_u64),
    });
    Ok(ManifestEntry {
        id: id.to_owned(),
        task: text(fields, "task_type")?.unwrap_or(folder).to_owned(),
        group,
        split: text(fields, "split")?.map(str::to_owned),
        prompts: prompts(fields)?,
        answer,
        options,
        reasoning: asset("reasoning_image")?.filter(|other| *other != puzzle),
        puzzle,
        solution,
        video,
        record: None,
        foreign: None,
    })
}

/// The clip that lies beside the solution and has its name.
fn clip_beside(solution: &Asset) -> Option<Asset> {
    let named = |end| solution.path.with_extension(end);
    let mut places = ["mp4", "webm"].into_iter().map(named);
    let path = places.find(|path| path.is_file())?;
    Some(Asset { path, sha256: None })
}

/// Text, where there is any.
fn text<'a>(fields: &'a Fields, field: &str) -> Found<Option<&'a str>> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(RowFault::Field {
            field: field.to_owned(),
            expected: "text",
            found: kind(other),
        }),
    }
}

/// One prompt for every kind of answer in the newer records, one or two for all in the older.
fn prompts(fields: &Fields) -> Found<Prompts> {
    let first = |names: &[&str]| -> Found<String> {
        for name in names {
            if let Some(found) = text(fields, name)? {
                return Ok(found.to_owned());
            }
        }
        Ok(String::new())
    };
    Ok(Prompts {
        text: first(&["ti2t_prompt", "gpt5_prompt", "prompt"])?,
        image: first(&["ti2i_prompt", "prompt"])?,
        text_image: first(&["ti2ti_prompt"])?,
        video: first(&["ti2v_prompt", "prompt"])?,
    })
}

/// Family, right answer and options; which of the fields is there tells the family.
fn answer(fields: &Fields) -> Found<(TaskGroup, Answer, Vec<String>)> {
    let given = |field| fields.get(field).filter(|value| !value.is_null());
    let (group, answer, options) = if let Some(label) = text(fields, "correct_option")? {
        let labels = labels(fields)?;
        let answer = one_of("correct_option", label, &labels)?;
        (TaskGroup::Eyeballing, answer, labels)
    } else if let Some(cells) = given("solution_path_cell_ids") {
        (TaskGroup::Maze, path(cells)?, Vec::new())
    } else if let Some(count) = given("circle_count").and_then(Value::as_u64) {
        let count = Answer::Choice(count.to_string());
        (TaskGroup::Visual, count, Vec::new())
    } else if given("rectangles").is_some() {
        let (order, names) = layers(fields)?;
        (TaskGroup::Visual, Answer::Sequence(order), names)
    } else if given("colored_cells").is_some() {
        let (answer, colors) = Board::read(fields)?.answer()?;
        (TaskGroup::Visual, answer, colors)
    } else if let Some(value) = given("answer") {
        let options = list("options", given("options"))?;
        let answer = match value {
            Value::String(text) => one_of("answer", text, &options)?,
            Value::Number(number) => Answer::Choice(number.to_string()),
            other => serde_json::from_value(other.clone())
                .map_err(|_| invalid("answer", format!("{} is no answer", kind(other))))?,
        };
        (TaskGroup::VisualPuzzle, answer, options)
    } else if let Some(sentence) = text(fields, "ti2t_answer")? {
        (TaskGroup::VisualPuzzle, bare(sentence)?, Vec::new())
    } else {
        let reason = "is missing, and so are `solution_path_cell_ids`, `answer` and `ti2t_answer`";
        return Err(invalid("correct_option", reason.to_owned()));
    };
    let group = match given("task_group") {
        None => group,
        Some(name) => serde_json::from_value(name.clone())
            .map_err(|_| invalid("task_group", format!("there is no group {}", kind(name))))?,
    };
    Ok((group, answer, options))
}

/// The options of an eyeballing record: the labels of its candidates, sorted, or `options`.
fn labels(fields: &Fields) -> Found<Vec<String>> {
    let Some(Value::Array(candidates)) = fields.get("candidates") else {
        return list("options", fields.get("options"));
    };
    let label = |candidate: &Value| Some(candidate.get("label")?.as_str()?.to_owned());
    let labels: Option<Vec<String>> = candidates.iter().map(label).collect();
    let mut labels =
        labels.ok_or_else(|| invalid("candidates", "a candidate has no label".to_owned()))?;
    labels.sort();
    Ok(labels)
}

fn list(field: &str, value: Option<&Value>) -> Found<Vec<String>> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let item = |item: &Value| match item {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let items = value.as_array().map(|items| items.iter().map(item));
    items
        .and_then(Iterator::collect)
        .ok_or_else(|| RowFault::Field {
            field: field.to_owned(),
            expected: "a list of texts",
            found: kind(value),
        })
}

/// The option that is meant, in the options' own spelling.
fn one_of(field: &str, answer: &str, options: &[String]) -> Found<Answer> {
    let answer = answer.trim();
    if answer.is_empty() {
        return Err(invalid(field, "the answer is empty".to_owned()));
    }
    if options.is_empty() {
        return Ok(Answer::Choice(answer.to_owned()));
    }
    let found = options.iter().find(|o| o.eq_ignore_ascii_case(answer));
    let found = found.ok_or_else(|| {
        let known = options.join(", ");
        invalid(field, format!("{answer:?} is none of the options {known}"))
    })?;
    Ok(Answer::Choice(found.clone()))
}

fn path(cells: &Value) -> Found<Answer> {
    match serde_json::from_value::<Vec<u32>>(cells.clone()) {
        Ok(cells) if !cells.is_empty() => Ok(Answer::Path(cells)),
        _ => Err(RowFault::Field {
            field: "solution_path_cell_ids".to_owned(),
            expected: "a list of cell numbers",
            found: kind(cells),
        }),
    }
}

/// The answer in `Answer: Red.`
fn bare(sentence: &str) -> Found<Answer> {
    let text = sentence.trim();
    let text = match text.split_once(':') {
        Some((lead, rest)) if lead.trim().eq_ignore_ascii_case("answer") => rest,
        _ => text,
    };
    let text = text.trim();
    one_of("ti2t_answer", text.strip_suffix('.').unwrap_or(text), &[])
}
