//! Checkpoints as transactions: a crash at any moment leaves an earlier valid checkpoint.
//!
//! A save writes `step-N.tmp-<pid>/`, syncs every file, writes `manifest.json` last (length and SHA-256 of every
//! file), syncs the directories, renames to `step-N`, and syncs the parent. Only then older checkpoints go.
//!
//! **Guaranteed.** What [`CheckpointStore::latest`] returns is complete and every byte is as written; while a save is
//! under way the previous checkpoint is untouched; a failed save removes what it wrote. The same state gives the same
//! bytes: no time and no host name is stored.
//!
//! **Not guaranteed.** Two processes must not write the same directory. A file changed after it was verified is not
//! noticed until the next verification.
//!
//! **What a crash leaves.** At most one of each of `step-N.tmp-<pid>` (unfinished), `step-N.gone-<pid>` (being
//! deleted) and `step-N.old-<pid>` (being replaced). Readers ignore them; [`CheckpointStore::open`] removes the first
//! two and puts the third back if its successor did not make it.

mod content;
mod disk;
mod manifest;
mod resume;
mod store;
mod tensors;

pub use content::{Content, Contents, StreamWriter, TreeWriter};
pub use disk::{CRASH_AT, FailPoint, free_bytes};
pub use manifest::{Checkpoint, CheckpointMeta, FileEntry, Manifest};
pub use resume::ResumeCheck;
pub use store::{CheckpointStore, Retention, latest};
pub use tensors::{HostTensor, HostTensors, decode_tensors, encode_tensors};
