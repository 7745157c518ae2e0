//! color_size: which shade has the hidden ring?
//!
//! Four nested shapes get steadily darker, or lighter, inwards. The options are all four shades of
//! the hue; any ring may be hidden, so that each shade is the answer equally often.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Rgb, Stroke};
use crate::error::{PuzzleError, Result};
use crate::judge::{Area, PictureRule};
use crate::params::{Params, nearest, within};
use crate::pattern::{
    Figure, Gap, PLACEHOLDER, Page, PatternParams, Shape, Steps, Vec2, Wording, centroid,
    check_step, colors_rule, count_steps, direction, draw_question, draw_step, draw_strokes,
    find_gap, outline, require, rotate, round_outline,
};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct ColorSize;

/// Hues, as their pure colours.
const HUES: [(&str, Rgb); 6] = [
    ("blue", [45, 95, 205]),
    ("green", [50, 145, 65]),
    ("pink", [225, 70, 150]),
    ("purple", [130, 60, 175]),
    ("red", [205, 45, 45]),
    ("teal", [25, 140, 145]),
];

/// Shapes whose rings are wide enough everywhere.
const SHAPES: [Shape; 4] = [
    Shape::Circle,
    Shape::Square,
    Shape::Pentagon,
    Shape::Hexagon,
];

/// Radius of the innermost shape, percent of the outermost; the others lie evenly between.
const INNERMOST: Steps = [22, 32];

/// How light a colour is, among four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shade {
    /// Nearly white.
    Lightest,
    /// Lighter than the pure colour.
    Light,
    /// Darker than the pure colour.
    Dark,
    /// Nearly black.
    Darkest,
}

impl Shade {
    /// All of them, from light to dark.
    pub const ALL: [Self; 4] = [Self::Lightest, Self::Light, Self::Dark, Self::Darkest];

    /// The shade of a hue, by name.
    #[must_use]
    pub fn name(self, hue: &str) -> String {
        let adjective = match self {
            Self::Lightest => "lightest",
            Self::Light => "light",
            Self::Dark => "dark",
            Self::Darkest => "darkest",
        };
        format!("{adjective} {hue}")
    }

    /// The shade of a pure colour: some percent of the way to white or black.
    fn of(self, pure: Rgb) -> Rgb {
        let (share, end) = match self {
            Self::Lightest => (68, 255),
            Self::Light => (30, 255),
            Self::Dark => (22, 0),
            Self::Darkest => (60, 0),
        };
        pure.map(|value| ((u32::from(value) * (100 - share) + end * share) / 100) as u8)
    }
}

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColorSizeParams {
    /// What all pattern tasks have.
    #[serde(flatten)]
    pub common: PatternParams,
    /// Names of the hues in play (default all six).
    pub hues: Vec<String>,
}

impl Default for ColorSizeParams {
    fn default() -> Self {
        Self {
            common: PatternParams::default(),
            hues: HUES.iter().map(|(name, _)| (*name).to_owned()).collect(),
        }
    }
}

impl Params for ColorSizeParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()?;
        within("number of `hues`", self.hues.len(), 1, HUES.len())?;
        for (at, name) in self.hues.iter().enumerate() {
            if pure(name).is_none() {
                let hint = nearest(name, HUES.iter().map(|(known, _)| *known));
                return Err(format!("`hues` has no hue `{name}`; {hint}"));
            }
            if self.hues[..at].contains(name) {
                return Err(format!("`hues` names {name} twice"));
            }
        }
        Ok(())
    }
}

fn pure(hue: &str) -> Option<Rgb> {
    let mut known = HUES.iter();
    known.find(|(name, _)| *name == hue).map(|(_, rgb)| *rgb)
}

/// Geometry, in whole steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColorSizeScene {
    /// Paper, place and pen.
    pub page: Page,
    /// Kind of all four shapes.
    pub shape: Shape,
    /// Their turn, steps, clockwise.
    pub turn: i32,
    /// Radius of the innermost shape, percent of the outermost.
    pub innermost_percent: i32,
    /// Hue.
    pub hue: String,
    /// Shades from the outermost shape inwards; null is the hidden one.
    pub shades: [Option<Shade>; 4],
}

