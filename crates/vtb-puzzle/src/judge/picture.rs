//! The judge of edited pictures.

use std::sync::Arc;

use image::RgbImage;

use super::compare::{Changes, Reference};
use super::decode::decode_picture;
use super::marker::Markers;
use super::region::Regions;
use super::register::{Aligned, Anchors, Map};
use super::route::Routes;
use super::route_walk::Trail;
use super::rule::PictureRule;
use super::sheet::{Overlay, Sheet};
use super::slots::Slots;
use super::verdict::PictureVerdict;
use crate::error::{PuzzleError, Result};
use crate::record::Record;
use crate::task::Puzzle;
use crate::verdict::{Outcome, Question};

/// Judges edited pictures of one puzzle.
///
/// Made once, it judges any number of pictures: puzzle and solution are drawn when it is made. What
/// else it needs to know of them is worked out, tile by tile, when a picture first asks for it.
pub struct PictureJudge {
    sheet: Arc<Sheet>,
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
        let (rule, [puzzle, solution]) = task.rule_and_layers(record)?;
        Self::assemble(&record.question(), puzzle, solution, rule)
    }

    /// Makes a judge by a rule that need not be the task's own.
    ///
    /// # Errors
    /// As [`PictureJudge::for_question`].
    pub fn with_rule(
        record: &Record,
        puzzle: &RgbImage,
        solution: &RgbImage,
        rule: &PictureRule,
    ) -> Result<Self> {
        Self::for_question(&record.question(), puzzle, solution, rule)
    }

    /// Makes a judge without a record, for puzzles that were made elsewhere.
    ///
    /// Where there is no picture of the solution, `puzzle` may stand for it: then whatever differs
    /// from the puzzle beside the answer itself counts as a change of the picture.
    ///
    /// # Errors
    /// [`PuzzleError::Picture`] when rule, pictures and question do not fit together.
    pub fn for_question(
        question: &Question<'_>,
        puzzle: &RgbImage,
        solution: &RgbImage,
        rule: &PictureRule,
    ) -> Result<Self> {
        Self::assemble(question, puzzle.clone(), solution.clone(), rule.clone())
    }

    fn assemble(
        question: &Question<'_>,
        puzzle: RgbImage,
        solution: RgbImage,
        rule: PictureRule,
    ) -> Result<Self> {
        let size = [puzzle.width(), puzzle.height()];
        if size.contains(&0) || solution.dimensions() != puzzle.dimensions() {
            let fault = "puzzle and solution must have one size, and pixels";
            return Err(PuzzleError::Picture(fault.to_owned()));
        }
        Self::lay(question, Sheet::new(puzzle, solution), rule)
    }

    fn lay(question: &Question<'_>, sheet: Sheet, rule: PictureRule) -> Result<Self> {
        let sheet = Arc::new(sheet);
        let (rule, regions) = match rule {
            PictureRule::Marker(rule) => {
                let answer = question.answer.to_string();
                let (markers, regions) =
                    Markers::new(&rule, question.options, &answer, sheet.size)?;
                (Layout::Marker(markers), regions)
            }
            PictureRule::Route(rule) => {
                let routes = Routes::new(rule, question, &sheet)?;
                (Layout::Route(Box::new(routes)), Regions::One)
            }
            PictureRule::Slots(rule) => {
                let (slots, regions) = Slots::new(&rule, &sheet.puzzle)?;
                (Layout::Slots(slots), regions)
            }
        };
        Ok(Self {
            anchors: Anchors::new(sheet.clone()),
            reference: Reference::new(sheet.clone(), regions),
            sheet,
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
            likeness,
        }) = self.anchors.align(picture, hint)
        else {
            let reason = "the picture does not show this puzzle: it cannot be laid over it";
            return (
                Reading::new(PictureVerdict::invalid(reason), Shown::Refused),
                None,
            );
        };
        let seen = Overlay {
            picture: &picture,
            likeness,
        };
        let mut reading = match &self.rule {
            Layout::Marker(markers) => markers.judge(&self.reference, &seen),
            Layout::Route(routes) => routes.judge(&self.reference, &seen),
            Layout::Slots(slots) => slots.judge(&self.reference, &seen),
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
        self.sheet.size.map(f64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Layer;
    use crate::judge::tiles::Grid;
    use crate::{Dice, registry};
    use image::codecs::jpeg::JpegEncoder;
    use image::imageops::{FilterType, resize};
    use serde_json::{Value, json};

    /// A judge that looks at the whole of every picture.
    fn thorough(task: &dyn Puzzle, record: &Record) -> PictureJudge {
        let (rule, [puzzle, solution]) = task.rule_and_layers(record).unwrap();
        let mut sheet = Sheet::new(puzzle, solution);
        sheet.grid = Grid::whole(sheet.size);
        PictureJudge::lay(&record.question(), sheet, rule).unwrap()
    }

    fn blots(picture: &mut RgbImage, dice: &mut Dice) {
        const COLORS: [[u8; 3]; 6] = [
            [220, 30, 30],
            [255; 3],
            [0; 3],
            [128; 3],
            [255, 190, 190],
            [40, 60, 200],
        ];
        for _ in 0..dice.below(5) {
            let [width, height] = [picture.width(), picture.height()].map(|side| side as usize);
            let [x, y] = [dice.below(width), dice.below(height)];
            let (wide, high) = (1 + dice.below(width / 4), 1 + dice.below(12));
            let color = COLORS[dice.below(COLORS.len())];
            for (x, y) in (y..(y + high).min(height))
                .flat_map(|y| (x..(x + wide).min(width)).map(move |x| (x, y)))
            {
                picture.put_pixel(x as u32, y as u32, image::Rgb(color));
            }
        }
    }

    fn jpeg(picture: &RgbImage) -> RgbImage {
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 60)
            .encode_image(picture)
            .unwrap();
        decode_picture(&bytes).unwrap()
    }

    fn worse(picture: RgbImage, dice: &mut Dice) -> RgbImage {
        let (width, height) = picture.dimensions();
        match dice.below(8) {
            0 => jpeg(&picture),
            1 => resize(
                &picture,
                width * 3 / 4,
                height * 3 / 4,
                FilterType::Triangle,
            ),
            2 => resize(&picture, width * 2, height * 2, FilterType::CatmullRom),
            3 => RgbImage::from_fn(width, height, |x, y| {
                *picture.get_pixel((x + 2).min(width - 1), y.saturating_sub(1))
            }),
            kind @ 4..6 => {
                let mut noisy = picture;
                let reach = if kind == 4 { 12 } else { 70 };
                for byte in noisy.iter_mut() {
                    *byte = (i32::from(*byte) + dice.whole(-reach, reach)).clamp(0, 255) as u8;
                }
                noisy
            }
            _ => picture,
        }
    }

    /// What a solution has is no change, and it lies in place.
    #[test]
    fn a_solution_changes_nothing() {
        for &task in registry() {
            let name = task.info().name;
            let record = task.generate(&Value::Null, 12).unwrap();
            let Ok(judge) = PictureJudge::new(task, &record) else {
                continue;
            };
            let picture = task.draw(&record, Layer::Solution).unwrap();
            let verdict = judge.judge(&picture);
            for (measure, expected) in [
                ("drawing_lost", 0.0),
                ("page_covered", 0.0),
                ("shift_x", 0.0),
            ] {
                let found = verdict.measures.get(measure).copied();
                assert!(
                    found.unwrap_or(expected) == expected,
                    "{name}: {measure} {found:?}"
                );
            }
        }
    }

    /// A picture is known to lie in place while most of its drawing is untouched, and not when all of it
    /// is a pixel off.
    #[test]
    fn only_what_is_untouched_is_known_to_lie_in_place() {
        for name in ["midpoint", "maze_square", "sudoku", "circle_center"] {
            let task = crate::find(name).unwrap();
            let record = task.generate(&Value::Null, 3).unwrap();
            let [puzzle, solution] =
                [Layer::Puzzle, Layer::Solution].map(|layer| task.draw(&record, layer).unwrap());
            let (width, height) = puzzle.dimensions();
            let moved = RgbImage::from_fn(width, height, |x, y| {
                *solution.get_pixel((x + 1).min(width - 1), y)
            });
            let mut erased = puzzle.clone();
            for (x, y) in (0..height).flat_map(|y| (width / 8..width).map(move |x| (x, y))) {
                erased.put_pixel(x, y, *puzzle.get_pixel(0, 0));
            }
            let sheet = Sheet::new(puzzle.clone(), solution.clone());
            let is_in_place = |picture| sheet.is_in_place(&sheet.likeness(picture));
            assert!(is_in_place(&puzzle) && is_in_place(&solution), "{name}");
            assert!(!is_in_place(&moved) && !is_in_place(&erased), "{name}");
        }
    }

    /// Whatever is passed over, and whatever is known already from other pictures, the verdict is
    /// that of a look at all pixels, down to the last measure but one: what is left of a picture that
    /// is known to lie in place is measured at fewer places.
    #[test]
    fn passing_over_what_is_alike_changes_no_verdict() {
        for &task in registry() {
            let name = task.info().name;
            let params = match name {
                "midpoint" => json!({"noise": 6, "width": 333, "height": 290}),
                "maze_square" => json!({"print_ids": false}),
                _ => Value::Null,
            };
            let record = task.generate(&params, 11).unwrap();
            let Ok(judge) = PictureJudge::new(task, &record) else {
                continue;
            };
            let thorough = thorough(task, &record);
            let mut dice = Dice::new(5, name);
            for _ in 0..12 {
                let share = [0.0, 0.4, 1.0, 1.0][dice.below(4)];
                let layer = if share < 1.0 {
                    Layer::Growing(share)
                } else {
                    Layer::Solution
                };
                let mut picture = task.draw(&record, layer).unwrap();
                blots(&mut picture, &mut dice);
                let picture = worse(picture, &mut dice);
                let [ours, theirs] = [&judge, &thorough].map(|judge| judge.judge(&picture));
                let alone = task.judge_image(&record, &picture);
                assert_eq!(alone, ours, "{name}");
                let [ours, theirs] = [ours, theirs].map(|mut verdict| {
                    verdict.measures.remove("residual");
                    verdict
                });
                assert_eq!(ours, theirs, "{name}");
            }
        }
    }
}
