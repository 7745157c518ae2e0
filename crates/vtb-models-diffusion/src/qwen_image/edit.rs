//! Editing: pictures and an instruction in, a picture out.
//!
//! A model has three large parts that are needed one after the other, so they are loaded one after the other: the text
//! encoder, the autoencoder, the transformer. [`EditInputs`] is what the first two leave for the third.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{DType, Device};
use serde::Deserialize;
use vtb_models_vlm::config::Qwen2_5VlConfig;
use vtb_models_vlm::files::ModelDir;
use vtb_models_vlm::processor::Rgb;
use vtb_nn::checkpoint::Checkpoint;
use vtb_nn::velocity::{FlowCondition, Latent, VelocityModel};

use super::prompt::PromptEncoder;
use super::sample::{Guidance, denoise};
use super::sizes::{REFERENCE_AREA, area_size, check_output, from_values, resized, to_values};
use super::template::EditTemplate;
use super::vae::{QwenImageVae, VaeConfig};
use super::{QwenImageTransformer, TransformerConfig};
use crate::scheduler::FlowMatchEuler;
use crate::{DiffusionError, files};

/// Pixels of a cell of the latent, each way.
pub const VAE_SCALE: usize = 8;

/// Shape of the latent of a picture.
pub fn latent_shape(channels: usize, width: usize, height: usize) -> [usize; 4] {
    [channels, 1, height / VAE_SCALE, width / VAE_SCALE]
}

/// What is asked of a model.
#[derive(Debug, Clone)]
pub struct EditRequest {
    /// Pictures to edit, in order.
    pub pictures: Vec<Rgb>,
    /// What to do with them.
    pub prompt: String,
    /// What the result is to be unlike; without it there is no guidance.
    pub negative_prompt: Option<String>,
    /// Strength of guidance; 1 is none.
    pub cfg: f32,
    /// Whether guidance keeps the norm of every token.
    pub rescale: bool,
    /// Width and height of the result; by default about a megapixel with the shape of the last picture.
    pub size: Option<(usize, usize)>,
    /// How pictures stand in the prompt.
    pub template: EditTemplate,
    /// Pixels of a picture as the transformer sees it.
    pub reference_area: usize,
    /// Pixels of a picture as the text encoder sees it, with the list template.
    pub condition_area: usize,
}

impl EditRequest {
    /// An edit with the published settings: guidance 4 against a blank prompt, norms kept.
    pub fn new(pictures: Vec<Rgb>, prompt: impl Into<String>) -> Self {
        Self {
            pictures,
            prompt: prompt.into(),
            negative_prompt: Some(" ".into()),
            cfg: 4.0,
            rescale: true,
            size: None,
            template: EditTemplate::List,
            reference_area: REFERENCE_AREA,
            condition_area: super::sizes::CONDITION_AREA,
        }
    }

    /// Checks what needs no model.
    ///
    /// # Errors
    /// No picture, a size that is not possible, guidance that is no number.
    pub fn check(&self) -> Result<(), DiffusionError> {
        if self.pictures.is_empty() {
            return Err(DiffusionError::input("there is no picture to edit"));
        }
        if let Some((width, height)) = self.size {
            check_output(width, height)?;
        }
        if !self.cfg.is_finite() {
            return Err(DiffusionError::input(format!(
                "a guidance of {} is no number",
                self.cfg
            )));
        }
        Ok(())
    }

    /// Width and height of the result.
    ///
    /// # Errors
    /// The last picture is too long and narrow, or there is none.
    pub fn output_size(&self) -> Result<(usize, usize), DiffusionError> {
        match (self.size, self.pictures.last()) {
            (Some(size), _) => Ok(size),
            (None, Some(last)) => area_size(REFERENCE_AREA, last.width, last.height),
            (None, None) => Err(DiffusionError::input("there is no picture to edit")),
        }
    }

    fn guides(&self) -> bool {
        self.cfg > 1.0 && self.negative_prompt.is_some()
    }
}

/// What the transformer needs of a request.
#[derive(Debug, Clone)]
pub struct EditInputs {
    /// Prompt and references.
    pub condition: Arc<FlowCondition>,
    /// How to guide.
    pub guidance: Option<Guidance>,
    /// Shape of the noise: channels, 1, height, width in cells.
    pub shape: [usize; 4],
}

