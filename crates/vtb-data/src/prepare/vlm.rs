//! `train_sft.jsonl` and `train_grpo.jsonl`: questions with pictures for language models.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::out::Staged;
use super::question::{Question, ask};
use super::sample::Sample;
use super::{Common, Exporter};
use crate::error::{DataError, Result};
use crate::message::IMAGE_TAG;

/// Name of the supervised rows.
pub const TRAIN_SFT: &str = "train_sft.jsonl";
/// Name of the rows for reinforcement.
pub const TRAIN_GRPO: &str = "train_grpo.jsonl";

/// Names and shapes of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// ms-swift: `messages` with [`IMAGE_TAG`], which `train-sft` and `train-grpo` read.
    Swift,
    /// TRL: `prompt` and `completion` in the chat form of Hugging Face.
    Trl,
}

/// Writes both files.
#[derive(Debug)]
pub struct VlmExport {
    common: Common,
    schema: Schema,
    sft: Spool,
    grpo: Spool,
}

/// The two rows of a sample, as lines.
#[derive(Debug)]
pub struct VlmRow {
    task: String,
    sft: String,
    grpo: String,
    ids_unknown: bool,
}

impl VlmExport {
    /// `common.folder` is where the two files go.
    ///
    /// # Errors
    /// [`DataError::Io`] if the folder cannot be written.
    pub fn new(common: Common, schema: Schema) -> Result<Self> {
        let spool = |name| Spool::create(&common, name);
        Ok(Self {
            schema,
            sft: spool(TRAIN_SFT)?,
            grpo: spool(TRAIN_GRPO)?,
            common,
        })
    }
}

impl Exporter for VlmExport {
    type Row = VlmRow;

    fn common(&self) -> &Common {
        &self.common
    }

    fn make(&self, sample: &Sample) -> Result<VlmRow> {
        let question = ask(sample)?;
        let picture = question.picture.as_ref().map(|(field, picture)| {
            let Common { places, limits, .. } = &self.common;
            places.picture(sample, field, picture, limits)
        });
        let images: Vec<String> = picture.transpose()?.into_iter().collect();
        let line = |learn: bool| {
            let row = match self.schema {
                Schema::Swift => swift(&question, &images, learn),
                Schema::Trl => trl(&question, &images, learn),
            };
            named(row, sample, &question).to_string()
        };
        Ok(VlmRow {
            task: sample.task.clone(),
            sft: line(true),
            grpo: line(false),
            ids_unknown: question.ids_unknown,
        })
    }

    fn add(&mut self, row: VlmRow) -> Result<()> {
        self.sft.add(&row.task, &row.sft)?;
        self.grpo.add(&row.task, &row.grpo)
    }

    fn note(row: &VlmRow) -> Option<&'static str> {
        const IDS: &str = "mazes have no picture with printed ids beside that of the puzzle: \
                           their text prompts can be answered only if it shows them";
        row.ids_unknown.then_some(IDS)
    }

    fn finish(self) -> Result<Vec<PathBuf>> {
        // Both are complete before the first takes its place.
        let files = [self.sft.merge()?, self.grpo.merge()?];
        let finish = |file: Staged| file.finish(true);
        files.into_iter().map(finish).collect()
    }
}

fn swift(question: &Question, images: &[String], learn: bool) -> Map<String, Value> {
    let tags = IMAGE_TAG.repeat(images.len());
    let asked = json!({"role": "user", "content": format!("{tags}{}", question.text)});
    let answered = json!({"role": "assistant", "content": question.gold()});
    let messages = if learn {
        vec![asked, answered]
    } else {
        vec![asked]
    };
    object([("messages", messages.into()), ("images", images.into())])
}

fn trl(question: &Question, images: &[String], learn: bool) -> Map<String, Value> {
    let text = |text: &str| json!({"type": "text", "text": text});
    let mut parts: Vec<Value> = images.iter().map(|_| json!({"type": "image"})).collect();
    parts.push(text(&question.text));
    let mut row = object([
        ("prompt", json!([{"role": "user", "content": parts}])),
        ("images", images.into()),
    ]);
    if learn {
        let answer = json!([{"role": "assistant", "content": [text(&question.gold())]}]);
        row.insert("completion".to_owned(), answer);
    }
    row
}

/// Adds what rewards, logs and checks for leakage read.
fn named(mut row: Map<String, Value>, sample: &Sample, question: &Question) -> Value {
    row.insert("solution".to_owned(), question.solution().into());
    row.extend(question.columns());
    let names = [
        ("task_type", Some(&sample.task)),
        ("task_group", Some(&sample.group)),
        ("id", Some(&sample.id)),
        ("split", sample.split.as_ref()),
    ];
    for (name, value) in names {
        if let Some(value) = value {
            row.insert(name.to_owned(), value.clone().into());
        }
    }
    row.into()
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    let named = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    named.collect()
}

/// Lines of a file in the order they come, to be written in turns of tasks.
///
/// Readers that guess the type of a column from the first megabytes (`datasets`) then see every
/// column there is, and a reader that does not shuffle sees a mixture.
#[derive(Debug)]
struct Spool {
    place: PathBuf,
    file: Option<std::fs::File>,
    end: u64,
    lines: BTreeMap<String, Vec<(u64, usize)>>,
}

impl Spool {
    fn create(common: &Common, name: &str) -> Result<Self> {
        let place = common.folder.join(name);
        let file = match common.dry {
            true => None,
            false => Some(anonymous(&place)?),
        };
        Ok(Self {
            place,
            file,
            end: 0,
            lines: BTreeMap::new(),
        })
    }

    fn add(&mut self, task: &str, line: &str) -> Result<()> {
        if let Some(file) = &mut self.file {
            let written = file.write_all(line.as_bytes());
            written.map_err(|e| DataError::io(&self.place, "write", e))?;
        }
        let slot = (self.end, line.len());
        self.end += line.len() as u64;
        match self.lines.get_mut(task) {
            Some(lines) => lines.push(slot),
            None => {
                self.lines.insert(task.to_owned(), vec![slot]);
            }
        }
        Ok(())
    }

    fn merge(self) -> Result<Staged> {
        let mut out = Staged::create(&self.place)?;
        let Some(mut file) = self.file else {
            return Ok(out);
        };
        let mut tasks: Vec<_> = self.lines.values().map(|lines| lines.iter()).collect();
        let mut line = Vec::new();
        while !tasks.is_empty() {
            let mut left = Vec::with_capacity(tasks.len());
            for mut slots in tasks {
                let Some((offset, len)) = slots.next() else {
                    continue;
                };
                line.resize(*len, 0);
                file.seek(SeekFrom::Start(*offset))
                    .and_then(|_| file.read_exact(&mut line))
                    .map_err(|e| DataError::io(&self.place, "read back", e))?;
                line.push(b'\n');
                out.add(&line)?;
                left.push(slots);
            }
            tasks = left;
        }
        Ok(out)
    }
}

/// A file beside `place` that is gone when it is closed.
fn anonymous(place: &Path) -> Result<std::fs::File> {
    let io = |e| DataError::io(place, "write", e);
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.lines.tmp", std::process::id()));
    let beside = place.with_file_name(name);
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    let file = options.open(&beside).map_err(io)?;
    std::fs::remove_file(&beside).map_err(io)?;
    Ok(file)
}
