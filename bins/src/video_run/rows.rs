//! Rows to train on: clips, the frames that are taken of them, and their places in the cache.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use vtb_data::media::{ClipRow, read_clip_rows};
use vtb_data::video::VideoReader;
use vtb_models_diffusion::cache::{Key, hash_paths};
use vtb_models_diffusion::qwen_image::sizes::covered;
use vtb_models_diffusion::wan::latent_shape;
use vtb_models_vlm::processor::Rgb;
use vtb_trainer::canonical::hex;

use super::frames::{FrameChoice, Taken};
use super::settings::VideoRun;
use crate::edit::pictures::rgb;
use crate::flow_run::{Media, Medium, Row};

/// Frames of a clip at a size, and their place in the cache.
#[derive(Debug, Clone)]
pub(super) struct Clip {
    key: Key,
    path: PathBuf,
    /// Hash of the clip's content.
    hash: String,
    /// Numbers of the frames, in order.
    frames: Vec<usize>,
    /// Width and height in pixels.
    size: (usize, usize),
    /// Whether the first frame is given.
    first_frame: bool,
}

/// A row that was looked at.
pub(super) type ClipSample = Row<Clip>;

/// What decides how rows are encoded.
#[derive(Debug, Clone)]
pub(super) struct Geometry {
    pub(super) choice: FrameChoice,
    /// Width and height in pixels.
    pub(super) size: (usize, usize),
    pub(super) first_frame: bool,
    /// The most tokens of a prompt.
    pub(super) text_len: usize,
    /// Hash of the text encoder's files.
    pub(super) encoder: String,
    /// Hash of the autoencoder's files.
    pub(super) vae: String,
    /// Format in which the text encoder runs; the autoencoder always runs in f32.
    pub(super) precision: String,
}

impl Media for Clip {
    type Item = Self;

    fn target(&self) -> &Self {
        self
    }

    fn references(&self) -> &[Self] {
        &[]
    }

    fn clean_frames(&self) -> usize {
        usize::from(self.first_frame)
    }

    fn identify(&self, hash: &mut Sha256) {
        hash.update(&self.hash);
        for frame in &self.frames {
            hash.update((*frame as u64).to_le_bytes());
        }
    }
}

impl Medium for Clip {
    fn key(&self) -> &Key {
        &self.key
    }

    fn shape(&self, channels: usize) -> [usize; 4] {
        latent_shape(channels, self.frames.len(), self.size.0, self.size.1)
    }
}

impl Geometry {
    pub(super) fn of(
        run: &VideoRun,
        text_len: usize,
        encoder: String,
        vae: String,
        precision: String,
    ) -> Self {
        Self {
            choice: run.data.choice(),
            size: (run.data.width, run.data.height),
            first_frame: run.data.first_frame,
            text_len,
            encoder,
            vae,
            precision,
        }
    }

    /// The key of a prompt.
    pub(super) fn text_key(&self, prompt: &str) -> Key {
        Key::of(
            "wan text",
            &[
                ("prompt", prompt.as_bytes()),
                ("length", &(self.text_len as u64).to_le_bytes()),
                ("encoder", self.encoder.as_bytes()),
                ("precision", self.precision.as_bytes()),
            ],
        )
    }

    fn clip(&self, path: PathBuf, hash: String, frames: Vec<usize>) -> Clip {
        let (width, height) = (self.size.0 as u64, self.size.1 as u64);
        let numbers: Vec<u8> = frames
            .iter()
            .flat_map(|frame| (*frame as u64).to_le_bytes())
            .collect();
        let key = Key::of(
            "clip",
            &[
                ("clip", hash.as_bytes()),
                ("frames", &numbers),
                ("width", &width.to_le_bytes()),
                ("height", &height.to_le_bytes()),
                ("cut", b"covered"),
                ("vae", self.vae.as_bytes()),
            ],
        );
        Clip {
            key,
            path,
            hash,
            frames,
            size: self.size,
            first_frame: self.first_frame,
        }
    }

