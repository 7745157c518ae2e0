//! color_overlap_squares: which colour has the hidden square?
//!
//! Two to four squares lie over the corners of a central one; where two overlap, their paints mix.
//! Outer squares get their colours independently of each other, so that only the overlap of the
//! hidden one tells its colour.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Rgb, Stroke};
use crate::error::{PuzzleError, Result};
use crate::judge::{Area, PictureRule};
use crate::params::Params;
use crate::pattern::{
    Gap, PLACEHOLDER, Page, PatternParams, Steps, Vec2, Wording, check_step, colors_rule,
    count_steps, direction, draw_question, draw_step, draw_strokes, outline, require, rotate,
    turns,
};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct ColorOverlapSquares;

const PAINTS: [(&str, Rgb); 3] = [
    ("blue", [58, 108, 214]),
    ("red", [222, 56, 56]),
    ("yellow", [250, 220, 80]),
];

/// The mix of two paints stands where the third does.
const MIXES: [(&str, Rgb); 3] = [
    ("orange", [240, 142, 50]),
    ("green", [72, 160, 84]),
    ("purple", [140, 74, 176]),
];

/// Half a diagonal of the outer squares, percent of half a side of the central one.
const REACH: Steps = [72, 92];

/// Directions of the corners of the central square, clockwise from the left upper one.
const CORNERS: [Vec2; 4] = [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]];

fn index(name: &str, colors: &[(&str, Rgb); 3]) -> Option<usize> {
    colors.iter().position(|(known, _)| *known == name)
}

fn rgb(name: Option<&str>) -> Rgb {
    let mut all = PAINTS.iter().chain(&MIXES);
    let found = name.and_then(|name| all.find(|(known, _)| *known == name));
    found.map_or(PLACEHOLDER, |(_, rgb)| *rgb)
}

/// Parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ColorOverlapSquaresParams {
    /// What all pattern tasks have.
    #[serde(flatten)]
    pub common: PatternParams,
}

impl Params for ColorOverlapSquaresParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()
    }
}

/// A square over a corner of the central one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OuterSquare {
    /// Colour; null is the hidden one.
    pub color: Option<String>,
    /// Colour of the overlap with the central square.
    pub overlap: String,
}

/// Geometry, in whole steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColorOverlapSquaresScene {
    /// Paper, place and pen.
    pub page: Page,
    /// Turn of the figure, steps, clockwise.
    pub turn: i32,
    /// Half a diagonal of the outer squares, percent of half a side of the central one.
    pub reach_percent: i32,
    /// Colour of the central square.
    pub central: String,
    /// What lies over each of its corners, clockwise from the left upper one.
    pub corners: [Option<OuterSquare>; 4],
}

impl ColorOverlapSquaresScene {
    /// Half a side of the central square, and half a diagonal of the outer ones.
    fn sizes(&self) -> [f64; 2] {
        let reach = f64::from(self.reach_percent) / 100.0;
        // The outermost point lies this many half sides from the middle.
        let farthest = ((1.0 + reach) * (1.0 + reach) + 1.0).sqrt();
        let half = self.page.extent() / farthest;
        [half, half * reach]
    }

    /// A point given in half sides along the directions of a corner, then moved by half diagonals.
    fn point(&self, corner: usize, moved: Vec2) -> Vec2 {
        let [half, reach] = self.sizes();
        let sign = CORNERS[corner];
        let plain = [0, 1].map(|axis| sign[axis] * (half + moved[axis] * reach));
        self.page.at(rotate(plain, direction(self.turn)))
    }

    fn points<const N: usize>(&self, corner: usize, moved: [Vec2; N]) -> Vec<Vec2> {
        moved.map(|by| self.point(corner, by)).to_vec()
    }

    fn central(&self) -> Vec<Vec2> {
        (0..4).map(|corner| self.point(corner, [0.0; 2])).collect()
    }

    /// The square over a corner.
    fn outer(&self, corner: usize) -> Vec<Vec2> {
        self.points(corner, [[-1.0, 0.0], [0.0, -1.0], [1.0, 0.0], [0.0, 1.0]])
    }

    /// Its part inside the central square.
    fn overlap(&self, corner: usize) -> Vec<Vec2> {
        self.points(corner, [[0.0, 0.0], [-1.0, 0.0], [0.0, -1.0]])
    }

    /// Its part outside, three quarters of it.
    fn free_part(&self, corner: usize) -> Vec<Vec2> {
        let moved = [[0.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]];
        self.points(corner, moved)
    }

    /// The squares there are, with their corners.
    fn squares(&self) -> impl Iterator<Item = (usize, &OuterSquare)> {
        let corners = self.corners.iter().enumerate();
        corners.filter_map(|(corner, square)| Some((corner, square.as_ref()?)))
    }

    /// The hidden square and its colour by the rule.
    fn apply_rule(&self) -> Result<(usize, &'static str)> {
        let bad = |fault: &str| PuzzleError::BadScene(fault.to_owned());
        let Some(central) = index(&self.central, &PAINTS) else {
            return Err(bad("the central square is not painted red, yellow or blue"));
        };
        require(self.squares().count() >= 2, "fewer than two outer squares")?;
        let mut hidden = None;
        for (corner, square) in self.squares() {
            let Some(mix) = index(&square.overlap, &MIXES).filter(|mix| *mix != central) else {
                return Err(bad("an overlap is no mix with the central paint"));
            };
            // The mix stands at the index of the paint that is not in it.
            let paint = PAINTS[3 - central - mix].0;
            match square.color.as_deref() {
                None if hidden.is_some() => return Err(bad("two squares are hidden")),
                None => hidden = Some((corner, paint)),
                Some(color) => require(color == paint, "an overlap is not the mix")?,
            }
        }
        hidden.ok_or_else(|| bad("no square is hidden"))
    }
}

