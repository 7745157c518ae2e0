//! rects: in which order do the rectangles lie on each other?
//!
//! A rectangle reaches at least as far as one sees it reach. So where another colour shows within the
//! frame about the visible parts of a rectangle, that colour lies above it: an inference from the
//! picture alone. A scene is kept only if these inferences leave a single order.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Rgb};
use crate::error::{PuzzleError, Result};
use crate::judge::{Expect, PictureRule, Slot, SlotRule};
use crate::params::{Params, within};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};
use crate::visual::{canvas_sides, fill_growing, inset, outline, require};

/// The task.
pub struct Rects;

/// Names and colours, in the order in which prompts list them.
const COLORS: [(&str, Rgb); 8] = [
    ("red", [214, 48, 49]),
    ("orange", [245, 140, 30]),
    ("yellow", [250, 215, 60]),
    ("green", [40, 160, 70]),
    ("cyan", [80, 205, 225]),
    ("blue", [40, 90, 210]),
    ("purple", [120, 60, 170]),
    ("pink", [245, 140, 190]),
];

const PAGE: Rgb = [255, 255, 255];
const LINE: Rgb = [60, 60, 60];
/// Smallest visible part of a rectangle, in squares whose sides are the least distance of edges.
const LEAST_SEEN: f64 = 4.0;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RectsParams {
    /// Width of the picture, pixels (default 512).
    pub width: u32,
    /// Height of the picture, pixels (default 512).
    pub height: u32,
    /// Number of rectangles, 2 to 8 (default 4).
    pub count: u32,
    /// Least side of a rectangle, as a share of the field that they lie in (default 0.25).
    pub side_min: f64,
    /// Greatest side of a rectangle, likewise (default 0.7).
    pub side_max: f64,
}

impl Default for RectsParams {
    fn default() -> Self {
        Self {
            width: 512,
            height: 512,
            count: 4,
            side_min: 0.25,
            side_max: 0.7,
        }
    }
}

impl Params for RectsParams {
    fn validate(&self) -> Result<(), String> {
        canvas_sides(self.width, self.height)?;
        within("count", self.count, 2, COLORS.len() as u32)?;
        within("side_min", self.side_min, 0.1, 0.9)?;
        within("side_max", self.side_max, self.side_min, 0.9)?;
        let [_, top, _, bottom] = self.band(0);
        if bottom < top + 10 {
            return Err("the bars would be too thin: raise `height` or lower `count`".to_owned());
        }
        Ok(())
    }
}

impl RectsParams {
    fn margin(&self) -> u32 {
        self.width.min(self.height) / 24
    }

    /// Left, top, right, bottom of the part that rectangles lie in.
    fn field(&self) -> [u32; 4] {
        let margin = self.margin();
        let bottom = (f64::from(self.height) * 0.62).round() as u32;
        [margin, margin, self.width - margin, bottom]
    }

    /// The bar for layer `at`, counted from the top one.
    fn band(&self, at: u32) -> [u32; 4] {
        let margin = self.margin();
        let top = self.field()[3] + margin;
        let pitch = (self.height - margin - top) / self.count;
        let gap = (pitch / 8).max(2);
        let start = top + at * pitch;
        [
            2 * margin + pitch,
            start,
            self.width - margin,
            start + pitch - gap,
        ]
    }

    /// Least distance between two edges that run the same way, pixels.
    fn gap(&self) -> i32 {
        let [left, top, right, bottom] = self.field();
        let side = (right - left).min(bottom - top);
        ((side / (6 * self.count)) as i32).max(4)
    }
}

/// A rectangle. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerRect {
    /// Name of its colour.
    pub color: String,
    /// Left, top, right, bottom.
    pub frame: [i32; 4],
}

/// Geometry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RectsScene {
    /// The rectangles in drawing order.
    pub rects: Vec<LayerRect>,
}

