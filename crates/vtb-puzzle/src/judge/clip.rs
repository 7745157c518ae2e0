//! The judge of clips.

use std::collections::BTreeMap;

use image::RgbImage;

use super::picture::{PictureJudge, Shown};
use super::register::Map;
use super::route_walk::Trail;
use super::verdict::{ClipVerdict, PictureVerdict};
use crate::error::Result;
use crate::record::Record;
use crate::task::Puzzle;
use crate::verdict::Outcome;

/// Least share of frames that fit a steady way.
const STEADY: f64 = 0.9;
/// Share of frames that may show another answer, and how many may in a short clip.
const FLICKER: f64 = 0.05;
const FLICKER_FRAMES: usize = 1;
/// A line may seem this much smaller than before, as a share: compression.
const SHRINK: f64 = 0.85;

/// Judges a clip of one puzzle, frame by frame; no frame is kept.
///
/// The last frame must be right, and the frames before must lead there: a red line grows along one
/// legal route, an answer once given stays.
pub struct ClipJudge {
    judge: PictureJudge,
    frames: usize,
    steady: usize,
    refused: usize,
    first_map: Option<Map>,
    last_map: Option<Map>,
    drift: f64,
    longest: Option<Trail>,
    /// What fills the places so far.
    held: Vec<Option<String>>,
    /// How many frames gave which answer, and how many of them took nothing back.
    answers: BTreeMap<Vec<Option<String>>, [usize; 2]>,
    several: usize,
    taken_back: usize,
    last: Option<(PictureVerdict, Shown)>,
    best: Option<(usize, PictureVerdict)>,
}

impl ClipJudge {
    /// Makes the judge of a record.
    ///
    /// # Errors
    /// As [`PictureJudge::new`].
    pub fn new<P: Puzzle + ?Sized>(task: &P, record: &Record) -> Result<Self> {
        PictureJudge::new(task, record).map(Self::with_judge)
    }

    /// Makes a clip's judge from a picture's.
    #[must_use]
    pub fn with_judge(judge: PictureJudge) -> Self {
        Self {
            judge,
            frames: 0,
            steady: 0,
            refused: 0,
            first_map: None,
            last_map: None,
            drift: 0.0,
            longest: None,
            held: Vec::new(),
            answers: BTreeMap::new(),
            several: 0,
            taken_back: 0,
            last: None,
            best: None,
        }
    }

    /// Looks at the next frame.
    pub fn push(&mut self, frame: &RgbImage) {
        let (reading, map) = self.judge.read(frame, self.last_map);
        match &reading.shown {
            Shown::Refused => self.refused += 1,
            shown => {
                self.follow_camera(map);
                self.follow(shown);
            }
        }
        let better = |best: &PictureVerdict| {
            let rank = |verdict: &PictureVerdict| (verdict.correct, verdict.score());
            rank(&reading.verdict) > rank(best)
        };
        if self.best.as_ref().is_none_or(|(_, best)| better(best)) {
            self.best = Some((self.frames, reading.verdict.clone()));
        }
        self.frames += 1;
        self.last = Some((reading.verdict, reading.shown));
    }

    fn follow_camera(&mut self, map: Option<Map>) {
        let Some(map) = map else { return };
        let first = *self.first_map.get_or_insert(map);
        self.drift = self.drift.max(map.distance(&first, self.judge.size()));
        self.last_map = Some(map);
    }

    fn follow(&mut self, shown: &Shown) {
        match shown {
            Shown::Refused => {}
            Shown::Several => self.several += 1,
            Shown::Nothing => match (&self.longest, self.answers.is_empty()) {
                (None, true) => self.steady += 1,
                // A line that has hardly begun may be lost to compression.
                (Some(trail), true) if trail.path.len() <= 2 => self.steady += 1,
                _ => self.taken_back += 1,
            },
            Shown::Answer(names) => self.follow_answer(names),
            Shown::Route(trail) => {
                let steady =
                    trail.clean && self.longest.as_ref().is_none_or(|old| grows(old, trail));
                self.steady += usize::from(steady);
                let longer = |old: &Trail| trail.path.len() >= old.path.len();
                if steady && self.longest.as_ref().is_none_or(longer) {
                    self.longest = Some(trail.clone());
                }
            }
        }
    }

