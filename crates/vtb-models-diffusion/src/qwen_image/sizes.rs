//! Sizes of pictures: what the encoders see, and what comes out.

use vtb_models_vlm::processor::{Filter, Rgb, resample};

use super::vae::Picture;
use crate::DiffusionError;

/// Pixels of a picture as the text encoder sees it.
pub const CONDITION_AREA: usize = 384 * 384;
/// Pixels of a picture as the transformer sees it. Small pictures are enlarged to it.
pub const REFERENCE_AREA: usize = 1024 * 1024;
/// Sides of an output are multiples of this: 8 of the autoencoder times 2 of a patch.
pub const OUTPUT_STEP: usize = 16;
/// Sides of what the encoders see are multiples of this.
const STEP: f64 = 32.0;

/// Width and height of about `area` pixels with the shape of `width`×`height`, multiples of 32, ties to even.
///
/// # Errors
/// A side is zero, or one is so much longer than the other that the shorter would vanish.
pub fn area_size(
    area: usize,
    width: usize,
    height: usize,
) -> Result<(usize, usize), DiffusionError> {
    let ratio = width as f64 / height as f64;
    let wide = (area as f64 * ratio).sqrt();
    let high = wide / ratio;
    let round = |side: f64| (side / STEP).round_ties_even() * STEP;
    let (w, h) = (round(wide), round(high));
    if !(w >= STEP && h >= STEP && w.is_finite() && h.is_finite()) {
        return Err(DiffusionError::input(format!(
            "a picture of {width}x{height} is too long and narrow for {area} pixels in multiples of 32; cut it, or give a \
             larger area"
        )));
    }
    Ok((w as usize, h as usize))
}

/// Checks the size of an output.
///
/// # Errors
/// A side is zero or no multiple of 16; the nearest that are allowed are named.
pub fn check_output(width: usize, height: usize) -> Result<(), DiffusionError> {
    let legal = |side: usize| side > 0 && side.is_multiple_of(OUTPUT_STEP);
    if legal(width) && legal(height) {
        return Ok(());
    }
    let near = |side: usize| ((side + OUTPUT_STEP / 2) / OUTPUT_STEP).max(1) * OUTPUT_STEP;
    Err(DiffusionError::input(format!(
        "a size of {width}x{height} is not possible: both sides must be multiples of {OUTPUT_STEP}; the nearest is {}x{}",
        near(width),
        near(height)
    )))
}

/// Resizes to exactly `width`×`height` by Lanczos.
pub fn resized(picture: &Rgb, width: usize, height: usize) -> Rgb {
    resample(picture, width, height, Filter::Lanczos)
}

/// The size of a training target of at most `max_pixels`: reduced where it is larger, never enlarged, sides cut down to
/// multiples of 16.
///
/// # Errors
/// A side would vanish.
pub fn target_size(
    width: usize,
    height: usize,
    max_pixels: usize,
) -> Result<(usize, usize), DiffusionError> {
    let scale = ((width * height) as f64 / max_pixels as f64)
        .sqrt()
        .max(1.0);
    let cut = |side: usize| (side as f64 / scale) as usize / OUTPUT_STEP * OUTPUT_STEP;
    match (cut(width), cut(height)) {
        (0, _) | (_, 0) => Err(DiffusionError::input(format!(
            "a picture of {width}x{height} has no side of {OUTPUT_STEP} pixels left within {max_pixels} pixels"
        ))),
        size => Ok(size),
    }
}

/// Scales a picture until it covers `width`×`height` (antialiased bilinear) and cuts out the middle.
pub fn covered(picture: &Rgb, width: usize, height: usize) -> Rgb {
    let scale = (width as f64 / picture.width as f64).max(height as f64 / picture.height as f64);
    let side = |side: usize, least: usize| ((side as f64 * scale).round() as usize).max(least);
    let (wide, high) = (side(picture.width, width), side(picture.height, height));
    let scaled = resample(picture, wide, high, Filter::Bilinear);
    let (left, top) = ((wide - width) / 2, (high - height) / 2);
    let row = |y: usize| {
        let start = ((top + y) * wide + left) * 3;
        scaled.pixels[start..start + width * 3].iter().copied()
    };
    Rgb {
        width,
        height,
        pixels: (0..height).flat_map(row).collect(),
    }
}

/// Bytes to values in -1..=1.
pub fn to_values(picture: &Rgb) -> Picture {
    let plane = |c: usize| {
        let pixels = picture.pixels.chunks_exact(3);
        pixels.map(move |p| f32::from(p[c]) / 255.0 * 2.0 - 1.0)
    };
    Picture {
        shape: [3, picture.height, picture.width],
        values: (0..3).flat_map(plane).collect(),
    }
}

/// Inverse of [`to_values`], rounded to bytes; `picture` has three colours.
pub fn from_values(picture: &Picture) -> Rgb {
    let [_, height, width] = picture.shape;
    let plane = width * height;
    let byte = |v: f32| ((v / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
    let pixels = (0..plane).flat_map(|i| [0, 1, 2].map(|c| byte(picture.values[c * plane + i])));
    Rgb {
        width,
        height,
        pixels: pixels.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_reference() {
        assert_eq!(area_size(REFERENCE_AREA, 480, 896).unwrap(), (736, 1408));
        assert_eq!(area_size(CONDITION_AREA, 480, 896).unwrap(), (288, 512));
        assert_eq!(area_size(CONDITION_AREA, 100, 100).unwrap(), (384, 384));
        assert!(area_size(CONDITION_AREA, 100_000, 1).is_err());
        assert_eq!(target_size(480, 896, 1 << 20).unwrap(), (480, 896));
        assert_eq!(target_size(2048, 1024, 1 << 20).unwrap(), (1440, 720));
    }

    #[test]
    fn an_illegal_size_names_the_nearest() {
        check_output(480, 896).unwrap();
        let error = check_output(100, 7).unwrap_err().to_string();
        assert!(error.contains("96x16"), "{error}");
    }

    #[test]
    fn values_and_bytes_round_trip() {
        let picture = Rgb {
            width: 16,
            height: 6,
            pixels: (0..=255).chain(0..32).map(|v| v as u8).collect(),
        };
        assert_eq!(from_values(&to_values(&picture)).pixels, picture.pixels);
        let cut = covered(&picture, 4, 4);
        assert_eq!((cut.width, cut.height, cut.pixels.len()), (4, 4, 48));
    }
}
