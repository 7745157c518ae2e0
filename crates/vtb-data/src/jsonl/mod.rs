//! A training file of one JSON object per line, read a row at a time.

mod check;
mod index;
mod rows;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::dataset::{Fingerprint, RowSource};
use crate::error::{DataError, Result};
use crate::image_io::{ImageCheck, ImageOptions};
use crate::positioned::Positioned;
use crate::row::{RowRules, TrainRow};
use check::{Background, check_all, check_sample};
use rows::Rows;

/// How many rows are checked before a file counts as open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowCheck {
    /// Every one.
    #[default]
    Full,
    /// 256 of them, all over the file; a thread checks the others while the first are used. A bad row that it finds
    /// fails every row asked for from then on, and a bad row that is drawn before fails itself: none is ever handed
    /// out.
    Background,
}

/// How a file is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// What each row has to fulfil.
    pub rules: RowRules,
    /// Unusable rows that are left out and counted; one more is an error. 0 is strict. Above 0 every row is checked
    /// before the file is open: which rows there are depends on it.
    pub max_bad_rows: usize,
    /// How many rows are checked at once.
    pub check: RowCheck,
    /// Directory that relative image paths start from. `None`: the file's own.
    pub image_base: Option<PathBuf>,
    /// How far pictures are looked into when a row is checked rather than when they are used.
    pub image_check: ImageCheck,
    /// Limits for pictures.
    pub images: ImageOptions,
}

impl OpenOptions {
    /// Strict, every row is checked, pictures must exist, paths relative to the file.
    pub fn new(rules: RowRules) -> Self {
        Self {
            rules,
            max_bad_rows: 0,
            check: RowCheck::default(),
            image_base: None,
            image_check: ImageCheck::default(),
            images: ImageOptions::default(),
        }
    }
}

/// An open training file.
///
/// Opening reads the file once: the place of every line is noted and the whole is hashed, without a look at what the
/// lines say. How many are parsed as well is up to [`RowCheck`]. Rows stay in the file and are parsed when asked for;
/// memory grows by 24 bytes a row.
#[derive(Debug)]
pub struct JsonlDataset {
    rows: Arc<Rows>,
    fingerprint: Fingerprint,
    bad: Vec<DataError>,
    background: Option<Background>,
}

impl JsonlDataset {
    /// Opens and checks a file.
    ///
    /// # Errors
    /// The file cannot be read; a row that was checked is unusable (strict), or too many are; no row is left. With
    /// strict and full checking the first unusable row of the file is the one reported.
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        let path: Arc<Path> = path.as_ref().into();
        let file = File::open(&path).map_err(|e| DataError::io(&path, "open", e))?;
        // A directory opens, and then fails on the first read with a less clear message.
        if file.metadata().is_ok_and(|m| m.is_dir()) {
            let source = std::io::Error::from(std::io::ErrorKind::IsADirectory);
            return Err(DataError::io(&path, "open", source));
        }
        let own = || path.parent().unwrap_or(Path::new("")).to_owned();
        let index = index::scan(&file, options.rules.max_line_bytes)
            .map_err(|e| DataError::io(&path, "read", e))?;
        let mut rows = Rows {
            base: options.image_base.clone().unwrap_or_else(own),
            rules: options.rules,
            images: options.images.clone(),
            image_check: options.image_check,
            file: Positioned::new(file),
            slots: index.slots,
            path,
        };
        if rows.slots.is_empty() {
            return Err(empty(&rows.path, "it has no rows"));
        }
        let mut bad = Vec::new();
        let later = options.check == RowCheck::Background && options.max_bad_rows == 0;
        if later {
            check_sample(&rows)?;
        } else {
            (rows.slots, bad) = check_all(&rows, options)?;
        }
        if rows.slots.is_empty() {
            return Err(empty(&rows.path, "no row is usable"));
        }
        let fingerprint = Fingerprint {
            sha256: index.sha256,
            bytes: index.bytes,
            rows: rows.slots.len() as u64,
        };
        let rows = Arc::new(rows);
        let background = later
            .then(|| Background::start(Arc::clone(&rows)))
            .transpose()?;
        Ok(Self {
            rows,
            fingerprint,
            bad,
            background,
        })
    }

    /// The rows that were left out, and why. Empty unless `max_bad_rows` allowed some.
    pub fn bad_rows(&self) -> &[DataError] {
        &self.bad
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.rows.path
    }

    /// Whether every row was checked, or a bad one found, and nothing goes on in the background.
    pub fn is_checked(&self) -> bool {
        self.background.as_ref().is_none_or(Background::is_done)
    }

    /// The bad row that the background found: it ends the run before it is drawn.
    fn found_bad(&self) -> Result<()> {
        let found = self.background.as_ref().and_then(Background::bad_row);
        // Looked at again, since errors cannot be kept and handed out twice.
        found.map_or(Ok(()), |index| self.rows.check(self.rows.slots[index]))
    }
}

fn empty(path: &Path, why: &'static str) -> DataError {
    let file = path.to_path_buf();
    DataError::Empty { file, why }
}

impl RowSource for JsonlDataset {
    fn len(&self) -> usize {
        self.rows.slots.len()
    }

    fn row(&self, index: usize) -> Result<TrainRow> {
        let slots = &self.rows.slots;
        let slot = *slots.get(index).ok_or_else(|| DataError::NoSuchRow {
            file: self.rows.path.display().to_string(),
            index,
            len: slots.len(),
        })?;
        self.found_bad()?;
        self.rows.read(slot)
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }
}
