//! The visual tasks: answers that follow from the picture, and rules for edited pictures that the
//! solution meets and the puzzle does not.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::RgbImage;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vtb_puzzle::judge::{Area, Expect, PictureRule, SlotRule};
use vtb_puzzle::tasks::{
    Arcagi, ArcagiScene, CircleCount, CircleCountScene, Jigsaw, JigsawScene, Mirror, Rects,
    RectsScene, Sudoku, SudokuScene,
};
use vtb_puzzle::{
    Answer, Dice, Layer, Puzzle, PuzzleError, Record, Task, encode_png, find, record_seed,
};

fn records(task: &str, params: Value, count: u64) -> Vec<Record> {
    let puzzle = find(task).unwrap();
    let make = |index| {
        puzzle
            .generate(&params, record_seed(31, task, index))
            .unwrap()
    };
    (0..count).map(make).collect()
}

fn scene<T: DeserializeOwned>(record: &Record) -> T {
    serde_json::from_value(record.scene.clone()).unwrap()
}

fn draw(record: &Record, layer: Layer) -> RgbImage {
    find(&record.task).unwrap().draw(record, layer).unwrap()
}

fn grid(record: &Record) -> Vec<Vec<u8>> {
    match &record.answer {
        Answer::Grid(rows) => rows.clone(),
        other => panic!("{other}"),
    }
}

fn names(record: &Record) -> Vec<String> {
    match &record.answer {
        Answer::Sequence(names) => names.clone(),
        other => panic!("{other}"),
    }
}

#[test]
fn circles_keep_their_distances() {
    for record in records("circle_count", json!({}), 200) {
        let circles = scene::<CircleCountScene>(&record).circles;
        assert_eq!(record.answer.to_string(), circles.len().to_string());
        for (at, a) in circles.iter().enumerate() {
            assert!(a.x - a.radius > 0.0 && a.x + a.radius < 512.0);
            assert!(a.y - a.radius > 0.0 && a.y + a.radius < 512.0 * 0.87);
            for b in &circles[..at] {
                let centers = (a.x - b.x).hypot(a.y - b.y);
                let radii = (a.radius - b.radius).abs();
                assert!(centers + radii >= 0.08 * 512.0);
                assert!((centers - radii).abs() > 4.0, "they touch from inside");
            }
        }
    }
}

#[test]
fn every_count_of_circles_is_as_likely() {
    let mut counts = [0_i32; 5];
    for record in records("circle_count", json!({}), 1_000) {
        counts[scene::<CircleCountScene>(&record).circles.len() - 6] += 1;
    }
    assert!(
        counts.iter().all(|count| (count - 200).abs() < 50),
        "{counts:?}"
    );
}

/// Layers are read from the pixels: a colour within the frame about another's visible pixels lies
/// above it.
#[test]
fn the_order_of_layers_follows_from_the_pixels() {
    for (params, count) in [
        (json!({}), 60),
        (json!({"count": 8}), 10),
        (json!({"count": 2}), 20),
    ] {
        for record in records("rects", params, count) {
            let picture = draw(&record, Layer::Puzzle);
            let shown = scene::<RectsScene>(&record).rects;
            let field_end = (f64::from(picture.height()) * 0.62) as u32;
            // A pixel of each layer: where drawing it last would not matter is found by its colour.
            let mut colors = BTreeSet::new();
            for y in 0..field_end {
                for x in 0..picture.width() {
                    colors.insert(picture.get_pixel(x, y).0);
                }
            }
            colors.remove(&[255; 3]);
            assert_eq!(colors.len(), shown.len(), "a layer is hidden");
            let frame = |color: [u8; 3]| {
                let own = || {
                    let pixels = picture.enumerate_pixels();
                    pixels.filter(move |(_, y, pixel)| *y < field_end && pixel.0 == color)
                };
                let across = || own().map(|(x, ..)| x);
                let down = || own().map(|(_, y, _)| y);
                [
                    across().min().unwrap(),
                    down().min().unwrap(),
                    across().max().unwrap(),
                    down().max().unwrap(),
                ]
            };
            let shows_in = |upper: [u8; 3], lower: [u8; 3]| {
                let [left, top, right, bottom] = frame(lower);
                let mut places = (top..=bottom).flat_map(|y| (left..=right).map(move |x| (x, y)));
                places.any(|(x, y)| picture.get_pixel(x, y).0 == upper)
            };
            let solution = draw(&record, Layer::Solution);
            let bars = bar_colors(&solution, field_end, names(&record).len());
            for pair in bars.windows(2) {
                assert!(shows_in(pair[0], pair[1]), "nothing says which is above");
                assert!(
                    !shows_in(pair[1], pair[0]),
                    "the picture contradicts itself"
                );
            }
        }
    }
}

