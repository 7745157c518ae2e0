//! Geometry of the tasks, checked with formulas of its own rather than the library's.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vtb_puzzle::tasks::{ColorGridScene, MidpointScene};
use vtb_puzzle::{Answer, Layer, Record, find, record_seed};

fn records(task: &str, params: Value, count: u64) -> Vec<Record> {
    let puzzle = find(task).unwrap();
    let make = |index| {
        puzzle
            .generate(&params, record_seed(77, task, index))
            .unwrap()
    };
    (0..count).map(make).collect()
}

#[test]
fn midpoint_keeps_its_distances() {
    for params in [
        json!({}),
        json!({"candidates": 8}),
        json!({"width": 480, "height": 873}),
    ] {
        for record in records("midpoint", params, 400) {
            let scene: MidpointScene = serde_json::from_value(record.scene.clone()).unwrap();
            let [a, b] = scene.segment;
            let middle = [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
            let side = f64::from(record.canvas[0].min(record.canvas[1]));
            let (radius, margin) = (10.0, (0.06 * side).round().max(18.0));
            let tolerance = f64::max(2.0 * radius + 4.0, 0.03 * side);
            let gap = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
            let inside = |point: [f64; 2], radius: f64| {
                let sides = record.canvas.map(f64::from);
                (0..2).all(|axis| {
                    point[axis] - radius >= margin && point[axis] + radius <= sides[axis] - margin
                })
            };
            let mut violation = f64::INFINITY;
            for (at, one) in scene.candidates.iter().enumerate() {
                let here = [one.x, one.y];
                assert!(inside(here, radius), "candidate outside");
                for other in &scene.candidates[..at] {
                    assert!(
                        gap(here, [other.x, other.y]) >= tolerance,
                        "candidates overlap"
                    );
                }
                for ring in scene.segment {
                    assert!(
                        gap(here, ring) > radius + scene.ring_radius,
                        "ring overlaps"
                    );
                }
                match record.answer == Answer::Choice(one.label.clone()) {
                    true => assert!(gap(here, middle) < 1e-9, "answer is off the midpoint"),
                    false => violation = violation.min(gap(here, middle)),
                }
            }
            assert!(violation >= tolerance);
            assert!((record.measures["min_violation"] - violation).abs() < 1e-9);
            assert!(
                scene
                    .segment
                    .iter()
                    .all(|ring| inside(*ring, scene.ring_radius))
            );
        }
    }
}

#[test]
fn mazes_have_one_path_and_it_is_the_answer() {
    for params in [
        json!({}),
        json!({"rows": 21, "cols": 15, "placement": "corners"}),
    ] {
        for record in records("maze_square", params, 150) {
            let graph = record.graph.as_ref().unwrap();
            assert!(graph.is_forest());
            let Answer::Path(path) = &record.answer else {
                panic!("no path")
            };
            assert_eq!(
                (path[0], path[path.len() - 1]),
                (graph.start(), graph.goal())
            );
            assert!(
                path.windows(2)
                    .all(|pair| graph.neighbours(pair[0]).contains(&pair[1]))
            );
            assert_eq!(path.iter().collect::<BTreeSet<_>>().len(), path.len());
            assert_eq!(path.len(), graph.shortest_path_len());
            // A forest with every cell reachable from the start is a tree: the path is the only one.
            let reached = graph
                .cells()
                .iter()
                .all(|&id| graph.distance(path[0], id).is_some());
            assert!(reached);
            let [rows, cols] = ["rows", "cols"].map(|key| record.params[key].as_u64().unwrap());
            let rooms = (rows / 2) * (cols / 2);
            assert_eq!(graph.cells().len() as u64, 2 * rooms - 1);
        }
    }
}

#[test]
fn braided_mazes_have_loops_and_take_any_legal_route() {
    let records = records(
        "maze_square",
        json!({"braid": 1.0, "rows": 11, "cols": 11}),
        60,
    );
    let mut detours = 0;
    for record in records {
        let graph = record.graph.as_ref().unwrap();
        assert!(!graph.is_forest());
        let shortest = graph.shortest_path();
        assert!(shortest.len() >= 7);
        if let Some(longer) = detour(&record, &shortest) {
            let text = format!("<answer>{longer:?}</answer>");
            assert!(vtb_puzzle::judge_text(&record, &text).correct);
            let mut strict = record.clone();
            strict.path_rules.shortest_only = true;
            assert!(!vtb_puzzle::judge_text(&strict, &text).correct);
            detours += 1;
        }
    }
    assert!(detours > 10, "{detours}");
}

/// A simple route that is longer than the shortest, by depth-first search.
fn detour(record: &Record, shortest: &[u32]) -> Option<Vec<u32>> {
    fn search(record: &Record, path: &mut Vec<u32>, more_than: usize, budget: &mut u32) -> bool {
        let graph = record.graph.as_ref().unwrap();
        let here = path[path.len() - 1];
        if here == graph.goal() {
            return path.len() > more_than;
        }
        for &next in graph.neighbours(here) {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            if !path.contains(&next) {
                path.push(next);
                if search(record, path, more_than, budget) {
                    return true;
                }
                path.pop();
            }
        }
        false
    }
    let mut path = vec![shortest[0]];
    search(record, &mut path, shortest.len(), &mut 5_000).then_some(path)
}

#[test]
fn random_ends_differ_and_keep_min_path() {
    let records = records("maze_square", json!({"min_path": 11}), 200);
    let ends: BTreeSet<_> = records
        .iter()
        .map(|record| {
            let graph = record.graph.as_ref().unwrap();
            assert!(graph.shortest_path_len() >= 11);
            (graph.start(), graph.goal())
        })
        .collect();
    assert!(ends.len() > 80, "{}", ends.len());
}

#[test]
fn solution_ink_lies_on_the_path_only() {
    for record in records("maze_square", json!({"print_ids": false}), 20) {
        let puzzle = find("maze_square").unwrap();
        let before = puzzle.draw(&record, Layer::Puzzle).unwrap();
        let after = puzzle.draw(&record, Layer::Solution).unwrap();
        let Answer::Path(path) = &record.answer else {
            panic!("no path")
        };
        let mut inked = BTreeSet::new();
        for (x, y, pixel) in after.enumerate_pixels() {
            if before.get_pixel(x, y) != pixel {
                inked.insert(y / 32 * 9 + x / 32);
            }
        }
        let between: BTreeSet<_> = path[1..path.len() - 1].iter().copied().collect();
        assert_eq!(inked, between);
    }
}

#[test]
fn large_mazes_do_not_overflow() {
    let params = json!({"rows": 401, "cols": 401, "cell": 4, "print_ids": false, "braid": 0.2});
    let record = &records("maze_square", params, 1)[0];
    assert!(find("maze_square").unwrap().verify(record).is_ok());
}

#[test]
fn color_grid_shows_the_rule_and_hides_one_circle() {
    let puzzle = find("color_grid").unwrap();
    for canvas in [64, 96, 100, 224, 512] {
        for record in records("color_grid", json!({"canvas": canvas}), 60) {
            let scene: ColorGridScene = serde_json::from_value(record.scene.clone()).unwrap();
            let hidden = scene.cells.iter().position(Option::is_none).unwrap();
            assert_ne!(hidden, 4);
            let distinct: BTreeSet<_> = scene.cells.iter().flatten().collect();
            assert_eq!(distinct.len(), 3);
            // Colours are read back from the pictures.
            let (before, after) = (
                puzzle.draw(&record, Layer::Puzzle).unwrap(),
                puzzle.draw(&record, Layer::Solution).unwrap(),
            );
            let at = |picture: &image::RgbImage, cell: usize| {
                let x = scene.center[0] + (cell as i32 % 3 - 1) * scene.spacing;
                let y = scene.center[1] + (cell as i32 / 3 - 1) * scene.spacing;
                picture.get_pixel(x as u32, y as u32).0
            };
            let like = [[0, 2, 6, 8], [1, 3, 5, 7]]
                .into_iter()
                .find(|kind| kind.contains(&hidden))
                .unwrap();
            let twin = like.into_iter().find(|&cell| cell != hidden).unwrap();
            assert_eq!(at(&after, hidden), at(&after, twin));
            assert_ne!(at(&before, hidden), at(&after, hidden));
            assert_eq!(record.options.len(), 4);
            assert_eq!(record.options.iter().collect::<BTreeSet<_>>().len(), 4);
        }
    }
}

#[test]
fn color_grid_has_room_to_train() {
    let puzzle = find("color_grid").unwrap();
    for canvas in [64, 96, 128, 512, 2048] {
        let space = puzzle
            .scene_space(&json!({"canvas": canvas}))
            .unwrap()
            .unwrap();
        assert!(space >= 1_000_000, "{canvas}: {space}");
    }
    assert_eq!(
        find("midpoint").unwrap().scene_space(&Value::Null).unwrap(),
        None
    );
}

/// The count is exact: a space made small is drawn empty.
#[test]
fn color_grid_counts_its_scenes() {
    let params = json!({
        "canvas": 96, "palette": ["red", "blue", "yellow", "orange"], "tints": 1, "offset": 0.0,
        "radius_min": 0.1, "radius_max": 0.1, "spacing_min": 0.25, "spacing_max": 0.25
    });
    let space = find("color_grid")
        .unwrap()
        .scene_space(&params)
        .unwrap()
        .unwrap();
    // 12 colour triples without both orange and yellow, 8 places, 9 outlines.
    assert_eq!(space, 12 * 8 * 9);
    let hashes: BTreeSet<_> = records("color_grid", params, 20_000)
        .into_iter()
        .map(|one| one.scene_hash)
        .collect();
    assert_eq!(hashes.len() as u128, space);
}

/// Looks, prompts and options are not part of the scene: their choice cannot hide a duplicate.
#[test]
fn scene_hashes_ignore_prompts() {
    let puzzle = find("color_grid").unwrap();
    let hash = |params: Value| puzzle.generate(&params, 5).unwrap();
    let long = hash(json!({"canvas": 96}));
    let short = hash(json!({"canvas": 96, "prompt_style": "short", "list_options": false}));
    assert_eq!(long.scene_hash, short.scene_hash);
    assert_ne!(long.id, short.id);
    assert_ne!(long.prompts, short.prompts);
}
