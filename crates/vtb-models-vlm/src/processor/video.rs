//! The video processor: which frames are looked at, their size, and the moments they show.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use vtb_nn::lm::ImagePatches;

use super::decode::Rgb;
use super::patches::patchify_group;
use super::resample::bicubic;
use super::settings::ImageSettings;
use super::size::smart_resize_video;
use crate::VlmError;
use crate::config::section::Section;
use crate::files::{self, ModelDir};

/// A video as the vision tower and the prompt need it.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoPatches {
    /// Patch rows of all temporal groups.
    pub patches: Arc<ImagePatches>,
    /// The moment of every temporal group in seconds: the mean of its first and last frame.
    pub timestamps: Vec<f64>,
}

/// How videos become patches.
#[derive(Debug, Clone)]
pub struct VideoSettings {
    /// Patches, normalisation, and the range of pixels, which counts those of all frames.
    pub frames: ImageSettings,
    /// Frames looked at per second.
    pub fps: f64,
    /// At least so many frames are looked at, where the video has them.
    pub min_frames: usize,
    /// At most so many.
    pub max_frames: usize,
}

impl Default for VideoSettings {
    /// The published settings of Qwen3-VL.
    fn default() -> Self {
        Self {
            frames: ImageSettings {
                min_pixels: 4096,
                max_pixels: 25_165_824,
                ..ImageSettings::default()
            },
            fps: 2.0,
            min_frames: 4,
            max_frames: 768,
        }
    }
}

impl VideoSettings {
    /// Reads `video_preprocessor_config.json`, or the `video_processor` part of `processor_config.json`. `None` where
    /// the directory has neither: a model for pictures alone.
    ///
    /// # Errors
    /// A required key is absent, or a value makes no sense.
    pub fn from_dir(dir: &ModelDir) -> Result<Option<Self>, VlmError> {
        if let Some(path) = dir.find(&[files::VIDEO_PREPROCESSOR_CONFIG]) {
            let value = files::read_json(&path, files::CONFIG_LIMIT)?;
            return Self::from_json(&path, &value).map(Some);
        }
        let Some(path) = dir.find(&[files::PROCESSOR_CONFIG]) else {
            return Ok(None);
        };
        let value = files::read_json(&path, files::CONFIG_LIMIT)?;
        match value.get("video_processor") {
            Some(_) => Self::from_json(&path, &value).map(Some),
            None => Ok(None),
        }
    }

    /// The same for JSON in memory; `file` is named in errors. What the published files leave out has the values of the
    /// reference: 2 frames a second, 4 to 768 frames.
    pub fn from_json(file: &Path, value: &Value) -> Result<Self, VlmError> {
        // As many as a video file may have.
        const MOST: usize = 1 << 16;
        let root = Section::root(file, value)?;
        let section = root
            .child("video_processor", "video_processor")?
            .unwrap_or(root);
        let off = Self::default();
        let fps = match section.get("fps") {
            Some(_) => section.positive("fps")?,
            None => off.fps,
        };
        let count = |key: &str, default: usize| -> Result<usize, VlmError> {
            Ok(section.opt_size(key, 1..=MOST)?.unwrap_or(default))
        };
        let (min_frames, max_frames) = (
            count("min_frames", off.min_frames)?,
            count("max_frames", off.max_frames)?,
        );
        if min_frames > max_frames {
            let expected = format!("at least min_frames {min_frames}");
            return Err(section.bad("max_frames", max_frames, expected));
        }
        Ok(Self {
            frames: ImageSettings::from_section(&section)?,
            fps,
            min_frames,
            max_frames,
        })
    }

    /// The settings as `video_preprocessor_config.json` holds them.
    pub fn to_json(&self) -> Value {
        let mut value = self.frames.shared_json();
        value["video_processor_type"] = json!("Qwen3VLVideoProcessor");
        value["processor_class"] = json!("Qwen3VLProcessor");
        value["fps"] = json!(self.fps);
        value["min_frames"] = json!(self.min_frames);
        value["max_frames"] = json!(self.max_frames);
        value
    }

    /// Numbers of the frames that are looked at, spread evenly over a video of `total` frames.
    pub fn sample(&self, total: usize, fps: f64) -> Vec<usize> {
        let wanted = (total as f64 / fps * self.fps) as usize;
        let n = wanted.max(self.min_frames).min(self.max_frames).min(total);
        let last = total.saturating_sub(1);
        let step = last as f64 / n.saturating_sub(1).max(1) as f64;
        let place = |i: usize| match i + 1 == n && n > 1 {
            true => last,
            false => (i as f64 * step).round_ties_even() as usize,
        };
        (0..n).map(place).collect()
    }

