//! Frames to H.264 in MP4.

use std::path::Path;

use image::RgbImage;

use super::avc::Encoder;
use super::color::{Colors, Planes};
use super::mp4_write::{Coded, Movie, mux};
use super::{Found, of_video};
use crate::error::{Result, VideoFault};
use crate::image_io::write_whole;

/// Largest long and short side that are encoded.
const MAX_SIDES: (u32, u32) = (3840, 2160);
/// Frames are padded to this if they are smaller; some players refuse less.
const MIN_SIDE: u32 = 16;
/// What the parameter set and the container say of the colours: the pixels are sRGB, the matrix is
/// that of BT.601. As numbers of H.273: primaries, transfer, matrix.
const COLORS: [u8; 3] = [1, 13, 6];

/// How a video is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VideoSettings {
    /// Frames per second, 0.01 to 1000, at most three decimals. Every frame lasts equally long.
    pub fps: f64,
    /// Quantizer of every frame, from 12, the finest, to 51. Six more double the steps.
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
    settings: VideoSettings,
    timescale: u32,
    /// From the first frame on.
    track: Option<Track>,
    coded: Vec<Coded>,
}

/// What the first frame decides.
struct Track {
    size: (u32, u32),
    planes: Planes,
    encoder: Encoder,
}

impl VideoWriter {
    /// A writer without frames.
    ///
    /// # Errors
    /// [`VideoFault::Frames`] if a setting is out of its range.
    pub fn new(settings: VideoSettings) -> std::result::Result<Self, VideoFault> {
        Ok(Self {
            settings,
            timescale: settings.timescale()?,
            track: None,
            coded: Vec::new(),
        })
    }

    /// Encodes the next frame. The first decides the size.
    ///
    /// # Errors
    /// [`VideoFault::Frames`] if the frame differs in size, [`VideoFault::TooLarge`] if it has more
    /// than 3840 x 2160 pixels either way up.
    pub fn push(&mut self, frame: &RgbImage) -> std::result::Result<(), VideoFault> {
        let number = self.coded.len();
        let track = match self.track.take() {
            None => Track::new(frame.dimensions(), self.settings)?,
            Some(track) => track,
        };
        let track = self.track.insert(track);
        if track.size != frame.dimensions() {
            let ((w, h), (width, height)) = (track.size, frame.dimensions());
            return frames(format!(
                "frame {number} is {width}x{height} and those before it are {w}x{h}; \
                 see fit_size"
            ));
        }
        track.planes.fill(frame, Colors::USUAL);
        self.coded.push(track.encoder.encode(&track.planes));
        Ok(())
    }

    /// The last frame once more, without looking at it again.
    ///
    /// # Errors
    /// [`VideoFault::Frames`] if there is none.
    pub fn repeat(&mut self) -> std::result::Result<(), VideoFault> {
        let Some(track) = &mut self.track else {
            return frames("there is no frame to repeat".into());
        };
        track.planes.keep();
        self.coded.push(track.encoder.encode(&track.planes));
        Ok(())
    }

    /// The file.
    ///
    /// # Errors
    /// [`VideoFault::Frames`] without a frame, [`VideoFault::TooLarge`] from 4 GiB on.
    pub fn finish(self) -> std::result::Result<Vec<u8>, VideoFault> {
        let Some(Track {
            planes, encoder, ..
        }) = self.track
        else {
            return frames("a video needs at least one frame".into());
        };
        let movie = Movie {
            width: planes.width as u16,
            height: planes.height as u16,
            timescale: self.timescale,
            ticks: 1000,
            sps: &encoder.sps,
            pps: &encoder.pps,
            colors: COLORS,
        };
        mux(&movie, &self.coded)
            .ok_or_else(|| VideoFault::TooLarge("the video would exceed 4 GiB".into()))
    }
}

impl Track {
    fn new((width, height): (u32, u32), settings: VideoSettings) -> Found<Self> {
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
        let shown = [width, height].map(|side| side.max(MIN_SIDE).next_multiple_of(2) as usize);
        let planes = Planes::new([width as usize, height as usize], shown);
        let encoder = Encoder::new(&planes, settings.fps, settings.quantizer, COLORS);
        Ok(Self {
            size: (width, height),
            planes,
            encoder,
        })
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
