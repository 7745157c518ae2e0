//! Pictures from bytes nobody vouches for.

use std::io::Cursor;

use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, jpeg::JpegDecoder};
use image::codecs::{png::PngDecoder, webp::WebPDecoder};
use image::{AnimationDecoder, DynamicImage, ImageDecoder, ImageError, Limits, RgbImage};

use super::png::{plain_size, read_plain};

/// Longest side that is decoded, pixels.
const MAX_SIDE: u32 = 8192;
/// Most pixels that are decoded.
const MAX_PIXELS: u64 = 4096 * 4096;
/// Bytes a decoder may use beside the finished picture.
const MAX_ALLOC: u64 = 192 << 20;
/// Largest file.
const MAX_FILE: usize = 64 << 20;

/// Decodes a still PNG, JPEG, WebP, BMP or GIF; the format is told from the bytes.
///
/// Animations are refused, and so are JPEGs of four inks, whose colours nobody can tell. Alpha is
/// dropped, not blended, and EXIF orientation ignored: both as in training.
///
/// # Errors
/// One sentence that says why there is no picture.
pub fn decode_picture(bytes: &[u8]) -> Result<RgbImage, String> {
    if bytes.is_empty() {
        return Err("the file is empty".to_owned());
    }
    if bytes.len() > MAX_FILE {
        return Err(format!("the file has more than {} MiB", MAX_FILE >> 20));
    }
    match image::guess_format(bytes) {
        Ok(image::ImageFormat::Png) => png(bytes),
        Ok(image::ImageFormat::Jpeg) => {
            check_jpeg(bytes)?;
            read(JpegDecoder::new(Cursor::new(bytes)).map_err(fault)?)
        }
        Ok(image::ImageFormat::WebP) => {
            let decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(fault)?;
            match decoder.has_animation() {
                true => Err(animation()),
                false => read(decoder),
            }
        }
        Ok(image::ImageFormat::Bmp) => read(BmpDecoder::new(Cursor::new(bytes)).map_err(fault)?),
        Ok(image::ImageFormat::Gif) => gif(bytes),
        _ => Err("the file is no PNG, JPEG, WebP, BMP or GIF".to_owned()),
    }
}

fn png(bytes: &[u8]) -> Result<RgbImage, String> {
    if let Some([width, height]) = plain_size(bytes) {
        check_size((width, height))?;
        if let Some(picture) = read_plain(bytes, [width, height]) {
            return Ok(picture);
        }
    }
    let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits()).map_err(fault)?;
    match decoder.is_apng().map_err(fault)? {
        true => Err(animation()),
        false => read(decoder),
    }
}

fn gif(bytes: &[u8]) -> Result<RgbImage, String> {
    let open = || GifDecoder::new(Cursor::new(bytes)).map_err(fault);
    let mut decoder = open()?;
    check_size(decoder.dimensions())?;
    decoder.set_limits(limits()).map_err(fault)?;
    // Two frames are enough to know, and no more are decoded.
    let mut frames = decoder.into_frames();
    let first = match frames.next() {
        Some(frame) => frame.map_err(fault)?,
        None => return Err("the file has no picture".to_owned()),
    };
    match frames.next() {
        None => Ok(DynamicImage::ImageRgba8(first.into_buffer()).into_rgb8()),
        Some(Ok(_)) => Err(animation()),
        Some(Err(error)) => Err(fault(error)),
    }
}

fn read(mut decoder: impl ImageDecoder) -> Result<RgbImage, String> {
    check_size(decoder.dimensions())?;
    let mut room = limits();
    room.reserve(decoder.total_bytes()).map_err(fault)?;
    decoder.set_limits(room).map_err(fault)?;
    let picture = DynamicImage::from_decoder(decoder).map_err(fault)?;
    Ok(picture.into_rgb8())
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_ALLOC);
    limits
}

fn check_size((width, height): (u32, u32)) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err("the picture has no pixels".to_owned());
    }
    let many = u64::from(width) * u64::from(height) > MAX_PIXELS;
    match many || width.max(height) > MAX_SIDE {
        true => Err(format!("{width}x{height} pixels are too many to judge")),
        false => Ok(()),
    }
}

fn animation() -> String {
    "the file is an animation, not a picture".to_owned()
}

fn fault(error: ImageError) -> String {
    format!("the picture cannot be decoded: {error}")
}

/// Walks the segments of a JPEG: three inks at most, and an end.
///
/// The decoder fills what is cut off with grey and says nothing, so the end is looked for here.
fn check_jpeg(bytes: &[u8]) -> Result<(), String> {
    let cut = || "the JPEG file is cut off".to_owned();
    let mut at = 2;
    let mut scanned = false;
    loop {
        // Within a scan, FF is followed by 0 or a restart mark; anything else ends it.
        let ahead = bytes.get(at..).unwrap_or_default();
        let mark = ahead.windows(2).position(|pair| {
            pair[0] == 0xff && !matches!(pair[1], 0 | 0xff) && !(0xd0..=0xd7).contains(&pair[1])
        });
        let Some(found) = mark else { return Err(cut()) };
        if found > 0 && !scanned && ahead[..found].iter().any(|byte| *byte != 0xff) {
            return Err("the JPEG file is damaged".to_owned());
        }
        let kind = ahead[found + 1];
        let segment = &ahead[found + 2..];
        if kind == 0xd9 {
            return if scanned { Ok(()) } else { Err(cut()) };
        }
        let &[high, low, ..] = segment else {
            return Err(cut());
        };
        let length = usize::from(high) << 8 | usize::from(low);
        let is_frame = matches!(kind, 0xc0..=0xcf) && !matches!(kind, 0xc4 | 0xc8 | 0xcc);
        if is_frame && segment.get(7).is_some_and(|inks| *inks > 3) {
            return Err("the JPEG has four inks (CMYK); save it as RGB".to_owned());
        }
        scanned |= kind == 0xda;
        at += found + 2 + length;
    }
}