    fn look(&self, row: ClipRow) -> anyhow::Result<Vec<ClipSample>> {
        check(&row)?;
        let samples = self.choice.of(frame_count(&row.video)?)?;
        let hash = content(&row.video)?;
        let place = row.origin.to_string();
        let id = row.id()?.unwrap_or_else(|| place.clone());
        let pieces = samples.len();
        let rows = samples.into_iter().enumerate().map(|(piece, frames)| Row {
            text: self.text_key(&row.prompt),
            // A piece is not the clip that a puzzle's judge knows.
            id: match pieces {
                1 => id.clone(),
                _ => format!("{id}-{}", piece + 1),
            },
            media: self.clip(row.video.clone(), hash.clone(), frames),
            prompt: row.prompt.clone(),
            place: place.clone(),
        });
        Ok(rows.collect())
    }
}

/// Reads a file of rows and gives everything in it a name.
///
/// # Errors
/// The file or a clip cannot be read, or a clip is too short; the row is named.
pub(super) fn read(
    path: &Path,
    root: Option<&Path>,
    geometry: &Geometry,
) -> anyhow::Result<Vec<ClipSample>> {
    let rows = read_clip_rows(path, root)?;
    let looked: Vec<Vec<ClipSample>> = rows
        .into_par_iter()
        .map(|row| {
            let place = row.origin.to_string();
            geometry.look(row).with_context(|| place)
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(looked.into_iter().flatten().collect())
}

/// What is taken of the clips of a file.
///
/// # Errors
/// As [`read`].
pub(super) fn taken(
    path: &Path,
    root: Option<&Path>,
    choice: &FrameChoice,
) -> anyhow::Result<Taken> {
    let rows = read_clip_rows(path, root)?;
    let counts: Vec<usize> = rows
        .par_iter()
        .map(|row| {
            let look = || {
                check(row)?;
                frame_count(&row.video)
            };
            look().with_context(|| row.origin.to_string())
        })
        .collect::<anyhow::Result<_>>()?;
    let mut taken = Taken::default();
    for (have, row) in counts.into_iter().zip(&rows) {
        let samples = choice.of(have);
        let samples = samples.with_context(|| row.origin.to_string())?;
        taken.add(have, &samples, choice);
    }
    Ok(taken)
}

fn check(row: &ClipRow) -> anyhow::Result<()> {
    if row.input_image.is_some() {
        bail!(
            "the row has an `input_image`, but a sample starts from the first frame of its clip; leave the column out, or \
             put the picture in front of the clip"
        );
    }
    Ok(())
}

/// Frames of a clip. None is decoded.
fn frame_count(path: &Path) -> anyhow::Result<usize> {
    Ok(VideoReader::open(path)?.info().frame_count)
}

/// Hash of a clip's file, or of its folder of frames.
fn content(path: &Path) -> anyhow::Result<String> {
    if path.is_dir() {
        return Ok(hash_paths(&[path.to_owned()])?);
    }
    // No larger than what the reader has read already.
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(hex(&Sha256::digest(bytes)))
}

impl Clip {
    /// Its frames at its size.
    ///
    /// # Errors
    /// A frame cannot be decoded; the file is named.
    pub(super) fn load(&self) -> anyhow::Result<Vec<Rgb>> {
        let mut wanted = self.frames.iter().copied().peekable();
        let mut found = Vec::with_capacity(self.frames.len());
        let (width, height) = self.size;
        // Frames between are decoded all the same: each builds on those before it.
        for (index, frame) in VideoReader::open(&self.path)?.enumerate() {
            let frame = frame?;
            if wanted.next_if_eq(&index).is_some() {
                found.push(covered(&rgb(frame), width, height));
            }
            if wanted.peek().is_none() {
                break;
            }
        }
        let (all, count) = (self.frames.len(), found.len());
        ensure!(
            count == all,
            "{}: only {count} of the {all} frames that are wanted decode; it is cut off, make it again",
            self.path.display()
        );
        Ok(found)
    }
}
