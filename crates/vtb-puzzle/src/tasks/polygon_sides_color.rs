//! polygon_sides_color: which colour has the hidden polygon?
//!
//! Seven regular polygons of three kinds; those with equally many sides share a colour. Every
//! color that is seen is seen twice: counting colours instead of sides tells nothing.
//! Polygons with many sides appear only where they are large enough to count.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke};
use crate::error::{PuzzleError, Result};
use crate::judge::{Area, PictureRule};
use crate::params::Params;
use crate::pattern::{
    Gap, Page, PatternParams, Steps, Vec2, Wording, check_palette, check_step, color_names,
    color_or_gray, color_rule, direction, draw_question, draw_step, draw_strokes, draw_three,
    find_gap, outline, regular, require, rotate, seen_and_one_more, shared, shrunk, threes, turns,
};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct PolygonSidesColor;

/// Radius, percent of half the distance between neighbours.
const ROOM: Steps = [86, 94];

/// Numbers of sides in play.
const SIDES: std::ops::RangeInclusive<usize> = 3..=9;

/// By how much of the radius the corners of a polygon stand out over the middles of its sides.
const BULGE: [f64; 7] = [0.5, 0.2929, 0.191, 0.134, 0.099, 0.0761, 0.0603];

/// Corners must stand out by so many pixels to be counted.
const LEAST_BULGE: f64 = 4.0;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolygonSidesColorParams {
    /// What all pattern tasks have; here `size_min` is 0.86 by default.
    #[serde(flatten)]
    pub common: PatternParams,
    /// Names of the colours in play, at least 4 (default all nine).
    pub palette: Vec<String>,
}

impl Default for PolygonSidesColorParams {
    fn default() -> Self {
        let common = PatternParams {
            size_min: 0.86,
            ..PatternParams::default()
        };
        let palette = color_names();
        Self { common, palette }
    }
}

impl Params for PolygonSidesColorParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()?;
        check_palette(&self.palette, 4)?;
        let least = layout(f64::from(self.common.extents()[0]), ROOM[0]).1;
        if kinds(least).is_empty() {
            let fault = "the polygons would be too small to count sides: raise `width`, `height` \
                         or `size_min`";
            return Err(fault.to_owned());
        }
        Ok(())
    }
}

/// Distance between neighbours, and radius of the polygons, pixels.
fn layout(extent: f64, room_percent: i32) -> (f64, f64) {
    let room = f64::from(room_percent) / 200.0;
    let pitch = extent / (1.0 + room);
    (pitch, pitch * room)
}

/// Every three numbers of sides that polygons of this radius may have in one picture.
fn kinds(radius: f64) -> Vec<[usize; 3]> {
    let large = |sides: &usize| radius * BULGE[sides - 3] >= LEAST_BULGE;
    let sides: Vec<_> = SIDES.filter(large).collect();
    // From six on, one side more is hard to see: such neighbours do not meet.
    let apart = |a: usize, b: usize| b <= 6 || b - a >= 2;
    let mut kinds = Vec::new();
    for (at, &a) in sides.iter().enumerate() {
        for (next, &b) in sides.iter().enumerate().skip(at + 1) {
            let rest = sides[next + 1..].iter();
            kinds.extend(
                rest.filter(|&&c| apart(a, b) && apart(b, c))
                    .map(|&c| [a, b, c]),
            );
        }
    }
    kinds
}

/// One of the polygons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColoredPolygon {
    /// Number of sides.
    pub sides: usize,
    /// Turn, steps, clockwise; at 0 a corner is on top.
    pub turn: i32,
    /// Colour; null is the hidden one.
    pub color: Option<String>,
}

/// Geometry, in whole steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolygonSidesColorScene {
    /// Paper, place and pen.
    pub page: Page,
    /// Radius of the polygons, percent of half the distance between neighbours.
    pub room_percent: i32,
    /// Turn of the whole arrangement, steps.
    pub turn: i32,
    /// The one in the middle, then those around it, clockwise.
    pub polygons: [ColoredPolygon; 7],
}

