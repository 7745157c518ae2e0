//! Samples from Parquet files: the benchmark's, and our own.
//!
//! Read are columns of text, truth and whole numbers, pictures as bytes or as groups of `bytes` and
//! `path`, and lists of these. A picture that has a path and no bytes is an error: rows are whole
//! or nothing. Pages are checked before they are unpacked, see [`super::pages`].

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use vtb_puzzle::{Answer, Prompts, Record, find};

use super::super::sample::{Picture, Sample};
use super::super::select::TEXT_CENTRIC;
use super::columns::{Cell, Cells, Column, is_readable};
use super::pages::check_pages;
use crate::error::{DataError, Result, RowFault};

/// Samples, and bytes of their pictures, that are handed out together.
const CHUNK: usize = 64;
const CHUNK_BYTES: usize = 64 << 20;
/// Largest table of contents in bytes.
const MAX_FOOTER: u32 = 64 << 20;

/// Columns that are read, by the name of what they hold; the first that is there counts.
const NAMES: [(&str, &[&str]); 13] = [
    ("id", &["id"]),
    ("task", &["task_type", "task"]),
    ("group", &["task_group"]),
    ("split", &["split"]),
    ("text", &["prompt", "question"]),
    ("image_prompt", &["image_prompt", "prompt"]),
    ("video_prompt", &["video_prompt", "prompt"]),
    ("answer", &["solution", "answer"]),
    ("options", &["options"]),
    ("record", &["record"]),
    ("images", &["images", "image"]),
    ("puzzle", &["puzzle_image"]),
    ("solution_image", &["solution_image"]),
];

/// Hands the samples of a file to `take`, some at a time.
///
/// # Errors
/// [`DataError::Io`], [`DataError::Parquet`] for a file that is damaged or exceeds a limit, and
/// whatever `take` says. Rows that cannot be used are handed out as errors.
pub(in super::super) fn read_samples(
    path: &Path,
    take: &mut dyn FnMut(Vec<Result<Sample>>) -> Result<()>,
) -> Result<()> {
    let file: Arc<Path> = path.into();
    let mut rows = Rows::open(&file)?;
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    loop {
        // The decoders are not ours, and a file is what somebody made it: should one of them
        // panic, it is the file that is at fault, not the program.
        let next = catch_unwind(AssertUnwindSafe(|| rows.next()));
        let panicked = || Err(rows_fault(&file, "a decoder failed on it; it is damaged"));
        let Some(row) = next.unwrap_or_else(|_| panicked())? else {
            break;
        };
        let sample = rows.sample(row);
        if let Ok(sample) = &sample {
            let pictures = [&sample.puzzle, &sample.reasoning, &sample.solution];
            let size = |picture: &Picture| match picture {
                Picture::Bytes(bytes) => bytes.len(),
                Picture::File(_) => 0,
            };
            bytes += pictures.into_iter().flatten().map(size).sum::<usize>();
        }
        chunk.push(sample);
        if chunk.len() >= CHUNK || bytes >= CHUNK_BYTES {
            take(std::mem::take(&mut chunk))?;
            bytes = 0;
        }
    }
    match chunk.is_empty() {
        true => Ok(()),
        false => take(chunk),
    }
}

fn rows_fault(file: &Path, reason: impl Into<String>) -> DataError {
    DataError::Parquet {
        file: file.to_owned(),
        reason: reason.into(),
    }
}

/// A row: what each name holds. Pictures by their bytes alone.
type Row = HashMap<&'static str, Cells>;

