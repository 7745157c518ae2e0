//! Rows of an indexed file, read and parsed one at a time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index::Slot;
use crate::error::{DataError, Origin, Result, RowFault};
use crate::image_io::{ImageCheck, ImageOptions};
use crate::positioned::Positioned;
use crate::row::{RowRules, TrainRow};

/// A file and where its rows lie.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) path: Arc<Path>,
    pub(super) base: PathBuf,
    pub(super) rules: RowRules,
    pub(super) images: ImageOptions,
    pub(super) image_check: ImageCheck,
    pub(super) file: Positioned,
    pub(super) slots: Vec<Slot>,
}

impl Rows {
    /// Reads and parses a row.
    pub(super) fn read(&self, slot: Slot) -> Result<TrainRow> {
        let origin = Origin {
            file: Arc::clone(&self.path),
            line: u64::from(slot.line),
        };
        if slot.len == Slot::TOO_LONG {
            let limit = self.rules.max_line_bytes;
            let fault = RowFault::TooLong { limit };
            return Err(DataError::Row { origin, fault });
        }
        let mut bytes = vec![0; slot.len as usize];
        self.file
            .read_exact_at(&mut bytes, slot.offset)
            .map_err(|e| DataError::io(&self.path, "read", e))?;
        if crc32c::crc32c(&bytes) != slot.sum {
            return Err(DataError::RowChanged { origin });
        }
        let line = bytes.strip_suffix(b"\r").unwrap_or(&bytes);
        TrainRow::parse(line, origin, &self.rules, &self.base)
    }

    /// Whether a row can be used, as far as `image_check` says.
    pub(super) fn check(&self, slot: Slot) -> Result<()> {
        let row = self.read(slot)?;
        row.check_images(self.image_check, &self.images)?;
        row.check_videos(self.image_check, &self.images)
    }
}