    /// The frames that are looked at, and the height and width they get.
    fn plan(
        &self,
        name: &str,
        size: (usize, usize),
        total: usize,
        fps: f64,
    ) -> Result<(Vec<usize>, (usize, usize)), VlmError> {
        if !(fps.is_finite() && fps > 0.0) {
            let message = format!("says it shows {fps} frames per second; encode it again");
            return Err(VlmError::video(name, message));
        }
        let indices = self.sample(total, fps);
        let frames = &self.frames;
        let size = smart_resize_video(
            indices.len(),
            size,
            frames.temporal,
            frames.factor(),
            (frames.min_pixels, frames.max_pixels),
        )
        .map_err(|message| VlmError::video(name, message))?;
        Ok((indices, size))
    }

    /// Temporal groups, height and width in pixels that a video becomes. As [`VideoSettings::start`] otherwise.
    ///
    /// # Errors
    /// As [`VideoSettings::start`].
    pub fn resized(
        &self,
        name: &str,
        size: (usize, usize),
        total: usize,
        fps: f64,
    ) -> Result<[usize; 3], VlmError> {
        let (indices, (height, width)) = self.plan(name, size, total, fps)?;
        let groups = indices.len().div_ceil(self.frames.temporal);
        Ok([groups, height, width])
    }

    /// Begins a video of `total` frames of height and width `from`, `fps` a second; `name` is in every error.
    ///
    /// # Errors
    /// The frames have no size they could be resized to, or there are too few of them.
    pub fn start(
        &self,
        name: &str,
        from: (usize, usize),
        total: usize,
        fps: f64,
    ) -> Result<VideoBuilder, VlmError> {
        let (indices, size) = self.plan(name, from, total, fps)?;
        Ok(VideoBuilder {
            name: name.to_owned(),
            settings: self.frames.clone(),
            from,
            size,
            frames: Vec::with_capacity(indices.len()),
            indices,
            fps,
        })
    }
}

/// Takes the frames of a video one by one and keeps those that are looked at, resized.
#[derive(Debug)]
pub struct VideoBuilder {
    name: String,
    settings: ImageSettings,
    from: (usize, usize),
    size: (usize, usize),
    indices: Vec<usize>,
    fps: f64,
    frames: Vec<Rgb>,
}

impl VideoBuilder {
    /// Number of the next frame that is needed; `None` once all are there.
    pub fn wanted(&self) -> Option<usize> {
        self.indices.get(self.frames.len()).copied()
    }

    /// Takes frame [`VideoBuilder::wanted`].
    ///
    /// # Errors
    /// Its size is not that of the video.
    pub fn push(&mut self, frame: &Rgb) -> Result<(), VlmError> {
        if (frame.height, frame.width) != self.from {
            let message = format!(
                "a frame has {}x{} pixels, the video {}x{}",
                frame.width, frame.height, self.from.1, self.from.0
            );
            return Err(VlmError::video(&self.name, message));
        }
        self.frames.push(bicubic(frame, self.size.1, self.size.0));
        Ok(())
    }

    /// Cuts the frames into patches. The last one is repeated where they do not fill the last temporal group.
    ///
    /// # Errors
    /// Frames are missing.
    pub fn finish(self) -> Result<VideoPatches, VlmError> {
        if let Some(index) = self.wanted() {
            let message = format!("ends before frame {index}; is the file whole?");
            return Err(VlmError::video(&self.name, message));
        }
        let settings = &self.settings;
        let (rows, columns) = (self.size.0 / settings.patch, self.size.1 / settings.patch);
        let last = self.frames.len() - 1;
        let groups = self.frames.len().div_ceil(settings.temporal);
        let mut values = Vec::with_capacity(
            groups * rows * columns * 3 * settings.temporal * settings.patch * settings.patch,
        );
        let mut timestamps = Vec::with_capacity(groups);
        for group in 0..groups {
            let first = group * settings.temporal;
            let members: Vec<usize> = (first..first + settings.temporal)
                .map(|i| i.min(last))
                .collect();
            let frames: Vec<&Rgb> = members.iter().map(|i| &self.frames[*i]).collect();
            patchify_group(&frames, settings, &mut values);
            let moment = |i: usize| self.indices[members[i]] as f64 / self.fps;
            timestamps.push((moment(0) + moment(members.len() - 1)) / 2.0);
        }
        let patches = ImagePatches {
            key: self.key(),
            values,
            grid: [groups, rows, columns],
        };
        Ok(VideoPatches {
            patches: Arc::new(patches),
            timestamps,
        })
    }

