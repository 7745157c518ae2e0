//! The judge of edited pictures.

use image::RgbImage;

use super::compare::{Changes, Reference};
use super::decode::decode_picture;
use super::marker::Markers;
use super::register::{Aligned, Anchors, Map};
use super::route::Routes;
use super::route_walk::Trail;
use super::rule::PictureRule;
use super::slots::Slots;
use super::verdict::PictureVerdict;
use crate::draw::Layer;
use crate::error::{PuzzleError, Result};
use crate::record::Record;
use crate::task::Puzzle;
use crate::verdict::Outcome;

/// Judges edited pictures of one puzzle.
///
/// Made once, it judges any number of pictures: puzzle and solution are drawn and the rule is laid
/// out on their pixels when it is made.
pub struct PictureJudge {
    anchors: Anchors,
    reference: Reference,
    rule: Layout,
}

enum Layout {
    Marker(Markers),
    Route(Box<Routes>),
    Slots(Slots),
}

/// What one picture shows.
pub(super) struct Reading {
    pub(super) verdict: PictureVerdict,
    pub(super) shown: Shown,
}

/// The same in the terms of a clip.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shown {
    /// It does not show this puzzle.
    Refused,
    /// The puzzle, with no answer to it.
    Nothing,
    /// Several answers.
    Several,
    /// What fills the places; a marker is one place.
    Answer(Vec<Option<String>>),
    /// A red line.
    Route(Trail),
}

impl Reading {
    fn new(verdict: PictureVerdict, shown: Shown) -> Self {
        Self { verdict, shown }
    }

    pub(super) fn refused(changes: Changes) -> Self {
        let mut verdict = PictureVerdict::invalid("the picture does not show this puzzle");
        changes.note(&mut verdict);
        Self::new(verdict, Shown::Refused)
    }

    pub(super) fn nothing(mut verdict: PictureVerdict, changes: Changes) -> Self {
        changes.note(&mut verdict);
        Self::new(verdict, Shown::Nothing)
    }

    pub(super) fn of_answer(verdict: PictureVerdict, changes: Changes) -> Self {
        if changes.is_another_picture() {
            return Self::refused(changes);
        }
        let shown = match (&verdict.parsed, verdict.outcome) {
            (Some(answer), _) => Shown::Answer(vec![Some(answer.clone())]),
            (None, Outcome::Ambiguous) => Shown::Several,
            (None, _) => Shown::Nothing,
        };
        Self::new(verdict, shown)
    }

    pub(super) fn of_places(verdict: PictureVerdict, names: Vec<Option<String>>) -> Self {
        let shown = match names.iter().all(Option::is_none) {
            true => Shown::Nothing,
            false => Shown::Answer(names),
        };
        Self::new(verdict, shown)
    }

    pub(super) fn of_route(verdict: PictureVerdict, trail: Trail) -> Self {
        Self::new(verdict, Shown::Route(trail))
    }
}

impl PictureJudge {
    /// Makes the judge of a record.
    ///
    /// # Errors
    /// As [`Puzzle::draw`] and [`Puzzle::picture_rule`].
    pub fn new<P: Puzzle + ?Sized>(task: &P, record: &Record) -> Result<Self> {
        let rule = task.picture_rule(record)?;
        let puzzle = task.draw(record, Layer::Puzzle)?;
        let solution = task.draw(record, Layer::Solution)?;
        Self::with_rule(record, &puzzle, &solution, &rule)
    }

    /// Makes a judge by a rule that need not be the task's own.
    ///
    /// # Errors
    /// [`PuzzleError::Picture`] when rule, pictures and record do not fit together.
    pub fn with_rule(
        record: &Record,
        puzzle: &RgbImage,
        solution: &RgbImage,
        rule: &PictureRule,
    ) -> Result<Self> {
        let size = [puzzle.width(), puzzle.height()];
        if size.contains(&0) || solution.dimensions() != puzzle.dimensions() {
            let fault = "puzzle and solution must have one size, and pixels";
            return Err(PuzzleError::Picture(fault.to_owned()));
        }
        let (rule, region) = match rule {
            PictureRule::Marker(rule) => {
                let answer = record.answer.to_string();
                let (markers, region) = Markers::new(rule, &record.options, &answer, size)?;
                (Layout::Marker(markers), region)
            }
            PictureRule::Route(rule) => {
                let routes = Routes::new(rule, record, puzzle)?;
                let region = vec![0; puzzle.width() as usize * puzzle.height() as usize];
                (Layout::Route(Box::new(routes)), region)
            }
            PictureRule::Slots(rule) => {
                let (slots, region) = Slots::new(rule, puzzle)?;
                (Layout::Slots(slots), region)
            }
        };
        Ok(Self {
            anchors: Anchors::new(puzzle, solution),
            reference: Reference::new(puzzle, solution, region),
            rule,
        })
    }

    /// Judges a picture; total.
    #[must_use]
    pub fn judge(&self, picture: &RgbImage) -> PictureVerdict {
        self.read(picture, None).0.verdict
    }

    /// Judges the bytes of a PNG, JPEG, WebP, BMP or GIF file; total.
    #[must_use]
    pub fn judge_bytes(&self, bytes: &[u8]) -> PictureVerdict {
        match decode_picture(bytes) {
            Ok(picture) => self.judge(&picture),
            Err(reason) => PictureVerdict::invalid(reason),
        }
    }

    /// Reads a picture; also tells where the puzzle lies in it. `hint` is where to look first.
    pub(super) fn read(&self, picture: &RgbImage, hint: Option<Map>) -> (Reading, Option<Map>) {
        let Some(Aligned {
            picture,
            map,
            residual,
        }) = self.anchors.align(picture, hint)
        else {
            let reason = "the picture does not show this puzzle: it cannot be laid over it";
            return (
                Reading::new(PictureVerdict::invalid(reason), Shown::Refused),
                None,
            );
        };
        let mut reading = match &self.rule {
            Layout::Marker(markers) => markers.judge(&self.reference, &picture),
            Layout::Route(routes) => routes.judge(&self.reference, &picture),
            Layout::Slots(slots) => slots.judge(&self.reference, &picture),
        };
        for (name, value) in [
            ("residual", residual),
            ("scale_x", map.scale[0]),
            ("scale_y", map.scale[1]),
            ("shift_x", map.shift[0]),
            ("shift_y", map.shift[1]),
        ] {
            reading.verdict.note(name, value);
        }
        (reading, Some(map))
    }

    pub(super) fn size(&self) -> [f64; 2] {
        self.anchors.size()
    }
}
