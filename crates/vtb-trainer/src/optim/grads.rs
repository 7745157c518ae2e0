//! Sums, norms and clipping of gradients.

use burn::tensor::{DType, Tensor};
use vtb_nn::lm::NamedTensors;

use super::host::read_all;
use crate::TrainError;

/// The norm of all gradients together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GradNorm {
    /// Square root of the sum of all squares; infinite or NaN when `bad` is not empty.
    pub norm: f64,
    /// Names of the gradients that hold something that is not finite (or whose squares overflow f32).
    pub bad: Vec<String>,
}

impl GradNorm {
    /// Fails with [`TrainError::NonFinite`] naming the first few bad gradients.
    pub fn require_finite(&self, step: u64) -> Result<(), TrainError> {
        if self.bad.is_empty() {
            return Ok(());
        }
        const SHOWN: usize = 3;
        let more = self.bad.len().saturating_sub(SHOWN);
        let mut names = self.bad[..self.bad.len() - more].join("`, `");
        names.push('`');
        if more > 0 {
            names.push_str(&format!(" and {more} more"));
        }
        Err(TrainError::NonFinite {
            what: format!("the gradient of `{names}"),
            step,
        })
    }
}

/// Adds `more` to `into`, name by name: gradient accumulation.
pub fn accumulate(into: &mut NamedTensors, more: NamedTensors) {
    for (name, grad) in more {
        // Taken out first: a tensor with one owner is added to in place.
        let sum = match into.remove(&name) {
            Some(sum) => sum + grad,
            None => grad,
        };
        into.insert(name, sum);
    }
}

/// Multiplies every tensor by `factor`.
pub fn scale(grads: NamedTensors, factor: f64) -> NamedTensors {
    grads
        .into_iter()
        .map(|(name, grad)| (name, grad * factor))
        .collect()
}

/// Global norm: squares summed in f32 per tensor on the device, one read, summed in f64 on the host.
pub fn global_norm(grads: &NamedTensors) -> Result<GradNorm, TrainError> {
    if let Some((name, grad)) = grads.iter().find(|(_, g)| g.dtype() != DType::F32) {
        let found = grad.dtype();
        return Err(TrainError::Tensors(format!(
            "gradient `{name}` is {found:?}; gradients have to be in F32"
        )));
    }
    if grads.is_empty() {
        return Ok(GradNorm::default());
    }
    let squares: Vec<Tensor<1>> = grads.values().map(|g| g.clone().square().sum()).collect();
    let squares = read_all([Tensor::cat(squares, 0)])?.concat();
    let sum: f64 = squares.iter().map(|x| f64::from(*x)).sum();
    let bad = grads
        .keys()
        .zip(&squares)
        .filter(|(_, square)| !square.is_finite())
        .map(|(name, _)| name.clone())
        .collect();
    Ok(GradNorm {
        norm: sum.sqrt(),
        bad,
    })
}

/// Scales gradients so that their global norm is at most `max_norm`, as torch's `clip_grad_norm_` does: by
/// `min(1, max_norm / (norm + 1e-6))`. Gradients that are not finite are left alone for the caller to refuse.
pub fn clip(grads: NamedTensors, norm: &GradNorm, max_norm: f64) -> NamedTensors {
    let factor = max_norm / (norm.norm + 1e-6);
    if norm.bad.is_empty() && factor < 1.0 {
        return scale(grads, factor);
    }
    grads
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn grads(parts: &[(&str, &[f32])]) -> NamedTensors {
        let device = Device::default();
        let tensor = |data: &[f32]| Tensor::from_floats(data, &device);
        parts
            .iter()
            .map(|(n, d)| (n.to_string(), tensor(d)))
            .collect()
    }

    fn values(grads: &NamedTensors) -> Vec<f32> {
        read_all(grads.values().cloned()).unwrap().concat()
    }

    #[test]
    fn the_norm_is_over_all_tensors_and_clipping_keeps_the_direction() {
        let grads = grads(&[("a", &[3.0]), ("b", &[0.0, 4.0])]);
        let norm = global_norm(&grads).unwrap();
        assert_eq!(norm.norm, 5.0);
        let clipped = values(&clip(grads.clone(), &norm, 1.0));
        for (got, want) in clipped.iter().zip([0.6, 0.0, 0.8]) {
            assert!((got - want).abs() < 1e-6, "{clipped:?}");
        }
        assert_eq!(values(&clip(grads, &norm, 6.0)), [3.0, 0.0, 4.0]);
    }

    #[test]
    fn what_is_not_finite_is_named() {
        let grads = grads(&[("a", &[1.0]), ("b", &[f32::NAN]), ("c", &[f32::INFINITY])]);
        let norm = global_norm(&grads).unwrap();
        assert_eq!(norm.bad, ["b", "c"]);
        let text = norm.require_finite(7).unwrap_err().to_string();
        assert!(text.contains("`b`, `c` is not finite at step 7"), "{text}");
    }

    #[test]
    fn accumulation_adds_by_name() {
        let mut sum = NamedTensors::new();
        accumulate(&mut sum, grads(&[("a", &[1.0])]));
        accumulate(&mut sum, grads(&[("a", &[2.0]), ("b", &[5.0])]));
        assert_eq!(values(&scale(sum, 0.5)), [1.5, 2.5]);
    }

    #[test]
    fn no_gradients_have_norm_zero() {
        assert_eq!(global_norm(&NamedTensors::new()).unwrap().norm, 0.0);
    }
}
