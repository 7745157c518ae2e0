//! What goes into a checkpoint, and how it is written and hashed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::disk::Disk;
use super::manifest::FileEntry;
use crate::{TrainError, canonical};

/// Bytes per write operation.
const CHUNK: usize = 1 << 20;
/// Bytes per read when hashing.
const PIECE: usize = 1 << 16;

/// The files of a checkpoint by relative path (`optimizer.safetensors`, `adapter/adapter_config.json`).
pub type Contents<'a> = BTreeMap<String, Content<'a>>;

/// Writes one file.
pub type StreamWriter<'a> = dyn FnOnce(&mut dyn Write) -> Result<(), TrainError> + 'a;

/// Fills one directory.
pub type TreeWriter<'a> = dyn FnOnce(&Path) -> Result<(), TrainError> + 'a;

/// One entry of a checkpoint.
pub enum Content<'a> {
    /// A file given whole.
    Bytes(Vec<u8>),
    /// A file written piece by piece.
    Stream {
        /// About how many bytes it will be, for the check of free space.
        size_hint: u64,
        /// Writes it.
        write: Box<StreamWriter<'a>>,
    },
    /// A directory written by other code, such as an adapter; hashed and synced afterwards.
    Tree {
        /// About how many bytes it will be, for the check of free space.
        size_hint: u64,
        /// Writes files into the directory it is given, which exists and is empty.
        write: Box<TreeWriter<'a>>,
    },
}

impl Content<'_> {
    pub(super) fn size_hint(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stream { size_hint, .. } | Self::Tree { size_hint, .. } => *size_hint,
        }
    }
}

/// Joins a relative path of plain components to `root`; anything else is refused.
pub(super) fn inside(root: &Path, name: &str) -> Result<PathBuf, TrainError> {
    let plain = !name.is_empty()
        && !name.contains(['\\', '\0'])
        && Path::new(name)
            .components()
            .all(|c| matches!(c, Component::Normal(_)));
    plain.then(|| root.join(name)).ok_or_else(|| {
        TrainError::file(
            root,
            format!("`{name}` is no file name of a checkpoint; use a plain relative path"),
        )
    })
}

/// Writes one entry below `root`, synced, and lists its files.
pub(super) fn write(
    disk: &Disk,
    root: &Path,
    name: &str,
    content: Content<'_>,
    files: &mut BTreeMap<String, FileEntry>,
) -> Result<(), TrainError> {
    let path = inside(root, name)?;
    let parent = path.parent().unwrap_or(root);
    TrainError::at(parent, fs::create_dir_all(parent))?;
    let entry = match content {
        Content::Bytes(bytes) => write_file(disk, &path, |out| {
            TrainError::at(&path, out.write_all(&bytes))
        })?,
        Content::Stream { write, .. } => write_file(disk, &path, write)?,
        Content::Tree { write, .. } => {
            TrainError::at(&path, fs::create_dir_all(&path))?;
            write(&path)?;
            return adopt(disk, &path, name, files);
        }
    };
    files.insert(name.to_string(), entry);
    Ok(())
}

/// Writes, hashes and syncs a new file.
pub(super) fn write_file(
    disk: &Disk,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), TrainError>,
) -> Result<FileEntry, TrainError> {
    let sink = HashingFile {
        disk,
        file: TrainError::at(path, File::create(path))?,
        hash: Sha256::new(),
        len: 0,
    };
    let mut out = BufWriter::with_capacity(CHUNK, sink);
    write(&mut out)?;
    let sink = TrainError::at(
        path,
        out.into_inner().map_err(io::IntoInnerError::into_error),
    )?;
    TrainError::at(path, disk.sync_file(&sink.file))?;
    Ok(FileEntry {
        sha256: canonical::hex(&sink.hash.finalize()),
        len: sink.len,
    })
}

/// Hashes and syncs what other code has written below `dir`.
fn adopt(
    disk: &Disk,
    dir: &Path,
    name: &str,
    files: &mut BTreeMap<String, FileEntry>,
) -> Result<(), TrainError> {
    for (path, kind) in entries(dir)? {
        let child = path.file_name().and_then(|n| n.to_str()).ok_or_else(|| {
            TrainError::file(&path, "a checkpoint takes file names in UTF-8 only")
        })?;
        let child = format!("{name}/{child}");
        if kind.is_dir() {
            adopt(disk, &path, &child, files)?;
        } else if kind.is_file() {
            let entry = hash_file(&path)?;
            let file = TrainError::at(&path, File::open(&path))?;
            TrainError::at(&path, disk.sync_file(&file))?;
            files.insert(child, entry);
        } else {
            return Err(TrainError::file(
                &path,
                "a checkpoint takes files and directories, no links or devices",
            ));
        }
    }
    Ok(())
}

/// Length and SHA-256 of a file.
pub(super) fn hash_file(path: &Path) -> Result<FileEntry, TrainError> {
    let mut file = TrainError::at(path, File::open(path))?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    let mut len = 0;
    loop {
        let n = TrainError::at(path, file.read(&mut piece))?;
        if n == 0 {
            break;
        }
        hash.update(&piece[..n]);
        len += n as u64;
    }
    Ok(FileEntry {
        sha256: canonical::hex(&hash.finalize()),
        len,
    })
}

/// Syncs every directory below `dir`, deepest first, then `dir`.
pub(super) fn sync_dirs(disk: &Disk, dir: &Path) -> Result<(), TrainError> {
    for (path, kind) in entries(dir)? {
        if kind.is_dir() {
            sync_dirs(disk, &path)?;
        }
    }
    disk.sync_dir(dir)
}

/// Entries of a directory, sorted by name, links not followed.
pub(super) fn entries(dir: &Path) -> Result<Vec<(PathBuf, fs::FileType)>, TrainError> {
    let mut out = Vec::new();
    for entry in TrainError::at(dir, fs::read_dir(dir))? {
        let entry = TrainError::at(dir, entry)?;
        let kind = TrainError::at(&entry.path(), entry.file_type())?;
        out.push((entry.path(), kind));
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}

struct HashingFile<'a> {
    disk: &'a Disk,
    file: File,
    hash: Sha256,
    len: u64,
}

impl Write for HashingFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(&mut self.file, bytes)?;
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_checkpoint() {
        let root = Path::new("root");
        for bad in ["", "../x", "/etc/passwd", "a/../b", "./a", "a\\b", "a\0"] {
            assert!(inside(root, bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            inside(root, "adapter/a.json").unwrap(),
            Path::new("root/adapter/a.json")
        );
    }

    #[test]
    fn a_streamed_file_has_the_hash_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        let bytes: Vec<u8> = (0..3 * CHUNK + 17).map(|i| (i % 251) as u8).collect();
        let disk = Disk::default();
        let written = write_file(&disk, &path, |out| {
            for part in bytes.chunks(1000) {
                TrainError::at(&path, out.write_all(part))?;
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(written.len, bytes.len() as u64);
        assert_eq!(written.sha256, canonical::hex(&Sha256::digest(&bytes)));
        assert_eq!(hash_file(&path).unwrap(), written);
    }
}
