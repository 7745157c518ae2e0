//! Judges for records that others wrote: on records made here in their form, whole and broken.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;

use common::*;
use image::{Rgb, RgbImage};
use proptest::prelude::*;
use serde_json::{Value, json};
use vtb_data::manifest::{Manifest, ManifestEntry};
use vtb_puzzle::tasks::{MazeHexagonScene, MazeSquareScene};
use vtb_puzzle::{Answer, Layer, MazeGraph, Outcome, Record, find};

/// A record in foreign form with its two pictures.
struct Case {
    record: Value,
    puzzle: RgbImage,
    solution: RgbImage,
}

impl Case {
    fn new(record: Value, puzzle: RgbImage, solution: RgbImage) -> Self {
        let mut case = Self {
            record,
            puzzle,
            solution,
        };
        for (field, value) in [
            ("id", "one"),
            ("prompt", "?"),
            ("image", "puzzle.png"),
            ("solution_image_path", "solution.png"),
        ] {
            case.record[field] = json!(value);
        }
        case
    }

    fn write(&self, dir: &Path) {
        self.puzzle.save(dir.join("puzzle.png")).unwrap();
        self.solution.save(dir.join("solution.png")).unwrap();
        std::fs::write(dir.join("data.json"), json!([self.record]).to_string()).unwrap();
    }

    fn entry(&self, dir: &Path) -> ManifestEntry {
        self.write(dir);
        Manifest::open_upstream(dir, false)
            .unwrap()
            .entry(0)
            .unwrap()
    }
}

fn drawn(task: &str, params: &Value) -> (Record, RgbImage, RgbImage) {
    let task = find(task).unwrap();
    let record = task.generate(params, 5).unwrap();
    let [puzzle, solution] =
        [Layer::Puzzle, Layer::Solution].map(|at| task.draw(&record, at).unwrap());
    (record, puzzle, solution)
}

fn square() -> (Case, MazeGraph) {
    let (record, puzzle, solution) = drawn(
        "maze_square",
        &json!({"rows": 7, "cols": 7, "cell": 20, "print_ids": false}),
    );
    let scene: MazeSquareScene = serde_json::from_value(record.scene.clone()).unwrap();
    let [left, top] = scene.origin;
    let size = scene.cell_size;
    let walls =
        |row: &String| -> Vec<u8> { row.bytes().map(|cell| u8::from(cell == b'#')).collect() };
    let grid: Vec<Vec<u8>> = scene.grid.iter().map(walls).collect();
    let bounds = |row: u32, column: u32| {
        let [x, y] = [left + column * size, top + row * size];
        [x, y, x + size, y + size]
    };
    let boxes: Vec<Vec<[u32; 4]>> = (0..7)
        .map(|row| (0..7).map(|at| bounds(row, at)).collect())
        .collect();
    let fields = json!({
        "solution_path_cell_ids": record.answer, "maze_grid": grid, "cell_bboxes": boxes,
        "start": scene.start, "goal": scene.goal,
    });
    (Case::new(fields, puzzle, solution), record.graph.unwrap())
}

fn hexagon() -> (Case, MazeGraph) {
    let (record, puzzle, solution) = drawn(
        "maze_hexagon",
        &json!({"radius": 2, "cell": 24, "wall": 4, "print_ids": false}),
    );
    let scene: MazeHexagonScene = serde_json::from_value(record.scene.clone()).unwrap();
    // Theirs have small discs for start and goal, ours fill the cells.
    let bare = |mut picture: RgbImage| {
        for pixel in picture.pixels_mut() {
            let [red, green, blue] = pixel.0;
            if red < green.max(blue) {
                *pixel = Rgb([255; 3]);
            }
        }
        picture
    };
    let [puzzle, solution] = [puzzle, solution].map(bare);
    let cells: Vec<[i32; 2]> = (-2..=2_i32)
        .flat_map(|q| (-2..=2_i32).map(move |r| [q, r]))
        .filter(|[q, r]| (q + r).abs() <= 2)
        .collect();
    let middles = scene.comb.middles();
    let [start, goal] = [scene.ways.start, scene.ways.goal].map(|id| id as usize);
    let fields = json!({
        "solution_path_cell_ids": record.answer, "radius": 2, "cell_radius": 24, "wall_thickness": 4,
        "start_cell": cells[start], "goal_cell": cells[goal],
        "start_point": middles[start], "goal_point": middles[goal],
    });
    (Case::new(fields, puzzle, solution), record.graph.unwrap())
}

