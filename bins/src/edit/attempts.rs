//! Attempts at the rows of a file: their names, and which of them are there already.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vtb_data::Origin;
use vtb_nn::checkpoint::{read_bounded, write_atomic};

use super::pictures;
use crate::ending::Usage;

/// Attempts, a line each, as `evaluate` reads them.
const PREDICTIONS: &str = "predictions.jsonl";
/// What the results were made with.
const SETTINGS: &str = "settings.json";
/// Largest file of settings or predictions that is read.
const MAX_BYTES: u64 = 256 << 20;

/// What comes out of an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// Its field in a line of predictions.
    pub(crate) field: &'static str,
    /// The end of its file's name.
    pub(crate) ending: &'static str,
    /// Several of them, for messages.
    pub(crate) several: &'static str,
}

/// Pictures.
pub(crate) const PICTURES: Kind = Kind {
    field: "image",
    ending: "png",
    several: "pictures",
};

/// Clips.
pub(crate) const CLIPS: Kind = Kind {
    field: "video",
    ending: "mp4",
    several: "clips",
};

/// An attempt, a line of [`PREDICTIONS`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    id: String,
    /// File name of the result, by the kind's field.
    #[serde(flatten)]
    file: HashMap<String, String>,
    /// Number of the attempt among those at its row.
    sample: usize,
}

/// Attempts at rows, and those of them that are in a folder.
#[derive(Debug)]
pub(crate) struct Attempts {
    kind: Kind,
    ids: Vec<String>,
    /// File names without number and ending.
    stems: Vec<String>,
    output: PathBuf,
    samples: usize,
    /// How many are there.
    done: usize,
    /// What the results depend on.
    recorded: Map<String, Value>,
}

