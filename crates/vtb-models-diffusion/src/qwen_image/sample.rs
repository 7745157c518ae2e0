//! From noise to a latent: Euler steps along the velocity, with guidance.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use vtb_nn::lm::AdapterState;
use vtb_nn::random::normals;
use vtb_nn::velocity::{FlowCondition, FlowRow, Latent, VelocityModel};

use super::packing::{grid_of, pack, unpack};
use crate::DiffusionError;

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

/// Standard normal noise of a latent, a function of the seed and the shape alone.
pub fn noise(shape: [usize; 4], seed: u64) -> Latent {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Latent {
        shape,
        values: normals(&mut rng, shape.iter().product()),
    }
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
    let mut latent = noise;
    for (step, pair) in sigmas.windows(2).enumerate() {
        let row = |condition: &Arc<FlowCondition>| FlowRow {
            noisy: latent.clone(),
            sigma: pair[0],
            condition: condition.clone(),
        };
        let velocity_of = |condition| -> Result<Latent, DiffusionError> {
            let found = model.velocity(&[row(condition)], AdapterState::On)?;
            let first = found.into_iter().next();
            first.ok_or_else(|| DiffusionError::input("the model answered no velocity"))
        };
        let mut velocity = velocity_of(condition)?;
        if let Some(guidance) = guidance {
            let negative = velocity_of(&guidance.negative)?;
            velocity = guided(&velocity, &negative, guidance, patch)?;
        }
        let dt = pair[1] - pair[0];
        for (x, v) in latent.values.iter_mut().zip(&velocity.values) {
            *x += dt * v;
        }
        if latent.values.iter().any(|x| !x.is_finite()) {
            return Err(DiffusionError::input(format!(
                "step {} of {} gave values that are not finite; with weights in f16 or damaged files this happens, use \
                 bf16 or f32",
                step + 1,
                sigmas.len() - 1
            )));
        }
        told(step, &latent);
    }
    Ok(latent)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_standard_and_repeats() {
        let latent = noise([16, 1, 33, 31], 5);
        assert_eq!(latent, noise([16, 1, 33, 31], 5));
        assert_ne!(latent, noise([16, 1, 33, 31], 6));
        let n = latent.values.len() as f64;
        let mean = latent.values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let var = latent.values.iter().map(|v| f64::from(v * v)).sum::<f64>() / n;
        assert!(
            mean.abs() < 0.03 && (var - 1.0).abs() < 0.03,
            "{mean} {var}"
        );
    }
}
