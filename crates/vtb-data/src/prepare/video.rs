//! `train_video.csv`: clips and prompts for video models.

use std::path::{Path, PathBuf};

use image::RgbImage;
use vtb_puzzle::find;

use super::out::Staged;
use super::sample::Sample;
use super::{Common, Exporter};
use crate::error::{DataError, Result, VideoFault};
use crate::generate::{ClipSettings, ClipSize, make_clip};
use crate::video::{VideoLimits, VideoReader, VideoSettings, encode_mp4, fit_frames, fit_size};

/// Frames are 4k + 1: video models compress time by four, and keep the first frame apart.
const TIME: usize = 4;
/// Sides are multiples of this: 16 of the autoencoder, 2 of the patches.
const SIDE: u32 = 32;

/// What clips are brought to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct VideoShape {
    /// Frames, exactly.
    pub frames: Option<usize>,
    /// Size of the frames, and what is done with other sizes.
    pub size: Option<ClipSize>,
    /// Frames per second; those of the clip where none are given, 16 where there is no clip.
    pub fps: Option<f64>,
}

impl VideoShape {
    /// Whether clips are taken as they are.
    pub fn is_given(&self) -> bool {
        *self == Self::default()
    }

    /// Checks numbers that video models refuse.
    ///
    /// # Errors
    /// [`DataError::Prepare`] naming the nearest that they take.
    pub fn check(&self) -> Result<()> {
        let refuse = |text: String| Err(DataError::Prepare(text));
        if let Some(frames) = self.frames
            && (frames % TIME != 1 || frames < TIME)
        {
            let below = frames.saturating_sub(1) / TIME * TIME + 1;
            let near = match below.max(5) {
                at if at > frames => at.to_string(),
                at => format!("{at} or {}", at + TIME),
            };
            return refuse(format!(
                "{frames} frames: video models take 4k + 1; the nearest are {near}"
            ));
        }
        if let Some(ClipSize { width, height, .. }) = self.size {
            let near = |side: u32| (side.saturating_add(SIDE / 2) / SIDE * SIDE).max(SIDE);
            let nearest = (near(width), near(height));
            if nearest != (width, height) {
                return refuse(format!(
                    "frames of {width}x{height}: video models take sides that are multiples of \
                     {SIDE}; the nearest is {}x{}",
                    nearest.0, nearest.1
                ));
            }
        }
        Ok(())
    }
}

/// Writes the CSV file and, where clips are changed, the clips.
pub struct VideoExport {
    common: Common,
    place: PathBuf,
    shape: VideoShape,
    file: Option<csv::Writer<Staged>>,
}

impl std::fmt::Debug for VideoExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VideoExport({}, {:?})", self.place.display(), self.shape)
    }
}

/// One line.
#[derive(Debug)]
pub struct VideoRow {
    fields: [String; 6],
}

/// Names of the columns.
const COLUMNS: [&str; 6] = ["video", "prompt", "task_type", "task_group", "id", "split"];

impl VideoExport {
    /// Writes to `place`, in the folder of `common`.
    ///
    /// # Errors
    /// [`DataError::Io`] if the file cannot be made; [`DataError::Generate`] for a shape that no
    /// clip can have.
    pub fn new(common: Common, place: &Path, shape: VideoShape) -> Result<Self> {
        shape.clip(16.0).validate()?;
        let mut export = Self {
            place: place.to_owned(),
            file: None,
            shape,
            common,
        };
        if !export.common.dry {
            let mut builder = csv::WriterBuilder::new();
            builder.quote_style(csv::QuoteStyle::Always);
            let mut file = builder.from_writer(Staged::create(place)?);
            let written = file.write_record(COLUMNS);
            written.map_err(|e| export.io(e))?;
            export.file = Some(file);
        }
        Ok(export)
    }

    fn io(&self, fault: csv::Error) -> DataError {
        DataError::io(&self.place, "write", fault.into())
    }

    /// The name of the sample's clip, made if it has to be.
    fn clip(&self, sample: &Sample) -> Result<String> {
        let Common { places, dry, .. } = &self.common;
        if self.shape.is_given() {
            let video = sample
                .video
                .as_ref()
                .ok_or_else(|| match sample.record.as_deref() {
                    Some(_) => sample.invalid(
                        "assets.video",
                        "there is no clip; give a number of frames to draw one from the record",
                    ),
                    None => sample.missing("solution_video_path"),
                })?;
            return places.clip(sample, &video.file.path);
        }
        // A dry run makes no clips, which would take as long as the run itself.
        let bytes = match (*dry, sample.record.as_deref(), &sample.video) {
            (true, Some(_), _) | (true, None, Some(_)) => Vec::new(),
            (false, Some(record), video) => {
                let fps = video.as_ref().and_then(|video| video.fps);
                let task = find(&record.task);
                let task = task.map_err(|e| sample.invalid("task", e.to_string()))?;
                make_clip(task, record, &self.shape.clip(fps.unwrap_or(16.0)))
                    .map_err(|fault| sample.invalid("record", fault.to_string()))?
                    .bytes
            }
            (false, None, Some(video)) => self
                .recode(&video.file.path, video.fps)
                .map_err(|fault| sample.invalid("solution_video_path", fault.to_string()))?,
            (_, None, None) => return Err(sample.missing("solution_video_path")),
        };
        places.store("clips", &bytes, "mp4")
    }