/// Two rings of four cells: from the middle outwards to the right, then round.
fn labyrinth() -> Case {
    const PATH: [u32; 5] = [6, 5, 1, 2, 0];
    let draw = |is_solved: bool| {
        RgbImage::from_fn(240, 240, |x, y| {
            let [x, y] = [f64::from(x) + 0.5 - 120.0, 120.0 - f64::from(y) - 0.5];
            let (radius, turn) = (x.hypot(y), y.atan2(x) / std::f64::consts::TAU);
            let quarter = 4.0 * turn.rem_euclid(1.0);
            // Distance to the line out at so many quarters.
            let off = |at: f64| {
                let angle = at * std::f64::consts::FRAC_PI_2;
                let ahead = x * angle.cos() + y * angle.sin() > 0.0;
                if ahead {
                    (y * angle.cos() - x * angle.sin()).abs()
                } else {
                    f64::INFINITY
                }
            };
            // Corridors from 42 to 60 and from 72 to 90; what lies between is wall.
            let within = |low: f64, high: f64| (low..high).contains(&radius);
            let opening =
                within(20.0, 50.0) && off(1.5) < 5.0 || within(50.0, 80.0) && off(0.5) < 5.0;
            let floor = radius < 24.0 || within(42.0, 54.0) || within(72.0, 90.0) || opening;
            // The only spokes that do not stand are those between cells 1 and 2, and 5 and 6.
            let spoke = radius > 36.0 && [0.0, 2.0, 3.0].iter().any(|at| off(*at) < 3.0);
            let line = within(0.0, 48.0) && off(1.5) < 1.5
                || within(46.5, 49.5) && (0.5..=1.5).contains(&quarter)
                || within(48.0, 81.0) && off(0.5) < 1.5
                || within(79.5, 82.5) && (0.5..=1.5).contains(&quarter);
            match (is_solved && line, floor && !spoke) {
                (true, _) => Rgb([220, 20, 20]),
                (false, true) => Rgb([240; 3]),
                (false, false) => Rgb([10; 3]),
            }
        })
    };
    let fields = json!({
        "solution_path_cell_ids": PATH, "rings": 2, "segments": 4, "ring_width": 24,
        "wall_thickness": 6, "cells_per_ring": [1, 4, 4], "start_cell": [2, 1],
        "goal_cell": [0, 0], "goal_point": [120, 120],
    });
    Case::new(fields, draw(false), draw(true))
}

fn markers() -> Case {
    let (record, puzzle, solution) = drawn("midpoint", &json!({"width": 400, "height": 380}));
    let mut candidates = record.scene["candidates"].clone();
    candidates.as_array_mut().unwrap().reverse();
    let fields = json!({"correct_option": record.answer, "candidates": candidates});
    Case::new(fields, puzzle, solution)
}

fn board() -> Case {
    const COLORS: [[u8; 3]; 3] = [[200, 60, 40], [40, 160, 60], [44, 162, 62]];
    let cells = [(0, 0, 0), (1, 1, 1), (0, 1, 2)];
    let draw = |is_solved: bool| {
        RgbImage::from_fn(160, 80, |x, y| {
            let (row, column) = (y / 40, x / 40);
            let column = if is_solved && column > 1 {
                3 - column
            } else {
                column
            };
            let own = cells.iter().find(|(r, c, _)| (*r, *c) == (row, column));
            let edge = x % 40 == 0 || y % 40 == 0;
            Rgb(match own {
                _ if edge => [0; 3],
                Some((.., color)) => COLORS[*color],
                None => [255; 3],
            })
        })
    };
    let list =
        cells.map(|(row, col, color)| json!({"row": row, "col": col, "color": COLORS[color]}));
    let fields = json!({
        "grid_size": [2, 4], "cell_width": 40, "cell_height": 40,
        "cell_inner_bounds": [1, 1, 39, 39], "colored_cells": list,
    });
    Case::new(fields, draw(false), draw(true))
}

