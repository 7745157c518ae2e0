//! A training file of one JSON object per line, read a row at a time.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::dataset::{Fingerprint, RowSource};
use crate::error::{DataError, Origin, Result, RowFault};
use crate::image_io::{ImageCheck, ImageOptions};
use crate::lines::{Line, Lines};
use crate::row::{RowRules, TrainRow};

/// Lines that are checked together, in parallel.
const BATCH_LINES: usize = 4096;
/// Bytes of lines held at a time while a file is checked.
const BATCH_BYTES: usize = 32 << 20;

/// How a file is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// What each row has to fulfil.
    pub rules: RowRules,
    /// Unusable rows that are left out and counted; one more is an error. 0 is strict.
    pub max_bad_rows: usize,
    /// Directory that relative image paths start from. `None`: the file's own.
    pub image_base: Option<PathBuf>,
    /// How far pictures are looked into now rather than when they are used.
    pub image_check: ImageCheck,
    /// Limits for pictures.
    pub images: ImageOptions,
}

impl OpenOptions {
    /// Strict, pictures must exist, paths relative to the file.
    pub fn new(rules: RowRules) -> Self {
        Self {
            rules,
            max_bad_rows: 0,
            image_base: None,
            image_check: ImageCheck::default(),
            images: ImageOptions::default(),
        }
    }
}

/// Where a usable row lies.
#[derive(Debug, Clone, Copy)]
struct Slot {
    offset: u64,
    /// Bytes, without the end of the line. Bounded by `max_line_bytes`.
    len: u32,
    /// Number of the line, modulo 2³²: only for messages.
    line: u32,
}

/// An open training file.
///
/// Opening reads the file once: every line is checked, its place noted, and the whole hashed. Rows
/// themselves stay in the file and are parsed when asked for; memory grows by 16 bytes a row.
#[derive(Debug)]
pub struct JsonlDataset {
    path: Arc<Path>,
    base: PathBuf,
    rules: RowRules,
    file: Mutex<File>,
    slots: Vec<Slot>,
    fingerprint: Fingerprint,
    bad: Vec<DataError>,
}

impl JsonlDataset {
    /// Opens and checks a file.
    ///
    /// # Errors
    /// The file cannot be read; a row is unusable (strict), or too many are; no row is left. With
    /// strict checking the first unusable row of the file is the one reported.
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        let path: Arc<Path> = path.as_ref().into();
        let file = File::open(&path).map_err(|e| DataError::io(&path, "open", e))?;
        // A directory opens, and then fails on the first read with a less clear message.
        if file.metadata().is_ok_and(|m| m.is_dir()) {
            let source = std::io::Error::from(std::io::ErrorKind::IsADirectory);
            return Err(DataError::io(&path, "open", source));
        }
        let own = || path.parent().unwrap_or(Path::new("")).to_owned();
        let base = options.image_base.clone().unwrap_or_else(own);
        let mut scan = Scan::start(&path, &base, options);
        let (sha256, bytes) = scan.run(&file)?;
        let Scan { slots, bad, .. } = scan;
        if slots.is_empty() {
            let why = if bad.is_empty() {
                "it has no rows"
            } else {
                "no row is usable"
            };
            return Err(DataError::Empty {
                file: path.to_path_buf(),
                why,
            });
        }
        let fingerprint = Fingerprint {
            sha256,
            bytes,
            rows: slots.len() as u64,
        };
        let (rules, file) = (options.rules, Mutex::new(file));
        Ok(Self {
            path,
            base,
            rules,
            file,
            slots,
            fingerprint,
            bad,
        })
    }

    /// The rows that were left out, and why. Empty unless `max_bad_rows` allowed some.
    pub fn bad_rows(&self) -> &[DataError] {
        &self.bad
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self, slot: Slot) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; slot.len as usize];
        // Poisoned means that another thread panicked while it read: the file is none the worse.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(slot.offset))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl RowSource for JsonlDataset {
    fn len(&self) -> usize {
        self.slots.len()
    }

    fn row(&self, index: usize) -> Result<TrainRow> {
        let slot = *self.slots.get(index).ok_or_else(|| DataError::NoSuchRow {
            file: self.path.display().to_string(),
            index,
            len: self.slots.len(),
        })?;
        let bytes = self
            .read(slot)
            .map_err(|e| DataError::io(&self.path, "read", e))?;
        let origin = Origin {
            file: Arc::clone(&self.path),
            line: u64::from(slot.line),
        };
        TrainRow::parse(&bytes, origin, &self.rules, &self.base)
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }
}

