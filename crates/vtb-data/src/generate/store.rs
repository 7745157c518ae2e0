//! The folder of a data set: whose it is, and what is finished in it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::GenerateFault;
use super::work::UNFINISHED;
use crate::error::{DataError, Result};
use crate::lines::Lines;
use crate::manifest::{AssetRefs, MANIFEST, MAX_LINE};

const GENERATION: &str = "generation.json";
/// Finished records of a run that is not, one a line. It is also what a run locks.
const JOURNAL: &str = "generation.journal";
/// Largest `generation.json` in bytes.
const MAX_GENERATION: u64 = 64 << 20;

/// A finished record, in the journal and, among more, in the manifest.
#[derive(Serialize, Deserialize)]
struct Finished {
    id: String,
    assets: AssetRefs,
}

/// The folder of a data set, held by this run alone.
pub(super) struct Store {
    root: PathBuf,
    journal: File,
    known: HashMap<String, AssetRefs>,
}

impl Store {
    /// Takes the folder, which must be empty or hold a run of the same settings.
    ///
    /// `generation` is the content of `generation.json` before the run.
    pub(super) fn open(root: &Path, generation: &Value, text: &str) -> Result<Self> {
        std::fs::create_dir_all(root).map_err(|e| DataError::io(root, "create", e))?;
        let begun = root.join(GENERATION).exists();
        if begun {
            compare(root, generation)?;
        } else if let Some(found) = foreign(root)? {
            let dir = root.to_owned();
            return Err(GenerateFault::NotOurs { dir, found }.into());
        }
        let journal = lock(root)?;
        let mut store = Self {
            root: root.to_owned(),
            journal,
            known: HashMap::new(),
        };
        if begun {
            store.read_manifest()?;
            store.read_journal()?;
        } else {
            store.write_generation(text)?;
        }
        Ok(store)
    }

    /// The files of a record that was finished, as far as the notes say.
    pub(super) fn known(&self, id: &str) -> Option<&AssetRefs> {
        self.known.get(id)
    }

    /// Where to note what is finished.
    pub(super) fn journal(&self) -> Result<Journal> {
        let path = self.root.join(JOURNAL);
        let file = self.journal.try_clone();
        let file = file.map_err(|e| DataError::io(&path, "open", e))?;
        Ok(Journal { path, file })
    }

    pub(super) fn write_generation(&self, text: &str) -> Result<()> {
        let mut file = Growing::create(self.root.join(GENERATION))?;
        file.add(text)?;
        file.finish()
    }

    /// Everything is in its place: the notes are no longer needed.
    pub(super) fn finish(self, generation: &str) -> Result<()> {
        self.write_generation(generation)?;
        let path = self.root.join(JOURNAL);
        std::fs::remove_file(&path).map_err(|e| DataError::io(&path, "remove", e))
    }

    fn read_manifest(&mut self) -> Result<()> {
        let path = self.root.join(MANIFEST);
        if !path.exists() {
            return Ok(());
        }
        let file = File::open(&path).map_err(|e| DataError::io(&path, "open", e))?;
        self.note(&path, file)?;
        Ok(())
    }

    fn read_journal(&mut self) -> Result<()> {
        let path = self.root.join(JOURNAL);
        let file = File::open(&path).map_err(|e| DataError::io(&path, "open", e))?;
        let whole = self.note(&path, file)?;
        // A line that was cut off must not run into the next one.
        let cut = self.journal.set_len(whole);
        cut.map_err(|e| DataError::io(&path, "shorten", e))
    }

    /// Notes every line that can be read, and returns where the last whole line ends. Others are
    /// passed over: their records are made again.
    fn note(&mut self, path: &Path, file: File) -> Result<u64> {
        let size = file.metadata().map(|meta| meta.len());
        let size = size.map_err(|e| DataError::io(path, "read", e))?;
        let mut lines = Lines::new(file, MAX_LINE);
        let mut end = 0;
        while let Some(line) = lines.next().map_err(|e| DataError::io(path, "read", e))? {
            let Some(bytes) = line.bytes else { continue };
            let next = line.offset + bytes.len() as u64 + 1;
            if next > size {
                break;
            }
            end = next;
            if let Ok(Finished { id, assets }) = serde_json::from_slice(&bytes) {
                self.known.insert(id, assets);
            }
        }
        Ok(end)
    }
}

