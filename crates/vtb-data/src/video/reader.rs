//! Frames from a file, a folder or bytes.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use image::RgbImage;

use super::folder::FolderSource;
use super::gif::GifSource;
use super::h264::H264Source;
use super::y4m::Y4mSource;
use super::{Found, VideoInfo, VideoLimits, of_video};
use crate::error::{Result, VideoFault};

/// Something that hands out frames in display order.
pub(super) trait Source {
    /// The next frame, `None` after the last. Without `want` it may be left empty, which saves the
    /// conversion of its colours; it need not be.
    fn next(&mut self, want: bool) -> Found<Option<Option<RgbImage>>>;
}

/// Which frames are handed out, and how large a video may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// Every how manieth frame is handed out, from the first on; 0 counts as 1.
    pub stride: usize,
    /// Most frames that are handed out.
    pub max_frames: usize,
    /// Bounds on the video.
    pub limits: VideoLimits,
}

impl Default for ReadOptions {
    /// All frames, default limits.
    fn default() -> Self {
        Self {
            stride: 1,
            max_frames: usize::MAX,
            limits: VideoLimits::default(),
        }
    }
}

/// Reads a video: an iterator over its frames in display order.
///
/// Read are MP4 with H.264 (Baseline, Main and High profile, 8 bits, 4:2:0, progressive, B-frames
/// included), GIF, Y4M and folders of PNG frames with `timing.json`. The form is told from the
/// content, not from the name. The iterator ends after the first error.
///
/// In MP4, sound is skipped, an edit list that shows one stretch is followed, and frames are turned
/// as the file says. Frames without colour tags count as BT.601 in limited range.
pub struct VideoReader {
    name: String,
    info: VideoInfo,
    options: ReadOptions,
    source: Box<dyn Source>,
    /// Frames seen and frames handed out.
    seen: usize,
    given: usize,
    ended: bool,
}

impl fmt::Debug for VideoReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoReader")
            .field("name", &self.name)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl VideoReader {
    /// Opens a file or a frame folder.
    ///
    /// # Errors
    /// [`DataError::Video`](crate::DataError::Video), which names the path and what is wrong.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, ReadOptions::default())
    }

    /// Opens a file or a frame folder, to hand out some of its frames.
    ///
    /// # Errors
    /// As [`VideoReader::open`].
    pub fn open_with(path: &Path, options: ReadOptions) -> Result<Self> {
        let name = path.display().to_string();
        let opened = if path.is_dir() {
            FolderSource::open(path, &options.limits).map(boxed)
        } else {
            read_file(path, &options.limits).and_then(|bytes| source(bytes, &options.limits))
        };
        Self::new(name, opened, options)
    }

    /// Reads a file that is already in memory.
    ///
    /// # Errors
    /// As [`VideoReader::open`].
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>, options: ReadOptions) -> Result<Self> {
        let opened = source(bytes.into(), &options.limits);
        Self::new("a video in memory".into(), opened, options)
    }

    fn new(name: String, opened: Found<Opened>, options: ReadOptions) -> Result<Self> {
        let (source, info) = opened.map_err(of_video(name.as_str()))?;
        Ok(Self {
            name,
            info,
            options,
            source,
            seen: 0,
            given: 0,
            ended: false,
        })
    }

    /// What the video is, sampling aside.
    pub fn info(&self) -> &VideoInfo {
        &self.info
    }

    /// The last frame, of all that are left. Everything before it is decoded, since seeking in
    /// files from elsewhere cannot be relied on; stride and number do not matter.
    ///
    /// # Errors
    /// Whatever keeps a frame from being decoded.
    pub fn last_frame(self) -> Result<RgbImage> {
        let name = self.name.clone();
        let last = self.last_frames(1)?.pop();
        last.ok_or_else(|| of_video(name)(VideoFault::Frames("no frame is left".into())))
    }

    /// The last `count` frames in display order, or all that are left if these are fewer. As
    /// [`VideoReader::last_frame`] otherwise.
    ///
    /// # Errors
    /// As [`VideoReader::last_frame`], and [`VideoFault::TooLarge`] if they exceed the memory limit.
    pub fn last_frames(mut self, count: usize) -> Result<Vec<RgbImage>> {
        let count = count.min(self.info.frame_count);
        self.check_memory(count)?;
        let mut last = VecDeque::with_capacity(count);
        // The count that the file claims is checked where frames are decoded.
        let from = self.info.frame_count - count;
        loop {
            let want = self.seen >= from;
            let next = self.source.next(want);
            let Some(frame) = next.map_err(of_video(self.name.as_str()))? else {
                return Ok(last.into());
            };
            self.seen += 1;
            last.extend(frame.filter(|_| want));
        }
    }

    /// All frames that the options ask for.
    ///
    /// # Errors
    /// As [`VideoReader::last_frames`].
    pub fn collect_frames(self) -> Result<Vec<RgbImage>> {
        let left = self.info.frame_count.div_ceil(self.options.stride.max(1));
        self.check_memory(left.min(self.options.max_frames))?;
        self.collect()
    }

    fn check_memory(&self, frames: usize) -> Result<()> {
        let frame = u64::from(self.info.width) * u64::from(self.info.height) * 3;
        let (bytes, limit) = (
            frame * frames as u64,
            self.options.limits.max_collected_bytes,
        );
        if bytes > limit {
            let text = format!(
                "{frames} frames take {bytes} bytes and {limit} are allowed; take fewer, or one \
                 after another"
            );
            return Err(of_video(self.name.as_str())(VideoFault::TooLarge(text)));
        }
        Ok(())
    }

    /// The next frame that the options ask for.
    fn step(&mut self) -> Found<Option<RgbImage>> {
        let stride = self.options.stride.max(1);
        while self.given < self.options.max_frames {
            let want = self.seen.is_multiple_of(stride);
            let Some(frame) = self.source.next(want)? else {
                break;
            };
            self.seen += 1;
            if let (true, Some(frame)) = (want, frame) {
                self.given += 1;
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }
}

impl Iterator for VideoReader {
    type Item = Result<RgbImage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step();
        self.ended = !matches!(step, Ok(Some(_)));
        step.map_err(of_video(self.name.as_str())).transpose()
    }
}

