//! Puzzles of the kind "find the rule, fill the gap": even answers, room to train, no way round
//! the rule, and pictures that show what the record says.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use image::RgbImage;
use serde_json::{Value, json};
use vtb_puzzle::judge::{Area, Expect, PictureRule, Slot};
use vtb_puzzle::tasks::{
    ColorGrid, ColorHexagon, ColorOverlapSquares, ColorSize, PolygonSidesColor,
    RectangleHeightColor, ShapeReflect, ShapeSizeGrid, SizeCycle, SizeCycleScene, SizeGrid,
};
use vtb_puzzle::{Layer, Record, Task, find, record_seed};

/// Task, number of possible answers, number of options.
const TASKS: [(&str, usize, usize); 9] = [
    ("color_hexagon", 9, 4),
    ("color_overlap_squares", 3, 4),
    ("color_size", 24, 4),
    ("polygon_sides_color", 9, 4),
    ("rectangle_height_color", 9, 4),
    ("shape_reflect", 7, 4),
    ("shape_size_grid", 3, 3),
    ("size_cycle", 3, 3),
    ("size_grid", 3, 3),
];

fn records(task: &str, params: Value, count: u64) -> impl Iterator<Item = Record> {
    let puzzle = find(task).unwrap();
    let task = task.to_owned();
    (0..count).map(move |index| {
        let seed = record_seed(404, &task, index);
        puzzle.generate(&params, seed).unwrap()
    })
}

fn draw(record: &Record, layer: Layer) -> RgbImage {
    find(&record.task).unwrap().draw(record, layer).unwrap()
}

/// Pearson's statistic against even counts stays below its upper 0.1 % point: there are some
/// thirty such tests here.
fn assert_even<K: Ord>(what: &str, classes: usize, keys: impl Iterator<Item = K>) {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_insert(0_u64) += 1);
    let counts: Vec<_> = counts.into_values().collect();
    assert_eq!(counts.len(), classes, "{what}: {counts:?}");
    let expected = counts.iter().sum::<u64>() as f64 / classes as f64;
    let squares = counts
        .iter()
        .map(|&count| (count as f64 - expected).powi(2));
    let statistic = squares.sum::<f64>() / expected;
    let critical = match classes - 1 {
        2 => 13.82,
        3 => 16.27,
        5 => 20.52,
        6 => 22.46,
        7 => 24.32,
        8 => 26.12,
        23 => 49.73,
        other => panic!("no critical value for {other}"),
    };
    assert!(
        statistic < critical,
        "{what}: {counts:?}, chi square {statistic}"
    );
}

fn position(record: &Record) -> Option<usize> {
    let answer = record.answer.to_string();
    record.options.iter().position(|option| *option == answer)
}

#[test]
fn answers_and_their_places_are_even() {
    for (task, answers, options) in TASKS {
        let records: Vec<_> = records(task, Value::Null, 6_000).collect();
        let all = records.iter().map(|one| one.answer.to_string());
        assert_even(&format!("{task}, answers"), answers, all);
        let places = records.iter().map(position);
        assert_even(&format!("{task}, places"), options, places);
        for record in &records {
            assert_eq!(record.options.len(), options);
            assert_eq!(
                record.options.iter().collect::<BTreeSet<_>>().len(),
                options
            );
        }
    }
}

/// Where in a list of the scene the hidden element is.
fn hidden(record: &Record, list: &str, key: Option<&str>) -> Option<usize> {
    let items = record.scene[list].as_array().unwrap();
    let missing = |item: &Value| key.map_or(item, |key| &item[key]).is_null();
    items.iter().position(missing)
}

#[test]
fn every_element_is_hidden_equally_often() {
    let cases = [
        ("color_hexagon", "wedges", None, 6),
        ("polygon_sides_color", "polygons", Some("color"), 7),
        ("rectangle_height_color", "bars", Some("color"), 7),
        ("shape_reflect", "cells", None, 6),
        ("size_grid", "cells", None, 8),
        ("shape_size_grid", "cells", None, 9),
    ];
    for (task, list, key, places) in cases {
        let records = records(task, Value::Null, 4_000);
        assert_even(task, places, records.map(|one| hidden(&one, list, key)));
    }
    let shades = records("color_size", Value::Null, 4_000).map(|one| {
        let adjective = one.answer.to_string();
        let adjective = adjective.split(' ').next().unwrap().to_owned();
        (hidden(&one, "shades", None), adjective)
    });
    // At every depth the light shade and the dark one: the depth alone does not tell.
    assert_even("color_size, depth and shade", 8, shades);
}

