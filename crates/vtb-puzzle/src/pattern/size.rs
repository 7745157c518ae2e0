//! Three sizes that are told apart at a glance.

use serde::{Deserialize, Serialize};

use super::page::{Steps, check_step, count_steps, draw_step};
use crate::dice::Dice;
use crate::error::Result;

/// A size within a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// The least.
    Small,
    /// Between the others.
    Medium,
    /// The greatest.
    Large,
}

impl Size {
    /// All of them, growing.
    pub const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// Name in prompts and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    /// The size of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|size| size.name() == name)
    }

    /// The size `steps` further in the circle small, medium, large.
    #[must_use]
    pub fn after(self, steps: i32) -> Self {
        Self::ALL[(self as i32 + steps).rem_euclid(3) as usize]
    }
}

/// All sizes in any order, all equally likely.
pub fn draw_order(dice: &mut Dice) -> [Size; 3] {
    let mut order = Size::ALL;
    dice.shuffle(&mut order);
    order
}

/// The names of all sizes in any order.
pub fn size_options(dice: &mut Dice) -> Vec<String> {
    draw_order(dice).map(|size| size.name().to_owned()).to_vec()
}

/// How large the sizes are. The medium radius is at least 1.38 times the small one and at most
/// 1/1.38 of the large one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// Large radius, percent of the room there is.
    pub large: i32,
    /// Medium radius, percent of the large one.
    pub medium: i32,
    /// Small radius, percent of the large one.
    pub small: i32,
}

const LARGE: Steps = [84, 94];
const MEDIUM: Steps = [64, 72];
const SMALL: Steps = [38, 46];

impl Sizes {
    /// Draws the lots.
    pub fn draw(dice: &mut Dice) -> Self {
        Self {
            large: draw_step(LARGE, dice),
            medium: draw_step(MEDIUM, dice),
            small: draw_step(SMALL, dice),
        }
    }

    /// # Errors
    /// [`crate::PuzzleError::BadScene`] when a size lies outside its range.
    pub fn check(self) -> Result<()> {
        check_step("the large size", self.large, LARGE)?;
        check_step("the medium size", self.medium, MEDIUM)?;
        check_step("the small size", self.small, SMALL)
    }

    /// How many there are.
    #[must_use]
    pub fn count() -> u128 {
        count_steps(LARGE) * count_steps(MEDIUM) * count_steps(SMALL)
    }

    /// Radius of a size where there is room for `room`, pixels.
    #[must_use]
    pub fn radius(self, size: Size, room: f64) -> f64 {
        let large = room * f64::from(self.large) / 100.0;
        match size {
            Size::Large => large,
            Size::Medium => large * f64::from(self.medium) / 100.0,
            Size::Small => large * f64::from(self.small) / 100.0,
        }
    }
}