impl EditInputs {
    /// Encodes a request.
    ///
    /// # Errors
    /// As [`EditRequest::check`], [`PromptEncoder::encode`] and [`QwenImageVae::encode`].
    pub fn encode(
        request: &EditRequest,
        prompts: &PromptEncoder,
        vae: &QwenImageVae,
    ) -> Result<Self, DiffusionError> {
        let texts = EditTexts::encode(request, prompts)?;
        texts.with_references(request, vae)
    }
}

/// The encoded prompts of a request, before its pictures are encoded for the transformer.
#[derive(Debug, Clone)]
pub struct EditTexts {
    prompt: vtb_nn::velocity::TextStates,
    negative: Option<vtb_nn::velocity::TextStates>,
}

impl EditTexts {
    /// Encodes the prompts; the text encoder is not needed afterwards.
    ///
    /// # Errors
    /// As [`PromptEncoder::encode`].
    pub fn encode(request: &EditRequest, prompts: &PromptEncoder) -> Result<Self, DiffusionError> {
        request.check()?;
        let mut prompts = prompts.clone();
        prompts.template = request.template;
        prompts.condition_area = request.condition_area;
        let encode = |text: &String| prompts.encode(text, &request.pictures);
        let negative = request
            .negative_prompt
            .as_ref()
            .filter(|_| request.guides());
        Ok(Self {
            prompt: encode(&request.prompt)?,
            negative: negative.map(encode).transpose()?,
        })
    }

    /// Adds the pictures; the encoder of the autoencoder is not needed afterwards.
    ///
    /// # Errors
    /// A picture is too long and narrow.
    pub fn with_references(
        self,
        request: &EditRequest,
        vae: &QwenImageVae,
    ) -> Result<EditInputs, DiffusionError> {
        let mut references = Vec::with_capacity(request.pictures.len());
        for picture in &request.pictures {
            references.push(reference_latent(picture, request.reference_area, vae)?);
        }
        let (width, height) = request.output_size()?;
        let condition = |text| {
            Arc::new(FlowCondition {
                text,
                references: references.clone(),
                clean_frames: 0,
            })
        };
        Ok(EditInputs {
            guidance: self.negative.map(|text| Guidance {
                scale: request.cfg,
                rescale: request.rescale,
                negative: condition(text),
            }),
            condition: condition(self.prompt),
            shape: latent_shape(vae.config().z_dim, width, height),
        })
    }
}

/// A picture as the transformer sees it: brought to about `area` pixels, then encoded.
///
/// # Errors
/// The picture is too long and narrow.
pub fn reference_latent(
    picture: &Rgb,
    area: usize,
    vae: &QwenImageVae,
) -> Result<Latent, DiffusionError> {
    let (width, height) = area_size(area, picture.width, picture.height)?;
    picture_latent(&resized(picture, width, height), vae)
}

/// A picture as it is, encoded.
///
/// # Errors
/// Its sides are no multiples of 8.
pub fn picture_latent(picture: &Rgb, vae: &QwenImageVae) -> Result<Latent, DiffusionError> {
    vae.encode(&to_values(picture))
}

/// A latent as a picture.
///
/// # Errors
/// The latent has other channels than the autoencoder.
pub fn latent_picture(latent: &Latent, vae: &QwenImageVae) -> Result<Rgb, DiffusionError> {
    Ok(from_values(&vae.decode(latent)?))
}

/// Draws a latent: the loop between [`EditInputs`] and [`latent_picture`].
///
/// # Errors
/// `noise` has another shape than asked for, the schedule has too few steps, or the model refuses its input.
pub fn edit_latent(
    inputs: &EditInputs,
    model: &impl VelocityModel,
    patch: usize,
    scheduler: &FlowMatchEuler,
    steps: usize,
    noise: Latent,
    told: &mut dyn FnMut(usize, &Latent),
) -> Result<Latent, DiffusionError> {
    if noise.shape != inputs.shape || !noise.is_whole() {
        return Err(DiffusionError::input(format!(
            "noise of shape {:?} was given, the output needs {:?}",
            noise.shape, inputs.shape
        )));
    }
    let [_, _, height, width] = inputs.shape;
    let sigmas = scheduler.sigmas(steps, (height / patch) * (width / patch))?;
    let guidance = inputs.guidance.as_ref();
    denoise(
        model,
        &inputs.condition,
        guidance,
        noise,
        &sigmas,
        patch,
        told,
    )
}

