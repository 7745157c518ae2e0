//! Frames of a GIF.

use std::io::Cursor;
use std::sync::Arc;

use image::codecs::gif::GifDecoder;
use image::{AnimationDecoder, Frames, ImageDecoder, ImageError, Limits, RgbImage, RgbaImage};

use super::boxes::Bytes;
use super::reader::Source;
use super::{Found, VideoCodec, VideoInfo, VideoLimits, damaged};
use crate::error::VideoFault;

/// Hundredths of a second that a frame with no delay, or 1, lasts: what browsers show.
const NO_DELAY: u64 = 10;

/// Decodes a GIF frame by frame. What is transparent is white.
pub(super) struct GifSource {
    frames: Frames<'static>,
    count: usize,
    out: usize,
}

impl GifSource {
    pub(super) fn open(file: Arc<[u8]>, limits: &VideoLimits) -> Found<(Self, VideoInfo)> {
        let (width, height, delays) = scan(&file, limits)?;
        let mut decoder = GifDecoder::new(Cursor::new(file)).map_err(|e| fault(&e))?;
        let mut bounds = Limits::default();
        bounds.max_image_width = Some(limits.max_side);
        bounds.max_image_height = Some(limits.max_side);
        // The canvas, the frame and the frame kept for disposal.
        bounds.max_alloc = Some(limits.max_pixels * 16);
        decoder.set_limits(bounds).map_err(|e| fault(&e))?;
        let duration = delays.iter().sum::<u64>() as f64 / 100.0;
        let info = VideoInfo {
            codec: VideoCodec::Gif,
            width,
            height,
            pixel_aspect: (1, 1),
            fps: delays.len() as f64 / duration,
            frame_count: delays.len(),
            duration,
        };
        let source = Self {
            frames: decoder.into_frames(),
            count: delays.len(),
            out: 0,
        };
        Ok((source, info))
    }
}

impl Source for GifSource {
    fn next(&mut self, want: bool) -> Found<Option<Option<RgbImage>>> {
        if self.out == self.count {
            return Ok(None);
        }
        let Some(frame) = self.frames.next() else {
            let (found, all) = (self.out, self.count);
            return damaged(format!("only {found} of {all} frames decode"));
        };
        let frame = frame.map_err(|e| fault(&e))?;
        self.out += 1;
        Ok(Some(want.then(|| on_white(frame.buffer()))))
    }
}

fn on_white(frame: &RgbaImage) -> RgbImage {
    let mut pixels = Vec::with_capacity(frame.as_raw().len() / 4 * 3);
    for pixel in frame.as_raw().chunks_exact(4) {
        match pixel[3] {
            // GIF knows no half transparency.
            0 => pixels.extend([255; 3]),
            _ => pixels.extend(&pixel[..3]),
        }
    }
    // The buffer has three bytes for each pixel of the frame.
    RgbImage::from_raw(frame.width(), frame.height(), pixels).unwrap_or_default()
}

fn fault(error: &ImageError) -> VideoFault {
    match error {
        ImageError::Limits(limit) => VideoFault::TooLarge(limit.to_string()),
        other => VideoFault::Damaged(other.to_string()),
    }
}

/// Walks over the blocks without decoding: the size, and each frame's delay in hundredths.
fn scan(file: &[u8], limits: &VideoLimits) -> Found<(u32, u32, Vec<u64>)> {
    let mut data = Bytes::new(file, "of the GIF");
    data.skip(6)?;
    let mut little = || data.u16().map(|side| u32::from(side.swap_bytes()));
    let (width, height) = (little()?, little()?);
    limits.check_size(width.into(), height.into())?;
    let flags = data.u8()?;
    data.skip(2)?;
    palette(&mut data, flags)?;
    let (mut delays, mut delay) = (Vec::new(), 0);
    loop {
        match data.u8()? {
            // An extension; 0xf9 carries the delay of the next frame.
            0x21 => {
                let label = data.u8()?;
                let mut first = true;
                while let Some(block) = sub_block(&mut data)? {
                    if let (true, 0xf9, [_, low, high, ..]) = (first, label, block) {
                        delay = u64::from(u16::from_le_bytes([*low, *high]));
                    }
                    first = false;
                }
            }
            0x2c => {
                data.skip(8)?;
                let flags = data.u8()?;
                palette(&mut data, flags)?;
                data.skip(1)?;
                while sub_block(&mut data)?.is_some() {}
                delays.push(if delay < 2 { NO_DELAY } else { delay });
                limits.check_count(delays.len())?;
                delay = 0;
            }
            0x3b => break,
            other => return damaged(format!("the GIF has a block of unknown kind {other:#x}")),
        }
    }
    match delays.is_empty() {
        true => damaged("the GIF has no frames"),
        false => Ok((width, height, delays)),
    }
}

/// Skips a colour table, if the flags say that there is one.
fn palette(data: &mut Bytes<'_>, flags: u8) -> Found<()> {
    match flags & 0x80 {
        0 => Ok(()),
        _ => data.skip(3 << ((flags & 7) + 1)),
    }
}

fn sub_block<'a>(data: &mut Bytes<'a>) -> Found<Option<&'a [u8]>> {
    match data.u8()? {
        0 => Ok(None),
        length => data.take(length.into()).map(Some),
    }
}
