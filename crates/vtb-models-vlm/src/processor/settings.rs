//! Picture settings of a model directory.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::decode::DecodeOptions;
use super::size;
use crate::VlmError;
use crate::config::section::Section;
use crate::config::{TowerConfig, decimal};
use crate::files::{self, ModelDir};

/// Which rule decides the size pictures are resized to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResizePolicy {
    /// The checkpoint's own processor: `min_pixels` and `max_pixels` of its files. Published files enlarge
    /// pictures below 65536 pixels.
    #[default]
    Processor,
    /// `qwen-vl-utils`, which `ms-swift` trains with: from 4 to 16384 tokens, so small pictures keep their size.
    QwenVlUtils,
}

/// How pictures become patches.
#[derive(Debug, Clone)]
pub struct ImageSettings {
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Frames per patch.
    pub temporal: usize,
    /// Side of the square of patches that makes one token.
    pub merge: usize,
    /// Fewest pixels after resizing.
    pub min_pixels: usize,
    /// Most pixels after resizing.
    pub max_pixels: usize,
    /// Subtracted from each channel in 0..=1.
    pub mean: [f32; 3],
    /// Divides each channel after that.
    pub std: [f32; 3],
    /// Multiplies grey levels first.
    pub rescale: f64,
    /// Which rule decides the size.
    pub policy: ResizePolicy,
    /// How files are decoded.
    pub decode: DecodeOptions,
}

impl Default for ImageSettings {
    /// The published settings of Qwen3-VL.
    fn default() -> Self {
        Self {
            patch: 16,
            temporal: 2,
            merge: 2,
            min_pixels: 65_536,
            max_pixels: 16_777_216,
            mean: [0.5; 3],
            std: [0.5; 3],
            rescale: 1.0 / 255.0,
            policy: ResizePolicy::Processor,
            decode: DecodeOptions::default(),
        }
    }
}

impl ImageSettings {
    /// The published settings of Qwen2.5-VL.
    pub fn qwen2_5_vl() -> Self {
        Self {
            patch: 14,
            min_pixels: 3136,
            max_pixels: 12_845_056,
            mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
            ..Self::default()
        }
    }

    /// Reads `preprocessor_config.json`, or the `image_processor` part of `processor_config.json`.
    ///
    /// # Errors
    /// Neither file is there, a required key is absent, or a value makes no sense.
    pub fn from_dir(dir: &ModelDir) -> Result<Self, VlmError> {
        let names = [files::PREPROCESSOR_CONFIG, files::PROCESSOR_CONFIG];
        let path = dir.require("picture settings", &names)?;
        Self::from_json(&path, &files::read_json(&path, files::CONFIG_LIMIT)?)
    }

    /// The same for JSON in memory; `file` is named in errors.
    pub fn from_json(file: &Path, value: &Value) -> Result<Self, VlmError> {
        let root = Section::root(file, value)?;
        let section = root
            .child("image_processor", "image_processor")?
            .unwrap_or(root);
        Self::from_section(&section)
    }

    /// The keys pictures and videos share.
    pub(super) fn from_section(section: &Section<'_>) -> Result<Self, VlmError> {
        require_bicubic(section)?;
        let (min_pixels, max_pixels) = pixel_range(section)?;
        Ok(Self {
            patch: section.size("patch_size", 1..=256)?,
            temporal: section.size("temporal_patch_size", 1..=16)?,
            merge: section.size("merge_size", 1..=16)?,
            min_pixels,
            max_pixels,
            mean: channels(section, "image_mean")?,
            std: channels(section, "image_std")?,
            rescale: section.opt_number("rescale_factor")?.unwrap_or(1.0 / 255.0),
            policy: ResizePolicy::Processor,
            decode: DecodeOptions::default(),
        })
    }

    /// Feeds a hash with what decides how resized pixels become patches.
    pub(super) fn hash_into(&self, hash: &mut Sha256) {
        for n in [self.patch, self.temporal, self.merge] {
            hash.update((n as u64).to_le_bytes());
        }
        for value in self.mean.iter().chain(&self.std) {
            hash.update(value.to_le_bytes());
        }
        hash.update(self.rescale.to_le_bytes());
    }

    /// Checks that patches have the shape the vision tower was built for.
    pub fn check(&self, vision: &impl TowerConfig) -> Result<(), VlmError> {
        let shape = vision.shape();
        let pairs = [
            ("patch_size", self.patch, shape.patch),
            ("temporal_patch_size", self.temporal, shape.frames),
            ("merge_size", self.merge, shape.merge),
            ("number of channels", 3, shape.channels),
        ];
        match pairs.iter().find(|(_, ours, theirs)| ours != theirs) {
            None => Ok(()),
            Some((key, ours, theirs)) => Err(VlmError::Config(format!(
                "the picture settings have {key} {ours}, the vision tower has {theirs}; the files of the model \
                 directory do not belong together"
            ))),
        }
    }

    /// Pixels the sides are multiples of.
    pub fn factor(&self) -> usize {
        self.patch * self.merge
    }

    /// `(height, width)` a picture is resized to.
    pub fn resized(&self, height: usize, width: usize) -> Result<(usize, usize), String> {
        let factor = self.factor();
        match self.policy {
            ResizePolicy::Processor => {
                size::smart_resize(height, width, factor, self.min_pixels, self.max_pixels)
            }
            ResizePolicy::QwenVlUtils => {
                let token = factor * factor;
                size::smart_resize_utils(height, width, factor, 4 * token, 16_384 * token)
            }
        }
    }

