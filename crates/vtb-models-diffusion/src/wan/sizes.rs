//! Sizes and lengths of clips, and clips as latents.

use vtb_models_vlm::processor::Rgb;
use vtb_nn::velocity::Latent;

use super::vae::{Clip, Tiling, WanVae};
use crate::DiffusionError;

/// Pixels of a cell of the latent, each way.
pub const VAE_SCALE: usize = 16;
/// Frames for each frame of a latent after the first.
pub const FRAME_SCALE: usize = 4;
/// Sides of a clip are multiples of it: a token is two cells wide and high.
pub const SIDE_STEP: usize = 2 * VAE_SCALE;

/// Checks the sides of a clip.
///
/// # Errors
/// A side is zero or no multiple of 32; the nearest that are allowed are named.
pub fn check_size(width: usize, height: usize) -> Result<(), DiffusionError> {
    let fits = |side: usize| side > 0 && side.is_multiple_of(SIDE_STEP);
    if fits(width) && fits(height) {
        return Ok(());
    }
    let near = |side: usize| {
        let low = (side / SIDE_STEP).max(1) * SIDE_STEP;
        match fits(side) {
            true => side.to_string(),
            false if low > side => low.to_string(),
            false => format!("{low} or {}", low + SIDE_STEP),
        }
    };
    Err(DiffusionError::input(format!(
        "{width}×{height} is no size of a clip: sides are multiples of {SIDE_STEP}; the nearest are {} wide and {} high",
        near(width),
        near(height)
    )))
}

/// Checks the number of frames of a clip.
///
/// # Errors
/// It is not one more than a multiple of 4; the nearest that are allowed are named.
pub fn check_frames(frames: usize) -> Result<(), DiffusionError> {
    if frames % FRAME_SCALE == 1 {
        return Ok(());
    }
    let low = frames.saturating_sub(1) / FRAME_SCALE * FRAME_SCALE + 1;
    let near = match frames {
        0 => low.to_string(),
        _ => format!("{low} or {}", low + FRAME_SCALE),
    };
    Err(DiffusionError::input(format!(
        "a clip of {frames} frames is not possible: lengths are one more than a multiple of {FRAME_SCALE}; the nearest \
         are {near}"
    )))
}

/// Shape of the latent of a clip: channels, frames, height and width in cells.
pub fn latent_shape(channels: usize, frames: usize, width: usize, height: usize) -> [usize; 4] {
    let frames = frames.saturating_sub(1) / FRAME_SCALE + 1;
    [channels, frames, height / VAE_SCALE, width / VAE_SCALE]
}

/// Pictures of one size as a clip, encoded. One picture makes the first frame of a clip that begins with it.
///
/// # Errors
/// There is no picture, they differ in size, or the autoencoder does not take their size or number.
pub fn clip_latent(frames: &[Rgb], vae: &WanVae) -> Result<Latent, DiffusionError> {
    let Some(first) = frames.first() else {
        return Err(DiffusionError::input("a clip without frames"));
    };
    let (width, height) = (first.width, first.height);
    let other = |f: &&Rgb| (f.width, f.height) != (width, height);
    if let Some(other) = frames.iter().find(other) {
        return Err(DiffusionError::input(format!(
            "frames of {width}×{height} and of {}×{} pixels in one clip",
            other.width, other.height
        )));
    }
    let len = width * height;
    let mut values = vec![0.0; 3 * frames.len() * len];
    for (at, frame) in frames.iter().enumerate() {
        for (i, pixel) in frame.pixels.chunks_exact(3).enumerate() {
            for (c, value) in pixel.iter().enumerate() {
                values[(c * frames.len() + at) * len + i] = f32::from(*value) / 127.5 - 1.0;
            }
        }
    }
    vae.encode(&Clip {
        shape: [3, frames.len(), height, width],
        values,
    })
}

/// A latent as pictures, in tiles where asked for.
///
/// # Errors
/// The latent has other channels than the autoencoder, or the tiles leave gaps.
pub fn latent_clip(
    latent: &Latent,
    vae: &WanVae,
    tiling: Option<Tiling>,
) -> Result<Vec<Rgb>, DiffusionError> {
    let clip = match tiling {
        Some(tiling) => vae.decode_tiled(latent, tiling)?,
        None => vae.decode(latent)?,
    };
    let [_, frames, height, width] = clip.shape;
    let len = height * width;
    let byte = |value: f32| ((value + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
    let frame = |at: usize| {
        let pixel = |i: usize| [0, 1, 2].map(|c| byte(clip.values[(c * frames + at) * len + i]));
        Rgb {
            width,
            height,
            pixels: (0..len).flat_map(pixel).collect(),
        }
    };
    Ok((0..frames).map(frame).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_sizes_and_lengths_are_named() {
        check_size(480, 896).unwrap();
        for (width, height, words) in [
            (480, 900, "480 wide and 896 or 928 high"),
            (10, 896, "32 wide and 896 high"),
            (0, 33, "32 wide and 32 or 64 high"),
        ] {
            let error = check_size(width, height).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        for frames in [1, 5, 81] {
            check_frames(frames).unwrap();
        }
        for (frames, words) in [(80, "77 or 81"), (82, "81 or 85"), (0, "are 1")] {
            let error = check_frames(frames).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert_eq!(latent_shape(48, 81, 480, 896), [48, 21, 56, 30]);
    }
}
