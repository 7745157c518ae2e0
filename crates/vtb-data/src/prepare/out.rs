//! Where an export is written: files that are complete or absent, and the names of pictures.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::sample::{Picture, Sample};
use crate::error::{DataError, Result};
use crate::image_io::ImageOptions;
use crate::lines::hex;

/// How files are named in an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathMode {
    /// From the root of the file system.
    Absolute,
    /// From the data set's folder; a file outside of it, absolute.
    Relative,
    /// From the folder of the file that names it, up and down.
    Output,
}

/// The names of files in an export, and the folder for files that it makes.
#[derive(Debug)]
pub(super) struct Places {
    root: PathBuf,
    folder: PathBuf,
    mode: PathMode,
    copy: bool,
    dry: bool,
}

impl Places {
    /// `root`: the data set; `folder`: where the export is written. `copy` puts every picture
    /// there too; with `dry` nothing is written.
    pub(super) fn new(
        root: &Path,
        folder: &Path,
        mode: PathMode,
        copy: bool,
        dry: bool,
    ) -> Result<Self> {
        let whole = |path: &Path| {
            // An empty path is the folder at hand.
            let path = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            };
            let found = path.canonicalize().or_else(|_| std::path::absolute(path));
            found.map_err(|e| DataError::io(path, "find", e))
        };
        if !dry {
            std::fs::create_dir_all(folder).map_err(|e| DataError::io(folder, "create", e))?;
        }
        Ok(Self {
            root: whole(root)?,
            folder: whole(folder)?,
            mode,
            copy,
            dry,
        })
    }

    /// The data set's folder, symbolic links followed.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The name of a picture in the export, which is made a file of if it is none.
    pub(super) fn picture(
        &self,
        sample: &Sample,
        field: &str,
        picture: &Picture,
        limits: &ImageOptions,
    ) -> Result<String> {
        match picture {
            Picture::File(asset) if !self.copy => self.name(&asset.path),
            picture => {
                let bytes = picture.bytes(limits);
                let bytes = bytes.map_err(|fault| sample.invalid(field, fault.to_string()))?;
                self.store("images", &bytes, extension(&bytes))
            }
        }
    }

    /// The name of a clip in the export.
    pub(super) fn clip(&self, sample: &Sample, path: &Path) -> Result<String> {
        if !self.copy {
            return self.name(path);
        }
        let bytes = std::fs::read(path);
        let bytes = bytes.map_err(|e| sample.invalid("video", e.to_string()))?;
        let end = path.extension().and_then(|end| end.to_str());
        self.store("clips", &bytes, end.unwrap_or("mp4"))
    }

    /// Writes a file of the export and names it. Its name follows from its content, so that an
    /// earlier export beside this one keeps its own files.
    pub(super) fn store(&self, folder: &str, bytes: &[u8], end: &str) -> Result<String> {
        let name = format!("{}.{end}", &hex(&Sha256::digest(bytes))[..32]);
        let folder = self.folder.join(folder);
        let path = folder.join(name);
        let there = || {
            path.metadata()
                .is_ok_and(|meta| meta.len() == bytes.len() as u64)
        };
        if !self.dry && !there() {
            std::fs::create_dir_all(&folder).map_err(|e| DataError::io(&folder, "create", e))?;
            let mut file = Staged::create(&path)?;
            file.add(bytes)?;
            file.finish(false)?;
        }
        self.name(&path)
    }

    fn name(&self, path: &Path) -> Result<String> {
        let found = std::path::absolute(path).map_err(|e| DataError::io(path, "find", e))?;
        // The folder is resolved and the file's own name is not, so that links to it stay.
        let found = match (found.parent().map(Path::canonicalize), found.file_name()) {
            (Some(Ok(parent)), Some(name)) => parent.join(name),
            _ => found,
        };
        let named = match self.mode {
            PathMode::Absolute => found,
            PathMode::Relative => match found.strip_prefix(&self.root) {
                Ok(below) => below.to_owned(),
                Err(_) => found,
            },
            PathMode::Output => between(&self.folder, &found),
        };
        let text = named.to_str().ok_or_else(|| {
            let shown = path.display();
            DataError::Prepare(format!(
                "{shown}: the name is not UTF-8 and cannot stand in a training file; rename it"
            ))
        })?;
        Ok(match std::path::MAIN_SEPARATOR {
            '/' => text.to_owned(),
            other => text.replace(other, "/"),
        })
    }
}

/// The way from a folder to a file.
fn between(from: &Path, to: &Path) -> PathBuf {
    let (from, to): (Vec<Component<'_>>, Vec<Component<'_>>) =
        (from.components().collect(), to.components().collect());
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(Component::ParentDir, from.len() - same);
    up.chain(to[same..].iter().copied()).collect()
}

/// The usual ending of a picture file's name, by its content.
pub(super) fn extension(bytes: &[u8]) -> &'static str {
    let format = image::guess_format(bytes).ok();
    let ends = format.and_then(|format| format.extensions_str().first());
    ends.copied().unwrap_or("png")
}

/// A file that grows beside its place and moves there when it is complete. Dropped before, it is
/// gone, and what stood in its place is as it was.
#[derive(Debug)]
pub(super) struct Staged {
    place: PathBuf,
    beside: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Staged {
    pub(super) fn create(place: &Path) -> Result<Self> {
        let mut name = place.file_name().unwrap_or_default().to_owned();
        // Two threads may make the same file.
        let thread = format!("{:?}", std::thread::current().id());
        let thread: String = thread.chars().filter(char::is_ascii_digit).collect();
        name.push(format!(".{}-{thread}.tmp", std::process::id()));
        let beside = place.with_file_name(name);
        let file = File::create(&beside).map_err(|e| DataError::io(place, "write", e))?;
        Ok(Self {
            place: place.to_owned(),
            beside,
            file: Some(BufWriter::with_capacity(1 << 18, file)),
        })
    }

    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes)
            .map_err(|e| DataError::io(&self.place, "write", e))
    }

    /// Moves the file to its place; `sync` waits for the disk first.
    pub(super) fn finish(mut self, sync: bool) -> Result<PathBuf> {
        let Some(file) = self.file.take() else {
            return Ok(self.place.clone());
        };
        let attempt = || {
            let file = file
                .into_inner()
                .map_err(std::io::IntoInnerError::into_error)?;
            if sync {
                file.sync_all()?;
            }
            std::fs::rename(&self.beside, &self.place)
        };
        let done = attempt();
        if done.is_err() {
            let _ = std::fs::remove_file(&self.beside);
        }
        done.map_err(|e| DataError::io(&self.place, "write", e))?;
        Ok(self.place.clone())
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Ok(0),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Closed first: some systems do not remove open files.
        if self.file.take().is_some() {
            let _ = std::fs::remove_file(&self.beside);
        }
    }
}