    /// A clip from elsewhere at the length and size that are asked for.
    fn recode(&self, path: &Path, fps: Option<f64>) -> Result<Vec<u8>> {
        let reader = VideoReader::open(path)?;
        let rate = self.shape.fps.or(fps).unwrap_or(reader.info().fps);
        // Three decimals are what is written.
        let rate = (rate * 1000.0).round() / 1000.0;
        let fail = |fault| DataError::Video {
            video: path.display().to_string(),
            fault,
        };
        // Made small first: a clip at its own size may take gigabytes.
        let frames = match self.shape.size {
            None => reader.collect_frames()?,
            Some(size) => fitted(reader, size, fail)?,
        };
        let settings = VideoSettings::at(rate);
        match self.shape.frames {
            None => encode_mp4(&frames, settings),
            Some(n) => encode_mp4(fit_frames(&frames, n).map_err(fail)?, settings),
        }
    }
}

/// All frames at their new size, within the memory that a video may take.
fn fitted(
    reader: VideoReader,
    size: ClipSize,
    fail: impl Fn(VideoFault) -> DataError,
) -> Result<Vec<RgbImage>> {
    let ClipSize { width, height, fit } = size;
    let frames = reader.info().frame_count as u64;
    let limit = VideoLimits::default().max_collected_bytes;
    let bytes = frames * u64::from(width) * u64::from(height) * 3;
    if bytes > limit {
        let text = format!(
            "{frames} frames of {width}x{height} take {bytes} bytes and {limit} are allowed"
        );
        return Err(fail(VideoFault::TooLarge(text)));
    }
    let fit = |frame: Result<RgbImage>| fit_size(&frame?, width, height, fit).map_err(&fail);
    reader.map(fit).collect()
}

impl VideoShape {
    fn clip(&self, fps: f64) -> ClipSettings {
        ClipSettings {
            frames: self.frames.unwrap_or(ClipSettings::default().frames),
            fps: self.fps.unwrap_or(fps),
            size: self.size,
        }
    }
}

impl Exporter for VideoExport {
    type Row = VideoRow;

    fn common(&self) -> &Common {
        &self.common
    }

    fn make(&self, sample: &Sample) -> Result<VideoRow> {
        let prompt = sample.prompts.video.trim();
        if prompt.is_empty() {
            return Err(sample.missing("ti2v_prompt"));
        }
        let fields = [
            self.clip(sample)?,
            prompt.to_owned(),
            sample.task.clone(),
            sample.group.clone(),
            sample.id.clone(),
            sample.split.clone().unwrap_or_default(),
        ];
        Ok(VideoRow { fields })
    }

    fn add(&mut self, row: VideoRow) -> Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let written = file.write_record(&row.fields);
        written.map_err(|e| self.io(e))
    }

    fn finish(self) -> Result<Vec<PathBuf>> {
        let Some(file) = self.file else {
            return Ok(Vec::new());
        };
        let file = file.into_inner().map_err(|e| e.into_error());
        let file = file.map_err(|e| DataError::io(&self.place, "write", e))?;
        Ok(vec![file.finish(true)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::SizeFit;

    fn said(frames: Option<usize>, size: Option<(u32, u32)>) -> Option<String> {
        let size = size.map(|(width, height)| ClipSize {
            width,
            height,
            fit: SizeFit::Pad,
        });
        let shape = VideoShape {
            frames,
            size,
            fps: None,
        };
        shape.check().err().map(|fault| fault.to_string())
    }

    #[test]
    fn shapes_that_video_models_refuse_name_the_nearest() {
        for frames in [5, 25, 49, 81] {
            assert_eq!(said(Some(frames), None), None);
        }
        assert!(said(Some(80), None).unwrap().ends_with("77 or 81"));
        assert!(said(Some(83), None).unwrap().ends_with("81 or 85"));
        assert!(said(Some(1), None).unwrap().ends_with("are 5"));
        assert_eq!(said(None, Some((480, 896))), None);
        let fault = said(None, Some((500, 873))).unwrap();
        assert!(fault.ends_with("nearest is 512x864"), "{fault}");
        assert!(said(None, Some((3, 32))).unwrap().ends_with("32x32"));
    }
}
