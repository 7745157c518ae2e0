//! Rows of a file to edit, one picture for each attempt.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use rayon::prelude::*;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use vtb_data::media::read_edit_rows;
use vtb_data::{ImageRef, Origin, image_io};
use vtb_models_diffusion::qwen_image::noise;
use vtb_models_vlm::processor::Rgb;
use vtb_trainer::canonical::hex;
use vtb_trainer::rng;

use super::attempts::{Attempts, PICTURES};
use super::files::write_picture;
use super::model::EditModel;
use super::pictures;
use super::settings::EditSettings;
use super::told::Told;
use crate::model::Machine;

/// A row to edit.
#[derive(Debug)]
struct Row {
    /// Its `id`, or its number in the file.
    id: String,
    prompt: String,
    pictures: Vec<ImageRef>,
    origin: Origin,
}

/// Rows and where their pictures go.
#[derive(Debug)]
pub struct Job {
    rows: Vec<Row>,
    attempts: Attempts,
}

impl Job {
    /// Reads the rows, and finds out which attempts are in `output` already. Nothing is written yet. `recorded` is what
    /// the pictures depend on: a folder that was begun otherwise is refused.
    ///
    /// # Errors
    /// Rows that cannot be read, that have no picture to edit, or whose names meet; a folder that holds something else.
    pub fn open(
        data: &Path,
        image_root: Option<&Path>,
        output: &Path,
        samples: usize,
        recorded: Map<String, Value>,
    ) -> anyhow::Result<Self> {
        let rows = read_rows(data, image_root)?;
        let names = rows.iter().map(|row| (row.id.as_str(), &row.origin));
        let attempts = Attempts::at(PICTURES, names, output, samples)?;
        let mut recorded = recorded;
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

    /// Checks the pictures of the rows that are left: each is decoded once, and none kept.
    ///
    /// # Errors
    /// Names the row: a picture that cannot be read or edited, or a size that the model has no schedule for.
    pub fn check(&self, settings: &EditSettings, model: &EditModel) -> anyhow::Result<()> {
        self.left().par_iter().try_for_each(|row| {
            let sizes: Vec<_> = row.load()?.iter().map(|p| (p.width, p.height)).collect();
            let size = settings.check_pictures(&sizes);
            let size = size.with_context(|| row.origin.to_string())?;
            model.check_steps(settings.steps, size)
        })
    }

    fn left(&self) -> &[Row] {
        &self.rows[self.attempts.first_row()..]
    }

    /// Makes the attempts that are left, and notes each when its picture is written. An attempt depends on the seed,
    /// the number of its row and its own number alone.
    ///
    /// # Errors
    /// As [`EditModel::prepare`]; a picture cannot be written.
    pub fn run(
        &self,
        settings: &EditSettings,
        model: EditModel,
        machine: &Machine,
    ) -> anyhow::Result<()> {
        self.attempts.begin()?;
        let told = Told::default();
        let left = self.left();
        let request = |index: usize| {
            let row = &left[index];
            Ok(settings.request(row.load()?, &row.prompt))
        };
        let activation = settings.activation;
        let (drawing, inputs) = model.prepare(machine, activation, left.len(), &request, &told)?;
        let steps = (self.len() - self.attempts.done()) * settings.steps;
        told.begin("steps", steps);
        let first = self.attempts.first_row();
        self.attempts.run(|row, sample, file| {
            let inputs = &inputs[row - first];
            let seed = rng::seed(settings.seed, "edit", row as u64, sample as u64);
            let start = noise(inputs.shape, seed);
            let (_, picture) = drawing.draw(inputs, start, settings.steps, &mut || told.step())?;
            write_picture(file, &picture)
        })?;
        told.end();
        Ok(())
    }
}

/// A hash of what the rows ask for: prompts, and the files of their pictures.
fn content(rows: &[Row]) -> anyhow::Result<String> {
    let hashes: Vec<anyhow::Result<Vec<u8>>> = rows
        .par_iter()
        .map(|row| row.content().with_context(|| row.origin.to_string()))
        .collect();
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
        for image in &self.pictures {
            let bytes = image_io::encoded(image, &pictures::options());
            let bytes = bytes.with_context(|| image.to_string())?;
            hash.update(Sha256::digest(bytes.unwrap_or_default()));
        }
        Ok(hash.finalize().to_vec())
    }

    /// The pictures to edit.
    fn load(&self) -> anyhow::Result<Vec<Rgb>> {
        let loaded: anyhow::Result<Vec<Rgb>> = self.pictures.iter().map(pictures::load).collect();
        loaded.with_context(|| self.origin.to_string())
    }
}

fn read_rows(data: &Path, image_root: Option<&Path>) -> anyhow::Result<Vec<Row>> {
    let rows = read_edit_rows(data, image_root)?.into_iter().enumerate();
    rows.map(|(number, row)| {
        let id = row.id()?.unwrap_or_else(|| (number + 1).to_string());
        let origin = row.origin;
        ensure!(
            !row.edit_images.is_empty(),
            "{origin}: has no `edit_image`, and there is nothing to edit without one"
        );
        Ok(Row {
            id,
            prompt: row.prompt,
            pictures: row.edit_images,
            origin,
        })
    })
    .collect()
}