impl PolygonSidesColorScene {
    fn radius(&self) -> f64 {
        layout(self.page.extent(), self.room_percent).1
    }

    fn place(&self, at: usize) -> Vec2 {
        let (pitch, _) = layout(self.page.extent(), self.room_percent);
        match at {
            0 => self.page.at([0.0; 2]),
            _ => {
                let arm = rotate(regular(6)[at - 1], direction(self.turn));
                self.page.at(arm.map(|value| value * pitch))
            }
        }
    }

    fn corners(&self, at: usize) -> Vec<Vec2> {
        let (center, by) = (self.place(at), direction(self.polygons[at].turn));
        let radius = self.radius() - self.page.line() / 2.0;
        let corners = regular(self.polygons[at].sides).iter();
        corners
            .map(|&corner| rotate(corner, by))
            .map(|[x, y]| [center[0] + radius * x, center[1] + radius * y])
            .collect()
    }

    fn colors(&self) -> [Option<&str>; 7] {
        std::array::from_fn(|at| self.polygons[at].color.as_deref())
    }

    /// The hidden polygon and its colour by the rule.
    fn apply_rule(&self) -> Result<(usize, String)> {
        let colors = self.colors();
        let gap = find_gap(&colors)?;
        let kinds = kinds(self.radius());
        let fits = |kind: &&[usize; 3]| self.polygons.iter().all(|one| kind.contains(&one.sides));
        let Some(kind) = kinds.iter().find(fits) else {
            let fault = "polygons of these kinds may not meet at this size";
            return Err(PuzzleError::BadScene(fault.to_owned()));
        };
        let mut found = Vec::new();
        for sides in kind {
            let alike = (0..7).filter(|&at| at != gap && self.polygons[at].sides == *sides);
            let alike: Vec<_> = alike.collect();
            require(alike.len() == 2, "a kind of polygon is not seen twice")?;
            let name = shared(&colors, alike)?;
            require(!found.contains(&name), "two kinds of polygon share a color")?;
            found.push(name);
        }
        let mine = kind
            .iter()
            .position(|sides| *sides == self.polygons[gap].sides);
        Ok((gap, found[mine.unwrap_or_default()].to_owned()))
    }
}