impl ColorSizeScene {
    /// Radius of a shape; nil for the one inside the innermost.
    fn radius(&self, level: usize) -> f64 {
        let innermost = f64::from(self.innermost_percent) / 100.0;
        match level {
            0..=3 => self.page.extent() * (1.0 - (1.0 - innermost) * level as f64 / 3.0),
            _ => 0.0,
        }
    }

    fn corners(&self, radius: f64) -> Vec<Vec2> {
        let figure = Figure {
            shape: self.shape,
            center: self.page.at([0.0; 2]),
            radius,
            turn: self.turn,
            mirror: None,
            fill: PLACEHOLDER,
            line: 0.0,
        };
        figure.corners()
    }

    /// What one sees of a shape between the radii `outer` and `inner`, in one line round both.
    fn band(&self, [outer, inner]: [f64; 2]) -> Vec<Vec2> {
        let mut band = self.corners(outer);
        band.push(band[0]);
        let hole = self.corners(inner);
        band.push(hole[0]);
        band.extend(hole.into_iter().rev());
        band
    }

    /// What one sees of a shape, growing outwards.
    fn ring(&self, level: usize, color: Rgb) -> Stroke {
        let [outer, inner] = [self.radius(level), self.radius(level + 1)];
        if self.shape == Shape::Circle {
            return Stroke::Ring {
                center: self.page.at([0.0; 2]),
                inner,
                outer,
                color,
            };
        }
        Stroke::Polygon {
            from: self.band([inner, inner]),
            to: self.band([outer, inner]),
            color,
        }
    }

    fn outline(&self, level: usize) -> Stroke {
        let (radius, line) = (self.radius(level), self.page.line() / 2.0);
        match self.shape {
            Shape::Circle => round_outline(self.page.at([0.0; 2]), radius + line / 2.0, line),
            _ => outline(self.corners(radius), line),
        }
    }

    /// A point in the middle of what one sees of a shape, and how wide it is there.
    fn spot(&self, level: usize) -> (Vec2, f64) {
        let corners = match self.shape {
            Shape::Circle => vec![[0.0, -1.0]],
            shape => shape.corners()[..2].to_vec(),
        };
        let arm = rotate(centroid(&corners), direction(self.turn));
        let reach = (arm[0] * arm[0] + arm[1] * arm[1]).sqrt();
        let [outer, inner] = [self.radius(level), self.radius(level + 1)];
        match level {
            3 => (self.page.at([0.0; 2]), 1.5 * outer * reach),
            _ => {
                let middle = (outer + inner) / 2.0;
                (
                    self.page.at(arm.map(|value| value * middle)),
                    (outer - inner) * reach,
                )
            }
        }
    }

    fn color(&self, shade: Option<Shade>) -> Rgb {
        match (shade, pure(&self.hue)) {
            (Some(shade), Some(pure)) => shade.of(pure),
            _ => PLACEHOLDER,
        }
    }

    /// The hidden shape and its shade by the rule.
    fn apply_rule(&self) -> Result<(usize, Shade)> {
        let gap = find_gap(&self.shades)?;
        let mut ladder = Shade::ALL;
        for _ in 0..2 {
            let fits = |at: usize| self.shades[at].is_none_or(|shade| shade == ladder[at]);
            if (0..4).all(fits) {
                return Ok((gap, ladder[gap]));
            }
            ladder.reverse();
        }
        let fault = "the shades do not get steadily darker or lighter";
        Err(PuzzleError::BadScene(fault.to_owned()))
    }
}

