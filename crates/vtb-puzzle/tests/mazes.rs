//! Mazes: pictures, cell maps and graphs say the same.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use image::RgbImage;
use serde_json::{Value, json};
use vtb_puzzle::draw::Stroke;
use vtb_puzzle::judge::{PictureRule, RouteRule};
use vtb_puzzle::tasks::{MazeHexagon, MazeLabyrinth, MazeSquare};
use vtb_puzzle::{
    Answer, CellId, Layer, MazeGraph, PuzzleError, Record, Task, find, read_params, record_seed,
};

const TASKS: [&str; 3] = ["maze_hexagon", "maze_labyrinth", "maze_square"];

fn blocks(task: &str) -> Vec<Value> {
    match task {
        "maze_square" => vec![
            json!({}),
            json!({"print_ids": false, "width": 480, "height": 873}),
            json!({"rows": 15, "cols": 21, "cell": 9, "print_ids": false, "braid": 0.5}),
            json!({"rows": 17, "cols": 17, "cell": 4, "print_ids": false}),
        ],
        "maze_hexagon" => vec![
            json!({}),
            json!({"print_ids": false, "width": 480, "height": 873, "radius": 6}),
            json!({"radius": 2, "cell": 40, "width": 0, "height": 0, "min_path": 4, "braid": 1.0}),
            json!({"radius": 12, "cell": 8, "wall": 2, "height": 0, "print_ids": false}),
            json!({"radius": 9, "width": 873, "height": 480, "braid": 0.4, "print_ids": false}),
            json!({"radius": 1, "min_path": 3, "wall": 30, "print_ids": false}),
        ],
        _ => vec![
            json!({}),
            json!({"print_ids": false, "width": 480, "height": 873, "rings": 6, "segments": 18}),
            json!({"rings": 3, "segments": 8, "placement": "center", "braid": 1.0}),
            json!({"rings": 10, "segments": 12, "ring_width": 8, "wall": 2, "width": 0,
                "height": 0, "print_ids": false}),
            json!({"rings": 1, "segments": 4, "min_path": 3, "print_ids": false}),
            json!({"rings": 12, "segments": 24, "width": 901, "height": 900, "braid": 0.5,
                "print_ids": false}),
            json!({"rings": 2, "segments": 5, "min_path": 4, "wall": 17, "print_ids": false}),
        ],
    }
}

/// Calls `check` with `count` records of every block of every maze.
fn each_maze(count: u64, check: impl Fn(&Record)) {
    for task in TASKS {
        for params in blocks(task) {
            for index in 0..count {
                check(&record(task, &params, index));
            }
        }
    }
}

fn record(task: &str, params: &Value, index: u64) -> Record {
    let seed = record_seed(5, task, index);
    find(task).unwrap().generate(params, seed).unwrap()
}

fn draw(record: &Record, layer: Layer) -> RgbImage {
    find(&record.task).unwrap().draw(record, layer).unwrap()
}

fn rule(record: &Record) -> RouteRule {
    fn of<T: Task>(task: &T, record: &Record) -> PictureRule {
        let params = read_params(&record.task, &record.params).unwrap();
        let scene = serde_json::from_value(record.scene.clone()).unwrap();
        let solved = task.solve(&params, &scene).unwrap();
        task.picture_rule(&params, &scene, &solved, &[]).unwrap()
    }
    let rule = match record.task.as_str() {
        "maze_square" => of(&MazeSquare, record),
        "maze_hexagon" => of(&MazeHexagon, record),
        _ => of(&MazeLabyrinth, record),
    };
    match rule {
        PictureRule::Route(rule) => rule,
        other => panic!("{other:?}"),
    }
}

fn graph(record: &Record) -> &MazeGraph {
    record.graph.as_ref().unwrap()
}

fn path(record: &Record) -> &[CellId] {
    match &record.answer {
        Answer::Path(path) => path,
        _ => panic!("no path"),
    }
}

fn without_ids(record: &Record) -> Record {
    let mut params = record.params.clone();
    params["print_ids"] = json!(false);
    let plain = find(&record.task)
        .unwrap()
        .generate(&params, record.seed)
        .unwrap();
    assert_eq!((&plain.scene, plain.canvas), (&record.scene, record.canvas));
    plain
}

