//! rectangle_height_color: which colour has the hidden bar?
//!
//! Seven rounded bars of three heights; bars of one height share a colour. Every colour that is
//! seen is seen twice.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Rgb, Stroke};
use crate::error::Result;
use crate::judge::{Area, PictureRule};
use crate::params::Params;
use crate::pattern::{
    Gap, INK, Page, PatternParams, Steps, Vec2, Wording, check_palette, check_step, circle_points,
    color_names, color_or_gray, color_rule, count_steps, draw_question, draw_step, draw_strokes,
    draw_three, find_gap, require, seen_and_one_more, shared, threes,
};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct RectangleHeightColor;

/// Height of the tallest bars, percent of the figure.
const TALLEST: Steps = [78, 100];

/// Width of the bars, percent of the distance between neighbours.
const WIDTH: Steps = [55, 75];

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RectangleHeightColorParams {
    /// What all pattern tasks have.
    #[serde(flatten)]
    pub common: PatternParams,
    /// Names of the colours in play, at least 4 (default all nine).
    pub palette: Vec<String>,
}

impl Default for RectangleHeightColorParams {
    fn default() -> Self {
        Self {
            common: PatternParams::default(),
            palette: color_names(),
        }
    }
}

impl Params for RectangleHeightColorParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()?;
        check_palette(&self.palette, 4)
    }
}

/// Where bars of different height are level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alignment {
    /// They hang.
    Top,
    /// Their middles are level.
    Middle,
    /// They stand.
    Bottom,
}

impl Alignment {
    const ALL: [Self; 3] = [Self::Top, Self::Middle, Self::Bottom];
}

/// One of the bars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColoredBar {
    /// Height, thirds of the tallest.
    pub height: i32,
    /// Colour; null is the hidden one.
    pub color: Option<String>,
}

/// Geometry, in whole steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RectangleHeightColorScene {
    /// Paper, place and pen.
    pub page: Page,
    /// Where bars are level.
    pub alignment: Alignment,
    /// Height of the tallest bars, percent of the figure.
    pub tallest_percent: i32,
    /// Width of the bars, percent of the distance between neighbours.
    pub width_percent: i32,
    /// The bars, from left to right.
    pub bars: [ColoredBar; 7],
}

impl RectangleHeightColorScene {
    fn width(&self) -> f64 {
        self.page.extent() * 2.0 / 7.0 * f64::from(self.width_percent) / 100.0
    }

    /// Bottom and top of a bar, in the middle of its width.
    fn ends(&self, at: usize) -> [Vec2; 2] {
        let across = self.page.extent() * 2.0 / 7.0 * (at as f64 - 3.0);
        let tallest = self.page.extent() * 2.0 * f64::from(self.tallest_percent) / 100.0;
        let height = tallest * f64::from(self.bars[at].height) / 3.0;
        let top = match self.alignment {
            Alignment::Top => -tallest / 2.0,
            Alignment::Middle => -height / 2.0,
            Alignment::Bottom => tallest / 2.0 - height,
        };
        [[across, top + height], [across, top]].map(|end| self.page.at(end))
    }

    /// A line whose round ends are the ends of the bar, smaller by `inset` on every side.
    fn bar(&self, at: usize, inset: f64, color: Rgb) -> Stroke {
        let [[x, bottom], [_, top]] = self.ends(at);
        let half = self.width() / 2.0;
        Stroke::Line {
            points: vec![[x, bottom - half], [x, top + half]],
            width: self.width() - 2.0 * inset,
            color,
        }
    }

    fn colors(&self) -> [Option<&str>; 7] {
        std::array::from_fn(|at| self.bars[at].color.as_deref())
    }

    /// The hidden bar and its colour by the rule.
    fn apply_rule(&self) -> Result<(usize, String)> {
        let colors = self.colors();
        let gap = find_gap(&colors)?;
        let mut found = Vec::new();
        for height in 1..=3 {
            let alike = (0..7).filter(|&at| at != gap && self.bars[at].height == height);
            let alike: Vec<_> = alike.collect();
            require(alike.len() == 2, "a height is not seen twice")?;
            let name = shared(&colors, alike)?;
            require(!found.contains(&name), "two heights share a color")?;
            found.push(name);
        }
        Ok((gap, found[self.bars[gap].height as usize - 1].to_owned()))
    }
}

