//! Model directories: as diffusers has them, a folder for each part, or the original files side by side.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use serde::Deserialize;
use serde_json::json;
use vtb_nn::checkpoint::{Checkpoint, RenamedSource, TensorSource, open_source};

use super::names::WanPart;
use super::sizes::{FRAME_SCALE, VAE_SCALE};
use super::text::{T5Tokenizer, TextEncoder, Umt5Config, Umt5Encoder};
use super::vae::{VaeConfig, WanVae};
use super::{WanConfig, WanTransformer};
use crate::scheduler::UniPcConfig;
use crate::{DiffusionError, files};

/// Classes of pipelines that this code runs.
const CLASSES: [&str; 2] = ["WanImageToVideoPipeline", "WanPipeline"];
/// The text encoder among the original files.
pub const ORIGINAL_ENCODER: &str = "models_t5_umt5-xxl-enc-bf16";
/// The autoencoder among the original files.
pub const ORIGINAL_VAE: &str = "Wan2.2_VAE";
/// The tokenizer among the original files.
pub const ORIGINAL_TOKENIZER: &str = "google/umt5-xxl";
/// Endings of weights among the original files.
const ENDINGS: [&str; 2] = ["pth", "safetensors"];

/// Writes `model_index.json` of the layout of diffusers.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write_index(dir: &Path) -> Result<(), DiffusionError> {
    let index = json!({
        "_class_name": CLASSES[0],
        "_diffusers_version": "0.36.0",
        "boundary_ratio": null,
        "expand_timesteps": true,
        "image_encoder": [null, null],
        "image_processor": [null, null],
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "transformer_2": [null, null],
        "vae": ["diffusers", "AutoencoderKLWan"],
    });
    files::write_json(&dir.join(files::MODEL_INDEX), &index)
}

/// How the files of a model lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WanLayout {
    /// A folder for each part.
    Diffusers,
    /// Original files side by side.
    Original,
}

/// What `model_index.json` says: which class runs the parts.
#[derive(Debug, Deserialize)]
struct ModelIndex {
    #[serde(rename = "_class_name")]
    class_name: String,
}

/// Where the parts of a model lie.
#[derive(Debug, Clone)]
struct Places {
    transformer: PathBuf,
    encoder: PathBuf,
    tokenizer: PathBuf,
    vae: PathBuf,
}

/// A model directory that was looked at: its small files are read and checked, weights are not loaded.
#[derive(Debug, Clone)]
pub struct VideoModelDir {
    root: PathBuf,
    layout: WanLayout,
    places: Places,
    encoder: Umt5Config,
    /// Sizes of the transformer.
    pub transformer: WanConfig,
    /// Sizes of the autoencoder.
    pub vae: VaeConfig,
    /// Noise levels of sampling.
    pub scheduler: UniPcConfig,
}

impl VideoModelDir {
    /// Opens a directory in either layout. Of weights the headers are read.
    ///
    /// # Errors
    /// A part or a shard is missing, or of another model than the others; it is named.
    pub fn open(root: &Path) -> Result<Self, DiffusionError> {
        let layout = layout_of(root)?;
        let places = match layout {
            WanLayout::Diffusers => diffusers_places(root)?,
            WanLayout::Original => original_places(root)?,
        };
        let transformer = WanConfig::from_dir(&places.transformer)?;
        let (encoder, vae, scheduler) = match layout {
            WanLayout::Diffusers => (
                Umt5Config::from_dir(&places.encoder)?,
                VaeConfig::read(places.vae.join(files::CONFIG))?,
                UniPcConfig::from_dir(&files::part(root, "scheduler")?)?,
            ),
            WanLayout::Original => {
                let encoder = open_source(&places.encoder)?;
                let vae = open_source(&places.vae)?;
                (
                    Umt5Config::of_shapes(&renamed(encoder.as_ref(), WanPart::TextEncoder)?)?,
                    VaeConfig::of_shapes(&renamed(vae.as_ref(), WanPart::Vae)?)?,
                    UniPcConfig::default(),
                )
            }
        };
        let found = Self {
            root: root.to_path_buf(),
            layout,
            places,
            encoder,
            transformer,
            vae,
            scheduler,
        };
        found.check()?;
        Ok(found)
    }

