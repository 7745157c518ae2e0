//! Pictures of rows, one way for training and for editing: upright, 8-bit RGB.

use anyhow::Context;
use image::RgbImage;
use vtb_data::{ImageOptions, ImageRef, image_io};
use vtb_models_vlm::processor::Rgb;

/// Longest name of a file, without ending.
const MAX_STEM: usize = 200;

/// How pictures to edit are read.
pub(crate) fn options() -> ImageOptions {
    ImageOptions {
        apply_orientation: true,
        ..ImageOptions::default()
    }
}

/// Decodes a picture; a camera's note of how it was held turns it.
///
/// # Errors
/// It cannot be read; it is named.
pub fn load(image: &ImageRef) -> anyhow::Result<Rgb> {
    let found = image_io::load(image, &options())
        .with_context(|| format!("cannot read the picture {image}"))?;
    let (width, height) = (found.width() as usize, found.height() as usize);
    Ok(Rgb {
        width,
        height,
        pixels: found.as_raw().clone(),
    })
}

/// The same picture as an image.
///
/// # Errors
/// It has not the pixels that its size says.
pub(crate) fn image_of(picture: &Rgb) -> anyhow::Result<RgbImage> {
    let (width, height) = (picture.width.try_into()?, picture.height.try_into()?);
    RgbImage::from_raw(width, height, picture.pixels.clone())
        .context("the picture has not the pixels that its size says")
}

/// A frame as the models take it.
pub(crate) fn rgb(frame: RgbImage) -> Rgb {
    Rgb {
        width: frame.width() as usize,
        height: frame.height() as usize,
        pixels: frame.into_raw(),
    }
}

/// An id as a file name that means the same everywhere.
pub(crate) fn file_stem(id: &str) -> String {
    let plain = |c: char| match c.is_ascii_alphanumeric() || "._-".contains(c) {
        true => c,
        false => '_',
    };
    let stem: String = id.chars().take(MAX_STEM).map(plain).collect();
    match stem.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => stem,
    }
}