#[test]
fn there_is_room_to_train() {
    for (task, ..) in TASKS {
        for [width, height] in [[192, 192], [480, 873], [512, 512], [4096, 2048]] {
            let params = json!({"width": width, "height": height});
            let space = find(task).unwrap().scene_space(&params).unwrap().unwrap();
            assert!(space >= 1_000_000_000, "{task} at {width}: {space}");
        }
    }
}

/// The count is exact: a space made small is drawn empty.
#[test]
fn scenes_are_counted() {
    let params = json!({
        "palette": ["red", "blue", "yellow", "green"], "tints": 1, "offset": 0.0,
        "size_min": 0.9, "size_max": 0.9, "line_min": 0.01, "line_max": 0.01
    });
    let space = find("color_hexagon").unwrap().scene_space(&params).unwrap();
    assert_eq!(space, Some(24 * 6 * 37));
    let hashes = records("color_hexagon", params, 80_000).map(|one| one.scene_hash);
    assert_eq!(Some(hashes.collect::<BTreeSet<_>>().len() as u128), space);
}

#[test]
fn counting_colors_tells_nothing() {
    for (task, list) in [
        ("polygon_sides_color", "polygons"),
        ("rectangle_height_color", "bars"),
    ] {
        for record in records(task, Value::Null, 500) {
            let mut counts = BTreeMap::new();
            for item in record.scene[list].as_array().unwrap() {
                if let Some(name) = item["color"].as_str() {
                    *counts.entry(name).or_insert(0) += 1;
                }
            }
            assert_eq!(
                counts.into_values().collect::<Vec<_>>(),
                [2, 2, 2],
                "{task}"
            );
        }
    }
}

/// Where two paints remain possible, that one of them is seen elsewhere does not tell which.
#[test]
fn colors_of_other_squares_tell_nothing() {
    let (mut fresh, mut told) = (0.0_f64, 0.0_f64);
    for record in records("color_overlap_squares", Value::Null, 6_000) {
        let squares = record.scene["corners"].as_array().unwrap();
        let colors = squares.iter().filter_map(|square| square["color"].as_str());
        let seen: BTreeSet<_> = colors.collect();
        if seen.len() == 1 {
            told += 1.0;
            fresh += f64::from(u8::from(!seen.contains(record.answer.to_string().as_str())));
        }
    }
    assert!(told > 1_000.0);
    let bound = 3.0 * (0.25 / told).sqrt();
    assert!((fresh / told - 0.5).abs() < bound, "{fresh} of {told}");
}

/// Rules that look at the distance from the centre only.
#[test]
fn the_distance_from_the_center_tells_nothing() {
    const COUNT: f64 = 6_000.0;
    let mut hits = BTreeMap::new();
    let mut by_ring = BTreeMap::new();
    for record in records("size_cycle", Value::Null, COUNT as u64) {
        let scene: SizeCycleScene = serde_json::from_value(record.scene.clone()).unwrap();
        let at = scene
            .arms
            .concat()
            .iter()
            .position(Option::is_none)
            .unwrap();
        let (arm, ring) = (at / 4, at % 4);
        let answer = record.answer.to_string();
        *by_ring.entry((ring, answer.clone())).or_insert(0.0) += 1.0;
        let neighbour = scene.arms[(arm + 1) % scene.arms.len()][ring].unwrap();
        for (rule, size) in [
            ("as in the next arm", neighbour),
            ("one more than in the next arm", neighbour.after(1)),
            ("one less than in the next arm", neighbour.after(-1)),
        ] {
            let right = f64::from(u8::from(size.name() == answer));
            *hits.entry(rule).or_insert(0.0) += right;
        }
    }
    let near = |share: f64, chance: f64, what: &str| {
        let bound = 3.5 * (chance * (1.0 - chance) / COUNT).sqrt();
        assert!((share - chance).abs() < bound, "{what}: {share}");
    };
    for (rule, count) in hits {
        near(count / COUNT, 1.0 / 3.0, rule);
    }
    for (key, count) in by_ring {
        near(count / COUNT, 1.0 / 12.0, &format!("{key:?}"));
    }
}

#[test]
fn circles_of_a_cycle_keep_apart() {
    for params in [json!({}), json!({"width": 160, "height": 300})] {
        for record in records("size_cycle", params, 400) {
            let puzzle = draw(&record, Layer::Puzzle);
            let solution = draw(&record, Layer::Solution);
            let slot = slot(&record);
            // But for the thin line the gap's surroundings are empty, else the dotted circle would
            // lie on a neighbour, whose outline is dark.
            let Area::Disc { center, radius } = slot.area else {
                panic!("no disc")
            };
            for (x, y, pixel) in solution.enumerate_pixels() {
                let [dx, dy] = [
                    f64::from(x) + 0.5 - center[0],
                    f64::from(y) + 0.5 - center[1],
                ];
                let distance = dx.hypot(dy);
                if (radius - 0.5..radius + 0.5).contains(&distance) {
                    assert_eq!(pixel, puzzle.get_pixel(x, y));
                    assert!(
                        pixel.0.iter().all(|channel| *channel > 128),
                        "{pixel:?} at {x}, {y} of {}",
                        record.scene
                    );
                }
            }
        }
    }
}

