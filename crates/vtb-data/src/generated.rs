//! Rows made from puzzles on the spot, without a file.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use image::RgbImage;
use rayon::prelude::*;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use vtb_puzzle::{Answer, Layer, Puzzle, PuzzleError, Record, find, record_seed};

use crate::dataset::{Fingerprint, RowSource};
use crate::error::{DataError, Origin, Result};
use crate::image_ref::ImageRef;
use crate::lines::hex;
use crate::message::{IMAGE_TAG, Message, Role};
use crate::row::{RowMode, TrainRow};

/// Puzzles drawn between two looks at how many are still missing.
const CHUNK: usize = 256;
/// Puzzles tried for each one wanted, once new scenes get rare.
const TRIES_EACH: usize = 50;

/// Which puzzles to make.
#[derive(Debug, Clone, PartialEq)]
pub struct PuzzleSpec {
    /// Name of the task.
    pub task: String,
    /// Parameters that differ from the task's defaults: an object, or null.
    pub params: Value,
    /// Seed of the whole set. Record `i` depends on it, the task and `i` alone.
    pub seed: u64,
    /// Rows wanted, each of another scene.
    pub count: usize,
}

/// Rows of one task, each of a scene that no other row shows.
///
/// Records are kept; pictures are drawn when a row is asked for, unless
/// [`GeneratedDataset::with_pictures`] drew them ahead.
pub struct GeneratedDataset {
    task: &'static dyn Puzzle,
    mode: RowMode,
    records: Vec<Record>,
    /// One place per record, filled if pictures are kept.
    pictures: Vec<OnceLock<Arc<RgbImage>>>,
    name: Arc<Path>,
    fingerprint: Fingerprint,
}

impl std::fmt::Debug for GeneratedDataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, rows) = (self.name.display(), self.records.len());
        write!(f, "GeneratedDataset({name}, {rows} rows, {:?})", self.mode)
    }
}

impl GeneratedDataset {
    /// Makes the records of `spec`, leaving out every scene in `held_out`.
    ///
    /// The result does not depend on the number of threads. A set made first and handed on as
    /// `held_out` by its [scene hashes](Self::scene_hashes) shares no scene with this one.
    ///
    /// # Errors
    /// An unknown task or parameter; [`DataError::TooFewScenes`] if the task cannot show so many
    /// different scenes; [`DataError::Empty`] if none is wanted.
    pub fn new(spec: &PuzzleSpec, mode: RowMode, held_out: &BTreeSet<String>) -> Result<Self> {
        let fail = |fault: PuzzleError| DataError::Puzzle {
            task: spec.task.clone(),
            reason: fault.to_string(),
        };
        let task = find(&spec.task).map_err(fail)?;
        let name: Arc<Path> = Path::new(&format!("generated {}", spec.task)).into();
        if spec.count == 0 {
            let why = "no row was asked for";
            return Err(DataError::Empty {
                file: name.to_path_buf(),
                why,
            });
        }
        let params = task.resolve_params(&spec.params).map_err(fail)?;
        // Told at once where it can be counted, not after a long search.
        let space = task.scene_space(&params).map_err(fail)?;
        if let Some(found) = space.and_then(|space| usize::try_from(space).ok())
            && found < spec.count
        {
            return Err(too_few(spec, found, 0));
        }
        let records = distinct(task, spec, &params, held_out)?;
        let fingerprint = fingerprint(&records);
        let pictures = records.iter().map(|_| OnceLock::new()).collect();
        Ok(Self {
            task,
            mode,
            records,
            pictures,
            name,
            fingerprint,
        })
    }

    /// Draws every picture now and keeps it: 3 bytes a pixel, for sets that are read many times.
    ///
    /// # Errors
    /// [`DataError::Puzzle`] if a picture cannot be drawn.
    pub fn with_pictures(self) -> Result<Self> {
        (0..self.records.len()).into_par_iter().try_for_each(|i| {
            let picture = self.draw(i)?;
            self.pictures[i].get_or_init(|| picture);
            Ok::<(), DataError>(())
        })?;
        Ok(self)
    }

    /// The records, in the order of the rows.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What this set shows, to keep another set from showing it too.
    pub fn scene_hashes(&self) -> BTreeSet<String> {
        self.records
            .iter()
            .map(|record| record.scene_hash.clone())
            .collect()
    }

    fn draw(&self, index: usize) -> Result<Arc<RgbImage>> {
        if let Some(picture) = self.pictures[index].get() {
            return Ok(Arc::clone(picture));
        }
        let record = &self.records[index];
        let picture = self.task.draw(record, Layer::Puzzle);
        picture.map(Arc::new).map_err(|fault| DataError::Puzzle {
            task: record.task.clone(),
            reason: fault.to_string(),
        })
    }
}

