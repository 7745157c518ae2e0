//! Training files from data sets of puzzles, for our programs and for others'.
//!
//! A [`Source`] is a data set: ours, one of the Python projects', or Parquet files. [`run`] takes
//! its samples through a check and hands them to an exporter: [`VlmExport`], [`ImageExport`],
//! [`VideoExport`], [`ParquetExport`] (feature `parquet`) or [`TarExport`].
//!
//! Invariant: an export is a function of data set and settings. Each record that is selected gives
//! exactly one row or one named fault; and a file of the export is complete or is what it was
//! before, whatever ends the run.

mod check;
mod folder;
mod image;
mod out;
mod parquet;
mod question;
mod sample;
mod select;
mod source;
mod video;
mod vlm;
mod webdataset;

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::error::{DataError, Result, RowFault};
use crate::image_io::ImageOptions;

pub use self::image::{ImageExport, ImageRow, METADATA};
pub use check::Verify;
pub use folder::INFO;
pub use out::PathMode;
#[cfg(feature = "parquet")]
pub use parquet::ParquetExport;
pub use sample::{Picture, Sample};
pub use select::{GROUPS, Selection, TEXT_CENTRIC};
pub use source::Source;
pub use video::{VideoExport, VideoRow, VideoShape};
pub use vlm::{Schema, TRAIN_GRPO, TRAIN_SFT, VlmExport, VlmRow};
pub use webdataset::TarExport;

use out::Places;
use select::Seen;

/// What every exporter is told.
#[derive(Debug)]
pub struct Common {
    places: Places,
    folder: PathBuf,
    limits: ImageOptions,
    dry: bool,
}

impl Common {
    /// `root` is the data set's folder ([`Source::root`]), `folder` where the export is written;
    /// `copy` puts every picture and clip there too. With `dry` nothing is written.
    ///
    /// # Errors
    /// [`DataError::Io`] if the folder cannot be made.
    pub fn new(root: &Path, folder: &Path, mode: PathMode, copy: bool, dry: bool) -> Result<Self> {
        Ok(Self {
            places: Places::new(root, folder, mode, copy, dry)?,
            folder: folder.to_owned(),
            limits: ImageOptions::default(),
            dry,
        })
    }
}

/// How samples become rows of one kind of training file.
///
/// [`run`] calls `make` from several threads and the rest from one, in the order of the data set.
pub trait Exporter: Sync {
    /// A row that is ready to be written.
    type Row: Send;

    /// Where files lie.
    fn common(&self) -> &Common;

    /// The row of a sample. Pictures and clips of their own are written here.
    ///
    /// # Errors
    /// Whatever the sample lacks, with its name.
    fn make(&self, sample: &Sample) -> Result<Self::Row>;

    /// Something to tell about a row, in words that fit a number of rows.
    fn note(_row: &Self::Row) -> Option<&'static str> {
        None
    }

    /// Writes a row.
    ///
    /// # Errors
    /// [`DataError::Io`].
    fn add(&mut self, row: Self::Row) -> Result<()>;

    /// Moves what was written to its place, and says where that is.
    ///
    /// # Errors
    /// [`DataError::Io`].
    fn finish(self) -> Result<Vec<PathBuf>>;
}

/// How samples are taken.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which of them.
    pub selection: Selection,
    /// How far they are looked into.
    pub verify: Verify,
    /// Samples that are left out and counted, at most; one more is an error. 0 is strict: the first
    /// unusable sample is the error.
    pub max_bad_rows: usize,
    /// Stop before anything is written.
    pub dry: bool,
}

/// What became of the samples.
#[derive(Debug, Default)]
pub struct Report {
    /// Files that were written.
    pub files: Vec<PathBuf>,
    /// Rows by group and task.
    pub rows: BTreeMap<(String, String), usize>,
    /// Samples that were not selected.
    pub unselected: usize,
    /// Samples that were left out, and why.
    pub bad: Vec<DataError>,
    /// Things to tell, with the number of rows they hold for.
    pub notes: BTreeMap<&'static str, usize>,
}

impl Report {
    /// Rows in all.
    pub fn total(&self) -> usize {
        self.rows.values().sum()
    }
}

