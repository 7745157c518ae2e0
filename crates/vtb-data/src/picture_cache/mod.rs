//! Pictures that were decoded and resized once, kept on disk for the next epoch and the next run.
//!
//! An entry's name is a hash of everything its pixels follow from: the bytes of the picture's file, the geometry (how
//! it is decoded and resized) and the version of the code that does it. What changes any of them looks for another
//! name, so an entry is never stale. An entry is complete or absent, is checked when it is read, and one that is
//! damaged is made again. Several processes may share a folder.

mod entry;
mod room;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use image::RgbImage;
use sha2::{Digest, Sha256};

use crate::error::{DataError, Result};
use crate::lines::hex;
use room::Room;

/// Version of the pixels: raise it when a decoder or the resizing gives other ones. A test pins them.
pub const PIXELS: u32 = 1;
/// The folder's layout, one below the folder the user names.
const LAYOUT: &str = "pictures-1";
/// An entry counts as used once per this time: a note for every reading would cost more than the reading.
const USED_EVERY: Duration = Duration::from_secs(60);

/// Names an entry by what it is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// `content`: the bytes of the picture's file. `geometry`: how it becomes pixels, in words.
    pub fn new(content: &[u8], geometry: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(PIXELS.to_le_bytes());
        // Lengths first: no two pairs run together to the same bytes.
        hash.update((geometry.len() as u64).to_le_bytes());
        hash.update(geometry);
        hash.update(content);
        Self(hash.finalize().into())
    }
}

/// How often the cache helped, of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Pictures that were there.
    pub hits: u64,
    /// Pictures that were made.
    pub misses: u64,
    /// Of these, the ones whose entry was there and damaged.
    pub damaged: u64,
}

/// A folder of pictures, bounded in size. The least recently used ones go first.
#[derive(Debug)]
pub struct PictureCache {
    root: PathBuf,
    limit: u64,
    room: Mutex<Room>,
    hits: AtomicU64,
    misses: AtomicU64,
    damaged: AtomicU64,
    /// Numbers the files being written.
    serial: AtomicU64,
    /// A folder that cannot be written to is told of once and read from on.
    broken: AtomicBool,
}

impl PictureCache {
    /// Opens or makes a folder that may hold `limit` bytes.
    ///
    /// Each process that shares it may overshoot by a sixteenth of the limit.
    ///
    /// # Errors
    /// [`DataError::Io`] if the folder cannot be made.
    pub fn open(dir: &Path, limit: u64) -> Result<Self> {
        let root = dir.join(LAYOUT);
        fs::create_dir_all(&root).map_err(|e| DataError::io(&root, "make", e))?;
        Ok(Self {
            root,
            limit,
            room: Mutex::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            serial: AtomicU64::new(0),
            broken: AtomicBool::new(false),
        })
    }

    /// The picture of this key, made by `make` if it is not there, and kept.
    ///
    /// # Errors
    /// Those of `make`. A folder that cannot be read or written only costs time.
    pub fn get_or_make<E>(
        &self,
        key: CacheKey,
        make: impl FnOnce() -> std::result::Result<RgbImage, E>,
    ) -> std::result::Result<RgbImage, E> {
        let path = self.path(&key);
        if let Ok(bytes) = fs::read(&path) {
            if let Some(image) = entry::decode(&key, bytes) {
                self.hits.fetch_add(1, Ordering::Relaxed);
                note_use(&path);
                return Ok(image);
            }
            self.damaged.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(path = %path.display(), "a cached picture is damaged and is made again");
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let image = make()?;
        if let Err(error) = self.keep(&path, &entry::encode(&key, &image))
            && !self.broken.swap(true, Ordering::Relaxed)
        {
            let root = self.root.display();
            tracing::warn!(%root, %error, "pictures cannot be kept; they are made each time");
        }
        Ok(image)
    }

    /// What this process found and made.
    pub fn counts(&self) -> CacheCounts {
        CacheCounts {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
        }
    }

    /// 256 folders, by the first byte: file systems slow down with very many files in one.
    fn path(&self, key: &CacheKey) -> PathBuf {
        let name = hex(&key.0);
        self.root.join(&name[..2]).join(name)
    }

    fn keep(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        if self.broken.load(Ordering::Relaxed) || bytes.len() as u64 > self.limit {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder)?;
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let beside = folder.join(format!("{}-{serial}.tmp", std::process::id()));
        // Not synced: an entry that a crash cuts short fails its checksum.
        let written = fs::File::create(&beside)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&beside, path));
        if let Err(error) = written {
            let _ = fs::remove_file(&beside);
            return Err(error);
        }
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        room.add(&self.root, bytes.len() as u64, self.limit);
        Ok(())
    }
}

/// Moves the time of last change, by which entries are sorted when some have to go. It does not matter if it fails.
fn note_use(path: &Path) {
    let now = SystemTime::now();
    let recent = |at: SystemTime| now.duration_since(at).is_ok_and(|age| age < USED_EVERY);
    if path.metadata().and_then(|m| m.modified()).is_ok_and(recent) {
        return;
    }
    let file = fs::File::options().append(true).open(path);
    let _ = file.and_then(|file| file.set_modified(now));
}
