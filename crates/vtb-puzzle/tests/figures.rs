//! Figures that ask for one point: the answer has its defining property, checked with formulas of
//! this file's own; nothing overlaps; every other candidate could have been the answer.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use vtb_puzzle::{Layer, Record, find, record_seed};

type Point = [f64; 2];

const TRIANGLES: [&str; 5] = [
    "circumcenter",
    "fermat_point",
    "incenter",
    "orthocenter",
    "triangle_center",
];
const OTHERS: [&str; 5] = [
    "circle_center",
    "isosceles_trapezoid",
    "parallelogram",
    "ray_intersection",
    "reflection",
];

/// Records at the three sizes that pictures are made in, and at both ends of the candidates' number.
fn records(task: &str, count: u64) -> Vec<Record> {
    let sizes = [
        json!({}),
        json!({"width": 480, "height": 480, "candidates": 3}),
        json!({"width": 480, "height": 873}),
        json!({"candidates": 7, "marker_radius": 8.0, "figure_size": 0.9}),
    ];
    let puzzle = find(task).unwrap();
    let make = |params: &Value, index| {
        puzzle
            .generate(params, record_seed(91, task, index))
            .unwrap_or_else(|fault| panic!("{params}: {fault}"))
    };
    let each = |params: &Value| {
        (0..count)
            .map(|index| make(params, index))
            .collect::<Vec<_>>()
    };
    sizes.iter().flat_map(each).collect()
}

fn gap(a: Point, b: Point) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn arrow(from: Point, to: Point) -> Point {
    [to[0] - from[0], to[1] - from[1]]
}

fn dot(a: Point, b: Point) -> f64 {
    a[0] * b[0] + a[1] * b[1]
}

fn off_line(point: Point, [a, b]: [Point; 2]) -> f64 {
    let (along, to) = (arrow(a, b), arrow(a, point));
    ((along[0] * to[1] - along[1] * to[0]) / gap(a, b)).abs()
}

fn off_segment(point: Point, [a, b]: [Point; 2]) -> f64 {
    let (ahead, behind) = (
        dot(arrow(a, b), arrow(a, point)),
        dot(arrow(b, a), arrow(b, point)),
    );
    match ahead > 0.0 && behind > 0.0 {
        true => off_line(point, [a, b]),
        false => gap(point, a).min(gap(point, b)),
    }
}

fn points(value: &Value) -> Vec<Point> {
    serde_json::from_value(value.clone()).unwrap()
}

fn candidates(record: &Record) -> Vec<(Point, bool)> {
    let list = record.scene["candidates"].as_array().unwrap();
    let point = |one: &Value| ["x", "y"].map(|key| one[key].as_f64().unwrap());
    let right = record.answer.to_string();
    list.iter()
        .map(|one| (point(one), one["label"] == right))
        .collect()
}

fn answer(record: &Record) -> Point {
    candidates(record).into_iter().find(|one| one.1).unwrap().0
}

