//! Noisy samples, and the squared error of velocities.

use std::ops::Range;

use vtb_nn::velocity::Latent;

use crate::objectives::ObjectiveError;

/// What a row's velocity is compared with.
#[derive(Debug, Clone, Copy)]
pub struct FlowTarget<'a> {
    /// The clean sample `x0`.
    pub clean: &'a Latent,
    /// The noise `n` of its noisy version, in the same shape.
    pub noise: &'a Latent,
    /// What the squared error is multiplied by.
    pub weight: f64,
    /// Leading frames that are given clean and do not count.
    pub clean_frames: usize,
}

/// Errors of one row.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RowLoss {
    /// Weight times mean squared error.
    pub loss: f64,
    /// Mean squared error.
    pub mse: f64,
}

/// A micro-batch's share of the step's loss.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowLoss {
    /// Errors of every row, not divided by the rows of the step.
    pub rows: Vec<RowLoss>,
    /// Derivative of the step's loss by each value of each velocity; 0 in clean frames.
    pub gradients: Vec<Latent>,
}

/// `(1-σ)·x0 + σ·n`, but for the clean frames, which stay `x0`. Both latents have one shape.
pub fn noisy(clean: &Latent, noise: &Latent, sigma: f64, clean_frames: usize) -> Latent {
    let mut mixed = clean.clone();
    for range in counted(clean.shape, clean_frames) {
        let pairs = mixed.values[range.clone()]
            .iter_mut()
            .zip(&noise.values[range]);
        for (x, n) in pairs {
            *x = ((1.0 - sigma) * f64::from(*x) + sigma * f64::from(*n)) as f32;
        }
    }
    mixed
}