impl Task for RectangleHeightColor {
    type Params = RectangleHeightColorParams;
    type Scene = RectangleHeightColorScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "rectangle_height_color",
            group: TaskGroup::VisualPuzzle,
            version: 1,
            about: "Name the color of the hidden bar by its height.",
        }
    }

    fn scene_space(&self, params: &RectangleHeightColorParams) -> Option<u128> {
        // Heights: 7 places and 3 heights for the hidden bar, 90 orders for the others.
        let figures = 7 * 3 * 90 * 3 * count_steps(TALLEST) * count_steps(WIDTH);
        Some(figures * threes(&params.palette) * params.common.pages())
    }

    fn build(
        &self,
        params: &RectangleHeightColorParams,
        dice: &mut Dice,
    ) -> Result<RectangleHeightColorScene> {
        let colors = draw_three(&params.palette, dice);
        let gap = dice.below(7);
        let mut heights = vec![1, 1, 2, 2, 3, 3];
        dice.shuffle(&mut heights);
        heights.insert(gap, dice.whole(1, 3));
        let bars = std::array::from_fn(|at| ColoredBar {
            height: heights[at],
            color: (at != gap).then(|| colors[heights[at] as usize - 1].clone()),
        });
        Ok(RectangleHeightColorScene {
            page: params.common.draw_page(dice),
            alignment: Alignment::ALL[dice.below(3)],
            tallest_percent: draw_step(TALLEST, dice),
            width_percent: draw_step(WIDTH, dice),
            bars,
        })
    }

    fn solve(
        &self,
        params: &RectangleHeightColorParams,
        scene: &RectangleHeightColorScene,
    ) -> Result<Solved> {
        params.common.check_page(&scene.page)?;
        check_step("the tallest height", scene.tallest_percent, TALLEST)?;
        check_step("the width", scene.width_percent, WIDTH)?;
        for bar in &scene.bars {
            check_step("a height", bar.height, [1, 3])?;
            let known = bar.color.iter().all(|name| params.palette.contains(name));
            require(known, "a color is not in the palette")?;
        }
        let (gap, name) = scene.apply_rule()?;
        let fill = scene.bar(gap, scene.page.line(), color_or_gray(Some(&name)));
        let mut solved = Solved::new(Answer::Choice(name), scene.page.canvas);
        solved.construction.push(fill);
        Ok(solved)
    }

    fn options(
        &self,
        params: &RectangleHeightColorParams,
        scene: &RectangleHeightColorScene,
        _: &Solved,
        dice: &mut Dice,
    ) -> Result<Vec<String>> {
        if !params.common.list_options {
            return Ok(params.palette.clone());
        }
        let colors = scene.colors();
        let seen = |name: &String| colors.contains(&Some(name.as_str()));
        Ok(seen_and_one_more(&params.palette, seen, dice))
    }

    fn lists_options(&self, params: &RectangleHeightColorParams) -> bool {
        params.common.list_options
    }

    fn prompts(
        &self,
        params: &RectangleHeightColorParams,
        _: &Solved,
        options: &[String],
    ) -> Prompts {
        let wording = Wording {
            figure: "The picture shows seven upright bars side by side. Bars of the same height \
                     have the same color, and bars of different heights have different colors. \
                     One bar is gray and bears a question mark.",
            ask: "What color does the rule give it?",
            short: "Which color is missing?",
            noun: "color",
            edit: "Paint the gray bar in the color that the rule gives it, without the question \
                   mark.",
            motion: "The color that the rule gives to the gray bar rises from its foot until the \
                     bar is full.",
        };
        wording.prompts(&params.common, options)
    }

    fn paint(
        &self,
        _: &RectangleHeightColorParams,
        scene: &RectangleHeightColorScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let mut canvas = scene.page.canvas()?;
        let colors = scene.colors();
        for (at, name) in colors.iter().enumerate() {
            let fill = scene.bar(at, scene.page.line(), color_or_gray(*name));
            draw_strokes(&mut canvas, &[scene.bar(at, 0.0, INK), fill]);
        }
        let gap = find_gap(&colors)?;
        Gap::of(layer, &solved.construction).draw(&mut canvas, |canvas| {
            let [[x, bottom], [_, top]] = scene.ends(gap);
            draw_question(canvas, [x, (bottom + top) / 2.0], 0.9 * scene.width());
        });
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        params: &RectangleHeightColorParams,
        scene: &RectangleHeightColorScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let (gap, name) = scene.apply_rule()?;
        let [[x, bottom], [_, top]] = scene.ends(gap);
        let half = scene.width() / 2.0;
        let inner = half - scene.page.line() - 1.0;
        // All inside the outline: the upper half of a circle on top, the lower half below.
        let edge = circle_points().into_iter().map(|[across, down]| {
            let middle = if down < 0.0 {
                top + half
            } else {
                bottom - half
            };
            [x + inner * across, middle + inner * down]
        });
        let area = Area::Polygon(edge.collect());
        let right = color_or_gray(Some(&name));
        Ok(color_rule(
            "the hidden bar",
            area,
            right,
            params.palette.iter(),
        ))
    }
}
