//! The manifest of a data set: every record with its pictures and clips, whoever generated them.
//!
//! [`Manifest::open`] reads `manifest.jsonl`, which [`generate`](crate::generate) writes;
//! [`Manifest::open_upstream`] a tree of `<task>/data.json` files that the Python projects write.
//! Both give [`ManifestEntry`]s, and answers to both can be judged
//! ([`ManifestEntry::picture_judge`]).
//!
//! Invariant: every asset lies below the manifest's folder, and every fault names file, line or
//! record, and field.

mod canonical;
mod entry;
mod judge;
mod line;
mod upstream;
mod upstream_rule;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use vtb_puzzle::PictureJudge;

use crate::error::{DataError, Origin, Result, RowFault};
use crate::lines::{Line, Lines};

pub(crate) use entry::hash_file;
pub use entry::{Asset, ForeignRecord, ManifestEntry, VideoAsset};
pub(crate) use line::{AssetRefs, FileRef, VideoRef, manifest_line};

/// Name of the manifest in the folder of a data set.
pub const MANIFEST: &str = "manifest.jsonl";
/// Name of the newer Python project's manifest.
pub const CANONICAL: &str = "canonical_manifest.jsonl";
/// Version of the manifest's lines that is written and read.
pub const SCHEMA: u64 = 1;
/// Longest line in bytes.
pub(crate) const MAX_LINE: usize = 32 << 20;

/// Where a line of the manifest lies.
#[derive(Debug, Clone, Copy)]
struct Slot {
    offset: u64,
    len: usize,
    line: u64,
}

#[derive(Debug)]
enum Entries {
    /// In the file, parsed when asked for.
    Lines { file: Mutex<File>, slots: Vec<Slot> },
    /// In memory.
    Whole(Vec<ManifestEntry>),
}

/// An open data set.
#[derive(Debug)]
pub struct Manifest {
    path: Arc<Path>,
    entries: Entries,
    skipped: Vec<DataError>,
}

impl Manifest {
    /// Opens a manifest, given its file or the folder it lies in.
    ///
    /// Every line is read and checked once, also against the record in it; entries stay in the
    /// file and are parsed when asked for. Pictures and clips are looked at only by [`Asset`].
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Row`] naming line and field; [`DataError::Empty`].
    pub fn open(dir_or_file: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(dir_or_file, false)
    }

    /// As [`Manifest::open`]. `lenient` leaves out lines that cannot be read, see
    /// [`Manifest::skipped`]; without it the first is an error.
    ///
    /// # Errors
    /// As [`Manifest::open`].
    pub fn open_with(dir_or_file: impl AsRef<Path>, lenient: bool) -> Result<Self> {
        let given = dir_or_file.as_ref();
        let path: Arc<Path> = match given.is_dir() {
            true => given.join(MANIFEST).into(),
            false => given.into(),
        };
        let file = File::open(&path).map_err(|e| DataError::io(&path, "open", e))?;
        let (slots, skipped) = scan(&path, &file, lenient)?;
        if slots.is_empty() && skipped.is_empty() {
            let file = path.to_path_buf();
            let why = "it has no rows";
            return Err(DataError::Empty { file, why });
        }
        let file = Mutex::new(file);
        Ok(Self {
            path,
            entries: Entries::Lines { file, slots },
            skipped,
        })
    }

    /// Reads the `canonical_manifest.jsonl` of the newer Python project, given its file or the
    /// folder it lies in.
    ///
    /// The paths that it names are those of the machine that wrote it. They are not followed: each
    /// line holds the whole record, whose own paths start at the folder of its task
    /// (`tasks/TASK` beside the file).
    ///
    /// # Errors
    /// As [`Manifest::open`]; `lenient` as in [`Manifest::open_with`].
    pub fn open_canonical(dir_or_file: impl AsRef<Path>, lenient: bool) -> Result<Self> {
        let given = dir_or_file.as_ref();
        let path: Arc<Path> = match given.is_dir() {
            true => given.join(CANONICAL).into(),
            false => given.into(),
        };
        let (entries, skipped) = canonical::read_lines(&path, lenient)?;
        Ok(Self {
            path,
            entries: Entries::Whole(entries),
            skipped,
        })
    }

    /// Reads a tree of the Python projects: `data.json` in `dir`, or one in each of its folders
    /// or of those in `dir/tasks`. Folders below one that has a `data.json` are not searched, so
    /// what workers left there is not read twice.
    ///
    /// An entry has what can be told of every task: id, task (from the record, or from the
    /// folder), prompts, answer, pictures. The rest stays in [`ManifestEntry::foreign`]. `lenient`
    /// leaves out records that lack one of them, see [`Manifest::skipped`]; without it the first
    /// is an error.
    ///
    /// Boards to be mirrored have no answer in words: theirs is the right half as rows of numbers,
    /// 0 for an empty cell, else the place of its colour in [`ManifestEntry::options`], counted
    /// from 1.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Record`] naming record and field; [`DataError::Row`] for a
    /// file that is not a JSON list; [`DataError::Empty`].
    pub fn open_upstream(dir: impl AsRef<Path>, lenient: bool) -> Result<Self> {
        let dir = dir.as_ref();
        let (entries, skipped) = upstream::read_tree(dir, lenient)?;
        Ok(Self {
            path: dir.into(),
            entries: Entries::Whole(entries),
            skipped,
        })
    }

    /// The manifest file, or the folder of a tree.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that every asset lies below.
    pub fn root(&self) -> &Path {
        match self.path.is_dir() {
            true => &self.path,
            false => self.path.parent().unwrap_or(Path::new("")),
        }
    }

    /// Entries there are.
    pub fn len(&self) -> usize {
        match &self.entries {
            Entries::Lines { slots, .. } => slots.len(),
            Entries::Whole(entries) => entries.len(),
        }
    }

    /// Whether there are none, which only a lenient reading of a tree allows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Records that a lenient reading left out, and why.
    pub fn skipped(&self) -> &[DataError] {
        &self.skipped
    }

    /// Entry `index`, counted from 0.
    ///
    /// # Errors
    /// [`DataError::NoSuchRow`]; [`DataError::Io`] and [`DataError::Row`] if the file was changed
    /// since it was opened.
    pub fn entry(&self, index: usize) -> Result<ManifestEntry> {
        let missing = || DataError::NoSuchRow {
            file: self.path.display().to_string(),
            index,
            len: self.len(),
        };
        match &self.entries {
            Entries::Whole(entries) => entries.get(index).cloned().ok_or_else(missing),
            Entries::Lines { file, slots } => {
                let slot = *slots.get(index).ok_or_else(missing)?;
                let bytes = read(file, slot).map_err(|e| DataError::io(&self.path, "read", e))?;
                parse(&self.path, slot.line, &bytes)
            }
        }
    }

    /// The judge of edited pictures of entry `index`; see [`ManifestEntry::picture_judge`].
    ///
    /// # Errors
    /// As [`Manifest::entry`] and [`ManifestEntry::picture_judge`].
    pub fn picture_judge(&self, index: usize) -> Result<PictureJudge> {
        self.entry(index)?.picture_judge()
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<ManifestEntry>> + '_ {
        (0..self.len()).map(|index| self.entry(index))
    }
}

