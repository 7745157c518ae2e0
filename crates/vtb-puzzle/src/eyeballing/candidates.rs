//! Exchangeable candidates.

use serde::{Deserialize, Serialize};

use super::callouts::place;
use super::{EyeballingParams, distance, snap};
use crate::dice::Dice;
use crate::error::{PuzzleError, Result};

/// A labelled point to choose. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Across.
    pub x: f64,
    /// Down.
    pub y: f64,
    /// Name, e.g. `A`.
    pub label: String,
}

impl Candidate {
    /// The point.
    #[must_use]
    pub fn at(&self) -> [f64; 2] {
        [self.x, self.y]
    }
}

/// Where candidates are scattered: an ellipse as large as the disc of
/// [`EyeballingParams::cluster_radius`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cluster {
    /// Middle, pixels.
    pub center: [f64; 2],
    /// Long axis, a vector of length 1.
    pub axis: [f64; 2],
    /// Long half axis over the disc's radius, at least 1.
    pub stretch: f64,
}

/// Scatters the candidates in `cluster`, none nearer to another than the tolerance; `None` when
/// they did not fit this time.
pub fn draw_candidates(
    params: &EyeballingParams,
    cluster: Cluster,
    dice: &mut Dice,
) -> Option<Vec<Candidate>> {
    const TRIES_PER_POINT: usize = 60;
    let Cluster {
        center,
        axis,
        stretch,
    } = cluster;
    let long = params.cluster_radius() * stretch;
    let short = params.cluster_radius() / stretch;
    let mut points: Vec<[f64; 2]> = Vec::with_capacity(params.candidates);
    for _ in 0..params.candidates {
        let fresh = (0..TRIES_PER_POINT).find_map(|_| {
            let [x, y] = dice.in_disc();
            let (along, aside) = (x * long, y * short);
            let point = snap([
                center[0] + along * axis[0] - aside * axis[1],
                center[1] + along * axis[1] + aside * axis[0],
            ]);
            let clear = points
                .iter()
                .all(|other| distance(*other, point) >= params.tolerance());
            clear.then_some(point)
        })?;
        points.push(fresh);
    }
    // Points placed late sit in the gaps between early ones: labels must not tell them apart.
    dice.shuffle(&mut points);
    let labels = params.labels.labels(points.len());
    let named = points.into_iter().zip(labels);
    Some(
        named
            .map(|([x, y], label)| Candidate { x, y, label })
            .collect(),
    )
}

/// Checks what every eyeballing scene must keep: number and labels of candidates, no overlap, all
/// inside the margin, with callouts room for the letters.
///
/// # Errors
/// [`PuzzleError::BadScene`].
pub fn require_legible(params: &EyeballingParams, candidates: &[Candidate]) -> Result<()> {
    let bad = |fault: String| Err(PuzzleError::BadScene(fault));
    let labels = params.labels.labels(params.candidates);
    if !candidates
        .iter()
        .map(|candidate| &candidate.label)
        .eq(&labels)
    {
        return bad(format!("candidates must be labelled {}", labels.join(", ")));
    }
    for (at, one) in candidates.iter().enumerate() {
        if !params.holds(one.at(), params.disc_radius()) {
            return bad(format!("candidate {} lies outside the margin", one.label));
        }
        let crowded = |other: &&Candidate| distance(one.at(), other.at()) < params.tolerance();
        if let Some(other) = candidates[at + 1..].iter().find(crowded) {
            return bad(format!(
                "candidates {} and {} overlap",
                one.label, other.label
            ));
        }
    }
    match params.callouts {
        true => place(params, candidates, None).map(drop),
        false => Ok(()),
    }
}

/// The one candidate whose violation (pixels from the true locus) is nil, and the least violation
/// of all others.
///
/// # Errors
/// [`PuzzleError::BadScene`] when none or several fit, or another comes closer than the tolerance.
pub fn index_of_answer(params: &EyeballingParams, violations: &[f64]) -> Result<(usize, f64)> {
    let bad = |fault: String| Err(PuzzleError::BadScene(fault));
    if !violations.iter().all(|violation| violation.is_finite()) {
        return bad("a coordinate is not a finite number".to_owned());
    }
    let Some((answer, least)) = violations
        .iter()
        .copied()
        .enumerate()
        .min_by(|a, b| a.1.total_cmp(&b.1))
    else {
        return bad("there are no candidates".to_owned());
    };
    // Coordinates are exact to 1/16 pixel.
    if least > 0.125 {
        return bad(format!(
            "no candidate fits: the nearest is {least:.2} pixels off"
        ));
    }
    let others = violations
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != answer);
    let runner_up = others
        .map(|(_, violation)| *violation)
        .fold(f64::INFINITY, f64::min);
    if runner_up < params.tolerance() {
        return bad(format!(
            "a second candidate is only {runner_up:.2} pixels off"
        ));
    }
    Ok((answer, runner_up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_draws_fit_at_every_count() {
        for candidates in 3..=8 {
            let params = EyeballingParams {
                candidates,
                ..EyeballingParams::default()
            };
            let mut dice = Dice::new(5, "fit");
            for stretch in [1.0, 1.6] {
                let cluster = Cluster {
                    center: [256.0, 256.0],
                    axis: [0.6, 0.8],
                    stretch,
                };
                let fits = (0..200)
                    .filter(|_| draw_candidates(&params, cluster, &mut dice).is_some())
                    .count();
                assert!(fits > 150, "{candidates} candidates: {fits} of 200");
            }
        }
    }

    #[test]
    fn answers_must_be_unique() {
        let params = EyeballingParams::default();
        assert_eq!(index_of_answer(&params, &[40.0, 0.0, 30.0]), Ok((1, 30.0)));
        for wrong in [&[40.0, 5.0, 30.0][..], &[0.0, 3.0], &[0.0, f64::NAN], &[]] {
            assert!(index_of_answer(&params, wrong).is_err(), "{wrong:?}");
        }
    }
}
