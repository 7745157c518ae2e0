//! Parameters that every eyeballing task has.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::markers::Theme;
use crate::draw::MAX_SIDE;
use crate::params::{Optional, within};

/// How candidates are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelStyle {
    /// A, B, C, ...
    Letters,
    /// 1, 2, 3, ...
    Digits,
}

impl LabelStyle {
    /// The names of `count` candidates, at most 9.
    #[must_use]
    pub fn labels(self, count: usize) -> Vec<String> {
        let alphabet = match self {
            Self::Letters => "ABCDEFGHI",
            Self::Digits => "123456789",
        };
        alphabet.chars().take(count).map(String::from).collect()
    }
}

/// Canvas, candidates and looks; a task's own parameter block flattens this one into itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EyeballingParams {
    /// Width of the picture, pixels (default 512).
    pub width: u32,
    /// Height of the picture, pixels (default 512).
    pub height: u32,
    /// Number of candidates, 3 to 8 (default 5).
    pub candidates: usize,
    /// Names of the candidates (default letters).
    pub labels: LabelStyle,
    /// Radius of a candidate's disc, pixels (default 10); sets the size of its name, too.
    pub marker_radius: f64,
    /// Thickness of figure lines, pixels (default 5).
    pub line_width: f64,
    /// How far candidates spread; 1 leaves room for about one more between two (default 1).
    pub spread: f64,
    /// Colours (default light).
    pub theme: Theme,
    /// Random change of every channel of every pixel, grey levels (default 0, at most 64).
    pub noise: u8,
    /// Candidates are small dots that may stand close together, their names beside them at the
    /// ends of thin lines (default false; a record holds it only where it is true).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub callouts: bool,
}

impl Default for EyeballingParams {
    fn default() -> Self {
        Self {
            width: 512,
            height: 512,
            candidates: 5,
            labels: LabelStyle::Letters,
            marker_radius: 10.0,
            line_width: 5.0,
            spread: 1.0,
            theme: Theme::Light,
            noise: 0,
            callouts: false,
        }
    }
}

impl EyeballingParams {
    /// Checks ranges.
    ///
    /// # Errors
    /// A sentence naming the parameter.
    pub fn validate(&self) -> Result<(), String> {
        within("width", self.width, 128, MAX_SIDE)?;
        within("height", self.height, 128, MAX_SIDE)?;
        within("candidates", self.candidates, 3, 8)?;
        within("marker_radius", self.marker_radius, 6.0, 64.0)?;
        within("line_width", self.line_width, 1.0, 32.0)?;
        within("spread", self.spread, 0.8, 3.0)?;
        within("noise", self.noise, 0, 64)
    }

    /// The parameters that a record holds only where they differ from their default.
    pub const OPTIONAL: Optional = &[("callouts", Value::Bool(false))];

    /// Radius of what marks a candidate: its disc, with callouts its dot; pixels.
    #[must_use]
    pub fn disc_radius(&self) -> f64 {
        match self.callouts {
            true => (0.55 * self.marker_radius).max(4.0),
            false => self.marker_radius,
        }
    }

    /// Width and height, pixels.
    #[must_use]
    pub fn canvas(&self) -> [u32; 2] {
        [self.width, self.height]
    }

    /// Shorter side, pixels.
    #[must_use]
    pub fn side(&self) -> f64 {
        f64::from(self.width.min(self.height))
    }

    /// Width of the border that stays free, pixels.
    #[must_use]
    pub fn margin(&self) -> f64 {
        (0.06 * self.side()).round().max(18.0)
    }

    /// Least distance between two candidates, and of a distractor from the true locus, pixels.
    #[must_use]
    pub fn tolerance(&self) -> f64 {
        (2.0 * self.disc_radius() + 4.0).max(0.03 * self.side())
    }

    /// Radius of the disc in which candidates are scattered, pixels.
    #[must_use]
    pub fn cluster_radius(&self) -> f64 {
        self.spread * self.tolerance() * (0.9 + 0.62 * (self.candidates as f64).sqrt())
    }

    /// Least distance between a candidate and the middle of a figure line, pixels.
    #[must_use]
    pub fn stroke_clearance(&self) -> f64 {
        self.disc_radius() + self.line_width / 2.0 + 4.0
    }

    /// Outer radius of the small hollow rings that mark points of a figure, pixels.
    #[must_use]
    pub fn ring_radius(&self) -> f64 {
        (0.8 * self.marker_radius).max(7.0)
    }

    /// Thickness of construction lines, pixels.
    #[must_use]
    pub fn construction_width(&self) -> f64 {
        (self.line_width / 2.0).max(2.0)
    }

    /// Middle of the picture.
    #[must_use]
    pub fn middle(&self) -> [f64; 2] {
        [f64::from(self.width) / 2.0, f64::from(self.height) / 2.0]
    }

    /// Whether a disc of `radius` about `point` keeps clear of the margin.
    #[must_use]
    pub fn holds(&self, point: [f64; 2], radius: f64) -> bool {
        let free = self.margin() + radius;
        let [width, height] = [f64::from(self.width), f64::from(self.height)];
        (free..=width - free).contains(&point[0]) && (free..=height - free).contains(&point[1])
    }
}
