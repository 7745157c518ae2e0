//! Rows of a data set as the trainer asks for them: encoded by the model's own processor.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use serde_json::Value;
use vtb_data::picture_cache::{CacheKey, PictureCache};
use vtb_data::{
    Bucket, ImageFault, JsonlDataset, OpenOptions, RowCheck, RowMode, RowPart, RowRules, RowSource,
    TrainRow, image_io,
};
use vtb_models_vlm::VlmError;
use vtb_models_vlm::chat::{Message, Part, place_media};
use vtb_models_vlm::encode::{LabelPolicy, Media, RowEncoder};
use vtb_models_vlm::processor::{Rgb, VideoPatches};
use vtb_nn::lm::{ImagePatches, LmRow};
use vtb_rewards::Reference;
use vtb_trainer::rollout::{Chat, ChatPart, ChatTurn};
use vtb_trainer::train::{Prompt, PromptSource, RowEncoder as TrainRows};
use vtb_trainer::{TrainError, rng};

use crate::settings::DataSection;
use crate::source::Places;
use crate::video;

/// A row, its conversation, its processed pictures and videos.
struct Opened {
    row: TrainRow,
    messages: Vec<Message>,
    images: Vec<Arc<ImagePatches>>,
    videos: Vec<VideoPatches>,
    /// The pictures as files, where a server is to see them.
    files: Vec<Arc<[u8]>>,
}

/// A picture as the model takes it.
struct Picture {
    patches: Arc<ImagePatches>,
    file: Option<Arc<[u8]>>,
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
    labels: LabelPolicy,
    cache: Option<Arc<PictureCache>>,
    /// How a picture's file becomes pixels, in words: part of the names in the cache.
    geometry: String,
    /// Whether prompts come with their conversation, for a server.
    chat: bool,
}

/// Opens a JSONL file. No row that is not checked is ever handed out; how many are checked before training starts is
/// up to `data.check`.
pub fn open_jsonl(
    path: &Path,
    rules: RowRules,
    data: &DataSection,
) -> anyhow::Result<JsonlDataset> {
    let mut options = OpenOptions::new(rules);
    options.max_bad_rows = data.max_bad_rows;
    options.check = data.check;
    options.images = image_options(data);
    let data = JsonlDataset::open(path, &options)?;
    for bad in data.bad_rows() {
        tracing::warn!("left out: {bad}");
    }
    Ok(data)
}

/// Up to `most` of `count` rows, evenly spread: files are often sorted by task.
pub fn spread(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let many = count.min(most);
    (0..many).map(move |i| i * count / many)
}

/// The first row of a file of JSON lines, if it is one.
pub fn first_row(path: &Path) -> Option<Value> {
    const LONGEST: u64 = 32 << 20;
    let mut lines = BufReader::new(File::open(path).ok()?.take(LONGEST)).lines();
    let line = lines.find(|line| line.as_ref().is_ok_and(|text| !text.trim().is_empty()));
    serde_json::from_str(&line?.ok()?).ok()
}

/// Supervised where the first conversation ends with an answer.
pub fn mode_of(path: &Path) -> RowMode {
    let answered = |row: Value| {
        row.get("messages")?
            .as_array()?
            .last()?
            .get("role")
            .cloned()
    };
    match first_row(path).and_then(answered) {
        Some(role) if role == "assistant" => RowMode::Sft,
        _ => RowMode::Grpo,
    }
}

/// Checks every row of the files a run reads, for `--dry-run`. Returns a line for each.
pub fn check_files(
    data: &DataSection,
    places: &Places,
    rules: RowRules,
    eval: RowRules,
) -> anyhow::Result<Vec<String>> {
    let data = DataSection {
        check: RowCheck::Full,
        ..data.clone()
    };
    let files = [(&places.train, rules), (&places.eval, eval)];
    let mut lines = Vec::new();
    for (path, rules) in files {
        let Some(path) = path else { continue };
        let found = open_jsonl(path, rules, &data)?;
        let (path, rows, bad) = (path.display(), found.len(), found.bad_rows().len());
        lines.push(format!("{path}: {rows} rows checked, {bad} left out"));
    }
    Ok(lines)
}

/// The rows to train on and those held out of them, if `data.eval_split` says so.
#[allow(
    clippy::type_complexity,
    reason = "two parts of one kind, the second one optional"
)]
pub fn hold_out(
    source: Arc<dyn RowSource>,
    data: &DataSection,
    seed: u64,
) -> anyhow::Result<(Arc<dyn RowSource>, Option<Arc<dyn RowSource>>)> {
    if data.eval_split == 0.0 {
        return Ok((source, None));
    }
    let seed = rng::seed(seed, "held-out rows", 0, 0);
    let (train, held_out) = RowPart::hold_out(source, data.eval_split, seed)?;
    Ok((Arc::new(train), Some(Arc::new(held_out))))
}

