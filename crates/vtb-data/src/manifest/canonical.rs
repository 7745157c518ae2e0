//! `canonical_manifest.jsonl`, as the newer Python project writes it beside its task folders.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::line::invalid;
use super::upstream::read_record;
use super::{ForeignRecord, MAX_LINE, ManifestEntry, below, fault_at};
use crate::error::{DataError, Result, RowFault};
use crate::lines::{Line, Lines};

/// What of a line is read: the rest repeats the record.
#[derive(Deserialize)]
struct Sample<'a> {
    id: String,
    task_type: String,
    #[serde(borrow)]
    extra: Extra<'a>,
}

#[derive(Deserialize)]
struct Extra<'a> {
    #[serde(borrow)]
    raw_record: &'a RawValue,
}

/// The entries of a file, and the lines that `lenient` left out.
pub(super) fn read_lines(
    path: &Arc<Path>,
    lenient: bool,
) -> Result<(Vec<ManifestEntry>, Vec<DataError>)> {
    let io = |action| move |e| DataError::io(path, action, e);
    let file = File::open(path).map_err(io("open"))?;
    let mut lines = Lines::new(file, MAX_LINE);
    let (mut entries, mut skipped) = (Vec::new(), Vec::new());
    // Ids need only be distinct within a task.
    let mut ids: HashMap<String, HashMap<String, usize>> = HashMap::new();
    while let Some(line) = lines.next().map_err(io("read"))? {
        if line.is_blank() {
            continue;
        }
        match read_line(path, &line, &mut ids) {
            Ok(entry) => entries.push(entry),
            Err(fault) if lenient => skipped.push(fault),
            Err(fault) => return Err(fault),
        }
    }
    if entries.is_empty() && skipped.is_empty() {
        let file = path.to_path_buf();
        let why = "it has no rows";
        return Err(DataError::Empty { file, why });
    }
    Ok((entries, skipped))
}

fn read_line(
    path: &Arc<Path>,
    line: &Line,
    ids: &mut HashMap<String, HashMap<String, usize>>,
) -> Result<ManifestEntry> {
    let fail = |fault| fault_at(path, line.number, fault);
    let bytes = line.bytes.as_deref();
    let bytes = bytes.ok_or_else(|| fail(RowFault::TooLong { limit: MAX_LINE }))?;
    let sample: Sample<'_> =
        serde_json::from_slice(bytes).map_err(|fault| fail(RowFault::Json(fault.to_string())))?;
    let root = path.parent().unwrap_or(Path::new(""));
    let base = below(&root.join("tasks"), &sample.task_type, "task_type").map_err(fail)?;
    let record = ForeignRecord {
        file: Arc::clone(path),
        number: usize::try_from(line.number).unwrap_or(usize::MAX),
        json: sample.extra.raw_record.to_owned().into(),
    };
    let known = ids.entry(sample.task_type.clone()).or_default();
    let entry = read_record(record, &sample.task_type, &base, known)?;
    match entry.id == sample.id {
        true => Ok(entry),
        false => Err(fail(invalid(
            "id",
            format!("is {} here and {} in `raw_record`", sample.id, entry.id),
        ))),
    }
}
