//! Named colours that no eye confuses.

use crate::dice::Dice;
use crate::draw::Rgb;
use crate::params::{nearest, within};

/// Names and colours; any two differ by more than 18 by CIEDE2000.
const COLORS: [(&str, Rgb); 9] = [
    ("blue", [45, 95, 200]),
    ("brown", [125, 78, 40]),
    ("cyan", [70, 200, 215]),
    ("green", [60, 150, 70]),
    ("orange", [245, 140, 40]),
    ("pink", [245, 150, 195]),
    ("purple", [140, 62, 178]),
    ("red", [214, 48, 49]),
    ("yellow", [250, 218, 70]),
];

/// Colour of outlines and letters.
pub const INK: Rgb = [40, 40, 40];

/// Colour of what is hidden.
pub const PLACEHOLDER: Rgb = [205, 205, 205];

/// Names of all colours, in order.
#[must_use]
pub fn color_names() -> Vec<String> {
    COLORS.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// The colour of this name.
#[must_use]
pub fn color(name: &str) -> Option<Rgb> {
    let mut known = COLORS.iter();
    known.find(|(other, _)| *other == name).map(|(_, rgb)| *rgb)
}

/// The colour of this name; grey when there is none or no name.
#[must_use]
pub fn color_or_gray(name: Option<&str>) -> Rgb {
    name.and_then(color).unwrap_or(PLACEHOLDER)
}

/// Checks a palette: known names, none twice, at least `least`.
///
/// # Errors
/// A sentence with the nearest name.
pub fn check_palette(palette: &[String], least: usize) -> Result<(), String> {
    within(
        "number of colors in `palette`",
        palette.len(),
        least,
        COLORS.len(),
    )?;
    for (at, name) in palette.iter().enumerate() {
        if color(name).is_none() {
            let hint = nearest(name, COLORS.iter().map(|(known, _)| *known));
            return Err(format!("`palette` has no color `{name}`; {hint}"));
        }
        if palette[..at].contains(name) {
            return Err(format!("`palette` names {name} twice"));
        }
    }
    Ok(())
}

/// Three different names; the first is as likely to be any as any other.
pub fn draw_three(palette: &[String], dice: &mut Dice) -> [String; 3] {
    let mut names: Vec<_> = palette.iter().collect();
    dice.shuffle(&mut names);
    std::array::from_fn(|at| {
        names
            .get(at)
            .map(|name| (*name).clone())
            .unwrap_or_default()
    })
}

/// How many ordered choices [`draw_three`] has.
#[must_use]
pub fn threes(palette: &[String]) -> u128 {
    let count = palette.len() as u128;
    count * count.saturating_sub(1) * count.saturating_sub(2)
}

/// What a color puzzle offers: the colours that are `seen`, and one that is nowhere in it.
pub fn seen_and_one_more(
    palette: &[String],
    seen: impl Fn(&String) -> bool,
    dice: &mut Dice,
) -> Vec<String> {
    let (mut options, unseen): (Vec<_>, Vec<_>) = palette.iter().cloned().partition(seen);
    options.extend(dice.pick(&unseen).cloned());
    dice.shuffle(&mut options);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn palettes_are_checked() {
        assert_eq!(check_palette(&color_names(), 4), Ok(()));
        let names = |list: &[&str]| {
            list.iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let fault = |list: &[&str]| check_palette(&names(list), 2).unwrap_err();
        assert!(fault(&["red", "bleu"]).contains("did you mean `blue`?"));
        assert!(fault(&["red", "red"]).contains("twice"));
        assert!(fault(&["red"]).contains("between 2 and 9"));
        assert_eq!(threes(&names(&["red", "blue"])), 0);
        assert_eq!(threes(&color_names()), 504);
    }

    #[test]
    fn options_hold_one_color_that_is_not_seen() {
        let mut dice = Dice::new(1, "options");
        let seen = |name: &String| ["red", "blue", "pink"].contains(&name.as_str());
        for _ in 0..50 {
            let options = seen_and_one_more(&color_names(), seen, &mut dice);
            assert_eq!(options.len(), 4);
            assert_eq!(options.iter().filter(|name| seen(name)).count(), 3);
        }
    }
}