fn read(file: &Mutex<File>, slot: Slot) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; slot.len];
    // Poisoned means that another thread panicked while it read: the file is none the worse.
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(SeekFrom::Start(slot.offset))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn scan(path: &Arc<Path>, file: &File, lenient: bool) -> Result<(Vec<Slot>, Vec<DataError>)> {
    let mut lines = Lines::new(file, MAX_LINE);
    let (mut slots, mut skipped, mut ids) = (Vec::new(), Vec::new(), HashMap::new());
    while let Some(line) = lines.next().map_err(|e| DataError::io(path, "read", e))? {
        if line.is_blank() {
            continue;
        }
        match slot(path, &line, &mut ids) {
            Ok(slot) => slots.push(slot),
            Err(fault) if lenient => skipped.push(fault),
            Err(fault) => return Err(fault),
        }
    }
    Ok((slots, skipped))
}

fn slot(path: &Arc<Path>, line: &Line, ids: &mut HashMap<String, u64>) -> Result<Slot> {
    let Line { offset, number, .. } = *line;
    let fail = |fault| fault_at(path, number, fault);
    let bytes = line.bytes.as_deref();
    let bytes = bytes.ok_or_else(|| fail(RowFault::TooLong { limit: MAX_LINE }))?;
    let id = parse(path, number, bytes)?.id;
    if let Some(first) = ids.get(&id).copied() {
        return Err(fail(RowFault::Repeated { id, first }));
    }
    ids.insert(id, number);
    Ok(Slot {
        offset,
        len: bytes.len(),
        line: number,
    })
}

fn parse(path: &Arc<Path>, number: u64, bytes: &[u8]) -> Result<ManifestEntry> {
    let base = path.parent().unwrap_or(Path::new(""));
    line::read_line(bytes, base).map_err(|fault| fault_at(path, number, fault))
}

fn fault_at(path: &Arc<Path>, line: u64, fault: RowFault) -> DataError {
    let origin = Origin {
        file: Arc::clone(path),
        line,
    };
    DataError::Row { origin, fault }
}

/// The place of an asset, which must be a plain path downward.
pub(crate) fn below(
    base: &Path,
    path: &str,
    field: &str,
) -> std::result::Result<PathBuf, RowFault> {
    let relative = Path::new(path);
    let plain = |part| matches!(part, std::path::Component::Normal(_));
    match !path.is_empty() && relative.components().all(plain) {
        true => Ok(base.join(relative)),
        false => Err(RowFault::Invalid {
            field: field.to_owned(),
            reason: format!("{path:?} is not a relative path that stays below the file's folder"),
        }),
    }
}