impl Task for Rects {
    type Params = RectsParams;
    type Scene = RectsScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "rects",
            group: TaskGroup::Visual,
            version: 1,
            about: "Name the colors of overlapping rectangles from the top layer to the bottom.",
        }
    }

    fn build(&self, params: &RectsParams, dice: &mut Dice) -> Result<RectsScene> {
        const TRIES: u32 = 100;
        let mut colors: Vec<_> = COLORS.iter().map(|(name, _)| (*name).to_owned()).collect();
        dice.shuffle(&mut colors);
        colors.truncate(params.count as usize);
        for _ in 0..TRIES {
            let Some(frames) = pile(params, dice) else {
                continue;
            };
            let rects = colors.iter().cloned().zip(frames);
            let scene = RectsScene {
                rects: rects
                    .map(|(color, frame)| LayerRect { color, frame })
                    .collect(),
            };
            if self.solve(params, &scene).is_ok() {
                return Ok(scene);
            }
        }
        Err(PuzzleError::NoScene {
            task: Task::info(self).name.to_owned(),
            tries: TRIES,
            hint: "lower `count` or `side_min`".to_owned(),
        })
    }

    fn solve(&self, params: &RectsParams, scene: &RectsScene) -> Result<Solved> {
        let rects = &scene.rects;
        require(
            rects.len() == params.count as usize,
            "the number of rectangles is not the parameters'",
        )?;
        for (at, rect) in rects.iter().enumerate() {
            require(color(&rect.color).is_some(), "a colour has no name")?;
            let known = rects[..at].iter().any(|other| other.color == rect.color);
            require(!known, "two rectangles share a colour")?;
            require(
                is_sized(params, rect.frame),
                "a rectangle is too small, too large or outside its field",
            )?;
        }
        let frames: Vec<_> = rects.iter().map(|rect| rect.frame).collect();
        require(
            edges_apart(&frames, params.gap()),
            "two edges are too near to each other",
        )?;
        let seen = Seen::of(&frames);
        let least = LEAST_SEEN * f64::from(params.gap() * params.gap());
        require(
            seen.areas.iter().all(|&area| area as f64 >= least),
            "too little is seen of a rectangle",
        )?;
        let order = seen.order().ok_or_else(|| {
            PuzzleError::BadScene("what is seen leaves the order open".to_owned())
        })?;
        let names = order.iter().map(|&at| rects[at].color.clone()).collect();
        let canvas = [params.width, params.height];
        let mut solved = Solved::new(Answer::Sequence(names), canvas);
        let visible = seen.areas.iter().copied().min().unwrap_or(0) as f64;
        solved
            .measures
            .insert("min_visible_area".to_owned(), visible);
        Ok(solved)
    }

    fn options(
        &self,
        _: &RectsParams,
        scene: &RectsScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        // In the order of the table, which knows nothing of the layers.
        let shown = |name: &&str| scene.rects.iter().any(|rect| rect.color == **name);
        let names = COLORS.iter().map(|(name, _)| *name).filter(shown);
        Ok(names.map(str::to_owned).collect())
    }

    fn prompts(&self, params: &RectsParams, _: &Solved, options: &[String]) -> Prompts {
        let count = params.count;
        let figure = format!(
            "The upper part of the picture shows {count} rectangles of different colors, lying on \
             each other in layers. The colors are: {}.",
            options.join(", ")
        );
        let bars = format!(
            "Below are {count} empty bars, numbered from 1 for the top layer, which nothing \
             covers, to {count} for the bottom layer."
        );
        let list = "separated by commas, inside <answer> and </answer>";
        let edit = "Fill every bar with the color of its layer and leave everything else as it is.";
        Prompts {
            text: format!(
                "{figure} Name them in order from the top layer, which nothing covers, to the \
                 bottom layer, {list} at the end of your reply."
            ),
            image: format!("{figure} {bars} {edit}"),
            text_image: format!(
                "{figure} {bars} {edit} Also name the colors from the top layer to the bottom \
                 layer, {list}."
            ),
            video: format!(
                "{figure} {bars} The camera does not move. From the first to the last the bars \
                 fill, from left to right, with the color of their layer. Nothing else changes."
            ),
        }
    }

    fn paint(
        &self,
        params: &RectsParams,
        scene: &RectsScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let mut canvas = Canvas::new([params.width, params.height], PAGE)?;
        for rect in &scene.rects {
            if let Some(fill) = color(&rect.color) {
                canvas.rect(rect.frame.map(|edge| edge.max(0) as u32), fill);
            }
        }
        for at in 0..params.count {
            let band = params.band(at);
            outline(&mut canvas, band, 2, LINE);
            let [left, top, _, bottom] = band.map(f64::from);
            let middle = [left - 0.6 * (bottom - top), (top + bottom) / 2.0];
            canvas.label(middle, &(at + 1).to_string(), 0.95 * (bottom - top), LINE);
        }
        let fills: Vec<_> = bands(params, solved)
            .filter_map(|(frame, name)| Some((inset(frame, 2), color(name)?)))
            .collect();
        fill_growing(&mut canvas, &fills, layer.progress());
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        params: &RectsParams,
        _: &RectsScene,
        solved: &Solved,
        options: &[String],
    ) -> Result<PictureRule> {
        let palette: Vec<_> = options.iter().filter_map(|name| color(name)).collect();
        let slots = bands(params, solved)
            .enumerate()
            .map(|(at, (frame, name))| {
                let right = color(name).unwrap_or(PAGE);
                let others = palette.iter().copied().chain([PAGE]);
                Slot {
                    name: format!("bar {}", at + 1),
                    area: inset(frame, 2).into(),
                    expect: Expect::Color {
                        right,
                        others: others.filter(|other| *other != right).collect(),
                    },
                }
            });
        Ok(PictureRule::Slots(SlotRule {
            slots: slots.collect(),
            keeps_rest: true,
        }))
    }
}

