//! What a reader of a data set gets.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use vtb_puzzle::{Answer, Prompts, Record, TaskGroup};

use crate::error::{DataError, Result};
use crate::lines::hex;

/// A file of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Where it is.
    pub path: PathBuf,
    /// Hash of its content in lower-case hexadecimal, where the manifest names one.
    pub sha256: Option<String>,
}

impl Asset {
    /// The content, checked against the hash.
    ///
    /// # Errors
    /// [`DataError::Io`], also for a file of more than `max_bytes`; [`DataError::Changed`].
    pub fn read(&self, max_bytes: u64) -> Result<Vec<u8>> {
        let attempt = || {
            let file = File::open(&self.path)?;
            let mut bytes = Vec::new();
            file.take(max_bytes.saturating_add(1))
                .read_to_end(&mut bytes)?;
            match bytes.len() as u64 > max_bytes {
                true => Err(std::io::Error::new(
                    std::io::ErrorKind::FileTooLarge,
                    format!("it has more than {max_bytes} bytes"),
                )),
                false => Ok(bytes),
            }
        };
        let bytes = attempt().map_err(|e| DataError::io(&self.path, "read", e))?;
        self.compare(hex(&Sha256::digest(&bytes)))?;
        Ok(bytes)
    }

    /// Checks the content against the hash; without one, that the file can be read.
    ///
    /// # Errors
    /// [`DataError::Io`], [`DataError::Changed`].
    pub fn verify(&self) -> Result<()> {
        let found = hash_file(&self.path).map_err(|e| DataError::io(&self.path, "read", e))?;
        self.compare(found)
    }

    fn compare(&self, found: String) -> Result<()> {
        match &self.sha256 {
            Some(expected) if *expected != found => Err(DataError::Changed {
                path: self.path.clone(),
                expected: expected.clone(),
                found,
            }),
            _ => Ok(()),
        }
    }
}

/// SHA-256 of a file, a part at a time.
pub(crate) fn hash_file(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut part) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&part[..read]),
        }
    }
}

/// A clip of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoAsset {
    /// The file.
    pub file: Asset,
    /// Frames per second, where it is said.
    pub fps: Option<f64>,
    /// Frames, where it is said.
    pub frames: Option<u64>,
}

/// A record of foreign data as it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignRecord {
    /// The `data.json`.
    pub file: Arc<Path>,
    /// Which of its records, counted from 1.
    pub number: usize,
    /// The record: JSON text, an object.
    pub json: Box<str>,
}

/// One record of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestEntry {
    /// Name in its data set.
    pub id: String,
    /// Name of the task.
    pub task: String,
    /// Family of the task.
    pub group: TaskGroup,
    /// Part of the data set it belongs to, where that was divided.
    pub split: Option<String>,
    /// Prompts by kind of answer; empty text where there is none.
    pub prompts: Prompts,
    /// The right answer.
    pub answer: Answer,
    /// What an answer may be, where that is known.
    pub options: Vec<String>,
    /// The picture of the question.
    pub puzzle: Asset,
    /// The same picture with marks for text answers, such as printed cell ids, where it is another.
    pub reasoning: Option<Asset>,
    /// The picture of the solution.
    pub solution: Option<Asset>,
    /// The clip of the solution.
    pub video: Option<VideoAsset>,
    /// The whole record, from which everything can be derived again; none in foreign data.
    pub record: Option<Box<Record>>,
    /// What foreign data say of it; none in our own.
    pub foreign: Option<Box<ForeignRecord>>,
}

impl ManifestEntry {
    /// Every file of the entry.
    pub fn assets(&self) -> impl Iterator<Item = &Asset> {
        let video = self.video.as_ref().map(|video| &video.file);
        let pictures = [self.reasoning.as_ref(), self.solution.as_ref(), video];
        std::iter::once(&self.puzzle).chain(pictures.into_iter().flatten())
    }
}
