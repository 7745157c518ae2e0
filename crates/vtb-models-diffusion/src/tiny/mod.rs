//! Tiny models with the files of real ones: Qwen-Image-Edit here, Wan2.2-TI2V in [`TinyVideoSpec`].
//!
//! A directory written here opens in `diffusers`, and everything in this workspace reads it by the same code as a published
//! model. Transformer and text encoder are random; the autoencoder works, so that edits can be looked at.

mod transformer;
pub mod umt5;
mod upsampling;
mod vae;
mod video;
mod wan_transformer;
mod wan_vae;
mod weights;

pub use video::TinyVideoSpec;

use std::fs;
use std::path::Path;

use burn::tensor::DType;
use serde_json::{Value, json};
use vtb_models_vlm::files::{
    CHAT_TEMPLATE_JINJA, ModelDir, PREPROCESSOR_CONFIG, TOKENIZER, TOKENIZER_CONFIG,
    VIDEO_PREPROCESSOR_CONFIG,
};
use vtb_models_vlm::qwen2_5_vl::Qwen2_5Vl;
use vtb_models_vlm::tiny::TinyQwen2_5Spec;
use vtb_models_vlm::tokenizer::Tokenizer;
use vtb_nn::device::cpu_device;

use crate::qwen_image::{DROPPED_TOKENS, EditTemplate, TransformerConfig};
use crate::scheduler::FlowMatchEuler;
use crate::{DiffusionError, files};

/// Sizes of a tiny model.
#[derive(Debug, Clone, PartialEq)]
pub struct TinyEditSpec {
    /// Sizes of the transformer; its `joint_attention_dim` is the width of the text encoder.
    pub transformer: TransformerConfig,
    /// Channels of the autoencoder at full size, at least 14.
    pub vae_base: usize,
    /// Sizes of the text encoder.
    pub text: TinyQwen2_5Spec,
    /// Rows of the text encoder's embedding matrix, added tokens included. The words of the template take about 280 beyond
    /// [`MIN_VOCAB`](vtb_models_vlm::tiny::MIN_VOCAB).
    pub vocab: usize,
}

impl Default for TinyEditSpec {
    /// A transformer of about 2.5 million parameters, a text encoder of 0.4 million.
    fn default() -> Self {
        let text = TinyQwen2_5Spec {
            hidden: 64,
            heads: 2,
            kv_heads: 1,
            layers: 2,
            intermediate: 128,
            ..TinyQwen2_5Spec::default()
        };
        Self {
            transformer: TransformerConfig {
                num_layers: 4,
                attention_head_dim: 32,
                num_attention_heads: 4,
                joint_attention_dim: text.hidden,
                axes_dims_rope: [8, 12, 12],
                ..TransformerConfig::published()
            },
            vae_base: 16,
            text,
            vocab: 1024,
        }
    }
}

impl TinyEditSpec {
    /// Writes a whole model directory in the diffusers layout into `dir`, which is made if it is not there. The same corpus
    /// and seed give the same bytes.
    ///
    /// `corpus` holds texts the tokenizer is trained on, besides the words of the template.
    ///
    /// # Errors
    /// Sizes do not go together, or a file cannot be written.
    pub fn write(&self, dir: &Path, corpus: &[String], seed: u64) -> Result<(), DiffusionError> {
        self.check()?;
        let folder = |name: &str| {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(|e| DiffusionError::io(&path, e))?;
            Ok::<_, DiffusionError>(path)
        };
        transformer::write(&folder("transformer")?, &self.transformer, seed)?;
        vae::write(&folder("vae")?, self.vae_base)?;
        FlowMatchEuler::qwen_image().write(&folder("scheduler")?)?;
        let [encoder, tokenizer, processor] = [
            folder("text_encoder")?,
            folder("tokenizer")?,
            folder("processor")?,
        ];
        self.write_texts(&encoder, corpus, seed)?;
        // A model for chat keeps these beside its weights, a model of this layout in folders of their own.
        for name in [TOKENIZER, TOKENIZER_CONFIG] {
            copy(&encoder, name, &tokenizer)?;
            shift(&encoder, name, &processor)?;
        }
        for name in [PREPROCESSOR_CONFIG, CHAT_TEMPLATE_JINJA] {
            shift(&encoder, name, &processor)?;
        }
        name_processor(&processor)?;
        files::write_json(&dir.join(files::MODEL_INDEX), &model_index())?;
        check_frame(&tokenizer)
    }