impl RowSource for GeneratedDataset {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn row(&self, index: usize) -> Result<TrainRow> {
        let record = self
            .records
            .get(index)
            .ok_or_else(|| DataError::NoSuchRow {
                file: self.name.display().to_string(),
                index,
                len: self.records.len(),
            })?;
        let picture = ImageRef::Pixels(self.draw(index)?);
        let origin = Origin {
            file: Arc::clone(&self.name),
            line: index as u64 + 1,
        };
        Ok(puzzle_row(record, picture, self.mode, origin))
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }
}

/// A record as a training row: the text prompt behind the picture and, for supervision, the
/// shortest text that answers it.
pub fn puzzle_row(record: &Record, picture: ImageRef, mode: RowMode, origin: Origin) -> TrainRow {
    let question = format!("{IMAGE_TAG}{}", record.prompts.text);
    let mut messages = vec![Message::new(Role::User, question)];
    if mode == RowMode::Sft {
        messages.push(Message::new(Role::Assistant, record.gold_text()));
    }
    let mut extra = Map::new();
    if !record.options.is_empty() {
        extra.insert("options".to_owned(), Value::from(record.options.clone()));
        extra.insert(
            "options_listed".to_owned(),
            Value::from(record.options_listed),
        );
    }
    extra.insert(
        "scene_hash".to_owned(),
        Value::from(record.scene_hash.clone()),
    );
    if let Some(Ok(graph)) = record.graph.as_ref().map(serde_json::to_value) {
        extra.insert("maze".to_owned(), graph);
        if let Ok(rules) = serde_json::to_value(record.path_rules) {
            extra.insert("path_rules".to_owned(), rules);
        }
    }
    let solution = match &record.answer {
        Answer::Choice(option) => Value::from(option.clone()),
        Answer::Path(cells) => Value::from(cells.clone()),
        Answer::Sequence(names) => Value::from(names.clone()),
        Answer::Grid(rows) => rows.iter().map(|row| Value::from(row.clone())).collect(),
    };
    TrainRow {
        messages,
        images: vec![picture],
        videos: Vec::new(),
        solution: Some(solution),
        task_type: Some(record.task.clone()),
        task_group: Some(record.group.as_str().to_owned()),
        id: Some(record.id.clone()),
        extra,
        origin,
    }
}

/// The first `spec.count` records whose scenes are new.
fn distinct(
    task: &'static dyn Puzzle,
    spec: &PuzzleSpec,
    params: &Value,
    held_out: &BTreeSet<String>,
) -> Result<Vec<Record>> {
    let limit = spec.count.saturating_mul(TRIES_EACH).max(CHUNK);
    let make = |index: usize| {
        let seed = record_seed(spec.seed, &spec.task, index as u64);
        task.generate(params, seed)
            .map_err(|fault| DataError::Puzzle {
                task: spec.task.clone(),
                reason: fault.to_string(),
            })
    };
    let (mut records, mut seen) = (Vec::with_capacity(spec.count), BTreeSet::new());
    let mut tried = 0;
    while records.len() < spec.count {
        if tried >= limit {
            return Err(too_few(spec, records.len(), tried));
        }
        let end = (tried + CHUNK).min(limit);
        // Made in parallel, taken in order: which of two equal scenes stays is always the same.
        let chunk: Vec<Result<Record>> = (tried..end).into_par_iter().map(make).collect();
        tried = end;
        for record in chunk {
            let record = record?;
            let wanted = records.len() < spec.count && !held_out.contains(&record.scene_hash);
            if wanted && seen.insert(record.scene_hash.clone()) {
                records.push(record);
            }
        }
    }
    Ok(records)
}

fn too_few(spec: &PuzzleSpec, found: usize, tries: usize) -> DataError {
    DataError::TooFewScenes {
        task: spec.task.clone(),
        found,
        wanted: spec.count,
        tries,
    }
}

/// Ids hash task, version, parameters and seed, from which all of a record follows.
fn fingerprint(records: &[Record]) -> Fingerprint {
    let mut hash = Sha256::new();
    let mut bytes = 0;
    for record in records {
        hash.update(record.id.as_bytes());
        hash.update(record.scene_hash.as_bytes());
        bytes += (record.id.len() + record.scene_hash.len()) as u64;
    }
    Fingerprint {
        sha256: hex(&hash.finalize()),
        bytes,
        rows: records.len() as u64,
    }
}
