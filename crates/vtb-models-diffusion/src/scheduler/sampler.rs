//! From noise to a latent along a velocity.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use vtb_nn::lm::AdapterState;
use vtb_nn::random::normals;
use vtb_nn::velocity::{FlowCondition, FlowRow, Latent, VelocityModel};

use crate::DiffusionError;

/// A way through the noise levels. Values are the state of a latent, flat.
pub trait Sampler {
    /// Number of steps.
    fn steps(&self) -> usize;

    /// Noise level that the model is told at the beginning of a step.
    fn level(&self, step: usize) -> f32;

    /// Moves the latent on, given the velocity at the beginning of `step`. Steps are taken in order.
    fn advance(&mut self, step: usize, latent: &mut [f32], velocity: &[f32]);
}

/// Straight steps: `x += (σ' - σ)·v`.
#[derive(Debug, Clone)]
pub struct Euler {
    sigmas: Vec<f32>,
}

impl Euler {
    /// Through `sigmas`, of which the last is where sampling ends.
    pub fn new(sigmas: Vec<f32>) -> Self {
        Self { sigmas }
    }
}

impl Sampler for Euler {
    fn steps(&self) -> usize {
        self.sigmas.len().saturating_sub(1)
    }

    fn level(&self, step: usize) -> f32 {
        self.sigmas[step]
    }

    fn advance(&mut self, step: usize, latent: &mut [f32], velocity: &[f32]) {
        let dt = self.sigmas[step + 1] - self.sigmas[step];
        for (x, v) in latent.iter_mut().zip(velocity) {
            *x += dt * v;
        }
    }
}

/// Standard normal noise of a latent, a function of the seed and the shape alone.
pub fn noise(shape: [usize; 4], seed: u64) -> Latent {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Latent {
        shape,
        values: normals(&mut rng, shape.iter().product()),
    }
}

/// The velocity of one sample, with the adapter.
///
/// # Errors
/// The model refuses its input.
pub(crate) fn velocity_of(
    model: &impl VelocityModel,
    noisy: &Latent,
    sigma: f32,
    condition: &Arc<FlowCondition>,
) -> Result<Latent, DiffusionError> {
    let row = FlowRow {
        noisy: noisy.clone(),
        sigma,
        condition: condition.clone(),
    };
    let found = model.velocity(&[row], AdapterState::On)?;
    let first = found.into_iter().next();
    first.ok_or_else(|| DiffusionError::input("the model answered no velocity"))
}

/// Follows `velocity`, a function of the latent and its noise level, from `noise` to the end. `told` hears of every step
/// that is done.
///
/// # Errors
/// As `velocity`, or a value is not finite.
pub fn follow(
    sampler: &mut dyn Sampler,
    noise: Latent,
    velocity: &mut dyn FnMut(&Latent, f32) -> Result<Latent, DiffusionError>,
    told: &mut dyn FnMut(usize, &Latent),
) -> Result<Latent, DiffusionError> {
    let mut latent = noise;
    for step in 0..sampler.steps() {
        let v = velocity(&latent, sampler.level(step))?;
        sampler.advance(step, &mut latent.values, &v.values);
        if latent.values.iter().any(|x| !x.is_finite()) {
            return Err(DiffusionError::input(format!(
                "step {} of {} gave values that are not finite; with weights in f16 or damaged files this happens, use \
                 bf16 or f32",
                step + 1,
                sampler.steps()
            )));
        }
        told(step, &latent);
    }
    Ok(latent)
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