impl Task for ColorSize {
    type Params = ColorSizeParams;
    type Scene = ColorSizeScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "color_size",
            group: TaskGroup::VisualPuzzle,
            version: 1,
            about: "Name the shade of the hidden one of four nested shapes.",
        }
    }

    fn scene_space(&self, params: &ColorSizeParams) -> Option<u128> {
        let turned: u128 = SHAPES.iter().map(|shape| shape.turns() as u128).sum();
        // Two directions, four places for the hidden one.
        let figures = turned * count_steps(INNERMOST) * params.hues.len() as u128 * 2 * 4;
        Some(figures * params.common.pages())
    }

    fn build(&self, params: &ColorSizeParams, dice: &mut Dice) -> Result<ColorSizeScene> {
        let shape = SHAPES[dice.below(SHAPES.len())];
        let mut shades = Shade::ALL.map(Some);
        if dice.chance(0.5) {
            shades.reverse();
        }
        shades[dice.below(4)] = None;
        Ok(ColorSizeScene {
            page: params.common.draw_page(dice),
            shape,
            turn: draw_step([0, shape.turns() - 1], dice),
            innermost_percent: draw_step(INNERMOST, dice),
            hue: dice.pick(&params.hues).cloned().unwrap_or_default(),
            shades,
        })
    }

    fn solve(&self, params: &ColorSizeParams, scene: &ColorSizeScene) -> Result<Solved> {
        params.common.check_page(&scene.page)?;
        require(SHAPES.contains(&scene.shape), "no such shape here")?;
        check_step("the turn", scene.turn, [0, scene.shape.turns() - 1])?;
        check_step("the innermost radius", scene.innermost_percent, INNERMOST)?;
        require(params.hues.contains(&scene.hue), "no such hue here")?;
        let (gap, shade) = scene.apply_rule()?;
        let answer = Answer::Choice(shade.name(&scene.hue));
        let mut solved = Solved::new(answer, scene.page.canvas);
        let ring = scene.ring(gap, scene.color(Some(shade)));
        solved.construction.push(ring);
        Ok(solved)
    }

    fn options(
        &self,
        _: &ColorSizeParams,
        scene: &ColorSizeScene,
        _: &Solved,
        dice: &mut Dice,
    ) -> Result<Vec<String>> {
        let mut options = Shade::ALL.map(|shade| shade.name(&scene.hue)).to_vec();
        dice.shuffle(&mut options);
        Ok(options)
    }

    fn lists_options(&self, params: &ColorSizeParams) -> bool {
        params.common.list_options
    }

    fn prompts(&self, params: &ColorSizeParams, _: &Solved, options: &[String]) -> Prompts {
        let wording = Wording {
            figure: "The picture shows four shapes, one inside the other, in four shades of one \
                     color that get steadily darker, or steadily lighter, from the outermost to \
                     the innermost. From light to dark the shades are called lightest, light, \
                     dark and darkest. One shape is gray and bears a question mark.",
            ask: "Which shade does the rule give it?",
            short: "Which shade is missing?",
            noun: "shade with its color",
            edit: "Paint what one sees of the gray shape in the shade that the rule gives it, \
                   without the question mark.",
            motion: "The shade that the rule gives to the gray shape spreads outward from its \
                     inner edge until what one sees of the shape is full.",
        };
        wording.prompts(&params.common, options)
    }

    fn paint(
        &self,
        _: &ColorSizeParams,
        scene: &ColorSizeScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let mut canvas = scene.page.canvas()?;
        for (level, shade) in scene.shades.iter().enumerate() {
            draw_strokes(&mut canvas, &[scene.ring(level, scene.color(*shade))]);
        }
        let gap = find_gap(&scene.shades)?;
        Gap::of(layer, &solved.construction).draw(&mut canvas, |canvas| {
            let (spot, width) = scene.spot(gap);
            draw_question(canvas, spot, 0.95 * width);
        });
        for level in 0..4 {
            draw_strokes(&mut canvas, &[scene.outline(level)]);
        }
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        _: &ColorSizeParams,
        scene: &ColorSizeScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let (gap, shade) = scene.apply_rule()?;
        let [outer, inner] = [scene.radius(gap), scene.radius(gap + 1)];
        // All inside the outlines; the sides of a square are nearest, at 0.7 of the radius.
        let spare = (scene.page.line() / 4.0 + 1.5) / 0.7;
        let area = match gap {
            3 => Area::Polygon(scene.corners(outer - spare)),
            _ => Area::Polygon(scene.band([outer - spare, inner + spare])),
        };
        let seen = Shade::ALL.map(|shade| scene.color(Some(shade))).into_iter();
        let right = scene.color(Some(shade));
        Ok(colors_rule("the hidden shape", area, right, seen))
    }
}