/// Exports the samples of `source`. `None` if `tell`, which hears how many records were read, broke
/// the run off; nothing is in its place then.
///
/// # Errors
/// A sample that cannot be used (strict), or too many; [`DataError::Prepare`] if a selected name
/// does not occur; [`DataError::Empty`] if no row is left; whatever keeps a file from being written.
pub fn run<E: Exporter>(
    source: &Source,
    settings: &Settings,
    mut exporter: E,
    tell: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<Report>> {
    let mut state = State {
        report: Report::default(),
        seen: Seen::default(),
        ids: HashSet::new(),
        read: 0,
    };
    for fault in source.skipped() {
        // Told again, since the source keeps its own.
        let again = DataError::Prepare(fault.to_string());
        state.bad(source, settings, again)?;
    }
    let mut stopped = false;
    source.read(&mut |samples| {
        if stopped || tell(state.read).is_break() {
            stopped = true;
            return Ok(());
        }
        state.chunk(source, settings, &mut exporter, samples)
    })?;
    if stopped || tell(state.read).is_break() {
        return Ok(None);
    }
    if let Some(reason) = settings.selection.unseen(&state.seen) {
        return Err(DataError::Prepare(reason));
    }
    let mut report = state.report;
    if report.total() == 0 {
        let file = source.root().to_owned();
        let why = "no record that was selected can be used";
        return Err(DataError::Empty { file, why });
    }
    if !settings.dry {
        report.files = exporter.finish()?;
    }
    Ok(Some(report))
}

struct State {
    report: Report,
    seen: Seen,
    ids: HashSet<(String, String)>,
    read: usize,
}

impl State {
    fn chunk<E: Exporter>(
        &mut self,
        source: &Source,
        settings: &Settings,
        exporter: &mut E,
        samples: Vec<Result<Sample>>,
    ) -> Result<()> {
        let mut chosen = Vec::with_capacity(samples.len());
        for sample in samples {
            self.read += 1;
            match sample {
                Err(fault) => chosen.push(Err(fault)),
                Ok(sample) => {
                    self.seen.note(&sample);
                    match settings.selection.takes(&sample) {
                        true => chosen.push(self.first(sample)),
                        false => self.report.unselected += 1,
                    }
                }
            }
        }
        let ready = &*exporter;
        let make = |sample: Result<Sample>| {
            let sample = sample?;
            let Common { places, limits, .. } = ready.common();
            check::check(&sample, places.root(), limits, settings.verify)?;
            let row = ready.make(&sample)?;
            Ok((sample.group, sample.task, row))
        };
        let rows: Vec<Result<(String, String, E::Row)>> =
            chosen.into_par_iter().map(make).collect();
        for row in rows {
            match row {
                Ok((group, task, row)) => {
                    if let Some(note) = E::note(&row) {
                        *self.report.notes.entry(note).or_default() += 1;
                    }
                    *self.report.rows.entry((group, task)).or_default() += 1;
                    if !settings.dry {
                        exporter.add(row)?;
                    }
                }
                // A full disk is no fault of a row.
                Err(fault @ DataError::Io { .. }) => return Err(fault),
                Err(fault) => self.bad(source, settings, fault)?,
            }
        }
        Ok(())
    }

    /// Refuses a sample that came before: a doubled row trains twice.
    fn first(&mut self, sample: Sample) -> Result<Sample> {
        match self.ids.insert((sample.task.clone(), sample.id.clone())) {
            true => Ok(sample),
            false => {
                let id = sample.id.clone();
                Err(sample.fault(RowFault::Doubled { id }))
            }
        }
    }

    fn bad(&mut self, source: &Source, settings: &Settings, fault: DataError) -> Result<()> {
        if settings.max_bad_rows == 0 {
            return Err(fault);
        }
        self.report.bad.push(fault);
        if self.report.bad.len() <= settings.max_bad_rows {
            return Ok(());
        }
        let bad = self.report.bad.len();
        Err(DataError::TooManyBadRows {
            file: source.root().to_owned(),
            bad,
            rows: self.read.max(bad),
            allowed: settings.max_bad_rows,
            first: Box::new(self.report.bad.swap_remove(0)),
        })
    }
}
