//! Decoding pictures from files nobody vouches for.
//!
//! Two conventions differ between the tools around these models, so both are explicit here. Orientation: a photo
//! is turned upright by its EXIF tag, as `transformers` does for files and URLs (`ms-swift` does not; PNGs of
//! puzzles carry none). Transparency: alpha is dropped and the stored colours are kept, as `ms-swift` and
//! `transformers` 4 do; [`AlphaPolicy::OverWhite`] composes over white as `transformers` 5 and `qwen-vl-utils` do.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use crate::VlmError;
use crate::files;

/// Bytes that colour profiles and other metadata may inflate to: the largest in use have a few MiB.
const MAX_METADATA: u64 = 16 << 20;

/// An 8-bit RGB picture, rows from top to bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height · width · 3` values.
    pub pixels: Vec<u8>,
}

/// What becomes of transparency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AlphaPolicy {
    /// Alpha is dropped, the stored colours stay.
    #[default]
    Drop,
    /// The picture is composed over white.
    OverWhite,
}

/// How pictures are decoded, and how large they may be.
#[derive(Debug, Clone)]
pub struct DecodeOptions {
    /// What becomes of transparency.
    pub alpha: AlphaPolicy,
    /// Whether the EXIF orientation is applied.
    pub upright: bool,
    /// Longest side in pixels.
    pub max_side: u32,
    /// Most pixels.
    pub max_pixels: u64,
    /// Most bytes of an encoded file.
    pub max_bytes: u64,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            alpha: AlphaPolicy::Drop,
            upright: true,
            max_side: 32_768,
            max_pixels: 128 << 20,
            max_bytes: 256 << 20,
        }
    }
}

impl Rgb {
    /// Wraps pixels.
    ///
    /// # Errors
    /// `name` is in the message if the number of values is not `width · height · 3`.
    pub fn new(name: &str, width: usize, height: usize, pixels: Vec<u8>) -> Result<Self, VlmError> {
        check_len(name, width, height, pixels.len())?;
        Ok(Self {
            width,
            height,
            pixels,
        })
    }
}

/// Whether so many values are the pixels of a picture of that size.
pub(super) fn check_len(
    name: &str,
    width: usize,
    height: usize,
    values: usize,
) -> Result<(), VlmError> {
    let expected = width.checked_mul(height).and_then(|n| n.checked_mul(3));
    if expected == Some(values) && values > 0 {
        return Ok(());
    }
    let message = format!("{values} values do not make {width}x{height} RGB pixels");
    Err(VlmError::image(name, message))
}

/// Reads and decodes a picture file.
///
/// # Errors
/// Names the file: absent, not a picture, broken, or beyond the limits of `options`.
pub fn read_rgb(path: &Path, options: &DecodeOptions) -> Result<Rgb, VlmError> {
    let name = path.display().to_string();
    let bytes = files::read_bytes(path, options.max_bytes).map_err(|error| match error {
        VlmError::Io { source, .. } => VlmError::image(&name, source.to_string()),
        other => other,
    })?;
    decode(&name, &bytes, options)
}

/// Decodes a picture (PNG, JPEG, WebP or BMP) that is in memory; `name` is in every error.
pub fn decode(name: &str, bytes: &[u8], options: &DecodeOptions) -> Result<Rgb, VlmError> {
    let fail = |message: String| VlmError::image(name, message);
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| fail(e.to_string()))?;
    if reader.format().is_none() {
        return Err(fail("is not a PNG, JPEG, WebP or BMP picture".to_owned()));
    }
    // Up to 8 bytes a pixel (16-bit RGBA), and as much again for the decoder's own buffers.
    let mut limits = Limits::default();
    limits.max_image_width = Some(options.max_side);
    limits.max_image_height = Some(options.max_side);
    let whole = options.max_pixels.saturating_mul(16);
    // What stands before the pixels is inflated with the header.
    limits.max_alloc = Some(whole.min(MAX_METADATA));
    reader.limits(limits.clone());
    limits.max_alloc = Some(whole);
    let broken = |e: image::ImageError| fail(format!("cannot be decoded: {e}"));
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, options).map_err(fail)?;
    decoder.set_limits(limits).map_err(broken)?;
    // A broken EXIF block is no reason to refuse the picture.
    let orientation = decoder.orientation().ok();
    let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    if let Some(orientation) = orientation.filter(|_| options.upright) {
        image.apply_orientation(orientation);
    }
    let image = match options.alpha {
        AlphaPolicy::OverWhite if image.color().has_alpha() => over_white(&image),
        _ => image.into_rgb8(),
    };
    let (width, height) = (image.width() as usize, image.height() as usize);
    Rgb::new(name, width, height, image.into_raw())
}

fn check_size(width: u32, height: u32, options: &DecodeOptions) -> Result<(), String> {
    let side = options.max_side;
    if width > side || height > side {
        return Err(format!(
            "is {width}x{height}, a side may have at most {side} pixels"
        ));
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > options.max_pixels {
        let most = options.max_pixels;
        return Err(format!(
            "is {width}x{height}, {pixels} pixels are more than the {most} allowed"
        ));
    }
    Ok(())
}

/// Composes over white with Pillow's rounding: `(c·a + 255·(255 - a))` over 255, to the nearest level.
fn over_white(image: &DynamicImage) -> image::RgbImage {
    let rgba = image.to_rgba8();
    image::RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0.map(u32::from);
        image::Rgb([r, g, b].map(|c| {
            let sum = c * a + 255 * (255 - a) + 128;
            ((sum + (sum >> 8)) >> 8) as u8
        }))
    })
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, RgbaImage};

    use super::*;

    fn png(width: u32, height: u32, pixel: [u8; 4]) -> Vec<u8> {
        let mut bytes = Vec::new();
        RgbaImage::from_pixel(width, height, image::Rgba(pixel))
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .unwrap();
        bytes
    }

    #[test]
    fn transparency_is_dropped_or_composed() {
        let bytes = png(2, 1, [200, 100, 0, 128]);
        let plain = decode("a.png", &bytes, &DecodeOptions::default()).unwrap();
        assert_eq!(plain.pixels, [200, 100, 0, 200, 100, 0]);
        let options = DecodeOptions {
            alpha: AlphaPolicy::OverWhite,
            ..Default::default()
        };
        assert_eq!(
            decode("a.png", &bytes, &options).unwrap().pixels[..3],
            [227, 177, 127]
        );
    }

    #[test]
    fn broken_files_are_named() {
        let good = png(20, 20, [1, 2, 3, 255]);
        let options = DecodeOptions::default();
        for bytes in [&b""[..], b"hello", &good[..good.len() / 2], &good[..20]] {
            let text = decode("dir/b.png", bytes, &options)
                .unwrap_err()
                .to_string();
            assert!(
                text.starts_with("image dir/b.png: ") && !text.contains('\n'),
                "{text}"
            );
        }
        let text = read_rgb(Path::new("no/such.png"), &options)
            .unwrap_err()
            .to_string();
        assert!(text.starts_with("image no/such.png: "), "{text}");
    }

    #[test]
    fn bombs_are_refused_before_they_are_decoded() {
        // A header that claims 60000x60000 pixels.
        let mut bytes = png(1, 1, [0, 0, 0, 255]);
        bytes[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
        assert!(decode("bomb.png", &bytes, &DecodeOptions::default()).is_err());
        let small = DecodeOptions {
            max_pixels: 99,
            ..Default::default()
        };
        let text = decode("c.png", &png(10, 10, [0; 4]), &small)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("100 pixels are more than the 99 allowed"),
            "{text}"
        );
    }
}
