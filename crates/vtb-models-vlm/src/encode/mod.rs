//! Conversations, pictures and videos to the rows a language model reads.

mod labels;
mod media;
mod truncate;

use vtb_nn::lm::LmRow;

pub use labels::LabelPolicy;
pub use media::Media;
pub use truncate::Overflow;

use crate::VlmError;
use crate::chat::{Message, place_media};
use crate::config::{TowerConfig, VisionIds, VlmConfig};
use crate::files::ModelDir;
use crate::processor::{
    ImageProcessor, ImageSettings, VideoForm, VideoPatches, VideoSettings, Visuals, expand_videos,
};
use crate::template::{ChatTemplate, RenderOptions};
use crate::tokenizer::Tokenizer;

/// Everything a model directory says about turning conversations into tokens.
#[derive(Debug, Clone)]
pub struct RowEncoder {
    /// Text to ids.
    pub tokenizer: Tokenizer,
    /// Messages to text.
    pub template: ChatTemplate,
    /// Pictures to patches.
    pub images: ImageProcessor,
    /// Videos to patches, where the directory says how.
    pub videos: Option<VideoSettings>,
    /// Limits and switches; may be changed between calls.
    pub options: EncodeOptions,
    ids: VisionIds,
    /// Whether the model is run on videos at all.
    shows_videos: bool,
}

/// Limits and switches of encoding.
#[derive(Debug, Clone, Default)]
pub struct EncodeOptions {
    /// Most tokens of a row, placeholders of pictures included; `None` is no limit.
    pub max_length: Option<usize>,
    /// What becomes of longer rows.
    pub overflow: Overflow,
    /// Whether pictures and videos are numbered in the text.
    pub add_vision_id: bool,
    /// How videos stand in the text.
    pub video_form: VideoForm,
}

impl RowEncoder {
    /// Reads tokenizer, template and picture settings of a model directory and checks them against its
    /// configuration.
    pub fn from_dir<V: TowerConfig>(
        dir: &ModelDir,
        config: &VlmConfig<V>,
    ) -> Result<Self, VlmError> {
        let tokenizer = Tokenizer::from_dir(dir)?;
        tokenizer.check(config)?;
        let settings = ImageSettings::from_dir(dir)?;
        settings.check(&config.vision)?;
        let videos = match V::VIDEOS {
            true => VideoSettings::from_dir(dir)?,
            false => None,
        };
        if let Some(videos) = &videos {
            videos.frames.check(&config.vision)?;
        }
        Ok(Self {
            tokenizer,
            template: ChatTemplate::from_dir(dir)?,
            images: ImageProcessor::new(settings),
            videos,
            options: EncodeOptions::default(),
            ids: config.ids,
            shows_videos: V::VIDEOS,
        })
    }

    /// How videos become patches.
    ///
    /// # Errors
    /// The model is not run on videos here, or its directory has no video settings.
    pub fn video_settings(&self) -> Result<&VideoSettings, VlmError> {
        let why = match self.shows_videos {
            true => {
                "the model directory has no video_preprocessor_config.json, so videos cannot be read; copy the \
                 published file into it"
            }
            false => {
                "Qwen2.5-VL is run on pictures alone here; show videos to a Qwen3-VL, or give frames as pictures"
            }
        };
        self.videos
            .as_ref()
            .ok_or_else(|| VlmError::Messages(why.to_owned()))
    }

