//! shape_reflect: which shape is missing from a mirror image?
//!
//! Three turned shapes on one side of a line, their mirror images on the other.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke};
use crate::error::{PuzzleError, Result};
use crate::judge::{Area, PictureRule};
use crate::params::Params;
use crate::pattern::{
    Figure, Gap, INK, Mirror, Page, PatternParams, Shape, Steps, Vec2, Wording, check_step,
    color_names, color_or_gray, count_steps, draw_dotted_question, draw_step, draw_strokes,
    drawing_rule, find_gap, require,
};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct ShapeReflect;

/// Radius of the shapes, percent of the distance between neighbours.
const RADIUS: Steps = [36, 46];

/// Distance of the shapes from the line, percent of the distance between neighbours.
const GAP: Steps = [58, 78];

/// Parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ShapeReflectParams {
    /// What all pattern tasks have.
    #[serde(flatten)]
    pub common: PatternParams,
}

impl Params for ShapeReflectParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()
    }
}

/// Geometry, in whole steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeReflectScene {
    /// Paper, place and pen.
    pub page: Page,
    /// The line.
    pub mirror: Mirror,
    /// Radius of the shapes, percent of the distance between neighbours.
    pub radius_percent: i32,
    /// Distance of the shapes from the line, percent of the distance between neighbours.
    pub gap_percent: i32,
    /// Color of all shapes.
    pub fill: String,
    /// Turns of the three shapes of the upper or left side, steps.
    pub turns: [i32; 3],
    /// Shapes of the upper or left side, then their images; null is the hidden one.
    pub cells: [Option<Shape>; 6],
}

impl ShapeReflectScene {
    /// Distance between neighbours, and radius of the shapes.
    fn sizes(&self) -> [f64; 2] {
        let radius = f64::from(self.radius_percent) / 100.0;
        let pitch = self.page.extent() / (1.0 + radius);
        [pitch, pitch * radius]
    }

    fn place(&self, cell: usize) -> Vec2 {
        let [pitch, _] = self.sizes();
        let along = pitch * ((cell % 3) as f64 - 1.0);
        let away = pitch * f64::from(self.gap_percent) / 100.0;
        let away = if cell < 3 { -away } else { away };
        self.page.at(match self.mirror {
            Mirror::Level => [along, away],
            Mirror::Upright => [away, along],
        })
    }

    fn strokes(&self, cell: usize, shape: Shape) -> Vec<Stroke> {
        let figure = Figure {
            shape,
            center: self.place(cell),
            radius: self.sizes()[1],
            turn: self.turns[cell % 3] % shape.turns(),
            mirror: (cell >= 3).then_some(self.mirror),
            fill: color_or_gray(Some(&self.fill)),
            line: self.page.line(),
        };
        figure.strokes()
    }

    fn line(&self) -> [Vec2; 2] {
        let reach = self.page.extent();
        [-reach, reach].map(|at| {
            self.page.at(match self.mirror {
                Mirror::Level => [at, 0.0],
                Mirror::Upright => [0.0, at],
            })
        })
    }

    /// The hidden cell and its shape by the rule.
    fn apply_rule(&self) -> Result<(usize, Shape)> {
        let gap = find_gap(&self.cells)?;
        let twin = (gap + 3) % 6;
        let Some(shape) = self.cells[twin] else {
            let fault = "a shape and its image are both missing";
            return Err(PuzzleError::BadScene(fault.to_owned()));
        };
        let whole = |at: usize| self.cells[at].unwrap_or(shape);
        for at in 0..3 {
            require(
                whole(at) == whole(at + 3),
                "an image differs from its shape",
            )?;
            require(whole(at) != whole((at + 1) % 3), "two shapes are alike")?;
            check_step("a turn", self.turns[at], [0, whole(at).turns() - 1])?;
        }
        Ok((gap, shape))
    }

    fn sketch(&self, gap: Gap<'_>) -> Result<Canvas> {
        let mut canvas = self.page.canvas()?;
        canvas.polyline(&self.line(), self.page.line(), INK);
        for (cell, shape) in self.cells.iter().enumerate() {
            if let Some(shape) = shape {
                draw_strokes(&mut canvas, &self.strokes(cell, *shape));
            }
        }
        let hidden = self.place(find_gap(&self.cells)?);
        gap.draw(&mut canvas, |canvas| {
            draw_dotted_question(canvas, hidden, self.sizes()[1]);
        });
        Ok(canvas)
    }
}