/// Colours down a column right of the middle, below the field, without page and lines.
fn bar_colors(picture: &RgbImage, from: u32, count: usize) -> Vec<[u8; 3]> {
    let x = picture.width() * 3 / 4;
    let column = (from..picture.height()).map(|y| picture.get_pixel(x, y).0);
    let mut colors: Vec<_> = column
        .filter(|color| *color != [255; 3] && *color != [60; 3])
        .collect();
    colors.dedup();
    assert_eq!(colors.len(), count);
    colors
}

#[test]
fn mirrored_cells_are_where_a_mirror_shows_them() {
    for record in records("mirror", json!({}), 50) {
        let picture = draw(&record, Layer::Solution);
        let puzzle = draw(&record, Layer::Puzzle);
        let width = picture.width();
        let y = |row: usize| {
            let cell = record.scene["cell_size"].as_u64().unwrap() as usize;
            let top = record.scene["origin"][1].as_u64().unwrap() as usize;
            (top + row * cell + cell / 2) as u32
        };
        for (row, cells) in grid(&record).iter().enumerate() {
            for (at, cell) in cells.iter().enumerate() {
                let size = record.scene["cell_size"].as_u64().unwrap() as u32;
                let x = width / 2 + at as u32 * size + size / 2;
                let (here, there) = (
                    picture.get_pixel(x, y(row)).0,
                    picture.get_pixel(width - 1 - x, y(row)).0,
                );
                assert_eq!(here, there);
                assert_eq!(*cell > 0, here != [255; 3]);
                assert_eq!(puzzle.get_pixel(x, y(row)).0, [255; 3]);
            }
        }
    }
}

/// Counts solutions by trying all digits everywhere, without the library's solver.
fn solutions(clues: &[Vec<u8>], shape: [usize; 2], limit: usize) -> usize {
    fn search(board: &mut Vec<Vec<u8>>, [down, across]: [usize; 2], limit: usize) -> usize {
        let size = down * across;
        let Some(at) = (0..size * size).find(|at| board[at / size][at % size] == 0) else {
            return 1;
        };
        let (row, column) = (at / size, at % size);
        let mut found = 0;
        for digit in 1..=size as u8 {
            let clash = (0..size).any(|other| {
                let (r, c) = (row / down * down, column / across * across);
                board[row][other] == digit
                    || board[other][column] == digit
                    || board[r + other / across][c + other % across] == digit
            });
            if !clash && found < limit {
                board[row][column] = digit;
                found += search(board, [down, across], limit - found);
                board[row][column] = 0;
            }
        }
        found
    }
    search(&mut clues.to_vec(), shape, limit)
}

#[test]
fn sudokus_have_one_solution_and_keep_their_clues() {
    for (params, shape, count) in [
        (json!({}), [2, 2], 100),
        (json!({"clues": 5}), [2, 2], 20),
        (json!({"size": 6}), [2, 3], 30),
        (json!({"size": 9}), [3, 3], 4),
    ] {
        for record in records("sudoku", params, count) {
            let clues = scene::<SudokuScene>(&record).clues;
            assert_eq!(solutions(&clues, shape, 2), 1);
            let answer = grid(&record);
            assert_eq!(solutions(&answer, shape, 2), 1);
            for (given, digit) in clues.iter().flatten().zip(answer.iter().flatten()) {
                assert!(*given == 0 || given == digit);
            }
        }
    }
}

