//! Frames as PNG files in a folder: nothing is lost, and any program can make them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::reader::Source;
use super::{Found, VideoCodec, VideoInfo, VideoLimits, damaged, of_video};
use crate::error::{Result, VideoFault};
use crate::image_io::{ImageOptions, load, write_png, write_whole};
use crate::image_ref::ImageRef;

const TIMING: &str = "timing.json";
/// Largest `timing.json` in bytes.
const MAX_TIMING: u64 = 64 << 10;

/// The content of `timing.json`. A reader needs `fps` alone; the rest must fit if it is there.
#[derive(Debug, Serialize, Deserialize)]
struct Timing {
    fps: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frames: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
}

/// Writes `frame_00000.png`, `frame_00001.png`, ... and, last, `timing.json`. Returns the number
/// of frames. The folder is made if it is missing and must not hold frames yet.
///
/// # Errors
/// [`VideoFault::Frames`] if there are no frames, they differ in size, the rate is not a positive
/// number or the folder holds frames; [`DataError::Io`](crate::DataError::Io) with the path.
pub fn write_frames<'a>(
    dir: &Path,
    frames: impl IntoIterator<Item = &'a RgbImage>,
    fps: f64,
) -> Result<usize> {
    let name = dir.display().to_string();
    let refuse = |text: String| Err(of_video(name.as_str())(VideoFault::Frames(text)));
    if !(fps.is_finite() && fps > 0.0) {
        return refuse(format!("fps is {fps} and must be a positive number"));
    }
    std::fs::create_dir_all(dir).map_err(|e| crate::DataError::io(dir, "make", e))?;
    if dir.join(TIMING).exists() || !numbered(dir).map_err(of_video(name.as_str()))?.is_empty() {
        return refuse("the folder holds frames already".into());
    }
    let (mut count, mut size) = (0, None);
    for frame in frames {
        let (width, height) = *size.get_or_insert(frame.dimensions());
        if frame.dimensions() != (width, height) {
            let (w, h) = frame.dimensions();
            return refuse(format!(
                "frame {count} is {w}x{h} and those before it are {width}x{height}"
            ));
        }
        write_png(&dir.join(format!("frame_{count:05}.png")), frame)?;
        count += 1;
    }
    let Some((width, height)) = size else {
        return refuse("a video needs at least one frame".into());
    };
    let timing = Timing {
        fps,
        frames: Some(count),
        width: Some(width),
        height: Some(height),
    };
    write_whole(&dir.join(TIMING), false, |file| {
        serde_json::to_writer_pretty(&mut *file, &timing)?;
        file.write_all(b"\n")
    })?;
    Ok(count)
}

/// The files `frame_N.png` by number.
fn numbered(dir: &Path) -> Found<BTreeMap<u64, PathBuf>> {
    let mut files = BTreeMap::new();
    for entry in dir.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str());
        let number = name.and_then(|n| n.strip_prefix("frame_")?.strip_suffix(".png"));
        let digits = number.filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        let Some(number) = digits.and_then(|n| n.parse().ok()) else {
            continue;
        };
        if files.insert(number, path).is_some() {
            return damaged(format!("the folder has frame {number} twice"));
        }
    }
    Ok(files)
}

/// Reads a folder of PNG frames, numbered without a gap from 0 or from 1.
pub(super) struct FolderSource {
    files: std::vec::IntoIter<PathBuf>,
    options: ImageOptions,
    size: (u32, u32),
}

impl FolderSource {
    pub(super) fn open(dir: &Path, limits: &VideoLimits) -> Found<(Self, VideoInfo)> {
        let timing = timing(dir)?;
        let files = numbered(dir)?;
        let first = match files.first_key_value() {
            Some((&first @ (0 | 1), _)) => first,
            Some((first, _)) => return damaged(format!("its first frame has number {first}")),
            None => return damaged("the folder has no files frame_00000.png, ..."),
        };
        if let Some(gap) = (first..).zip(files.keys()).find(|(i, n)| i != *n) {
            return damaged(format!("frame {} is missing", gap.0));
        }
        let count = files.len();
        limits.check_count(count)?;
        if timing.frames.is_some_and(|n| n != count) {
            let said = timing.frames.unwrap_or_default();
            return damaged(format!("{TIMING} says {said} frames and there are {count}"));
        }
        let options = ImageOptions {
            max_side: limits.max_side,
            max_pixels: limits.max_pixels,
            ..ImageOptions::default()
        };
        let files: Vec<PathBuf> = files.into_values().collect();
        let size = picture(&files[0], &options)?.dimensions();
        let said = (timing.width, timing.height);
        if said.0.is_some_and(|w| w != size.0) || said.1.is_some_and(|h| h != size.1) {
            let (w, h) = size;
            return damaged(format!("{TIMING} and the first frame, {w}x{h}, disagree"));
        }
        let info = VideoInfo {
            codec: VideoCodec::Frames,
            width: size.0,
            height: size.1,
            pixel_aspect: (1, 1),
            fps: timing.fps,
            frame_count: count,
            duration: count as f64 / timing.fps,
        };
        let files = files.into_iter();
        let source = Self {
            files,
            options,
            size,
        };
        Ok((source, info))
    }
}

fn timing(dir: &Path) -> Found<Timing> {
    let path = dir.join(TIMING);
    let hint = || format!("write {TIMING} beside the frames, such as {{\"fps\": 16}}");
    let Ok(meta) = path.metadata() else {
        return damaged(format!("{TIMING} is missing; {}", hint()));
    };
    if !meta.is_file() || meta.len() > MAX_TIMING {
        return damaged(format!("{TIMING} is no small file; {}", hint()));
    }
    let timing: Timing = serde_json::from_slice(&std::fs::read(path)?)
        .map_err(|e| VideoFault::Damaged(format!("{TIMING}: {e}; {}", hint())))?;
    match timing.fps.is_finite() && timing.fps > 0.0 {
        true => Ok(timing),
        false => damaged(format!("{TIMING}: fps must be a positive number")),
    }
}

fn picture(path: &Path, options: &ImageOptions) -> Found<RgbImage> {
    let loaded = load(&ImageRef::Path(path.to_owned()), options);
    let name = || path.file_name().unwrap_or_default().display().to_string();
    let picture = loaded.map_err(|fault| VideoFault::Frame {
        name: name(),
        fault,
    })?;
    Ok(std::sync::Arc::unwrap_or_clone(picture))
}

impl Source for FolderSource {
    fn next(&mut self, want: bool) -> Found<Option<Option<RgbImage>>> {
        let Some(path) = self.files.next() else {
            return Ok(None);
        };
        if !want {
            return Ok(Some(None));
        }
        let frame = picture(&path, &self.options)?;
        if frame.dimensions() != self.size {
            let ((w, h), (width, height)) = (self.size, frame.dimensions());
            let name = path.file_name().unwrap_or_default().display();
            return damaged(format!(
                "{name} is {width}x{height} and the first frame {w}x{h}"
            ));
        }
        Ok(Some(Some(frame)))
    }
}
