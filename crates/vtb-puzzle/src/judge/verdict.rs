//! What a judge of pictures says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::verdict::Outcome;

/// A judgement on one edited picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PictureVerdict {
    /// How it came out.
    pub outcome: Outcome,
    /// `outcome` is [`Outcome::Correct`].
    pub correct: bool,
    /// What was read off the picture: an option, a path, what fills the places.
    pub parsed: Option<String>,
    /// One sentence.
    pub reason: String,
    /// Named scores. All verdicts have `score`: 1 when correct, below that how near it came.
    pub measures: BTreeMap<String, f64>,
}

impl PictureVerdict {
    pub(super) fn new(outcome: Outcome, parsed: Option<String>, reason: String) -> Self {
        let correct = outcome == Outcome::Correct;
        Self {
            outcome,
            correct,
            parsed,
            reason,
            measures: BTreeMap::from([("score".to_owned(), f64::from(u8::from(correct)))]),
        }
    }

    /// There is nothing to judge, for the reason given.
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::new(Outcome::Invalid, None, reason.into())
    }

    /// Notes a score; what cannot be written as JSON is left out.
    pub(super) fn note(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.measures.insert(name.to_owned(), value);
        }
    }

    /// Sets `score`; only correct pictures have more than 0.8.
    pub(super) fn grade(&mut self, quality: f64) {
        let score = match self.correct {
            true => 1.0,
            false => 0.8 * quality.clamp(0.0, 1.0),
        };
        self.note("score", score);
    }

    /// The value of `score`.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.measures.get("score").copied().unwrap_or(0.0)
    }

    /// Whatever was read does not count, because of this.
    pub(super) fn overrule(&mut self, outcome: Outcome, reason: String) {
        self.outcome = outcome;
        self.correct = outcome == Outcome::Correct;
        self.reason = reason;
    }
}

/// A judgement on a clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClipVerdict {
    /// How the whole clip came out: its last frame is right and the way there is clean.
    pub outcome: Outcome,
    /// `outcome` is [`Outcome::Correct`].
    pub correct: bool,
    /// One sentence.
    pub reason: String,
    /// Number of frames.
    pub frames: usize,
    /// Share of frames that fit a steady way from the puzzle to what the last frame shows.
    pub progress: f64,
    /// Judgement on the last frame.
    pub final_frame: Option<PictureVerdict>,
    /// Judgement on the best frame.
    pub best_frame: Option<PictureVerdict>,
    /// Index of the best frame.
    pub best_at: usize,
    /// Named scores: `camera_drift` in pixels of the puzzle, `score`, `refused_frames`.
    pub measures: BTreeMap<String, f64>,
}
