//! Are all places filled as they should be?

use image::RgbImage;

use super::compare::Reference;
use super::picture::Reading;
use super::pixels::{most3, soften};
use super::region::{FREE, Regions};
use super::rule::SlotRule;
use super::sheet::Overlay;
use super::slot_read::{Found, Place, Seen};
use super::verdict::PictureVerdict;
use crate::error::{PuzzleError, Result};
use crate::verdict::Outcome;

/// Least that must stay as it was beside the places.
const PRESERVED: f64 = 0.95;

/// A [`SlotRule`] laid out on the pixels.
pub(super) struct Slots {
    places: Vec<Place>,
    /// What the puzzle itself shows in the places.
    before: Vec<Seen>,
}

impl Slots {
    /// Lays out the rule; also returns the region of every pixel.
    pub(super) fn new(rule: &SlotRule, puzzle: &RgbImage) -> Result<(Self, Regions)> {
        if rule.slots.is_empty() {
            return Err(PuzzleError::Picture(
                "there are no places to fill".to_owned(),
            ));
        }
        let soft = soften(puzzle);
        let places = rule
            .slots
            .iter()
            .map(|slot| Place::new(slot, puzzle, &soft))
            .collect::<Result<Vec<_>>>()?;
        let before = places
            .iter()
            .map(|place| place.read(puzzle, &soft).seen)
            .collect();
        // A rest that may change is as free as the places: nothing is then counted.
        let regions = match rule.keeps_rest {
            true => {
                let pixels: Vec<Vec<u32>> =
                    places.iter().map(|place| place.pixels.clone()).collect();
                let (width, height) = (puzzle.width() as usize, puzzle.height() as usize);
                Regions::by(move || {
                    let mut region = vec![0; width * height];
                    for at in pixels.iter().flatten() {
                        region[*at as usize] = FREE;
                    }
                    // The edge of a place belongs to what is drawn in it.
                    most3(&most3(&region, width, 1), width, 1)
                })
            }
            false => Regions::Free,
        };
        Ok((Self { places, before }, regions))
    }

    pub(super) fn judge(&self, reference: &Reference, seen: &Overlay<'_>) -> Reading {
        let picture = seen.picture;
        let changes = reference.changes(seen, None, |_| false);
        if changes.is_another_picture() {
            return Reading::refused(changes);
        }
        let soft = match self.places.iter().any(Place::is_drawing) {
            true => soften(picture),
            false => Vec::new(),
        };
        let found: Vec<_> = self
            .places
            .iter()
            .map(|place| place.read(picture, &soft))
            .collect();
        let (outcome, reason) = self.decide(&found);
        let names: Vec<_> = found
            .iter()
            .zip(&self.places)
            .map(|(found, place)| match found.seen {
                Seen::Choice(at) => Some(place.choices[at].clone()),
                _ => None,
            })
            .collect();
        let parsed = names.iter().any(Option::is_some).then(|| {
            let text = names.iter().map(|name| name.as_deref().unwrap_or("?"));
            text.collect::<Vec<_>>().join(", ")
        });
        let mut verdict = PictureVerdict::new(outcome, parsed, reason);
        let preserved = changes.preservation();
        if verdict.correct && preserved < PRESERVED {
            let reason = "what was to be filled is right, but the rest of the picture was changed";
            verdict.overrule(Outcome::Wrong, reason.to_owned());
        }
        let share = self.right_share(&found);
        verdict.grade(share * preserved);
        verdict.note("slots_right", share);
        verdict.note(
            "doubt",
            found.iter().map(|found| found.doubt).fold(0.0, f64::max),
        );
        changes.note(&mut verdict);
        // A drawing in the making may look like another one: a small disc on its way to a large one.
        let settled = names.into_iter().zip(self.places.iter().zip(&found));
        let settled = settled.map(|(name, (place, found))| {
            let making = place.is_drawing() && found.seen != Seen::Choice(place.right);
            name.filter(|_| !making)
        });
        Reading::of_places(verdict, settled.collect())
    }

    fn decide(&self, found: &[Found]) -> (Outcome, String) {
        let all = || self.places.iter().zip(found);
        let is_right = |(place, found): &(&Place, &Found)| found.seen == Seen::Choice(place.right);
        if all().all(|pair| is_right(&pair)) {
            let reason = match self.places.as_slice() {
                [place] => format!(
                    "{} shows `{}`, which is right",
                    place.name, place.choices[place.right]
                ),
                places => format!("all {} places are right", places.len()),
            };
            return (Outcome::Correct, reason);
        }
        // What is strange is read a little differently each time.
        let idle = |(before, found): (&Seen, &Found)| {
            let strange = |seen: &Seen| matches!(seen, Seen::Strange(_) | Seen::Between(..));
            found.seen == Seen::Untouched
                || found.seen == *before
                || strange(before) && strange(&found.seen)
        };
        if self.before.iter().zip(found).all(idle) {
            return (Outcome::Invalid, "nothing was drawn".to_owned());
        }
        let mut worst: Option<(Outcome, String)> = None;
        for (place, found) in all().filter(|pair| !is_right(pair)) {
            let name = &place.name;
            let choice = |at: usize| place.choices.get(at).map_or("the puzzle", String::as_str);
            let (outcome, reason) = match &found.seen {
                Seen::Choice(at) => {
                    let right = &place.choices[place.right];
                    (
                        Outcome::Wrong,
                        format!("{name} shows `{}`, not `{right}`", choice(*at)),
                    )
                }
                Seen::Untouched => (Outcome::Wrong, format!("{name} was left as it was")),
                Seen::Between(a, b) => {
                    let [a, b] = [choice(*a), choice(*b)];
                    (
                        Outcome::Ambiguous,
                        format!("{name} lies between `{a}` and `{b}`"),
                    )
                }
                Seen::Strange(what) => (
                    Outcome::Invalid,
                    format!("{name} shows {what}, which is none of the choices"),
                ),
            };
            let rank = |outcome: Outcome| match outcome {
                Outcome::Wrong => 2,
                Outcome::Ambiguous => 1,
                Outcome::Correct | Outcome::Invalid => 0,
            };
            if worst
                .as_ref()
                .is_none_or(|(known, _)| rank(outcome) > rank(*known))
            {
                worst = Some((outcome, reason));
            }
        }
        worst.unwrap_or((Outcome::Invalid, "nothing can be read".to_owned()))
    }

    /// Share of the places that are right, among those that had to be filled.
    fn right_share(&self, found: &[Found]) -> f64 {
        let shown = self.before.iter().zip(&self.places);
        let given: Vec<_> = shown
            .map(|(before, place)| *before == Seen::Choice(place.right))
            .collect();
        let to_fill = given.iter().filter(|given| !**given).count();
        let all = self.places.iter().zip(found).zip(&given);
        let right = |((place, found), _): &((&Place, &Found), &bool)| {
            found.seen == Seen::Choice(place.right)
        };
        let spoilt = all.clone().filter(|pair| *pair.1 && !right(pair)).count() as f64;
        let filled = all.filter(|pair| !*pair.1 && right(pair)).count() as f64;
        ((filled - spoilt) / to_fill.max(1) as f64).max(0.0)
    }
}
