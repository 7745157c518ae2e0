//! Records: reproducible, complete, self-checking; for every registered task.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use vtb_puzzle::draw::Stroke;
use vtb_puzzle::{
    Answer, Instance, Layer, Outcome, Puzzle, PuzzleError, Record, encode_png, find, judge_text,
    record_seed, registry, verify,
};

/// Parameter blocks worth testing besides the defaults.
fn variants(task: &str) -> Vec<Value> {
    let mut blocks = vec![Value::Null];
    blocks.extend(match task {
        "arcagi" => vec![
            json!({"width": 480, "height": 873, "examples": 4, "side_max": 12}),
            json!({"show_output_size": true, "source": arc_source()}),
        ],
        "circle_count" => vec![
            json!({"width": 480, "height": 873, "count_min": 3, "count_max": 14}),
            json!({"width": 160, "height": 160, "count_max": 7}),
        ],
        "color_grid" => vec![
            json!({"canvas": 96, "prompt_style": "short", "list_options": false}),
            json!({"canvas": 64, "palette": ["red", "orange", "yellow", "blue"], "tints": 1}),
            json!({"width": 480, "height": 873}),
        ],
        "maze_hexagon" => vec![
            json!({"braid": 0.6, "radius": 5, "wall": 4, "shortest_only": true}),
            json!({"placement": "center", "print_ids": false, "width": 480, "height": 873}),
        ],
        "maze_labyrinth" => vec![
            json!({"braid": 0.6, "rings": 3, "segments": 8, "wall": 5, "shortest_only": true}),
            json!({"placement": "center", "print_ids": false, "width": 480, "height": 873}),
        ],
        "jigsaw" => vec![
            json!({"width": 480, "height": 873, "rotate": true}),
            json!({"width": 256, "height": 192, "rows": 2, "cols": 3}),
        ],
        "color_hexagon" => vec![
            json!({"width": 160, "height": 240, "list_options": false}),
            json!({"palette": ["red", "brown", "cyan", "blue"], "prompt_style": "short"}),
        ],
        "color_overlap_squares" => vec![
            json!({"width": 480, "height": 873, "list_options": false, "tints": 1}),
            json!({"width": 128, "height": 128, "prompt_style": "short"}),
        ],
        "color_size" => vec![
            json!({"width": 300, "height": 200, "list_options": false}),
            json!({"hues": ["teal"], "prompt_style": "short", "line_min": 0.012}),
        ],
        "polygon_sides_color" | "rectangle_height_color" => vec![
            json!({"width": 480, "height": 873, "list_options": false, "line_max": 0.02}),
            json!({"palette": ["red", "brown", "cyan", "blue"], "prompt_style": "short"}),
        ],
        "shape_reflect" | "shape_size_grid" | "size_cycle" | "size_grid" => vec![
            json!({"width": 480, "height": 873, "list_options": false, "offset": 0.0}),
            json!({"width": 200, "height": 160, "prompt_style": "short", "tints": 16}),
        ],
        "maze_square" => vec![
            json!({"braid": 0.6, "rows": 13, "cols": 17, "shortest_only": true}),
            json!({"placement": "corners", "print_ids": false, "width": 480, "height": 873}),
            json!({"cell": 0, "width": 480, "height": 873}),
        ],
        "midpoint" => vec![
            json!({"candidates": 8, "labels": "digits", "theme": "dark", "noise": 12}),
            json!({"candidates": 3, "width": 480, "height": 873, "theme": "paper"}),
        ],
        "angle_bisector"
        | "parallel"
        | "perpendicular"
        | "perpendicular_bisector"
        | "circle_tangent_line"
        | "ray_reflect" => vec![
            json!({"candidates": 8, "labels": "digits", "theme": "dark", "noise": 12}),
            json!({"candidates": 3, "width": 480, "height": 873, "reach_max": 0.6}),
        ],
        "circle_tangent_point" => vec![
            json!({"candidates": 7, "labels": "digits", "theme": "dark", "noise": 12}),
            json!({"candidates": 3, "width": 480, "height": 873, "radius_max": 0.35}),
        ],
        "arc_connect" | "arc_connect_point_ver" => vec![
            json!({"candidates": 6, "labels": "digits", "theme": "dark", "noise": 12}),
            json!({"candidates": 8, "width": 480, "height": 873, "theme": "paper"}),
        ],
        "ray" => vec![
            json!({"candidates": 6, "labels": "digits", "theme": "dark", "noise": 12}),
            json!({"candidates": 3, "width": 480, "height": 873, "mirrors": 14}),
        ],
        "right_triangle" => vec![
            json!({"candidates": 6, "labels": "digits", "theme": "dark", "noise": 12}),
            json!({"width": 480, "height": 873, "theme": "paper"}),
        ],
        "square_outlier" => vec![
            json!({"labels": "digits", "theme": "dark", "noise": 12}),
            json!({"width": 480, "height": 873, "square_max": 0.3}),
        ],
        "circle_center"
        | "isosceles_trapezoid"
        | "orthocenter"
        | "parallelogram"
        | "ray_intersection"
        | "reflection"
        | "triangle_center" => vec![
            json!({"candidates": 8, "labels": "digits", "theme": "dark", "noise": 12}),
            json!({"candidates": 3, "width": 480, "height": 873, "theme": "paper"}),
        ],
        "circumcenter" | "fermat_point" | "incenter" => vec![
            json!({"candidates": 6, "labels": "digits", "theme": "dark", "noise": 12}),
            json!({"candidates": 3, "width": 480, "height": 873, "theme": "paper"}),
        ],
        "mirror" => vec![
            json!({"width": 480, "height": 873, "rows": 10, "cols": 6, "colors": 1}),
            json!({"width": 128, "height": 128, "fill": 1.0, "colors": 8}),
        ],
        "rects" => vec![
            json!({"width": 480, "height": 873, "count": 8}),
            json!({"width": 160, "height": 128, "count": 2}),
        ],
        "sudoku" => vec![
            json!({"width": 480, "height": 873, "size": 6}),
            json!({"size": 9, "clues": 45}),
        ],
        _ => Vec::new(),
    });
    blocks
}