/// Indices of pixels that differ.
fn changed(before: &RgbImage, after: &RgbImage) -> Vec<usize> {
    let pairs = before.pixels().zip(after.pixels()).enumerate();
    pairs
        .filter(|(_, (old, new))| old != new)
        .map(|(at, _)| at)
        .collect()
}

#[test]
fn solution_ink_lies_on_route_cells_and_never_on_walls() {
    each_maze(6, |record| {
        let (before, after) = (draw(record, Layer::Puzzle), draw(record, Layer::Solution));
        let cells: Vec<_> = rule(record).cells.iter().collect();
        let plain = draw(&without_ids(record), Layer::Puzzle);
        let plain: Vec<_> = plain.pixels().collect();
        let mut inked = BTreeSet::new();
        for at in changed(&before, &after) {
            let cell = cells[at].unwrap_or_else(|| panic!("{}: ink on a wall", record.params));
            assert!(
                path(record).contains(&cell),
                "{}: ink beside the route",
                record.task
            );
            assert!(
                plain[at].0.iter().max() > Some(&100),
                "{}: ink on black",
                record.params
            );
            inked.insert(cell);
        }
        // The square maze's ends are painted over the route.
        let ends = usize::from(record.task == "maze_square");
        let between = &path(record)[ends..path(record).len() - ends];
        assert!(
            between.iter().all(|cell| inked.contains(cell)),
            "{}",
            record.params
        );
    });
}

/// The pen passes the cells of the path in order, and no gap between two of them.
#[test]
fn the_stroke_stays_in_the_cells_of_the_path() {
    each_maze(20, |record| {
        let RouteRule { cells, centers } = rule(record);
        let cells: Vec<_> = cells.iter().collect();
        let width = record.canvas[0] as usize;
        let [Stroke::Line { points, .. }] = record.construction.as_slice() else {
            panic!("not one line")
        };
        let mut passed = Vec::new();
        for pair in points.windows(2) {
            for step in 0..=200 {
                let share = f64::from(step) / 200.0;
                let [x, y] =
                    [0, 1].map(|axis| pair[0][axis] + (pair[1][axis] - pair[0][axis]) * share);
                passed.push(cells[y as usize * width + x as usize].unwrap());
            }
        }
        passed.dedup();
        assert_eq!(passed, path(record));
        for (end, cell) in [
            (points.first(), path(record).first()),
            (points.last(), path(record).last()),
        ] {
            let (end, middle) = (end.unwrap(), centers[cell.unwrap()]);
            assert!((0..2).all(|axis| (end[axis] - middle[axis]).abs() < 0.04));
        }
    });
}

/// Cells whose pixels touch, in both directions of every pair, diagonals included.
fn touching(cells: &[Option<CellId>], width: usize) -> BTreeSet<(CellId, CellId)> {
    let mut pairs = BTreeSet::new();
    let rows = cells.len() / width;
    for (row, column) in (0..rows).flat_map(|row| (0..width).map(move |column| (row, column))) {
        let Some(here) = cells[row * width + column] else {
            continue;
        };
        for (down, across) in [(0, 1), (1, 0), (1, 1), (1, usize::MAX)] {
            let (line, place) = (row + down, column.wrapping_add(across));
            if line >= rows || place >= width {
                continue;
            }
            match cells[line * width + place] {
                Some(there) if there != here => pairs.insert((here.min(there), here.max(there))),
                _ => continue,
            };
        }
    }
    pairs
}

#[test]
fn the_cell_map_agrees_with_the_graph() {
    each_maze(6, |record| {
        let RouteRule { cells, centers } = rule(record);
        let cells: Vec<_> = cells.iter().collect();
        let width = record.canvas[0] as usize;
        assert_eq!(cells.len(), width * record.canvas[1] as usize);
        let passages: BTreeSet<_> = graph(record).passages().into_iter().collect();
        let mut touching = touching(&cells, width);
        if record.task == "maze_square" {
            // Squares round a corner meet in a point.
            touching.retain(|&(a, b)| {
                let doors = |id| graph(record).neighbours(id);
                passages.contains(&(a, b)) || !doors(a).iter().any(|id| doors(b).contains(id))
            });
        }
        assert_eq!(touching, passages, "{} {}", record.task, record.params);
        assert!(
            centers
                .keys()
                .copied()
                .eq(graph(record).cells().iter().copied())
        );
        for (&id, &[x, y]) in &centers {
            assert_eq!(cells[y as usize * width + x as usize], Some(id));
        }
        let border = |at: &usize| {
            let (row, column) = (at / width, at % width);
            row == 0 || column == 0 || row + 1 == cells.len() / width || column + 1 == width
        };
        assert!(
            (0..cells.len())
                .filter(border)
                .all(|at| cells[at].is_none())
        );
    });
}

