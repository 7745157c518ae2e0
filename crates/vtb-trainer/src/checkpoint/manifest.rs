//! `manifest.json`: what a checkpoint holds, and the proof that it is whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::content::{hash_file, inside};
use super::tensors::{HostTensors, decode_tensors};
use crate::{TrainError, canonical};

/// Name of the manifest in a checkpoint directory.
pub(super) const MANIFEST: &str = "manifest.json";
/// Layout version; readers refuse others.
const FORMAT: u32 = 1;
/// Largest manifest a reader takes.
const MAX_MANIFEST: u64 = 64 << 20;
/// Field of the manifest that holds the hash of the others.
const SELF_HASH: &str = "manifest_sha256";

/// The state of a run that is not a file. Generators have no state of their own: see [`crate::rng`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckpointMeta {
    /// Optimizer steps finished.
    pub step: u64,
    /// Passes over the data finished.
    pub epoch: u64,
    /// Where the sampler stands, as the sampler writes it.
    pub cursor: Value,
    /// The run seed all generators derive from.
    pub seed: u64,
    /// Number of ranks.
    pub world: usize,
    /// The resolved settings, compared key by key on resume.
    pub config: Value,
    /// Identifies the training data, order included.
    pub dataset_fingerprint: String,
    /// How good this checkpoint is, higher is better; the best one outlives retention.
    pub score: Option<f64>,
    /// State of the objective or program, as it likes.
    pub extra: Value,
}

/// Length and hash of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Lower-case hexadecimal SHA-256 of the content.
    pub sha256: String,
    /// Length in bytes.
    pub len: u64,
}

/// The manifest as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout version.
    pub format: u32,
    /// Version of the code that wrote it.
    pub code_version: String,
    /// Hash of `config` with sorted keys.
    pub config_hash: String,
    /// State of the run.
    #[serde(flatten)]
    pub meta: CheckpointMeta,
    /// Every file but the manifest, by relative path.
    pub files: BTreeMap<String, FileEntry>,
}

impl Manifest {
    pub(super) fn new(meta: CheckpointMeta, files: BTreeMap<String, FileEntry>) -> Self {
        Self {
            format: FORMAT,
            code_version: env!("CARGO_PKG_VERSION").into(),
            config_hash: canonical::hash(&meta.config),
            meta,
            files,
        }
    }

    /// The text of `manifest.json`, its own hash included.
    pub(super) fn render(&self) -> Result<String, TrainError> {
        let mut value = serde_json::to_value(self).map_err(TrainError::other)?;
        let hash = canonical::hash(&value);
        value[SELF_HASH] = Value::from(hash);
        let text = serde_json::to_string_pretty(&value).map_err(TrainError::other)?;
        Ok(text + "\n")
    }

    /// Reads and checks the manifest of `dir`, not the files it lists.
    pub(super) fn read(dir: &Path) -> Result<Self, TrainError> {
        let path = dir.join(MANIFEST);
        let file = TrainError::at(&path, File::open(&path))?;
        let mut text = Vec::new();
        TrainError::at(&path, file.take(MAX_MANIFEST).read_to_end(&mut text))?;
        let damaged = |why: String| {
            TrainError::file(
                &path,
                format!("damaged manifest ({why}); this checkpoint is unusable"),
            )
        };
        let mut value: Value = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        let stored = value
            .as_object_mut()
            .and_then(|map| map.remove(SELF_HASH))
            .ok_or_else(|| damaged(format!("`{SELF_HASH}` is missing")))?;
        if stored != canonical::hash(&value) {
            return Err(damaged("its hash does not match".into()));
        }
        let manifest: Self = serde_json::from_value(value).map_err(|e| damaged(e.to_string()))?;
        if manifest.format != FORMAT {
            let found = manifest.format;
            return Err(TrainError::file(
                &path,
                format!("checkpoint format {found}, this program reads {FORMAT}"),
            ));
        }
        Ok(manifest)
    }
}

/// A checkpoint whose every byte was verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Its directory.
    pub path: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
}

impl Checkpoint {
    /// Opens a checkpoint directory and verifies the length and hash of every file.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let manifest = Manifest::read(path)?;
        for (name, entry) in &manifest.files {
            let file = inside(path, name)?;
            let found = hash_file(&file)?;
            if &found != entry {
                return Err(TrainError::file(
                    &file,
                    format!(
                        "{} bytes with SHA-256 {}, the manifest says {} bytes with {}; this checkpoint is damaged",
                        found.len, found.sha256, entry.len, entry.sha256
                    ),
                ));
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
            manifest,
        })
    }

    /// Path of a file or directory of the checkpoint.
    pub fn file(&self, name: &str) -> Result<PathBuf, TrainError> {
        inside(&self.path, name)
    }

    /// Content of a file of the checkpoint.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, TrainError> {
        let path = self.file(name)?;
        TrainError::at(&path, std::fs::read(&path))
    }

    /// Tensors and metadata of a safetensors file of the checkpoint.
    pub fn tensors(
        &self,
        name: &str,
    ) -> Result<(HostTensors, BTreeMap<String, String>), TrainError> {
        decode_tensors(&self.file(name)?, &self.read(name)?)
    }
}
