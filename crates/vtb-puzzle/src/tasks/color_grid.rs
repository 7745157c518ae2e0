//! color_grid: which colour is hidden?
//!
//! Three by three circles: corners share a colour, edge-middles a second, the centre has a third.
//! One circle other than the centre is a grey placeholder; the three circles of its own kind show
//! its colour. The rule fixes few scenes, so size, place, outline and background vary as well, in
//! whole steps: scenes are then countable and their hashes exact.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Rgb, Stroke, draw_growing};
use crate::error::{PuzzleError, Result};
use crate::judge::{Area, PictureRule};
use crate::params::{Optional, Params, nearest, within};
use crate::pattern::{PromptStyle, colors_rule};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct ColorGrid;

/// Names and colours that a palette may use.
const COLORS: [(&str, Rgb); 6] = [
    ("blue", [0x6f, 0xa8, 0xdc]),
    ("green", [0x93, 0xc4, 0x7d]),
    ("orange", [0xf6, 0xb2, 0x6b]),
    ("purple", [0x8e, 0x7c, 0xc3]),
    ("red", [0xe0, 0x66, 0x66]),
    ("yellow", [0xff, 0xd9, 0x66]),
];

/// Too alike to stand in one picture.
const ALIKE: [&str; 2] = ["orange", "yellow"];

const OUTLINE: Rgb = [40, 40, 40];
const PLACEHOLDER: Rgb = [205, 205, 205];
const CORNERS: [usize; 4] = [0, 2, 6, 8];
const EDGES: [usize; 4] = [1, 3, 5, 7];
const CENTER: usize = 4;

/// Parameters. Shares are of the picture's shorter side, and become whole pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColorGridParams {
    /// Side of the square picture, pixels (default 512).
    pub canvas: u32,
    /// Width of the picture, pixels (default null: as `canvas`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Height of the picture, pixels (default null: as `canvas`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Names of the colours in play, 4 to 6 of them (default all six).
    pub palette: Vec<String>,
    /// Least radius of a circle (default 0.075).
    pub radius_min: f64,
    /// Greatest radius of a circle (default 0.11).
    pub radius_max: f64,
    /// Least distance between neighbouring centres (default 0.245).
    pub spacing_min: f64,
    /// Greatest distance between neighbouring centres (default 0.28).
    pub spacing_max: f64,
    /// How far the grid may lie off the middle, along either axis (default 0.03).
    pub offset: f64,
    /// Backgrounds: steps per colour channel, 1 for plain white (default 6, hence 216 tints).
    pub tints: u32,
    /// The text prompt lists four options; without, any colour of the palette may be the answer
    /// (default true).
    pub list_options: bool,
    /// How much the text prompt says (default full).
    pub prompt_style: PromptStyle,
}

impl Default for ColorGridParams {
    fn default() -> Self {
        Self {
            canvas: 512,
            width: None,
            height: None,
            palette: COLORS.iter().map(|(name, _)| (*name).to_owned()).collect(),
            radius_min: 0.075,
            radius_max: 0.11,
            spacing_min: 0.245,
            spacing_max: 0.28,
            offset: 0.03,
            tints: 6,
            list_options: true,
            prompt_style: PromptStyle::Full,
        }
    }
}

impl Params for ColorGridParams {
    fn validate(&self) -> Result<(), String> {
        within("canvas", self.canvas, 64, 2048)?;
        let [width, height] = self.size();
        within("width", width, 64, 2048)?;
        within("height", height, 64, 2048)?;
        within("tints", self.tints, 1, 16)?;
        within("offset", self.offset, 0.0, 0.2)?;
        within("radius_min", self.radius_min, 0.03, 0.16)?;
        within("radius_max", self.radius_max, self.radius_min, 0.16)?;
        within("spacing_min", self.spacing_min, 0.1, 0.4)?;
        within("spacing_max", self.spacing_max, self.spacing_min, 0.4)?;
        within(
            "number of colors in `palette`",
            self.palette.len(),
            4,
            COLORS.len(),
        )?;
        for (at, name) in self.palette.iter().enumerate() {
            if color(name).is_none() {
                let hint = nearest(name, COLORS.iter().map(|(known, _)| *known));
                return Err(format!("`palette` has no color `{name}`; {hint}"));
            }
            if self.palette[..at].contains(name) {
                return Err(format!("`palette` names {name} twice"));
            }
        }
        // Outlines lie inside the radius.
        let ranges = self.ranges();
        if 2 * ranges.radius[1] >= ranges.spacing[0] {
            let fault = "circles would touch: lower `radius_max` or raise `spacing_min`";
            return Err(fault.to_owned());
        }
        if 2 * (ranges.offset + ranges.spacing[1] + ranges.radius[1]) >= self.side() as i32 {
            let fault = "circles would leave the picture: lower `offset` or `spacing_max`";
            return Err(fault.to_owned());
        }
        Ok(())
    }

