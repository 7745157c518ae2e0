//! Rows of a file, one clip for each attempt.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rayon::prelude::*;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use vtb_data::media::read_clip_rows;
use vtb_data::video::VideoReader;
use vtb_data::{ImageRef, Origin};
use vtb_models_diffusion::scheduler::noise;
use vtb_models_vlm::processor::Rgb;
use vtb_trainer::canonical::hex;
use vtb_trainer::rng;

use super::files::write_clip;
use super::model::VideoModel;
use super::settings::ClipSettings;
use crate::edit::attempts::{Attempts, CLIPS};
use crate::edit::{Told, pictures};
use crate::model::Machine;

/// Where the picture of a row comes from.
#[derive(Debug)]
enum Start {
    Picture(ImageRef),
    /// The first frame of a clip.
    Clip(PathBuf),
}

#[derive(Debug)]
struct Row {
    /// Its `id`, or its number in the file.
    id: String,
    prompt: String,
    start: Start,
    origin: Origin,
}

/// Rows and where their clips go.
#[derive(Debug)]
pub struct ClipJob {
    rows: Vec<Row>,
    attempts: Attempts,
}

impl ClipJob {
    /// Reads the rows, and finds out which attempts are in `output` already. Nothing is written yet. `recorded` is what
    /// the clips depend on: a folder that was begun otherwise is refused.
    ///
    /// # Errors
    /// Rows that cannot be read, whose pictures cannot, or whose names meet; a folder that holds something else.
    pub fn open(
        data: &Path,
        video_root: Option<&Path>,
        output: &Path,
        samples: usize,
        mut recorded: Map<String, Value>,
    ) -> anyhow::Result<Self> {
        let rows: Vec<Row> = read_clip_rows(data, video_root)?
            .into_iter()
            .enumerate()
            .map(|(number, row)| {
                let id = row.id()?.unwrap_or_else(|| (number + 1).to_string());
                Ok(Row {
                    id,
                    prompt: row.prompt,
                    start: match row.input_image {
                        Some(image) => Start::Picture(image),
                        None => Start::Clip(row.video),
                    },
                    origin: row.origin,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        let names = rows.iter().map(|row| (row.id.as_str(), &row.origin));
        let attempts = Attempts::at(CLIPS, names, output, samples)?;
        recorded.insert("rows".into(), content(&rows)?.into());
        let attempts = attempts.look(recorded)?;
        Ok(Self { rows, attempts })
    }

    /// Attempts in all.
    pub fn len(&self) -> usize {
        self.attempts.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Where the list of attempts is.
    pub fn predictions(&self) -> PathBuf {
        self.attempts.predictions()
    }

    /// Whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        self.attempts.done() == self.len()
    }

    /// Makes the attempts that are left, and notes each when its clip is written. An attempt depends on the seed, the
    /// number of its row and its own number alone.
    ///
    /// # Errors
    /// As [`VideoModel::prepare`]; a clip cannot be written.
    pub fn run(
        &self,
        settings: &ClipSettings,
        tiled: bool,
        model: VideoModel,
        machine: &Machine,
    ) -> anyhow::Result<()> {
        self.attempts.begin()?;
        let told = Told::default();
        let first = self.attempts.first_row();
        let left = &self.rows[first..];
        let words = |index: usize| left[index].prompt.clone();
        let picture = |index: usize| Ok(settings.first_frame(&left[index].load()?));
        let count = left.len();
        let (drawing, inputs) = model.prepare(machine, settings, count, &words, &picture, &told)?;
        told.begin(
            "steps",
            (self.len() - self.attempts.done()) * settings.steps,
        );
        self.attempts.run(|row, sample, file| {
            let inputs = &inputs[row - first];
            let seed = rng::seed(settings.seed, "clip", row as u64, sample as u64);
            let start = noise(inputs.shape, seed);
            let mut step = || told.step();
            let (_, frames) = drawing.draw(inputs, start, settings, tiled, &mut step)?;
            write_clip(file, &frames, settings.fps)
        })?;
        told.end();
        Ok(())
    }
}

/// A hash of what the rows ask for: prompts and pictures. Every picture is decoded for it.
fn content(rows: &[Row]) -> anyhow::Result<String> {
    let hashes: Vec<anyhow::Result<Vec<u8>>> = rows.par_iter().map(Row::content).collect();
    let mut whole = Sha256::new();
    for hash in hashes {
        whole.update(hash?);
    }
    Ok(hex(&whole.finalize()))
}

impl Row {
    fn content(&self) -> anyhow::Result<Vec<u8>> {
        let mut hash = Sha256::new();
        for text in [&self.id, &self.prompt] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let picture = self.load()?;
        for side in [picture.width, picture.height] {
            hash.update((side as u64).to_le_bytes());
        }
        hash.update(&picture.pixels);
        Ok(hash.finalize().to_vec())
    }

    /// The picture that the clip starts from.
    fn load(&self) -> anyhow::Result<Rgb> {
        let load = || match &self.start {
            Start::Picture(image) => pictures::load(image),
            Start::Clip(path) => {
                let frame = VideoReader::open(path)?.next();
                let frame = frame.with_context(|| format!("{}: has no frame", path.display()))?;
                Ok(pictures::rgb(frame?))
            }
        };
        load().with_context(|| self.origin.to_string())
    }
}