#[test]
fn solutions_are_right_and_puzzles_no_answers() {
    for case in [square().0, hexagon().0, labyrinth(), markers(), board()] {
        let dir = tempfile::tempdir().unwrap();
        let judge = case.entry(dir.path()).picture_judge().unwrap();
        let verdict = judge.judge(&case.solution);
        assert!(
            verdict.correct,
            "{:.200}: {verdict:#?}",
            case.record.to_string()
        );
        let verdict = judge.judge(&case.puzzle);
        assert_eq!(verdict.outcome, Outcome::Invalid, "{verdict:#?}");
        // Without a picture of the solution the puzzle itself stands for it.
        let mut bare = case;
        bare.record["solution_image_path"] = Value::Null;
        let judge = bare.entry(dir.path()).picture_judge().unwrap();
        assert_eq!(judge.judge(&bare.puzzle).outcome, Outcome::Invalid);
    }
}

#[test]
fn mazes_are_told_from_record_and_picture() {
    let dir = tempfile::tempdir().unwrap();
    for (case, graph) in [square(), hexagon()] {
        let found = case.entry(dir.path()).maze_graph().unwrap();
        assert_eq!(found, Some(graph));
    }
    let round = labyrinth().entry(dir.path()).maze_graph().unwrap().unwrap();
    assert_eq!(round.passages(), [(0, 2), (1, 2), (1, 5), (5, 6)]);
    assert_eq!(markers().entry(dir.path()).maze_graph().unwrap(), None);
}

#[test]
fn boards_have_numbers_for_their_colours() {
    let dir = tempfile::tempdir().unwrap();
    let entry = board().entry(dir.path());
    assert_eq!(entry.answer, Answer::Grid(vec![vec![2, 1], vec![3, 0]]));
    assert_eq!(entry.options, ["#c83c28", "#2ca23e", "#28a03c"]);
}

#[test]
fn our_own_data_are_judged_by_their_records() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data_set(&small(2, false), dir.path());
    let theirs = Manifest::open_upstream(dir.path(), false).unwrap();
    for at in 0..manifest.len() {
        let entry = manifest.entry(at).unwrap();
        let bytes = std::fs::read(&entry.solution.as_ref().unwrap().path).unwrap();
        let verdict = manifest.picture_judge(at).unwrap().judge_bytes(&bytes);
        assert!(verdict.correct, "{}: {verdict:#?}", entry.task);
        assert_eq!(entry.maze_graph().unwrap(), entry.record.unwrap().graph);
        // Read as foreign data they say less, and what lacks is named.
        let foreign = theirs.picture_judge(at);
        let expected = match entry.task.as_str() {
            "midpoint" => None,
            "maze_square" => Some("field `maze_grid`: is missing"),
            _ => Some("there is no rule for edited pictures of color_grid"),
        };
        match (foreign, expected) {
            (Ok(judge), None) => assert!(judge.judge_bytes(&bytes).correct),
            (Err(fault), Some(words)) => assert!(fault.to_string().contains(words), "{fault}"),
            (judge, _) => panic!("{}: {}", entry.task, judge.is_ok()),
        }
    }
}

/// The error of a record with some fields changed.
#[track_caller]
fn fault(mut case: Case, change: impl Fn(&mut Value)) -> String {
    let dir = tempfile::tempdir().unwrap();
    change(&mut case.record);
    case.write(dir.path());
    let opened = Manifest::open_upstream(dir.path(), false);
    let judged = opened.and_then(|manifest| manifest.picture_judge(0).map(drop));
    let text = judged.unwrap_err().to_string();
    assert!(text.contains("data.json: record 1 (one): "), "{text}");
    text
}

