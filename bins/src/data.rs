//! Rows of a data set as the trainer asks for them: encoded by the model's own processor.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vtb_data::{JsonlDataset, OpenOptions, RowRules, RowSource, TrainRow, image_io};
use vtb_models_vlm::VlmError;
use vtb_models_vlm::chat::Message;
use vtb_models_vlm::encode::{LabelPolicy, Media, RowEncoder};
use vtb_models_vlm::processor::{Rgb, VideoPatches};
use vtb_nn::lm::{ImagePatches, LmRow};
use vtb_rewards::Reference;
use vtb_trainer::TrainError;
use vtb_trainer::train::{Prompt, PromptSource, RowEncoder as TrainRows};

/// A row, its conversation, its processed pictures and videos.
struct Opened {
    row: TrainRow,
    messages: Vec<Message>,
    images: Vec<Arc<ImagePatches>>,
    videos: Vec<VideoPatches>,
}

impl Opened {
    fn media(&self) -> Media<'_> {
        Media {
            images: &self.images,
            videos: &self.videos,
        }
    }
}

/// A data set and the processor that reads it.
#[derive(Clone)]
pub struct Rows {
    source: Arc<dyn RowSource>,
    encoder: Arc<RowEncoder>,
    images: image_io::ImageOptions,
}

/// Opens a JSONL file. Every row is checked before training starts.
pub fn open_jsonl(
    path: &Path,
    rules: RowRules,
    max_bad_rows: usize,
) -> anyhow::Result<JsonlDataset> {
    let mut options = OpenOptions::new(rules);
    options.max_bad_rows = max_bad_rows;
    let data = JsonlDataset::open(path, &options)?;
    for bad in data.bad_rows() {
        tracing::warn!("left out: {bad}");
    }
    Ok(data)
}

impl Rows {
    /// Joins a data set with a processor.
    pub fn new(source: Arc<dyn RowSource>, encoder: Arc<RowEncoder>) -> Self {
        Self {
            source,
            encoder,
            images: image_io::ImageOptions::default(),
        }
    }

    /// The data set.
    pub fn source(&self) -> &dyn RowSource {
        self.source.as_ref()
    }

    /// The processor.
    pub fn encoder(&self) -> &RowEncoder {
        &self.encoder
    }

    fn read(&self, index: usize) -> Result<Opened, TrainError> {
        let row = self.source.row(index).map_err(TrainError::other)?;
        let images = row.load_images(&self.images).map_err(TrainError::other)?;
        let patches = images
            .iter()
            .enumerate()
            .map(|(i, image)| {
                let name = format!("{}, picture {}", row.origin, i + 1);
                let (width, height) = (image.width() as usize, image.height() as usize);
                let rgb = Rgb::new(&name, width, height, image.as_raw().clone())?;
                self.encoder.images.process(&name, &rgb).map(Arc::new)
            })
            .collect::<Result<Vec<_>, VlmError>>()
            .map_err(TrainError::other)?;
        let messages = row
            .messages
            .iter()
            .map(|m| Message {
                loss: m.loss,
                ..Message::new(m.role.as_str(), &m.content)
            })
            .collect();
        let videos = self.videos(&row)?;
        Ok(Opened {
            row,
            messages,
            images: patches,
            videos,
        })
    }

    fn videos(&self, row: &TrainRow) -> Result<Vec<VideoPatches>, TrainError> {
        if row.videos.is_empty() {
            return Ok(Vec::new());
        }
        let settings = self.encoder.video_settings().map_err(Self::in_row(row))?;
        let one = |path: &PathBuf| {
            crate::video::load(path, settings)
                .map_err(|e| TrainError::Input(format!("{}: {e:#}", row.origin)))
        };
        row.videos.iter().map(one).collect()
    }

    fn in_row(row: &TrainRow) -> impl Fn(VlmError) -> TrainError {
        let origin = row.origin.to_string();
        move |error| TrainError::other(error.in_row(origin.clone()))
    }
}

impl TrainRows for Rows {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn encode(&self, index: usize) -> Result<LmRow, TrainError> {
        let opened = self.read(index)?;
        self.encoder
            .encode_training(&opened.messages, opened.media(), LabelPolicy::Default)
            .map_err(Self::in_row(&opened.row))
    }
}

impl PromptSource for Rows {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn prompt(&self, index: usize) -> Result<Prompt, TrainError> {
        let mut opened = self.read(index)?;
        let messages = &mut opened.messages;
        while messages.last().is_some_and(|m| m.role == "assistant") {
            messages.pop();
        }
        let encoded = self
            .encoder
            .encode_prompt(&opened.messages, opened.media())
            .map_err(Self::in_row(&opened.row))?;
        let (row, messages) = (&opened.row, &opened.messages);
        let reference = Reference::from_row(&row.columns())
            .map_err(|e| TrainError::Input(format!("{}: {e}", row.origin)))?;
        // As the model sees it: without the answer a supervised row ends with.
        let text = row
            .messages
            .iter()
            .take(messages.len())
            .map(|m| m.content.as_str())
            .collect::<Vec<_>>()
            .join("\n");
        let id = row.id.clone().unwrap_or_else(|| row.origin.to_string());
        Ok(Prompt {
            row: encoded,
            reference,
            id,
            text,
        })
    }

    fn decode(&self, ids: &[u32]) -> Result<String, TrainError> {
        self.encoder.reply(ids).map_err(TrainError::other)
    }
}
