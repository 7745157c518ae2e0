//! Rows of a file to edit, one picture for each attempt, and which of them are there already.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use vtb_data::media::read_edit_rows;
use vtb_data::{ImageRef, Origin, image_io};
use vtb_models_diffusion::qwen_image::noise;
use vtb_models_vlm::processor::Rgb;
use vtb_nn::checkpoint::{read_bounded, write_atomic};
use vtb_trainer::canonical::hex;
use vtb_trainer::rng;

use super::files::write_picture;
use super::model::EditModel;
use super::pictures;
use super::settings::EditSettings;
use super::told::Told;
use crate::ending::Usage;
use crate::model::Machine;

/// Attempts, a line each, as `evaluate image` reads them.
const PREDICTIONS: &str = "predictions.jsonl";
/// What the pictures were made with.
const SETTINGS: &str = "settings.json";
/// Largest file of settings or predictions that is read.
const MAX_BYTES: u64 = 256 << 20;

/// A row to edit.
#[derive(Debug)]
struct Row {
    /// Its `id`, or its number in the file.
    id: String,
    /// File name without number and ending.
    stem: String,
    prompt: String,
    pictures: Vec<ImageRef>,
    origin: Origin,
}

/// An attempt, a line of [`PREDICTIONS`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    id: String,
    /// File name of the picture.
    image: String,
    /// Number of the attempt among those at its row.
    sample: usize,
}

