//! `metrics.jsonl`: numbers by step, one object per line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::TrainError;

/// Prefix of the names of measured times, memory and other numbers that differ from run to run.
pub const TIME: &str = "time/";

/// Numbers of one step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    /// Optimizer steps finished.
    pub step: u64,
    /// Values by name. Names that begin with [`TIME`] are kept apart when written.
    pub values: BTreeMap<String, f64>,
}

impl Metrics {
    /// No numbers yet.
    pub fn new(step: u64) -> Self {
        Self {
            step,
            values: BTreeMap::new(),
        }
    }

    /// Sets a value.
    pub fn set(&mut self, name: &str, value: f64) {
        self.values.insert(name.into(), value);
    }

    /// Sets a measured time: `time/name`, in seconds unless the name says otherwise.
    pub fn set_time(&mut self, name: &str, value: f64) {
        self.values.insert(format!("{TIME}{name}"), value);
    }

    /// The line of `metrics.jsonl`, without its end: `step` first, then names in order, then `"time": {...}` with what
    /// may differ between equal runs. What is not a finite number is `null`.
    pub fn line(&self) -> String {
        let mut line = format!("{{\"step\":{}", self.step);
        let (times, values): (Vec<_>, Vec<_>) = self
            .values
            .iter()
            .partition(|(name, _)| name.starts_with(TIME));
        for (name, value) in values {
            append(&mut line, name, *value);
        }
        if !times.is_empty() {
            line.push_str(",\"time\":{");
            let inner = line.len();
            for (name, value) in times {
                append(&mut line, &name[TIME.len()..], *value);
            }
            // The comma before the first.
            line.remove(inner);
            line.push('}');
        }
        line.push('}');
        line
    }
}

fn append(line: &mut String, name: &str, value: f64) {
    // Writing to a string cannot fail. `Value` spells names with escapes, numbers shortest, NaN as null.
    let _ = write!(line, ",{}:{}", Value::from(name), Value::from(value));
}

/// Writes `metrics.jsonl`, a line at a time, each handed to the system at once.
///
/// Rows come in the order of their steps. A run that resumes from step N goes on after its last row of a step up to N,
/// so all rows of a step have to be written before the checkpoint of that step is saved.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Opens the log. With `resume_step`, rows of later steps and a torn last line are cut off; without, a log that
    /// exists is an error.
    pub fn open(path: &Path, resume_step: Option<u64>) -> Result<Self, TrainError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file = match resume_step {
            None => options.create_new(true).open(path),
            Some(_) => options.create(true).truncate(false).open(path),
        };
        let mut file = TrainError::at(path, file)?;
        if let Some(step) = resume_step {
            let keep = length_up_to(path, &file, step)?;
            let cut = file
                .set_len(keep)
                .and_then(|()| file.seek(SeekFrom::End(0)));
            TrainError::at(path, cut)?;
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
        })
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> Result<bool, TrainError> {
        let metadata = TrainError::at(&self.path, self.file.metadata())?;
        Ok(metadata.len() == 0)
    }

    /// Appends a row.
    pub fn write(&mut self, metrics: &Metrics) -> Result<(), TrainError> {
        let mut line = metrics.line();
        line.push('\n');
        TrainError::at(&self.path, self.file.write_all(line.as_bytes()))
    }

    /// Waits until all rows are on disk. Called before a checkpoint, so that no row it counts on is lost.
    pub fn sync(&self) -> Result<(), TrainError> {
        TrainError::at(&self.path, self.file.sync_data())
    }
}

/// Bytes of the rows with a step of at most `step`.
fn length_up_to(path: &Path, file: &File, step: u64) -> Result<u64, TrainError> {
    let mut reader = BufReader::new(file);
    let mut keep = 0;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = TrainError::at(path, reader.read_until(b'\n', &mut line))?;
        if read == 0 || line.last() != Some(&b'\n') {
            break;
        }
        let row: Option<u64> = serde_json::from_slice(&line)
            .ok()
            .and_then(|row: Value| row.get("step")?.as_u64());
        match row {
            Some(row) if row > step => break,
            Some(_) => keep += read as u64,
            None => {
                return Err(TrainError::file(
                    path,
                    format!("line {number} is no row of metrics; repair or remove the file"),
                ));
            }
        }
    }
    Ok(keep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn row(step: u64) -> Metrics {
        let mut row = Metrics::new(step);
        row.set("loss", 0.1 + 0.2);
        row.set("a\"b", 1.0);
        row.set_time("step", 3.5);
        row
    }

    #[test]
    fn a_line_has_a_stable_order_and_times_apart() {
        let mut row = row(3);
        row.set("reward", f64::NAN);
        assert_eq!(
            row.line(),
            r#"{"step":3,"a\"b":1.0,"loss":0.30000000000000004,"reward":null,"time":{"step":3.5}}"#
        );
        assert_eq!(Metrics::new(0).line(), r#"{"step":0}"#);
    }

    #[test]
    fn resuming_cuts_later_rows_and_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut log = MetricsLog::open(&path, None).unwrap();
        assert!(log.is_empty().unwrap());
        for step in [1, 2, 2, 3, 4] {
            log.write(&row(step)).unwrap();
        }
        let straight = fs::read(&path).unwrap();
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"step\":5,\"lo")
            .unwrap();
        let mut log = MetricsLog::open(&path, Some(2)).unwrap();
        assert!(!log.is_empty().unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
        log.write(&row(3)).unwrap();
        log.write(&row(4)).unwrap();
        log.sync().unwrap();
        assert_eq!(fs::read(&path).unwrap(), straight);
    }

    #[test]
    fn a_log_is_not_overwritten_and_a_broken_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        fs::write(&path, "{\"step\":1}\nnonsense\n{\"step\":2}\n").unwrap();
        assert!(MetricsLog::open(&path, None).is_err());
        let text = MetricsLog::open(&path, Some(9)).unwrap_err().to_string();
        assert!(text.contains("line 2"), "{text}");
    }
}
