//! Callouts: candidates as small dots, their letters beside them, in every eyeballing task.

#![allow(clippy::unwrap_used)]

mod judge_support;

use image::RgbImage;
use image::imageops::FilterType;
use judge_support::{Case, RED, jpeg, ring, scaled};
use serde_json::{Value, json};
use vtb_puzzle::judge::MarkerRule;
use vtb_puzzle::{
    Answer, ClipJudge, Layer, Outcome, PictureJudge, PictureRule, Puzzle, PuzzleError, Record,
    TaskGroup, find, record_seed, registry,
};

type Point = [f64; 2];

fn tasks() -> impl Iterator<Item = &'static dyn Puzzle> {
    let all = registry().iter().copied();
    all.filter(|task| task.info().group == TaskGroup::Eyeballing)
}

/// One case of every task and size.
fn each_case(check: impl Fn(&Case)) {
    for task in tasks() {
        for params in [
            json!({"callouts": true}),
            json!({"callouts": true, "width": 480, "height": 873, "theme": "dark"}),
        ] {
            check(&Case::new(task, &params, 0).unwrap());
        }
    }
}

fn rule(case: &Case) -> &MarkerRule {
    match &case.rule {
        PictureRule::Marker(rule) => rule,
        other => panic!("{other:?}"),
    }
}

fn gap(a: Point, b: Point) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

#[test]
fn records_verify_and_draw_the_same_again() {
    each_case(|case| {
        case.task.verify(&case.record).unwrap();
        let text = serde_json::to_string(&case.record).unwrap();
        let back: Record = serde_json::from_str(&text).unwrap();
        assert_eq!(back, case.record);
        assert_eq!(case.task.draw(&back, Layer::Puzzle).unwrap(), case.puzzle);
        assert_eq!(
            case.task.draw(&back, Layer::Solution).unwrap(),
            case.solution
        );
    });
}

/// What was made before the parameter came stays as it is.
#[test]
fn a_record_without_callouts_does_not_mention_them() {
    for task in tasks() {
        let name = task.info().name;
        let seed = record_seed(32, name, 0);
        let plain = task.generate(&Value::Null, seed).unwrap();
        assert!(plain.params.get("callouts").is_none(), "{name}");
        let told = task.generate(&json!({"callouts": false}), seed).unwrap();
        assert_eq!(plain, told, "{name}");
        let with = task.generate(&json!({"callouts": true}), seed).unwrap();
        assert_eq!(with.params["callouts"], true, "{name}");
        assert_ne!(with.id, plain.id, "{name}");
        assert_eq!(task.default_params()["callouts"], false, "{name}");
    }
}

#[test]
fn own_solutions_are_right_however_they_are_resized_and_compressed() {
    each_case(|case| {
        let own = &case.solution;
        let mut pictures = vec![("as drawn", own.clone()), ("jpeg 75", jpeg(own, 75))];
        for (name, by, filter) in [
            ("x0.5", 0.5, FilterType::Triangle),
            ("x0.5, sharp", 0.5, FilterType::Lanczos3),
            ("x0.75", 0.75, FilterType::CatmullRom),
            ("x1.5", 1.5, FilterType::CatmullRom),
            ("x2", 2.0, FilterType::Triangle),
        ] {
            pictures.push((name, scaled(own, by, filter)));
        }
        let small = scaled(own, 0.75, FilterType::Triangle);
        pictures.push(("x0.75, jpeg 75", jpeg(&small, 75)));
        for (how, picture) in pictures {
            let verdict = case.judge.judge(&picture);
            assert!(verdict.correct, "{}, {how}: {verdict:#?}", case.name());
        }
    });
}

#[test]
fn only_the_right_dot_may_be_red() {
    each_case(|case| {
        let rule = rule(case);
        let gold = case.record.answer.to_string();
        let answer = case
            .record
            .options
            .iter()
            .position(|one| *one == gold)
            .unwrap();
        let red = |chosen: &dyn Fn(usize) -> bool, from: &RgbImage| {
            let mut picture = from.clone();
            for (at, point) in rule.points.iter().enumerate() {
                if chosen(at) {
                    ring(&mut picture, *point, rule.radius, 0.5 * rule.radius, RED);
                }
            }
            case.judge.judge(&picture)
        };
        let name = case.name();
        assert!(red(&|at| at == answer, &case.puzzle).correct, "{name}");
        for wrong in (0..rule.points.len()).filter(|at| *at != answer) {
            let verdict = red(&|at| at == wrong, &case.puzzle);
            assert_eq!(verdict.outcome, Outcome::Wrong, "{name}: {verdict:#?}");
            let verdict = red(&|at| at == wrong, &case.solution);
            assert_eq!(verdict.outcome, Outcome::Ambiguous, "{name}: {verdict:#?}");
        }
        assert!(!red(&|_| true, &case.puzzle).correct, "{name}");
        assert_eq!(
            case.judge.judge(&case.puzzle).outcome,
            Outcome::Invalid,
            "{name}"
        );
    });
}