/// How far, in pixels or so, `point` is from having the property the task asks for.
fn fault(record: &Record, point: Point) -> f64 {
    let given = &record.scene["given"];
    let spread = |values: &[f64]| {
        let (low, high) = values
            .iter()
            .fold((f64::MAX, f64::MIN), |(low, high), value| {
                (low.min(*value), high.max(*value))
            });
        high - low
    };
    match record.task.as_str() {
        "circle_center" => gap(point, ["x", "y"].map(|key| given[key].as_f64().unwrap())),
        "parallelogram" => {
            let [one, corner, other] = points(&given["corners"])[..] else {
                panic!()
            };
            let (sides, opposite) = (arrow(corner, one), arrow(other, point));
            gap(sides, opposite)
        }
        "reflection" => {
            let [a, b] = points(&given["axis"])[..] else {
                panic!()
            };
            let source: Point = serde_json::from_value(given["source"].clone()).unwrap();
            spread(&[gap(point, a), gap(source, a)]) + spread(&[gap(point, b), gap(source, b)])
        }
        "isosceles_trapezoid" => {
            let [a, b] = points(&given["base"])[..] else {
                panic!()
            };
            let top: Point = serde_json::from_value(given["top"].clone()).unwrap();
            spread(&[off_line(point, [a, b]), off_line(top, [a, b])])
                + spread(&[gap(a, top), gap(b, point)])
                + spread(&[gap(a, point), gap(b, top)])
        }
        "ray_intersection" => {
            let rays: Vec<[Point; 2]> = serde_json::from_value(given["rays"].clone()).unwrap();
            rays.iter().map(|ray| off_line(point, *ray)).sum()
        }
        name => {
            let [a, b, c] = points(&given["corners"])[..] else {
                panic!()
            };
            let sides = [[a, b], [b, c], [c, a]];
            match name {
                "circumcenter" => spread(&[a, b, c].map(|corner| gap(point, corner))),
                "incenter" => spread(&sides.map(|side| off_line(point, side))),
                "triangle_center" => {
                    let area = |side: [Point; 2]| off_line(point, side) * gap(side[0], side[1]);
                    spread(&sides.map(area)) / gap(a, b).max(gap(b, c))
                }
                "orthocenter" => [[a, b, c], [b, c, a], [c, a, b]]
                    .map(|[from, p, q]| (dot(arrow(from, point), arrow(p, q)) / gap(p, q)).abs())
                    .iter()
                    .sum(),
                "fermat_point" => {
                    // The sum of unit arrows to the corners vanishes where distances are least.
                    let pull = [a, b, c].iter().fold([0.0; 2], |sum, corner| {
                        let (to, far) = (arrow(point, *corner), gap(point, *corner));
                        [sum[0] + to[0] / far, sum[1] + to[1] / far]
                    });
                    dot(pull, pull).sqrt() * gap(point, a).min(gap(point, b)).min(gap(point, c))
                }
                _ => panic!("{name} has no formula"),
            }
        }
    }
}

#[test]
fn the_answer_and_no_other_has_the_property() {
    for task in TRIANGLES.into_iter().chain(OTHERS) {
        for record in records(task, 60) {
            for (point, right) in candidates(&record) {
                let fault = fault(&record, point);
                match right {
                    true => assert!(fault < 0.3, "{task}: {fault}"),
                    false => assert!(fault > 2.0, "{task}: {fault}"),
                }
            }
            let to_answer = |one: &(Point, bool)| gap(one.0, answer(&record));
            let wrong = candidates(&record).into_iter().filter(|one| !one.1);
            let nearest = wrong.map(|one| to_answer(&one)).fold(f64::MAX, f64::min);
            let radius = record.params["marker_radius"].as_f64().unwrap();
            let side = f64::from(record.canvas[0].min(record.canvas[1]));
            assert!(nearest >= f64::max(2.0 * radius + 4.0, 0.03 * side) - 1e-9);
            assert!((record.measures["min_violation"] - nearest).abs() < 0.1);
        }
    }
}

/// Strokes of the figure, as far as they are straight.
fn strokes(record: &Record) -> Vec<[Point; 2]> {
    let given = &record.scene["given"];
    match record.task.as_str() {
        "circle_center" => Vec::new(),
        "parallelogram" => {
            let corners = points(&given["corners"]);
            vec![[corners[0], corners[1]], [corners[1], corners[2]]]
        }
        "reflection" => vec![serde_json::from_value(given["axis"].clone()).unwrap()],
        "isosceles_trapezoid" => {
            let base: [Point; 2] = serde_json::from_value(given["base"].clone()).unwrap();
            let top = serde_json::from_value(given["top"].clone()).unwrap();
            vec![base, [base[0], top]]
        }
        "ray_intersection" => serde_json::from_value(given["rays"].clone()).unwrap(),
        _ => {
            let corners = points(&given["corners"]);
            (0..3)
                .map(|at| [corners[at], corners[(at + 1) % 3]])
                .collect()
        }
    }
}