    /// A prompt that ends with the opening of an assistant turn, as the template has it: that of Thinking checkpoints
    /// opens a thought as well. Nothing in it is scored.
    ///
    /// Pictures and videos that no tag places come first (see [`place_media`]). Wrap errors with
    /// [`VlmError::in_row`] to name the row.
    ///
    /// # Errors
    /// Tags and pictures disagree, the template fails, the row is too long, or the last turn is the assistant's.
    pub fn encode_prompt<'a>(
        &self,
        messages: &[Message],
        media: impl Into<Media<'a>>,
    ) -> Result<LmRow, VlmError> {
        let media = media.into();
        if messages.last().is_none_or(|last| last.role == "assistant") {
            let message = "a prompt must end with a user turn; remove the answer from `messages`";
            return Err(VlmError::Messages(message.to_owned()));
        }
        let messages = place_media(messages, media.images.len(), media.videos.len())?;
        let text = self.template.render(&messages, self.render_options(true))?;
        let mut videos = media.videos.iter();
        let ids = self.encode_piece(&text, &mut videos)?;
        let scored = vec![false; ids.len()];
        let mut row = self.assemble(ids, scored, media)?;
        row.scored = Vec::new();
        Ok(row)
    }

    /// A whole conversation whose answers are scored, by `policy`.
    ///
    /// What is scored of an assistant turn is its text and the two tokens that close it (`<|im_end|>` and a
    /// newline), never its header, never a picture, never the first token of the row. Header and answer are
    /// tokenised apart, so an answer has the ids a policy would have produced.
    ///
    /// # Errors
    /// As [`RowEncoder::encode_prompt`]; also if the row has nothing to learn from.
    pub fn encode_training<'a>(
        &self,
        messages: &[Message],
        media: impl Into<Media<'a>>,
        policy: LabelPolicy,
    ) -> Result<LmRow, VlmError> {
        let media = media.into();
        let messages = place_media(messages, media.images.len(), media.videos.len())?;
        let mut ids = Vec::new();
        let mut scored = Vec::new();
        let mut videos = media.videos.iter();
        for piece in self.pieces(&messages, policy)? {
            ids.extend(self.encode_piece(&piece.text, &mut videos)?);
            scored.resize(ids.len(), piece.scored);
        }
        let row = self.assemble(ids, scored, media)?;
        if row.scored_count() == 0 {
            return Err(VlmError::Messages(
                "the row has no answer to learn from; it needs an assistant turn within max_length"
                    .to_owned(),
            ));
        }
        Ok(row)
    }

    /// The prompt followed by what was sampled after it; exactly the completion is scored.
    ///
    /// # Errors
    /// The completion holds a picture placeholder, which a sampler must never produce, or the prompt is empty.
    pub fn with_completion(&self, prompt: &LmRow, completion: &[u32]) -> Result<LmRow, VlmError> {
        if prompt.ids.is_empty() {
            return Err(VlmError::Messages(
                "a completion needs a prompt before it".to_owned(),
            ));
        }
        if let Some(id) = completion.iter().find(|id| self.ids.all().contains(id)) {
            return Err(VlmError::Messages(format!(
                "the completion holds vision token {id}; ban the ids of `VisionIds::all` when sampling"
            )));
        }
        let mut scored = vec![false; prompt.ids.len()];
        scored.resize(prompt.ids.len() + completion.len(), true);
        Ok(LmRow {
            ids: [prompt.ids.as_slice(), completion].concat(),
            images: prompt.images.clone(),
            scored,
        })
    }

    /// The text of a completion, special tokens left out.
    pub fn decode(&self, completion: &[u32]) -> Result<String, VlmError> {
        self.tokenizer.decode(completion, true)
    }

    /// As [`RowEncoder::decode`], with the tag of the thought that the prompt opened, as in Thinking checkpoints: a
    /// reader then knows a thought that was cut off from an answer.
    pub fn reply(&self, completion: &[u32]) -> Result<String, VlmError> {
        const OPEN: &str = "<think>";
        let text = self.decode(completion)?;
        let prompt = [Message::user("?")];
        let prompt = self.template.render(&prompt, self.render_options(true))?;
        let thinks = prompt.trim_end().ends_with(OPEN) && !text.trim_start().starts_with(OPEN);
        Ok(match thinks {
            true => format!("{OPEN}\n{text}"),
            false => text,
        })
    }

    fn render_options(&self, add_generation_prompt: bool) -> RenderOptions {
        RenderOptions {
            add_generation_prompt,
            add_vision_id: self.options.add_vision_id,
        }
    }

    /// Ids of a stretch of the rendered text, its videos written out.
    fn encode_piece<'a>(
        &self,
        text: &str,
        videos: &mut impl Iterator<Item = &'a VideoPatches>,
    ) -> Result<Vec<u32>, VlmError> {
        let text = expand_videos(text, videos, self.options.video_form)?;
        self.tokenizer.encode(&text)
    }

    /// Expands placeholders, keeps the limit, and attaches pictures and videos.
    fn assemble(
        &self,
        ids: Vec<u32>,
        mut scored: Vec<bool>,
        media: Media<'_>,
    ) -> Result<LmRow, VlmError> {
        let merge = self.images.settings.merge;
        let visuals = Visuals::find(&ids, media.images, media.videos, &self.ids, merge)?;
        for (scored, id) in scored.iter_mut().zip(&ids) {
            *scored &= !self.ids.is_pad(*id);
        }
        let whole = self.video_tokens(&ids, &visuals);
        let repeat = |i: usize| std::iter::repeat_n(i, visuals.copies[i]);
        let source: Vec<usize> = (0..ids.len()).flat_map(repeat).collect();
        let mut row = LmRow {
            ids: source.iter().map(|i| ids[*i]).collect(),
            images: visuals.order,
            scored: source.iter().map(|i| scored[*i]).collect(),
        };
        if let Some(max) = self.options.max_length {
            let whole: Vec<bool> = source.iter().map(|i| whole[*i]).collect();
            truncate::fit(&mut row, &whole, max, self.options.overflow, &self.ids)?;
        }
        if let Some(first) = row.scored.first_mut() {
            *first = false;
        }
        Ok(row)
    }

    /// Marks the tokens of videos from the first timestamp to the last end token: a group without its moment would be
    /// another video.
    fn video_tokens(&self, ids: &[u32], visuals: &Visuals) -> Vec<bool> {
        // `<12345.6 seconds>` and a start token, cut as finely as a tokenizer may.
        const MOST: usize = 24;
        let mut marked = vec![false; ids.len()];
        for span in &visuals.videos {
            let opens = |i: &usize| {
                let token = self.tokenizer.token(ids[*i]);
                ids[*i] != self.ids.vision_start && token.is_some_and(|t| t.contains('<'))
            };
            let earliest = span.start.saturating_sub(MOST);
            let from = (earliest..span.start).rev().find(opens);
            let mut from = from.unwrap_or(span.start);
            // The outer pair of the nested form.
            let outer = from > 0 && ids[from - 1] == self.ids.vision_start;
            from -= usize::from(outer);
            let end = (span.end + 1 + usize::from(outer)).min(ids.len());
            marked[from..end].fill(true);
        }
        marked
    }
}
