//! Videos from files and files from frames, without any other program.
//!
//! [`VideoWriter`] makes H.264 in MP4, [`write_frames`] a folder of PNG files that loses nothing.
//! [`VideoReader`] takes both back, and MP4 from elsewhere, GIF and Y4M. [`fit_size`] and
//! [`fit_frames`] bring clips to the sizes and lengths that video models want.
//!
//! Invariant: the same frames and settings give the same bytes, and a file, however hostile, gives
//! frames within [`VideoLimits`] or a [`VideoFault`].

mod avc;
mod bits;
mod boxes;
mod chroma;
mod color;
mod fit;
mod folder;
mod gif;
mod h264;
mod mp4_read;
mod mp4_write;
mod params;
mod plan;
mod reader;
mod tables;
mod writer;
mod y4m;

use std::fmt;

use crate::error::{DataError, VideoFault};

pub use fit::{SizeFit, fit_size};
pub use folder::write_frames;
pub use plan::{clip_length, fit_frames, plan_frames};
pub use reader::{ReadOptions, VideoReader};
pub use writer::{VideoSettings, VideoWriter, encode_mp4, write_mp4};

/// How a video is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VideoCodec {
    /// H.264 in MP4.
    H264,
    /// GIF.
    Gif,
    /// Uncompressed YUV4MPEG2.
    Y4m,
    /// A folder of PNG files.
    Frames,
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H264 => "H.264",
            Self::Gif => "GIF",
            Self::Y4m => "Y4M",
            Self::Frames => "PNG frames",
        })
    }
}

/// What a video is, known before its first frame is decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoInfo {
    /// How it is coded.
    pub codec: VideoCodec,
    /// Width of the frames in pixels, after rotation.
    pub width: u32,
    /// Height of the frames in pixels, after rotation.
    pub height: u32,
    /// Width to height of one pixel. Frames are handed out as stored, whatever this says.
    pub pixel_aspect: (u32, u32),
    /// Frames per second; the mean where they last unequally long.
    pub fps: f64,
    /// Frames that are shown, of which sampling may leave some out.
    pub frame_count: usize,
    /// Seconds.
    pub duration: f64,
}

/// How large a video may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoLimits {
    /// Largest width and height in pixels.
    pub max_side: u32,
    /// Largest `width * height`.
    pub max_pixels: u64,
    /// Most frames in the file.
    pub max_frames: usize,
    /// Largest file in bytes. It is held in memory while it is read.
    pub max_file_bytes: u64,
    /// Most bytes of frames, at three a pixel, that are collected in memory.
    pub max_collected_bytes: u64,
}

impl Default for VideoLimits {
    /// 8192 pixels a side, 9 Mi pixels (the largest H.264 frames), 20 000 frames, 512 MiB a file,
    /// 4 GiB of frames.
    fn default() -> Self {
        Self {
            max_side: 8192,
            max_pixels: 9 << 20,
            max_frames: 20_000,
            max_file_bytes: 512 << 20,
            max_collected_bytes: 4 << 30,
        }
    }
}

/// What the parts of this module hand up; the reader and the writer add the file.
type Found<T> = std::result::Result<T, VideoFault>;

impl VideoLimits {
    fn check_size(&self, width: u64, height: u64) -> Found<()> {
        if width == 0 || height == 0 {
            let text = format!("its frames are {width}x{height} pixels");
            return Err(VideoFault::Damaged(text));
        }
        let side = u64::from(self.max_side);
        if width > side || height > side || width * height > self.max_pixels {
            return Err(VideoFault::TooLarge(format!(
                "frames of {width}x{height} exceed the limit of {side} pixels a side and {} in all",
                self.max_pixels
            )));
        }
        Ok(())
    }

    fn check_count(&self, frames: usize) -> Found<()> {
        let limit = self.max_frames;
        if frames > limit {
            let text = format!("it has {frames} frames or more, and {limit} are allowed");
            return Err(VideoFault::TooLarge(text));
        }
        Ok(())
    }
}

fn damaged<T>(text: impl Into<String>) -> Found<T> {
    Err(VideoFault::Damaged(text.into()))
}

fn of_video(video: impl Into<String>) -> impl FnOnce(VideoFault) -> DataError {
    let video = video.into();
    move |fault| DataError::Video { video, fault }
}
