//! Geometry of the tasks on lines, arcs and rays, checked with formulas of its own.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use vtb_puzzle::draw::Stroke;
use vtb_puzzle::judge::PictureRule;
use vtb_puzzle::tasks::{Ray, RayParams, RayScene};
use vtb_puzzle::{Answer, PuzzleError, Record, Task, find, record_seed};

type Point = [f64; 2];

const LINES: [&str; 6] = [
    "angle_bisector",
    "circle_tangent_line",
    "parallel",
    "perpendicular",
    "perpendicular_bisector",
    "ray_reflect",
];
const ALL: [&str; 11] = [
    "angle_bisector",
    "arc_connect",
    "arc_connect_point_ver",
    "circle_tangent_line",
    "circle_tangent_point",
    "parallel",
    "perpendicular",
    "perpendicular_bisector",
    "ray",
    "ray_reflect",
    "right_triangle",
];

fn records(task: &str, params: &Value, count: u64) -> Vec<Record> {
    let puzzle = find(task).unwrap();
    let make = |index| {
        puzzle
            .generate(params, record_seed(91, task, index))
            .unwrap_or_else(|fault| panic!("{params} {index}: {fault}"))
    };
    (0..count).map(make).collect()
}

fn canvases() -> [Value; 3] {
    [
        json!({}),
        json!({"width": 480, "height": 480}),
        json!({"width": 480, "height": 873}),
    ]
}

fn gap(a: Point, b: Point) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn point(value: &Value) -> Point {
    [0, 1].map(|axis| value[axis].as_f64().unwrap())
}

fn candidates(record: &Record) -> Vec<Point> {
    let list = record.scene["candidates"].as_array().unwrap();
    let at = |one: &Value| ["x", "y"].map(|key| one[key].as_f64().unwrap());
    list.iter().map(at).collect()
}

fn answer(record: &Record) -> usize {
    let gold = record.answer.to_string();
    let place = record.options.iter().position(|option| *option == gold);
    place.unwrap()
}

/// Direction of the arrow from `a` to `b`, degrees.
fn heading(a: Point, b: Point) -> f64 {
    (b[1] - a[1]).atan2(b[0] - a[0]).to_degrees()
}

/// Difference of two directions, 0 to 180 degrees.
fn turned(a: f64, b: f64) -> f64 {
    let turn = (a - b).rem_euclid(360.0);
    turn.min(360.0 - turn)
}

/// Anchor and directions (degrees) of the true line.
fn true_line(record: &Record) -> (Point, Vec<f64>) {
    let scene = &record.scene;
    let both = |heading: f64| vec![heading, heading + 180.0];
    let ends = |key: &str| [0, 1].map(|end| point(&scene[key][end]));
    match record.task.as_str() {
        "angle_bisector" => {
            let vertex = point(&scene["vertex"]);
            let [a, b] = ends("ends").map(|end| heading(vertex, end));
            let half = (b - a).rem_euclid(360.0) / 2.0;
            let inner = if half < 90.0 {
                a + half
            } else {
                a + half + 180.0
            };
            (vertex, vec![inner])
        }
        "circle_tangent_line" => {
            let contact = point(&scene["contact"]);
            (
                contact,
                both(heading(contact, point(&scene["center"])) + 90.0),
            )
        }
        "parallel" => {
            let [a, b] = ends("reference");
            (point(&scene["through"]), both(heading(a, b)))
        }
        "perpendicular" => {
            let [a, b] = ends("reference");
            (point(&scene["through"]), both(heading(a, b) + 90.0))
        }
        "perpendicular_bisector" => {
            let [a, b] = ends("segment");
            let middle = [0, 1].map(|axis| (a[axis] + b[axis]) / 2.0);
            (middle, both(heading(a, b) + 90.0))
        }
        _ => {
            let [a, b] = ends("mirror");
            let (hit, source) = (point(&scene["hit"]), point(&scene["source"]));
            // The angle to the mirror on the way out is that on the way in.
            (hit, vec![2.0 * heading(a, b) - heading(source, hit)])
        }
    }
}

