//! circle_count: how many circles are drawn?
//!
//! Outlines that overlap. Any two differ in centre or radius by a stated distance and touch nowhere
//! along an arc, so that they can be told apart; the number is drawn first and evenly.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Rgb};
use crate::error::{PuzzleError, Result};
use crate::judge::{Expect, PictureRule, Slot, SlotRule};
use crate::params::{Params, within};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};
use crate::visual::{canvas_sides, inset, outline, require};

/// The task.
pub struct CircleCount;

const PAGE: Rgb = [255, 255, 255];
const LINE: Rgb = [30, 30, 30];
const COUNTED: Rgb = [220, 60, 40];
const UNKNOWN: Rgb = [150, 150, 150];
/// Most counts there may be to choose from.
const MOST_OPTIONS: u32 = 12;

/// Parameters. Shares are of the shorter side of the picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CircleCountParams {
    /// Width of the picture, pixels (default 512).
    pub width: u32,
    /// Height of the picture, pixels (default 512).
    pub height: u32,
    /// Fewest circles (default 6).
    pub count_min: u32,
    /// Most circles (default 10).
    pub count_max: u32,
    /// Least radius, a share (default 0.08).
    pub radius_min: f64,
    /// Greatest radius, a share (default 0.28).
    pub radius_max: f64,
    /// Least distance of two circles, a share: that of their centres and the difference of their
    /// radii added up (default 0.08).
    pub separation: f64,
}

impl Default for CircleCountParams {
    fn default() -> Self {
        Self {
            width: 512,
            height: 512,
            count_min: 6,
            count_max: 10,
            radius_min: 0.08,
            radius_max: 0.28,
            separation: 0.08,
        }
    }
}

impl Params for CircleCountParams {
    fn validate(&self) -> Result<(), String> {
        canvas_sides(self.width, self.height)?;
        within("count_min", self.count_min, 1, 40)?;
        let most = self.count_min + MOST_OPTIONS - 1;
        within("count_max", self.count_max, self.count_min, most)?;
        within("radius_min", self.radius_min, 0.03, 0.4)?;
        within("radius_max", self.radius_max, self.radius_min, 0.4)?;
        within("separation", self.separation, 0.02, 0.3)?;
        let [width, height] = self.field_sides();
        if 2.0 * self.radius_max * self.side() > width.min(height) {
            return Err("`radius_max` leaves no room for a circle beside the caption".to_owned());
        }
        Ok(())
    }
}

impl CircleCountParams {
    fn side(&self) -> f64 {
        f64::from(self.width.min(self.height))
    }

    fn margin(&self) -> f64 {
        (0.03 * self.side()).round().max(6.0)
    }

    fn line(&self) -> f64 {
        (self.side() / 200.0).max(2.0)
    }

    /// Height of the line with the number, pixels.
    fn caption(&self) -> u32 {
        (self.side() * 0.11).round().max(28.0) as u32
    }

    /// The box for the number.
    fn number_box(&self) -> [u32; 4] {
        let (tall, gap) = (self.caption(), self.margin() as u32);
        let bottom = self.height - gap;
        let left = self.width / 2;
        [left, bottom - tall, left + 2 * tall, bottom]
    }

    /// Left, top, right, bottom of the part that circles lie in.
    fn field(&self) -> [f64; 4] {
        let margin = self.margin();
        let bottom = f64::from(self.number_box()[1]) - margin;
        [margin, margin, f64::from(self.width) - margin, bottom]
    }

    fn field_sides(&self) -> [f64; 2] {
        let [left, top, right, bottom] = self.field();
        [right - left, bottom - top]
    }

    /// Nearest to touching that two outlines come, from inside or outside, pixels.
    fn clearance(&self) -> f64 {
        2.0 * self.line()
    }

    fn counts(&self) -> Vec<String> {
        let counts = self.count_min..=self.count_max;
        counts.map(|count| count.to_string()).collect()
    }
}

/// A circle. Pixels, y down.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Circle {
    /// Centre, across.
    pub x: f64,
    /// Centre, down.
    pub y: f64,
    /// Radius of the middle of the outline.
    pub radius: f64,
}

impl Circle {
    fn center_distance(&self, other: &Self) -> f64 {
        let [x, y] = [self.x - other.x, self.y - other.y];
        (x * x + y * y).sqrt()
    }