/// Every cell is one piece: all its pixels can be reached from its middle.
#[test]
fn cells_are_in_one_piece() {
    each_maze(2, |record| {
        let RouteRule { cells, centers } = rule(record);
        let mut cells: Vec<_> = cells.iter().collect();
        let width = record.canvas[0] as usize;
        for (&id, &[x, y]) in &centers {
            let mut stack = vec![y as usize * width + x as usize];
            while let Some(at) = stack.pop() {
                if cells[at] == Some(id) {
                    cells[at] = None;
                    stack.extend([at - 1, at + 1, at - width, at + width]);
                }
            }
        }
        let left = cells.iter().flatten().count();
        assert_eq!(left, 0, "{} {}", record.task, record.params);
    });
}

#[test]
fn the_cell_map_agrees_with_the_picture() {
    each_maze(3, |record| {
        let picture = draw(&without_ids(record), Layer::Puzzle);
        for (cell, pixel) in rule(record).cells.iter().zip(picture.pixels()) {
            let brightest = *pixel.0.iter().max().unwrap();
            match cell {
                // The start's colour under half of each of two walls that meet in a corner.
                Some(_) => assert!(brightest >= 30, "{}: {pixel:?} in a cell", record.params),
                None => assert!(brightest <= 200, "{}: {pixel:?} in a wall", record.params),
            }
        }
    });
}

#[test]
fn nothing_is_red_before_it_is_solved() {
    each_maze(2, |record| {
        let red = |picture: &RgbImage| {
            let red = |pixel: &&image::Rgb<u8>| {
                pixel.0[0] > 40 && pixel.0[0] - 40 > pixel.0[1].max(pixel.0[2])
            };
            picture.pixels().filter(red).count()
        };
        assert_eq!(red(&draw(record, Layer::Puzzle)), 0);
        let areas = [0.3, 0.6, 1.0].map(|share| red(&draw(record, Layer::Growing(share))));
        assert!(areas[0] < areas[1] && areas[1] < areas[2], "{areas:?}");
    });
}

#[test]
fn mazes_lie_in_the_middle_of_the_page_asked_for() {
    for task in TASKS {
        for size in [[480, 480], [512, 512], [480, 873], [900, 400]] {
            let params = json!({"width": size[0], "height": size[1], "print_ids": false});
            let record = record(task, &params, 3);
            assert_eq!(record.canvas, size);
            let cells: Vec<_> = rule(&record).cells.iter().collect();
            let width = size[0] as usize;
            let used = |at: &usize| cells[*at].is_some();
            let columns = || (0..cells.len()).filter(used).map(|at| at % width);
            let rows = || (0..cells.len()).filter(used).map(|at| at / width);
            let free = [
                columns()
                    .min()
                    .unwrap()
                    .abs_diff(width - 1 - columns().max().unwrap()),
                rows()
                    .min()
                    .unwrap()
                    .abs_diff(size[1] as usize - 1 - rows().max().unwrap()),
            ];
            assert!(
                free.iter().all(|gap| *gap <= 1),
                "{task} {size:?}: {free:?}"
            );
        }
    }
}