/// The bars with the names of their colours.
fn bands<'a>(
    params: &'a RectsParams,
    solved: &'a Solved,
) -> impl Iterator<Item = ([u32; 4], &'a str)> {
    let names = match &solved.answer {
        Answer::Sequence(names) => names.as_slice(),
        _ => &[],
    };
    (0..params.count)
        .zip(names)
        .map(|(at, name)| (params.band(at), name.as_str()))
}

fn color(name: &str) -> Option<Rgb> {
    let found = COLORS.iter().find(|(known, _)| *known == name);
    found.map(|(_, rgb)| *rgb)
}

/// Frames from the bottom layer up, each layer seen to lie on the one below it.
fn pile(params: &RectsParams, dice: &mut Dice) -> Option<Vec<[i32; 4]>> {
    const TRIES_EACH: u32 = 400;
    let mut frames: Vec<[i32; 4]> = Vec::new();
    let least = LEAST_SEEN * f64::from(params.gap() * params.gap());
    for _ in 0..params.count {
        let next = (0..TRIES_EACH).find_map(|_| {
            let mut all = frames.clone();
            all.push(random_frame(params, dice));
            if !edges_apart(&all, params.gap()) {
                return None;
            }
            let seen = Seen::of(&all);
            let clear = seen.areas.iter().all(|&area| area as f64 >= least);
            (clear && seen.order().is_some()).then_some(all)
        });
        frames = next?;
    }
    Some(frames)
}

fn random_frame(params: &RectsParams, dice: &mut Dice) -> [i32; 4] {
    let [left, top, right, bottom] = params.field().map(|edge| edge as i32);
    let mut span = |start: i32, end: i32| {
        let whole = f64::from(end - start);
        let side = (dice.between(params.side_min, params.side_max) * whole).round() as i32;
        let from = dice.whole(start, end - side);
        [from, from + side]
    };
    let ([x0, x1], [y0, y1]) = (span(left, right), span(top, bottom));
    [x0, y0, x1, y1]
}

fn is_sized(params: &RectsParams, [x0, y0, x1, y1]: [i32; 4]) -> bool {
    let [left, top, right, bottom] = params.field().map(|edge| edge as i32);
    let inside = left <= x0 && x0 < x1 && x1 <= right && top <= y0 && y0 < y1 && y1 <= bottom;
    let sized = |side: i32, whole: i32| {
        let (side, whole) = (f64::from(side), f64::from(whole));
        (params.side_min * whole - 1.0..=params.side_max * whole + 1.0).contains(&side)
    };
    // Inside the field no difference can overflow.
    inside && sized(x1 - x0, right - left) && sized(y1 - y0, bottom - top)
}