    /// The parts are of one model, and all shards of their weights are there.
    fn check(&self) -> Result<(), DiffusionError> {
        let fault = |message: String| Err(DiffusionError::file(&self.root, message));
        let scales = (self.vae.factor(), self.vae.frame_factor());
        if scales != (VAE_SCALE, FRAME_SCALE) {
            return fault(format!(
                "the autoencoder shrinks sides {} and time {} times, expected {VAE_SCALE} and {FRAME_SCALE}",
                scales.0, scales.1
            ));
        }
        if self.vae.z_dim != self.transformer.in_channels {
            return fault(format!(
                "the autoencoder has {} latent channels, the transformer {}: parts of two models",
                self.vae.z_dim, self.transformer.in_channels
            ));
        }
        if self.encoder.d_model != self.transformer.text_dim {
            return fault(format!(
                "the text encoder has states of width {}, the transformer takes {}: parts of two models",
                self.encoder.d_model, self.transformer.text_dim
            ));
        }
        // Shards that are missing or damaged show in their headers, before hours of work with the other parts.
        Checkpoint::open(&self.places.transformer)?;
        if self.layout == WanLayout::Diffusers {
            Checkpoint::open(&self.places.encoder)?;
            Checkpoint::open(&self.places.vae)?;
        }
        T5Tokenizer::load(&self.places.tokenizer)?;
        Ok(())
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How its files lie.
    pub fn layout(&self) -> WanLayout {
        self.layout
    }

    /// Files and folders of the text encoder and its tokenizer.
    pub fn text_files(&self) -> Vec<PathBuf> {
        vec![self.places.encoder.clone(), self.places.tokenizer.clone()]
    }

    /// File or folder of the autoencoder.
    pub fn vae_files(&self) -> Vec<PathBuf> {
        vec![self.places.vae.clone()]
    }

    /// Folder of the transformer, or its files among the original ones.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn transformer_files(&self) -> Result<Vec<PathBuf>, DiffusionError> {
        if self.layout == WanLayout::Diffusers {
            return Ok(vec![self.places.transformer.clone()]);
        }
        let root = &self.root;
        let mut found = Vec::new();
        for item in std::fs::read_dir(root).map_err(|e| DiffusionError::io(root, e))? {
            let item = item.map_err(|e| DiffusionError::io(root, e))?;
            let name = item.file_name().to_string_lossy().into_owned();
            if name.starts_with(files::WEIGHTS_STEM) {
                found.push(item.path());
            }
        }
        Ok(found)
    }

    /// Sizes of the text encoder.
    pub fn encoder(&self) -> &Umt5Config {
        &self.encoder
    }

    /// Folder of the tokenizer.
    pub fn tokenizer(&self) -> &Path {
        &self.places.tokenizer
    }

    /// Runs `f` on the tensors of a part, under the names of diffusers and transformers.
    ///
    /// # Errors
    /// The weights cannot be opened, or as `f`.
    pub fn with_weights<T>(
        &self,
        part: WanPart,
        f: impl FnOnce(&dyn TensorSource) -> Result<T, DiffusionError>,
    ) -> Result<T, DiffusionError> {
        let place = match part {
            WanPart::Transformer => &self.places.transformer,
            WanPart::TextEncoder => &self.places.encoder,
            WanPart::Vae => &self.places.vae,
        };
        let source = open_source(place)?;
        f(&renamed(source.as_ref(), part)?)
    }

    /// Loads text encoder and tokenizer.
    ///
    /// # Errors
    /// Weights are missing or do not fit.
    pub fn load_text(&self, device: &Device, dtype: DType) -> Result<TextEncoder, DiffusionError> {
        let tokenizer = T5Tokenizer::load(&self.places.tokenizer)?;
        let config = self.encoder.clone();
        let encoder = self.with_weights(WanPart::TextEncoder, |source| {
            Umt5Encoder::from_source(config, source, device, dtype)
        })?;
        TextEncoder::new(encoder, tokenizer, self.transformer.text_len)
    }