#[test]
fn one_candidate_lies_on_the_line_and_no_other_near_it() {
    for task in LINES {
        for params in canvases() {
            for record in records(task, &params, 150) {
                let (anchor, headings) = true_line(&record);
                let mut violation = f64::INFINITY;
                for (at, one) in candidates(&record).into_iter().enumerate() {
                    let off = headings
                        .iter()
                        .map(|line| turned(heading(anchor, one), *line))
                        .fold(180.0, f64::min);
                    if at == answer(&record) {
                        assert!(off < 0.1, "{task}: the answer is {off} degrees off");
                        continue;
                    }
                    assert!(off >= 4.0, "{task}: another is {off} degrees off");
                    let away = gap(anchor, one) * off.to_radians().sin().abs();
                    violation = violation.min(away);
                    let behind = gap(anchor, one) * (180.0 - off).to_radians().sin().abs();
                    assert!(away.min(behind) >= 24.0 - 0.2, "{task}: {away} pixels off");
                }
                assert!((record.measures["min_violation"] - violation).abs() < 0.3);
            }
        }
    }
}

#[test]
fn tangent_points_see_the_center_at_a_right_angle() {
    let mut sides = [0; 2];
    for params in canvases() {
        for record in records("circle_tangent_point", &params, 200) {
            let [center, outside] = ["center", "outside"].map(|key| point(&record.scene[key]));
            let radius = record.scene["radius"].as_f64().unwrap();
            for (at, one) in candidates(&record).into_iter().enumerate() {
                assert!((gap(one, center) - radius).abs() < 0.13);
                let angle = turned(heading(one, center), heading(one, outside));
                match at == answer(&record) {
                    true => {
                        assert!((angle - 90.0).abs() < 0.2, "{angle}");
                        let side = heading(outside, one) - heading(outside, center);
                        sides[usize::from(side.rem_euclid(360.0) < 180.0)] += 1;
                    }
                    false => assert!((angle - 90.0).abs() >= 4.0, "{angle}"),
                }
            }
        }
    }
    assert!(sides.iter().all(|count| *count > 200), "{sides:?}");
}

#[test]
fn one_arc_lies_on_the_circle_of_the_left_one() {
    for task in ["arc_connect", "arc_connect_point_ver"] {
        for params in canvases() {
            let records = records(task, &params, 150);
            let over = records.iter().filter(|one| one.scene["over"] == true);
            assert!((30..120).contains(&over.count()), "{task}: one-sided");
            for record in &records {
                let scene = &record.scene;
                let number = |key: &str| scene[key].as_f64().unwrap();
                let ends = [0, 1].map(|end| point(&scene["left_arc"][end]));
                let rows = scene["rows"].as_array().unwrap();
                for (at, one) in candidates(record).into_iter().enumerate() {
                    let center = [number("middle"), rows[at].as_f64().unwrap()];
                    let off = |at: Point| (gap(at, center) - number("radius")).abs();
                    assert!(off(one) < 0.13, "{task}: a candidate beside its arc");
                    let fits = ends.iter().all(|end| off(*end) < 0.13);
                    assert_eq!(fits, at == answer(record), "{task}");
                    assert!(one[0] > number("band_right") + 10.0);
                }
                assert!((ends[0][0] - number("band_left")).abs() < 0.1);
            }
        }
    }
}

/// Follows the ray by tiny steps, with no formula for where segments meet.
#[test]
fn rays_walked_step_by_step_reach_the_answer_only() {
    for record in records("ray", &json!({}), 40) {
        let scene: RayScene = serde_json::from_value(record.scene.clone()).unwrap();
        let [mut x, mut y] = scene.start;
        let mut course = heading(scene.start, scene.aim).to_radians();
        let points = candidates(&record);
        let mut nearest = vec![f64::INFINITY; points.len()];
        let mut bounces = 0;
        let side = |[a, b]: [Point; 2], at: Point| {
            (b[0] - a[0]) * (at[1] - a[1]) - (b[1] - a[1]) * (at[0] - a[0])
        };
        const STEP: f64 = 0.02;
        while (30.0..=482.0).contains(&x) && (30.0..=482.0).contains(&y) {
            let next = [x + STEP * course.cos(), y + STEP * course.sin()];
            let crossed = scene.mirrors.iter().find(|ends| {
                let within = side([[x, y], next], ends[0]) * side([[x, y], next], ends[1]) < 0.0;
                within && side(**ends, [x, y]) * side(**ends, next) < 0.0
            });
            match crossed {
                Some([a, b]) => {
                    course = 2.0 * heading(*a, *b).to_radians() - course;
                    bounces += 1;
                }
                None => [x, y] = next,
            }
            for (near, one) in nearest.iter_mut().zip(&points) {
                *near = near.min(gap(*one, [x, y]));
            }
        }
        assert_eq!(f64::from(bounces), record.measures["bounces"]);
        assert!((2..=5).contains(&bounces));
        for (at, near) in nearest.iter().enumerate() {
            match at == answer(&record) {
                true => assert!(*near < 2.0, "the ray misses by {near}"),
                false => assert!(*near > 22.0, "the ray comes within {near} of another"),
            }
        }
    }
}

