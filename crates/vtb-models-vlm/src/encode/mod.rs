//! Conversations and pictures to the rows a language model reads.

mod labels;
mod truncate;

use std::sync::Arc;

use vtb_nn::lm::{ImagePatches, LmRow};

pub use labels::LabelPolicy;
pub use truncate::Overflow;

use crate::VlmError;
use crate::chat::{Message, place_images};
use crate::config::{TowerConfig, VisionIds, VlmConfig};
use crate::files::ModelDir;
use crate::processor::{ImageProcessor, ImageSettings};
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
    /// Limits and switches; may be changed between calls.
    pub options: EncodeOptions,
    ids: VisionIds,
}

/// Limits and switches of encoding.
#[derive(Debug, Clone, Default)]
pub struct EncodeOptions {
    /// Most tokens of a row, placeholders of pictures included; `None` is no limit.
    pub max_length: Option<usize>,
    /// What becomes of longer rows.
    pub overflow: Overflow,
    /// Whether pictures are numbered in the text.
    pub add_vision_id: bool,
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
        Ok(Self {
            tokenizer,
            template: ChatTemplate::from_dir(dir)?,
            images: ImageProcessor::new(settings),
            options: EncodeOptions::default(),
            ids: config.ids,
        })
    }

    /// A prompt that ends with the opening of an assistant turn; nothing in it is scored.
    ///
    /// Pictures that no `<image>` tag places come first (see [`place_images`]). Wrap errors with
    /// [`VlmError::in_row`] to name the row.
    ///
    /// # Errors
    /// Tags and pictures disagree, the template fails, the row is too long, or the last turn is the assistant's.
    pub fn encode_prompt(
        &self,
        messages: &[Message],
        images: &[Arc<ImagePatches>],
    ) -> Result<LmRow, VlmError> {
        if messages.last().is_none_or(|last| last.role == "assistant") {
            let message = "a prompt must end with a user turn; remove the answer from `messages`";
            return Err(VlmError::Messages(message.to_owned()));
        }
        let messages = place_images(messages, images.len())?;
        let text = self.template.render(&messages, self.render_options(true))?;
        let ids = self.tokenizer.encode(&text)?;
        let scored = vec![false; ids.len()];
        let mut row = self.assemble(ids, scored, images)?;
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
    pub fn encode_training(
        &self,
        messages: &[Message],
        images: &[Arc<ImagePatches>],
        policy: LabelPolicy,
    ) -> Result<LmRow, VlmError> {
        let messages = place_images(messages, images.len())?;
        let mut ids = Vec::new();
        let mut scored = Vec::new();
        for piece in self.pieces(&messages, policy)? {
            ids.extend(self.tokenizer.encode(&piece.text)?);
            scored.resize(ids.len(), piece.scored);
        }
        let row = self.assemble(ids, scored, images)?;
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

    fn render_options(&self, add_generation_prompt: bool) -> RenderOptions {
        RenderOptions {
            add_generation_prompt,
            add_vision_id: self.options.add_vision_id,
        }
    }

    /// Expands placeholders, keeps the limit, and attaches the pictures.
    fn assemble(
        &self,
        ids: Vec<u32>,
        mut scored: Vec<bool>,
        images: &[Arc<ImagePatches>],
    ) -> Result<LmRow, VlmError> {
        let grids: Vec<[usize; 3]> = images.iter().map(|image| image.grid).collect();
        let merge = self.images.settings.merge;
        let copies = crate::processor::image_copies(&ids, &grids, self.ids.image, merge)?;
        for (scored, id) in scored.iter_mut().zip(&ids) {
            *scored &= *id != self.ids.image;
        }
        let repeat = |i: usize| std::iter::repeat_n(i, copies[i]);
        let source: Vec<usize> = (0..ids.len()).flat_map(repeat).collect();
        let mut row = LmRow {
            ids: source.iter().map(|i| ids[*i]).collect(),
            images: images.to_vec(),
            scored: source.iter().map(|i| scored[*i]).collect(),
        };
        if let Some(max) = self.options.max_length {
            truncate::fit(&mut row, max, self.options.overflow, &self.ids)?;
        }
        if let Some(first) = row.scored.first_mut() {
            *first = false;
        }
        Ok(row)
    }
}
