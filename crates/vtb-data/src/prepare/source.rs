//! Data sets of every kind, as samples one after the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sample::Sample;
use crate::error::{DataError, Result};
use crate::manifest::{CANONICAL, MANIFEST, Manifest};

/// Samples that are handed out together.
const CHUNK: usize = 64;

/// A data set to export.
#[derive(Debug)]
pub enum Source {
    /// Records on disk: ours, or one of the Python projects'.
    Records(Manifest),
    /// Parquet files.
    Parquet {
        /// The files, sorted by name.
        files: Vec<PathBuf>,
        /// The folder they were found in.
        root: PathBuf,
    },
}

impl Source {
    /// Opens what lies at `place`, told by what is there: `manifest.jsonl`, `*.parquet` files (in
    /// the folder or in its `data`), `canonical_manifest.jsonl`, or a tree of `data.json` files.
    /// `lenient` leaves out records that cannot be read, see [`Source::skipped`].
    ///
    /// # Errors
    /// As [`Manifest::open`], [`Manifest::open_canonical`] and [`Manifest::open_upstream`].
    pub fn open(place: &Path, lenient: bool) -> Result<Self> {
        let ends = |path: &Path, end: &str| path.extension().is_some_and(|found| found == end);
        if place.is_file() {
            return match place.file_name().is_some_and(|name| name == CANONICAL) {
                true => Manifest::open_canonical(place, lenient).map(Self::Records),
                false if ends(place, "parquet") => Ok(Self::Parquet {
                    files: vec![place.to_owned()],
                    root: place.parent().unwrap_or(Path::new("")).to_owned(),
                }),
                false => Manifest::open_with(place, lenient).map(Self::Records),
            };
        }
        if place.join(MANIFEST).is_file() {
            return Manifest::open_with(place, lenient).map(Self::Records);
        }
        for folder in [place.to_owned(), place.join("data")] {
            let files = parquet_files(&folder)?;
            if !files.is_empty() {
                let root = place.to_owned();
                return Ok(Self::Parquet { files, root });
            }
        }
        let manifest = match place.join(CANONICAL).is_file() {
            true => Manifest::open_canonical(place, lenient)?,
            false => Manifest::open_upstream(place, lenient)?,
        };
        Ok(Self::Records(manifest))
    }

    /// The folder that relative paths of an export start from, and that no file lies outside of.
    pub fn root(&self) -> &Path {
        match self {
            Self::Records(manifest) => manifest.root(),
            Self::Parquet { root, .. } => root,
        }
    }

    /// Records that a lenient opening left out, and why.
    pub fn skipped(&self) -> &[DataError] {
        match self {
            Self::Records(manifest) => manifest.skipped(),
            Self::Parquet { .. } => &[],
        }
    }

    /// Records there are, where that is known before they are read.
    pub fn records(&self) -> Option<usize> {
        match self {
            Self::Records(manifest) => Some(manifest.len()),
            Self::Parquet { .. } => None,
        }
    }

    /// Hands all samples to `take` in order, some at a time.
    pub(super) fn read(
        &self,
        take: &mut dyn FnMut(Vec<Result<Sample>>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Records(manifest) => {
                let file: Arc<Path> = manifest.path().into();
                for start in (0..manifest.len()).step_by(CHUNK) {
                    let end = (start + CHUNK).min(manifest.len());
                    let sample = |at| {
                        let entry = manifest.entry(at)?;
                        Ok(Sample::of_entry(entry, &file, at + 1))
                    };
                    take((start..end).map(sample).collect())?;
                }
                Ok(())
            }
            Self::Parquet { files, .. } => files
                .iter()
                .try_for_each(|file| super::parquet::read_samples(file, &mut *take)),
        }
    }
}

fn parquet_files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let io = |e| DataError::io(folder, "list", e);
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|end| end == "parquet") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