    /// Loads the autoencoder.
    ///
    /// # Errors
    /// Weights are missing or do not fit.
    pub fn load_vae(&self, device: &Device, dtype: DType) -> Result<WanVae, DiffusionError> {
        let config = self.vae.clone();
        self.with_weights(WanPart::Vae, |source| {
            WanVae::from_source(source, config, device, dtype)
        })
    }

    /// Loads the transformer.
    ///
    /// # Errors
    /// Weights are missing or do not fit.
    pub fn load_transformer(
        &self,
        device: &Device,
        dtype: DType,
    ) -> Result<WanTransformer, DiffusionError> {
        let config = self.transformer.clone();
        self.with_weights(WanPart::Transformer, |source| {
            WanTransformer::from_source(config, source, device, dtype)
        })
    }
}

fn renamed(source: &dyn TensorSource, part: WanPart) -> Result<RenamedSource<'_>, DiffusionError> {
    Ok(RenamedSource::new(source, |name| part.diffusers(name))?)
}

fn layout_of(root: &Path) -> Result<WanLayout, DiffusionError> {
    let index_path = root.join(files::MODEL_INDEX);
    if index_path.is_file() {
        let index: ModelIndex = files::read_json(&index_path)?;
        if !CLASSES.contains(&index.class_name.as_str()) {
            return Err(DiffusionError::file(
                index_path,
                format!(
                    "`_class_name` is `{}`; expected {}",
                    index.class_name,
                    CLASSES.join(" or ")
                ),
            ));
        }
        return Ok(WanLayout::Diffusers);
    }
    if root.join("transformer").is_dir() {
        return Ok(WanLayout::Diffusers);
    }
    if root.join(files::CONFIG).is_file() {
        return Ok(WanLayout::Original);
    }
    let what = if root.is_dir() {
        format!(
            "holds neither {} (a model in the diffusers layout) nor {} (the original files of Wan2.2-TI2V)",
            files::MODEL_INDEX,
            files::CONFIG
        )
    } else {
        "is no directory; expected a model in the diffusers layout, or the original files of Wan2.2-TI2V".into()
    };
    Err(DiffusionError::file(root, what))
}

fn diffusers_places(root: &Path) -> Result<Places, DiffusionError> {
    let part = |name: &str| {
        let dir = root.join(name);
        match dir.is_dir() {
            true => Ok(dir),
            false => Err(DiffusionError::file(
                root,
                format!(
                    "holds no folder `{name}`; a Wan model in the diffusers layout has transformer, vae, text_encoder, \
                     tokenizer and scheduler"
                ),
            )),
        }
    };
    Ok(Places {
        transformer: part("transformer")?,
        encoder: part("text_encoder")?,
        tokenizer: part("tokenizer")?,
        vae: part("vae")?,
    })
}

fn original_places(root: &Path) -> Result<Places, DiffusionError> {
    let file = |stem: &str, what: &str| {
        let found = ENDINGS
            .iter()
            .map(|ending| root.join(format!("{stem}.{ending}")))
            .find(|path| path.is_file());
        found.ok_or_else(|| {
            DiffusionError::file(
                root,
                format!("holds no {stem}.pth or {stem}.safetensors, the {what}"),
            )
        })
    };
    let tokenizer = root.join(ORIGINAL_TOKENIZER);
    if !tokenizer.is_dir() {
        return Err(DiffusionError::file(
            root,
            format!("holds no folder {ORIGINAL_TOKENIZER}, the tokenizer"),
        ));
    }
    Ok(Places {
        transformer: root.to_path_buf(),
        encoder: file(ORIGINAL_ENCODER, "text encoder")?,
        tokenizer,
        vae: file(ORIGINAL_VAE, "autoencoder")?,
    })
}
