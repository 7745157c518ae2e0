//! size_cycle: which size is missing?
//!
//! Spiral arms of four circles whose sizes run round small, medium, large in one direction. Each
//! arm begins anywhere in the cycle, independently of the others, so that the distance from the
//! centre says nothing. With four circles in a cycle of three, an arm without its first or last
//! circle still shows every size: there the order has to be read.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Rgb, Stroke};
use crate::error::{PuzzleError, Result};
use crate::judge::{Area, PictureRule};
use crate::params::Params;
use crate::pattern::{
    Figure, Gap, Page, PatternParams, Shape, Size, Sizes, Steps, Vec2, Wording, check_step,
    color_names, color_or_gray, count_steps, direction, draw_dotted_question, draw_step,
    draw_strokes, drawing_rule, find_gap, regular, require, rotate, size_options, turns,
};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct SizeCycle;

/// Circles of an arm.
const RINGS: usize = 4;

/// Distances of an arm's circles from the centre, shares of the last. With the least twist the
/// first two of large size are a twentieth of the figure's half size apart.
const DISTANCES: [f64; RINGS] = [0.28, 0.58, 0.8, 1.0];

/// Room for a circle, a share of the figure's half size.
const ROOM: f64 = 0.14;

/// Turn from one circle of an arm to the next, steps, to either side.
const TWIST: Steps = [17, 25];

/// Colour of the lines through the circles of an arm.
const GUIDE: Rgb = [168, 168, 168];

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SizeCycleParams {
    /// What all pattern tasks have; here `size_min` is 0.84 by default.
    #[serde(flatten)]
    pub common: PatternParams,
}

impl Default for SizeCycleParams {
    fn default() -> Self {
        let common = PatternParams {
            size_min: 0.84,
            ..PatternParams::default()
        };
        Self { common }
    }
}

impl Params for SizeCycleParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()
    }
}

/// Geometry, in whole steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeCycleScene {
    /// Paper, place and pen.
    pub page: Page,
    /// Turn of the first arm's first circle from the top, steps, clockwise.
    pub turn: i32,
    /// Turn from one circle of an arm to the next, steps, clockwise.
    pub twist: i32,
    /// Colour of the circles.
    pub fill: String,
    /// How large the sizes are.
    pub sizes: Sizes,
    /// Three or four arms, clockwise, each from the centre outwards; null is the hidden circle.
    pub arms: Vec<[Option<Size>; RINGS]>,
}

impl SizeCycleScene {
    fn radius(&self, size: Size) -> f64 {
        self.sizes.radius(size, ROOM * self.page.extent())
    }

    /// Centre of a circle, numbered through all arms.
    fn place(&self, circle: usize) -> Vec2 {
        let (arm, ring) = (circle / RINGS, circle % RINGS);
        let mut way = rotate(regular(self.arms.len())[arm], direction(self.turn));
        // Steps are not all of one angle: to the left is the mirror image of to the right.
        let [x, y] = direction(self.twist.saturating_abs());
        let twist = if self.twist < 0 { [x, -y] } else { [x, y] };
        for _ in 0..ring {
            way = rotate(way, twist);
        }
        let reach = (self.page.extent() - self.radius(Size::Large)) * DISTANCES[ring];
        self.page.at(way.map(|value| value * reach))
    }

    fn strokes(&self, circle: usize, size: Size) -> Vec<Stroke> {
        let figure = Figure {
            shape: Shape::Circle,
            center: self.place(circle),
            radius: self.radius(size),
            turn: 0,
            mirror: None,
            fill: color_or_gray(Some(&self.fill)),
            line: self.page.line(),
        };
        figure.strokes()
    }

    fn circles(&self) -> Vec<Option<Size>> {
        self.arms.concat()
    }

    /// The hidden circle and its size by the rule.
    fn apply_rule(&self) -> Result<(usize, Size)> {
        let gap = find_gap(&self.circles())?;
        for step in [1, -1] {
            let starts: Option<Vec<_>> = self.arms.iter().map(|arm| start(arm, step)).collect();
            if let Some(starts) = starts {
                let ring = (gap % RINGS) as i32;
                return Ok((gap, starts[gap / RINGS].after(step * ring)));
            }
        }
        let fault = "the sizes do not run round in one direction";
        Err(PuzzleError::BadScene(fault.to_owned()))
    }

    fn sketch(&self, gap: Gap<'_>) -> Result<Canvas> {
        let mut canvas = self.page.canvas()?;
        for arm in 0..self.arms.len() {
            let line: Vec<_> = (0..RINGS)
                .map(|ring| self.place(arm * RINGS + ring))
                .collect();
            canvas.polyline(&line, self.page.line() / 2.0, GUIDE);
        }
        let circles = self.circles();
        for (circle, size) in circles.iter().enumerate() {
            if let Some(size) = size {
                draw_strokes(&mut canvas, &self.strokes(circle, *size));
            }
        }
        let hidden = self.place(find_gap(&circles)?);
        gap.draw(&mut canvas, |canvas| {
            canvas.disc(hidden, self.radius(Size::Large), self.page.background);
            draw_dotted_question(canvas, hidden, self.radius(Size::Large));
        });
        Ok(canvas)
    }
}

