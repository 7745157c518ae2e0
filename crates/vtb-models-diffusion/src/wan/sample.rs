//! From noise to the latent of a clip, with guidance and a clean first frame.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vtb_nn::velocity::{FlowCondition, Latent, TextStates, VelocityModel};

use crate::DiffusionError;
use crate::scheduler::{Euler, Sampler, UniPc, follow, shifted_levels, velocity_of};

/// How noise levels are walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// Predictor and corrector of order 2, at whole timesteps, as diffusers has it.
    #[default]
    #[serde(rename = "unipc")]
    UniPc,
    /// Straight steps, as DiffSynth-Studio has it.
    Euler,
}

/// How a clip is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VideoSampling {
    /// Way through the noise levels.
    pub solver: Solver,
    /// Steps.
    pub steps: usize,
    /// How far noise levels are moved up; 5 as published.
    pub shift: f64,
    /// Guidance, `v = v⁻ + cfg·(v⁺ - v⁻)`; 1 is none.
    pub cfg: f32,
}

impl VideoSampling {
    /// The way through the noise levels.
    ///
    /// # Errors
    /// No steps, or a shift or guidance that is not possible.
    pub fn sampler(&self) -> Result<Box<dyn Sampler>, DiffusionError> {
        if !self.cfg.is_finite() {
            return Err(DiffusionError::input(format!(
                "a guidance of {} is no number",
                self.cfg
            )));
        }
        Ok(match self.solver {
            Solver::UniPc => Box::new(UniPc::new(self.steps, self.shift)?),
            Solver::Euler => {
                let levels = shifted_levels(self.steps, 0.0, self.shift)?;
                let levels = levels.into_iter().map(|s| s as f32).collect();
                Box::new(Euler::new(levels))
            }
        })
    }
}

/// What the transformer needs for a clip.
#[derive(Debug, Clone)]
pub struct VideoInputs {
    /// Latent of the first picture, one frame; none for clips from text alone.
    pub first: Option<Latent>,
    /// The prompt.
    pub text: TextStates,
    /// What the result is to be unlike; without it there is no guidance.
    pub negative: Option<Arc<TextStates>>,
    /// Shape of the latent: channels, frames, height, width in cells.
    pub shape: [usize; 4],
}

/// Draws the latent of a clip. `told` hears of every step that is done.
///
/// # Errors
/// Noise or first frame have another shape than asked for, settings that are not possible, the model refuses its input, or
/// a value is not finite.
pub fn video_latent(
    inputs: &VideoInputs,
    model: &impl VelocityModel,
    sampling: &VideoSampling,
    noise: Latent,
    told: &mut dyn FnMut(usize, &Latent),
) -> Result<Latent, DiffusionError> {
    if noise.shape != inputs.shape || !noise.is_whole() {
        return Err(DiffusionError::input(format!(
            "noise of shape {:?} was given, the output needs {:?}",
            noise.shape, inputs.shape
        )));
    }
    let [channels, _, height, width] = inputs.shape;
    if let Some(first) = &inputs.first
        && (first.shape != [channels, 1, height, width] || !first.is_whole())
    {
        return Err(DiffusionError::input(format!(
            "the first picture has a latent of shape {:?}, a clip of shape {:?} needs {:?}",
            first.shape,
            inputs.shape,
            [channels, 1, height, width]
        )));
    }
    let condition = |text: &TextStates| {
        Arc::new(FlowCondition {
            text: text.clone(),
            references: Vec::new(),
            clean_frames: usize::from(inputs.first.is_some()),
        })
    };
    let positive = condition(&inputs.text);
    let guides = inputs.negative.as_deref().filter(|_| sampling.cfg > 1.0);
    let negative = guides.map(condition);
    let mut velocity = |latent: &Latent, sigma| -> Result<Latent, DiffusionError> {
        let seen = with_first(latent.clone(), inputs.first.as_ref());
        let mut v = velocity_of(model, &seen, sigma, &positive)?;
        if let Some(negative) = &negative {
            let unlike = velocity_of(model, &seen, sigma, negative)?;
            for (v, unlike) in v.values.iter_mut().zip(&unlike.values) {
                *v = unlike + sampling.cfg * (*v - unlike);
            }
        }
        Ok(v)
    };
    let mut sampler = sampling.sampler()?;
    let latent = follow(sampler.as_mut(), noise, &mut velocity, told)?;
    Ok(with_first(latent, inputs.first.as_ref()))
}

/// The latent with its first frame as given.
fn with_first(mut latent: Latent, first: Option<&Latent>) -> Latent {
    let Some(first) = first else {
        return latent;
    };
    let (clip, frame) = (latent.shape[1] * latent.frame_len(), latent.frame_len());
    let planes = first.values.chunks_exact(frame.max(1));
    for (to, from) in latent.values.chunks_exact_mut(clip.max(1)).zip(planes) {
        to[..frame].copy_from_slice(from);
    }
    latent
}
