//! A folder that is replaced as a whole: an earlier export in its place stays until the new one is
//! complete.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::out::Staged;
use crate::error::{DataError, Result};
use crate::lines::hex;
use crate::manifest::hash_file;

/// Says that a folder is an export, and what is in it.
pub const INFO: &str = "prepare.json";

/// The content of [`INFO`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Info {
    schema: u64,
    program: String,
    format: String,
    rows: usize,
    files: Vec<InfoFile>,
}

#[derive(Debug, Serialize, Deserialize)]
struct InfoFile {
    path: String,
    rows: usize,
    bytes: u64,
    sha256: String,
}

/// The new folder, beside the place it will take.
#[derive(Debug)]
pub(super) struct StagedFolder {
    place: PathBuf,
    beside: PathBuf,
    done: bool,
}

impl StagedFolder {
    /// `place` may be absent, empty, or hold an earlier export.
    pub(super) fn create(place: &Path) -> Result<Self> {
        let full = place.join(INFO).is_file();
        let empty = || {
            place
                .read_dir()
                .is_ok_and(|mut inside| inside.next().is_none())
        };
        if place.exists() && !full && !empty() {
            let shown = place.display();
            return Err(DataError::Prepare(format!(
                "{shown} is no folder of an earlier export and would be replaced; give a new folder"
            )));
        }
        let io = |path: &Path| {
            let path = path.to_owned();
            move |e| DataError::io(&path, "create", e)
        };
        let place = std::path::absolute(place).map_err(io(place))?;
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let beside = place.with_file_name(format!("{name}.{}.tmp", std::process::id()));
        std::fs::create_dir_all(&beside).map_err(io(&beside))?;
        Ok(Self {
            place,
            beside,
            done: false,
        })
    }

    /// Where files are written.
    pub(super) fn path(&self) -> &Path {
        &self.beside
    }

    /// Where the folder will be.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Puts the folder in its place. `files`: path from the folder, and rows.
    pub(super) fn finish(
        mut self,
        format: &str,
        files: &[(String, usize)],
    ) -> Result<Vec<PathBuf>> {
        let mut info = Info {
            schema: 1,
            program: format!("vtb-data {}", env!("CARGO_PKG_VERSION")),
            format: format.to_owned(),
            rows: files.iter().map(|(_, rows)| rows).sum(),
            files: Vec::with_capacity(files.len()),
        };
        for (path, rows) in files {
            let file = self.beside.join(path);
            let found = hash_file(&file).and_then(|hash| Ok((hash, file.metadata()?.len())));
            let (sha256, bytes) = found.map_err(|e| DataError::io(&file, "read", e))?;
            info.files.push(InfoFile {
                path: path.clone(),
                rows: *rows,
                bytes,
                sha256,
            });
        }
        let place = self.beside.join(INFO);
        let text = serde_json::to_string_pretty(&info);
        let text = text.map_err(|e| DataError::io(&place, "write", e.into()))?;
        let mut file = Staged::create(&place)?;
        file.add(text.as_bytes())?;
        file.add(b"\n")?;
        file.finish(true)?;
        exchange(&self.beside, &self.place)
            .map_err(|e| DataError::io(&self.place, "replace", e))?;
        self.done = true;
        Ok(files
            .iter()
            .map(|(path, _)| self.place.join(path))
            .collect())
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        if !self.done {
            // What is left is of no use; the error is told elsewhere.
            let _ = std::fs::remove_dir_all(&self.beside);
        }
    }
}

/// Moves `new` to `place` and removes what was there.
fn exchange(new: &Path, place: &Path) -> std::io::Result<()> {
    if !place.exists() {
        return std::fs::rename(new, place);
    }
    // In one step where the system can: at every moment a whole export is in its place.
    if swap(new, place).is_ok() {
        return std::fs::remove_dir_all(new);
    }
    let old = place.with_extension(format!("{}.old.tmp", std::process::id()));
    std::fs::rename(place, &old)?;
    if let Err(fault) = std::fs::rename(new, place) {
        std::fs::rename(&old, place)?;
        return Err(fault);
    }
    std::fs::remove_dir_all(&old)
}

#[cfg(target_os = "linux")]
fn swap(a: &Path, b: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

#[cfg(not(target_os = "linux"))]
fn swap(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Names of the shards of a split, which readers tell apart by them.
pub(super) fn shard_name(split: &str, at: usize, of: usize, end: &str) -> String {
    // A split's name may hold anything; file names may not.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let named = split.chars().map(|c| if plain(c) { c } else { '_' });
    let split: String = named.collect();
    format!("{split}-{at:05}-of-{of:05}.{end}")
}

/// Files of a split that are still to be named: a name holds the number of all.
#[derive(Debug, Default)]
pub(super) struct Shards {
    /// Rows of each.
    pub(super) rows: Vec<usize>,
}

impl Shards {
    /// Name of shard `at` while the number of all is not known.
    pub(super) fn working_name(split: &str, at: usize) -> String {
        format!("{}-{at:05}.tmp", hex(split.as_bytes()))
    }

    /// Gives every shard of a split its name; they lie in `folder`.
    pub(super) fn rename(
        &self,
        folder: &Path,
        split: &str,
        end: &str,
    ) -> Result<Vec<(String, usize)>> {
        let of = self.rows.len();
        let mut named = Vec::with_capacity(of);
        for (at, rows) in self.rows.iter().enumerate() {
            let name = shard_name(split, at, of, end);
            let from = folder.join(Self::working_name(split, at));
            std::fs::rename(&from, folder.join(&name))
                .map_err(|e| DataError::io(&from, "rename", e))?;
            named.push((name, *rows));
        }
        Ok(named)
    }
}
