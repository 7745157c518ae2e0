//! `metadata.json`: pictures before and after, for image editing models.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::out::Staged;
use super::sample::{Picture, Sample};
use super::{Common, Exporter};
use crate::error::{DataError, Result};

/// Name of the file.
pub const METADATA: &str = "metadata.json";

/// Writes a JSON list, one object for each picture to be edited.
#[derive(Debug)]
pub struct ImageExport {
    common: Common,
    place: PathBuf,
    file: Option<Staged>,
    rows: usize,
}

/// One element of the list.
#[derive(Debug, Serialize)]
pub struct ImageRow {
    prompt: String,
    image: String,
    edit_image: String,
    task_type: String,
    task_group: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<String>,
}

impl ImageExport {
    /// Writes to `place`, in the folder of `common`.
    ///
    /// # Errors
    /// [`DataError::Io`] if the file cannot be made.
    pub fn new(common: Common, place: &Path) -> Result<Self> {
        let file = match common.dry {
            true => None,
            false => Some(Staged::create(place)?),
        };
        Ok(Self {
            common,
            place: place.to_owned(),
            file,
            rows: 0,
        })
    }
}

impl Exporter for ImageExport {
    type Row = ImageRow;

    fn common(&self) -> &Common {
        &self.common
    }

    fn make(&self, sample: &Sample) -> Result<ImageRow> {
        let named = |field: &str, picture: &Option<Picture>| {
            let picture = picture.as_ref().ok_or_else(|| sample.missing(field))?;
            let Common { places, limits, .. } = &self.common;
            places.picture(sample, field, picture, limits)
        };
        let prompt = sample.prompts.image.trim();
        if prompt.is_empty() {
            return Err(sample.missing("ti2i_prompt"));
        }
        Ok(ImageRow {
            prompt: prompt.to_owned(),
            image: named("solution_image_path", &sample.solution)?,
            edit_image: named("image", &sample.puzzle)?,
            task_type: sample.task.clone(),
            task_group: sample.group.clone(),
            id: sample.id.clone(),
            split: sample.split.clone(),
        })
    }

    fn add(&mut self, row: ImageRow) -> Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let text = serde_json::to_string(&row);
        let text = text.map_err(|e| DataError::io(&self.place, "write", e.into()))?;
        file.add(if self.rows == 0 { b"[\n" } else { b",\n" })?;
        file.add(text.as_bytes())?;
        self.rows += 1;
        Ok(())
    }

    fn finish(self) -> Result<Vec<PathBuf>> {
        let Some(mut file) = self.file else {
            return Ok(Vec::new());
        };
        file.add(if self.rows == 0 { b"[]\n" } else { b"\n]\n" })?;
        Ok(vec![file.finish(true)?])
    }
}