    /// Hash of everything the patches are made from.
    fn key(&self) -> u64 {
        let mut hash = Sha256::new();
        hash.update(b"video");
        self.settings.hash_into(&mut hash);
        for frame in &self.frames {
            hash.update((frame.width as u64).to_le_bytes());
            hash.update((frame.height as u64).to_le_bytes());
            hash.update(&frame.pixels);
        }
        let digest = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        u64::from_le_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(shade: u8) -> Rgb {
        Rgb {
            width: 64,
            height: 32,
            pixels: vec![shade; 64 * 32 * 3],
        }
    }

    #[test]
    fn frames_are_spread_evenly_and_timed() {
        let settings = VideoSettings::default();
        // 3 seconds at 4 frames a second: 6 frames.
        assert_eq!(settings.sample(12, 4.0), [0, 2, 4, 7, 9, 11]);
        assert_eq!(settings.sample(3, 30.0), [0, 1, 2]);
        assert_eq!(settings.sample(100, 100.0), [0, 33, 66, 99]);
        assert_eq!(settings.sample(1, 1.0), [0]);
        assert!(settings.sample(0, 1.0).is_empty());
        assert_eq!(settings.sample(20_000, 25.0).len(), 768);
        let mut video = settings.start("v", (32, 64), 5, 10.0).unwrap();
        let mut taken = Vec::new();
        while let Some(index) = video.wanted() {
            taken.push(index);
            video.push(&frame(index as u8)).unwrap();
        }
        assert_eq!(taken, [0, 1, 3, 4]);
        let made = video.finish().unwrap();
        assert_eq!(made.patches.grid[0], 2);
        assert_eq!(made.timestamps.len(), 2);
        assert!((made.timestamps[0] - 0.05).abs() < 1e-12);
        assert!((made.timestamps[1] - 0.35).abs() < 1e-12);
    }

    #[test]
    fn an_odd_last_frame_is_repeated() {
        let settings = VideoSettings {
            min_frames: 3,
            ..VideoSettings::default()
        };
        let run = |shades: [u8; 3]| {
            let mut video = settings.start("v", (32, 64), 3, 30.0).unwrap();
            for shade in shades {
                video.push(&frame(shade)).unwrap();
            }
            video.finish().unwrap()
        };
        let made = run([1, 2, 3]);
        assert_eq!(made.patches.grid, [2, 2, 4]);
        let told = settings.resized("v", (32, 64), 3, 30.0).unwrap();
        assert_eq!(told, [2, 32, 64]);
        assert_eq!(made.patches.values.len(), made.patches.rows() * 1536);
        assert_eq!(made.timestamps[1], 2.0 / 30.0);
        let level = |shade: u8| (f32::from(shade) / 255.0 - 0.5) / 0.5;
        // Channel 0 of the first row: 256 values of the first frame, then of the second.
        let (first, second) = made.patches.values.split_at(made.patches.values.len() / 2);
        assert!((first[0] - level(1)).abs() < 1e-6 && (first[256] - level(2)).abs() < 1e-6);
        assert!((second[0] - level(3)).abs() < 1e-6 && (second[256] - level(3)).abs() < 1e-6);
        assert_ne!(made.patches.key, run([1, 2, 4]).patches.key);
        assert_eq!(made, run([1, 2, 3]));
    }

    #[test]
    fn unusable_videos_are_named() {
        let settings = VideoSettings::default();
        let fails = |size, total, fps| {
            settings
                .start("a.mp4", size, total, fps)
                .unwrap_err()
                .to_string()
        };
        assert!(fails((32, 64), 1, 2.0).starts_with("video a.mp4: has 1 frames"));
        assert!(fails((32, 64), 9, 0.0).contains("frames per second"));
        assert!(fails((1, 500), 9, 2.0).contains("500"));
        let mut video = settings.start("a.mp4", (32, 64), 9, 2.0).unwrap();
        assert!(
            video
                .push(&Rgb {
                    width: 32,
                    height: 64,
                    pixels: vec![0; 6144]
                })
                .is_err()
        );
        video.push(&frame(0)).unwrap();
        let text = video.finish().unwrap_err().to_string();
        assert!(text.contains("ends before frame"), "{text}");
    }

    #[test]
    fn files_of_both_forms_are_read() {
        let path = Path::new("video_preprocessor_config.json");
        let mut value = VideoSettings::default().to_json();
        let read = |value: &Value| VideoSettings::from_json(path, value);
        let nested = json!({"video_processor": value.clone()});
        assert_eq!(read(&nested).unwrap().frames.max_pixels, 25_165_824);
        for key in ["fps", "min_frames", "max_frames"] {
            value.as_object_mut().unwrap().remove(key);
        }
        let plain = read(&value).unwrap();
        assert_eq!(
            (plain.fps, plain.min_frames, plain.max_frames),
            (2.0, 4, 768)
        );
        value["min_frames"] = json!(900);
        assert!(
            read(&value)
                .unwrap_err()
                .to_string()
                .contains("min_frames 900")
        );
        value["min_frames"] = json!(4);
        value["fps"] = json!(-1);
        assert!(read(&value).unwrap_err().to_string().contains("`fps`"));
    }
}
