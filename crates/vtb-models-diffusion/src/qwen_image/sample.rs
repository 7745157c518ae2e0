//! Sampling with guidance.

use std::sync::Arc;

use vtb_nn::velocity::{FlowCondition, Latent, VelocityModel};

use super::packing::{grid_of, pack, unpack};
use crate::DiffusionError;
use crate::scheduler::{Euler, follow, velocity_of};

/// Classifier-free guidance: `v = v⁻ + scale·(v⁺ - v⁻)`.
#[derive(Debug, Clone)]
pub struct Guidance {
    /// Strength; 1 is none.
    pub scale: f32,
    /// Whether every token is brought back to the norm of `v⁺`, as diffusers does; DiffSynth-Studio does not.
    pub rescale: bool,
    /// What the result is to be unlike.
    pub negative: Arc<FlowCondition>,
}

/// Follows the velocity from `noise` through the noise levels `sigmas`, which end at 0. `patch` is the side of a token.
/// `told` hears of every step that is done.
///
/// # Errors
/// The model refuses its input, or a value is not finite.
pub fn denoise(
    model: &impl VelocityModel,
    condition: &Arc<FlowCondition>,
    guidance: Option<&Guidance>,
    noise: Latent,
    sigmas: &[f32],
    patch: usize,
    told: &mut dyn FnMut(usize, &Latent),
) -> Result<Latent, DiffusionError> {
    let mut velocity = |latent: &Latent, sigma| -> Result<Latent, DiffusionError> {
        let positive = velocity_of(model, latent, sigma, condition)?;
        let Some(guidance) = guidance else {
            return Ok(positive);
        };
        let negative = velocity_of(model, latent, sigma, &guidance.negative)?;
        guided(&positive, &negative, guidance, patch)
    };
    follow(&mut Euler::new(sigmas.to_vec()), noise, &mut velocity, told)
}

fn guided(
    positive: &Latent,
    negative: &Latent,
    guidance: &Guidance,
    patch: usize,
) -> Result<Latent, DiffusionError> {
    let pairs = positive.values.iter().zip(&negative.values);
    let combined = Latent {
        shape: positive.shape,
        values: pairs.map(|(p, n)| n + guidance.scale * (p - n)).collect(),
    };
    if !guidance.rescale {
        return Ok(combined);
    }
    let channels = positive.shape[0];
    let grid = grid_of(positive, channels, patch)?;
    let (mut wanted, mut tokens) = (Vec::new(), Vec::new());
    pack(positive, patch, &mut wanted);
    pack(&combined, patch, &mut tokens);
    let width = channels * patch * patch;
    let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
    for (token, wanted) in tokens
        .chunks_exact_mut(width)
        .zip(wanted.chunks_exact(width))
    {
        let factor = norm(wanted) / norm(token);
        for value in token {
            *value *= factor;
        }
    }
    Ok(unpack(&tokens, grid, channels, patch))
}