/// `w·mean((v - (n - x0))²)` of every row over the frames after its clean ones; sums run in f64.
///
/// # Errors
/// Not one velocity per target, latents of a row that differ in shape, or a row whose every frame is clean.
pub fn row_losses(
    predicted: &[Latent],
    targets: &[FlowTarget<'_>],
) -> Result<Vec<RowLoss>, ObjectiveError> {
    check(predicted, targets)?;
    Ok(predicted
        .iter()
        .zip(targets)
        .map(|(v, t)| row_loss(v, t))
        .collect())
}

/// The same, with the derivative of the step's loss: the mean over its `step_rows` rows, however they are cut into
/// micro-batches.
///
/// # Errors
/// Those of [`row_losses`], or `step_rows` is 0.
pub fn flow_loss(
    predicted: &[Latent],
    targets: &[FlowTarget<'_>],
    step_rows: usize,
) -> Result<FlowLoss, ObjectiveError> {
    let rows = row_losses(predicted, targets)?;
    if step_rows == 0 && !rows.is_empty() {
        return Err(ObjectiveError::Empty("the step's rows"));
    }
    let gradient = |(v, t): (&Latent, &FlowTarget<'_>)| {
        let factor = 2.0 * t.weight / (count(v.shape, t.clean_frames) as f64 * step_rows as f64);
        let mut gradient = Latent::zeros(v.shape);
        for i in counted(v.shape, t.clean_frames).flatten() {
            gradient.values[i] = (factor * difference(v, t, i)) as f32;
        }
        gradient
    };
    let gradients = predicted.iter().zip(targets).map(gradient).collect();
    Ok(FlowLoss { rows, gradients })
}

fn row_loss(v: &Latent, target: &FlowTarget<'_>) -> RowLoss {
    let squares = counted(v.shape, target.clean_frames)
        .flatten()
        .map(|i| difference(v, target, i).powi(2));
    let mse = squares.sum::<f64>() / count(v.shape, target.clean_frames) as f64;
    RowLoss {
        loss: target.weight * mse,
        mse,
    }
}

fn difference(v: &Latent, target: &FlowTarget<'_>, i: usize) -> f64 {
    let slope = f64::from(target.noise.values[i]) - f64::from(target.clean.values[i]);
    f64::from(v.values[i]) - slope
}

/// Places of the values that count: of every channel the frames after the clean ones.
fn counted(shape: [usize; 4], clean_frames: usize) -> impl Iterator<Item = Range<usize>> {
    let [channels, frames, height, width] = shape;
    let (frame, clip) = (height * width, frames * height * width);
    let skipped = clean_frames.min(frames) * frame;
    (0..channels).map(move |c| c * clip + skipped..(c + 1) * clip)
}

/// Their number.
fn count(shape: [usize; 4], clean_frames: usize) -> usize {
    let [channels, frames, height, width] = shape;
    channels * frames.saturating_sub(clean_frames) * height * width
}

fn check(predicted: &[Latent], targets: &[FlowTarget<'_>]) -> Result<(), ObjectiveError> {
    if predicted.len() != targets.len() {
        return Err(ObjectiveError::Rows {
            what: "velocities",
            found: predicted.len(),
            expected: targets.len(),
        });
    }
    for (row, (v, target)) in predicted.iter().zip(targets).enumerate() {
        let shape = target.clean.shape;
        for (what, latent) in [
            ("the sample", target.clean),
            ("the noise", target.noise),
            ("the velocity", v),
        ] {
            if latent.shape != shape || !latent.is_whole() {
                return Err(ObjectiveError::Latent {
                    row,
                    what,
                    values: latent.values.len(),
                    found: latent.shape,
                    expected: shape,
                });
            }
        }
        if count(shape, target.clean_frames) == 0 {
            return Err(ObjectiveError::AllClean {
                row,
                shape,
                clean_frames: target.clean_frames,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latent(shape: [usize; 4], value: impl Fn(usize) -> f32) -> Latent {
        let values = (0..shape.iter().product()).map(value).collect();
        Latent { shape, values }
    }

    /// Two channels, three frames of 1×2.
    const CLIP: [usize; 4] = [2, 3, 1, 2];

    #[test]
    fn noise_is_mixed_in_but_for_clean_frames() {
        let (clean, noise) = (
            latent(CLIP, |i| i as f32),
            latent(CLIP, |i| 100.0 + i as f32),
        );
        assert_eq!(noisy(&clean, &noise, 1.0, 0), noise);
        assert_eq!(noisy(&clean, &noise, 0.0, 0), clean);
        let mixed = noisy(&clean, &noise, 0.25, 1);
        for (i, x) in mixed.values.iter().enumerate() {
            let given = i % 6 < 2;
            assert_eq!(*x, i as f32 + if given { 0.0 } else { 25.0 }, "{i}");
        }
    }

    #[test]
    fn it_is_the_weighted_mean_over_the_frames_that_count() {
        let (clean, noise) = (latent(CLIP, |_| 1.0), latent(CLIP, |_| 3.0));
        // The slope is 2 everywhere; clean frames are far off and do not matter.
        let v = latent(CLIP, |i| if i % 6 < 2 { 1e9 } else { 2.0 + (i % 6) as f32 });
        let target = |weight| FlowTarget {
            clean: &clean,
            noise: &noise,
            weight,
            clean_frames: 1,
        };
        let found = flow_loss(&[v.clone(), v.clone()], &[target(0.5), target(0.0)], 4).unwrap();
        let mse = (4.0 + 9.0 + 16.0 + 25.0) / 4.0;
        assert_eq!(
            found.rows[0],
            RowLoss {
                loss: 0.5 * mse,
                mse
            }
        );
        assert_eq!(found.rows[1], RowLoss { loss: 0.0, mse });
        for (i, g) in found.gradients[0].values.iter().enumerate() {
            let off = if i % 6 < 2 { 0.0 } else { (i % 6) as f32 };
            assert_eq!(*g, 2.0 * 0.5 * off / (8.0 * 4.0), "{i}");
        }
        assert!(found.gradients[1].values.iter().all(|g| *g == 0.0));
        assert_eq!(row_losses(&[v], &[target(0.5)]).unwrap(), found.rows[..1]);
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let shape = [3, 2, 2, 3];
        let wave = |k: f32| latent(shape, |i| (k * i as f32 + k).sin());
        let (clean, noise, v) = (wave(0.7), wave(1.3), wave(2.1));
        let target = FlowTarget {
            clean: &clean,
            noise: &noise,
            weight: 1.4,
            clean_frames: 1,
        };
        let found = flow_loss(std::slice::from_ref(&v), &[target], 1).unwrap();
        let loss = |v: Latent| row_losses(&[v], &[target]).unwrap()[0].loss;
        for i in 0..v.values.len() {
            let moved = |by: f32| {
                let mut v = v.clone();
                v.values[i] += by;
                loss(v)
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            let ours = f64::from(found.gradients[0].values[i]);
            assert!((slope - ours).abs() < 1e-5, "{i}: {slope} {ours}");
        }
    }

    #[test]
    fn micro_batches_add_up_to_the_step() {
        let latents = |k: f32| -> Vec<Latent> {
            let of = |r: usize| latent([1, 1, 2, 2 + r], |i| (k * i as f32 + r as f32).cos());
            (0..4).map(of).collect()
        };
        let (clean, noise, v) = (latents(0.3), latents(1.1), latents(1.9));
        let target = |r: usize| FlowTarget {
            clean: &clean[r],
            noise: &noise[r],
            weight: 0.5 + r as f64,
            clean_frames: 0,
        };
        let targets: Vec<_> = (0..4).map(target).collect();
        let whole = flow_loss(&v, &targets, 4).unwrap();
        for cut in 0..=4 {
            let a = flow_loss(&v[..cut], &targets[..cut], 4).unwrap();
            let b = flow_loss(&v[cut..], &targets[cut..], 4).unwrap();
            assert_eq!([a.rows, b.rows].concat(), whole.rows);
            assert_eq!([a.gradients, b.gradients].concat(), whole.gradients);
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let (clean, noise) = (latent(CLIP, |_| 0.0), latent(CLIP, |_| 0.0));
        let target = FlowTarget {
            clean: &clean,
            noise: &noise,
            weight: 1.0,
            clean_frames: 0,
        };
        let text = |v: Latent, target| row_losses(&[v], &[target]).unwrap_err().to_string();
        let turned = text(latent([2, 3, 2, 1], |_| 0.0), target);
        assert!(
            turned.contains("row 0") && turned.contains("the velocity"),
            "{turned}"
        );
        let mut short = clean.clone();
        short.values.pop();
        assert!(text(short, target).contains("11 values"));
        let all = FlowTarget {
            clean_frames: 3,
            ..target
        };
        assert!(text(clean.clone(), all).contains("clean"));
        assert!(row_losses(&[], &[target]).is_err());
        assert!(flow_loss(std::slice::from_ref(&clean), &[target], 0).is_err());
        assert!(flow_loss(&[], &[], 0).unwrap().rows.is_empty());
    }
}