    fn optional() -> Optional {
        &[("width", Value::Null), ("height", Value::Null)]
    }
}

/// Whole steps a scene is drawn from; lengths in pixels, the line in tenths of a pixel.
struct Ranges {
    spacing: [i32; 2],
    radius: [i32; 2],
    line: [i32; 2],
    offset: i32,
}

impl ColorGridParams {
    /// Width and height of the picture.
    fn size(&self) -> [u32; 2] {
        [self.width, self.height].map(|side| side.unwrap_or(self.canvas))
    }

    fn side(&self) -> u32 {
        let [width, height] = self.size();
        width.min(height)
    }

    /// The size as far as a scene tells it besides the side.
    fn page(&self) -> Option<[u32; 2]> {
        (self.width.is_some() || self.height.is_some()).then(|| self.size())
    }

    fn ranges(&self) -> Ranges {
        let pixels = |share: f64| (share * f64::from(self.side())).round() as i32;
        Ranges {
            spacing: [pixels(self.spacing_min), pixels(self.spacing_max)],
            radius: [pixels(self.radius_min), pixels(self.radius_max)],
            line: [pixels(0.06).max(6), pixels(0.14).max(14)],
            offset: pixels(self.offset),
        }
    }

    /// Every allowed (hidden, other kind's, centre's) colour triple, as indices into the palette.
    fn triples(&self) -> impl Iterator<Item = [usize; 3]> + '_ {
        let count = self.palette.len();
        let all = (0..count * count * count)
            .map(move |code| [code / (count * count), code / count % count, code % count]);
        all.filter(|&[a, b, c]| {
            let alike = ALIKE
                .iter()
                .filter(|name| [a, b, c].iter().any(|&at| self.palette[at] == **name));
            a != b && b != c && a != c && alike.count() < 2
        })
    }

    fn tint(&self, step: usize) -> u8 {
        let steps = self.tints.max(2) - 1;
        255 - (step as u32 * 24 / steps) as u8
    }
}

/// Geometry, in whole steps. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColorGridScene {
    /// Shorter side of the picture.
    pub canvas: u32,
    /// Width and height, where they were asked for; else the picture is square.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<[u32; 2]>,
    /// Background.
    pub background: Rgb,
    /// Centre of the middle circle.
    pub center: [i32; 2],
    /// Distance between neighbouring centres.
    pub spacing: i32,
    /// Radius of the circles.
    pub radius: i32,
    /// Thickness of outlines, tenths of a pixel.
    pub line_tenths: i32,
    /// Colours row by row; null is the hidden one.
    pub cells: [Option<String>; 9],
}

impl ColorGridScene {
    fn size(&self) -> [u32; 2] {
        self.page.unwrap_or([self.canvas; 2])
    }

    fn place(&self, cell: usize) -> [f64; 2] {
        let [column, row] = [cell as i32 % 3 - 1, cell as i32 / 3 - 1];
        let x = self.center[0] + column * self.spacing;
        let y = self.center[1] + row * self.spacing;
        [f64::from(x), f64::from(y)]
    }

    fn line(&self) -> f64 {
        f64::from(self.line_tenths) / 10.0
    }

    fn disc(&self, canvas: &mut Canvas, cell: usize, fill: Rgb) {
        let radius = f64::from(self.radius) - self.line() / 2.0;
        canvas.ring(self.place(cell), radius, self.line(), OUTLINE, fill);
    }