impl Task for ColorOverlapSquares {
    type Params = ColorOverlapSquaresParams;
    type Scene = ColorOverlapSquaresScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "color_overlap_squares",
            group: TaskGroup::VisualPuzzle,
            version: 1,
            about: "Name the color of the hidden square by its mix with another.",
        }
    }

    fn scene_space(&self, params: &ColorOverlapSquaresParams) -> Option<u128> {
        // Corners taken, which is hidden, colours: for 2, 3 and 4 outer squares.
        let colored = 3 * (6 * 2 * 4 + 4 * 3 * 8 + 4 * 16);
        let figures = colored * turns(4) as u128 * count_steps(REACH);
        Some(figures * params.common.pages())
    }

    fn build(
        &self,
        params: &ColorOverlapSquaresParams,
        dice: &mut Dice,
    ) -> Result<ColorOverlapSquaresScene> {
        let mut order = [0, 1, 2, 3];
        dice.shuffle(&mut order);
        let taken = 2 + dice.below(3);
        let central = dice.below(3);
        let corners = std::array::from_fn(|corner| {
            let rank = order.iter().position(|other| *other == corner)?;
            let paint = (central + 1 + dice.below(2)) % 3;
            (rank < taken).then(|| OuterSquare {
                color: (rank > 0).then(|| PAINTS[paint].0.to_owned()),
                overlap: MIXES[3 - central - paint].0.to_owned(),
            })
        });
        Ok(ColorOverlapSquaresScene {
            page: params.common.draw_page(dice),
            turn: draw_step([0, turns(4) - 1], dice),
            reach_percent: draw_step(REACH, dice),
            central: PAINTS[central].0.to_owned(),
            corners,
        })
    }

    fn solve(
        &self,
        params: &ColorOverlapSquaresParams,
        scene: &ColorOverlapSquaresScene,
    ) -> Result<Solved> {
        params.common.check_page(&scene.page)?;
        check_step("the turn", scene.turn, [0, turns(4) - 1])?;
        check_step("the reach", scene.reach_percent, REACH)?;
        let (corner, name) = scene.apply_rule()?;
        let to = scene.free_part(corner);
        let fill = Stroke::Polygon {
            from: vec![to[0]; to.len()],
            to,
            color: rgb(Some(name)),
        };
        let mut solved = Solved::new(Answer::Choice(name.to_owned()), scene.page.canvas);
        solved.construction.push(fill);
        Ok(solved)
    }

    fn options(
        &self,
        _: &ColorOverlapSquaresParams,
        _: &ColorOverlapSquaresScene,
        _: &Solved,
        dice: &mut Dice,
    ) -> Result<Vec<String>> {
        // A mix that has nothing to do with the scene, so that the list says nothing of it.
        let mix = MIXES[dice.below(3)];
        let mut options: Vec<_> = PAINTS.iter().map(|(name, _)| (*name).to_owned()).collect();
        options.push(mix.0.to_owned());
        dice.shuffle(&mut options);
        Ok(options)
    }

    fn lists_options(&self, params: &ColorOverlapSquaresParams) -> bool {
        params.common.list_options
    }

    fn prompts(
        &self,
        params: &ColorOverlapSquaresParams,
        _: &Solved,
        options: &[String],
    ) -> Prompts {
        let wording = Wording {
            figure: "The picture shows a square with smaller squares over some of its corners. \
                     All are red, yellow or blue, and where two overlap one sees their mix as if \
                     of paint: red and yellow make orange, yellow and blue make green, red and \
                     blue make purple. One of the smaller squares is gray and bears a question \
                     mark, but its overlap shows the true mix.",
            ask: "What color is that square?",
            short: "Which color is missing?",
            noun: "color",
            edit: "Paint the gray part of that square in its color, without the question mark.",
            motion: "The color of the gray square spreads over its gray part until that is full.",
        };
        wording.prompts(&params.common, options)
    }

    fn paint(
        &self,
        _: &ColorOverlapSquaresParams,
        scene: &ColorOverlapSquaresScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let mut canvas = scene.page.canvas()?;
        canvas.polygon(&scene.central(), rgb(Some(&scene.central)));
        for (corner, square) in scene.squares() {
            canvas.polygon(&scene.free_part(corner), rgb(square.color.as_deref()));
            canvas.polygon(&scene.overlap(corner), rgb(Some(&square.overlap)));
        }
        let (corner, _) = scene.apply_rule()?;
        Gap::of(layer, &solved.construction).draw(&mut canvas, |canvas| {
            let size = 0.6 * scene.sizes()[1];
            draw_question(canvas, scene.point(corner, [0.25; 2]), size);
        });
        let line = scene.page.line();
        draw_strokes(&mut canvas, &[outline(scene.central(), line)]);
        for (corner, _) in scene.squares() {
            draw_strokes(&mut canvas, &[outline(scene.outer(corner), line)]);
        }
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        _: &ColorOverlapSquaresParams,
        scene: &ColorOverlapSquaresScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let (corner, name) = scene.apply_rule()?;
        // All of the free part inside the outlines.
        let inset = (scene.page.line() / 2.0 + 1.0) / scene.sizes()[1];
        let end = 1.0 - inset * 2_f64.sqrt();
        let (near, far) = ([inset, inset - end], [inset - end, inset]);
        let inside = [[inset, inset], far, [0.0, end], [end, 0.0], near];
        let area = Area::Polygon(scene.points(corner, inside));
        let seen = PAINTS.iter().chain(&MIXES).map(|(_, rgb)| *rgb);
        Ok(colors_rule(
            "the hidden square",
            area,
            rgb(Some(name)),
            seen,
        ))
    }
}
