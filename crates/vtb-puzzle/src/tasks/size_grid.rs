//! size_grid: which size is missing?
//!
//! Three by three shapes: corners share a size, edge-middles a second, the centre has a third.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke};
use crate::error::Result;
use crate::judge::{Area, PictureRule};
use crate::params::Params;
use crate::pattern::{
    Figure, Gap, Page, PatternParams, Shape, Size, Sizes, Vec2, Wording, check_step, color_names,
    color_or_gray, draw_dotted_question, draw_order, draw_step, draw_strokes, drawing_rule,
    find_gap, require, shared, size_options,
};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct SizeGrid;

const CORNERS: [usize; 4] = [0, 2, 6, 8];
const EDGES: [usize; 4] = [1, 3, 5, 7];
const CENTER: usize = 4;

/// Parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SizeGridParams {
    /// What all pattern tasks have.
    #[serde(flatten)]
    pub common: PatternParams,
}

impl Params for SizeGridParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()
    }
}

/// Geometry, in whole steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeGridScene {
    /// Paper, place and pen.
    pub page: Page,
    /// Kind of all shapes.
    pub shape: Shape,
    /// Their turn, steps, clockwise.
    pub turn: i32,
    /// Their colour.
    pub fill: String,
    /// How large the sizes are.
    pub sizes: Sizes,
    /// Sizes row by row; null is the hidden one.
    pub cells: [Option<Size>; 9],
}

impl SizeGridScene {
    /// Half the distance between neighbours.
    fn room(&self) -> f64 {
        self.page.extent() / (2.0 + f64::from(self.sizes.large) / 100.0)
    }

    fn place(&self, cell: usize) -> Vec2 {
        let [column, row] = [cell % 3, cell / 3];
        let pitch = 2.0 * self.room();
        self.page
            .at([column, row].map(|at| (at as f64 - 1.0) * pitch))
    }

    fn strokes(&self, cell: usize, size: Size) -> Vec<Stroke> {
        let figure = Figure {
            shape: self.shape,
            center: self.place(cell),
            radius: self.sizes.radius(size, self.room()),
            turn: self.turn,
            mirror: None,
            fill: color_or_gray(Some(&self.fill)),
            line: self.page.line(),
        };
        figure.strokes()
    }

    /// The hidden cell and its size by the rule.
    fn apply_rule(&self) -> Result<(usize, Size)> {
        let gap = find_gap(&self.cells)?;
        let (corner, edge) = (shared(&self.cells, CORNERS)?, shared(&self.cells, EDGES)?);
        let center = shared(&self.cells, [CENTER])?;
        let differ = corner != edge && edge != center && corner != center;
        require(differ, "two kinds of places share a size")?;
        Ok((gap, if CORNERS.contains(&gap) { corner } else { edge }))
    }

    fn sketch(&self, gap: Gap<'_>) -> Result<Canvas> {
        let mut canvas = self.page.canvas()?;
        for (cell, size) in self.cells.iter().enumerate() {
            if let Some(size) = size {
                draw_strokes(&mut canvas, &self.strokes(cell, *size));
            }
        }
        let hidden = self.place(find_gap(&self.cells)?);
        gap.draw(&mut canvas, |canvas| {
            draw_dotted_question(canvas, hidden, self.sizes.radius(Size::Large, self.room()));
        });
        Ok(canvas)
    }
}

impl Task for SizeGrid {
    type Params = SizeGridParams;
    type Scene = SizeGridScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "size_grid",
            group: TaskGroup::VisualPuzzle,
            version: 1,
            about: "Name the size that is missing from a three by three grid.",
        }
    }

    fn scene_space(&self, params: &SizeGridParams) -> Option<u128> {
        let turned: u128 = Shape::ALL.iter().map(|shape| shape.turns() as u128).sum();
        let figures = turned * color_names().len() as u128 * Sizes::count() * 6 * 8;
        Some(figures * params.common.pages())
    }

    fn build(&self, params: &SizeGridParams, dice: &mut Dice) -> Result<SizeGridScene> {
        let [corner, edge, center] = draw_order(dice);
        let gap = [0, 1, 2, 3, 5, 6, 7, 8][dice.below(8)];
        let cells = std::array::from_fn(|cell| {
            let size = match cell {
                CENTER => center,
                _ if CORNERS.contains(&cell) => corner,
                _ => edge,
            };
            (cell != gap).then_some(size)
        });
        let shape = Shape::ALL[dice.below(Shape::ALL.len())];
        Ok(SizeGridScene {
            page: params.common.draw_page(dice),
            shape,
            turn: draw_step([0, shape.turns() - 1], dice),
            fill: dice.pick(&color_names()).cloned().unwrap_or_default(),
            sizes: Sizes::draw(dice),
            cells,
        })
    }

    fn solve(&self, params: &SizeGridParams, scene: &SizeGridScene) -> Result<Solved> {
        params.common.check_page(&scene.page)?;
        check_step("the turn", scene.turn, [0, scene.shape.turns() - 1])?;
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
        _: &SizeGridParams,
        _: &SizeGridScene,
        _: &Solved,
        dice: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(size_options(dice))
    }

    fn lists_options(&self, params: &SizeGridParams) -> bool {
        params.common.list_options
    }

    fn prompts(&self, params: &SizeGridParams, _: &Solved, options: &[String]) -> Prompts {
        let wording = Wording {
            figure: "The picture shows shapes of one kind in three rows of three, in a small, a \
                     medium and a large size. The size of a shape depends on whether it is at a \
                     corner, in the middle of a side, or in the center. One shape is missing; a \
                     dotted circle with a question mark is in its place.",
            ask: "Which size does the rule give it?",
            short: "Which size is missing?",
            noun: "size",
            edit: "Draw the missing shape in the size that the rule gives it, in place of the \
                   dotted circle and the question mark, and in the color of the others.",
            motion: "The dotted circle goes as well, and in its place the missing shape grows \
                     until it has the size that the rule gives it.",
        };
        wording.prompts(&params.common, options)
    }

    fn paint(
        &self,
        _: &SizeGridParams,
        scene: &SizeGridScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        scene.sketch(Gap::of(layer, &solved.construction))
    }

    fn picture_rule(
        &self,
        _: &SizeGridParams,
        scene: &SizeGridScene,
        solved: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let (gap, _) = scene.apply_rule()?;
        let area = Area::Disc {
            center: scene.place(gap),
            radius: scene.sizes.radius(Size::Large, scene.room()) + 1.0,
        };
        let offered = Size::ALL.map(|size| (size.name().to_owned(), size));
        let right = solved.answer.to_string();
        let what = format!("row {}, column {}", gap / 3 + 1, gap % 3 + 1);
        drawing_rule(&what, area, offered.into_iter(), &right, |size| {
            scene.sketch(Gap::Drawn(&scene.strokes(gap, size), 1.0))
        })
    }
}