    /// The hidden cell and its colour by the rule.
    fn apply_rule(&self) -> Result<(usize, &str)> {
        let bad = |fault: &str| PuzzleError::BadScene(fault.to_owned());
        let mut hidden = (0..9).filter(|&cell| self.cells[cell].is_none());
        let (Some(gap), None) = (hidden.next(), hidden.next()) else {
            return Err(bad("exactly one circle must be hidden"));
        };
        let shared = |kind: &[usize]| {
            let mut seen = kind.iter().filter_map(|&cell| self.cells[cell].as_deref());
            let first = seen.next().ok_or_else(|| bad("the centre is hidden"))?;
            match seen.all(|other| other == first) {
                true => Ok(first),
                false => Err(bad("circles of one kind differ in colour")),
            }
        };
        let (corner, edge) = (shared(&CORNERS)?, shared(&EDGES)?);
        let center = shared(&[CENTER])?;
        if corner == edge || edge == center || corner == center {
            return Err(bad("two kinds of circle share a colour"));
        }
        if [corner, edge, center]
            .iter()
            .filter(|name| ALIKE.contains(name))
            .count()
            > 1
        {
            return Err(bad("orange and yellow stand in one picture"));
        }
        Ok((gap, if CORNERS.contains(&gap) { corner } else { edge }))
    }
}

