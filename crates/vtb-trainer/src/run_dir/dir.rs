//! Creating a run directory and its single files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::MetricsLog;
use crate::TrainError;

/// How a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// In a directory that is absent or empty.
    Fresh,
    /// In the directory of an earlier run.
    Resume,
}

/// `manifest.json`: where a run directory comes from. Nothing in it depends on the machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunManifest {
    /// The program, such as `train-grpo`.
    pub program: String,
    /// Versions of what takes part, by name.
    pub versions: BTreeMap<String, String>,
    /// The run seed.
    pub seed: u64,
    /// Identifies the training data.
    pub dataset_fingerprint: String,
    /// Hash of the resolved settings.
    pub config_hash: String,
    /// Seconds since 1970 when the run was first started.
    pub started_unix: u64,
    /// Whatever else the program wants to tell.
    pub extra: Value,
}

impl RunManifest {
    /// A manifest of this program, started now, with the trainer's version.
    pub fn now(program: &str, seed: u64) -> Self {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
        let version = env!("CARGO_PKG_VERSION").to_string();
        Self {
            program: program.into(),
            seed,
            versions: BTreeMap::from([(env!("CARGO_PKG_NAME").into(), version)]),
            started_unix: elapsed.map_or(0, |d| d.as_secs()),
            ..Self::default()
        }
    }
}

/// The directory of a run. Everything a run writes lies below it.
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
}

const MANIFEST: &str = "manifest.json";

impl RunDir {
    /// Opens a run directory. [`Start::Fresh`] creates it and refuses one that holds anything
    /// ([`TrainError::RunExists`]); [`Start::Resume`] needs one that exists.
    pub fn open(root: impl Into<PathBuf>, start: Start) -> Result<Self, TrainError> {
        let root = root.into();
        match start {
            Start::Fresh => {
                TrainError::at(&root, fs::create_dir_all(&root))?;
                if TrainError::at(&root, fs::read_dir(&root))?.next().is_some() {
                    return Err(TrainError::RunExists { path: root });
                }
            }
            Start::Resume if !root.is_dir() => {
                return Err(TrainError::NoCheckpoint { path: root });
            }
            Start::Resume => {}
        }
        Ok(Self { root })
    }

    /// Whether the manifest is written: a run that was killed before has none.
    pub fn has_manifest(&self) -> bool {
        self.root.join(MANIFEST).exists()
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where checkpoints lie; made by their store.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// Where TensorBoard events lie; made by their writer.
    pub fn tensorboard(&self) -> PathBuf {
        self.root.join("tensorboard")
    }

    /// Where samples lie; made by those who draw them.
    pub fn samples(&self) -> PathBuf {
        self.root.join("samples")
    }

    /// A directory below the run's (`completions`), made if need be.
    pub fn subdir(&self, name: &str) -> Result<PathBuf, TrainError> {
        let path = self.root.join(name);
        TrainError::at(&path, fs::create_dir_all(&path))?;
        Ok(path)
    }

    /// Writes `config.resolved.toml`.
    pub fn write_config(&self, text: &str) -> Result<PathBuf, TrainError> {
        self.write("config.resolved.toml", text.as_bytes())
    }

    /// Writes `manifest.json`. A resumed run keeps the one it has.
    pub fn write_manifest(&self, manifest: &RunManifest) -> Result<PathBuf, TrainError> {
        let path = self.root.join(MANIFEST);
        if path.exists() {
            return Ok(path);
        }
        let value = serde_json::to_value(manifest).map_err(TrainError::other)?;
        self.write_json(MANIFEST, &value)
    }

    /// Writes `summary.json`.
    pub fn write_summary(&self, summary: &Value) -> Result<PathBuf, TrainError> {
        self.write_json("summary.json", summary)
    }

    /// Opens `metrics.jsonl`; see [`MetricsLog::open`].
    pub fn metrics(&self, resume_step: Option<u64>) -> Result<MetricsLog, TrainError> {
        MetricsLog::open(&self.root.join("metrics.jsonl"), resume_step)
    }

    fn write_json(&self, name: &str, value: &Value) -> Result<PathBuf, TrainError> {
        let mut text = serde_json::to_string_pretty(value).map_err(TrainError::other)?;
        text.push('\n');
        self.write(name, text.as_bytes())
    }

    /// Writes a file whole or not at all: readers see the old content or the new.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, TrainError> {
        let path = self.root.join(name);
        let tmp = self.root.join(format!("{name}.tmp-{}", std::process::id()));
        let written = File::create(&tmp)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&tmp, &path));
        if let Err(error) = written {
            // The first error tells more than a failure to clean up after it.
            drop(fs::remove_file(&tmp));
            return Err(TrainError::io(path, error));
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fresh_run_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("run");
        let run = RunDir::open(&root, Start::Fresh).unwrap();
        run.write_config("seed = 1\n").unwrap();
        let error = RunDir::open(&root, Start::Fresh).unwrap_err();
        assert!(matches!(error, TrainError::RunExists { .. }), "{error}");
        assert_eq!(
            fs::read_to_string(root.join("config.resolved.toml")).unwrap(),
            "seed = 1\n"
        );
        RunDir::open(&root, Start::Resume).unwrap();
        assert!(RunDir::open(dir.path().join("absent"), Start::Resume).is_err());
    }

    #[test]
    fn a_resumed_run_keeps_its_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::open(dir.path(), Start::Fresh).unwrap();
        let first = RunManifest::now("train-sft", 7);
        run.write_manifest(&first).unwrap();
        let path = run.write_manifest(&RunManifest::now("other", 8)).unwrap();
        let stored: RunManifest = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(stored, first);
    }

    #[test]
    fn files_are_replaced_whole_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::open(dir.path(), Start::Fresh).unwrap();
        run.write_summary(&json!({"seed": 1})).unwrap();
        let path = run.write_summary(&json!({"seed": 2})).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "{\n  \"seed\": 2\n}\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