    /// Placeholder tokens of a picture of this size.
    pub fn tokens(&self, height: usize, width: usize) -> Result<usize, String> {
        let (height, width) = self.resized(height, width)?;
        Ok(height * width / (self.factor() * self.factor()))
    }

    /// The value each grey level of each channel becomes. Rounded as the Pillow processor of `transformers`
    /// does: scaled in 64 bits, then normalised in 32.
    pub(super) fn levels(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|channel| {
            std::array::from_fn(|level| {
                ((level as f64 * self.rescale) as f32 - self.mean[channel]) / self.std[channel]
            })
        })
    }

    /// The settings as `preprocessor_config.json` holds them.
    pub fn to_json(&self) -> Value {
        let mut value = self.shared_json();
        value["image_processor_type"] = json!("Qwen2VLImageProcessorFast");
        value["processor_class"] = json!("Qwen3VLProcessor");
        value
    }

    /// The keys pictures and videos share.
    pub(crate) fn shared_json(&self) -> Value {
        let list = |values: [f32; 3]| values.map(decimal);
        json!({
            "size": {"shortest_edge": self.min_pixels, "longest_edge": self.max_pixels},
            "patch_size": self.patch,
            "temporal_patch_size": self.temporal,
            "merge_size": self.merge,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
            "rescale_factor": self.rescale,
            "resample": 3,
            "do_resize": true,
            "do_rescale": true,
            "do_normalize": true,
            "do_convert_rgb": true,
        })
    }
}

/// Another filter, or a skipped step, would silently give other pixels.
fn require_bicubic(section: &Section<'_>) -> Result<(), VlmError> {
    if let Some(filter) = section.opt_size("resample", 0..=16)?
        && filter != 3
    {
        return Err(section.unsupported("resample", filter, "3 (bicubic)"));
    }
    for key in ["do_resize", "do_rescale", "do_normalize"] {
        if section.opt_bool(key)? == Some(false) {
            return Err(section.unsupported(key, false, "true"));
        }
    }
    Ok(())
}

/// `size.shortest_edge` and `size.longest_edge` are pixel counts in these files; `min_pixels` and `max_pixels`,
/// which say the same, win where both are given, as in the reference.
fn pixel_range(section: &Section<'_>) -> Result<(usize, usize), VlmError> {
    // Four times the published maximum: a picture of it takes 1.6 GB as patches.
    const MOST: usize = 1 << 26;
    let size = section.child("size", "size")?;
    let find = |key: &str, edge: &str| -> Result<usize, VlmError> {
        if let Some(n) = section.opt_size(key, 1..=MOST)? {
            return Ok(n);
        }
        match &size {
            Some(size) => match size.opt_size(key, 1..=MOST)? {
                Some(n) => Ok(n),
                None => size.size(edge, 1..=MOST),
            },
            None => Err(section.missing(key)),
        }
    };
    let (min, max) = (
        find("min_pixels", "shortest_edge")?,
        find("max_pixels", "longest_edge")?,
    );
    if min > max {
        return Err(section.bad("max_pixels", max, format!("at least min_pixels {min}")));
    }
    Ok((min, max))
}

fn channels(section: &Section<'_>, key: &str) -> Result<[f32; 3], VlmError> {
    let value = section.get(key).ok_or_else(|| section.missing(key))?;
    let numbers: Option<Vec<f32>> = value.as_array().map(|list| {
        list.iter()
            .filter_map(|v| v.as_f64().map(|n| n as f32))
            .collect()
    });
    match numbers.and_then(|list| <[f32; 3]>::try_from(list).ok()) {
        Some(list) if key != "image_std" || list.iter().all(|v| *v > 0.0) => Ok(list),
        _ => Err(section.bad(key, value, "three numbers")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Value) -> Result<ImageSettings, VlmError> {
        ImageSettings::from_json(Path::new("preprocessor_config.json"), value)
    }

    #[test]
    fn all_three_forms_are_read() {
        let mut value = ImageSettings::default().to_json();
        let plain = read(&value).unwrap();
        assert_eq!((plain.min_pixels, plain.max_pixels), (65_536, 16_777_216));
        assert_eq!(plain.mean, [0.5; 3]);
        let nested = json!({"image_processor": value, "processor_class": "Qwen3VLProcessor"});
        assert_eq!(read(&nested).unwrap().max_pixels, 16_777_216);
        value.as_object_mut().unwrap().remove("size");
        value["min_pixels"] = json!(4096);
        value["max_pixels"] = json!(8192);
        let flat = read(&value).unwrap();
        assert_eq!((flat.min_pixels, flat.max_pixels), (4096, 8192));
    }

    #[test]
    fn settings_that_would_change_pixels_silently_are_refused() {
        for (key, value, needle) in [
            ("resample", json!(2), "`resample` = 2 is not supported"),
            (
                "do_resize",
                json!(false),
                "`do_resize` = false is not supported",
            ),
            ("image_std", json!([0.5, 0.0, 0.5]), "three numbers"),
            ("min_pixels", json!(1 << 25), "at least min_pixels"),
            ("max_pixels", json!(1_u64 << 40), "whole number"),
            ("patch_size", json!(null), "`patch_size` is missing"),
        ] {
            let mut settings = ImageSettings::default().to_json();
            settings[key] = value;
            let text = read(&settings).unwrap_err().to_string();
            assert!(text.contains(needle), "{text}");
        }
    }

    #[test]
    fn token_counts_follow_the_policy() {
        let mut settings = ImageSettings::default();
        assert_eq!(settings.tokens(224, 224), Ok(64));
        settings.policy = ResizePolicy::QwenVlUtils;
        assert_eq!(settings.tokens(224, 224), Ok(49));
    }
}
