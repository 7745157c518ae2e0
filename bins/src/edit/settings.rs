//! What an edit is asked with, and whether it can be done at all.

use serde_json::{Map, Value, json};
use vtb_models_diffusion::qwen_image::sizes::{REFERENCE_AREA, area_size, check_output};
use vtb_models_diffusion::qwen_image::{Activation, EditRequest, EditTemplate};
use vtb_models_vlm::processor::Rgb;

use crate::ending::Usage;

/// Most pixels of a picture to draw.
const MAX_OUTPUT: usize = 4096 * 4096;

/// How pictures are edited; the same for every row of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct EditSettings {
    /// What results are to be unlike.
    pub negative_prompt: String,
    /// Strength of guidance; 1 and below is none.
    pub cfg: f32,
    /// Whether guidance keeps the norm of every token.
    pub rescale: bool,
    /// Euler steps, at least 2.
    pub steps: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// Width and height of results; by default about a megapixel with the shape of the last picture.
    pub size: Option<(usize, usize)>,
    /// How pictures stand in the prompt.
    pub template: EditTemplate,
    /// Form of the activation in the transformer's MLPs.
    pub activation: Activation,
    /// Pixels of a picture as the transformer sees it.
    pub reference_area: usize,
    /// Pixels of a picture as the text encoder sees it, with the list template.
    pub condition_area: usize,
}

impl EditSettings {
    /// Checks what needs neither pictures nor a model.
    ///
    /// # Errors
    /// [`Usage`]: too few steps, a guidance that is no number, a size that is not possible.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.steps < 2 {
            let why = format!("--steps {} is too few: give at least 2", self.steps);
            return Err(Usage(why).into());
        }
        if !self.cfg.is_finite() {
            return Err(Usage(format!("--cfg {} is no number", self.cfg)).into());
        }
        if let Some((width, height)) = self.size {
            check_output(width, height).map_err(|e| Usage(format!("--size: {e}")))?;
            if width.saturating_mul(height) > MAX_OUTPUT {
                let why = format!(
                    "--size {width}x{height} is more than {MAX_OUTPUT} pixels; give a smaller one"
                );
                return Err(Usage(why).into());
            }
        }
        Ok(())
    }

    /// Checks that pictures of these widths and heights can be edited; the size of the result.
    ///
    /// # Errors
    /// Too few or too many pictures, or one that is too long and narrow.
    pub fn check_pictures(&self, sizes: &[(usize, usize)]) -> anyhow::Result<(usize, usize)> {
        let Some((last, before)) = sizes.split_last() else {
            return Err(Usage("there is no picture to edit".into()).into());
        };
        if self.template == EditTemplate::Single && !before.is_empty() {
            let count = sizes.len();
            let why = format!(
                "{count} pictures were given, the single template takes one; leave out --template single"
            );
            return Err(Usage(why).into());
        }
        let seen = self.template.seen_area(self.condition_area);
        for (width, height) in sizes {
            area_size(seen, *width, *height)?;
            area_size(self.reference_area, *width, *height)?;
        }
        match self.size {
            Some(size) => Ok(size),
            None => Ok(area_size(REFERENCE_AREA, last.0, last.1)?),
        }
    }

    /// The request for one edit.
    pub fn request(&self, pictures: Vec<Rgb>, prompt: &str) -> EditRequest {
        EditRequest {
            negative_prompt: Some(self.negative_prompt.clone()),
            cfg: self.cfg,
            rescale: self.rescale,
            size: self.size,
            template: self.template,
            reference_area: self.reference_area,
            condition_area: self.condition_area,
            ..EditRequest::new(pictures, prompt)
        }
    }

    /// What results depend on, by the names of the flags.
    pub fn recorded(&self) -> Map<String, Value> {
        let size = self.size.map(|(width, height)| format!("{width}x{height}"));
        let pairs = [
            ("negative-prompt", json!(self.negative_prompt)),
            ("cfg", json!(self.cfg)),
            ("no-rescale", json!(!self.rescale)),
            ("steps", json!(self.steps)),
            ("seed", json!(self.seed)),
            ("size", json!(size)),
            ("template", json!(self.template.name())),
            (
                "quick-gelu",
                json!(self.activation == Activation::QuickGelu),
            ),
            ("reference-area", json!(self.reference_area)),
            ("condition-area", json!(self.condition_area)),
        ];
        pairs
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect()
    }
}

/// `WxH` as width and height.
///
/// # Errors
/// It is something else.
pub fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let sides = text.split_once(['x', 'X']);
    sides
        .and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)))
        .ok_or_else(|| "give width and height in pixels, as in 1024x768".to_owned())
}
