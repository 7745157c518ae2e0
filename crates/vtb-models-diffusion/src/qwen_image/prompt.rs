//! Prompts and pictures to text states.

use std::path::Path;

use burn::tensor::{DType, Device};
use vtb_models_vlm::config::TowerConfig;
use vtb_models_vlm::files::ModelDir;
use vtb_models_vlm::processor::{ImageProcessor, ImageSettings, Rgb};
use vtb_models_vlm::qwen2_5_vl::TextEncoder;
use vtb_models_vlm::tokenizer::Tokenizer;
use vtb_nn::lm::LmRow;
use vtb_nn::velocity::TextStates;

use super::sizes::{CONDITION_AREA, area_size, resized};
use super::template::{DROPPED_TOKENS, EditTemplate};
use crate::{DiffusionError, files};

/// Text encoder, tokenizer and picture settings of a model.
#[derive(Debug, Clone)]
pub struct PromptEncoder {
    encoder: TextEncoder,
    tokenizer: Tokenizer,
    images: ImageProcessor,
    /// How pictures stand in the prompt.
    pub template: EditTemplate,
    /// Pixels of a picture as the encoder sees it, with [`EditTemplate::List`].
    pub condition_area: usize,
}

impl PromptEncoder {
    /// Loads `text_encoder`, `tokenizer` and `processor` of a model directory.
    ///
    /// # Errors
    /// A part is missing or does not fit the others.
    pub fn load(model: &Path, device: &Device, dtype: DType) -> Result<Self, DiffusionError> {
        let encoder = TextEncoder::load(files::part(model, "text_encoder")?, device, dtype)?;
        let tokenizer = Tokenizer::from_dir(&ModelDir::open(files::part(model, "tokenizer")?)?)?;
        tokenizer.check(encoder.config())?;
        let settings = ImageSettings::from_dir(&ModelDir::open(files::part(model, "processor")?)?)?;
        settings.check(&encoder.config().vision)?;
        Ok(Self {
            encoder,
            tokenizer,
            images: ImageProcessor::new(settings),
            template: EditTemplate::default(),
            condition_area: CONDITION_AREA,
        })
    }

    /// Tokens and patches of an instruction about pictures.
    ///
    /// # Errors
    /// There is no picture, more than the template has places for, one that is too narrow, or a placeholder of pictures
    /// in the instruction.
    pub fn row(&self, instruction: &str, pictures: &[Rgb]) -> Result<LmRow, DiffusionError> {
        self.check_count(pictures.len())?;
        let text = self.template.render(instruction, pictures.len());
        let ids = self.tokenizer.encode(&text)?;
        let pad = self.encoder.config().ids.image;
        let places = ids.iter().filter(|id| **id == pad).count();
        if places != pictures.len() {
            return Err(DiffusionError::input(
                "the prompt holds `<|image_pad|>`, which stands for pictures; leave it out",
            ));
        }
        let area = self.template.seen_area(self.condition_area);
        let mut images = Vec::with_capacity(pictures.len());
        for (i, picture) in pictures.iter().enumerate() {
            let (width, height) = area_size(area, picture.width, picture.height)?;
            let name = format!("picture {}", i + 1);
            let seen = self
                .images
                .process(&name, &resized(picture, width, height))?;
            images.push(std::sync::Arc::new(seen));
        }
        let unit = self.encoder.config().vision.merge_unit();
        let mut expanded = Vec::with_capacity(ids.len());
        let mut counts = images.iter().map(|image| image.rows() / unit);
        for id in ids {
            let copies = match id == pad {
                true => counts.next().unwrap_or(1),
                false => 1,
            };
            expanded.extend(std::iter::repeat_n(id, copies));
        }
        Ok(LmRow {
            ids: expanded,
            images,
            scored: Vec::new(),
        })
    }

    /// States of an instruction about pictures, after the last norm, without the tokens of the frame.
    ///
    /// # Errors
    /// As [`PromptEncoder::row`].
    pub fn encode(
        &self,
        instruction: &str,
        pictures: &[Rgb],
    ) -> Result<TextStates, DiffusionError> {
        let row = self.row(instruction, pictures)?;
        let states = self.encoder.encode(&[row], DROPPED_TOKENS)?;
        let Some(states) = states.into_iter().next() else {
            return Err(DiffusionError::input("the text encoder answered nothing"));
        };
        let [rows, width] = states.dims();
        let values = states.cast(DType::F32).into_data().try_into_vec::<f32>();
        let values = values
            .map_err(|e| DiffusionError::input(format!("text states cannot be read: {e:?}")))?;
        Ok(TextStates {
            rows,
            width,
            values,
        })
    }

    fn check_count(&self, pictures: usize) -> Result<(), DiffusionError> {
        let fits = match self.template {
            EditTemplate::List => pictures >= 1,
            EditTemplate::Single => pictures == 1,
        };
        if fits {
            return Ok(());
        }
        let needs = match self.template {
            EditTemplate::List => "at least one",
            EditTemplate::Single => "exactly one",
        };
        Err(DiffusionError::input(format!(
            "{pictures} pictures were given, the {} template takes {needs}",
            self.template.name()
        )))
    }
}
