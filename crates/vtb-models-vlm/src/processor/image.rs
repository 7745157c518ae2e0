//! The image processor: decode, resize, normalise, cut.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use vtb_nn::lm::ImagePatches;

use super::decode::{Rgb, check_len, read_rgb};
use super::patches::patchify;
use super::resample::{Filter, resized};
use super::settings::ImageSettings;
use crate::VlmError;

/// Turns pictures into patch rows.
#[derive(Debug, Clone, Default)]
pub struct ImageProcessor {
    /// The settings; may be changed between calls.
    pub settings: ImageSettings,
}

impl ImageProcessor {
    /// A processor with these settings.
    pub fn new(settings: ImageSettings) -> Self {
        Self { settings }
    }

    /// Reads picture files and processes them, in parallel.
    ///
    /// # Errors
    /// The first picture, in order, that cannot be used; the message names its file.
    pub fn load<P: AsRef<Path> + Sync>(
        &self,
        paths: &[P],
    ) -> Result<Vec<Arc<ImagePatches>>, VlmError> {
        let one = |path: &P| {
            let path = path.as_ref();
            let image = read_rgb(path, &self.settings.decode)?;
            self.process(&path.display().to_string(), &image)
                .map(Arc::new)
        };
        // Collected before the first error is picked, so that the same one is reported on every run.
        let all: Vec<_> = paths.par_iter().map(one).collect();
        all.into_iter().collect()
    }

    /// Processes one picture; `name` is in every error.
    pub fn process(&self, name: &str, image: &Rgb) -> Result<ImagePatches, VlmError> {
        let (width, height) = (image.width, image.height);
        match self.resize(name, width, height, &image.pixels)? {
            Some(resized) => self.patches(name, &resized),
            None => self.patches(name, image),
        }
    }

    /// The first half of [`ImageProcessor::process`], which takes most of its time and whose result may be kept:
    /// pixels of the size that the settings ask for, or `None` if the picture has it. `pixels` are `width · height · 3`
    /// values.
    ///
    /// # Errors
    /// `name` is in the message: too few pixels, or a shape that has no such size.
    pub fn resize(
        &self,
        name: &str,
        width: usize,
        height: usize,
        pixels: &[u8],
    ) -> Result<Option<Rgb>, VlmError> {
        let fail = |message| VlmError::image(name, message);
        check_len(name, width, height, pixels.len())?;
        let (to_height, to_width) = self.settings.resized(height, width).map_err(fail)?;
        let found = resized(
            pixels,
            (width, height),
            (to_width, to_height),
            Filter::Bicubic,
        );
        Ok(found.map(|pixels| Rgb {
            width: to_width,
            height: to_height,
            pixels,
        }))
    }

    /// The second half: normalised patch rows of a picture whose sides are right.
    ///
    /// # Errors
    /// `name` is in the message if a side is no multiple of [`ImageSettings::factor`].
    pub fn patches(&self, name: &str, resized: &Rgb) -> Result<ImagePatches, VlmError> {
        let settings = &self.settings;
        let factor = settings.factor();
        if !resized.width.is_multiple_of(factor) || !resized.height.is_multiple_of(factor) {
            let Rgb { width, height, .. } = resized;
            let message = format!("is {width}x{height}: sides must be multiples of {factor}");
            return Err(VlmError::image(name, message));
        }
        let (values, grid) = patchify(resized, settings);
        Ok(ImagePatches {
            key: key(resized, settings),
            values,
            grid,
        })
    }
}

/// Hash of everything `values` and `grid` are made from.
fn key(resized: &Rgb, settings: &ImageSettings) -> u64 {
    let mut hash = Sha256::new();
    for n in [resized.width, resized.height] {
        hash.update((n as u64).to_le_bytes());
    }
    settings.hash_into(&mut hash);
    hash.update(&resized.pixels);
    let digest = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(shade: u8) -> Rgb {
        Rgb {
            width: 70,
            height: 50,
            pixels: (0..70 * 50 * 3).map(|i| i as u8 ^ shade).collect(),
        }
    }

    #[test]
    fn shapes_and_keys() {
        let processor = ImageProcessor::default();
        let one = processor.process("a", &picture(0)).unwrap();
        assert_eq!(one.grid, [1, 14, 20]);
        assert_eq!(one.values.len(), one.rows() * 1536);
        assert!(one.values.iter().all(|v| (-1.0..=1.0).contains(v)));
        assert_eq!(one, processor.process("b", &picture(0)).unwrap());
        assert_ne!(one.key, processor.process("a", &picture(1)).unwrap().key);
        let mut other = processor.clone();
        other.settings.mean = [0.4; 3];
        assert_ne!(one.key, other.process("a", &picture(0)).unwrap().key);
    }

    #[test]
    fn the_broken_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad) = (dir.path().join("good.png"), dir.path().join("bad.png"));
        image::RgbImage::new(40, 40).save(&good).unwrap();
        std::fs::write(&bad, b"\x89PNG\r\n\x1a\nrubbish").unwrap();
        let processor = ImageProcessor::default();
        assert_eq!(
            processor.load(std::slice::from_ref(&good)).unwrap()[0].grid,
            [1, 16, 16]
        );
        let text = processor.load(&[good, bad]).unwrap_err().to_string();
        assert!(text.contains("bad.png: cannot be decoded"), "{text}");
        let thin = Rgb {
            width: 300,
            height: 1,
            pixels: vec![0; 900],
        };
        let text = processor
            .process("thin.png", &thin)
            .unwrap_err()
            .to_string();
        assert!(text.contains("image thin.png: is 300x1"), "{text}");
    }
}