#[track_caller]
fn refused(case: Case, field: &str, value: Value, words: &str) {
    let text = fault(case, |record| record[field] = value.clone());
    assert!(
        text.contains(field) && text.contains(words),
        "{field}: {text}"
    );
}

#[test]
fn what_is_wrong_with_a_record_is_named() {
    let text = fault(markers(), |record| {
        record["candidates"][2]["x"] = json!("left")
    });
    assert!(
        text.contains("`candidates[2]`: invalid type: string"),
        "{text}"
    );
    let text = fault(markers(), |record| {
        record["candidates"][1]["label"] = record["candidates"][0]["label"].clone()
    });
    assert!(
        text.contains("two candidates are labelled") || text.contains("none of the options"),
        "{text}"
    );
    refused(
        markers(),
        "point_radius",
        json!(-3),
        "must lie between 2 and 500",
    );
    refused(markers(), "candidates", Value::Null, "is missing");

    let square = || square().0;
    refused(
        square(),
        "maze_grid",
        json!([[0, 1], [0]]),
        "no grid of equal rows",
    );
    refused(square(), "maze_grid", json!([[]]), "no grid of equal rows");
    refused(
        square(),
        "cell_bboxes",
        json!([[[0, 0, 1, 1]]]),
        "another shape",
    );
    refused(square(), "start", json!([0, 70]), "outside the grid");
    let text = fault(square(), |record| record["goal"] = json!([3, 1]));
    assert!(
        text.contains("`solution_path_cell_ids`: does not lead from"),
        "{text}"
    );
    let path = json!([8, 9, 9000]);
    assert!(
        fault(square(), |record| record["solution_path_cell_ids"] =
            path.clone())
        .contains("`solution_path_cell_ids`: does not lead")
    );
    let text = fault(square(), |record| {
        for row in record["cell_bboxes"].as_array_mut().unwrap() {
            row.as_array_mut()
                .unwrap()
                .fill(json!([-1e9, -1e9, 1e9, 1e9]));
        }
    });
    assert!(text.contains("lie on each other"), "{text}");

    let hexagon = || hexagon().0;
    refused(hexagon(), "radius", json!(4_000_000), "must lie between");
    refused(hexagon(), "cell_radius", json!(1e30), "must lie between");
    refused(hexagon(), "wall_thickness", json!(20), "must lie between");
    refused(
        hexagon(),
        "goal_cell",
        json!([i32::MAX, i32::MIN]),
        "is not in the maze",
    );
    refused(
        hexagon(),
        "start_point",
        json!([0, 0]),
        "does not lie in the middle",
    );
    let text = fault(hexagon(), |record| {
        record["goal_point"] = json!([1e300, 1e300]);
    });
    assert!(text.contains("`start_point`"), "{text}");
    let mut dark = hexagon();
    dark.puzzle = RgbImage::new(dark.puzzle.width(), dark.puzzle.height());
    assert!(fault(dark, |_| ()).contains("cannot be reached from the start"));
    let mut gray = hexagon();
    gray.puzzle
        .pixels_mut()
        .for_each(|pixel| *pixel = Rgb([120; 3]));
    assert!(
        fault(gray, |_| ()).contains("it cannot be seen whether a wall stands between cells 0 and")
    );

    let text = fault(labyrinth(), |record| record["rings"] = json!(3));
    assert!(
        text.contains("`cells_per_ring`: is not 1 and 3 times 4"),
        "{text}"
    );
    refused(labyrinth(), "segments", json!(0), "must lie between");
    refused(
        labyrinth(),
        "cells_per_ring",
        json!([]),
        "is not 1 and 2 times 4",
    );
    refused(
        labyrinth(),
        "goal_cell",
        json!([0, 1]),
        "is not in the maze",
    );
    let text = fault(labyrinth(), |record| {
        record["solution_path_cell_ids"] = json!([6, 2, 0])
    });
    assert!(
        text.contains("on the maze in the picture, cell 2 (item 2 of 3) has no open passage"),
        "{text}"
    );

    refused(board(), "grid_size", json!([2, 3]), "have no middle");
    refused(
        board(),
        "cell_width",
        json!(50),
        "the cells take 200x80 pixels and the picture has 160x80",
    );
    refused(
        board(),
        "cell_inner_bounds",
        json!([1, 1, 39, 400]),
        "inside a cell",
    );
    refused(
        board(),
        "colored_cells",
        json!([{"row": 0, "col": 2, "color": [1, 2, 3]}]),
        "left half",
    );
    refused(
        board(),
        "colored_cells",
        json!([{"row": 0, "col": 0, "color": [1, 2, 300]}]),
        "[0]`: ",
    );
    let same = json!({"row": 0, "col": 0, "color": [1, 2, 3]});
    refused(
        board(),
        "colored_cells",
        json!([same, same]),
        "is coloured twice",
    );

    let mut other = board();
    other.solution = RgbImage::new(7, 7);
    assert!(
        fault(other, |_| ())
            .contains("`solution_image_path`: the picture of the solution has another size")
    );
    let dir = tempfile::tempdir().unwrap();
    let entry = board().entry(dir.path());
    std::fs::write(dir.path().join("puzzle.png"), "no picture").unwrap();
    let text = entry.picture_judge().map(drop).unwrap_err().to_string();
    assert!(
        text.contains("(one): field `image`: the file is no PNG"),
        "{text}"
    );
}

