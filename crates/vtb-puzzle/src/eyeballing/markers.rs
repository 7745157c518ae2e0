//! How candidates and anchors look.

use serde::{Deserialize, Serialize};

use super::callouts::{Callout, leader_width, letter_size, place};
use super::{Candidate, EyeballingParams};
use crate::draw::{Canvas, Rgb};
use crate::error::Result;

/// Colour scheme. The answer is marked red in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// Dark lines on white.
    Light,
    /// Brown lines on cream.
    Paper,
    /// Light lines on near black.
    Dark,
}

impl Theme {
    /// Background.
    #[must_use]
    pub fn page(self) -> Rgb {
        match self {
            Self::Light => [255, 255, 255],
            Self::Paper => [250, 243, 228],
            Self::Dark => [24, 27, 34],
        }
    }

    /// Figure lines and outlines.
    #[must_use]
    pub fn ink(self) -> Rgb {
        match self {
            Self::Light => [32, 32, 32],
            Self::Paper => [84, 60, 40],
            Self::Dark => [222, 224, 228],
        }
    }

    /// Construction lines of the solution.
    #[must_use]
    pub fn construction(self) -> Rgb {
        match self {
            Self::Light => [120, 120, 120],
            Self::Paper => [150, 126, 104],
            Self::Dark => [140, 146, 156],
        }
    }

    /// Inside of a candidate's disc.
    #[must_use]
    pub fn fill(self) -> Rgb {
        match self {
            Self::Light => [255, 255, 255],
            Self::Paper => [255, 252, 244],
            Self::Dark => [52, 57, 68],
        }
    }
}

const ANSWER_OUTLINE: Rgb = [198, 24, 24];
const ANSWER_FILL: Rgb = [255, 220, 220];

/// Draws all candidates, the one with index `answer` (if any) in red; call it last.
pub fn draw_markers(
    canvas: &mut Canvas,
    params: &EyeballingParams,
    candidates: &[Candidate],
    answer: Option<usize>,
) {
    let radius = params.marker_radius;
    let (width, size) = (0.3 * radius, 1.35 * radius);
    for (at, candidate) in candidates.iter().enumerate() {
        let (outline, fill, letter) = match answer == Some(at) {
            true => (ANSWER_OUTLINE, ANSWER_FILL, [0, 0, 0]),
            false => (params.theme.ink(), params.theme.fill(), params.theme.ink()),
        };
        // The outline lies inside the radius, so that markers keep the distance they are given.
        canvas.ring(candidate.at(), radius - width / 2.0, width, outline, fill);
        canvas.label(candidate.at(), &candidate.label, size, letter);
    }
}

/// Draws all candidates as small dots with their letters at the ends of thin lines; the one with
/// index `answer` (if any) in red. Call it last.
pub fn draw_callouts(
    canvas: &mut Canvas,
    params: &EyeballingParams,
    candidates: &[Candidate],
    callouts: &[Callout],
    answer: Option<usize>,
) {
    let radius = params.disc_radius();
    let ink = params.theme.ink();
    for callout in callouts {
        canvas.polyline(&callout.leader, leader_width(params), ink);
    }
    for (at, candidate) in candidates.iter().enumerate() {
        // So much red survives when the picture is made smaller.
        let (width, outline, fill) = match answer == Some(at) {
            true => (0.5 * radius, ANSWER_OUTLINE, ANSWER_FILL),
            false => (0.3 * radius, ink, params.theme.fill()),
        };
        canvas.ring(candidate.at(), radius - width / 2.0, width, outline, fill);
    }
    for (candidate, callout) in candidates.iter().zip(callouts) {
        canvas.label(callout.letter, &candidate.label, letter_size(params), ink);
    }
}

/// Draws all candidates in the style of the parameters, the one with index `answer` (if any) in
/// red; call it last. `figure` draws what else the picture of the question shows: letters beside
/// their dots keep off it.
///
/// # Errors
/// [`crate::PuzzleError::BadScene`] when such letters find no room; never for candidates that
/// [`require_legible`](super::require_legible) accepted.
pub fn draw_choices(
    canvas: &mut Canvas,
    params: &EyeballingParams,
    candidates: &[Candidate],
    answer: Option<usize>,
    figure: impl FnOnce(&mut Canvas),
) -> Result<()> {
    if !params.callouts {
        draw_markers(canvas, params, candidates, answer);
        return Ok(());
    }
    let mut page = Canvas::new(params.canvas(), params.theme.page())?;
    figure(&mut page);
    draw_around(canvas, params, candidates, answer, &page)
}

/// Draws all candidates with callouts that keep off `figure`, a picture of nothing but the figure.
///
/// # Errors
/// As [`draw_choices`].
pub fn draw_around(
    canvas: &mut Canvas,
    params: &EyeballingParams,
    candidates: &[Candidate],
    answer: Option<usize>,
    figure: &Canvas,
) -> Result<()> {
    let callouts = match place(params, candidates, Some(figure)) {
        Ok(callouts) => callouts,
        Err(_) => place(params, candidates, None)?,
    };
    draw_callouts(canvas, params, candidates, &callouts, answer);
    Ok(())
}

/// Radius of the dots of [`draw_dots`], pixels.
#[must_use]
pub fn dot_radius(params: &EyeballingParams) -> f64 {
    0.7 * params.marker_radius
}

/// From the middle of a dot of [`draw_dots`] to the middle of its letter, pixels.
#[must_use]
pub fn dot_reach(params: &EyeballingParams) -> f64 {
    2.3 * params.marker_radius
}

/// Draws all candidates as dots with their letters to the right, each at the end of a thin line;
/// the one with index `answer` (if any) in red. Call it last.
///
/// For candidates that have nothing on their right.
pub fn draw_dots(
    canvas: &mut Canvas,
    params: &EyeballingParams,
    candidates: &[Candidate],
    answer: Option<usize>,
) {
    let radius = dot_radius(params);
    let (width, size) = (0.3 * radius, 1.35 * params.marker_radius);
    let ink = params.theme.ink();
    for (at, candidate) in candidates.iter().enumerate() {
        let (outline, fill) = match answer == Some(at) {
            true => (ANSWER_OUTLINE, ANSWER_FILL),
            false => (ink, params.theme.fill()),
        };
        let [x, y] = candidate.at();
        let reach = dot_reach(params);
        let line = [[x, y], [x + reach - 0.75 * size, y]];
        canvas.polyline(&line, 0.15 * params.marker_radius, ink);
        canvas.ring([x, y], radius - width / 2.0, width, outline, fill);
        canvas.label([x + reach, y], &candidate.label, size, ink);
    }
}

/// Draws a hollow ring: a point that belongs to the figure.
pub fn draw_anchor(canvas: &mut Canvas, params: &EyeballingParams, at: [f64; 2], radius: f64) {
    let width = (radius / 3.0).max(3.0);
    canvas.ring(
        at,
        radius - width / 2.0,
        width,
        params.theme.ink(),
        params.theme.page(),
    );
}