/// The pass over the file when it is opened.
struct Scan<'a> {
    path: &'a Arc<Path>,
    base: &'a Path,
    options: &'a OpenOptions,
    slots: Vec<Slot>,
    bad: Vec<DataError>,
    rows: usize,
    batch: Vec<(Slot, Vec<u8>)>,
    batch_bytes: usize,
}

impl<'a> Scan<'a> {
    fn start(path: &'a Arc<Path>, base: &'a Path, options: &'a OpenOptions) -> Self {
        Self {
            path,
            base,
            options,
            slots: Vec::new(),
            bad: Vec::new(),
            rows: 0,
            batch: Vec::new(),
            batch_bytes: 0,
        }
    }

    /// Returns the hash and the size of the file.
    fn run(&mut self, file: &File) -> Result<(String, u64)> {
        // A slot holds lengths in 32 bits.
        let limit = self.options.rules.max_line_bytes.min(u32::MAX as usize);
        let mut lines = Lines::new(file, limit);
        while let Some(line) = lines
            .next()
            .map_err(|e| DataError::io(self.path, "read", e))?
        {
            let Line {
                offset,
                number,
                bytes,
            } = line;
            let slot = |len| Slot {
                offset,
                len,
                line: number as u32,
            };
            match bytes {
                Some(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => {}
                Some(bytes) => {
                    self.batch_bytes += bytes.len();
                    self.batch.push((slot(bytes.len() as u32), bytes));
                }
                None => {
                    self.check_batch()?;
                    let origin = self.origin(slot(0));
                    self.reject(DataError::Row {
                        origin,
                        fault: RowFault::TooLong { limit },
                    })?;
                }
            }
            if self.batch.len() >= BATCH_LINES || self.batch_bytes >= BATCH_BYTES {
                self.check_batch()?;
            }
        }
        self.check_batch()?;
        Ok(lines.finish())
    }

    fn origin(&self, slot: Slot) -> Origin {
        Origin {
            file: Arc::clone(self.path),
            line: u64::from(slot.line),
        }
    }

    fn check_batch(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let check = |(slot, bytes): &(Slot, Vec<u8>)| {
            let rules = &self.options.rules;
            let row = TrainRow::parse(bytes, self.origin(*slot), rules, self.base)?;
            row.check_images(self.options.image_check, &self.options.images)
        };
        let verdicts: Vec<Result<()>> = batch.par_iter().map(check).collect();
        for ((slot, _), verdict) in batch.iter().zip(verdicts) {
            match verdict {
                Ok(()) => {
                    self.rows += 1;
                    self.slots.push(*slot);
                }
                Err(error) => self.reject(error)?,
            }
        }
        Ok(())
    }

    fn reject(&mut self, error: DataError) -> Result<()> {
        self.rows += 1;
        let allowed = self.options.max_bad_rows;
        if allowed == 0 {
            return Err(error);
        }
        tracing::warn!(%error, "row left out");
        self.bad.push(error);
        if self.bad.len() > allowed {
            return Err(DataError::TooManyBadRows {
                file: self.path.to_path_buf(),
                bad: self.bad.len(),
                rows: self.rows,
                allowed,
                first: Box::new(self.bad.swap_remove(0)),
            });
        }
        Ok(())
    }
}