#[test]
fn polygons_with_many_sides_are_large() {
    let mut seen = BTreeSet::new();
    for side in [256, 400, 512, 1024] {
        for record in records(
            "polygon_sides_color",
            json!({"width": side, "height": side}),
            300,
        ) {
            let extent = record.scene["page"]["extent"].as_f64().unwrap();
            let room = record.scene["room_percent"].as_f64().unwrap() / 200.0;
            let radius = extent / (1.0 + room) * room;
            let polygons = record.scene["polygons"].as_array().unwrap();
            let sides: BTreeSet<_> = polygons
                .iter()
                .map(|one| one["sides"].as_u64().unwrap())
                .collect();
            assert_eq!(sides.len(), 3);
            for &count in &sides {
                let bulge = radius * (1.0 - (std::f64::consts::PI / count as f64).cos());
                assert!(bulge > 3.98, "{count} sides at radius {radius}");
                assert!(count < 6 || !sides.contains(&(count + 1)), "{sides:?}");
            }
            seen.extend(sides);
        }
    }
    assert_eq!(seen, (3..=9).collect());
}

#[test]
fn nothing_is_cut_off() {
    let canvases = [[512, 512], [480, 480], [480, 873], [900, 300], [192, 200]];
    for (task, ..) in TASKS {
        for [width, height] in canvases {
            for record in records(task, json!({"width": width, "height": height}), 6) {
                let page = &record.scene["page"]["background"];
                for layer in [Layer::Puzzle, Layer::Solution] {
                    let picture = draw(&record, layer);
                    let edge =
                        |x: u32, y: u32| x == 0 || y == 0 || x + 1 == width || y + 1 == height;
                    let clean = picture
                        .enumerate_pixels()
                        .filter(|(x, y, _)| edge(*x, *y))
                        .all(|(_, _, pixel)| json!(pixel.0) == *page);
                    assert!(clean, "{task} {width}x{height} {}", record.seed);
                }
            }
        }
    }
}

fn rule_of<T: Task>(task: &T, record: &Record) -> PictureRule {
    let params = serde_json::from_value(record.params.clone()).unwrap();
    let scene = serde_json::from_value(record.scene.clone()).unwrap();
    let solved = task.solve(&params, &scene).unwrap();
    task.picture_rule(&params, &scene, &solved, &record.options)
        .unwrap()
}

/// The one place that a picture is judged by.
fn slot(record: &Record) -> Slot {
    let rule = match record.task.as_str() {
        "color_grid" => rule_of(&ColorGrid, record),
        "color_hexagon" => rule_of(&ColorHexagon, record),
        "color_overlap_squares" => rule_of(&ColorOverlapSquares, record),
        "color_size" => rule_of(&ColorSize, record),
        "polygon_sides_color" => rule_of(&PolygonSidesColor, record),
        "rectangle_height_color" => rule_of(&RectangleHeightColor, record),
        "shape_reflect" => rule_of(&ShapeReflect, record),
        "shape_size_grid" => rule_of(&ShapeSizeGrid, record),
        "size_cycle" => rule_of(&SizeCycle, record),
        "size_grid" => rule_of(&SizeGrid, record),
        other => panic!("{other} has no rule here"),
    };
    let PictureRule::Slots(mut rule) = rule else {
        panic!("no slots")
    };
    assert!(rule.keeps_rest);
    assert_eq!(rule.slots.len(), 1);
    rule.slots.remove(0)
}

fn holds(area: &Area, point: [f64; 2]) -> bool {
    let [x, y] = point;
    match area {
        Area::Disc { center, radius } => (x - center[0]).hypot(y - center[1]) <= *radius,
        Area::Rect([left, top, right, bottom]) => {
            (*left..*right).contains(&x) && (*top..*bottom).contains(&y)
        }
        Area::Polygon(corners) => {
            let next = corners.iter().cycle().skip(1);
            let crossed = corners.iter().zip(next).filter(|(a, b)| {
                (a[1] > y) != (b[1] > y) && x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
            });
            crossed.count() % 2 == 1
        }
    }
}

