//! The disk operations of a checkpoint, each of which can be made to fail.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::TrainError;

/// Name of the environment variable that makes a save abort the process at its n-th operation.
pub const CRASH_AT: &str = "VTB_CRASH_AT";

/// What to do at the n-th (1-based) write, sync, rename or removal of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailPoint {
    /// Nothing.
    #[default]
    Off,
    /// Abort the process; a write is torn in the middle.
    Abort(u64),
    /// Fail that operation with this error.
    Error(u64, io::ErrorKind),
}

impl FailPoint {
    /// Reads [`CRASH_AT`]: unset is [`FailPoint::Off`], a number is [`FailPoint::Abort`].
    pub fn from_env() -> Result<Self, TrainError> {
        match std::env::var(CRASH_AT) {
            Err(_) => Ok(Self::Off),
            Ok(text) => text.parse().map(Self::Abort).map_err(|_| {
                TrainError::Config(format!(
                    "{CRASH_AT} = `{text}` is not a number of operations"
                ))
            }),
        }
    }
}

/// Counts operations and lets the fail point strike.
#[derive(Debug, Default)]
pub(super) struct Disk {
    fail: FailPoint,
    done: AtomicU64,
}

impl Disk {
    pub(super) fn new(fail: FailPoint) -> Self {
        Self {
            fail,
            done: AtomicU64::new(0),
        }
    }

    /// One operation; `torn` is what half of it would have left.
    fn operation(&self, torn: impl FnOnce()) -> io::Result<()> {
        let n = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        match self.fail {
            FailPoint::Abort(at) if at == n => {
                torn();
                std::process::abort()
            }
            FailPoint::Error(at, kind) if at == n => {
                torn();
                Err(kind.into())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        // The caller sees the injected error, not what becomes of the torn half.
        self.operation(|| drop(file.write_all(&bytes[..bytes.len() / 2])))?;
        file.write_all(bytes)
    }

    pub(super) fn sync_file(&self, file: &File) -> io::Result<()> {
        self.operation(|| ())?;
        file.sync_all()
    }

    /// Makes renames and new names below `path` durable.
    pub(super) fn sync_dir(&self, path: &Path) -> Result<(), TrainError> {
        TrainError::at(path, self.operation(|| ()))?;
        // Only Unix can open a directory to sync it; elsewhere names are durable when the system says so.
        if cfg!(unix) {
            TrainError::at(path, File::open(path).and_then(|dir| dir.sync_all()))?;
        }
        Ok(())
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), TrainError> {
        TrainError::at(to, self.operation(|| ()))?;
        TrainError::at(to, fs::rename(from, to))
    }

    pub(super) fn remove_dir(&self, path: &Path) -> Result<(), TrainError> {
        TrainError::at(path, self.operation(|| ()))?;
        TrainError::at(path, fs::remove_dir_all(path))
    }
}

/// Bytes that may still be written where `path` lies; `None` where the system does not tell.
#[cfg(unix)]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

/// Bytes that may still be written where `path` lies; `None` where the system does not tell.
#[cfg(not(unix))]
pub fn free_bytes(_path: &Path) -> Option<u64> {
    None
}