impl Task for ColorGrid {
    type Params = ColorGridParams;
    type Scene = ColorGridScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "color_grid",
            group: TaskGroup::VisualPuzzle,
            version: 1,
            about: "Name the color of the hidden circle in a three by three grid.",
        }
    }

    fn scene_space(&self, params: &ColorGridParams) -> Option<u128> {
        let Ranges {
            spacing,
            radius,
            line,
            offset,
        } = params.ranges();
        let steps = |range: [i32; 2]| (range[1] - range[0] + 1) as u128;
        let colors = params.triples().count() as u128 * 8;
        let places = (2 * offset + 1) as u128 * (2 * offset + 1) as u128;
        let tints = u128::from(params.tints).pow(3);
        Some(colors * places * tints * steps(spacing) * steps(radius) * steps(line))
    }

    fn build(&self, params: &ColorGridParams, dice: &mut Dice) -> Result<ColorGridScene> {
        let Ranges {
            spacing,
            radius,
            line,
            offset,
        } = params.ranges();
        // The answer first: avoiding alike colours must not make some answers rarer.
        let answer = dice.below(params.palette.len());
        let triples: Vec<_> = params
            .triples()
            .filter(|triple| triple[0] == answer)
            .collect();
        let Some(&[own, other, center]) = dice.pick(&triples) else {
            return Err(PuzzleError::NoScene {
                task: Task::info(self).name.to_owned(),
                tries: 1,
                hint: "the palette has too few colours".to_owned(),
            });
        };
        let hidden = [0, 1, 2, 3, 5, 6, 7, 8][dice.below(8)];
        let cells = std::array::from_fn(|cell| {
            let same_kind = CORNERS.contains(&cell) == CORNERS.contains(&hidden);
            let color = match cell {
                CENTER => center,
                _ if same_kind => own,
                _ => other,
            };
            (cell != hidden).then(|| params.palette[color].clone())
        });
        Ok(ColorGridScene {
            canvas: params.side(),
            page: params.page(),
            background: [(); 3].map(|()| params.tint(dice.below(params.tints as usize))),
            center: params
                .size()
                .map(|side| side as i32 / 2 + dice.whole(-offset, offset)),
            spacing: dice.whole(spacing[0], spacing[1]),
            radius: dice.whole(radius[0], radius[1]),
            line_tenths: dice.whole(line[0], line[1]),
            cells,
        })
    }

    fn solve(&self, params: &ColorGridParams, scene: &ColorGridScene) -> Result<Solved> {
        let Ranges {
            spacing,
            radius,
            line,
            offset,
        } = params.ranges();
        let in_range = |value: i32, range: [i32; 2]| (range[0]..=range[1]).contains(&value);
        let centered = scene.center.iter().zip(params.size()).all(|(&at, side)| {
            let middle = side as i32 / 2;
            in_range(at, [middle - offset, middle + offset])
        });
        let sized = in_range(scene.spacing, spacing)
            && in_range(scene.radius, radius)
            && in_range(scene.line_tenths, line);
        let page = scene.canvas == params.side() && scene.page == params.page();
        if !page || !centered || !sized {
            return Err(PuzzleError::BadScene(
                "sizes are outside the parameters".to_owned(),
            ));
        }
        let known = |name: &String| params.palette.contains(name);
        if let Some(name) = scene.cells.iter().flatten().find(|name| !known(name)) {
            return Err(PuzzleError::BadScene(format!(
                "`{name}` is not in the palette"
            )));
        }
        let (hidden, name) = scene.apply_rule()?;
        let mut solved = Solved::new(Answer::Choice(name.to_owned()), scene.size());
        solved.construction.push(Stroke::Disc {
            center: scene.place(hidden),
            radius: f64::from(scene.radius) - scene.line(),
            color: color(name).unwrap_or(PLACEHOLDER),
        });
        Ok(solved)
    }

    fn options(
        &self,
        params: &ColorGridParams,
        scene: &ColorGridScene,
        solved: &Solved,
        dice: &mut Dice,
    ) -> Result<Vec<String>> {
        if !params.list_options {
            return Ok(params.palette.clone());
        }
        // The colours one sees are all offered, and one that is nowhere in the picture.
        let seen = |name: &String| scene.cells.iter().flatten().any(|cell| cell == name);
        let (mut options, unseen): (Vec<_>, Vec<_>) =
            params.palette.iter().cloned().partition(seen);
        let alike = |name: &&String| {
            let clash = options
                .iter()
                .any(|option| ALIKE.contains(&option.as_str()));
            !(clash && ALIKE.contains(&name.as_str()))
        };
        let apart: Vec<_> = unseen.iter().filter(alike).cloned().collect();
        options.extend(
            dice.pick(if apart.is_empty() { &unseen } else { &apart })
                .cloned(),
        );
        debug_assert!(
            options
                .iter()
                .any(|option| *option == solved.answer.to_string())
        );
        dice.shuffle(&mut options);
        Ok(options)
    }

    fn lists_options(&self, params: &ColorGridParams) -> bool {
        params.list_options
    }

    fn prompts(&self, params: &ColorGridParams, _: &Solved, options: &[String]) -> Prompts {
        let figure = "The picture shows nine circles in three rows of three, colored by a rule: \
                      the color of a circle depends on whether it is at a corner, in the middle \
                      of a side, or in the center. One circle is gray and bears a question mark.";
        let choices = match params.list_options {
            true => format!(" Choose from: {}.", options.join(", ")),
            false => String::new(),
        };
        let text = match params.prompt_style {
            PromptStyle::Short => {
                format!("Which color is missing?{choices} Reply <answer>color</answer>.")
            }
            PromptStyle::Full => format!(
                "{figure} What color does the rule give it?{choices} Put only the name of the \
                 color inside <answer> and </answer> at the end of your reply."
            ),
        };
        let edit = "Paint the gray circle in the color that the rule gives it, without the \
                    question mark, and leave everything else as it is.";
        Prompts {
            text,
            image: format!("{figure} {edit}"),
            text_image: format!(
                "{figure} {edit} Name the color inside <answer> and </answer> as well."
            ),
            video: format!(
                "{figure} The camera does not move. The color that the rule gives to the gray \
                 circle spreads from its center until the circle is full. Nothing else changes."
            ),
        }
    }

    fn paint(
        &self,
        _: &ColorGridParams,
        scene: &ColorGridScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let mut canvas = Canvas::new(scene.size(), scene.background)?;
        for (cell, name) in scene.cells.iter().enumerate() {
            match name.as_deref().and_then(color) {
                Some(fill) => scene.disc(&mut canvas, cell, fill),
                None => {
                    scene.disc(&mut canvas, cell, PLACEHOLDER);
                    if layer != Layer::Solution {
                        let size = 1.5 * f64::from(scene.radius);
                        canvas.label(scene.place(cell), "?", size, [0, 0, 0]);
                    }
                }
            }
        }
        draw_growing(&mut canvas, &solved.construction, layer.progress());
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        params: &ColorGridParams,
        scene: &ColorGridScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let (hidden, name) = scene.apply_rule()?;
        let Some(right) = color(name) else {
            let fault = format!("`{name}` is not a color");
            return Err(PuzzleError::BadScene(fault));
        };
        let area = Area::Disc {
            center: scene.place(hidden),
            radius: f64::from(scene.radius) - scene.line() - 1.0,
        };
        let what = format!("row {}, column {}", hidden / 3 + 1, hidden % 3 + 1);
        let seen = params.palette.iter().filter_map(|name| color(name));
        Ok(colors_rule(&what, area, right, seen))
    }
}

fn color(name: &str) -> Option<Rgb> {
    COLORS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, rgb)| *rgb)
}
