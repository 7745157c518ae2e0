//! One line of `manifest.jsonl`, both ways.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vtb_puzzle::{Answer, Prompts, Record, TaskGroup, canonical_json};

use super::{Asset, ManifestEntry, SCHEMA, VideoAsset, below};
use crate::error::RowFault;
use crate::row::{kind, unique_object};

/// A file of a record; the path starts at the manifest's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileRef {
    pub(crate) path: String,
    pub(crate) sha256: String,
}

/// A clip of a record. Width and height are those of the coded frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VideoRef {
    pub(crate) path: String,
    pub(crate) sha256: String,
    pub(crate) fps: f64,
    pub(crate) frames: u64,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// The files of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssetRefs {
    pub(crate) puzzle: FileRef,
    pub(crate) solution: FileRef,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) video: Option<VideoRef>,
}

impl AssetRefs {
    /// Path and hash of every file.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        let pictures = [&self.puzzle, &self.solution].map(|f| (f.path.as_str(), f.sha256.as_str()));
        let video = self.video.as_ref();
        let video = video.map(|f| (f.path.as_str(), f.sha256.as_str()));
        pictures.into_iter().chain(video)
    }
}

#[derive(Serialize)]
struct LineOut<'a> {
    schema: u64,
    id: &'a str,
    task: &'a str,
    group: TaskGroup,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<&'a str>,
    seed: u64,
    prompts: &'a Prompts,
    answer: &'a Answer,
    assets: &'a AssetRefs,
}

/// The line of a record, without its end.
pub(crate) fn manifest_line(
    record: &Record,
    split: Option<&str>,
    assets: &AssetRefs,
) -> serde_json::Result<String> {
    let mut line = serde_json::to_string(&LineOut {
        schema: SCHEMA,
        id: &record.id,
        task: &record.task,
        group: record.group,
        split,
        seed: record.seed,
        prompts: &record.prompts,
        answer: &record.answer,
        assets,
    })?;
    // Canonical, since free values keep the order of keys or lose it by how the program was built.
    let whole = canonical_json(&serde_json::to_value(record)?);
    // The last field; to read such a text again would take as long as to write it.
    line.pop();
    line.extend([r#","record":"#, &whole, "}"]);
    Ok(line)
}

/// The entry of a line; paths start at `base`.
pub(super) fn read_line(bytes: &[u8], base: &Path) -> Result<ManifestEntry, RowFault> {
    let mut fields = unique_object(bytes)?;
    let schema: u64 = take(&mut fields, "schema")?;
    if schema != SCHEMA {
        let reason = format!("is {schema} and this program reads {SCHEMA}");
        return Err(invalid("schema", reason));
    }
    let record: Record = take(&mut fields, "record")?;
    let assets: AssetRefs = take(&mut fields, "assets")?;
    let split = match fields.remove("split") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name),
        Some(other) => {
            return Err(RowFault::Field {
                field: "split".to_owned(),
                expected: "text",
                found: kind(&other),
            });
        }
    };
    agrees(&mut fields, "id", &record.id)?;
    agrees(&mut fields, "task", &record.task)?;
    agrees(&mut fields, "group", &record.group)?;
    agrees(&mut fields, "seed", &record.seed)?;
    agrees(&mut fields, "prompts", &record.prompts)?;
    agrees(&mut fields, "answer", &record.answer)?;
    if let Some((name, _)) = fields.into_iter().next() {
        return Err(RowFault::Unknown(name));
    }
    let asset = |path: &str, sha256: String, field| {
        Ok(Asset {
            path: below(base, path, field)?,
            sha256: Some(sha256),
        })
    };
    let AssetRefs {
        puzzle,
        solution,
        video,
    } = assets;
    let video = video.map(|clip| {
        Ok(VideoAsset {
            file: asset(&clip.path, clip.sha256, "assets.video.path")?,
            fps: Some(clip.fps),
            frames: Some(clip.frames),
        })
    });
    Ok(ManifestEntry {
        id: record.id.clone(),
        task: record.task.clone(),
        group: record.group,
        split,
        prompts: record.prompts.clone(),
        answer: record.answer.clone(),
        options: record.options.clone(),
        puzzle: asset(&puzzle.path, puzzle.sha256, "assets.puzzle.path")?,
        reasoning: None,
        solution: Some(asset(
            &solution.path,
            solution.sha256,
            "assets.solution.path",
        )?),
        video: video.transpose()?,
        record: Some(Box::new(record)),
        foreign: None,
    })
}

/// A field that must be there, out of its object.
pub(super) fn take<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    field: &str,
) -> Result<T, RowFault> {
    let value = fields
        .remove(field)
        .ok_or_else(|| RowFault::Missing(field.to_owned()))?;
    serde_json::from_value(value).map_err(|fault| invalid(field, fault.to_string()))
}

/// A field that repeats one of the record, so that simple readers need not look into that.
fn agrees<T: DeserializeOwned + PartialEq>(
    fields: &mut Map<String, Value>,
    field: &str,
    own: &T,
) -> Result<(), RowFault> {
    match take::<T>(fields, field)? == *own {
        true => Ok(()),
        false => Err(invalid(
            field,
            "differs from the one in `record`".to_owned(),
        )),
    }
}

pub(super) fn invalid(field: &str, reason: String) -> RowFault {
    RowFault::Invalid {
        field: field.to_owned(),
        reason,
    }
}