#[test]
fn rays_that_a_tampered_arrow_sends_elsewhere_are_refused() {
    let record = &records("ray", &json!({}), 1)[0];
    let params: RayParams = serde_json::from_value(record.params.clone()).unwrap();
    let scene: RayScene = serde_json::from_value(record.scene.clone()).unwrap();
    assert!(Ray.solve(&params, &scene).is_ok());
    let mut turned = scene.clone();
    turned.aim = [0, 1].map(|axis| 2.0 * scene.start[axis] - scene.aim[axis]);
    assert!(matches!(
        Ray.solve(&params, &turned),
        Err(PuzzleError::BadScene(_))
    ));
    let mut still = scene;
    still.aim = still.start;
    assert!(matches!(
        Ray.solve(&params, &still),
        Err(PuzzleError::BadScene(_))
    ));
}

#[test]
fn exactly_one_angle_of_a_right_triangle_puzzle_is_right() {
    for params in [canvases().to_vec(), vec![json!({"candidates": 7})]].concat() {
        for record in records("right_triangle", &params, 60) {
            let points = candidates(&record);
            let mut corners = Vec::new();
            for corner in 0..points.len() {
                for one in (0..points.len()).filter(|one| *one != corner) {
                    for other in (one + 1..points.len()).filter(|other| *other != corner) {
                        let [from, a, b] = [corner, one, other].map(|at| points[at]);
                        let off = (turned(heading(from, a), heading(from, b)) - 90.0).abs();
                        assert!(!(0.15..4.0).contains(&off), "{off} degrees off");
                        if off < 0.15 {
                            corners.push(corner);
                        }
                    }
                }
            }
            assert_eq!(corners, [answer(&record)]);
        }
    }
    let few = find("right_triangle")
        .unwrap()
        .generate(&json!({"candidates": 4}), 1);
    assert!(few.unwrap_err().to_string().contains("between 5 and 8"));
}

/// Markers keep apart and inside the margin; so does the construction, except the ray's ends on it.
#[test]
fn pictures_are_legible_and_rules_name_the_markers() {
    for task in ALL {
        for params in canvases() {
            for record in records(task, &params, 40) {
                let points = candidates(&record);
                let sides = record.canvas.map(f64::from);
                let margin = (0.06 * sides[0].min(sides[1])).round().max(18.0);
                let inside = |at: Point, room: f64| {
                    (0..2).all(|axis| {
                        at[axis] >= margin + room && at[axis] <= sides[axis] - margin - room
                    })
                };
                for (at, one) in points.iter().enumerate() {
                    assert!(inside(*one, 10.0), "{task}: a marker outside");
                    let crowded = points[..at].iter().any(|other| gap(*one, *other) < 24.0);
                    assert!(!crowded, "{task}: markers overlap");
                }
                assert!(!record.construction.is_empty());
                for stroke in &record.construction {
                    if let Stroke::Line { points, .. } = stroke {
                        assert!(points.iter().all(|at| inside(*at, -0.1)), "{task}");
                    }
                }
                let solved = &record.measures;
                assert!(solved["min_violation"] > 0.0);
                assert!((0.0..1.0).contains(&solved["difficulty"]));
                assert_rule(&record, &points);
            }
        }
    }
}

fn assert_rule(record: &Record, points: &[Point]) {
    let rule = match record.task.as_str() {
        "arc_connect" => rule_of(&vtb_puzzle::tasks::ArcConnect, record),
        "ray" => rule_of(&Ray, record),
        "ray_reflect" => rule_of(&vtb_puzzle::tasks::RayReflect, record),
        _ => return,
    };
    let PictureRule::Marker(rule) = rule else {
        panic!("{}: not a rule on markers", record.task)
    };
    assert_eq!(rule.points, points);
    assert!((5.0..=10.0).contains(&rule.radius));
    assert!(matches!(record.answer, Answer::Choice(_)));
}

