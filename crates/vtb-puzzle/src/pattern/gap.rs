//! The missing element: question mark, growing, or drawn; and how its picture is judged.

use super::palette::{INK, PLACEHOLDER, color};
use super::turn::{Vec2, circle_points};
use crate::draw::{Canvas, Layer, Rgb, Stroke, draw_growing};
use crate::error::{PuzzleError, Result};
use crate::judge::{Area, Expect, PictureRule, Slot, SlotRule};

/// What stands in place of the missing element.
#[derive(Debug, Clone, Copy)]
pub enum Gap<'a> {
    /// A question mark.
    Question,
    /// This share of some strokes.
    Drawn(&'a [Stroke], f64),
}

impl<'a> Gap<'a> {
    /// The question mark goes when drawing begins.
    #[must_use]
    pub fn of(layer: Layer, construction: &'a [Stroke]) -> Self {
        match layer.progress() {
            share if share > 0.0 => Self::Drawn(construction, share),
            _ => Self::Question,
        }
    }

    /// Draws it: `question` is called when it is a question mark.
    pub fn draw(self, canvas: &mut Canvas, question: impl FnOnce(&mut Canvas)) {
        match self {
            Self::Question => question(canvas),
            Self::Drawn(strokes, share) => draw_growing(canvas, strokes, share),
        }
    }
}

/// Index of the one element that is missing.
///
/// # Errors
/// [`PuzzleError::BadScene`] when none or several are.
pub fn find_gap<T>(elements: &[Option<T>]) -> Result<usize> {
    let mut missing = (0..elements.len()).filter(|&at| elements[at].is_none());
    match (missing.next(), missing.next()) {
        (Some(gap), None) => Ok(gap),
        _ => Err(PuzzleError::BadScene(
            "exactly one element must be missing".to_owned(),
        )),
    }
}

/// What those of `kind` that are not missing have in common.
///
/// # Errors
/// [`PuzzleError::BadScene`] when they have not, or when all are missing.
pub fn shared<T: PartialEq + Clone>(
    elements: &[Option<T>],
    kind: impl IntoIterator<Item = usize>,
) -> Result<T> {
    let mut seen = kind.into_iter().filter_map(|at| elements.get(at)?.as_ref());
    let first = seen.next();
    match first.filter(|first| seen.all(|other| other == *first)) {
        Some(first) => Ok(first.clone()),
        None => Err(PuzzleError::BadScene(
            "elements of one kind differ".to_owned(),
        )),
    }
}

/// A question mark, `size` pixels.
pub fn draw_question(canvas: &mut Canvas, at: Vec2, size: f64) {
    canvas.label(at, "?", size, INK);
}

/// A question mark in a dotted circle, which says nothing of the size that is missing.
pub fn draw_dotted_question(canvas: &mut Canvas, at: Vec2, radius: f64) {
    let dot = (radius * 0.045).max(0.8);
    for [x, y] in circle_points().into_iter().step_by(2) {
        let reach = radius - dot;
        canvas.disc([at[0] + reach * x, at[1] + reach * y], dot, INK);
    }
    draw_question(canvas, at, 1.1 * radius);
}

/// Demands the colour named `right` in `area`, where any of `names`, or grey, might be seen.
#[must_use]
pub fn color_rule<'a>(
    what: &str,
    area: Area,
    right: Rgb,
    names: impl Iterator<Item = &'a String>,
) -> PictureRule {
    colors_rule(what, area, right, names.filter_map(|name| color(name)))
}

/// As [`color_rule`], with colours in place of names.
#[must_use]
pub fn colors_rule(
    what: &str,
    area: Area,
    right: Rgb,
    seen: impl Iterator<Item = Rgb>,
) -> PictureRule {
    let mut others: Vec<_> = seen.filter(|other| *other != right).collect();
    others.push(PLACEHOLDER);
    one_slot(what, area, Expect::Color { right, others })
}

/// Demands what `paint` makes of the item named `right`, where any of `items` might be drawn.
///
/// # Errors
/// As `paint`.
pub fn drawing_rule<T>(
    what: &str,
    area: Area,
    items: impl Iterator<Item = (String, T)>,
    right: &str,
    paint: impl Fn(T) -> Result<Canvas>,
) -> Result<PictureRule> {
    let mut choices = Vec::new();
    for (name, item) in items {
        choices.push((name, paint(item)?.into_rgb()?));
    }
    let right = choices.iter().position(|(name, _)| name == right);
    let right = right.unwrap_or_default();
    Ok(one_slot(what, area, Expect::Drawing { right, choices }))
}

fn one_slot(name: &str, area: Area, expect: Expect) -> PictureRule {
    let name = name.to_owned();
    PictureRule::Slots(SlotRule {
        slots: vec![Slot { name, area, expect }],
        keeps_rest: true,
    })
}
