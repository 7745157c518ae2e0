//! The joint between flow-matching models and trainers.
//!
//! A trainer knows latents, noise levels and conditions on the host; a model answers with velocities. The path between
//! clean data `x0` and noise `n` is straight, `x = (1-σ)·x0 + σ·n`, and the velocity is its slope, `n - x0`. Objectives
//! are functions of the predicted velocity and hand back their derivative, so that one backward pass serves every
//! weighting and every loss.

use std::sync::Arc;

use crate::NnError;
use crate::lm::{AdapterState, NamedTensors};
use crate::trainable::Trainable;

/// A picture or clip in the space of an autoencoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Latent {
    /// Channels, frames, height, width.
    pub shape: [usize; 4],
    /// Row-major values, as many as the shape says.
    pub values: Vec<f32>,
}

impl Latent {
    /// A latent of zeros.
    pub fn zeros(shape: [usize; 4]) -> Self {
        Self {
            shape,
            values: vec![0.0; shape.iter().product()],
        }
    }

    /// Whether there are as many values as the shape says.
    pub fn is_whole(&self) -> bool {
        let count = self
            .shape
            .iter()
            .try_fold(1usize, |n, side| n.checked_mul(*side));
        count == Some(self.values.len())
    }

    /// Number of values of one frame of one channel.
    pub fn frame_len(&self) -> usize {
        self.shape[2] * self.shape[3]
    }
}

/// Hidden states of an encoded prompt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TextStates {
    /// Number of tokens.
    pub rows: usize,
    /// Width of a state.
    pub width: usize,
    /// Row-major `[rows, width]`.
    pub values: Vec<f32>,
}

/// What a sample is conditioned on; the same at every noise level.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FlowCondition {
    /// The prompt, never padded.
    pub text: TextStates,
    /// Clean latents of the pictures to edit, in order.
    pub references: Vec<Latent>,
    /// How many leading frames of the sample are given clean (video from a picture: 1). They have noise level 0, and
    /// the velocity there means nothing.
    pub clean_frames: usize,
}

/// One sample of a pass.
#[derive(Debug, Clone)]
pub struct FlowRow {
    /// `(1-σ)·x0 + σ·n`, but for the clean frames.
    pub noisy: Latent,
    /// Noise level σ in 0..=1.
    pub sigma: f32,
    /// Prompt and references.
    pub condition: Arc<FlowCondition>,
}

/// How to run a training pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct FlowBackwardOptions {
    /// Seed of the dropout masks; `None` disables dropout.
    pub dropout_seed: Option<u64>,
    /// Keep only block inputs and recompute each block in the backward pass.
    pub recompute: bool,
}

/// Maps the predicted velocities of a batch to the derivative of the loss by each of their values.
pub type VelocityGradient<'a> = dyn FnMut(&[Latent]) -> Result<Vec<Latent>, NnError> + 'a;

/// A model of velocities that can be sampled from and trained.
pub trait VelocityModel: Trainable {
    /// Predicted velocity of every row, in the shape of its latent, outside autodiff.
    ///
    /// # Errors
    /// A row does not fit the model: wrong channels, sides that cannot be cut into tokens, text of another width.
    fn velocity(&self, rows: &[FlowRow], adapter: AdapterState) -> Result<Vec<Latent>, NnError>;

    /// One forward and backward pass. `objective` is called once with the velocities; the gradients of all trainable
    /// parameters come back by name.
    ///
    /// # Errors
    /// As [`VelocityModel::velocity`]; or the objective fails or answers other shapes.
    fn backward(
        &self,
        rows: &[FlowRow],
        options: &FlowBackwardOptions,
        objective: &mut VelocityGradient<'_>,
    ) -> Result<NamedTensors, NnError>;
}