#[test]
fn sudoku_boards_are_spread_over_all_there_are() {
    let all: BTreeSet<_> = records("sudoku", json!({}), 1_500)
        .iter()
        .map(grid)
        .collect();
    // Of 288 boards with four cells a side, nearly all come up.
    assert!(all.len() > 270, "{}", all.len());
}

#[test]
fn jigsaw_tiles_are_those_of_the_solution() {
    for params in [json!({}), json!({"rotate": true, "rows": 2, "cols": 4})] {
        for record in records("jigsaw", params, 30) {
            let scene: JigsawScene = scene(&record);
            let (puzzle, whole) = (draw(&record, Layer::Puzzle), draw(&record, Layer::Solution));
            let side = scene.tile;
            let [rows, cols] =
                ["rows", "cols"].map(|key| record.params[key].as_u64().unwrap() as u32);
            let corner = [(512 - cols * side) / 2, (512 - rows * side) / 2];
            for (at, name) in names(&record).iter().enumerate() {
                let (row, column) = (at as u32 / cols, at as u32 % cols);
                let piece = scene
                    .pieces
                    .iter()
                    .find(|piece| name.starts_with(&piece.name));
                let piece = piece.unwrap();
                let degrees: u32 = name[1..].parse().unwrap_or(0);
                for y in 0..side {
                    for x in 0..side {
                        let here = puzzle.get_pixel(piece.at[0] + x, piece.at[1] + y);
                        // Turned clockwise by the degrees that the answer names.
                        let (x, y) = match degrees {
                            0 => (x, y),
                            90 => (side - 1 - y, x),
                            180 => (side - 1 - x, side - 1 - y),
                            _ => (y, side - 1 - x),
                        };
                        let there = whole
                            .get_pixel(corner[0] + column * side + x, corner[1] + row * side + y);
                        assert_eq!(here, there, "{name}");
                    }
                }
            }
            assert!(record.measures["min_difference"] >= 10.0);
        }
    }
}

#[test]
fn turned_jigsaws_say_which_tile_is_upright() {
    for record in records("jigsaw", json!({"rotate": true}), 40) {
        assert!(names(&record).contains(&"A0".to_owned()));
        assert_eq!(record.options.len(), 36);
    }
}

fn data_uri(picture: &RgbImage) -> String {
    let bytes = encode_png(picture).unwrap();
    format!("data:image/png;base64,{}", STANDARD.encode(bytes))
}

#[test]
fn a_users_picture_is_cut_up() {
    let picture = RgbImage::from_fn(300, 200, |x, y| {
        image::Rgb([
            (x * 255 / 300) as u8,
            (y * 255 / 200) as u8,
            ((x + y) % 256) as u8,
        ])
    });
    let params = json!({"picture": data_uri(&picture), "rows": 2, "cols": 3});
    let record = &records("jigsaw", params.clone(), 1)[0];
    let task = find("jigsaw").unwrap();
    task.verify(record).unwrap();
    assert_eq!(record.scene["picture"]["kind"], "given");
    let mut other = record.clone();
    other.params["picture"] = Value::from(data_uri(&RgbImage::new(9, 9)));
    assert!(task.verify(&other).is_err() && task.draw(&other, Layer::Puzzle).is_err());
}

#[test]
fn pictures_that_make_no_puzzle_are_refused() {
    let task = find("jigsaw").unwrap();
    let fault = |picture: String| task.generate(&json!({"picture": picture}), 1).unwrap_err();
    let flat = fault(data_uri(&RgbImage::new(64, 64)));
    assert!(matches!(flat, PuzzleError::NoScene { .. }), "{flat}");
    assert!(flat.to_string().contains("look alike"));
    for bad in [
        "photo.png",
        "data:image/png;base64,AAAA",
        "data:text/html;base64,AAAA",
    ] {
        let fault = fault(bad.to_owned());
        assert!(matches!(fault, PuzzleError::BadParam { .. }), "{fault}");
        assert!(fault.to_string().contains("`picture`"), "{fault}");
    }
}

