//! Rules, brushes and damage for the tests of picture judges.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use vtb_puzzle::judge::{Area, CellMap, Expect, RouteRule, Slot, SlotRule};
use vtb_puzzle::{Layer, PictureJudge, PictureRule, Puzzle, Record, record_seed, registry};

pub const RED: [u8; 3] = [220, 30, 30];

/// Parameter blocks to judge besides the defaults.
pub fn variants(task: &str) -> Vec<Value> {
    let mut blocks = vec![Value::Null];
    blocks.extend(match task {
        "color_grid" => vec![json!({"canvas": 256})],
        "maze_square" => vec![
            json!({"print_ids": false, "width": 480, "height": 873}),
            json!({"braid": 0.7, "print_ids": false, "rows": 11, "cols": 11}),
        ],
        "midpoint" => vec![
            json!({"theme": "dark", "noise": 10, "candidates": 8}),
            json!({"theme": "paper", "width": 480, "height": 873}),
        ],
        _ => Vec::new(),
    });
    blocks
}

/// One puzzle with everything needed to judge and to cheat.
pub struct Case {
    pub task: &'static dyn Puzzle,
    pub record: Record,
    pub puzzle: RgbImage,
    pub solution: RgbImage,
    pub rule: PictureRule,
    pub judge: PictureJudge,
}

impl Case {
    pub fn new(task: &'static dyn Puzzle, params: &Value, index: u64) -> Option<Self> {
        let seed = record_seed(23, task.info().name, index);
        let record = task.generate(params, seed).unwrap();
        let rule = task
            .picture_rule(&record)
            .ok()
            .or_else(|| local_rule(&record))?;
        let puzzle = task.draw(&record, Layer::Puzzle).unwrap();
        let solution = task.draw(&record, Layer::Solution).unwrap();
        let judge = PictureJudge::with_rule(&record, &puzzle, &solution, &rule).unwrap();
        Some(Self {
            task,
            record,
            puzzle,
            solution,
            rule,
            judge,
        })
    }

    pub fn name(&self) -> String {
        format!("{} {}", self.record.task, self.record.params)
    }
}

/// Calls `check` with `count` puzzles of every block of every task that can be judged, and names
/// all that fail, not just the first.
pub fn each_case(count: u64, check: impl Fn(&Case)) {
    let (mut seen, mut failed) = (0, Vec::new());
    for &task in registry() {
        for params in variants(task.info().name) {
            for index in 0..count {
                let Some(case) = Case::new(task, &params, index) else {
                    continue;
                };
                seen += 1;
                let outcome = catch_unwind(AssertUnwindSafe(|| check(&case)));
                if outcome.is_err() {
                    failed.push(format!("{} number {index}", case.name()));
                }
            }
        }
    }
    assert!(seen > 0);
    assert!(
        failed.is_empty(),
        "{} of {seen} fail: {failed:#?}",
        failed.len()
    );
}

/// Rules for tasks that have none of their own.
fn local_rule(record: &Record) -> Option<PictureRule> {
    match record.task.as_str() {
        "maze_square" => Some(PictureRule::Route(square_rule(record))),
        "color_grid" => Some(PictureRule::Slots(grid_rule(record))),
        _ => None,
    }
}

fn whole(number: &Value) -> i64 {
    number.as_i64().unwrap()
}

fn square_rule(record: &Record) -> RouteRule {
    let scene = &record.scene;
    let cols = scene["grid"][0].as_str().unwrap().len() as u32;
    let size = whole(&scene["cell_size"]) as u32;
    let graph = record.graph.as_ref().unwrap();
    let place = |id: u32| {
        let at = [id % cols, id / cols];
        [0, 1].map(|axis| whole(&scene["origin"][axis]) as u32 + at[axis] * size)
    };
    let mut cells = vec![None; (record.canvas[0] * record.canvas[1]) as usize];
    for id in graph.cells() {
        let [left, top] = place(*id);
        for y in top..top + size {
            for x in left..left + size {
                cells[(y * record.canvas[0] + x) as usize] = Some(*id);
            }
        }
    }
    let middle = |id: u32| place(id).map(|edge| f64::from(edge) + f64::from(size) / 2.0);
    RouteRule {
        cells: CellMap::of(&cells),
        centers: graph.cells().iter().map(|id| (*id, middle(*id))).collect(),
    }
}

fn grid_rule(record: &Record) -> SlotRule {
    let scene = &record.scene;
    let color = |name: &str| match name {
        "blue" => [0x6f, 0xa8, 0xdc],
        "green" => [0x93, 0xc4, 0x7d],
        "orange" => [0xf6, 0xb2, 0x6b],
        "purple" => [0x8e, 0x7c, 0xc3],
        "red" => [0xe0, 0x66, 0x66],
        _ => [0xff, 0xd9, 0x66],
    };
    let gap = scene["cells"]
        .as_array()
        .unwrap()
        .iter()
        .position(Value::is_null)
        .unwrap() as i64;
    let at = [gap % 3 - 1, gap / 3 - 1];
    let center = [0, 1]
        .map(|axis| (whole(&scene["center"][axis]) + at[axis] * whole(&scene["spacing"])) as f64);
    let gold = record.answer.to_string();
    let others = record.options.iter().filter(|name| **name != gold);
    SlotRule {
        slots: vec![Slot {
            name: "the gray circle".to_owned(),
            area: Area::Disc {
                center,
                radius: whole(&scene["radius"]) as f64 - whole(&scene["line_tenths"]) as f64 / 10.0,
            },
            expect: Expect::Color {
                right: color(&gold),
                others: others.map(|name| color(name)).collect(),
            },
        }],
        keeps_rest: true,
    }
}