/// What a run saves of its data and compares when it resumes: the file's name, so that a refusal names it, and what it
/// holds.
pub fn fingerprint(source: &dyn RowSource, data: &DataSection) -> String {
    let found = source.fingerprint();
    match &data.train {
        Some(path) => format!("{path} {found}"),
        None => found.to_string(),
    }
}

fn image_options(data: &DataSection) -> image_io::ImageOptions {
    image_io::ImageOptions {
        root: data.image_root.as_ref().map(PathBuf::from),
        ..Default::default()
    }
}

/// How large a row is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Extent {
    /// Tokens, those of pictures included.
    pub tokens: usize,
    /// Patches of its pictures and videos.
    pub patches: usize,
    /// Pixels of all frames.
    pixels: usize,
    /// Width by height of its pictures and videos, octaves, added up.
    octaves: f64,
}

impl Rows {
    /// Joins a data set with a processor.
    pub fn new(source: Arc<dyn RowSource>, encoder: Arc<RowEncoder>) -> Self {
        let images = image_io::ImageOptions::default();
        let settings = &encoder.images.settings;
        let geometry = format!(
            "rgb, upright {}, bicubic, factor {}, {} to {} pixels, {:?}",
            images.apply_orientation,
            settings.factor(),
            settings.min_pixels,
            settings.max_pixels,
            settings.policy
        );
        Self {
            source,
            encoder,
            images,
            labels: LabelPolicy::Default,
            cache: None,
            geometry,
            chat: false,
        }
    }

    /// Prompts come with their conversation and pictures as well, for a server that makes tokens of its own. Costs a PNG
    /// per picture.
    pub fn with_chat(self, chat: bool) -> Self {
        Self { chat, ..self }
    }