impl Attempts {
    /// Names the attempts at rows of these ids. None is looked for yet.
    ///
    /// # Errors
    /// Ids that give the same file name.
    pub(crate) fn at<'a>(
        kind: Kind,
        rows: impl IntoIterator<Item = (&'a str, &'a Origin)>,
        output: &Path,
        samples: usize,
    ) -> anyhow::Result<Self> {
        let (mut ids, mut stems) = (Vec::new(), Vec::new());
        let mut names = HashMap::new();
        for (id, origin) in rows {
            let stem = pictures::file_stem(id);
            // Some file systems do not tell upper from lower case.
            let other = names.insert(stem.to_lowercase(), (id, origin));
            if let Some((other, place)) = other {
                bail!(
                    "{origin}: its id `{id}` gives the file name of row `{other}` ({place}); give every row an id of its \
                     own"
                );
            }
            stems.push(stem);
            ids.push(id.to_owned());
        }
        Ok(Self {
            kind,
            ids,
            stems,
            output: output.to_owned(),
            samples,
            done: 0,
            recorded: Map::new(),
        })
    }

    /// Finds out which of them are in the folder already. Nothing is written yet. `recorded` is what the results depend on:
    /// a folder that was begun otherwise is refused.
    ///
    /// # Errors
    /// The folder holds something else.
    pub(crate) fn look(mut self, recorded: Map<String, Value>) -> anyhow::Result<Self> {
        self.recorded = recorded;
        self.done = self.found()?;
        if self.done > 0 {
            self.agree()?;
        }
        Ok(self)
    }

    /// Attempts in all.
    pub(crate) fn len(&self) -> usize {
        self.ids.len() * self.samples
    }

    /// Attempts that are there.
    pub(crate) fn done(&self) -> usize {
        self.done
    }

    /// The first row of which attempts are left.
    pub(crate) fn first_row(&self) -> usize {
        self.done / self.samples
    }

    /// Where the list of attempts is.
    pub(crate) fn predictions(&self) -> PathBuf {
        self.output.join(PREDICTIONS)
    }

    /// Makes the attempts that are left by `make`, which is told row, number of the attempt and file, and notes each when
    /// its file is written.
    ///
    /// # Errors
    /// As `make`; the folder cannot be written.
    pub(crate) fn run(
        &self,
        mut make: impl FnMut(usize, usize, &Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let path = self.predictions();
        let fail = || format!("cannot write {}", path.display());
        let opened = OpenOptions::new().append(true).open(&path);
        let mut file: File = opened.with_context(fail)?;
        for attempt in self.done..self.len() {
            let (row, sample) = (attempt / self.samples, attempt % self.samples);
            make(row, sample, &self.output.join(self.file(attempt)))?;
            let line = serde_json::to_string(&self.line(attempt))?;
            file.write_all(format!("{line}\n").as_bytes())
                .with_context(fail)?;
        }
        Ok(())
    }

    /// Writes what the results depend on, and the lines of those that are there: what was behind them is cut off.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn begin(&self) -> anyhow::Result<()> {
        let folder = &self.output;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let recorded = serde_json::to_string_pretty(&self.recorded)? + "\n";
        write_atomic(&folder.join(SETTINGS), recorded.as_bytes())?;
        let mut lines = String::new();
        for attempt in 0..self.done {
            lines += &(serde_json::to_string(&self.line(attempt))? + "\n");
        }
        Ok(write_atomic(&self.predictions(), lines.as_bytes())?)
    }

    /// Name of the file of an attempt.
    fn file(&self, attempt: usize) -> String {
        let (stem, sample) = (&self.stems[attempt / self.samples], attempt % self.samples);
        let ending = self.kind.ending;
        match self.samples {
            1 => format!("{stem}.{ending}"),
            _ => format!("{stem}-{sample}.{ending}"),
        }
    }

    fn line(&self, attempt: usize) -> Line {
        Line {
            id: self.ids[attempt / self.samples].clone(),
            sample: attempt % self.samples,
            file: HashMap::from([(self.kind.field.to_owned(), self.file(attempt))]),
        }
    }

    /// How many attempts are in the folder with their files.
    fn found(&self) -> anyhow::Result<usize> {
        let path = self.predictions();
        let shown = path.display();
        if !path.exists() {
            let files = (0..self.len()).map(|attempt| self.output.join(self.file(attempt)));
            if let Some(there) = files.into_iter().find(|file| file.exists()) {
                let there = there.display();
                bail!("{there} is there already and would be replaced; name another --output");
            }
            return Ok(0);
        }
        let bytes = read_bounded(&path, MAX_BYTES)?;
        let mut count = 0;
        // What stands behind the last line break was not written to its end.
        let whole = bytes.iter().rposition(|b| *b == b'\n').unwrap_or(0);
        for text in bytes[..whole]
            .split(|b| *b == b'\n')
            .filter(|t| !t.is_empty())
        {
            let place = count + 1;
            let found: Line = serde_json::from_slice(text).with_context(|| {
                format!("{shown}, line {place}: not an attempt; name another --output")
            })?;
            ensure!(
                count < self.len(),
                "{shown} holds more attempts than are asked for; name another --output"
            );
            let wanted = self.line(count);
            ensure!(
                found == wanted,
                "{shown}, line {place}: attempt {} at row {}, where attempt {} at row {} belongs; name another --output",
                found.sample,
                found.id,
                wanted.sample,
                wanted.id
            );
            if !self.output.join(self.file(count)).is_file() {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    /// Compares what the results depend on with what was noted.
    fn agree(&self) -> anyhow::Result<()> {
        let path = self.output.join(SETTINGS);
        let (shown, several) = (path.display(), self.kind.several);
        let known = read_bounded(&path, MAX_BYTES).with_context(|| {
            format!(
                "what the {several} there were made with is not known; name another --output ({shown})"
            )
        })?;
        let known: Map<String, Value> =
            serde_json::from_slice(&known).with_context(|| format!("{shown} is damaged"))?;
        for (name, value) in &self.recorded {
            let before = known.get(name).unwrap_or(&Value::Null);
            if before != value {
                let why = format!(
                    "{shown}: the {several} there were made with {name} = {before}, now it is {value}; name another --output"
                );
                return Err(Usage(why).into());
            }
        }
        Ok(())
    }
}
