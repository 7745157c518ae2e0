//! WebDataset: tar files in which files of one name before the first dot are one sample.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::folder::{Shards, StagedFolder};
use super::out::extension;
use super::question::{Question, Shown, try_ask};
use super::sample::Sample;
use super::{Common, Exporter};
use crate::error::{DataError, Result};

/// Writes a folder of shards.
pub struct TarExport {
    common: Common,
    folder: Option<StagedFolder>,
    limit: u64,
    open: BTreeMap<String, Open>,
}

impl std::fmt::Debug for TarExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TarExport({:?})", self.folder)
    }
}

struct Open {
    shards: Shards,
    writer: Option<tar::Builder<std::fs::File>>,
    bytes: u64,
}

/// The files of a sample.
#[derive(Debug)]
pub struct TarRow {
    split: String,
    files: Vec<(String, Arc<[u8]>)>,
}

impl TarExport {
    /// Writes to the folder `place`, in shards of about `limit` bytes.
    ///
    /// # Errors
    /// [`DataError::Prepare`] if something else is there.
    pub fn new(common: Common, place: &Path, limit: u64) -> Result<Self> {
        let folder = match common.dry {
            true => None,
            false => Some(StagedFolder::create(place)?),
        };
        Ok(Self {
            common,
            folder,
            limit,
            open: BTreeMap::new(),
        })
    }
}

impl Exporter for TarExport {
    type Row = TarRow;

    fn common(&self) -> &Common {
        &self.common
    }

    fn make(&self, sample: &Sample) -> Result<TarRow> {
        // Dots would begin the ending, slashes a folder.
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        };
        let key: String = format!("{}-{}", sample.task, sample.id)
            .chars()
            .map(plain)
            .collect();
        let mut files: Vec<(String, Arc<[u8]>)> = Vec::new();
        let question = try_ask(sample)?;
        let shown = Shown::of(sample, question.as_ref());
        let named = [
            ("image", &shown.question, ""),
            ("image", &shown.puzzle, "puzzle."),
            ("solution_image_path", &sample.solution, "solution."),
        ];
        for (field, picture, end) in named {
            if let Some(picture) = picture {
                let bytes = picture.bytes(&self.common.limits);
                let bytes = bytes.map_err(|fault| sample.invalid(field, fault.to_string()))?;
                let kind = extension(&bytes);
                // `jpg`, `png`: readers decode by these endings.
                files.push((format!("{key}.{end}{kind}"), bytes));
            }
        }
        if let Some(video) = &sample.video {
            let bytes = std::fs::read(&video.file.path);
            let bytes = bytes.map_err(|e| sample.invalid("video", e.to_string()))?;
            files.push((format!("{key}.mp4"), bytes.into()));
        }
        let text = describe(sample, question.as_ref())?.to_string();
        files.push((format!("{key}.json"), text.into_bytes().into()));
        let split = sample.split.clone().unwrap_or_else(|| "train".to_owned());
        Ok(TarRow { split, files })
    }

    fn add(&mut self, row: TarRow) -> Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let open = self.open.entry(row.split.clone()).or_insert_with(|| Open {
            shards: Shards::default(),
            writer: None,
            bytes: 0,
        });
        let io = |e| DataError::io(folder.place(), "write", e);
        // A tar file counts in blocks of 512 bytes, and each file has one in front.
        let size = |bytes: &Arc<[u8]>| 512 + (bytes.len() as u64).next_multiple_of(512);
        let bytes: u64 = row.files.iter().map(|(_, bytes)| size(bytes)).sum();
        if open.writer.is_some() && open.bytes + bytes > self.limit {
            open.close().map_err(io)?;
        }
        let writer = match &mut open.writer {
            Some(writer) => writer,
            none => {
                let name = Shards::working_name(&row.split, open.shards.rows.len());
                let file = std::fs::File::create(folder.path().join(name)).map_err(io)?;
                open.shards.rows.push(0);
                open.bytes = 0;
                none.insert(tar::Builder::new(file))
            }
        };
        for (name, bytes) in &row.files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            // No date: the same samples give the same bytes.
            header.set_mtime(0);
            writer
                .append_data(&mut header, name, &bytes[..])
                .map_err(io)?;
        }
        open.bytes += bytes;
        if let Some(rows) = open.shards.rows.last_mut() {
            *rows += 1;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<PathBuf>> {
        let Some(folder) = self.folder.take() else {
            return Ok(Vec::new());
        };
        let mut files = Vec::new();
        for (split, open) in &mut self.open {
            open.close()
                .map_err(|e| DataError::io(folder.place(), "write", e))?;
            files.extend(open.shards.rename(folder.path(), split, "tar")?);
        }
        folder.finish("webdataset", &files)
    }
}

impl Open {
    fn close(&mut self) -> std::io::Result<()> {
        match self.writer.take() {
            Some(writer) => writer.into_inner()?.sync_all(),
            None => Ok(()),
        }
    }
}

/// All of a sample that is no picture. Every value is text, in JSON where it is none itself, and
/// every key is there: readers take the shape of the first samples for that of all.
fn describe(sample: &Sample, question: Option<&Question>) -> Result<Value> {
    let prompts = &sample.prompts;
    let text = |text: Option<&str>| Value::from(text.unwrap_or_default());
    let mut described = json!({
        "id": sample.id, "task_type": sample.task, "task_group": sample.group,
        "split": text(sample.split.as_deref()),
        "prompt": prompts.text, "image_prompt": prompts.image, "video_prompt": prompts.video,
        "question": text(question.map(|question| question.text.as_str())),
        "solution": question.map(Question::solution).unwrap_or_default(),
    });
    let columns = question.map(Question::columns).unwrap_or_default();
    for name in [
        "options",
        "options_listed",
        "maze",
        "path_rules",
        "scene_hash",
    ] {
        described[name] = match columns.get(name) {
            Some(Value::String(text)) => text.clone().into(),
            other => other.map(Value::to_string).unwrap_or_default().into(),
        };
    }
    let record = sample.record.as_deref().map(serde_json::to_string);
    let record = record.transpose();
    let record = record.map_err(|e| sample.invalid("record", e.to_string()))?;
    described["record"] = record.unwrap_or_default().into();
    Ok(described)
}