/// Edges that run the same way keep their distance, so that every meeting of two colours is clear.
fn edges_apart(frames: &[[i32; 4]], gap: i32) -> bool {
    [[0, 2], [1, 3]].iter().all(|&[low, high]| {
        let edges: Vec<_> = frames.iter().flat_map(|f| [f[low], f[high]]).collect();
        edges.iter().enumerate().all(|(at, edge)| {
            let others = edges[..at].iter();
            others.map(|other| edge - other).all(|d| d.abs() >= gap)
        })
    })
}

/// What is seen of a pile of frames, drawn in their order.
struct Seen {
    /// Visible pixels of each.
    areas: Vec<i64>,
    /// `above[a][b]`: `a` shows within the frame about the visible parts of `b`.
    above: Vec<Vec<bool>>,
}

impl Seen {
    /// Looks at the patches that the edges cut the picture into; each has one colour.
    fn of(frames: &[[i32; 4]]) -> Self {
        let cuts = |low: usize, high: usize| {
            let mut cuts: Vec<_> = frames.iter().flat_map(|f| [f[low], f[high]]).collect();
            cuts.sort_unstable();
            cuts
        };
        let (across, down) = (cuts(0, 2), cuts(1, 3));
        let mut patches = Vec::new();
        for y in down.windows(2) {
            for x in across.windows(2) {
                let covers =
                    |f: &[i32; 4]| f[0] <= x[0] && x[1] <= f[2] && f[1] <= y[0] && y[1] <= f[3];
                if let Some(top) = frames.iter().rposition(covers) {
                    patches.push((top, [x[0], y[0], x[1], y[1]]));
                }
            }
        }
        let count = frames.len();
        let mut areas = vec![0; count];
        let mut extents = vec![[i32::MAX, i32::MAX, i32::MIN, i32::MIN]; count];
        for &(owner, [x0, y0, x1, y1]) in &patches {
            areas[owner] += i64::from(x1 - x0) * i64::from(y1 - y0);
            let [left, top, right, bottom] = extents[owner];
            extents[owner] = [left.min(x0), top.min(y0), right.max(x1), bottom.max(y1)];
        }
        let mut above = vec![vec![false; count]; count];
        for &(owner, [x0, y0, x1, y1]) in &patches {
            for (lower, &[left, top, right, bottom]) in extents.iter().enumerate() {
                let within = left <= x0 && x1 <= right && top <= y0 && y1 <= bottom;
                above[owner][lower] |= within && owner != lower;
            }
        }
        Self { areas, above }
    }

    /// From the top layer down; `None` where more than one could come next.
    fn order(&self) -> Option<Vec<usize>> {
        let mut left: Vec<_> = (0..self.areas.len()).collect();
        let mut order = Vec::new();
        while !left.is_empty() {
            let free = |&&at: &&usize| !left.iter().any(|&other| self.above[other][at]);
            let mut candidates = left.iter().filter(free);
            let next = *candidates.next()?;
            if candidates.next().is_some() {
                return None;
            }
            order.push(next);
            left.retain(|&at| at != next);
        }
        Some(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_follows_from_what_is_seen() {
        // The second lies across the first, the third covers a corner of the second.
        let clear = [[0, 0, 100, 40], [30, 10, 60, 90], [50, 70, 95, 120]];
        assert_eq!(Seen::of(&clear).order(), Some(vec![2, 1, 0]));
        // Side by side: nothing says which is higher.
        let open = [[0, 0, 40, 40], [50, 5, 90, 45]];
        assert_eq!(Seen::of(&open).order(), None);
        // The end of the lower one is hidden: it could as well end at the other's edge.
        let hidden_end = [[0, 10, 60, 30], [40, 0, 100, 50]];
        assert_eq!(Seen::of(&hidden_end).order(), None);
    }
}