#[test]
fn mazes_without_braids_have_one_path() {
    each_maze(100, |record| {
        let count = graph(record).cells().len();
        let passages = graph(record).passages();
        let mut group: BTreeMap<_, _> = graph(record).cells().iter().map(|&id| (id, id)).collect();
        let mut loops = 0;
        for &(a, b) in &passages {
            let (old, new) = (group[&a], group[&b]);
            loops += usize::from(old == new);
            group
                .values_mut()
                .filter(|mark| **mark == old)
                .for_each(|mark| *mark = new);
        }
        assert_eq!(
            group.values().collect::<BTreeSet<_>>().len(),
            1,
            "not joined"
        );
        let braided = record.params["braid"].as_f64().unwrap() > 0.0;
        assert_eq!(passages.len() + 1 - count, loops);
        assert!(braided || loops == 0);
        if record.params["braid"] == json!(1.0) {
            let doors = |id: &CellId| graph(record).neighbours(*id).len();
            assert!(loops > 0 && graph(record).cells().iter().all(|id| doors(id) > 1));
        }
        assert!(path(record).len() as u64 >= record.params["min_path"].as_u64().unwrap());
    });
}

#[test]
fn records_of_many_seeds_verify() {
    for task in TASKS {
        for params in blocks(task) {
            let verify = |index| find(task).unwrap().verify(&record(task, &params, index));
            (0..200).for_each(|index| verify(index).unwrap());
        }
    }
}

#[test]
fn ends_lie_where_they_are_asked_for() {
    for (task, center, rim) in [("maze_hexagon", 30, 24), ("maze_labyrinth", 0, 12)] {
        let many = |placement: &str| {
            let params = json!({"placement": placement, "min_path": 3});
            let ends = |index| {
                let record = record(task, &params, index);
                (graph(&record).start(), graph(&record).goal())
            };
            (0..300).map(ends).collect::<BTreeSet<_>>()
        };
        let centered = many("center");
        assert!(centered.iter().all(|(_, goal)| *goal == center));
        assert_eq!(centered.len(), rim, "{task}: {centered:?}");
        let random = many("random");
        assert!(random.len() > 200);
        assert!(
            random
                .iter()
                .map(|(_, goal)| goal)
                .collect::<BTreeSet<_>>()
                .len()
                > 40
        );
    }
    let params = json!({"placement": "center"});
    let hexagon = record("maze_hexagon", &params, 1);
    let mut moved = hexagon.clone();
    moved.params["placement"] = json!("random");
    assert!(find("maze_hexagon").unwrap().verify(&moved).is_err());
    let shortest = json!({"braid": 0.5, "shortest_only": true});
    assert!(
        record("maze_labyrinth", &shortest, 1)
            .path_rules
            .shortest_only
    );
}

/// Ids stand in their own cell, clear of walls and of each other, with digits of some height.
#[test]
fn ids_are_legible_down_to_the_floor() {
    for (task, params) in [
        ("maze_square", json!({})),
        ("maze_square", json!({"cell": 18, "rows": 7, "cols": 7})),
        (
            "maze_square",
            json!({"cell": 0, "width": 480, "height": 873}),
        ),
        ("maze_hexagon", json!({})),
        (
            "maze_hexagon",
            json!({"width": 480, "height": 873, "radius": 6}),
        ),
        (
            "maze_hexagon",
            json!({"cell": 15, "radius": 5, "width": 0, "height": 0}),
        ),
        ("maze_labyrinth", json!({})),
        (
            "maze_labyrinth",
            json!({"rings": 6, "segments": 18, "width": 600, "height": 600}),
        ),
        (
            "maze_labyrinth",
            json!({"rings": 3, "segments": 8, "width": 300, "height": 480}),
        ),
    ] {
        let record = record(task, &params, 4);
        let cells: Vec<_> = rule(&record).cells.iter().collect();
        let plain = draw(&without_ids(&record), Layer::Puzzle);
        let width = record.canvas[0] as usize;
        let mut ink: BTreeMap<CellId, BTreeSet<usize>> = BTreeMap::new();
        for at in changed(&plain, &draw(&record, Layer::Puzzle)) {
            let cell = cells[at].unwrap_or_else(|| panic!("{task} {params}: a digit on a wall"));
            ink.entry(cell).or_default().insert(at / width);
        }
        assert!(ink.keys().eq(graph(&record).cells()), "{task} {params}");
        for (id, rows) in ink {
            assert!(
                rows.len() >= 6,
                "{task} {params}: id {id} is {} rows high",
                rows.len()
            );
        }
    }
}

