//! Nothing but the figure tells the answer: labels, places and lazy rules stay at chance.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vtb_puzzle::tasks::MidpointScene;
use vtb_puzzle::{Record, find, record_seed};

fn records(task: &str, params: &Value, count: u64) -> impl Iterator<Item = Record> {
    let puzzle = find(task).unwrap();
    let (task, params) = (task.to_owned(), params.clone());
    (0..count).map(move |index| {
        puzzle
            .generate(&params, record_seed(2026, &task, index))
            .unwrap()
    })
}

/// Pearson's statistic against even counts.
fn chi_square(counts: &[u64]) -> f64 {
    let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    counts
        .iter()
        .map(|&count| (count as f64 - expected).powi(2) / expected)
        .sum()
}

/// Upper 1 % points of chi square by degrees of freedom.
const CRITICAL: [f64; 9] = [0.0, 6.63, 9.21, 11.34, 13.28, 15.09, 16.81, 18.48, 20.09];

fn assert_even(what: &str, counts: &[u64]) {
    let statistic = chi_square(counts);
    assert!(
        statistic < CRITICAL[counts.len() - 1],
        "{what}: {counts:?}, chi square {statistic}"
    );
}

fn tally<K: Ord>(keys: impl Iterator<Item = K>) -> Vec<u64> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_insert(0) += 1);
    counts.into_values().collect()
}

#[test]
fn midpoint_labels_are_even() {
    for candidates in [3_usize, 5, 8] {
        let params = json!({"candidates": candidates});
        let counts = tally(records("midpoint", &params, 5_000).map(|one| one.answer.to_string()));
        assert_eq!(counts.len(), candidates);
        assert_even("labels", &counts);
    }
}

#[test]
fn color_grid_answers_places_and_positions_are_even() {
    let records: Vec<_> = records("color_grid", &json!({"canvas": 96}), 6_000).collect();
    let answers = tally(records.iter().map(|one| one.answer.to_string()));
    assert_eq!(answers.len(), 6);
    assert_even("answers", &answers);
    let hidden = tally(records.iter().map(|one| {
        one.scene["cells"]
            .as_array()
            .unwrap()
            .iter()
            .position(Value::is_null)
    }));
    assert_eq!(hidden.len(), 8);
    assert_even("hidden place", &hidden);
    let place = |one: &Record| {
        one.options
            .iter()
            .position(|name| *name == one.answer.to_string())
    };
    let positions = tally(records.iter().map(place));
    assert_eq!(positions.len(), 4);
    assert_even("place among the options", &positions);
}

/// The rules of a solver that does not measure anything.
fn lazy_picks(scene: &MidpointScene, canvas: [u32; 2]) -> Vec<(&'static str, usize)> {
    let points: Vec<_> = scene.candidates.iter().map(|one| [one.x, one.y]).collect();
    let gap = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
    let least = |score: &dyn Fn([f64; 2]) -> f64| {
        let order = |a: &usize, b: &usize| score(points[*a]).total_cmp(&score(points[*b]));
        (0..points.len()).min_by(order).unwrap()
    };
    let center = canvas.map(|side| f64::from(side) / 2.0);
    let [first, second] = scene.segment;
    let mean = [0, 1]
        .map(|axis| points.iter().map(|point| point[axis]).sum::<f64>() / points.len() as f64);
    let by_angle = |rank: usize| {
        let arm = [mean[0] - first[0], mean[1] - first[1]];
        let side = |point: [f64; 2]| {
            let to = [point[0] - first[0], point[1] - first[1]];
            (to[1] * arm[0] - to[0] * arm[1]) / gap(point, first)
        };
        let mut order: Vec<_> = (0..points.len()).collect();
        order.sort_by(|a, b| side(points[*a]).total_cmp(&side(points[*b])));
        order[rank]
    };
    let last = points.len() - 1;
    vec![
        ("always the first label", 0),
        ("always the last label", last),
        (
            "medoid",
            least(&|point| points.iter().map(|other| gap(point, *other)).sum()),
        ),
        (
            "outlier",
            least(&|point| -points.iter().map(|other| gap(point, *other)).sum::<f64>()),
        ),
        ("nearest to the mean", least(&|point| gap(point, mean))),
        (
            "nearest to the picture's centre",
            least(&|point| gap(point, center)),
        ),
        (
            "farthest from the picture's centre",
            least(&|point| -gap(point, center)),
        ),
        ("leftmost", least(&|point| point[0])),
        ("topmost", least(&|point| point[1])),
        (
            "nearest to the first ring",
            least(&|point| gap(point, first)),
        ),
        (
            "farthest from the first ring",
            least(&|point| -gap(point, first)),
        ),
        (
            "nearest to the second ring",
            least(&|point| gap(point, second)),
        ),
        ("first by angle at a ring", by_angle(0)),
        ("middle by angle at a ring", by_angle(last / 2)),
        ("last by angle at a ring", by_angle(last)),
        (
            "level with the first ring",
            least(&|point| (point[1] - first[1]).abs()),
        ),
    ]
}

#[test]
fn no_lazy_rule_solves_midpoint() {
    const COUNT: u64 = 2_000;
    for params in [
        json!({}),
        json!({"width": 480, "height": 873}),
        json!({"candidates": 4}),
    ] {
        let mut hits = BTreeMap::new();
        let mut chance = 0.0;
        for record in records("midpoint", &params, COUNT) {
            chance = record.chance();
            let scene: MidpointScene = serde_json::from_value(record.scene.clone()).unwrap();
            for (rule, pick) in lazy_picks(&scene, record.canvas) {
                let right = scene.candidates[pick].label == record.answer.to_string();
                *hits.entry(rule).or_insert(0.0) += f64::from(u8::from(right));
            }
        }
        let bound = 3.0 * (chance * (1.0 - chance) / COUNT as f64).sqrt();
        for (rule, count) in hits {
            let share = count / COUNT as f64;
            assert!(
                (share - chance).abs() <= bound,
                "{params}: `{rule}` is right in {share}"
            );
        }
    }
}

#[test]
fn difficulty_spans_a_range() {
    let values: Vec<_> = records("midpoint", &json!({}), 500)
        .map(|one| one.measures["difficulty"])
        .collect();
    let low = values.iter().copied().fold(1.0, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    assert!(
        low > 0.0 && high < 1.0 && high - low > 0.1,
        "{low} to {high}"
    );
}
