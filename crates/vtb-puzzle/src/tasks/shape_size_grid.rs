//! shape_size_grid: which size is missing?
//!
//! Three by three shapes: along one axis the shape changes, along the other the size.

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
pub struct ShapeSizeGrid;

/// Parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ShapeSizeGridParams {
    /// What all pattern tasks have.
    #[serde(flatten)]
    pub common: PatternParams,
}

impl Params for ShapeSizeGridParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()
    }
}

/// Which lines of the grid share a size; the others share a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SizesAlong {
    /// The shapes of a row are equally large.
    Rows,
    /// The shapes of a column are equally large.
    Columns,
}

/// Geometry, in whole steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeSizeGridScene {
    /// Paper, place and pen.
    pub page: Page,
    /// Which lines share a size.
    pub sizes_along: SizesAlong,
    /// Shapes of the lines that share one.
    pub shapes: [Shape; 3],
    /// Their turns, steps, clockwise.
    pub turns: [i32; 3],
    /// Colour of all shapes.
    pub fill: String,
    /// How large the sizes are.
    pub sizes: Sizes,
    /// Sizes row by row; null is the hidden one.
    pub cells: [Option<Size>; 9],
}

impl ShapeSizeGridScene {
    /// Index of the line that shares a size with a cell, and of the one that shares its shape.
    fn lines(&self, cell: usize) -> [usize; 2] {
        match self.sizes_along {
            SizesAlong::Rows => [cell / 3, cell % 3],
            SizesAlong::Columns => [cell % 3, cell / 3],
        }
    }

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

    /// The strokes of the shape numbered `line` in a cell.
    fn strokes(&self, cell: usize, line: usize, size: Size) -> Vec<Stroke> {
        let figure = Figure {
            shape: self.shapes[line],
            center: self.place(cell),
            radius: self.sizes.radius(size, self.room()),
            turn: self.turns[line],
            mirror: None,
            fill: color_or_gray(Some(&self.fill)),
            line: self.page.line(),
        };
        figure.strokes()
    }

    /// The hidden cell and its size by the rule.
    fn apply_rule(&self) -> Result<(usize, Size)> {
        let gap = find_gap(&self.cells)?;
        let line = |at: usize| (0..9).filter(move |&cell| self.lines(cell)[0] == at);
        let sizes = [0, 1, 2].map(|at| shared(&self.cells, line(at)));
        let [first, second, third] = sizes;
        let sizes = [first?, second?, third?];
        for at in 0..3 {
            let next = (at + 1) % 3;
            require(sizes[at] != sizes[next], "two lines share a size")?;
            require(
                self.shapes[at] != self.shapes[next],
                "two lines share a shape",
            )?;
        }
        Ok((gap, sizes[self.lines(gap)[0]]))
    }

    fn sketch(&self, gap: Gap<'_>) -> Result<Canvas> {
        let mut canvas = self.page.canvas()?;
        for (cell, size) in self.cells.iter().enumerate() {
            if let Some(size) = size {
                draw_strokes(&mut canvas, &self.strokes(cell, self.lines(cell)[1], *size));
            }
        }
        let hidden = self.place(find_gap(&self.cells)?);
        gap.draw(&mut canvas, |canvas| {
            draw_dotted_question(canvas, hidden, self.sizes.radius(Size::Large, self.room()));
        });
        Ok(canvas)
    }
}

