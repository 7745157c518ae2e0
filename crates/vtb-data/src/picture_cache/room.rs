//! How much a cache holds, and what goes when it is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is kept of the limit when entries go: a little less than all, so that they go in bulk.
const KEPT: f64 = 0.9;
/// The share of the limit after whose writing the folder is looked at again: other processes write to it too.
const RECOUNT: u64 = 16;
/// Age after which a file that was never renamed is a process that died, not one that is writing.
const ABANDONED: u64 = 3600;

/// What this process knows of the folder's size.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Bytes in the folder when it was last counted, and those written since.
    counted: Option<u64>,
    written: u64,
}

struct Found {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl Room {
    /// Notes an entry that was written, and removes the least recently used ones where the folder is above `limit`.
    pub(super) fn add(&mut self, root: &Path, bytes: u64, limit: u64) {
        self.written += bytes;
        let known = self.counted.map(|counted| counted + self.written);
        let due = self.written > limit / RECOUNT;
        if known.is_some_and(|known| known <= limit) && !due {
            return;
        }
        self.counted = Some(make_room(root, limit));
        self.written = 0;
    }
}

/// Removes what is too much; returns the bytes that stay. A file that another process removes first is gone as well.
fn make_room(root: &Path, limit: u64) -> u64 {
    let mut entries = entries(root);
    let mut total: u64 = entries.iter().map(|e| e.bytes).sum();
    if total <= limit {
        return total;
    }
    entries.sort_by_key(|e| e.used);
    let goal = (limit as f64 * KEPT) as u64;
    let mut removed = 0u64;
    for entry in entries {
        if total <= goal {
            break;
        }
        if fs::remove_file(&entry.path).is_ok() {
            removed += 1;
        }
        total -= entry.bytes;
    }
    tracing::debug!(root = %root.display(), removed, "pictures left the cache to keep its size");
    total
}

/// Every entry of the folder. Files that writers left behind are removed on the way.
fn entries(root: &Path) -> Vec<Found> {
    let list = |path: &Path| {
        let listed = fs::read_dir(path).into_iter().flatten().flatten();
        listed.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut found = Vec::new();
    for path in list(root).iter().flat_map(|folder| list(folder)) {
        let Ok(meta) = path.metadata() else { continue };
        let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        if path.extension().is_some_and(|e| e == "tmp") {
            if used.elapsed().is_ok_and(|age| age.as_secs() > ABANDONED) {
                // Whoever wrote it is gone; if not, its rename fails and the entry is made again.
                let _ = fs::remove_file(&path);
            }
            continue;
        }
        let bytes = meta.len();
        found.push(Found { path, bytes, used });
    }
    found
}