    fn follow_answer(&mut self, names: &[Option<String>]) {
        let keeps = self
            .held
            .iter()
            .zip(names)
            .all(|(held, name)| held.is_none() || held == name);
        let counts = self.answers.entry(names.to_vec()).or_default();
        counts[0] += 1;
        counts[1] += usize::from(keeps);
        self.taken_back += usize::from(!keeps);
        self.held.resize(names.len(), None);
        for (held, name) in self.held.iter_mut().zip(names) {
            if name.is_some() {
                held.clone_from(name);
            }
        }
    }

    /// The verdict on all frames so far.
    #[must_use]
    pub fn finish(self) -> ClipVerdict {
        let Some((last, shown)) = self.last else {
            return ClipVerdict {
                outcome: Outcome::Invalid,
                correct: false,
                reason: "the clip has no frames".to_owned(),
                frames: 0,
                progress: 0.0,
                final_frame: None,
                best_frame: None,
                best_at: 0,
                measures: BTreeMap::from([("score".to_owned(), 0.0)]),
            };
        };
        let leads = |seen: &[Option<String>]| match &shown {
            Shown::Answer(last) => leads_to(seen, last),
            _ => false,
        };
        let [mut other, mut kept] = [0, 0];
        for (seen, [all, steady]) in &self.answers {
            match leads(seen) {
                true => kept += steady,
                false => other += all,
            }
        }
        let progress = (self.steady + kept) as f64 / self.frames as f64;
        let flicker = other + self.several;
        let allowed = ((FLICKER * self.frames as f64) as usize).max(FLICKER_FRAMES);
        let (outcome, reason) = if last.outcome != Outcome::Correct {
            (last.outcome, format!("last frame: {}", last.reason))
        } else if flicker > allowed {
            let reason = format!("{flicker} of {} frames show other answers", self.frames);
            (Outcome::Ambiguous, reason)
        } else if progress < STEADY {
            let share = 100.0 * progress;
            let reason = format!(
                "the last frame is right, but only {share:.0} % of the frames lead there steadily"
            );
            (Outcome::Wrong, reason)
        } else {
            (Outcome::Correct, format!("last frame: {}", last.reason))
        };
        let correct = outcome == Outcome::Correct;
        let score = if correct {
            1.0
        } else {
            0.8 * last.score() * progress
        };
        let (best_at, best) = self.best.map_or((0, None), |(at, best)| (at, Some(best)));
        let measures = [
            ("camera_drift", self.drift),
            ("refused_frames", self.refused as f64),
            ("other_answers", flicker as f64),
            ("taken_back", self.taken_back as f64),
            ("score", score),
        ];
        ClipVerdict {
            outcome,
            correct,
            reason,
            frames: self.frames,
            progress,
            final_frame: Some(last),
            best_frame: best,
            best_at,
            measures: measures
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
        }
    }
}

/// Whether a line is one seen before, grown; a cell or a few pixels may be lost to compression.
fn grows(old: &Trail, new: &Trail) -> bool {
    let common = old.path.len().min(new.path.len());
    let same = old.path[..common] == new.path[..common];
    let kept = new.path.len() + 1 >= old.path.len();
    same && kept && new.area as f64 >= SHRINK * old.area as f64 - 16.0
}

/// Whether every place that is filled has what the last frame has there.
fn leads_to(seen: &[Option<String>], last: &[Option<String>]) -> bool {
    seen.iter()
        .zip(last)
        .all(|(seen, last)| seen.is_none() || seen == last)
}