/// A problem as the loader of ARC files gives it; the rule is a vertical flip.
fn arc_source() -> Value {
    let pair = |input: Value, output: Value| json!({"input": input, "output": output});
    json!({
        "name": "flip",
        "train": [
            pair(json!([[1, 0], [0, 2], [3, 3]]), json!([[3, 3], [0, 2], [1, 0]])),
            pair(json!([[4, 4, 0], [0, 5, 0]]), json!([[0, 5, 0], [4, 4, 0]])),
        ],
        "test": pair(json!([[6, 0, 0], [7, 8, 9]]), json!([[7, 8, 9], [6, 0, 0]])),
    })
}

/// Calls `check` with `count` records of every block of every task.
fn each_record(count: u64, check: impl Fn(&'static dyn Puzzle, &Value, Record)) {
    for &task in registry() {
        let name = task.info().name;
        for params in variants(name) {
            for index in 0..count {
                let seed = record_seed(11, name, index);
                check(task, &params, task.generate(&params, seed).unwrap());
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    each_record(5, |task, params, record| {
        let again = task.generate(params, record.seed).unwrap();
        assert_eq!(record, again);
        let png = |record: &Record, layer| encode_png(&task.draw(record, layer).unwrap()).unwrap();
        for layer in [Layer::Puzzle, Layer::Growing(0.4), Layer::Solution] {
            assert_eq!(png(&record, layer), png(&again, layer));
        }
    });
}

#[test]
fn other_seeds_give_other_scenes() {
    for &task in registry() {
        let name = task.info().name;
        let records: Vec<_> = (0..200)
            .map(|index| {
                task.generate(&Value::Null, record_seed(1, name, index))
                    .unwrap()
            })
            .collect();
        for field in [
            |record: &Record| record.id.clone(),
            |record: &Record| record.scene_hash.clone(),
        ] {
            let mut values: Vec<_> = records.iter().map(field).collect();
            values.sort_unstable();
            values.dedup();
            assert_eq!(values.len(), 200, "{name}");
        }
    }
}

#[test]
fn a_record_read_back_from_json_is_the_same_and_draws_the_same() {
    each_record(8, |task, _, record| {
        let text = serde_json::to_string(&record).unwrap();
        let back: Record = serde_json::from_str(&text).unwrap();
        assert_eq!(back, record);
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
        for layer in [Layer::Puzzle, Layer::Solution] {
            assert_eq!(
                task.draw(&back, layer).unwrap(),
                task.draw(&record, layer).unwrap()
            );
        }
        let picture = task.draw(&back, Layer::Puzzle).unwrap();
        assert_eq!([picture.width(), picture.height()], record.canvas);
    });
}

#[test]
fn every_record_verifies() {
    each_record(60, |task, _, record| {
        task.verify(&record)
            .unwrap_or_else(|fault| panic!("{fault}"));
    });
}

/// In a release build: `cargo test --release -p vtb-puzzle --test records -- --ignored`.
#[test]
#[ignore = "ten thousand records of every task take minutes"]
fn ten_thousand_records_of_every_task_verify() {
    const COUNT: u64 = 10_000;
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&task) = registry().get(next.fetch_add(1, Ordering::Relaxed)) {
            let name = task.info().name;
            for index in 0..COUNT {
                let record = task.generate(&Value::Null, record_seed(29, name, index));
                let record = record.unwrap_or_else(|fault| panic!("{name} {index}: {fault}"));
                let text = serde_json::to_string(&record).unwrap();
                let back: Record = serde_json::from_str(&text).unwrap();
                task.verify(&back)
                    .unwrap_or_else(|fault| panic!("{name} {index}: {fault}"));
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .for_each(|worker| worker.join().unwrap());
    });
    assert!(next.into_inner() > registry().len());
}

#[test]
fn the_parameter_block_is_whole() {
    each_record(1, |task, params, record| {
        assert_eq!(record.params, task.resolve_params(params).unwrap());
        let keys = |value: &Value| {
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        let all = task.default_params();
        let mut known = keys(&all);
        // Kept out of a record where they have their default.
        known.retain(|key| {
            let optional = ["callouts"].contains(&key.as_str())
                || all["canvas"].is_u64() && ["width", "height"].contains(&key.as_str());
            !optional || record.params.get(key).is_some()
        });
        assert_eq!(keys(&record.params), known);
        let told = task.resolve_params(&all).unwrap();
        assert_eq!(told, task.resolve_params(&Value::Null).unwrap());
    });
}

/// A change to any field that follows from the geometry, or to the geometry, is found.
#[test]
fn tampered_records_do_not_verify() {
    each_record(4, |task, _, record| {
        let tampered = |name: &str, change: &dyn Fn(&mut Record)| {
            let mut copy = record.clone();
            change(&mut copy);
            assert_ne!(copy, record, "{name} was not changed");
            let fault = task.verify(&copy).expect_err(name);
            assert!(
                matches!(fault, PuzzleError::BadRecord { .. }),
                "{name}: {fault}"
            );
        };
        tampered("id", &|copy| copy.id.replace_range(0..1, "x"));
        tampered("task", &|copy| copy.task.push('s'));
        tampered("version", &|copy| copy.version += 1);
        tampered("seed", &|copy| copy.seed += 1);
        tampered("scene_hash", &|copy| {
            copy.scene_hash.replace_range(0..1, "x")
        });
        tampered("canvas", &|copy| copy.canvas[1] += 1);
        tampered("params", &|copy| copy.params["nonsense"] = json!(1));
        // Where a solution is painted by other means than strokes there are none to take away.
        tampered("construction", &|copy| match copy.construction.pop() {
            Some(_) => {}
            None => copy.construction.push(Stroke::Disc {
                center: [0.0; 2],
                radius: 1.0,
                color: [0; 3],
            }),
        });
        tampered("scene", &|copy| copy.scene = json!({}));
        tampered("options", &|copy| copy.options.push("none".to_owned()));
        tampered("answer", &|copy| match &mut copy.answer {
            Answer::Choice(_) => {
                let other = copy.options.iter().find(|option| !copy.answer_is(option));
                copy.answer = Answer::Choice(other.unwrap().clone());
            }
            Answer::Path(ids) => ids.reverse(),
            Answer::Sequence(names) => names.reverse(),
            Answer::Grid(rows) => rows[0][0] ^= 1,
        });
        if record.graph.is_some() {
            tampered("graph", &|copy| copy.graph = None);
        }
        tamper_scene(task, &record);
    });
}

trait AnswerIs {
    fn answer_is(&self, option: &str) -> bool;
}

impl AnswerIs for Record {
    fn answer_is(&self, option: &str) -> bool {
        self.answer.to_string() == option
    }
}

/// Any single number or name of the scene, changed, is found out.
fn tamper_scene(task: &dyn Puzzle, record: &Record) {
    let mut paths = Vec::new();
    leaves(&record.scene, String::new(), &mut paths);
    assert!(!paths.is_empty());
    for path in paths {
        let mut copy = record.clone();
        let leaf = copy.scene.pointer_mut(&path).unwrap();
        *leaf = match leaf.clone() {
            Value::Number(number) => match number.as_i64() {
                Some(whole) => json!(whole + 1),
                None => json!(number.as_f64().unwrap() + 0.0625),
            },
            Value::String(text) => json!(format!("{text}x")),
            _ => json!("red"),
        };
        assert!(
            task.verify(&copy).is_err(),
            "{}: {path} changed unnoticed",
            record.task
        );
        // Whatever the damage, drawing and judging report it or do without; they do not panic.
        let _ = task.draw(&copy, Layer::Solution);
        let _ = judge_text(&copy, &record.gold_text());
    }
}

fn leaves(value: &Value, path: String, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            map.iter()
                .for_each(|(key, item)| leaves(item, format!("{path}/{key}"), out));
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(at, item)| leaves(item, format!("{path}/{at}"), out));
        }
        _ => out.push(path),
    }
}

#[test]
fn hostile_scenes_are_refused_without_panic() {
    let numbers = [
        json!(-1),
        json!(0),
        json!(1e300),
        json!(u32::MAX),
        json!(i64::MIN),
        json!(null),
    ];
    each_record(1, |task, _, record| {
        let mut paths = Vec::new();
        leaves(&record.scene, String::new(), &mut paths);
        for path in paths {
            for number in &numbers {
                let mut copy = record.clone();
                let leaf = copy.scene.pointer_mut(&path).unwrap();
                if leaf == number {
                    continue;
                }
                *leaf = number.clone();
                assert!(
                    task.verify(&copy).is_err(),
                    "{} {path} {number}",
                    record.task
                );
                let _ = task.draw(&copy, Layer::Puzzle);
            }
        }
    });
}

#[test]
fn gold_answers_are_right_and_others_are_not() {
    each_record(25, |task, _, record| {
        let verdict = judge_text(&record, &record.gold_text());
        assert!(
            verdict.correct && verdict.outcome == Outcome::Correct,
            "{verdict:?}"
        );
        assert_eq!(verdict.parsed, Some(record.answer.to_string()));
        assert!(judge_text(&record, &record.answer.to_string()).correct);
        let reasoned = format!("Let me look.\n{}", record.gold_text());
        assert!(judge_text(&record, &reasoned).correct);
        let outcome = |text: &str| judge_text(&record, text).outcome;
        assert_eq!(outcome(""), Outcome::Invalid);
        assert_eq!(outcome("<answer>xyzzy</answer>"), Outcome::Invalid);
        match &record.answer {
            Answer::Choice(gold) => {
                for option in record.options.iter().filter(|option| *option != gold) {
                    assert_eq!(
                        outcome(&format!("<answer>{option}</answer>")),
                        Outcome::Wrong
                    );
                    let both = format!("<answer>{gold}</answer> <answer>{option}</answer>");
                    assert_eq!(outcome(&both), Outcome::Ambiguous);
                }
            }
            Answer::Path(ids) => {
                let short = format!("<answer>{:?}</answer>", &ids[..ids.len() - 1]);
                let verdict = judge_text(&record, &short);
                assert_eq!(verdict.outcome, Outcome::Wrong);
                assert!(
                    verdict.reason.contains("stops before the goal"),
                    "{}",
                    verdict.reason
                );
                assert_eq!(verdict.path.unwrap().prefix_valid_len, ids.len() - 1);
                let ends = format!("<answer>{:?}</answer>", [ids[0], ids[ids.len() - 1]]);
                assert_eq!(outcome(&ends), Outcome::Wrong);
            }
            Answer::Sequence(names) => {
                let mut other = names.clone();
                other.swap(0, 1);
                let verdict = judge_text(&record, &Answer::Sequence(other).to_string());
                assert_eq!(verdict.outcome, Outcome::Wrong);
                assert!(verdict.reason.contains("place 1"), "{}", verdict.reason);
                let short = Answer::Sequence(names[1..].to_vec()).to_string();
                assert_eq!(outcome(&short), Outcome::Wrong);
                let doubled = Answer::Sequence([&names[..], &names[..]].concat()).to_string();
                assert_eq!(outcome(&doubled), Outcome::Wrong);
            }
            Answer::Grid(rows) => {
                let mut other = rows.clone();
                let last = rows.len() - 1;
                other[last][0] ^= 1;
                let verdict = judge_text(&record, &Answer::Grid(other).to_string());
                assert_eq!(verdict.outcome, Outcome::Wrong);
                let place = format!("row {}, column 1", last + 1);
                assert!(verdict.reason.contains(&place), "{}", verdict.reason);
                let more = Answer::Grid([&rows[..], &rows[..1]].concat()).to_string();
                assert_eq!(outcome(&more), Outcome::Wrong);
            }
        }
        assert!(
            task.judge_text(&record, &record.gold_text(), &Default::default())
                .correct
        );
    });
}

#[test]
fn text_prompts_ask_for_tags_and_list_what_they_say_they_list() {
    each_record(3, |_, _, record| {
        assert!(
            record.prompts.text.contains("<answer>"),
            "{}",
            record.prompts.text
        );
        for prompt in [
            &record.prompts.image,
            &record.prompts.text_image,
            &record.prompts.video,
        ] {
            assert!(prompt.len() > 40, "{prompt}");
        }
        assert!(!record.prompts.image.contains("<answer>"));
        assert!(!record.prompts.video.contains("<answer>"));
        assert!(record.prompts.text_image.contains("<answer>"));
        let listed = record.prompts.text.contains(&record.options.join(", "));
        assert_eq!(listed && !record.options.is_empty(), record.options_listed);
        match &record.answer {
            Answer::Choice(gold) => {
                assert!(record.options.contains(gold));
                assert!((record.chance() - 1.0 / record.options.len() as f64).abs() < 1e-12);
            }
            Answer::Sequence(names) => {
                assert!(names.iter().all(|name| record.options.contains(name)));
                assert!(record.chance() > 0.0 && record.chance() <= 0.5);
            }
            Answer::Path(_) | Answer::Grid(_) => {
                assert!(record.options.is_empty() && record.chance() == 0.0);
            }
        }
    });
}

#[test]
fn frames_start_with_the_puzzle_and_end_with_the_solution() {
    each_record(2, |task, _, record| {
        let frames = task.frames(&record, 9).unwrap();
        assert_eq!(frames.len(), 9);
        assert_eq!(frames[0], task.draw(&record, Layer::Puzzle).unwrap());
        assert_eq!(frames[8], task.draw(&record, Layer::Solution).unwrap());
        assert!(
            frames.windows(2).all(|pair| pair[0] != pair[1]),
            "{} stands still",
            record.task
        );
        assert!(matches!(
            task.frames(&record, 1),
            Err(PuzzleError::Picture(_))
        ));
    });
}

#[test]
fn instances_carry_their_task() {
    let task = find("midpoint").unwrap();
    let made = Instance::generate(task, &json!({"candidates": 4}), 3).unwrap();
    let back = Instance::from_record(made.record.clone()).unwrap();
    assert_eq!(
        back.draw(Layer::Puzzle).unwrap(),
        made.draw(Layer::Puzzle).unwrap()
    );
    assert_eq!(back.frames(3).unwrap().len(), 3);
    assert!(back.judge_text(&made.record.gold_text()).correct);
    let mut broken = made.record;
    broken.answer = Answer::Choice("Z".to_owned());
    assert!(Instance::from_record(broken).is_err());
}

#[test]
fn unknown_names_are_refused_with_the_nearest() {
    let fault = |result: Result<Record, PuzzleError>| result.unwrap_err().to_string();
    let task = find("midpoint").unwrap();
    assert_eq!(
        fault(task.generate(&json!({"candidate": 4}), 1)),
        "task midpoint has no parameter `candidate`; did you mean `candidates`?"
    );
    assert!(fault(task.generate(&json!({"candidates": 99}), 1)).contains("between 3 and 8"));
    assert!(fault(task.generate(&json!({"theme": "drak"}), 1)).contains("dark"));
    let maze = find("maze_square").unwrap();
    assert!(fault(maze.generate(&json!({"rows": 10}), 1)).contains("odd, for example 11"));
    assert!(fault(maze.generate(&json!({"cell": 9}), 1)).contains("legible from"));
    let grid = find("color_grid").unwrap();
    let palette = json!({"palette": ["red", "blue", "grene", "purple"]});
    assert!(fault(grid.generate(&palette, 1)).contains("did you mean `green`?"));
    let mut record = grid.generate(&Value::Null, 1).unwrap();
    record.task = "colour_grid".to_owned();
    let unknown = verify(&record).unwrap_err().to_string();
    assert_eq!(
        unknown,
        "there is no task `colour_grid`; did you mean `color_grid`?"
    );
}

#[test]
fn impossible_demands_end_with_a_typed_error() {
    let crowded = json!({"candidates": 8, "width": 128, "height": 128, "marker_radius": 12});
    let result = find("midpoint").unwrap().generate(&crowded, 1);
    assert!(
        matches!(result, Err(PuzzleError::NoScene { .. })),
        "{result:?}"
    );
    let result = find("maze_square")
        .unwrap()
        .generate(&json!({"min_path": 5000}), 1);
    assert!(
        matches!(result, Err(PuzzleError::NoScene { .. })),
        "{result:?}"
    );
}