/// The size that an arm begins with if it goes round in `step`s; `None` if it does not.
fn start(arm: &[Option<Size>; RINGS], step: i32) -> Option<Size> {
    let runs = |start: &Size| {
        let mut circles = (0..).zip(arm);
        circles.all(|(ring, size)| size.is_none_or(|size| size == start.after(step * ring)))
    };
    Size::ALL.into_iter().find(runs)
}

impl Task for SizeCycle {
    type Params = SizeCycleParams;
    type Scene = SizeCycleScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "size_cycle",
            group: TaskGroup::VisualPuzzle,
            version: 1,
            about: "Name the size that is missing from spiral arms of circles.",
        }
    }

    fn scene_space(&self, params: &SizeCycleParams) -> Option<u128> {
        // For three and four arms: turns, places for the hidden circle, beginnings.
        let arms = |count: usize| {
            turns(count) as u128 * (count * RINGS * 3_usize.pow(count as u32)) as u128
        };
        let figures = (arms(3) + arms(4)) * 2 * 2 * count_steps(TWIST);
        let looks = color_names().len() as u128 * Sizes::count();
        Some(figures * looks * params.common.pages())
    }

    fn build(&self, params: &SizeCycleParams, dice: &mut Dice) -> Result<SizeCycleScene> {
        let count = 3 + dice.below(2);
        let step = if dice.chance(0.5) { 1 } else { -1 };
        let side = if dice.chance(0.5) { 1 } else { -1 };
        let arm = |start: Size| std::array::from_fn(|ring| Some(start.after(step * ring as i32)));
        let mut arms: Vec<_> = (0..count).map(|_| arm(Size::ALL[dice.below(3)])).collect();
        arms[dice.below(count)][dice.below(RINGS)] = None;
        Ok(SizeCycleScene {
            page: params.common.draw_page(dice),
            turn: draw_step([0, turns(count) - 1], dice),
            twist: side * draw_step(TWIST, dice),
            fill: dice.pick(&color_names()).cloned().unwrap_or_default(),
            sizes: Sizes::draw(dice),
            arms,
        })
    }

    fn solve(&self, params: &SizeCycleParams, scene: &SizeCycleScene) -> Result<Solved> {
        params.common.check_page(&scene.page)?;
        let count = scene.arms.len();
        require((3..=4).contains(&count), "there must be three or four arms")?;
        check_step("the turn", scene.turn, [0, turns(count) - 1])?;
        check_step("the twist", scene.twist.saturating_abs(), TWIST)?;
        require(color_names().contains(&scene.fill), "no such color")?;
        scene.sizes.check()?;
        let (gap, size) = scene.apply_rule()?;
        let answer = Answer::Choice(size.name().to_owned());
        let mut solved = Solved::new(answer, scene.page.canvas);
        solved.construction = scene.strokes(gap, size);
        Ok(solved)
    }

    fn options(
        &self,
        _: &SizeCycleParams,
        _: &SizeCycleScene,
        _: &Solved,
        dice: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(size_options(dice))
    }

    fn lists_options(&self, params: &SizeCycleParams) -> bool {
        params.common.list_options
    }

    fn prompts(&self, params: &SizeCycleParams, _: &Solved, options: &[String]) -> Prompts {
        let wording = Wording {
            figure: "The picture shows spiral arms of four circles on a thin line each. From the center outward \
                     the circles of every arm run through small, medium and large over and over, \
                     either in this order or in the reverse order, the same for all arms, but \
                     each arm may begin with any size. One circle is missing; a dotted circle \
                     with a question mark is in its place.",
            ask: "Which size does the rule give it?",
            short: "Which size is missing?",
            noun: "size",
            edit: "Draw the missing circle in the size that the rule gives it, in place of the \
                   dotted circle and the question mark, and in the color of the others.",
            motion: "The dotted circle goes as well, and in its place the missing circle grows \
                     until it has the size that the rule gives it.",
        };
        wording.prompts(&params.common, options)
    }

    fn paint(
        &self,
        _: &SizeCycleParams,
        scene: &SizeCycleScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        scene.sketch(Gap::of(layer, &solved.construction))
    }

    fn picture_rule(
        &self,
        _: &SizeCycleParams,
        scene: &SizeCycleScene,
        solved: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let (gap, _) = scene.apply_rule()?;
        let area = Area::Disc {
            center: scene.place(gap),
            radius: scene.radius(Size::Large) + 1.0,
        };
        let offered = Size::ALL.map(|size| (size.name().to_owned(), size));
        let right = solved.answer.to_string();
        drawing_rule(
            "the missing circle",
            area,
            offered.into_iter(),
            &right,
            |size| scene.sketch(Gap::Drawn(&scene.strokes(gap, size), 1.0)),
        )
    }
}
