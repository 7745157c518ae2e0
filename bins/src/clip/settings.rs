//! What a clip is asked for with, and whether it can be made at all.

use serde_json::{Map, Value, json};
use vtb_data::video::{VideoSettings, VideoWriter};
use vtb_models_diffusion::qwen_image::sizes::covered;
use vtb_models_diffusion::wan::{
    FRAME_SCALE, MAX_POSITION, SIDE_STEP, Solver, VideoSampling, check_frames, check_size,
    latent_shape,
};
use vtb_models_vlm::processor::Rgb;

use crate::ending::Usage;

/// Most pixels of a clip, over all frames.
const MAX_PIXELS: usize = 1 << 30;

/// How clips are made; the same for every row of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipSettings {
    /// What results are to be unlike.
    pub negative_prompt: String,
    /// Strength of guidance; 1 and below is none.
    pub cfg: f32,
    /// Steps from noise to the clip, at least 2.
    pub steps: usize,
    /// Shift of the noise levels.
    pub shift: f64,
    /// How a step is taken.
    pub solver: Solver,
    /// Seed of the noise.
    pub seed: u64,
    /// Frames: 4k + 1.
    pub frames: usize,
    /// Width and height, multiples of 32; without it as [`portrait`] says.
    pub size: Option<(usize, usize)>,
    /// Frames per second.
    pub fps: f64,
}

/// 480x896, or lying for a picture that is wider than high.
pub fn portrait(width: usize, height: usize) -> (usize, usize) {
    match width > height {
        true => (896, 480),
        false => (480, 896),
    }
}

impl ClipSettings {
    /// Checks what needs neither a picture nor a model.
    ///
    /// # Errors
    /// [`Usage`]: too few steps, a number that makes no sense, frames or a size that are not possible.
    pub fn check(&self) -> anyhow::Result<()> {
        let refuse = |why: String| Err(Usage(why).into());
        if self.steps < 2 {
            return refuse(format!(
                "--steps {} is too few: give at least 2",
                self.steps
            ));
        }
        if !self.cfg.is_finite() {
            return refuse(format!("--cfg {} is no number", self.cfg));
        }
        if !(self.shift > 0.0 && self.shift.is_finite()) {
            return refuse(format!("--shift {} must be above 0", self.shift));
        }
        if let Err(fault) = VideoWriter::new(VideoSettings::at(self.fps)) {
            return refuse(format!("--fps: {fault}"));
        }
        check_frames(self.frames).map_err(|e| Usage(format!("--frames: {e}")))?;
        // Of a portrait and one that lies the numbers are the same.
        let (width, height) = self.size.unwrap_or_else(|| portrait(1, 1));
        check_size(width, height).map_err(|e| Usage(format!("--size: {e}")))?;
        let pixels = width.saturating_mul(height).saturating_mul(self.frames);
        if pixels > MAX_PIXELS {
            let frames = self.frames;
            return refuse(format!(
                "{frames} frames of {width}x{height} are more than {MAX_PIXELS} pixels; give fewer or smaller ones"
            ));
        }
        let [_, frames, rows, columns] = latent_shape(1, self.frames, width, height);
        if frames.max(rows / 2).max(columns / 2) > MAX_POSITION {
            return refuse(format!(
                "the model has {MAX_POSITION} positions along time and along either side: at most {} frames, and sides of \
                 at most {} pixels",
                (MAX_POSITION - 1) * FRAME_SCALE + 1,
                MAX_POSITION * SIDE_STEP
            ));
        }
        Ok(())
    }

    /// Width and height of a clip that starts from a picture of this width and height.
    pub fn size_for(&self, width: usize, height: usize) -> (usize, usize) {
        self.size.unwrap_or_else(|| portrait(width, height))
    }

    /// The picture as the clip's first frame: scaled until it covers it, the middle kept.
    pub fn first_frame(&self, picture: &Rgb) -> Rgb {
        let (width, height) = self.size_for(picture.width, picture.height);
        covered(picture, width, height)
    }

    /// Whether there is guidance.
    pub fn guides(&self) -> bool {
        self.cfg > 1.0
    }

    /// As the solver wants it.
    pub fn sampling(&self) -> VideoSampling {
        VideoSampling {
            solver: self.solver,
            steps: self.steps,
            shift: self.shift,
            cfg: self.cfg,
        }
    }

    /// What results depend on, by the names of the flags.
    pub fn recorded(&self) -> Map<String, Value> {
        let size = self.size.map(|(width, height)| format!("{width}x{height}"));
        let pairs = [
            ("negative-prompt", json!(self.negative_prompt)),
            ("cfg", json!(self.cfg)),
            ("steps", json!(self.steps)),
            ("shift", json!(self.shift)),
            ("solver", json!(self.solver)),
            ("seed", json!(self.seed)),
            ("frames", json!(self.frames)),
            ("size", json!(size)),
            ("fps", json!(self.fps)),
        ];
        pairs
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect()
    }
}
