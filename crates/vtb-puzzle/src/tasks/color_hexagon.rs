//! color_hexagon: which colour is the hidden wedge?
//!
//! Six triangles make a hexagon, and opposite ones share a colour.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke};
use crate::error::Result;
use crate::judge::{Area, PictureRule};
use crate::params::Params;
use crate::pattern::{
    Gap, Page, PatternParams, Vec2, Wording, centroid, check_palette, check_step, color_names,
    color_or_gray, color_rule, direction, draw_question, draw_step, draw_strokes, draw_three,
    find_gap, outline, regular, require, rotate, seen_and_one_more, shared, shrunk, threes, turns,
};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct ColorHexagon;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColorHexagonParams {
    /// What all pattern tasks have.
    #[serde(flatten)]
    pub common: PatternParams,
    /// Names of the colours in play, at least 4 (default all nine).
    pub palette: Vec<String>,
}

impl Default for ColorHexagonParams {
    fn default() -> Self {
        Self {
            common: PatternParams::default(),
            palette: color_names(),
        }
    }
}

impl Params for ColorHexagonParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()?;
        check_palette(&self.palette, 4)
    }
}

/// Geometry, in whole steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColorHexagonScene {
    /// Paper, place and pen.
    pub page: Page,
    /// Turn of the hexagon, steps, clockwise; at 0 a corner is on top.
    pub turn: i32,
    /// Colours of the wedges, clockwise from the top corner; null is the hidden one.
    pub wedges: [Option<String>; 6],
}

impl ColorHexagonScene {
    fn corner(&self, at: usize) -> Vec2 {
        let corner = rotate(regular(6)[at % 6], direction(self.turn));
        self.page.at(corner.map(|value| value * self.page.extent()))
    }

    fn wedge(&self, at: usize) -> [Vec2; 3] {
        [self.page.at([0.0; 2]), self.corner(at), self.corner(at + 1)]
    }

    /// The hidden wedge and its colour by the rule.
    fn apply_rule(&self) -> Result<(usize, String)> {
        let gap = find_gap(&self.wedges)?;
        let pairs = [0, 1, 2].map(|at| shared(&self.wedges, [at, at + 3]));
        let [first, second, third] = pairs;
        let colors = [first?, second?, third?];
        let differ = (0..3).all(|at| colors[at] != colors[(at + 1) % 3]);
        require(differ, "two pairs of wedges share a color")?;
        Ok((gap, colors[gap % 3].clone()))
    }
}

impl Task for ColorHexagon {
    type Params = ColorHexagonParams;
    type Scene = ColorHexagonScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "color_hexagon",
            group: TaskGroup::VisualPuzzle,
            version: 1,
            about: "Name the color of the hidden wedge of a hexagon.",
        }
    }

    fn scene_space(&self, params: &ColorHexagonParams) -> Option<u128> {
        Some(threes(&params.palette) * 6 * turns(6) as u128 * params.common.pages())
    }

    fn build(&self, params: &ColorHexagonParams, dice: &mut Dice) -> Result<ColorHexagonScene> {
        let colors = draw_three(&params.palette, dice);
        let gap = dice.below(6);
        Ok(ColorHexagonScene {
            page: params.common.draw_page(dice),
            turn: draw_step([0, turns(6) - 1], dice),
            wedges: std::array::from_fn(|at| (at != gap).then(|| colors[at % 3].clone())),
        })
    }

    fn solve(&self, params: &ColorHexagonParams, scene: &ColorHexagonScene) -> Result<Solved> {
        params.common.check_page(&scene.page)?;
        check_step("the turn", scene.turn, [0, turns(6) - 1])?;
        let known = |name: &String| params.palette.contains(name);
        let all_known = scene.wedges.iter().flatten().all(known);
        require(all_known, "a color is not in the palette")?;
        let (gap, name) = scene.apply_rule()?;
        let wedge = scene.wedge(gap);
        let fill = Stroke::Polygon {
            from: vec![centroid(&wedge); 3],
            to: wedge.to_vec(),
            color: color_or_gray(Some(&name)),
        };
        let mut solved = Solved::new(Answer::Choice(name), scene.page.canvas);
        solved.construction.push(fill);
        Ok(solved)
    }

    fn options(
        &self,
        params: &ColorHexagonParams,
        scene: &ColorHexagonScene,
        _: &Solved,
        dice: &mut Dice,
    ) -> Result<Vec<String>> {
        if !params.common.list_options {
            return Ok(params.palette.clone());
        }
        let seen = |name: &String| scene.wedges.iter().flatten().any(|wedge| wedge == name);
        Ok(seen_and_one_more(&params.palette, seen, dice))
    }

    fn lists_options(&self, params: &ColorHexagonParams) -> bool {
        params.common.list_options
    }

    fn prompts(&self, params: &ColorHexagonParams, _: &Solved, options: &[String]) -> Prompts {
        let wording = Wording {
            figure: "The picture shows a hexagon that is cut into six wedges, and opposite wedges \
                     have the same color. One wedge is gray and bears a question mark.",
            ask: "What color does the rule give it?",
            short: "Which color is missing?",
            noun: "color",
            edit: "Paint the gray wedge in the color that the rule gives it, without the question \
                   mark.",
            motion: "The color that the rule gives to the gray wedge spreads from the middle of \
                     that wedge until it is full.",
        };
        wording.prompts(&params.common, options)
    }

    fn paint(
        &self,
        _: &ColorHexagonParams,
        scene: &ColorHexagonScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let mut canvas = scene.page.canvas()?;
        for (at, name) in scene.wedges.iter().enumerate() {
            canvas.polygon(&scene.wedge(at), color_or_gray(name.as_deref()));
        }
        let gap = find_gap(&scene.wedges)?;
        Gap::of(layer, &solved.construction).draw(&mut canvas, |canvas| {
            let size = 0.36 * scene.page.extent();
            draw_question(canvas, centroid(&scene.wedge(gap)), size);
        });
        let corners: Vec<_> = (0..6).map(|at| scene.corner(at)).collect();
        let line = scene.page.line();
        for at in 0..3 {
            draw_strokes(
                &mut canvas,
                &[outline(vec![corners[at], corners[at + 3]], line)],
            );
        }
        draw_strokes(&mut canvas, &[outline(corners, line)]);
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        params: &ColorHexagonParams,
        scene: &ColorHexagonScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let (gap, name) = scene.apply_rule()?;
        let wedge = scene.wedge(gap);
        // All inside the outlines; the sides are this far from the centroid.
        let apothem = scene.page.extent() / 12_f64.sqrt();
        let share = 1.0 - (scene.page.line() / 2.0 + 1.0) / apothem;
        let area = Area::Polygon(shrunk(&wedge, centroid(&wedge), share));
        let right = color_or_gray(Some(&name));
        Ok(color_rule(
            "the hidden wedge",
            area,
            right,
            params.palette.iter(),
        ))
    }
}