/// Places of a record that can be overwritten, counted from 0.
fn overwrite(value: &mut Value, place: &mut usize, with: &Value) {
    if *place == 0 {
        *value = with.clone();
    }
    *place = place.wrapping_sub(1);
    if *place > usize::MAX / 2 {
        return;
    }
    match value {
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| overwrite(item, place, with)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|item| overwrite(item, place, with)),
        _ => {}
    }
}

fn anything() -> impl Strategy<Value = Value> {
    let list = |value: Value| json!([value, value, value]);
    prop_oneof![
        Just(Value::Null),
        Just(json!("")),
        Just(json!({})),
        Just(json!([])),
        Just(json!([[[]]])),
        any::<i64>().prop_map(|number| json!(number)),
        (-3i64..60).prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        any::<u32>().prop_map(move |number| list(json!(number))),
        (0u32..9).prop_map(move |number| list(list(json!(number)))),
        ".{0,8}".prop_map(|text| json!(text)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_records_end_in_a_judge_or_an_error(
        at in 0usize..5,
        changes in prop::collection::vec((0usize..120, anything()), 1..4),
    ) {
        thread_local! {
            static CASES: [Case; 5] = [square().0, hexagon().0, labyrinth(), markers(), board()];
        }
        CASES.with(|cases| {
            let dir = tempfile::tempdir().unwrap();
            let mut record = cases[at].record.clone();
            for (mut place, with) in changes {
                overwrite(&mut record, &mut place, &with);
            }
            cases[at].puzzle.save(dir.path().join("puzzle.png")).unwrap();
            cases[at].solution.save(dir.path().join("solution.png")).unwrap();
            std::fs::write(dir.path().join("data.json"), json!([record]).to_string()).unwrap();
            let Ok(manifest) = Manifest::open_upstream(dir.path(), true) else {
                return;
            };
            for entry in manifest.iter() {
                let entry = entry.unwrap();
                let judged = entry.picture_judge().map(|judge| judge.judge(&cases[at].solution));
                let graph = entry.maze_graph().map(drop);
                for fault in [judged.map(drop), graph].into_iter().filter_map(Result::err) {
                    assert!(!fault.to_string().is_empty());
                }
            }
        });
    }
}