pub fn scaled(picture: &RgbImage, by: f64, filter: FilterType) -> RgbImage {
    let side = |length: u32| (f64::from(length) * by).round() as u32;
    resize(
        picture,
        side(picture.width()),
        side(picture.height()),
        filter,
    )
}

/// Through JPEG, with colour at half the resolution.
pub fn jpeg(picture: &RgbImage, quality: u8) -> RgbImage {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode_image(&half_color(picture))
        .unwrap();
    image::load_from_memory(&bytes).unwrap().into_rgb8()
}

fn half_color(picture: &RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    let luma = |[red, green, blue]: [i32; 3]| (77 * red + 150 * green + 29 * blue) / 256;
    RgbImage::from_fn(width, height, |x, y| {
        let pixel = |x: u32, y: u32| {
            picture
                .get_pixel(x.min(width - 1), y.min(height - 1))
                .0
                .map(i32::from)
        };
        let (left, top) = (x & !1, y & !1);
        let block = [
            (left, top),
            (left + 1, top),
            (left, top + 1),
            (left + 1, top + 1),
        ];
        let sum = block.iter().fold([0; 3], |sum, (x, y)| {
            let color = pixel(*x, *y);
            [0, 1, 2].map(|at| sum[at] + color[at])
        });
        let mean = sum.map(|part| part / 4);
        let shift = luma(pixel(x, y)) - luma(mean);
        Rgb(mean.map(|value| (value + shift).clamp(0, 255) as u8))
    })
}

/// On a page of the given size and colour, at an offset.
pub fn padded(picture: &RgbImage, size: [u32; 2], at: [u32; 2], color: [u8; 3]) -> RgbImage {
    let mut page = RgbImage::from_pixel(size[0], size[1], Rgb(color));
    image::imageops::replace(&mut page, picture, i64::from(at[0]), i64::from(at[1]));
    page
}

/// Moved by whole pixels; what comes in at the edges repeats the edge.
pub fn shifted(picture: &RgbImage, by: [i64; 2]) -> RgbImage {
    let clip =
        |at: u32, by: i64, end: u32| (i64::from(at) - by).clamp(0, i64::from(end) - 1) as u32;
    let (width, height) = picture.dimensions();
    RgbImage::from_fn(width, height, |x, y| {
        *picture.get_pixel(clip(x, by[0], width), clip(y, by[1], height))
    })
}

/// A straight stroke.
pub fn stroke(picture: &mut RgbImage, from: [f64; 2], to: [f64; 2], width: f64, color: [u8; 3]) {
    let along = [to[0] - from[0], to[1] - from[1]];
    let length = (along[0] * along[0] + along[1] * along[1]).max(1e-9);
    let reach = |axis: usize, end: u32| {
        let low = (from[axis].min(to[axis]) - width).clamp(0.0, f64::from(end)) as u32;
        low..(from[axis].max(to[axis]) + width).clamp(0.0, f64::from(end)) as u32
    };
    let [columns, rows] = [reach(0, picture.width()), reach(1, picture.height())];
    for (x, y) in rows.flat_map(|y| columns.clone().map(move |x| (x, y))) {
        let at = [f64::from(x) + 0.5 - from[0], f64::from(y) + 0.5 - from[1]];
        let share = ((at[0] * along[0] + at[1] * along[1]) / length).clamp(0.0, 1.0);
        let away = [at[0] - share * along[0], at[1] - share * along[1]];
        if away[0].hypot(away[1]) <= width / 2.0 {
            picture.put_pixel(x, y, Rgb(color));
        }
    }
}

pub fn ring(picture: &mut RgbImage, center: [f64; 2], radius: f64, width: f64, color: [u8; 3]) {
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let away = (f64::from(x) + 0.5 - center[0]).hypot(f64::from(y) + 0.5 - center[1]);
        if (radius - width..=radius).contains(&away) {
            *pixel = Rgb(color);
        }
    }
}

/// A thick zigzag over the whole picture.
pub fn scribbled(picture: &RgbImage, color: [u8; 3]) -> RgbImage {
    let mut out = picture.clone();
    let [width, height] = [picture.width(), picture.height()].map(f64::from);
    let at = |step: u32| {
        let x = if step.is_multiple_of(2) { 0.08 } else { 0.92 };
        [x * width, (0.1 + 0.16 * f64::from(step)) * height]
    };
    for step in 0..5 {
        stroke(
            &mut out,
            at(step),
            at(step + 1),
            0.02 * width.min(height),
            color,
        );
    }
    out
}

/// Every light pixel red.
pub fn flooded(picture: &RgbImage) -> RgbImage {
    let mut out = picture.clone();
    for pixel in out.pixels_mut() {
        if pixel.0.iter().all(|value| *value > 150) {
            *pixel = Rgb(RED);
        }
    }
    out
}

pub fn noise(width: u32, height: u32, seed: u32) -> RgbImage {
    let mut state = seed | 1;
    RgbImage::from_fn(width, height, |_, _| {
        Rgb([(); 3].map(|()| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 11) as u8
        }))
    })
}

/// Only what the solution changed, on an empty page.
pub fn erased_but_answer(case: &Case) -> RgbImage {
    let page = *case.puzzle.get_pixel(0, 0);
    let pixels = |x, y| (case.puzzle.get_pixel(x, y), *case.solution.get_pixel(x, y));
    RgbImage::from_fn(
        case.puzzle.width(),
        case.puzzle.height(),
        |x, y| match pixels(x, y) {
            (before, after) if *before == after => page,
            (_, after) => after,
        },
    )
}