#[test]
fn every_family_of_rules_makes_puzzles() {
    for family in [
        "crop",
        "double",
        "extend",
        "fall",
        "fill",
        "keep_largest",
        "mirror_join",
        "recolor",
        "swap",
        "turn",
    ] {
        for record in records("arcagi", json!({"families": [family]}), 20) {
            let scene: ArcagiScene = scene(&record);
            let rule = scene.rule.unwrap();
            for pair in &scene.train {
                assert_eq!(rule.apply(&pair.input).as_ref(), Some(&pair.output));
            }
            assert_eq!(rule.apply(&scene.test_input), Some(grid(&record)));
        }
    }
}

#[test]
fn the_empty_box_says_nothing_about_the_output() {
    let pair = |input: Value, output: Value| json!({"input": input, "output": output});
    let with = |output: Value| {
        let train = [pair(json!([[1, 2]]), json!([[2, 1]]))];
        let test = pair(json!([[3, 4]]), output);
        let source = json!({"name": "x", "train": train, "test": test});
        records("arcagi", json!({ "source": source }), 1).remove(0)
    };
    let (flat, tall) = (with(json!([[4, 3]])), with(json!([[4], [3], [4], [3]])));
    assert_eq!(draw(&flat, Layer::Puzzle), draw(&tall, Layer::Puzzle));
    assert_ne!(draw(&flat, Layer::Solution), draw(&tall, Layer::Solution));
    assert_eq!(flat.prompts, tall.prompts);
}

#[test]
fn hostile_sources_are_refused_with_the_grid_named() {
    let task = find("arcagi").unwrap();
    let pair = json!({"input": [[1, 2]], "output": [[2, 1]]});
    let fault = |train: Value, test: Value| {
        let source = json!({"name": "x", "train": train, "test": test});
        let made = task.generate(&json!({ "source": source }), 1);
        made.unwrap_err().to_string()
    };
    let with = |input: Value| json!({"input": input, "output": [[1]]});
    assert!(fault(json!([]), pair.clone()).contains("train"));
    assert!(fault(json!([with(json!([]))]), pair.clone()).contains("train[0].input"));
    assert!(fault(json!([with(json!([[]]))]), pair.clone()).contains("columns"));
    assert!(fault(json!([with(json!([[1], [1, 2]]))]), pair.clone()).contains("row 1"));
    assert!(fault(json!([pair]), with(json!([[10]]))).contains("holds 10"));
    assert!(fault(json!([pair]), with(json!([[256]]))).contains("256"));
    assert!(fault(json!([pair]), with(json!(vec![vec![1]; 31]))).contains("rows"));
    let many = vec![pair.clone(); 13];
    assert!(fault(json!(many), pair.clone()).contains("pairs"));
    let large = json!({"input": vec![vec![1; 30]; 30], "output": vec![vec![2; 30]; 30]});
    let small = task.generate(
        &json!({"width": 200, "height": 200, "source": {"name": "x", "train": [large], "test": large}}),
        1,
    );
    assert!(small.unwrap_err().to_string().contains("raise `width`"));
}

/// The rule for edited pictures of a record.
fn rule_of<T: Task>(task: &T, record: &Record) -> SlotRule {
    let params: T::Params = serde_json::from_value(record.params.clone()).unwrap();
    let scene: T::Scene = serde_json::from_value(record.scene.clone()).unwrap();
    let solved = task.solve(&params, &scene).unwrap();
    let purpose = format!("{}/options", record.task);
    let mut dice = Dice::new(record.seed, &purpose);
    let options = task.options(&params, &scene, &solved, &mut dice).unwrap();
    match task
        .picture_rule(&params, &scene, &solved, &options)
        .unwrap()
    {
        PictureRule::Slots(rule) => rule,
        other => panic!("{other:?}"),
    }
}

fn pixels(area: &Area) -> Vec<(u32, u32)> {
    let Area::Rect(sides) = area else {
        panic!("{area:?}")
    };
    let [left, top, right, bottom] = sides.map(|side| side as u32);
    assert!(left < right && top < bottom, "{area:?} is empty");
    let rows = top..bottom;
    rows.flat_map(|y| (left..right).map(move |x| (x, y)))
        .collect()
}

