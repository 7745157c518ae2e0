//! Paper, place and pen: what varies in every pattern puzzle whatever its rule.

use serde::{Deserialize, Serialize};

use super::Vec2;
use crate::dice::Dice;
use crate::draw::{Canvas, MAX_SIDE, Rgb};
use crate::error::{PuzzleError, Result};
use crate::params::within;

/// Least and greatest of some whole steps.
pub type Steps = [i32; 2];

/// How many values there are.
#[must_use]
pub fn count_steps([low, high]: Steps) -> u128 {
    (i64::from(high) - i64::from(low) + 1).max(0) as u128
}

/// A value, all equally likely.
pub fn draw_step([low, high]: Steps, dice: &mut Dice) -> i32 {
    dice.whole(low, high)
}

/// Checks that a scene's `value` is one of the steps.
///
/// # Errors
/// [`PuzzleError::BadScene`] with the name of the value.
pub fn check_step(name: &str, value: i32, [low, high]: Steps) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    bad(&format!("{name} is {value}, not between {low} and {high}"))
}

/// # Errors
/// [`PuzzleError::BadScene`], unless the rule `holds`.
pub fn require(holds: bool, fault: &str) -> Result<()> {
    match holds {
        true => Ok(()),
        false => bad(fault),
    }
}

fn bad<T>(fault: &str) -> Result<T> {
    Err(PuzzleError::BadScene(fault.to_owned()))
}

/// How much the text prompt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptStyle {
    /// Describes the picture and the task.
    Full,
    /// One line, for models that learn from scratch.
    Short,
}

/// Parameters that every pattern task but color_grid has; a task's own block flattens this one
/// into itself. Shares are of the shorter side, and become whole pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PatternParams {
    /// Width of the picture, pixels (default 512).
    pub width: u32,
    /// Height of the picture, pixels (default 512).
    pub height: u32,
    /// Least size of the figure, whole (default 0.8, for some tasks more).
    pub size_min: f64,
    /// Greatest size of the figure, whole (default 0.92).
    pub size_max: f64,
    /// How far the figure may lie off the middle, along either axis (default 0.03).
    pub offset: f64,
    /// Least thickness of lines (default 0.006).
    pub line_min: f64,
    /// Greatest thickness of lines (default 0.012).
    pub line_max: f64,
    /// Backgrounds: steps per colour channel, 1 for plain white (default 6, hence 216 tints).
    pub tints: u32,
    /// The text prompt lists the options (default true).
    pub list_options: bool,
    /// How much the text prompt says (default full).
    pub prompt_style: PromptStyle,
}

impl Default for PatternParams {
    fn default() -> Self {
        Self {
            width: 512,
            height: 512,
            size_min: 0.8,
            size_max: 0.92,
            offset: 0.03,
            line_min: 0.006,
            line_max: 0.012,
            tints: 6,
            list_options: true,
            prompt_style: PromptStyle::Full,
        }
    }
}

impl PatternParams {
    /// Checks ranges.
    ///
    /// # Errors
    /// A sentence naming the parameter.
    pub fn validate(&self) -> Result<(), String> {
        within("width", self.width, 128, MAX_SIDE)?;
        within("height", self.height, 128, MAX_SIDE)?;
        within("size_min", self.size_min, 0.5, 0.98)?;
        within("size_max", self.size_max, self.size_min, 0.98)?;
        within("offset", self.offset, 0.0, 0.2)?;
        within("line_min", self.line_min, 0.003, 0.02)?;
        within("line_max", self.line_max, self.line_min, 0.02)?;
        within("tints", self.tints, 1, 16)?;
        if self.size_max / 2.0 + self.offset > 0.495 {
            let fault = "the figure would leave the picture: lower `size_max` or `offset`";
            return Err(fault.to_owned());
        }
        Ok(())
    }

    /// Shorter side, pixels.
    #[must_use]
    pub fn side(&self) -> f64 {
        f64::from(self.width.min(self.height))
    }

    /// Half sizes of the figure, pixels.
    #[must_use]
    pub fn extents(&self) -> Steps {
        [self.size_min, self.size_max].map(|share| (share * self.side() / 2.0).round() as i32)
    }

    /// Thicknesses of lines, tenths of a pixel, at least one pixel.
    fn lines(&self) -> Steps {
        [self.line_min, self.line_max].map(|share| ((share * self.side() * 10.0) as i32).max(10))
    }

    /// Places of the middle of the figure along an axis, pixels.
    fn places(&self, length: u32) -> Steps {
        let (middle, offset) = (
            length as i32 / 2,
            (self.offset * self.side()).round() as i32,
        );
        [middle - offset, middle + offset]
    }

    fn tint(&self, step: u32) -> u8 {
        255 - (step * 24 / (self.tints.max(2) - 1)) as u8
    }

    /// How many pages there are of one extent.
    #[must_use]
    pub fn pages_of_one_size(&self) -> u128 {
        let places = [self.width, self.height].map(|length| count_steps(self.places(length)));
        places[0] * places[1] * count_steps(self.lines()) * u128::from(self.tints).pow(3)
    }

    /// How many pages there are.
    #[must_use]
    pub fn pages(&self) -> u128 {
        self.pages_of_one_size() * count_steps(self.extents())
    }

    /// Draws the lots for a page.
    pub fn draw_page(&self, dice: &mut Dice) -> Page {
        let tints = self.tints as usize;
        Page {
            canvas: [self.width, self.height],
            background: [(); 3].map(|()| self.tint(dice.below(tints) as u32)),
            center: [self.width, self.height].map(|length| draw_step(self.places(length), dice)),
            extent: draw_step(self.extents(), dice),
            line_tenths: draw_step(self.lines(), dice),
        }
    }

    /// Checks that a page may come of these parameters.
    ///
    /// # Errors
    /// [`PuzzleError::BadScene`].
    pub fn check_page(&self, page: &Page) -> Result<()> {
        let canvas = [self.width, self.height];
        require(page.canvas == canvas, "the canvas is not the parameters'")?;
        let known = |value: u8| (0..self.tints).any(|step| self.tint(step) == value);
        let tinted = page.background.iter().all(|value| known(*value));
        require(tinted, "the background is none of the tints")?;
        for (at, length) in page.center.into_iter().zip(canvas) {
            check_step("the middle", at, self.places(length))?;
        }
        check_step("the extent", page.extent, self.extents())?;
        check_step("the line", page.line_tenths, self.lines())
    }
}

/// Paper, place and pen of a scene, in whole steps: scenes are then countable and their hashes
/// exact. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Width and height of the picture.
    pub canvas: [u32; 2],
    /// Background.
    pub background: Rgb,
    /// Middle of the figure.
    pub center: [i32; 2],
    /// Half the size of the figure: it lies within this distance of the middle along each axis.
    pub extent: i32,
    /// Thickness of lines, tenths of a pixel.
    pub line_tenths: i32,
}

impl Page {
    /// The empty page.
    ///
    /// # Errors
    /// As [`Canvas::new`].
    pub fn canvas(&self) -> Result<Canvas> {
        Canvas::new(self.canvas, self.background)
    }

    /// Half the size of the figure.
    #[must_use]
    pub fn extent(&self) -> f64 {
        f64::from(self.extent)
    }

    /// Thickness of lines.
    #[must_use]
    pub fn line(&self) -> f64 {
        f64::from(self.line_tenths) / 10.0
    }

    /// The point that lies `by` off the middle of the figure.
    #[must_use]
    pub fn at(&self, by: Vec2) -> Vec2 {
        [0, 1].map(|axis| f64::from(self.center[axis]) + by[axis])
    }
}