fn rule_of<T: Task>(task: &T, record: &Record) -> PictureRule {
    let params: T::Params = serde_json::from_value(record.params.clone()).unwrap();
    let scene: T::Scene = serde_json::from_value(record.scene.clone()).unwrap();
    let solved = task.solve(&params, &scene).unwrap();
    task.picture_rule(&params, &scene, &solved, &record.options)
        .unwrap()
}

/// What must not help on a portrait page either: distance from the anchor, rank by angle.
#[test]
fn fans_are_even_on_a_portrait_page() {
    const COUNT: u64 = 1_000;
    for task in LINES {
        let (mut near, mut far, mut ranks) = (0.0, 0.0, [0.0; 5]);
        for record in records(task, &json!({"width": 480, "height": 873}), COUNT) {
            let (anchor, headings) = true_line(&record);
            let (points, right) = (candidates(&record), answer(&record));
            let ahead = |one: &Point| {
                let turn =
                    (heading(anchor, *one) - heading(anchor, points[right])).rem_euclid(360.0);
                (0.0..180.0).contains(&turn) && turn > 0.0
            };
            assert!(!headings.is_empty());
            ranks[points.iter().filter(|one| ahead(one)).count()] += 1.0;
            let own = gap(anchor, points[right]);
            let less = points.iter().filter(|one| gap(anchor, **one) < own).count();
            near += f64::from(u8::from(less == 0));
            far += f64::from(u8::from(less == points.len() - 1));
        }
        // 42 counts are compared in all: at 3.5 sigma about one run in fifty would fail by chance.
        let bound = 3.5 * (COUNT as f64 * 0.16).sqrt();
        for count in ranks.into_iter().chain([near, far]) {
            assert!(
                (count - 200.0).abs() <= bound,
                "{task}: {ranks:?} {near} {far}"
            );
        }
    }
}

/// Index of the candidate with the least score.
fn least(points: &[Point], score: impl Fn(Point) -> f64) -> usize {
    let by_score = |a: &usize, b: &usize| score(points[*a]).total_cmp(&score(points[*b]));
    (0..points.len()).min_by(by_score).unwrap()
}

/// Distance from the line through `a` and `b`.
fn beside([a, b]: [Point; 2], at: Point) -> f64 {
    let area = (b[0] - a[0]) * (at[1] - a[1]) - (b[1] - a[1]) * (at[0] - a[0]);
    area.abs() / gap(a, b)
}

/// Rules that take half of the figure for the whole: what the task names, without the step that
/// makes it a task.
#[test]
fn half_read_figures_do_not_help() {
    const COUNT: u64 = 2_000;
    let rule = |record: &Record| {
        let (scene, points) = (&record.scene, candidates(record));
        let ends = |key: &str| [0, 1].map(|end| point(&scene[key][end]));
        match record.task.as_str() {
            // The middle one of those between the arms.
            "angle_bisector" => {
                let vertex = point(&scene["vertex"]);
                let [a, b] = ends("ends").map(|end| heading(vertex, end));
                let from_arm = |at: usize, arm: f64| turned(heading(vertex, points[at]), arm);
                let inside = |at: &usize| from_arm(*at, a).max(from_arm(*at, b)) < turned(a, b);
                let mut between: Vec<_> = (0..points.len()).filter(inside).collect();
                between.sort_by(|one, other| from_arm(*one, a).total_cmp(&from_arm(*other, a)));
                between[between.len() / 2]
            }
            // On as the arrow points, without the mirrors.
            "ray" => {
                let arrow = [point(&scene["start"]), point(&scene["aim"])];
                least(&points, |at| beside(arrow, at))
            }
            // From the segment's middle through the ring, whatever the angle.
            "perpendicular" => {
                let [a, b] = ends("reference");
                let middle = [0, 1].map(|axis| (a[axis] + b[axis]) / 2.0);
                let line = [middle, point(&scene["through"])];
                least(&points, |at| beside(line, at))
            }
            // Level with the arc on the left where it meets the band.
            _ => least(&points, |at| (at[1] - ends("left_arc")[0][1]).abs()),
        }
    };
    for task in [
        "angle_bisector",
        "arc_connect",
        "arc_connect_point_ver",
        "perpendicular",
        "ray",
    ] {
        let records = records(task, &json!({}), COUNT);
        let right = records.iter().filter(|one| rule(one) == answer(one));
        let share = right.count() as f64 / COUNT as f64;
        // Three sigma.
        assert!((share - 0.2).abs() <= 0.027, "{task}: right in {share}");
    }
}