/// Share of the pixels of a place that are as they must be.
fn share(picture: &RgbImage, area: &Area, is: impl Fn(u32, u32, [u8; 3]) -> bool) -> f64 {
    let all = pixels(area);
    let right = all
        .iter()
        .filter(|(x, y)| is(*x, *y, picture.get_pixel(*x, *y).0));
    right.count() as f64 / all.len() as f64
}

/// A place shows what it must, and nothing that it could be mistaken for.
fn shows(picture: &RgbImage, rule: &SlotRule) -> bool {
    rule.slots.iter().all(|slot| match &slot.expect {
        Expect::Color { right, others } => {
            assert!(!others.contains(right));
            share(picture, &slot.area, |_, _, pixel| pixel == *right) > 0.7
        }
        Expect::Drawing { right, choices } => {
            let best = choices.iter().map(|(_, choice)| {
                assert_eq!(choice.dimensions(), picture.dimensions());
                let same = |x, y, pixel| choice.get_pixel(x, y).0 == pixel;
                share(picture, &slot.area, same)
            });
            let scores: Vec<_> = best.collect();
            let others = scores.iter().enumerate().filter(|(at, _)| at != right);
            let runner_up = others.map(|(_, score)| *score).fold(0.0, f64::max);
            scores[*right] > 0.999 && runner_up < 0.99
        }
    })
}

fn check_rule<T: Task>(task: &T, params: Value, count: u64) {
    let name = Puzzle::info(task).name;
    for record in records(name, params, count) {
        let rule = rule_of(task, &record);
        assert!(!rule.slots.is_empty());
        let (puzzle, solution) = (draw(&record, Layer::Puzzle), draw(&record, Layer::Solution));
        assert!(shows(&solution, &rule), "{name}: the solution is not taken");
        assert!(!shows(&puzzle, &rule), "{name}: the puzzle is taken");
        if rule.keeps_rest {
            let mut inside = BTreeSet::new();
            rule.slots
                .iter()
                .for_each(|slot| inside.extend(pixels(&slot.area)));
            for (x, y, pixel) in solution.enumerate_pixels() {
                let kept = puzzle.get_pixel(x, y) == pixel || inside.contains(&(x, y));
                assert!(kept, "{name}: {x}, {y} changes outside every place");
            }
        }
    }
}

#[test]
fn picture_rules_take_the_solution_and_not_the_puzzle() {
    let tall = json!({"width": 480, "height": 873});
    check_rule(&Arcagi, json!({}), 20);
    check_rule(&Arcagi, tall.clone(), 10);
    check_rule(&Arcagi, json!({"show_output_size": true}), 5);
    check_rule(&CircleCount, json!({"width": 256, "height": 256}), 5);
    check_rule(&CircleCount, tall.clone(), 2);
    check_rule(&Jigsaw, json!({"width": 256, "height": 256}), 3);
    check_rule(
        &Jigsaw,
        json!({"width": 256, "height": 256, "rotate": true, "rows": 2}),
        3,
    );
    check_rule(&Mirror, json!({}), 10);
    check_rule(
        &Mirror,
        json!({"width": 128, "height": 200, "colors": 1}),
        5,
    );
    check_rule(&Rects, json!({}), 10);
    check_rule(&Rects, tall.clone(), 3);
    check_rule(&Sudoku, json!({"width": 256, "height": 256}), 5);
    check_rule(&Sudoku, json!({"width": 300, "height": 300, "size": 6}), 2);
}

/// A wrong edit of any one place is refused.
#[test]
fn picture_rules_find_a_single_wrong_place() {
    for record in records("sudoku", json!({"width": 256, "height": 256}), 5) {
        let rule = rule_of(&Sudoku, &record);
        let solution = draw(&record, Layer::Solution);
        for slot in &rule.slots {
            let Expect::Drawing { right, choices } = &slot.expect else {
                panic!("no drawing")
            };
            for (_, wrong) in choices.iter().enumerate().filter(|(at, _)| at != right) {
                let mut edited = solution.clone();
                for (x, y) in pixels(&slot.area) {
                    edited.put_pixel(x, y, *wrong.1.get_pixel(x, y));
                }
                assert!(!shows(&edited, &rule));
            }
        }
    }
}
