//! A file of rows with named columns: a JSON list, JSON lines or CSV, told apart by the name.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::{DataError, Origin, Result, RowFault};
use crate::lines::Lines;
use crate::row::unique_object;

/// Largest JSON list or CSV file in bytes; both are held whole. JSON lines have no such limit.
pub const MAX_TABLE_BYTES: u64 = 256 << 20;
/// Longest JSON line in bytes.
const MAX_LINE: usize = 32 << 20;

/// One row: its columns and its place.
pub(super) type RawRow = (Map<String, Value>, Origin);

/// Reads all rows, in order.
pub(super) fn read_table(path: &Path) -> Result<Vec<RawRow>> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let rows = match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("csv") => read_csv(path),
        Some("jsonl") => read_lines(path),
        Some("json") => read_list(path),
        _ => {
            let source = std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "its name must end in .json, .jsonl or .csv",
            );
            Err(DataError::io(path, "tell the format of", source))
        }
    }?;
    match rows.is_empty() {
        true => Err(DataError::Empty {
            file: path.to_path_buf(),
            why: "it has no rows",
        }),
        false => Ok(rows),
    }
}

fn origin(file: &Arc<Path>, line: u64) -> Origin {
    Origin {
        file: Arc::clone(file),
        line,
    }
}

fn at(file: &Arc<Path>, line: u64) -> impl FnOnce(RowFault) -> DataError {
    let origin = origin(file, line);
    |fault| DataError::Row { origin, fault }
}

fn read_whole(path: &Path) -> Result<Vec<u8>> {
    let attempt = || {
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        file.take(MAX_TABLE_BYTES + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > MAX_TABLE_BYTES {
            true => Err(std::io::Error::new(
                std::io::ErrorKind::FileTooLarge,
                format!(
                    "it has more than {MAX_TABLE_BYTES} bytes; write it as JSON lines (.jsonl)"
                ),
            )),
            false => Ok(bytes),
        }
    };
    attempt().map_err(|e| DataError::io(path, "read", e))
}

fn read_list(path: &Path) -> Result<Vec<RawRow>> {
    let file: Arc<Path> = path.into();
    let bytes = read_whole(path)?;
    let items: Vec<&RawValue> = serde_json::from_slice(&bytes)
        .map_err(|e| at(&file, e.line() as u64)(RowFault::Json(format!("a list of rows: {e}"))))?;
    let rows = items.iter().zip(1..);
    rows.map(|(item, number)| {
        let columns = unique_object(item.get().as_bytes()).map_err(at(&file, number))?;
        Ok((columns, origin(&file, number)))
    })
    .collect()
}

fn read_lines(path: &Path) -> Result<Vec<RawRow>> {
    let file: Arc<Path> = path.into();
    let opened = File::open(path).map_err(|e| DataError::io(path, "open", e))?;
    let mut lines = Lines::new(opened, MAX_LINE);
    let mut rows = Vec::new();
    while let Some(line) = lines.next().map_err(|e| DataError::io(path, "read", e))? {
        let fault = RowFault::TooLong { limit: MAX_LINE };
        let bytes = line.bytes.ok_or(fault).map_err(at(&file, line.number))?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let columns = unique_object(&bytes).map_err(at(&file, line.number))?;
        rows.push((columns, origin(&file, line.number)));
    }
    Ok(rows)
}

fn read_csv(path: &Path) -> Result<Vec<RawRow>> {
    let file: Arc<Path> = path.into();
    let bytes = read_whole(path)?;
    let fault = |e: csv::Error| {
        let line = e.position().map_or(1, csv::Position::line);
        at(&file, line)(RowFault::Csv(e.to_string()))
    };
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let names = reader.headers().map_err(fault)?.clone();
    for (name, number) in names.iter().zip(0..) {
        if names.iter().take(number).any(|other| other == name) {
            let what = format!("the column {name:?} stands twice");
            return Err(at(&file, 1)(RowFault::Csv(what)));
        }
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(fault)?;
        let line = record.position().map_or(0, csv::Position::line);
        let cells = names.iter().zip(&record);
        // An empty cell is how CSV says that a column is absent.
        let cells = cells.filter(|(_, cell)| !cell.is_empty());
        let columns = cells.map(|(name, cell)| (name.to_owned(), Value::from(cell)));
        rows.push((columns.collect(), origin(&file, line)));
    }
    Ok(rows)
}
