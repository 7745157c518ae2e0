//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::NnError;

/// Writes `bytes` to `path` by [`write_atomic_with`].
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), NnError> {
    write_atomic_with(path, |w| {
        w.write_all(bytes).map_err(|e| NnError::io(path, e))
    })
}

/// Writes `path` through a sibling temporary file: `write` fills it, then it is flushed to the disk and renamed, and
/// the directory is flushed. If anything fails (a full disk, a crash) an earlier file of that name stays as it was.
/// A crash may leave a `.NAME.tmp-*` file behind, which may be deleted.
///
/// A reader that has the earlier file mapped keeps its contents.
///
/// # Errors
/// [`NnError::Io`] with the path, or what `write` returned.
pub fn write_atomic_with(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), NnError>,
) -> Result<(), NnError> {
    let io = |e| NnError::io(path, e);
    let temp = Temporary::beside(path)?;
    // `create_new` never follows a link that someone put there.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&temp.0)
        .map_err(io)?;
    let mut buffered = BufWriter::with_capacity(1 << 20, file);
    write(&mut buffered)?;
    let file = buffered.into_inner().map_err(|e| io(e.into_error()))?;
    file.sync_all().map_err(io)?;
    fs::rename(&temp.0, path).map_err(io)?;
    sync_parent(path).map_err(io)
}

/// A rename is on the disk once its directory is.
fn sync_parent(path: &Path) -> std::io::Result<()> {
    if cfg!(unix) {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// A file name that is removed when it is dropped before the rename.
struct Temporary(PathBuf);

impl Temporary {
    fn beside(path: &Path) -> Result<Self, NnError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = path
            .file_name()
            .ok_or_else(|| NnError::file(path, "is not the name of a file to write"))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        hidden.push(format!(".tmp-{}-{count}", std::process::id()));
        Ok(Self(path.with_file_name(hidden)))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is nothing left to remove.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_whole() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("a.txt");
        write_atomic(&path, b"one").expect("first");
        write_atomic(&path, b"two").expect("second");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_earlier_file_and_nothing_else() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("a.txt");
        write_atomic(&path, b"one").expect("first");
        let failed = write_atomic_with(&path, |w| {
            w.write_all(b"half of tw").expect("buffered");
            Err(NnError::input("no more"))
        });
        assert!(matches!(failed, Err(NnError::Input(_))));
        assert_eq!(fs::read(&path).expect("read"), b"one");
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
    }

    #[test]
    fn names_the_target_when_the_directory_is_absent() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("no").join("a.txt");
        let error = write_atomic(&path, b"one").expect_err("no directory");
        assert!(error.to_string().contains("a.txt"), "{error}");
    }
}