    fn check(&self) -> Result<(), DiffusionError> {
        self.transformer.validate()?;
        if self.transformer.joint_attention_dim != self.text.hidden {
            return Err(DiffusionError::input(format!(
                "`joint_attention_dim` of the transformer is {}, the text encoder is {} wide",
                self.transformer.joint_attention_dim, self.text.hidden
            )));
        }
        if self.transformer.out_channels != 16 {
            return Err(DiffusionError::input(format!(
                "`out_channels` of the transformer is {}, the autoencoder has 16",
                self.transformer.out_channels
            )));
        }
        Ok(())
    }

    /// Text encoder and tokenizer, as a model for chat.
    fn write_texts(&self, dir: &Path, corpus: &[String], seed: u64) -> Result<(), DiffusionError> {
        let mut texts = corpus.to_vec();
        // More often than what all texts of the corpus say once or twice, so that every word of the frame becomes one token
        // and the frame as many as in the published model.
        let frame = frame_texts();
        for _ in 0..=2 * corpus.len() {
            texts.extend(frame.iter().cloned());
        }
        let config = self.text.write_files(dir, &texts, self.vocab)?;
        Qwen2_5Vl::fresh(config, seed, &cpu_device(), DType::F32)?.save(dir)?;
        Ok(())
    }
}

/// The framing of a prompt without its special tokens.
fn frame_texts() -> Vec<String> {
    let frame = EditTemplate::List.render("", 1);
    let parts = frame.split("<|").map(|part| match part.split_once("|>") {
        Some((_, text)) => text,
        None => part,
    });
    parts.filter(|p| !p.is_empty()).map(str::to_owned).collect()
}

/// Warns if the states that are dropped are not those of the frame: prompts then lose words, or keep some of the frame.
fn check_frame(dir: &Path) -> Result<(), DiffusionError> {
    let tokenizer = Tokenizer::from_dir(&ModelDir::open(dir)?)?;
    let whole = EditTemplate::List.render("", 1);
    let system = whole.split("Picture 1").next().unwrap_or_default();
    let tokens = tokenizer.encode(system)?.len();
    if tokens != DROPPED_TOKENS {
        tracing::warn!(
            "the frame of a prompt is {tokens} tokens long, {DROPPED_TOKENS} are dropped; a larger vocabulary mends it"
        );
    }
    Ok(())
}

/// Classes of a processor for pictures and videos, as the parts of this layout name them.
fn name_processor(dir: &Path) -> Result<(), DiffusionError> {
    let path = dir.join(PREPROCESSOR_CONFIG);
    let mut settings: Value = files::read_json(&path)?;
    settings["processor_class"] = json!("Qwen2VLProcessor");
    files::write_json(&path, &settings)?;
    if let Some(fields) = settings.as_object_mut() {
        fields.remove("image_processor_type");
        fields.insert(
            "video_processor_type".into(),
            json!("Qwen2VLVideoProcessor"),
        );
        fields.insert("min_frames".into(), json!(4));
        fields.insert("max_frames".into(), json!(768));
    }
    files::write_json(&dir.join(VIDEO_PREPROCESSOR_CONFIG), &settings)
}

fn model_index() -> Value {
    json!({
        "_class_name": "QwenImageEditPlusPipeline",
        "_diffusers_version": "0.36.0",
        "processor": ["transformers", "Qwen2VLProcessor"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
        "tokenizer": ["transformers", "Qwen2Tokenizer"],
        "transformer": ["diffusers", "QwenImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLQwenImage"],
    })
}

fn copy(from: &Path, name: &str, to: &Path) -> Result<(), DiffusionError> {
    let path = from.join(name);
    let copied = fs::copy(&path, to.join(name)).map_err(|e| DiffusionError::io(path, e));
    copied.map(|_| ())
}

fn shift(from: &Path, name: &str, to: &Path) -> Result<(), DiffusionError> {
    let path = from.join(name);
    fs::rename(&path, to.join(name)).map_err(|e| DiffusionError::io(path, e))
}