struct Rows {
    file: Arc<Path>,
    reader: SerializedFileReader<File>,
    raw: File,
    /// Name and number of each column that is read.
    columns: Vec<(&'static str, usize)>,
    /// The next row group, and what is open of the one before.
    group: usize,
    open: Vec<(&'static str, Column)>,
    left: i64,
    number: usize,
}

impl Rows {
    fn open(path: &Arc<Path>) -> Result<Self> {
        let io = |action| move |e| DataError::io(path, action, e);
        let mut raw = File::open(path).map_err(io("open"))?;
        if !raw.metadata().map_err(io("open"))?.is_file() {
            return Err(rows_fault(path, "it is no file"));
        }
        check_footer(&mut raw).map_err(|reason| rows_fault(path, reason))?;
        let again = raw.try_clone().map_err(io("open"))?;
        let opened = catch_unwind(AssertUnwindSafe(|| SerializedFileReader::new(again)));
        let reader = match opened {
            Ok(Ok(reader)) => reader,
            Ok(Err(fault)) => return Err(rows_fault(path, fault.to_string())),
            Err(_) => return Err(rows_fault(path, "its table of contents is damaged")),
        };
        let columns = columns(&reader).map_err(|reason| rows_fault(path, reason))?;
        Ok(Self {
            file: Arc::clone(path),
            reader,
            raw,
            columns,
            group: 0,
            open: Vec::new(),
            left: 0,
            number: 0,
        })
    }

    fn next(&mut self) -> Result<Option<Row>> {
        while self.left == 0 {
            if self.group == self.reader.num_row_groups() {
                return Ok(None);
            }
            self.begin()
                .map_err(|reason| rows_fault(&self.file, reason))?;
        }
        self.left -= 1;
        self.number += 1;
        let mut row = Row::new();
        for (name, column) in &mut self.open {
            let cells = column.next();
            let cells = cells.map_err(|fault| {
                let number = self.number;
                rows_fault(
                    &self.file,
                    format!("row {number}, column `{name}`: {fault}"),
                )
            })?;
            row.insert(name, cells);
        }
        Ok(Some(row))
    }

    fn begin(&mut self) -> std::result::Result<(), String> {
        let group = self
            .reader
            .get_row_group(self.group)
            .map_err(|e| e.to_string())?;
        let numbers: Vec<usize> = self.columns.iter().map(|(_, at)| *at).collect();
        check_pages(&mut self.raw, group.metadata(), &numbers)?;
        let group: &dyn RowGroupReader = &*group;
        let open = self
            .columns
            .iter()
            .map(|(name, at)| Ok((*name, Column::open(group, *at)?)));
        let open: parquet::errors::Result<Vec<_>> = open.collect();
        self.open = open.map_err(|e| e.to_string())?;
        self.left = group.metadata().num_rows();
        self.group += 1;
        Ok(())
    }

    /// The sample of the row that was read last.
    fn sample(&self, row: Row) -> Result<Sample> {
        let fault = |id: &str, fault: RowFault| DataError::Record {
            file: self.file.to_path_buf(),
            number: self.number,
            id: id.to_owned(),
            fault: Box::new(fault),
        };
        let id = text(&row, "id").map_err(|reason| fault("without id", reason))?;
        let id = id.ok_or_else(|| fault("without id", RowFault::Missing("id".to_owned())))?;
        read_row(&row, &id, &self.file, self.number).map_err(|reason| fault(&id, reason))
    }
}

/// Refuses a table of contents that would take more memory than it may.
fn check_footer(file: &mut File) -> std::result::Result<(), String> {
    let mut end = [0; 8];
    file.seek(SeekFrom::End(-8))
        .and_then(|_| file.read_exact(&mut end))
        .map_err(|_| "this is no Parquet file: it is too short".to_owned())?;
    let [a, b, c, d, magic @ ..] = end;
    if &magic != b"PAR1" {
        return Err("this is no Parquet file, or it is cut off".to_owned());
    }
    let length = u32::from_le_bytes([a, b, c, d]);
    match length <= MAX_FOOTER {
        true => Ok(()),
        false => Err(format!(
            "its table of contents claims {length} bytes and {MAX_FOOTER} are allowed"
        )),
    }
}

fn columns(
    reader: &SerializedFileReader<File>,
) -> std::result::Result<Vec<(&'static str, usize)>, String> {
    let schema = reader.metadata().file_metadata().schema_descr();
    let mut found = Vec::new();
    for (name, spellings) in NAMES {
        let mut candidates = spellings.iter().flat_map(|spelling| {
            let of = move |at: &usize| schema.get_column_root(*at).name() == *spelling;
            // Of a picture the bytes.
            let wanted = |at: &usize| schema.column(*at).name() != "path";
            (0..schema.num_columns()).filter(of).filter(wanted)
        });
        let Some(at) = candidates.next() else {
            continue;
        };
        if !is_readable(&schema.column(at)) {
            let column = schema.column(at);
            return Err(format!(
                "column `{}` is of type {} and lists {} deep, which is not read here",
                column.path().string(),
                column.physical_type(),
                column.max_rep_level()
            ));
        }
        found.push((name, at));
    }
    for needed in ["id", "task"] {
        if !found.iter().any(|(name, _)| *name == needed) {
            return Err(format!("it has no column `{needed}`"));
        }
    }
    Ok(found)
}

type Found<T> = std::result::Result<T, RowFault>;

fn invalid(field: &str, reason: impl Into<String>) -> RowFault {
    RowFault::Invalid {
        field: field.to_owned(),
        reason: reason.into(),
    }
}

/// The text of a cell.
fn texts(row: &Row, name: &str) -> Found<Vec<String>> {
    let cells = row.get(name).into_iter().flatten().flatten();
    let text = |cell: &Cell| match cell {
        Cell::Bytes(bytes) => String::from_utf8(bytes.data().to_vec())
            .map_err(|_| invalid(name, "the text is not UTF-8")),
        Cell::Bool(on) => Ok(on.to_string()),
    };
    cells.map(text).collect()
}

fn text(row: &Row, name: &str) -> Found<Option<String>> {
    let mut found = texts(row, name)?;
    match found.len() {
        0 => Ok(None),
        1 => Ok(found.pop().filter(|text| !text.is_empty())),
        more => Err(invalid(
            name,
            format!("it holds {more} values and one is read"),
        )),
    }
}

/// The pictures of a column: an absent group is none, a group without bytes a fault.
fn picture(row: &Row, name: &str) -> Found<Option<Picture>> {
    let cells = row.get(name).map(Vec::as_slice).unwrap_or_default();
    match cells {
        [] | [None] => Ok(None),
        [Some(Cell::Bytes(bytes))] => Ok(Some(Picture::Bytes(bytes.data().into()))),
        [Some(Cell::Bool(_))] => Err(invalid(name, "it holds no picture")),
        more => {
            let more = more.len();
            Err(invalid(
                name,
                format!("it holds {more} pictures and one is read"),
            ))
        }
    }
}

fn read_row(row: &Row, id: &str, file: &Arc<Path>, number: usize) -> Found<Sample> {
    let task = text(row, "task")?.ok_or_else(|| RowFault::Missing("task".to_owned()))?;
    let record = match text(row, "record")? {
        None => None,
        Some(json) => {
            let record: Record = serde_json::from_str(&json)
                .map_err(|fault| invalid("record", fault.to_string()))?;
            if record.id != id || record.task != task {
                return Err(invalid(
                    "record",
                    "it is of another id or task than the row",
                ));
            }
            Some(Box::new(record))
        }
    };
    let answer = match &record {
        Some(record) => Some(record.answer.clone()),
        None => text(row, "answer")?.map(|text| answer(&text)).transpose()?,
    };
    let prompt = |name| -> Found<String> { Ok(text(row, name)?.unwrap_or_default()) };
    let prompts = match &record {
        Some(record) => record.prompts.clone(),
        None => Prompts {
            text: prompt("text")?,
            image: prompt("image_prompt")?,
            text_image: String::new(),
            video: prompt("video_prompt")?,
        },
    };
    let solution = picture(row, "solution_image")?;
    let words = answer.is_some() && solution.is_none();
    let group = match (&record, text(row, "group")?) {
        (Some(record), _) => record.group.as_str().to_owned(),
        (None, Some(group)) => group,
        (None, None) => group_of(&task, words)?,
    };
    let shown = picture(row, "images")?;
    let puzzle = picture(row, "puzzle")?;
    let (puzzle, reasoning) = match puzzle {
        Some(puzzle) => (Some(puzzle), shown),
        None => (shown, None),
    };
    Ok(Sample {
        id: id.to_owned(),
        group,
        split: text(row, "split")?,
        prompts,
        answer,
        options: texts(row, "options")?,
        puzzle,
        reasoning,
        solution,
        video: None,
        record,
        foreign: None,
        file: Arc::clone(file),
        number,
        task,
    })
}

fn answer(text: &str) -> Found<Answer> {
    let bare = text.trim();
    if bare.is_empty() {
        return Err(invalid("answer", "it is empty"));
    }
    // A list that is none of ours is text, as mathematical answers may be.
    let list = bare
        .starts_with('[')
        .then(|| serde_json::from_str(bare).ok());
    Ok(list
        .flatten()
        .unwrap_or_else(|| Answer::Choice(bare.to_owned())))
}

/// The group of a task that the row does not name.
fn group_of(task: &str, words: bool) -> Found<String> {
    if let Ok(known) = find(task) {
        return Ok(known.info().group.as_str().to_owned());
    }
    match words {
        true => Ok(TEXT_CENTRIC.to_owned()),
        false => Err(invalid(
            "task",
            format!("{task:?} is no known task, and the row names no `task_group`"),
        )),
    }
}