    /// Farthest that a point of either outline is from the other outline.
    fn separation(&self, other: &Self) -> f64 {
        self.center_distance(other) + (self.radius - other.radius).abs()
    }

    /// How far the two are from touching in one point.
    fn clearance(&self, other: &Self) -> f64 {
        let apart = self.center_distance(other);
        let inside = (apart - (self.radius - other.radius).abs()).abs();
        inside.min((apart - self.radius - other.radius).abs())
    }
}

/// Geometry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CircleCountScene {
    /// The circles, in the order in which a video counts them.
    pub circles: Vec<Circle>,
}

impl Task for CircleCount {
    type Params = CircleCountParams;
    type Scene = CircleCountScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "circle_count",
            group: TaskGroup::Visual,
            version: 1,
            about: "Count overlapping circles.",
        }
    }

    fn build(&self, params: &CircleCountParams, dice: &mut Dice) -> Result<CircleCountScene> {
        const TRIES: u32 = 100;
        const TRIES_EACH: u32 = 200;
        let count = dice.whole(params.count_min as i32, params.count_max as i32) as usize;
        for _ in 0..TRIES {
            let mut circles: Vec<Circle> = Vec::new();
            for _ in 0..TRIES_EACH * params.count_max {
                if circles.len() == count {
                    break;
                }
                let circle = random_circle(params, dice);
                if circles.iter().all(|other| differ(params, &circle, other)) {
                    circles.push(circle);
                }
            }
            let scene = CircleCountScene { circles };
            if scene.circles.len() == count && self.solve(params, &scene).is_ok() {
                return Ok(scene);
            }
        }
        Err(PuzzleError::NoScene {
            task: Task::info(self).name.to_owned(),
            tries: TRIES,
            hint: "lower `count_max` or `separation`".to_owned(),
        })
    }

    fn solve(&self, params: &CircleCountParams, scene: &CircleCountScene) -> Result<Solved> {
        let circles = &scene.circles;
        let count = circles.len();
        let counted = (params.count_min as usize..=params.count_max as usize).contains(&count);
        require(counted, "the number of circles is not the parameters'")?;
        require(
            circles.iter().all(|circle| fits(params, circle)),
            "a circle is too small, too large or outside the picture",
        )?;
        let mut separation = f64::INFINITY;
        for (at, circle) in circles.iter().enumerate() {
            for other in &circles[..at] {
                require(
                    differ(params, circle, other),
                    "two circles are too alike or touch along an arc",
                )?;
                separation = separation.min(circle.separation(other));
            }
        }
        let answer = Answer::Choice(count.to_string());
        let mut solved = Solved::new(answer, [params.width, params.height]);
        if separation.is_finite() {
            solved
                .measures
                .insert("min_separation".to_owned(), separation);
        }
        Ok(solved)
    }

    fn options(
        &self,
        params: &CircleCountParams,
        _: &CircleCountScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(params.counts())
    }

    fn prompts(&self, params: &CircleCountParams, _: &Solved, options: &[String]) -> Prompts {
        let figure = "The picture shows the outlines of several circles, which may cross and lie \
                      inside each other. Below them is a box for their number.";
        let range = match params.count_min == params.count_max {
            true => String::new(),
            false => format!(" It is one of: {}.", options.join(", ")),
        };
        let edit = "Replace the question mark in the box by the number of circles and leave \
                    everything else as it is.";
        Prompts {
            text: format!(
                "{figure} How many circles are there?{range} Put only the number inside <answer> \
                 and </answer> at the end of your reply."
            ),
            image: format!("{figure} {edit}"),
            text_image: format!(
                "{figure} {edit} Put the number inside <answer> and </answer> as well."
            ),
            video: format!(
                "{figure} The camera does not move. One circle after another is traced in red from \
                 top to bottom and turns black again. When all are counted, their number takes the \
                 place of the question mark in the box. Nothing else changes."
            ),
        }
    }

    fn lists_options(&self, params: &CircleCountParams) -> bool {
        params.count_min != params.count_max
    }

    fn ground(
        &self,
        params: &CircleCountParams,
        scene: &CircleCountScene,
        _: &Solved,
    ) -> Result<Option<Canvas>> {
        ground(params, scene).map(Some)
    }

    fn paint_over(
        &self,
        mut canvas: Canvas,
        params: &CircleCountParams,
        scene: &CircleCountScene,
        _: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let count = scene.circles.len();
        let progress = layer.progress() * count as f64;
        let all = progress >= count as f64;
        write_number(&mut canvas, params, all.then_some(count));
        if progress > 0.0 && !all {
            // A circle just finished is red throughout: frames that meet each circle at this
            // moment would otherwise all look the same.
            let at = progress.ceil() as usize - 1;
            let circle = &scene.circles[at];
            let part = progress - at as f64;
            let end = circle.y - circle.radius + 2.0 * circle.radius * part;
            draw_circle(&mut canvas, circle, params.line(), COUNTED, end);
        }
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        params: &CircleCountParams,
        scene: &CircleCountScene,
        solved: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let mut choices = Vec::new();
        let mut right = 0;
        let ground = ground(params, scene)?;
        for count in params.count_min..=params.count_max {
            if solved.answer == Answer::Choice(count.to_string()) {
                right = choices.len();
            }
            let mut picture = ground.clone();
            write_number(&mut picture, params, Some(count as usize));
            choices.push((count.to_string(), picture.into_rgb()?));
        }
        let slot = Slot {
            name: "the box".to_owned(),
            area: inset(params.number_box(), 3).into(),
            expect: Expect::Drawing { right, choices },
        };
        Ok(PictureRule::Slots(SlotRule {
            slots: vec![slot],
            keeps_rest: true,
        }))
    }
}

