//! A revision that was looked up: which commit, which files, what is missing.

use std::path::{Path, PathBuf};

use super::listing::RemoteFile;
use super::name::Repo;

/// A revision of a repository whose files are known, or are all in the cache.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) asked: Repo,
    pub(super) repo: Repo,
    pub(super) dir: PathBuf,
    /// `None` where the hub could not be asked, and the cache has what is needed.
    pub(super) files: Option<Vec<RemoteFile>>,
    pub(super) missing: Vec<RemoteFile>,
}

impl Snapshot {
    /// The repository at the commit that its revision stands for now.
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// That commit.
    pub fn commit(&self) -> &str {
        self.repo.revision()
    }

    /// The files that are wanted; `None` where only the cache could be asked.
    pub fn files(&self) -> Option<&[RemoteFile]> {
        self.files.as_deref()
    }

    /// Bytes that are not in the cache.
    pub fn missing_bytes(&self) -> u64 {
        self.missing.iter().map(|file| file.size).sum()
    }

    /// Files that are not in the cache; equal ones count once.
    pub fn missing_files(&self) -> usize {
        self.missing.len()
    }

    /// Where the files lie once they are fetched: the folder, or the one file that was named.
    pub fn path(&self) -> PathBuf {
        match self.repo.file() {
            Some(file) => self.dir.join(file),
            None => self.dir.clone(),
        }
    }

    /// The folder of the files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