impl Task for ShapeSizeGrid {
    type Params = ShapeSizeGridParams;
    type Scene = ShapeSizeGridScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "shape_size_grid",
            group: TaskGroup::VisualPuzzle,
            version: 1,
            about: "Name the size that is missing from a grid of shapes by sizes.",
        }
    }

    fn scene_space(&self, params: &ShapeSizeGridParams) -> Option<u128> {
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
        let figures = shapes * color_names().len() as u128 * Sizes::count() * 6 * 9 * 2;
        Some(figures * params.common.pages())
    }

    fn build(&self, params: &ShapeSizeGridParams, dice: &mut Dice) -> Result<ShapeSizeGridScene> {
        let mut kinds = Shape::ALL;
        dice.shuffle(&mut kinds);
        let order = draw_order(dice);
        let gap = dice.below(9);
        let rows = dice.chance(0.5);
        let mut scene = ShapeSizeGridScene {
            page: params.common.draw_page(dice),
            sizes_along: if rows {
                SizesAlong::Rows
            } else {
                SizesAlong::Columns
            },
            shapes: [kinds[0], kinds[1], kinds[2]],
            turns: std::array::from_fn(|at| draw_step([0, kinds[at].turns() - 1], dice)),
            fill: dice.pick(&color_names()).cloned().unwrap_or_default(),
            sizes: Sizes::draw(dice),
            cells: [None; 9],
        };
        scene.cells =
            std::array::from_fn(|cell| (cell != gap).then_some(order[scene.lines(cell)[0]]));
        Ok(scene)
    }

    fn solve(&self, params: &ShapeSizeGridParams, scene: &ShapeSizeGridScene) -> Result<Solved> {
        params.common.check_page(&scene.page)?;
        for (shape, turn) in scene.shapes.into_iter().zip(scene.turns) {
            check_step("a turn", turn, [0, shape.turns() - 1])?;
        }
        require(color_names().contains(&scene.fill), "no such color")?;
        scene.sizes.check()?;
        let (gap, size) = scene.apply_rule()?;
        let answer = Answer::Choice(size.name().to_owned());
        let mut solved = Solved::new(answer, scene.page.canvas);
        solved.construction = scene.strokes(gap, scene.lines(gap)[1], size);
        Ok(solved)
    }

    fn options(
        &self,
        _: &ShapeSizeGridParams,
        _: &ShapeSizeGridScene,
        _: &Solved,
        dice: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(size_options(dice))
    }

    fn lists_options(&self, params: &ShapeSizeGridParams) -> bool {
        params.common.list_options
    }

    fn prompts(&self, params: &ShapeSizeGridParams, _: &Solved, options: &[String]) -> Prompts {
        let wording = Wording {
            figure: "The picture shows three kinds of shape in a small, a medium and a large size, \
                     in three rows of three. Either every row has one kind of shape and every \
                     column one size, or every column has one kind of shape and every row one \
                     size. One shape is missing; a dotted circle with a question mark is in its \
                     place.",
            ask: "Which size does the rule give it?",
            short: "Which size is missing?",
            noun: "size",
            edit: "Draw the missing shape, of the kind and size that the rule gives it, in place \
                   of the dotted circle and the question mark, and in the color of the others.",
            motion: "The dotted circle goes as well, and in its place the missing shape, of the \
                     kind that the rule gives it, grows until it has the size that the rule gives \
                     it.",
        };
        wording.prompts(&params.common, options)
    }

    fn paint(
        &self,
        _: &ShapeSizeGridParams,
        scene: &ShapeSizeGridScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        scene.sketch(Gap::of(layer, &solved.construction))
    }

    fn picture_rule(
        &self,
        _: &ShapeSizeGridParams,
        scene: &ShapeSizeGridScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let (gap, size) = scene.apply_rule()?;
        let area = Area::Disc {
            center: scene.place(gap),
            radius: scene.sizes.radius(Size::Large, scene.room()) + 1.0,
        };
        // A picture must show the kind of shape as well, which the text answer need not name.
        let name = |size: Size, line: usize| {
            let shape: Shape = scene.shapes[line];
            format!("{} {}", size.name(), shape.name())
        };
        let offered = Size::ALL
            .into_iter()
            .flat_map(|size| [0, 1, 2].map(|line| (name(size, line), (size, line))));
        let right = name(size, scene.lines(gap)[1]);
        let what = format!("row {}, column {}", gap / 3 + 1, gap % 3 + 1);
        drawing_rule(&what, area, offered, &right, |(size, line)| {
            scene.sketch(Gap::Drawn(&scene.strokes(gap, line, size), 1.0))
        })
    }
}
