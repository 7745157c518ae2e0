//! One puzzle on its way from a data set to a training file, wherever it came from.

use std::path::Path;
use std::sync::Arc;

use vtb_puzzle::{Answer, Prompts, Record};

use crate::error::{DataError, RowFault};
use crate::image_io::ImageOptions;
use crate::manifest::{Asset, ManifestEntry, VideoAsset};

/// A picture of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Picture {
    /// A file of the data set.
    File(Asset),
    /// A whole picture file that stood inside a row.
    Bytes(Arc<[u8]>),
}

/// One puzzle with all that a training row may want of it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Name in its data set.
    pub id: String,
    /// Name of the task.
    pub task: String,
    /// Family of the task.
    pub group: String,
    /// Part of the data set.
    pub split: Option<String>,
    /// Prompts by kind of answer; empty text where there is none.
    pub prompts: Prompts,
    /// The right answer, where it is known.
    pub answer: Option<Answer>,
    /// What an answer may be, where that is known.
    pub options: Vec<String>,
    /// The picture of the question; questions in words alone have none.
    pub puzzle: Option<Picture>,
    /// The same with marks for text answers, where it is another.
    pub reasoning: Option<Picture>,
    /// The picture of the solution.
    pub solution: Option<Picture>,
    /// The clip of the solution.
    pub video: Option<VideoAsset>,
    /// Our own record, from which everything follows.
    pub record: Option<Box<Record>>,
    /// The entry of a foreign data set, by which its pictures are judged.
    pub foreign: Option<Box<ManifestEntry>>,
    /// The file it comes from.
    pub file: Arc<Path>,
    /// Which of the file's records, counted from 1.
    pub number: usize,
}

impl Sample {
    /// The sample of a data set's entry. `file` and `number` say where our own records stand;
    /// foreign ones know it themselves.
    pub(super) fn of_entry(entry: ManifestEntry, file: &Arc<Path>, number: usize) -> Self {
        let (file, number) = match &entry.foreign {
            Some(foreign) => (Arc::clone(&foreign.file), foreign.number),
            None => (Arc::clone(file), number),
        };
        let mut sample = Self {
            id: entry.id.clone(),
            task: entry.task.clone(),
            group: entry.group.as_str().to_owned(),
            split: entry.split.clone(),
            prompts: entry.prompts.clone(),
            answer: Some(entry.answer.clone()),
            options: entry.options.clone(),
            puzzle: Some(Picture::File(entry.puzzle.clone())),
            reasoning: entry.reasoning.clone().map(Picture::File),
            solution: entry.solution.clone().map(Picture::File),
            video: entry.video.clone(),
            record: None,
            foreign: None,
            file,
            number,
        };
        match entry.record {
            Some(record) => sample.record = Some(record),
            None => sample.foreign = Some(Box::new(entry)),
        }
        sample
    }

    /// A text of the foreign record.
    pub(super) fn foreign_text(&self, field: &str) -> Option<String> {
        let foreign = self.foreign.as_ref()?.foreign.as_ref()?;
        let fields = foreign.fields().ok()?;
        Some(fields.get(field)?.as_str()?.to_owned())
    }

    /// The error that names this sample.
    pub(super) fn fault(&self, fault: RowFault) -> DataError {
        DataError::Record {
            file: self.file.to_path_buf(),
            number: self.number,
            id: self.id.clone(),
            fault: Box::new(fault),
        }
    }

    /// The error that names this sample and one of its fields.
    pub(super) fn invalid(&self, field: &str, reason: impl Into<String>) -> DataError {
        self.fault(RowFault::Invalid {
            field: field.to_owned(),
            reason: reason.into(),
        })
    }

    /// The error of a sample without something that the export needs.
    pub(super) fn missing(&self, field: &str) -> DataError {
        self.fault(RowFault::Missing(field.to_owned()))
    }
}

impl Picture {
    /// The bytes of the picture file, checked against the hash that the data set names.
    ///
    /// # Errors
    /// As [`Asset::read`].
    pub(super) fn bytes(&self, limits: &ImageOptions) -> crate::Result<Arc<[u8]>> {
        match self {
            Self::File(asset) => Ok(asset.read(limits.max_file_bytes)?.into()),
            Self::Bytes(bytes) => Ok(Arc::clone(bytes)),
        }
    }
}