    /// With the limits and the picture cache of a configuration.
    pub fn configured(self, data: &DataSection) -> anyhow::Result<Self> {
        let bytes = (data.cache_gib * f64::from(1 << 30)) as u64;
        let open = |dir: &String| PictureCache::open(Path::new(dir), bytes).map(Arc::new);
        Ok(Self {
            images: image_options(data),
            labels: data.labels().unwrap_or_default(),
            cache: data.cache_dir.as_ref().map(open).transpose()?,
            ..self
        })
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
        let pictures = (0..row.images.len())
            .map(|i| self.picture(&row, i))
            .collect::<Result<Vec<_>, TrainError>>()?;
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
            files: pictures.iter().filter_map(|p| p.file.clone()).collect(),
            images: pictures.into_iter().map(|p| p.patches).collect(),
            videos,
        })
    }

    fn videos(&self, row: &TrainRow) -> Result<Vec<VideoPatches>, TrainError> {
        if row.videos.is_empty() {
            return Ok(Vec::new());
        }
        let settings = self.encoder.video_settings().map_err(Self::in_row(row))?;
        let one = |i| {
            let path = row.video(i, &self.images).map_err(TrainError::other)?;
            video::load(path, settings).map_err(Self::video_in_row(row, i))
        };
        (0..row.videos.len()).map(one).collect()
    }

    fn video_in_row(row: &TrainRow, i: usize) -> impl Fn(anyhow::Error) -> TrainError {
        let origin = row.origin.to_string();
        move |e| TrainError::Input(format!("{origin}: video {}: {e:#}", i + 1))
    }

    /// Picture `i` of a row: from the cache, or decoded and resized.
    fn picture(&self, row: &TrainRow, i: usize) -> Result<Picture, TrainError> {
        let fault = |fault: ImageFault| TrainError::other(row.image_error(i, fault));
        let name = format!("{}, picture {}", row.origin, i + 1);
        let image = &row.images[i];
        let pixels = match image_io::encoded(image, &self.images).map_err(fault)? {
            Some(bytes) => {
                let make = || -> Result<RgbImage, TrainError> {
                    let decoded = image_io::decode(&bytes, &self.images).map_err(fault)?;
                    Ok::<_, TrainError>(self.resize(&name, &decoded)?.unwrap_or(decoded))
                };
                match &self.cache {
                    Some(cache) => {
                        cache.get_or_make(CacheKey::new(&bytes, &self.geometry), make)?
                    }
                    None => make()?,
                }
            }
            // Drawn a moment ago.
            None => {
                let drawn = image_io::load(image, &self.images).map_err(fault)?;
                let resized = self.resize(&name, &drawn)?;
                resized.unwrap_or_else(|| drawn.as_ref().clone())
            }
        };
        let encoded = self.chat.then(|| image_io::encode_png(&pixels));
        let file = encoded.transpose().map_err(fault)?.map(Arc::from);
        let (width, height) = (pixels.width() as usize, pixels.height() as usize);
        let rgb = Rgb::new(&name, width, height, pixels.into_raw());
        let patches = rgb.and_then(|rgb| self.encoder.images.patches(&name, &rgb));
        let patches = patches.map(Arc::new).map_err(TrainError::other)?;
        Ok(Picture { patches, file })
    }

    /// The conversation of a prompt, if one is wanted.
    fn chat(&self, opened: &Opened) -> Result<Option<Arc<Chat>>, TrainError> {
        if !self.chat {
            return Ok(None);
        }
        if !opened.videos.is_empty() {
            return Err(TrainError::Input(format!(
                "{}: rows with videos cannot be completed over HTTP; use rollout.backend = `in-process`",
                opened.row.origin
            )));
        }
        let placed = place_media(&opened.messages, opened.files.len(), 0)
            .map_err(Self::in_row(&opened.row))?;
        let mut files = opened.files.iter().cloned();
        let turns = placed.into_iter().map(|message| ChatTurn {
            role: message.role,
            parts: message
                .parts
                .into_iter()
                .filter_map(|part| match part {
                    Part::Text(text) => Some(ChatPart::Text(text)),
                    Part::Image => files.next().map(ChatPart::Picture),
                    Part::Video => None,
                })
                .collect(),
        });
        let turns = turns.collect();
        Ok(Some(Arc::new(Chat { turns })))
    }

    /// `None` if the picture has its size already.
    fn resize(&self, name: &str, image: &RgbImage) -> Result<Option<RgbImage>, TrainError> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let images = &self.encoder.images;
        let resized = images.resize(name, width, height, image.as_raw());
        let Some(Rgb {
            width,
            height,
            pixels,
        }) = resized.map_err(TrainError::other)?
        else {
            return Ok(None);
        };
        Ok(RgbImage::from_raw(width as u32, height as u32, pixels))
    }

    /// The size of a row, as nearly as its text and the sizes of its pictures and videos tell: none is decoded.
    ///
    /// # Errors
    /// The row or the head of one of its files cannot be read.
    pub fn extent(&self, index: usize) -> Result<Extent, TrainError> {
        let row = self.source.row(index).map_err(TrainError::other)?;
        let mut extent = self.media_extent(&row)?;
        for message in &row.messages {
            let ids = self.encoder.tokenizer.encode(&message.content);
            extent.tokens += ids.map_err(Self::in_row(&row))?.len();
        }
        Ok(extent)
    }

    /// What pictures and videos add to the size of a row.
    fn media_extent(&self, row: &TrainRow) -> Result<Extent, TrainError> {
        let settings = &self.encoder.images.settings;
        let patch = settings.patch;
        let mut extent = Extent::default();
        for (i, image) in row.images.iter().enumerate() {
            let sides = image_io::dimensions(image, &self.images);
            let (width, height) =
                sides.map_err(|fault| TrainError::other(row.image_error(i, fault)))?;
            let name = format!("{}, picture {}", row.origin, i + 1);
            let fail = |message| TrainError::other(VlmError::image(&name, message));
            let (h, w) = settings
                .resized(height as usize, width as usize)
                .map_err(fail)?;
            extent.tokens += h * w / (settings.factor() * settings.factor());
            extent.patches += h * w / (patch * patch);
            extent.pixels += h * w;
            extent.octaves += (w as f64 / h as f64).log2();
        }
        for i in 0..row.videos.len() {
            let settings = self.encoder.video_settings().map_err(Self::in_row(row))?;
            let path = row.video(i, &self.images).map_err(TrainError::other)?;
            let [groups, h, w] =
                video::resized(path, settings).map_err(Self::video_in_row(row, i))?;
            extent.tokens += groups * h * w / (settings.frames.factor() * settings.frames.factor());
            extent.patches += groups * h * w / (patch * patch);
            extent.pixels += groups * settings.frames.temporal * h * w;
            extent.octaves += (w as f64 / h as f64).log2();
        }
        Ok(extent)
    }

    /// Tokens of a row; or what its pictures and videos are like: shape first, to a quarter of an octave, then pixels.
    fn measure(&self, index: usize, bucket: Bucket) -> Result<u64, TrainError> {
        if bucket == Bucket::Pixels {
            let row = self.source.row(index).map_err(TrainError::other)?;
            let extent = self.media_extent(&row)?;
            // Shapes lie between -8 and 8 octaves a picture; 48 bits are left for pixels.
            let shape = ((extent.octaves * 4.0).round() as i64 + (1 << 14)).clamp(0, (1 << 15) - 1);
            return Ok((shape as u64) << 48 | (extent.pixels as u64).min((1 << 48) - 1));
        }
        Ok(self.extent(index)?.tokens as u64)
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
            .encode_training(&opened.messages, opened.media(), self.labels)
            .map_err(Self::in_row(&opened.row))
    }

    fn size(&self, index: usize, bucket: Bucket) -> Result<u64, TrainError> {
        self.measure(index, bucket)
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
            chat: self.chat(&opened)?,
        })
    }

    fn size(&self, index: usize, bucket: Bucket) -> Result<u64, TrainError> {
        self.measure(index, bucket)
    }

    fn decode(&self, ids: &[u32]) -> Result<String, TrainError> {
        self.encoder.reply(ids).map_err(TrainError::other)
    }
}