type Opened = (Box<dyn Source>, VideoInfo);

fn boxed<S: Source + 'static>((source, info): (S, VideoInfo)) -> Opened {
    (Box::new(source), info)
}

fn read_file(path: &Path, limits: &VideoLimits) -> Found<Arc<[u8]>> {
    // Looked at before it is opened: opening a pipe would wait for ever.
    let meta = path.metadata()?;
    if !meta.is_file() {
        let what = std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a file");
        return Err(VideoFault::Unreadable(what));
    }
    check_bytes(meta.len(), limits)?;
    Ok(std::fs::read(path)?.into())
}

fn check_bytes(bytes: u64, limits: &VideoLimits) -> Found<()> {
    let limit = limits.max_file_bytes;
    if bytes > limit {
        return Err(VideoFault::TooLarge(format!(
            "the file has {bytes} bytes and {limit} are allowed"
        )));
    }
    Ok(())
}

fn source(bytes: Arc<[u8]>, limits: &VideoLimits) -> Found<Opened> {
    check_bytes(bytes.len() as u64, limits)?;
    let found = match &bytes[..] {
        [b'G', b'I', b'F', b'8', ..] => return GifSource::open(bytes, limits).map(boxed),
        start if start.starts_with(b"YUV4MPEG2") => {
            return Y4mSource::open(bytes, limits).map(boxed);
        }
        [_, _, _, _, name @ ..] if MP4.iter().any(|n| name.starts_with(n)) => {
            return H264Source::open(bytes, limits).map(boxed);
        }
        [0x1a, 0x45, 0xdf, 0xa3, ..] => "this is WebM or Matroska",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', ..] => "this is AVI",
        [0, 0, 1, ..] | [0, 0, 0, 1, ..] => "this is a bare H.264 or MPEG stream",
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, ..] => "this is a single picture",
        [] => "the file is empty",
        _ => "this is no video in a known form",
    };
    Err(VideoFault::Format {
        found: found.into(),
    })
}

/// Names of the boxes that MP4 and QuickTime files begin with.
const MP4: [&[u8]; 6] = [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"];