/// A circle in the field, its numbers multiples of 1/64 pixel, which JSON keeps.
fn random_circle(params: &CircleCountParams, dice: &mut Dice) -> Circle {
    let snap = |value: f64| (value * 64.0).round() / 64.0;
    let side = params.side();
    let radius = snap(dice.between(params.radius_min * side, params.radius_max * side));
    let free = radius + params.line();
    let [left, top, right, bottom] = params.field();
    Circle {
        x: snap(dice.between(left + free, right - free)),
        y: snap(dice.between(top + free, bottom - free)),
        radius,
    }
}

fn fits(params: &CircleCountParams, circle: &Circle) -> bool {
    let side = params.side();
    let sized =
        (params.radius_min * side - 0.5..=params.radius_max * side + 0.5).contains(&circle.radius);
    let [left, top, right, bottom] = params.field();
    let across = (left + circle.radius..=right - circle.radius).contains(&circle.x);
    let down = (top + circle.radius..=bottom - circle.radius).contains(&circle.y);
    sized && across && down
}

fn differ(params: &CircleCountParams, one: &Circle, other: &Circle) -> bool {
    one.separation(other) >= params.separation * params.side()
        && one.clearance(other) >= params.clearance()
}

/// The circles and the empty box.
fn ground(params: &CircleCountParams, scene: &CircleCountScene) -> Result<Canvas> {
    let mut canvas = Canvas::new([params.width, params.height], PAGE)?;
    for circle in &scene.circles {
        draw_circle(&mut canvas, circle, params.line(), LINE, f64::INFINITY);
    }
    let frame = params.number_box();
    outline(&mut canvas, frame, 2, LINE);
    let [left, top, _, bottom] = frame.map(f64::from);
    let (tall, middle) = (bottom - top, (top + bottom) / 2.0);
    let caption = [left - 2.0 * tall, middle];
    canvas.label(caption, "Circles:", 0.55 * tall, LINE);
    Ok(canvas)
}

/// Writes into the box.
fn write_number(canvas: &mut Canvas, params: &CircleCountParams, number: Option<usize>) {
    let [left, top, right, bottom] = params.number_box().map(f64::from);
    let middle = [(left + right) / 2.0, (top + bottom) / 2.0];
    let (text, color) = match number {
        Some(number) => (number.to_string(), LINE),
        None => ("?".to_owned(), UNKNOWN),
    };
    canvas.label(middle, &text, 0.75 * (bottom - top), color);
}

/// Draws the outline as far down as `end`.
fn draw_circle(canvas: &mut Canvas, circle: &Circle, line: f64, color: Rgb, end: f64) {
    let half = line / 2.0;
    let radii = [circle.radius - half, circle.radius + half];
    canvas.round([circle.x, circle.y], radii, end, color, |distance| {
        half + 0.5 - (distance - circle.radius).abs()
    });
}
