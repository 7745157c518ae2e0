//! Solution clips: the puzzle, the growing solution, the solution.

use image::RgbImage;
use vtb_puzzle::{Layer, Puzzle, PuzzleError, Record};

use super::fault::GenerateFault;
use crate::error::{DataError, Result, VideoFault};
use crate::video::{SizeFit, VideoLimits, VideoSettings, VideoWriter, fit_size, plan_frames};

/// Size of the frames, and how pictures of another size are brought to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipSize {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What is done with pictures of another size.
    pub fit: SizeFit,
}

/// How clips are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipSettings {
    /// Frames, exactly. Video models that compress time by four want 4k + 1.
    pub frames: usize,
    /// Frames per second.
    pub fps: f64,
    /// Size of the frames; that of the picture where none is given.
    pub size: Option<ClipSize>,
}

impl Default for ClipSettings {
    /// 81 frames at 16 per second, in the size of the picture.
    fn default() -> Self {
        Self {
            frames: 81,
            fps: 16.0,
            size: None,
        }
    }
}

impl ClipSettings {
    /// Checks ranges, so that a run does not fail at its first clip.
    ///
    /// # Errors
    /// [`GenerateFault::Setting`].
    pub(crate) fn validate(&self) -> Result<()> {
        let most = VideoLimits::default().max_frames;
        if !(2..=most).contains(&self.frames) {
            let frames = self.frames;
            return refuse(format!("{frames} frames; 2 to {most} make a clip"));
        }
        if let Err(fault) = VideoWriter::new(VideoSettings::at(self.fps)) {
            return refuse(fault.to_string());
        }
        let Some(ClipSize { width, height, .. }) = self.size else {
            return Ok(());
        };
        let (long, short) = (width.max(height), width.min(height));
        if short < 16 || long > 3840 || short > 2160 || width % 2 + height % 2 > 0 {
            return refuse(format!(
                "frames of {width}x{height}; sides must be even, 16 at least and 3840x2160 at most"
            ));
        }
        Ok(())
    }
}

fn refuse<T>(why: String) -> Result<T> {
    Err(GenerateFault::Setting(format!("video: {why}")).into())
}

/// A clip as it is written.
pub(crate) struct Clip {
    pub(crate) bytes: Vec<u8>,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// The clip of a record, drawn from the record alone.
pub(crate) fn draw_clip(task: &dyn Puzzle, record: &Record, how: &ClipSettings) -> Result<Clip> {
    let fail = |fault: PuzzleError| DataError::Puzzle {
        task: record.task.clone(),
        reason: format!("{}: {fault}", record.id),
    };
    let painter = task.painter(record).map_err(fail)?;
    let draw = |layer| painter.paint(layer).map_err(fail);
    let ends = [draw(Layer::Puzzle)?, draw(Layer::Solution)?];
    make_clip(record, &ends, |share| draw(Layer::Growing(share)), how)
}

/// The clip of a record, of which `ends` are puzzle and solution and `draw` gives what lies between.
/// It rests on the puzzle for a sixteenth of its frames and on the solution for an eighth.
pub(super) fn make_clip(
    record: &Record,
    [puzzle, solution]: &[RgbImage; 2],
    draw: impl Fn(f64) -> Result<RgbImage>,
    how: &ClipSettings,
) -> Result<Clip> {
    let fail = |fault: VideoFault| DataError::Video {
        video: format!("{} {}: the solution clip", record.task, record.id),
        fault,
    };
    let n = how.frames;
    let shares = plan_frames(n, (n / 16).max(1), (n / 8).max(1)).map_err(fail)?;
    let mut writer = VideoWriter::new(VideoSettings::at(how.fps)).map_err(fail)?;
    let mut shown = None;
    for share in shares {
        let pushed = match share {
            _ if shown == Some(share) => writer.repeat(),
            0.0 => push(&mut writer, puzzle, how.size),
            1.0 => push(&mut writer, solution, how.size),
            _ => push(&mut writer, &draw(share)?, how.size),
        };
        pushed.map_err(fail)?;
        shown = Some(share);
    }
    let (width, height) = how
        .size
        .map_or(puzzle.dimensions(), |s| (s.width, s.height));
    // What the writer makes of sides that cannot be coded.
    let coded = |side: u32| side.max(16).next_multiple_of(2);
    Ok(Clip {
        bytes: writer.finish().map_err(fail)?,
        width: coded(width),
        height: coded(height),
    })
}

fn push(
    writer: &mut VideoWriter,
    picture: &RgbImage,
    size: Option<ClipSize>,
) -> std::result::Result<(), VideoFault> {
    match size {
        None => writer.push(picture),
        Some(size) => writer.push(&fit_size(picture, size.width, size.height, size.fit)?),
    }
}