/// Pixels inside and outside an area that hold for `what`.
fn count(picture: &RgbImage, area: &Area, what: impl Fn(u32, u32) -> bool) -> [usize; 2] {
    let mut counts = [0, 0];
    for (x, y, _) in picture.enumerate_pixels() {
        if what(x, y) {
            let inside = holds(area, [f64::from(x) + 0.5, f64::from(y) + 0.5]);
            counts[usize::from(!inside)] += 1;
        }
    }
    counts
}

#[test]
fn pictures_follow_their_rule() {
    let mut tasks: Vec<_> = TASKS.iter().map(|row| row.0).collect();
    tasks.push("color_grid");
    for task in tasks {
        for record in records(task, Value::Null, 12) {
            let (puzzle, solution) = (draw(&record, Layer::Puzzle), draw(&record, Layer::Solution));
            let slot = slot(&record);
            let changed = |x: u32, y: u32| puzzle.get_pixel(x, y) != solution.get_pixel(x, y);
            match &slot.expect {
                Expect::Color { right, others } => {
                    let wrong = |x: u32, y: u32| solution.get_pixel(x, y).0 != *right;
                    assert_eq!(count(&solution, &slot.area, wrong)[0], 0, "{task}");
                    let [inside, _] = count(&puzzle, &slot.area, changed);
                    let [whole, _] = count(&puzzle, &slot.area, |_, _| true);
                    assert!(
                        whole > 200 && inside == whole,
                        "{task}: {inside} of {whole}"
                    );
                    assert!(!others.contains(right) && others.len() >= 4);
                }
                Expect::Drawing { right, choices } => {
                    assert_eq!(choices[*right].1, solution, "{task}");
                    assert!(choices[*right].0.contains(&record.answer.to_string()));
                    let [inside, outside] = count(&puzzle, &slot.area, changed);
                    assert!(inside > 200 && outside == 0, "{task}: {inside}, {outside}");
                    for (at, (name, picture)) in choices.iter().enumerate() {
                        let differs =
                            |x: u32, y: u32| picture.get_pixel(x, y) != solution.get_pixel(x, y);
                        let [inside, outside] = count(picture, &slot.area, differs);
                        assert_eq!(outside, 0, "{task} {name}");
                        assert_eq!(inside > 100, at != *right, "{task} {name}: {inside}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_question_mark_goes_when_drawing_begins() {
    const INK: [u8; 3] = [40, 40, 40];
    for (task, ..) in TASKS {
        for record in records(task, Value::Null, 8) {
            let area = slot(&record).area;
            let inked = |layer: Layer| {
                let picture = draw(&record, layer);
                count(&picture, &area, |x, y| picture.get_pixel(x, y).0 == INK)[0]
            };
            assert!(inked(Layer::Puzzle) > 10, "{task} {}", record.seed);
            assert_eq!(inked(Layer::Growing(0.02)), 0, "{task} {}", record.seed);
        }
    }
}

/// What is drawn never goes away again: no crossfade, no blinking.
#[test]
fn drawing_only_adds() {
    for (task, ..) in TASKS {
        for record in records(task, Value::Null, 4) {
            let solution = draw(&record, Layer::Solution);
            let left = |share: f64| {
                let picture = draw(&record, Layer::Growing(share));
                let pairs = picture.pixels().zip(solution.pixels());
                pairs.filter(|(one, other)| one != other).count()
            };
            let left: Vec<_> = (1..=10).map(|step| left(f64::from(step) / 10.0)).collect();
            assert!(
                left.windows(2).all(|pair| pair[0] >= pair[1]),
                "{task}: {left:?}"
            );
            assert_eq!(left[9], 0, "{task}");
        }
    }
}

#[test]
fn impossible_parameters_are_refused() {
    let refused = |task: &str, params: Value, words: &str| {
        let fault = find(task)
            .unwrap()
            .generate(&params, 1)
            .unwrap_err()
            .to_string();
        assert!(fault.contains(words), "{fault}");
    };
    refused(
        "polygon_sides_color",
        json!({"width": 130}),
        "too small to count",
    );
    refused(
        "color_hexagon",
        json!({"palette": ["red", "bleu", "pink", "cyan"]}),
        "`blue`",
    );
    refused(
        "color_hexagon",
        json!({"palette": ["red", "blue", "pink"]}),
        "between 4 and 9",
    );
    refused("size_grid", json!({"size_max": 0.98}), "leave the picture");
    refused("size_grid", json!({"size_min": 0.95}), "size_max");
    refused("color_size", json!({"hues": ["grene"]}), "`green`");
    refused("color_size", json!({"hues": []}), "number of `hues`");
    refused("shape_reflect", json!({"width": 64}), "`width` is 64");
}