/// Something in the folder that no run put there before it wrote its settings.
fn foreign(root: &Path) -> Result<Option<String>> {
    let fail = |e| DataError::io(root, "list", e);
    for entry in root.read_dir().map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        let name = name.to_string_lossy();
        if name != JOURNAL && name != format!("{GENERATION}{UNFINISHED}") {
            return Ok(Some(name.into_owned()));
        }
    }
    Ok(None)
}

/// Opens the journal for this process alone. The system gives the lock up when the process ends,
/// however it ends.
fn lock(root: &Path) -> Result<File> {
    let path = root.join(JOURNAL);
    let file = OpenOptions::new().append(true).create(true).open(&path);
    let file = file.map_err(|e| DataError::io(&path, "open", e))?;
    let busy = || {
        let dir = root.to_owned();
        GenerateFault::Busy { dir }.into()
    };
    match file.try_lock() {
        // It was removed by a run that ended between our opening and our locking it.
        Ok(()) if !path.exists() => Err(busy()),
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(busy()),
        // Some network drives have no locks.
        Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(e)) => Err(DataError::io(&path, "lock", e)),
    }
}

/// Compares versions and settings with those of the run in the folder.
fn compare(root: &Path, wanted: &Value) -> Result<()> {
    let path = root.join(GENERATION);
    let mut text = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(MAX_GENERATION).read_to_end(&mut text))
        .map_err(|e| DataError::io(&path, "read", e))?;
    let found: Value = serde_json::from_slice(&text).map_err(|fault| GenerateFault::Damaged {
        path: path.clone(),
        reason: format!("is not JSON: {fault}"),
    })?;
    let mut differences = Vec::new();
    for field in ["schema", "program", "settings"] {
        let of = |value: &Value| value.get(field).cloned().unwrap_or(Value::Null);
        let name = if field == "settings" { "" } else { field };
        differ(name, &of(&found), &of(wanted), &mut differences);
    }
    match differences.is_empty() {
        true => Ok(()),
        false => Err(GenerateFault::OtherSettings {
            dir: root.to_owned(),
            differences,
        }
        .into()),
    }
}

/// Every place at which two values differ.
fn differ(place: &str, there: &Value, here: &Value, found: &mut Vec<String>) {
    if let (Value::Object(a), Value::Object(b)) = (there, here) {
        let added = b.keys().filter(|key| !a.contains_key(*key));
        for key in a.keys().chain(added) {
            let dot = if place.is_empty() { "" } else { "." };
            let of = |map: &serde_json::Map<_, _>| map.get(key).cloned().unwrap_or(Value::Null);
            differ(&format!("{place}{dot}{key}"), &of(a), &of(b), found);
        }
    } else if there != here {
        let show = |value: &Value| match value {
            Value::Null => "nothing".to_owned(),
            Value::Object(_) => "set".to_owned(),
            other => other.to_string(),
        };
        found.push(format!(
            "`{place}` is {} there and {} here",
            show(there),
            show(here)
        ));
    }
}

/// Notes finished records.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    pub(super) fn add(&mut self, id: &str, assets: &AssetRefs) -> Result<()> {
        let finished = Finished {
            id: id.to_owned(),
            assets: assets.clone(),
        };
        let mut line = serde_json::to_vec(&finished)
            .map_err(|e| DataError::io(&self.path, "write", e.into()))?;
        line.push(b'\n');
        let written = self.file.write_all(&line);
        written.map_err(|e| DataError::io(&self.path, "write", e))
    }
}

/// A file that grows beside its place and moves there when it is complete.
pub(super) struct Growing {
    place: PathBuf,
    beside: PathBuf,
    file: BufWriter<File>,
}

impl Growing {
    pub(super) fn create(place: PathBuf) -> Result<Self> {
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(UNFINISHED);
        let beside = place.with_file_name(name);
        let file = File::create(&beside).map_err(|e| DataError::io(&beside, "write", e))?;
        Ok(Self {
            place,
            beside,
            file: BufWriter::with_capacity(1 << 18, file),
        })
    }

    pub(super) fn add(&mut self, text: &str) -> Result<()> {
        let written = self.file.write_all(text.as_bytes());
        written.map_err(|e| DataError::io(&self.beside, "write", e))
    }

    pub(super) fn finish(self) -> Result<()> {
        let Self {
            place,
            beside,
            file,
        } = self;
        let attempt = || {
            let file = file
                .into_inner()
                .map_err(std::io::IntoInnerError::into_error)?;
            file.sync_all()?;
            std::fs::rename(&beside, &place)
        };
        attempt().map_err(|e| DataError::io(&place, "write", e))
    }
}