#[test]
fn parameters_that_cannot_be_drawn_are_refused_by_name() {
    for (task, params, part) in [
        (
            "maze_hexagon",
            json!({"cell": 9, "radius": 5}),
            "`cell` is 9 pixels",
        ),
        ("maze_hexagon", json!({"radius": 12}), "legible from"),
        (
            "maze_hexagon",
            json!({"radius": 60, "print_ids": false}),
            "`width` is 512",
        ),
        ("maze_hexagon", json!({"cell": 40}), "the maze alone takes"),
        (
            "maze_hexagon",
            json!({"width": 0, "height": 0}),
            "give a `width`",
        ),
        ("maze_hexagon", json!({"cell": 7}), "`cell` is 7"),
        (
            "maze_hexagon",
            json!({"cell": 30, "wall": 20}),
            "`wall` is 20",
        ),
        ("maze_hexagon", json!({"wall": u32::MAX}), "pixels"),
        ("maze_hexagon", json!({"radius": 101}), "`radius` is 101"),
        ("maze_hexagon", json!({"braid": 1.5}), "`braid` is 1.5"),
        ("maze_hexagon", json!({"min_path": 2}), "`min_path` is 2"),
        ("maze_hexagon", json!({"placement": "corners"}), "center"),
        (
            "maze_hexagon",
            json!({"radius": 100, "cell": 512, "width": 0, "height": 0}),
            "between",
        ),
        (
            "maze_labyrinth",
            json!({"rings": 6, "segments": 18, "ring_width": 14}),
            "`ring_width`",
        ),
        (
            "maze_labyrinth",
            json!({"segments": 60}),
            "`segments` is 60; the innermost ring",
        ),
        ("maze_labyrinth", json!({"segments": 3}), "`segments` is 3"),
        ("maze_labyrinth", json!({"rings": 33}), "`rings` is 33"),
        (
            "maze_labyrinth",
            json!({"height": 5000}),
            "`height` is 5000",
        ),
        (
            "maze_labyrinth",
            json!({"ring_width": 90}),
            "the maze alone takes",
        ),
        (
            "maze_labyrinth",
            json!({"ring_width": 20, "wall": 11}),
            "`wall` is 11",
        ),
        ("maze_labyrinth", json!({"wall": u32::MAX}), "pixels"),
        (
            "maze_labyrinth",
            json!({"ring_size": 9}),
            "did you mean `ring_width`?",
        ),
        ("maze_square", json!({"cell": 17}), "legible from"),
        ("maze_square", json!({"cell": 0}), "give a `width`"),
        (
            "maze_square",
            json!({"cell": 0, "width": 150}),
            "legible from",
        ),
        (
            "maze_square",
            json!({"cell": 0, "width": 480, "height": 30}),
            "the maze alone takes",
        ),
    ] {
        let fault = find(task).unwrap().generate(&params, 1).unwrap_err();
        let typed = matches!(
            fault,
            PuzzleError::BadParam { .. } | PuzzleError::UnknownParam { .. }
        );
        assert!(
            typed && fault.to_string().contains(part),
            "{task} {params}: {fault}"
        );
    }
    for task in TASKS {
        let result = find(task).unwrap().generate(&json!({"min_path": 5000}), 1);
        assert!(
            matches!(result, Err(PuzzleError::NoScene { .. })),
            "{result:?}"
        );
    }
}

/// A scene may not lie about its passages.
#[test]
fn tampered_passages_are_refused() {
    for task in ["maze_hexagon", "maze_labyrinth"] {
        let whole = record(task, &json!({}), 2);
        let refused = |change: &dyn Fn(&mut Vec<Value>)| {
            let mut copy = whole.clone();
            change(copy.scene["ways"]["passages"].as_array_mut().unwrap());
            assert_ne!(copy, whole);
            let puzzle = find(task).unwrap();
            assert!(puzzle.verify(&copy).is_err());
            assert!(puzzle.draw(&copy, Layer::Solution).is_err());
        };
        refused(&|passages| passages.swap(0, 1));
        refused(&|passages| passages.clear());
        refused(&|passages| drop(passages.pop()));
        refused(&|passages| passages.insert(0, passages[0].clone()));
        refused(&|passages| passages[0] = json!([0, 40]));
        refused(&|passages| passages[0] = json!([u32::MAX, u32::MAX]));
        refused(&|passages| passages[0].as_array_mut().unwrap().reverse());
        refused(&|passages| passages.push(json!([58, 57])));
    }
}
