//! Rows of a file to edit, one picture for each attempt, and which of them are there already.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vtb_data::media::read_edit_rows;
use vtb_data::{ImageRef, Origin};
use vtb_models_diffusion::qwen_image::noise;
use vtb_models_vlm::processor::{DecodeOptions, Rgb, decode, read_rgb};
use vtb_nn::checkpoint::{read_bounded, write_atomic};
use vtb_trainer::rng;

use super::files::write_picture;
use super::model::EditModel;
use super::settings::EditSettings;
use super::told::Told;
use crate::ending::Usage;
use crate::model::Machine;

/// Attempts, a line each, as `evaluate image` reads them.
pub const PREDICTIONS: &str = "predictions.jsonl";
/// What the pictures were made with.
pub const SETTINGS: &str = "settings.json";
/// Largest file of settings or predictions that is read.
const MAX_BYTES: u64 = 256 << 20;
/// Longest file name of a picture, without ending.
const MAX_STEM: usize = 200;

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
        let mut job = Self {
            rows: read_rows(data, image_root)?,
            output: output.to_owned(),
            samples,
            done: Vec::new(),
            recorded,
        };
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
    /// The pictures to edit.
    fn load(&self) -> anyhow::Result<Vec<Rgb>> {
        let options = DecodeOptions::default();
        let load = |image: &ImageRef| -> anyhow::Result<Rgb> {
            Ok(match image {
                ImageRef::Path(path) => read_rgb(path, &options)?,
                ImageRef::Encoded(bytes) => decode("`edit_image`", bytes, &options)?,
                ImageRef::Pixels(pixels) => Rgb {
                    width: pixels.width() as usize,
                    height: pixels.height() as usize,
                    pixels: pixels.as_raw().clone(),
                },
            })
        };
        let loaded: anyhow::Result<Vec<Rgb>> = self.pictures.iter().map(load).collect();
        loaded.with_context(|| self.origin.to_string())
    }
}

fn read_rows(data: &Path, image_root: Option<&Path>) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut names = HashMap::new();
    for (number, row) in read_edit_rows(data, image_root)?.into_iter().enumerate() {
        let origin = row.origin;
        ensure!(
            !row.edit_images.is_empty(),
            "{origin}: has no `edit_image`, and there is nothing to edit without one"
        );
        let id = match row.extra.get("id") {
            Some(Value::String(id)) if !id.is_empty() => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            None | Some(Value::Null) => (number + 1).to_string(),
            Some(_) => bail!("{origin}: `id` is neither text nor a number"),
        };
        let stem = file_stem(&id);
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

/// An id as a file name that means the same everywhere.
fn file_stem(id: &str) -> String {
    let plain = |c: char| match c.is_ascii_alphanumeric() || "._-".contains(c) {
        true => c,
        false => '_',
    };
    let stem: String = id.chars().take(MAX_STEM).map(plain).collect();
    match stem.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => stem,
    }
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
