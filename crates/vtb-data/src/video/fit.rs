//! Frames brought to the size that a video model wants.

use image::imageops::{self, FilterType};
use image::{RgbImage, imageops::crop_imm};

use crate::error::VideoFault;

/// How a frame is brought to another size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SizeFit {
    /// Shrunk, proportions kept, until it fits, if it does not; never enlarged. It lies in the top
    /// left corner, and its last column and row are repeated to the right and the bottom.
    Pad,
    /// Scaled, proportions kept, until it just covers the size; what sticks out is cut off evenly
    /// on both sides.
    Crop,
    /// Scaled to the size, whatever becomes of its proportions.
    Resample,
}

/// The frame at `width` x `height` pixels. Scaling is cubic (Catmull-Rom), smoothed where it
/// shrinks; a frame that has the size already comes back as it is.
///
/// # Errors
/// [`VideoFault::Frames`] if either size is zero.
pub fn fit_size(
    frame: &RgbImage,
    width: u32,
    height: u32,
    fit: SizeFit,
) -> Result<RgbImage, VideoFault> {
    let (w, h) = frame.dimensions();
    if w == 0 || h == 0 || width == 0 || height == 0 {
        let text = format!("a frame of {w}x{h} cannot be fitted to {width}x{height}");
        return Err(VideoFault::Frames(text));
    }
    Ok(match fit {
        SizeFit::Pad => pad(&shrink(frame, width, height), width, height),
        SizeFit::Crop => {
            let (wide, high) = covering((w, h), (width, height));
            let scaled = scale(frame, wide, high);
            let (x, y) = ((wide - width) / 2, (high - height) / 2);
            crop_imm(&scaled, x, y, width, height).to_image()
        }
        SizeFit::Resample => scale(frame, width, height),
    })
}

fn scale(frame: &RgbImage, width: u32, height: u32) -> RgbImage {
    match frame.dimensions() == (width, height) {
        true => frame.clone(),
        false => imageops::resize(frame, width, height, FilterType::CatmullRom),
    }
}

/// `a * b / c` to the nearest whole number, at least 1.
fn share(a: u32, b: u32, c: u32) -> u32 {
    let (a, b, c) = (u64::from(a), u64::from(b), u64::from(c));
    ((2 * a * b + c) / (2 * c)).max(1) as u32
}

fn shrink(frame: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (w, h) = frame.dimensions();
    if w <= width && h <= height {
        return frame.clone();
    }
    // Which side is the tighter one: w / width against h / height.
    let across = u64::from(w) * u64::from(height) >= u64::from(h) * u64::from(width);
    match across {
        true => scale(frame, width, share(h, width, w).min(height)),
        false => scale(frame, share(w, height, h).min(width), height),
    }
}

fn covering((w, h): (u32, u32), (width, height): (u32, u32)) -> (u32, u32) {
    let across = u64::from(w) * u64::from(height) <= u64::from(h) * u64::from(width);
    match across {
        true => (width, share(h, width, w).max(height)),
        false => (share(w, height, h).max(width), height),
    }
}

/// The frame in the top left corner of a larger one, its last column and row repeated.
pub(super) fn pad(frame: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (right, bottom) = (frame.width() - 1, frame.height() - 1);
    RgbImage::from_fn(width, height, |x, y| {
        *frame.get_pixel(x.min(right), y.min(bottom))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn ramp(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 9]))
    }

    #[test]
    fn padding_keeps_what_fits_and_repeats_its_edge() {
        let frame = ramp(48, 87);
        let padded = fit_size(&frame, 50, 90, SizeFit::Pad).unwrap();
        assert_eq!(padded.dimensions(), (50, 90));
        assert_eq!(crop_imm(&padded, 0, 0, 48, 87).to_image(), frame);
        assert_eq!(padded.get_pixel(49, 89), frame.get_pixel(47, 86));
        assert_eq!(padded.get_pixel(49, 5), frame.get_pixel(47, 5));
    }

    #[test]
    fn every_way_gives_the_size_asked_for() {
        for (w, h) in [(512, 512), (480, 873), (31, 200), (1, 1), (480, 896)] {
            for fit in [SizeFit::Pad, SizeFit::Crop, SizeFit::Resample] {
                let fitted = fit_size(&ramp(w, h), 480, 896, fit).unwrap();
                assert_eq!(fitted.dimensions(), (480, 896), "{w}x{h} {fit:?}");
            }
        }
        let same = ramp(48, 90);
        for fit in [SizeFit::Pad, SizeFit::Crop, SizeFit::Resample] {
            assert_eq!(fit_size(&same, 48, 90, fit).unwrap(), same);
        }
        assert!(fit_size(&same, 0, 90, SizeFit::Pad).is_err());
    }

    #[test]
    fn proportions_are_kept_by_pad_and_crop() {
        // A square in the middle stays a square.
        let mut frame = RgbImage::from_pixel(200, 200, Rgb([255; 3]));
        for (x, y) in (80..120).flat_map(|x| (80..120).map(move |y| (x, y))) {
            frame.put_pixel(x, y, Rgb([0; 3]));
        }
        for (fit, side) in [(SizeFit::Pad, 20), (SizeFit::Crop, 40)] {
            let fitted = fit_size(&frame, 100, 200, fit).unwrap();
            let dark = |p: &Rgb<u8>| p.0[0] < 128;
            let rows = fitted.rows().filter(|r| r.clone().any(dark)).count();
            let most = fitted.rows().map(|r| r.filter(|p| dark(p)).count()).max();
            assert_eq!((rows, most.unwrap()), (side, side), "{fit:?}");
        }
    }
}