impl Task for PolygonSidesColor {
    type Params = PolygonSidesColorParams;
    type Scene = PolygonSidesColorScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "polygon_sides_color",
            group: TaskGroup::VisualPuzzle,
            version: 1,
            about: "Name the color of the hidden polygon by its number of sides.",
        }
    }

    fn scene_space(&self, params: &PolygonSidesColorParams) -> Option<u128> {
        // For each kind: turns of the two that are seen, and of the hidden one if it is its.
        let turned = |kind: &[usize; 3]| {
            let each = kind.map(|sides| turns(sides) as u128);
            let seen: u128 = each.iter().map(|turns| turns * turns).product();
            seen * each.iter().sum::<u128>()
        };
        let [low, high] = params.common.extents();
        let mut figures = 0;
        for extent in low..=high {
            for room in ROOM[0]..=ROOM[1] {
                let kinds = kinds(layout(f64::from(extent), room).1);
                figures += kinds.iter().map(turned).sum::<u128>();
            }
        }
        // Places: 7 for the hidden one, 90 for the others.
        let arrangements = 7 * 90 * turns(6) as u128 * threes(&params.palette);
        Some(figures * arrangements * params.common.pages_of_one_size())
    }

    fn build(
        &self,
        params: &PolygonSidesColorParams,
        dice: &mut Dice,
    ) -> Result<PolygonSidesColorScene> {
        let page = params.common.draw_page(dice);
        let room_percent = draw_step(ROOM, dice);
        let kinds = kinds(layout(page.extent(), room_percent).1);
        let Some(mut sides) = dice.pick(&kinds).copied() else {
            return Err(PuzzleError::NoScene {
                task: Task::info(self).name.to_owned(),
                tries: 1,
                hint: "the polygons are too small to count sides".to_owned(),
            });
        };
        dice.shuffle(&mut sides);
        let colors = draw_three(&params.palette, dice);
        let gap = dice.below(7);
        let mut seen = [0, 0, 1, 1, 2, 2];
        dice.shuffle(&mut seen);
        let polygons = std::array::from_fn(|at| {
            let kind = match at.cmp(&gap) {
                std::cmp::Ordering::Less => seen[at],
                std::cmp::Ordering::Equal => 0,
                std::cmp::Ordering::Greater => seen[at - 1],
            };
            ColoredPolygon {
                sides: sides[kind],
                turn: draw_step([0, turns(sides[kind]) - 1], dice),
                color: (at != gap).then(|| colors[kind].clone()),
            }
        });
        let turn = draw_step([0, turns(6) - 1], dice);
        Ok(PolygonSidesColorScene {
            page,
            room_percent,
            turn,
            polygons,
        })
    }

    fn solve(
        &self,
        params: &PolygonSidesColorParams,
        scene: &PolygonSidesColorScene,
    ) -> Result<Solved> {
        params.common.check_page(&scene.page)?;
        check_step("the radius", scene.room_percent, ROOM)?;
        check_step("the turn", scene.turn, [0, turns(6) - 1])?;
        for one in &scene.polygons {
            require(SIDES.contains(&one.sides), "a polygon has too many sides")?;
            check_step("a turn", one.turn, [0, turns(one.sides) - 1])?;
            let known = one.color.iter().all(|name| params.palette.contains(name));
            require(known, "a color is not in the palette")?;
        }
        let (gap, name) = scene.apply_rule()?;
        let corners = scene.corners(gap);
        let fill = Stroke::Polygon {
            from: vec![scene.place(gap); corners.len()],
            to: corners,
            color: color_or_gray(Some(&name)),
        };
        let mut solved = Solved::new(Answer::Choice(name), scene.page.canvas);
        solved.construction.push(fill);
        Ok(solved)
    }

    fn options(
        &self,
        params: &PolygonSidesColorParams,
        scene: &PolygonSidesColorScene,
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

    fn lists_options(&self, params: &PolygonSidesColorParams) -> bool {
        params.common.list_options
    }

    fn prompts(&self, params: &PolygonSidesColorParams, _: &Solved, options: &[String]) -> Prompts {
        let wording = Wording {
            figure: "The picture shows seven regular polygons. Polygons with the same number of \
                     sides have the same color, and polygons with different numbers of sides have \
                     different colors. One polygon is gray and bears a question mark.",
            ask: "What color does the rule give it?",
            short: "Which color is missing?",
            noun: "color",
            edit: "Paint the gray polygon in the color that the rule gives it, without the \
                   question mark.",
            motion: "The color that the rule gives to the gray polygon spreads from its middle \
                     until it is full.",
        };
        wording.prompts(&params.common, options)
    }

    fn paint(
        &self,
        _: &PolygonSidesColorParams,
        scene: &PolygonSidesColorScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let mut canvas = scene.page.canvas()?;
        let colors = scene.colors();
        for (at, name) in colors.iter().enumerate() {
            canvas.polygon(&scene.corners(at), color_or_gray(*name));
        }
        let gap = find_gap(&colors)?;
        Gap::of(layer, &solved.construction).draw(&mut canvas, |canvas| {
            // In a triangle there is least room.
            draw_question(canvas, scene.place(gap), 0.8 * scene.radius());
        });
        for at in 0..7 {
            let line = outline(scene.corners(at), scene.page.line());
            draw_strokes(&mut canvas, &[line]);
        }
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        params: &PolygonSidesColorParams,
        scene: &PolygonSidesColorScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let (gap, name) = scene.apply_rule()?;
        // All inside the outline.
        let apothem = scene.radius() * (1.0 - BULGE[scene.polygons[gap].sides - 3]);
        let share = 1.0 - (scene.page.line() / 2.0 + 1.0) / apothem;
        let area = Area::Polygon(shrunk(&scene.corners(gap), scene.place(gap), share));
        let right = color_or_gray(Some(&name));
        Ok(color_rule(
            "the hidden polygon",
            area,
            right,
            params.palette.iter(),
        ))
    }
}
