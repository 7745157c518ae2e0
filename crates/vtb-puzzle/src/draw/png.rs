//! PNG bytes.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};

use crate::error::{PuzzleError, Result};

/// Encodes a picture as PNG; the same picture gives the same bytes on every machine.
///
/// # Errors
/// [`PuzzleError::Picture`] when the encoder refuses it.
pub fn encode_png(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // The fast level has one implementation; the others change with the zlib that is linked.
    // Flat drawings: the upward filter is nearly as small as an adaptive search at a fourth of
    // its time.
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Up)
        .write_image(
            picture.as_raw(),
            picture.width(),
            picture.height(),
            ExtendedColorType::Rgb8,
        )
        .map_err(|fault| PuzzleError::Picture(fault.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_to_the_same_picture() {
        let picture = RgbImage::from_fn(33, 21, |x, y| image::Rgb([x as u8, y as u8, 77]));
        let bytes = encode_png(&picture).unwrap();
        assert_eq!(image::load_from_memory(&bytes).unwrap().to_rgb8(), picture);
        assert_eq!(bytes, encode_png(&picture).unwrap());
    }
}