#[test]
fn own_clips_are_right() {
    for task in tasks() {
        let case = Case::new(task, &json!({"callouts": true}), 1).unwrap();
        let judge = PictureJudge::new(task, &case.record).unwrap();
        let mut judge = ClipJudge::with_judge(judge);
        let frames = task.frames(&case.record, 7).unwrap();
        frames.iter().for_each(|frame| judge.push(&jpeg(frame, 75)));
        let verdict = judge.finish();
        assert!(verdict.correct, "{}: {verdict:#?}", case.name());
    }
}

/// The record with other names for its candidates.
fn renamed(record: &Record) -> Record {
    let mut other = record.clone();
    other.params["labels"] = json!("digits");
    let list = other.scene["candidates"].as_array_mut().unwrap();
    for (at, one) in list.iter_mut().enumerate() {
        one["label"] = json!((at + 1).to_string());
    }
    other
}

/// Groups of pixels that differ, each within `reach` of another of its group.
fn blots(one: &RgbImage, other: &RgbImage, reach: f64) -> Vec<Vec<Point>> {
    let pixels = one.enumerate_pixels().zip(other.pixels());
    let differ = pixels.filter(|((_, _, a), b)| a != b);
    let mut groups: Vec<Vec<Point>> = Vec::new();
    for ((x, y, _), _) in differ {
        let point = [f64::from(x) + 0.5, f64::from(y) + 0.5];
        let near = |group: &Vec<Point>| group.iter().any(|of| gap(*of, point) <= reach);
        let (touched, mut rest): (Vec<_>, Vec<_>) = groups.into_iter().partition(near);
        let mut joined = touched.concat();
        joined.push(point);
        rest.push(joined);
        groups = rest;
    }
    groups
}

/// Letters are found by drawing the same puzzle with digits: what differs are the letters.
#[test]
fn every_candidate_has_a_letter_of_its_own_off_all_dots() {
    each_case(|case| {
        let other = case
            .task
            .draw(&renamed(&case.record), Layer::Puzzle)
            .unwrap();
        let letters = blots(&case.puzzle, &other, 3.0);
        let (rule, name) = (rule(case), case.name());
        assert_eq!(letters.len(), rule.points.len(), "{name}");
        assert!(rule.radius < 0.6 * 10.0, "{name}");
        for letter in &letters {
            for point in &rule.points {
                let clear = letter.iter().all(|at| gap(*at, *point) > rule.radius + 1.0);
                assert!(clear, "{name}: a letter covers a dot");
            }
            let edge = letter.iter().flat_map(|[x, y]| {
                let [width, height] = case.record.canvas.map(f64::from);
                [*x, *y, width - x, height - y]
            });
            assert!(
                edge.fold(f64::INFINITY, f64::min) > 1.0,
                "{name}: a letter is cut off"
            );
        }
    });
}

/// Dots lie closer together than discs may.
#[test]
fn dots_may_stand_close_together() {
    for name in [
        "incenter",
        "midpoint",
        "arc_connect",
        "circle_tangent_point",
    ] {
        let task = find(name).unwrap();
        let least = (0..10).map(|index| {
            let params = json!({"callouts": true, "candidates": 8});
            let record = task
                .generate(&params, record_seed(33, name, index))
                .unwrap();
            task.verify(&record).unwrap();
            let list = record.scene["candidates"].as_array().unwrap().clone();
            let at = |one: &Value| ["x", "y"].map(|key| one[key].as_f64().unwrap());
            let pairs = list.iter().enumerate().flat_map(|(place, one)| {
                let rest = list[place + 1..].iter();
                rest.map(move |other| gap(at(one), at(other)))
            });
            pairs.fold(f64::INFINITY, f64::min)
        });
        let least = least.fold(f64::INFINITY, f64::min);
        assert!((15.0..24.0).contains(&least), "{name}: {least}");
    }
}

#[test]
fn prompts_speak_of_dots_and_lines() {
    for task in tasks() {
        let name = task.info().name;
        let record = task
            .generate(&json!({"callouts": true}), record_seed(34, name, 0))
            .unwrap();
        assert!(matches!(record.answer, Answer::Choice(_)));
        let prompts = &record.prompts;
        for prompt in [
            &prompts.text,
            &prompts.image,
            &prompts.text_image,
            &prompts.video,
        ] {
            assert!(
                prompt.contains("thin line") && prompt.contains("dot"),
                "{name}: {prompt}"
            );
            assert!(!prompt.contains("disc"), "{name}: {prompt}");
        }
    }
}

#[test]
fn no_room_for_letters_is_a_typed_error() {
    let crowded = json!({
        "callouts": true, "candidates": 8, "width": 128, "height": 128, "marker_radius": 40,
    });
    for name in ["midpoint", "incenter", "parallel"] {
        let result = find(name).unwrap().generate(&crowded, 1);
        assert!(
            matches!(result, Err(PuzzleError::NoScene { .. })),
            "{result:?}"
        );
    }
}
