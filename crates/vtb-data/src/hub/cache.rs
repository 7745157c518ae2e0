//! The cache on disk, in the layout of Python's `huggingface_hub`:
//!
//! ```text
//! models--org--name/refs/main                      the commit of a branch
//! models--org--name/blobs/<etag>                   contents
//! models--org--name/blobs/<etag>.incomplete        the begin of one, while it is downloaded
//! models--org--name/snapshots/<commit>/config.json relative link to a blob
//! .locks/models--org--name/<etag>.lock             held while a blob is downloaded
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Watch;
use super::error::{HubError, Result};
use super::listing::RemoteFile;
use super::name::{Repo, is_commit};

/// How often a lock that another process holds is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// Tries after which the wait is told.
const QUIET_TRIES: u32 = 20;

/// A cache folder. It need not exist.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    root: PathBuf,
}

/// A held lock; released when dropped.
pub(super) struct Lock(#[allow(dead_code, reason = "held, not read")] Option<File>);

impl Cache {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the files of a commit lie.
    pub(super) fn snapshot(&self, repo: &Repo, commit: &str) -> PathBuf {
        self.root.join(repo.folder()).join("snapshots").join(commit)
    }

    /// Where a content lies.
    pub(super) fn blob(&self, repo: &Repo, file: &RemoteFile) -> PathBuf {
        self.root
            .join(repo.folder())
            .join("blobs")
            .join(file.hash.name())
    }

    /// Whether a file of a commit is there, whole: in the snapshot or as a blob that nothing links to yet.
    pub(super) fn holds(&self, repo: &Repo, commit: &str, file: &RemoteFile) -> bool {
        let linked = self.snapshot(repo, commit).join(&file.path);
        [linked, self.blob(repo, file)].iter().any(|path| {
            path.metadata()
                .is_ok_and(|m| m.is_file() && m.len() == file.size)
        })
    }

    /// The commit of a branch or tag when it was last looked up.
    pub(super) fn read_ref(&self, repo: &Repo) -> Option<String> {
        let path = self.ref_path(repo);
        let mut text = String::new();
        let file = File::open(path).ok()?;
        file.take(64).read_to_string(&mut text).ok()?;
        let commit = text.trim();
        is_commit(commit).then(|| commit.to_owned())
    }

    /// Notes the commit of a branch or tag.
    pub(super) fn write_ref(&self, repo: &Repo, commit: &str) -> Result<()> {
        if self.read_ref(repo).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.ref_path(repo);
        make_parent(&path)?;
        let new = temporary(&path);
        fs::write(&new, commit)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|e| HubError::io(&path, "write", e))
    }

    fn ref_path(&self, repo: &Repo) -> PathBuf {
        // The revision was checked: it leads below `refs`.
        self.root
            .join(repo.folder())
            .join("refs")
            .join(repo.revision())
    }

    /// Waits for the lock of a blob.
    ///
    /// # Errors
    /// [`HubError::Stopped`]; [`HubError::Io`] when the lock file cannot be made. A file system without locks is no
    /// error: processes then download the same bytes to the same place.
    pub(super) fn lock(&self, repo: &Repo, file: &RemoteFile, watch: &dyn Watch) -> Result<Lock> {
        let name = format!("{}.lock", file.hash.name());
        let path = self.root.join(".locks").join(repo.folder()).join(name);
        make_parent(&path)?;
        let open = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let lock = open.map_err(|e| HubError::io(&path, "open", e))?;
        let mut tries = 0;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Lock(Some(lock))),
                Err(TryLockError::Error(fault)) => {
                    tracing::debug!("{}: no locks here: {fault}", path.display());
                    return Ok(Lock(None));
                }
                Err(TryLockError::WouldBlock) => {}
            }
            if watch.stopped() {
                return Err(HubError::Stopped);
            }
            tries += 1;
            if tries == QUIET_TRIES {
                watch.note(&format!(
                    "another process downloads {}; waiting for it",
                    file.path
                ));
            }
            std::thread::sleep(LOCK_PAUSE);
        }
    }

    /// Gives `files`, whose contents are all there, their names in the snapshot. A new snapshot appears at once with
    /// everything in it.
    pub(super) fn link(&self, repo: &Repo, commit: &str, files: &[RemoteFile]) -> Result<PathBuf> {
        let dir = self.snapshot(repo, commit);
        if !dir.exists() {
            let new = temporary(&dir);
            if new.exists() {
                fs::remove_dir_all(&new).map_err(|e| HubError::io(&new, "remove", e))?;
            }
            fs::create_dir_all(&new).map_err(|e| HubError::io(&new, "make", e))?;
            self.link_in(&new, repo, files)?;
            match fs::rename(&new, &dir) {
                Ok(()) => return Ok(dir),
                // Another process was faster: its snapshot gets what it lacks.
                Err(_) if dir.exists() => {
                    fs::remove_dir_all(&new).map_err(|e| HubError::io(&new, "remove", e))?;
                }
                Err(fault) => return Err(HubError::io(&dir, "make", fault)),
            }
        }
        self.link_in(&dir, repo, files)?;
        Ok(dir)
    }

    fn link_in(&self, dir: &Path, repo: &Repo, files: &[RemoteFile]) -> Result<()> {
        for file in files {
            let path = dir.join(&file.path);
            if path
                .metadata()
                .is_ok_and(|m| m.is_file() && m.len() == file.size)
            {
                continue;
            }
            make_parent(&path)?;
            let new = temporary(&path);
            let _ = fs::remove_file(&new);
            place(&new, file, &self.blob(repo, file))
                .and_then(|()| fs::rename(&new, &path))
                .map_err(|e| HubError::io(&path, "link", e))?;
        }
        Ok(())
    }

    /// The names of this kind that the cache holds.
    pub(super) fn names(&self, repo: &Repo) -> Vec<String> {
        let prefix = format!("{}--", repo.kind().plural());
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some(name.strip_prefix(&prefix)?.replacen("--", "/", 1))
        });
        names.collect()
    }
}

#[cfg(unix)]
fn place(path: &Path, file: &RemoteFile, _blob: &Path) -> io::Result<()> {
    let up = "../".repeat(file.path.split('/').count() + 1);
    std::os::unix::fs::symlink(format!("{up}blobs/{}", file.hash.name()), path)
}

/// Where links are a privilege, the snapshot holds copies.
#[cfg(not(unix))]
fn place(path: &Path, _file: &RemoteFile, blob: &Path) -> io::Result<()> {
    fs::copy(blob, path).map(drop)
}

/// A name beside `path` that nothing else uses.
fn temporary(path: &Path) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".tmp-{}-{number}", std::process::id()));
    path.with_file_name(name)
}

pub(super) fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|e| HubError::io(parent, "make", e))
}