/// Rows and where their pictures go.
#[derive(Debug)]
pub struct Job {
    rows: Vec<Row>,
    output: PathBuf,
    samples: usize,
    /// Lines of the attempts that are there.
    done: Vec<Line>,
    /// What the pictures depend on.
    recorded: Map<String, Value>,
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
        let mut job = Self {
            output: output.to_owned(),
            samples,
            done: Vec::new(),
            recorded,
            rows,
        };
        let content = job.content()?;
        job.recorded.insert("rows".into(), content.into());
        job.done = job.attempts()?;
        if !job.done.is_empty() {
            agree(&output.join(SETTINGS), &job.recorded)?;
        }
        Ok(job)
    }

    /// Attempts in all.
    pub fn len(&self) -> usize {
        self.rows.len() * self.samples
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Where the list of attempts is.
    pub fn predictions(&self) -> PathBuf {
        self.output.join(PREDICTIONS)
    }

    /// Whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        self.done.len() == self.len()
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

    /// A hash of what the rows ask for: prompts, and the files of their pictures.
    fn content(&self) -> anyhow::Result<String> {
        let hashes: Vec<anyhow::Result<Vec<u8>>> = self
            .rows
            .par_iter()
            .map(|row| row.content().with_context(|| row.origin.to_string()))
            .collect();
        let mut whole = Sha256::new();
        for hash in hashes {
            whole.update(hash?);
        }
        Ok(hex(&whole.finalize()))
    }

    fn left(&self) -> &[Row] {
        &self.rows[self.done.len() / self.samples..]
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
        self.begin()?;
        let told = Told::default();
        let left = self.left();
        let request = |index: usize| {
            let row = &left[index];
            Ok(settings.request(row.load()?, &row.prompt))
        };
        let activation = settings.activation;
        let (drawing, inputs) = model.prepare(machine, activation, left.len(), &request, &told)?;
        let path = self.predictions();
        let mut file = OpenOptions::new()
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        told.begin("steps", (self.len() - self.done.len()) * settings.steps);
        let first = self.done.len() / self.samples;
        for attempt in self.done.len()..self.len() {
            let (index, sample) = (attempt / self.samples, attempt % self.samples);
            let inputs = &inputs[index - first];
            let seed = rng::seed(settings.seed, "edit", index as u64, sample as u64);
            let start = noise(inputs.shape, seed);
            let (_, picture) = drawing.draw(inputs, start, settings.steps, &mut || told.step())?;
            let line = self.line(attempt);
            write_picture(&self.output.join(&line.image), &picture)?;
            file.write_all(format!("{}\n", serde_json::to_string(&line)?).as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        told.end();
        Ok(())
    }

    /// Writes what the pictures depend on, and the lines of those that are there: what was behind them is cut off.
    fn begin(&self) -> anyhow::Result<()> {
        let folder = &self.output;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let recorded = serde_json::to_string_pretty(&self.recorded)? + "\n";
        write_atomic(&folder.join(SETTINGS), recorded.as_bytes())?;
        let mut lines = String::new();
        for line in &self.done {
            lines += &(serde_json::to_string(line)? + "\n");
        }
        Ok(write_atomic(&self.predictions(), lines.as_bytes())?)
    }

    fn line(&self, attempt: usize) -> Line {
        let (row, sample) = (&self.rows[attempt / self.samples], attempt % self.samples);
        let image = match self.samples {
            1 => format!("{}.png", row.stem),
            _ => format!("{}-{sample}.png", row.stem),
        };
        Line {
            id: row.id.clone(),
            image,
            sample,
        }
    }

    /// Lines of the attempts that are in the folder with their pictures.
    fn attempts(&self) -> anyhow::Result<Vec<Line>> {
        let path = self.predictions();
        let shown = path.display();
        if !path.exists() {
            let pictures =
                (0..self.len()).map(|attempt| self.output.join(self.line(attempt).image));
            if let Some(there) = pictures.into_iter().find(|picture| picture.exists()) {
                let there = there.display();
                bail!("{there} is there already and would be replaced; name another --output");
            }
            return Ok(Vec::new());
        }
        let bytes = read_bounded(&path, MAX_BYTES)?;
        let mut lines = Vec::new();
        // What stands behind the last line break was not written to its end.
        let whole = bytes.iter().rposition(|b| *b == b'\n').unwrap_or(0);
        for text in bytes[..whole]
            .split(|b| *b == b'\n')
            .filter(|t| !t.is_empty())
        {
            let place = lines.len() + 1;
            let found: Line = serde_json::from_slice(text).with_context(|| {
                format!("{shown}, line {place}: not an attempt; name another --output")
            })?;
            ensure!(
                lines.len() < self.len(),
                "{shown} holds more attempts than are asked for; name another --output"
            );
            let wanted = self.line(lines.len());
            ensure!(
                found == wanted,
                "{shown}, line {place}: attempt {} at row {}, where attempt {} at row {} belongs; name another --output",
                found.sample,
                found.id,
                wanted.sample,
                wanted.id
            );
            if !self.output.join(&found.image).is_file() {
                break;
            }
            lines.push(found);
        }
        Ok(lines)
    }
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
    let mut rows: Vec<Row> = Vec::new();
    let mut names = HashMap::new();
    for (number, row) in read_edit_rows(data, image_root)?.into_iter().enumerate() {
        let id = row.id()?.unwrap_or_else(|| (number + 1).to_string());
        let origin = row.origin;
        ensure!(
            !row.edit_images.is_empty(),
            "{origin}: has no `edit_image`, and there is nothing to edit without one"
        );
        let stem = pictures::file_stem(&id);
        // Some file systems do not tell upper from lower case.
        if let Some(other) = names.insert(stem.to_lowercase(), number) {
            let other: &Row = &rows[other];
            bail!(
                "{origin}: its id `{id}` gives the file name of row `{}` ({}); give every row an id of its own",
                other.id,
                other.origin
            );
        }
        rows.push(Row {
            id,
            stem,
            prompt: row.prompt,
            pictures: row.edit_images,
            origin,
        });
    }
    Ok(rows)
}

/// Compares what the pictures depend on with what was noted.
fn agree(path: &Path, recorded: &Map<String, Value>) -> anyhow::Result<()> {
    let shown = path.display();
    let known = read_bounded(path, MAX_BYTES).with_context(|| {
        format!(
            "what the pictures there were made with is not known; name another --output ({shown})"
        )
    })?;
    let known: Map<String, Value> =
        serde_json::from_slice(&known).with_context(|| format!("{shown} is damaged"))?;
    for (name, value) in recorded {
        let before = known.get(name).unwrap_or(&Value::Null);
        if before != value {
            let why = format!(
                "{shown}: the pictures there were made with {name} = {before}, now it is {value}; name another --output"
            );
            return Err(Usage(why).into());
        }
    }
    Ok(())
}