/// What `model_index.json` says: which class loads which part.
#[derive(Debug, Deserialize)]
struct ModelIndex {
    #[serde(rename = "_class_name")]
    class_name: String,
}

/// A model directory that was looked at: its small files are read and checked, weights are not loaded.
#[derive(Debug, Clone)]
pub struct EditModelDir {
    root: std::path::PathBuf,
    /// Sizes of the transformer.
    pub transformer: TransformerConfig,
    /// Noise levels of sampling.
    pub scheduler: FlowMatchEuler,
}

impl EditModelDir {
    /// Classes of pipelines that this code runs.
    const CLASSES: [&'static str; 2] = ["QwenImageEditPlusPipeline", "QwenImageEditPipeline"];

    /// Opens a directory in the diffusers layout. Of weights the headers are read.
    ///
    /// # Errors
    /// A part or a shard is missing, or of another model than the others; it is named.
    pub fn open(root: &Path) -> Result<Self, DiffusionError> {
        let index_path = root.join(files::MODEL_INDEX);
        if index_path.is_file() {
            let index: ModelIndex = files::read_json(&index_path)?;
            if !Self::CLASSES.contains(&index.class_name.as_str()) {
                return Err(DiffusionError::file(
                    index_path,
                    format!(
                        "`_class_name` is `{}`; expected {}",
                        index.class_name,
                        Self::CLASSES.join(" or ")
                    ),
                ));
            }
        }
        for name in ["text_encoder", "tokenizer", "processor", "vae"] {
            files::part(root, name)?;
        }
        let transformer = TransformerConfig::from_dir(&files::part(root, "transformer")?)?;
        let scheduler = FlowMatchEuler::from_dir(&files::part(root, "scheduler")?)?;
        let vae = VaeConfig::read(root.join("vae").join(files::CONFIG))?;
        if vae.factor() != VAE_SCALE {
            return Err(DiffusionError::file(
                root,
                format!(
                    "the autoencoder shrinks {} times, expected {VAE_SCALE}",
                    vae.factor()
                ),
            ));
        }
        if vae.z_dim != transformer.out_channels {
            return Err(DiffusionError::file(
                root,
                format!(
                    "the autoencoder has {} latent channels, the transformer {}: parts of two models",
                    vae.z_dim, transformer.out_channels
                ),
            ));
        }
        let encoder = Qwen2_5VlConfig::from_dir(&ModelDir::open(root.join("text_encoder"))?)?;
        if encoder.text.hidden_size != transformer.joint_attention_dim {
            return Err(DiffusionError::file(
                root,
                format!(
                    "the text encoder has states of width {}, the transformer takes {}: parts of two models",
                    encoder.text.hidden_size, transformer.joint_attention_dim
                ),
            ));
        }
        // Shards that are missing or damaged show in their headers, before hours of work with the other parts.
        for name in ["text_encoder", "vae", "transformer"] {
            Checkpoint::open(root.join(name))?;
        }
        Ok(Self {
            root: root.to_path_buf(),
            transformer,
            scheduler,
        })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Loads text encoder, tokenizer and processor.
    ///
    /// # Errors
    /// As [`PromptEncoder::load`].
    pub fn load_prompts(
        &self,
        device: &Device,
        dtype: DType,
    ) -> Result<PromptEncoder, DiffusionError> {
        PromptEncoder::load(&self.root, device, dtype)
    }

    /// Loads the autoencoder.
    ///
    /// # Errors
    /// As [`QwenImageVae::load`].
    pub fn load_vae(&self, device: &Device, dtype: DType) -> Result<QwenImageVae, DiffusionError> {
        QwenImageVae::load(self.root.join("vae"), device, dtype)
    }

    /// Loads the transformer.
    ///
    /// # Errors
    /// As [`QwenImageTransformer::load`].
    pub fn load_transformer(
        &self,
        device: &Device,
        dtype: DType,
    ) -> Result<QwenImageTransformer, DiffusionError> {
        QwenImageTransformer::load(&self.root.join("transformer"), device, dtype)
    }
}
