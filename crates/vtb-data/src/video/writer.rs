//! Frames to H.264 in MP4.

use std::path::Path;

use image::RgbImage;

use super::color::{Colors, Planes};
use super::encode::{COLORS, H264Encoder};
use super::fit::pad;
use super::mp4_write::{Coded, Movie, mux};
use super::{Found, of_video};
use crate::error::{Result, VideoFault};
use crate::image_io::write_whole;

/// Largest long and short side that the encoder takes.
const MAX_SIDES: (u32, u32) = (3840, 2160);
/// Frames are padded to this if they are smaller; the encoder needs it.
const MIN_SIDE: u32 = 16;

/// How a video is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VideoSettings {
    /// Frames per second, 0.01 to 1000, at most three decimals. Every frame lasts equally long.
    pub fps: f64,
    /// Quantizer of every frame, from 12, the finest that the encoder has, to 51. From 16 on H.264
    /// smooths the edges of its blocks, which blurs drawings.
    pub quantizer: u8,
}

impl Default for VideoSettings {
    /// 16 frames per second, quantizer 14.
    fn default() -> Self {
        Self {
            fps: 16.0,
            quantizer: 14,
        }
    }
}

impl VideoSettings {
    /// The default quality at another rate.
    pub fn at(fps: f64) -> Self {
        Self {
            fps,
            ..Self::default()
        }
    }

    /// Ticks a second; each frame lasts 1000 of them.
    fn timescale(self) -> Found<u32> {
        let (scale, quantizer) = ((self.fps * 1000.0).round(), self.quantizer);
        if !(10.0..=1_000_000.0).contains(&scale) {
            return frames(format!("fps is {} and must be 0.01 to 1000", self.fps));
        }
        if (scale - self.fps * 1000.0).abs() > 1e-9 * scale {
            return frames(format!(
                "fps is {} and may have three decimals at most",
                self.fps
            ));
        }
        if !(12..=51).contains(&quantizer) {
            return frames(format!("quantizer is {quantizer} and must be 12 to 51"));
        }
        Ok(scale as u32)
    }
}

fn frames<T>(text: String) -> Found<T> {
    Err(VideoFault::Frames(text))
}

/// Encodes frames one by one and hands out an MP4 file.
///
/// The file holds one H.264 track (`avc1`, Constrained Baseline, 4:2:0, BT.601 limited range with
/// colour tags in the stream and in the container) and its table of contents in front. A frame
/// from which decoding can start comes at least every second. Every frame lasts 1000 ticks of a
/// clock with `fps * 1000` ticks a second. Odd widths and heights, and those below 16, grow to the
/// next size that can be coded: the last column and row are repeated on the right and at the
/// bottom. The same frames and settings give the same bytes.
pub struct VideoWriter {
    encoder: H264Encoder,
    timescale: u32,
    size: Option<(u32, u32)>,
    planes: Planes,
    coded: Vec<Coded>,
}

impl VideoWriter {
    /// A writer without frames.
    ///
    /// # Errors
    /// [`VideoFault::Frames`] if a setting is out of its range.
    pub fn new(settings: VideoSettings) -> std::result::Result<Self, VideoFault> {
        let timescale = settings.timescale()?;
        let encoder = H264Encoder::new(settings.fps, settings.quantizer);
        let encoder = encoder.map_err(|reason| VideoFault::Encode { frame: 0, reason })?;
        Ok(Self {
            encoder,
            timescale,
            size: None,
            planes: Planes::new(0, 0),
            coded: Vec::new(),
        })
    }

    /// Encodes the next frame. The first decides the size.
    ///
    /// # Errors
    /// [`VideoFault::Frames`] if the frame differs in size, [`VideoFault::TooLarge`] if it has more
    /// than 3840 x 2160 pixels either way up, [`VideoFault::Encode`] if the encoder refuses it.
    pub fn push(&mut self, frame: &RgbImage) -> std::result::Result<(), VideoFault> {
        let number = self.coded.len();
        match self.size {
            None => self.begin(frame.dimensions())?,
            Some(size) if size != frame.dimensions() => {
                let ((w, h), (width, height)) = (size, frame.dimensions());
                return frames(format!(
                    "frame {number} is {width}x{height} and those before it are {w}x{h}; \
                     see fit_size"
                ));
            }
            Some(_) => {}
        }
        let size = (self.planes.width as u32, self.planes.height as u32);
        match frame.dimensions() == size {
            true => self.planes.fill(frame, Colors::USUAL),
            false => self.planes.fill(&pad(frame, size.0, size.1), Colors::USUAL),
        }
        let coded = self.encoder.encode(&self.planes);
        let coded = coded.map_err(|reason| VideoFault::Encode {
            frame: number,
            reason,
        })?;
        self.coded.push(coded);
        Ok(())
    }

    fn begin(&mut self, (width, height): (u32, u32)) -> Found<()> {
        let (long, short) = (width.max(height), width.min(height));
        if short == 0 {
            return frames("frames without pixels make no video".into());
        }
        if long > MAX_SIDES.0 || short > MAX_SIDES.1 {
            return Err(VideoFault::TooLarge(format!(
                "frames of {width}x{height} exceed what is encoded, {}x{}",
                MAX_SIDES.0, MAX_SIDES.1
            )));
        }
        let coded = |side: u32| side.max(MIN_SIDE).next_multiple_of(2) as usize;
        self.planes = Planes::new(coded(width), coded(height));
        self.size = Some((width, height));
        Ok(())
    }

    /// The file.
    ///
    /// # Errors
    /// [`VideoFault::Frames`] without a frame, [`VideoFault::TooLarge`] from 4 GiB on.
    pub fn finish(self) -> std::result::Result<Vec<u8>, VideoFault> {
        if self.coded.is_empty() {
            return frames("a video needs at least one frame".into());
        }
        let movie = Movie {
            width: self.planes.width as u16,
            height: self.planes.height as u16,
            timescale: self.timescale,
            ticks: 1000,
            sps: &self.encoder.sps,
            pps: &self.encoder.pps,
            colors: COLORS,
        };
        mux(&movie, &self.coded)
            .ok_or_else(|| VideoFault::TooLarge("the video would exceed 4 GiB".into()))
    }
}

/// The bytes of an MP4 file, as [`VideoWriter`] makes them.
///
/// # Errors
/// As the writer's.
pub fn encode_mp4<'a>(
    frames: impl IntoIterator<Item = &'a RgbImage>,
    settings: VideoSettings,
) -> Result<Vec<u8>> {
    encode(frames, settings).map_err(of_video("the video to write"))
}

fn encode<'a>(
    frames: impl IntoIterator<Item = &'a RgbImage>,
    settings: VideoSettings,
) -> Found<Vec<u8>> {
    let mut writer = VideoWriter::new(settings)?;
    for frame in frames {
        writer.push(frame)?;
    }
    writer.finish()
}

/// Writes an MP4 file. The file is complete or absent: it is written beside and renamed.
///
/// # Errors
/// As the writer's, and [`DataError::Io`](crate::DataError::Io); all name the path.
pub fn write_mp4<'a>(
    path: &Path,
    frames: impl IntoIterator<Item = &'a RgbImage>,
    settings: VideoSettings,
) -> Result<()> {
    let bytes = encode(frames, settings).map_err(of_video(path.display().to_string()))?;
    write_whole(path, false, |file| file.write_all(&bytes))
}