/// Moved onto any other candidate the figure still fits in the picture and covers no marker: the
/// place of the set says nothing about the answer.
#[test]
fn every_candidate_could_be_the_answer() {
    for task in TRIANGLES.into_iter().chain(OTHERS) {
        for record in records(task, 40) {
            let param = |name: &str| record.params[name].as_f64().unwrap();
            let (radius, width) = (param("marker_radius"), param("line_width"));
            let side = f64::from(record.canvas[0].min(record.canvas[1]));
            let margin = (0.06 * side).round().max(18.0);
            let inside = |at: Point, reach: f64| {
                (0..2).all(|axis| {
                    let free = at[axis].min(f64::from(record.canvas[axis]) - at[axis]);
                    free >= margin + reach - 0.1
                })
            };
            let set = candidates(&record);
            let (strokes, target) = (strokes(&record), answer(&record));
            for (host, _) in &set {
                let by = arrow(target, *host);
                let moved = strokes
                    .iter()
                    .map(|stroke| stroke.map(|[x, y]| [x + by[0], y + by[1]]));
                for stroke in moved {
                    assert!(stroke.iter().all(|end| inside(*end, width / 2.0)), "{task}");
                    for (point, _) in &set {
                        let room = off_segment(*point, stroke) - radius - width / 2.0;
                        assert!(room > 3.9, "{task}: {room}");
                    }
                }
            }
            assert!(
                set.iter().all(|(point, _)| inside(*point, radius)),
                "{task}"
            );
        }
    }
}

#[test]
fn triangles_are_not_needles() {
    for task in TRIANGLES {
        for record in records(task, 60) {
            let [a, b, c] = points(&record.scene["given"]["corners"])[..] else {
                panic!()
            };
            let side = f64::from(record.canvas[0].min(record.canvas[1]));
            let area = 0.5 * off_line(c, [a, b]) * gap(a, b);
            assert!(area >= 0.04 * side * side, "{task}: {area}");
            for [p, q, r] in [[a, b, c], [b, c, a], [c, a, b]] {
                let cosine = dot(arrow(p, q), arrow(p, r)) / (gap(p, q) * gap(p, r));
                assert!(cosine.acos().to_degrees() > 24.99, "{task}");
            }
        }
    }
}

#[test]
fn construction_lines_stay_on_the_picture() {
    for task in TRIANGLES
        .into_iter()
        .chain(OTHERS)
        .chain(["square_outlier"])
    {
        let puzzle = find(task).unwrap();
        for index in 0..20 {
            let params = json!({"width": 480, "height": 600});
            let record = puzzle
                .generate(&params, record_seed(92, task, index))
                .unwrap();
            let text = serde_json::to_value(&record.construction).unwrap();
            for stroke in text.as_array().unwrap() {
                for point in points(&stroke["points"]) {
                    let [width, height] = record.canvas.map(f64::from);
                    assert!((15.0..=width - 15.0).contains(&point[0]), "{task}");
                    assert!((15.0..=height - 15.0).contains(&point[1]), "{task}");
                }
            }
            // The red ring of the answer is whole: nothing is drawn over it.
            let picture = puzzle.draw(&record, Layer::Solution).unwrap();
            let red = picture
                .pixels()
                .filter(|pixel| pixel.0 == [198, 24, 24])
                .count();
            assert!(red > 90, "{task}: {red}");
        }
    }
}

/// The square is found among all twenty-four orders of four points, by its sides and diagonals.
#[test]
fn one_disc_is_not_a_corner_of_the_square() {
    let unsquare = |points: &[Point]| {
        let mut gaps: Vec<_> = (0..4)
            .flat_map(|one| (0..one).map(move |other| (one, other)))
            .map(|(one, other)| gap(points[one], points[other]))
            .collect();
        gaps.sort_by(f64::total_cmp);
        let side = gaps[0];
        let sides = gaps[..4].iter().map(|value| (value - side).abs());
        let diagonals = gaps[4..]
            .iter()
            .map(|value| (value - side * 2_f64.sqrt()).abs());
        sides.chain(diagonals).fold(0.0, f64::max)
    };
    let puzzle = find("square_outlier").unwrap();
    for params in [json!({}), json!({"width": 480, "height": 873})] {
        for index in 0..300 {
            let seed = record_seed(93, "square_outlier", index);
            let record = puzzle.generate(&params, seed).unwrap();
            let set = candidates(&record);
            for skipped in 0..5 {
                let rest: Vec<_> = (0..5)
                    .filter(|at| *at != skipped)
                    .map(|at| set[at].0)
                    .collect();
                match set[skipped].1 {
                    true => assert!(unsquare(&rest) < 1e-6),
                    false => assert!(unsquare(&rest) > 12.0, "{}", unsquare(&rest)),
                }
            }
        }
    }
}