impl Task for ShapeReflect {
    type Params = ShapeReflectParams;
    type Scene = ShapeReflectScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "shape_reflect",
            group: TaskGroup::VisualPuzzle,
            version: 1,
            about: "Name the shape that is missing from a mirror image.",
        }
    }

    fn scene_space(&self, params: &ShapeReflectParams) -> Option<u128> {
        let mut shapes = 0;
        for a in Shape::ALL {
            for b in Shape::ALL {
                for c in Shape::ALL {
                    let differ = a != b && b != c && a != c;
                    let turned = [a, b, c].map(|shape| shape.turns() as u128);
                    shapes += u128::from(differ) * turned.iter().product::<u128>();
                }
            }
        }
        let figures = shapes * 6 * 2 * count_steps(RADIUS) * count_steps(GAP);
        Some(figures * color_names().len() as u128 * params.common.pages())
    }

    fn build(&self, params: &ShapeReflectParams, dice: &mut Dice) -> Result<ShapeReflectScene> {
        let mut shapes = Shape::ALL;
        dice.shuffle(&mut shapes);
        let gap = dice.below(6);
        let upright = dice.chance(0.5);
        Ok(ShapeReflectScene {
            page: params.common.draw_page(dice),
            mirror: if upright {
                Mirror::Upright
            } else {
                Mirror::Level
            },
            radius_percent: draw_step(RADIUS, dice),
            gap_percent: draw_step(GAP, dice),
            fill: dice.pick(&color_names()).cloned().unwrap_or_default(),
            turns: std::array::from_fn(|at| draw_step([0, shapes[at].turns() - 1], dice)),
            cells: std::array::from_fn(|cell| (cell != gap).then_some(shapes[cell % 3])),
        })
    }

    fn solve(&self, params: &ShapeReflectParams, scene: &ShapeReflectScene) -> Result<Solved> {
        params.common.check_page(&scene.page)?;
        check_step("the radius", scene.radius_percent, RADIUS)?;
        check_step("the distance from the line", scene.gap_percent, GAP)?;
        require(color_names().contains(&scene.fill), "no such color")?;
        let (gap, shape) = scene.apply_rule()?;
        let answer = Answer::Choice(shape.name().to_owned());
        let mut solved = Solved::new(answer, scene.page.canvas);
        solved.construction = scene.strokes(gap, shape);
        Ok(solved)
    }

    fn options(
        &self,
        _: &ShapeReflectParams,
        scene: &ShapeReflectScene,
        _: &Solved,
        dice: &mut Dice,
    ) -> Result<Vec<String>> {
        // The shapes one sees are all offered, and one that is nowhere in the picture.
        let seen = |shape: &Shape| scene.cells.contains(&Some(*shape));
        let (mut offered, unseen): (Vec<_>, Vec<_>) = Shape::ALL.into_iter().partition(seen);
        offered.extend(dice.pick(&unseen));
        dice.shuffle(&mut offered);
        Ok(offered
            .iter()
            .map(|shape| shape.name().to_owned())
            .collect())
    }

    fn lists_options(&self, params: &ShapeReflectParams) -> bool {
        params.common.list_options
    }

    fn prompts(&self, params: &ShapeReflectParams, _: &Solved, options: &[String]) -> Prompts {
        let wording = Wording {
            figure: "The picture shows three shapes on one side of a straight line and their \
                     mirror images on the other. One of the six is missing; a dotted circle with \
                     a question mark is in its place.",
            ask: "Which shape is missing?",
            short: "Which shape is missing?",
            noun: "name of the shape",
            edit: "Draw the missing shape in place of the dotted circle and the question mark, in \
                   the size and color of the others, as the mirror image of the shape opposite.",
            motion: "The dotted circle goes as well, and in its place the missing shape grows \
                     until it is the mirror image of the shape opposite.",
        };
        wording.prompts(&params.common, options)
    }

    fn paint(
        &self,
        _: &ShapeReflectParams,
        scene: &ShapeReflectScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        scene.sketch(Gap::of(layer, &solved.construction))
    }

    fn picture_rule(
        &self,
        _: &ShapeReflectParams,
        scene: &ShapeReflectScene,
        solved: &Solved,
        options: &[String],
    ) -> Result<PictureRule> {
        let (gap, _) = scene.apply_rule()?;
        let area = Area::Disc {
            center: scene.place(gap),
            radius: scene.sizes()[1] + 1.0,
        };
        let offered = Shape::ALL.into_iter().filter_map(|shape| {
            let name = shape.name().to_owned();
            options.contains(&name).then_some((name, shape))
        });
        let right = solved.answer.to_string();
        drawing_rule("the missing shape", area, offered, &right, |shape| {
            scene.sketch(Gap::Drawn(&scene.strokes(gap, shape), 1.0))
        })
    }
}
