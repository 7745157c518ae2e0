//! Our reader and judges on what the two Python projects wrote.
//!
//! The recorded material lies beside the workspace; without it the tests do nothing but say so.
//! `cargo test -p vtb-data --test upstream -- --ignored --nocapture` prints the tables of
//! `docs/upstream.md`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod upstream_support;

use std::collections::{BTreeMap, BTreeSet};

use image::imageops::{FilterType, resize};
use image::{Rgb, RgbImage};
use upstream_support::*;
use vtb_data::manifest::Manifest;
use vtb_puzzle::{Answer, Outcome, TaskGroup};

#[test]
fn every_record_is_read_once_and_none_is_skipped() {
    for (folder, count) in TREES {
        let Some(place) = recorded(folder) else {
            return;
        };
        let manifest = Manifest::open_upstream(&place, true).unwrap();
        let skipped = manifest.skipped();
        assert!(skipped.is_empty(), "{folder}: {skipped:?}");
        assert_eq!(manifest.len(), count, "{folder}");
        let entries: Vec<_> = manifest.iter().map(Result::unwrap).collect();
        let names: BTreeSet<_> = entries.iter().map(|e| (&e.task, &e.id)).collect();
        assert_eq!(names.len(), count, "{folder}: a record is read twice");
        for entry in &entries {
            assert!(!entry.task.starts_with("worker"), "{}", entry.task);
            assert!(entry.assets().all(|asset| asset.verify().is_ok()));
        }
    }
}

#[test]
fn their_solutions_are_right_and_their_puzzles_are_no_answers() {
    let (Some(all), Some(cases)) = (entries(), pictured()) else {
        return;
    };
    for entry in all.iter().filter(|e| TEXT_ONLY.contains(&e.task.as_str())) {
        let fault = entry.picture_judge().map(drop).unwrap_err().to_string();
        assert!(fault.contains("its answers are judged as text"), "{fault}");
        assert!(fault.contains(&entry.id), "{fault}");
    }
    let count = |group| {
        cases
            .iter()
            .filter(|case| case.entry.group == group)
            .count()
    };
    let counts = [TaskGroup::Eyeballing, TaskGroup::Maze, TaskGroup::Visual].map(count);
    assert_eq!(counts, [52, 22, 6]);
    for case in &cases {
        let solution = case.judge.judge(&case.solution);
        assert!(solution.correct, "{}: {solution:#?}", case.name());
        let puzzle = case.judge.judge(&case.puzzle);
        assert_eq!(
            puzzle.outcome,
            Outcome::Invalid,
            "{}: {puzzle:#?}",
            case.name()
        );
        if let Answer::Path(path) = &case.entry.answer {
            assert_eq!(
                solution.parsed,
                Some(format!("{path:?}")),
                "{}",
                case.name()
            );
        }
    }
}

/// Where our judge does not say what the drawing was meant to be, and why.
const OTHERWISE: [(&str, &str); 6] = [
    ("hexagon_00/one_red_pixel_on_wall", DUST),
    ("labyrinth_00/one_red_pixel_on_wall", DUST),
    ("square_00/extra_dead_ends", BRANCHES),
    ("square_00/one_red_pixel_on_wall", DUST),
    ("square_ids/extra_dead_ends", BRANCHES),
    ("square_ids/one_red_pixel_on_wall", DUST),
];
const DUST: &str = "one pixel is dust: a line is judged, and compression leaves such pixels";
const BRANCHES: &str = "red in dead ends says that the way was not known: one line is asked for";

#[test]
fn drawn_mazes_are_judged_as_they_were_meant() {
    let Some(cases) = drawn() else {
        return;
    };
    assert_eq!(cases.len(), 261);
    let mut found = BTreeSet::new();
    for case in cases
        .iter()
        .filter(|case| case.intent == Some(!case.ours.correct))
    {
        let name = case.name();
        assert!(
            OTHERWISE.iter().any(|(known, _)| *known == name),
            "{name} ({:?}): {:?}",
            case.intent,
            case.ours
        );
        found.insert(name);
    }
    assert_eq!(found.len(), OTHERWISE.len(), "{found:?}");
    let said = |name: &str, words: &str| {
        let case = cases.iter().find(|case| case.name() == name).unwrap();
        assert!(
            case.ours.reason.contains(words),
            "{name}: {}",
            case.ours.reason
        );
    };
    said(
        "square_00/colour_orange_255_165_0",
        "#ffa500, which is no red",
    );
    said("square_00/extra_dead_ends", "the line forks in cell");
    said("square_00/dashed", "cell");
    said("labyrinth_00/path_plus_wall_stub", "red runs over a wall");
    said("hexagon_00/broken_gap_1px", "the line is broken in cell");
    said("square_00/no_line", "no red line is drawn");
}

/// Ways to name an option, `X`, and its code word, `CODE`.
const WORDINGS: [&str; 22] = [
    "X",
    "(X)",
    "[X]",
    "X.",
    "**X**",
    "Option X",
    "option X.",
    "Answer: X",
    "answer: X.",
    "The answer is X.",
    "the correct choice is X",
    "Point X is the one.\n\nX",
    "<answer>X</answer>",
    "<answer> X. </answer>",
    "<ANSWER>X</ANSWER>",
    "<answer>Option X</answer>",
    "<think>Perhaps A, perhaps B.</think>X",
    "\\boxed{X}",
    "CODE",
    "It is CODE.",
    "I would say CODE, and I am sure.",
    "The midpoint of a triangle side, so the answer is X",
];
const CODES: [&str; 5] = ["Alpha", "bravo", "Charlie", "DELTA", "Echo"];

#[test]
fn options_are_understood_in_all_usual_words() {
    let Some(all) = entries() else {
        return;
    };
    let eyeballing = all.iter().filter(|e| e.group == TaskGroup::Eyeballing);
    let mut texts = 0;
    for entry in eyeballing {
        let judge = Texts::of(entry);
        assert_eq!(entry.options, ["A", "B", "C", "D", "E"]);
        for (option, code) in entry.options.iter().zip(CODES) {
            let right = *option == entry.answer.to_string();
            for wording in WORDINGS {
                let text = wording.replace("CODE", code).replace('X', option);
                let verdict = judge.judge(&text);
                assert_eq!(verdict.correct, right, "{text:?}: {verdict:?}");
                assert_eq!(
                    verdict.parsed.as_ref(),
                    Some(option),
                    "{text:?}: {verdict:?}"
                );
                texts += 1;
            }
        }
    }
    assert_eq!(texts, 52 * 5 * WORDINGS.len());
}

/// Texts, what the older parsers read in them, and what ours must.
const PARSING: [(&str, &str, Option<&str>); 11] = [
    ("NO", "VTB-Training: `NO`", None),
    ("HI", "VTB-Training: `HI`", None),
    ("...", "VTB-Training: an empty option", None),
    (
        "b",
        "VTB-Training: nothing, small letters are ignored",
        Some("B"),
    ),
    (
        "The delta between the lengths is small, so the answer is B",
        "both: D, the first code word",
        Some("B"),
    ),
    (
        "The points are uniform along the line. Answer: C",
        "both: U, the first code word",
        Some("C"),
    ),
    (
        "not Alpha but Bravo",
        "both: A, the first code word",
        Some("B"),
    ),
    (
        "I think it must be E",
        "VideoThinkBench: I, the first lone letter",
        Some("E"),
    ),
    (
        "A triangle has three sides. The answer is D",
        "VideoThinkBench: A, the first lone letter",
        Some("D"),
    ),
    ("A or B", "VTB-Training: B; VideoThinkBench: A", None),
    ("X-ray", "both: X, which is no option", None),
];

#[test]
fn code_words_and_lone_letters_do_not_hijack_the_answer() {
    let options = ["A", "B", "C", "D", "E"].map(str::to_owned).to_vec();
    for (text, _, option) in PARSING {
        let answer = Answer::Choice(option.unwrap_or("A").to_owned());
        let judge = Texts {
            answer,
            options: options.clone(),
            graph: None,
        };
        let verdict = judge.judge(text);
        assert_eq!(verdict.parsed.as_deref(), option, "{text:?}: {verdict:?}");
        assert_eq!(verdict.correct, option.is_some(), "{text:?}: {verdict:?}");
    }
}

/// An answer in text, what the older rewards give for it, and our verdict.
struct Said {
    what: &'static str,
    text: fn(&[u32]) -> String,
    upstream: &'static str,
    ours: Outcome,
}

const PATHS: [Said; 11] = [
    Said {
        what: "the path",
        text: |path| format!("<answer>{path:?}</answer>"),
        upstream: "1.0; drawn and judged as a picture 0 of 12 (square), 3 of 12 (labyrinth)",
        ours: Outcome::Correct,
    },
    Said {
        what: "another list first, then the path, no tags",
        text: |path| format!("From [1, 2] I get {path:?}"),
        upstream: "0.0, the first list counts",
        ours: Outcome::Correct,
    },
    Said {
        what: "an empty list",
        text: |_| "<answer>[]</answer>".to_owned(),
        upstream: "0.0, no format error",
        ours: Outcome::Invalid,
    },
    Said {
        what: "start and goal alone",
        text: |path| format!("<answer>[{}, {}]</answer>", path[0], path[path.len() - 1]),
        upstream: "2/N",
        ours: Outcome::Wrong,
    },
    Said {
        what: "cells in the middle left out",
        text: |path| {
            let middle = path.len() / 2;
            let rest = [&path[..middle - 1], &path[middle + 1..]].concat();
            format!("<answer>{rest:?}</answer>")
        },
        upstream: "(N-k)/N",
        ours: Outcome::Wrong,
    },
    Said {
        what: "the path twice",
        text: |path| format!("<answer>{:?}</answer>", [path, path].concat()),
        upstream: "0.5",
        ours: Outcome::Wrong,
    },
    Said {
        what: "a cell after the goal",
        text: |path| {
            let before = path[path.len() - 2];
            format!("<answer>{:?}</answer>", [path, &[before]].concat())
        },
        upstream: "N/(N+1)",
        ours: Outcome::Wrong,
    },
    Said {
        what: "a word in the list",
        text: |path| {
            let list = format!("{path:?}");
            format!("<answer>{}</answer>", list.replacen(", ", ", x, ", 1))
        },
        upstream: "1.0, dropped",
        ours: Outcome::Invalid,
    },
    Said {
        what: "a list in a list",
        text: |path| format!("<answer>[{path:?}]</answer>"),
        upstream: "(N-1)/N",
        ours: Outcome::Invalid,
    },
    Said {
        what: "numbers below zero",
        text: |path| format!("<answer>[-{}, {}]</answer>", path[0], path[1]),
        upstream: "0.0, no format error",
        ours: Outcome::Invalid,
    },
    Said {
        what: "a cell outside the maze",
        text: |path| format!("<answer>[{}, 99999]</answer>", path[0]),
        upstream: "an exception (hexagon, labyrinth)",
        ours: Outcome::Wrong,
    },
];

#[test]
fn paths_in_text_are_judged_on_the_maze() {
    let Some(all) = entries() else {
        return;
    };
    let mut mazes = 0;
    for entry in &all {
        let Answer::Path(path) = &entry.answer else {
            continue;
        };
        mazes += 1;
        let judge = Texts::of(entry);
        // All three kinds are trees: no other way, and every cell can be reached.
        let graph = judge.graph.as_ref().unwrap();
        assert!(graph.is_forest() && graph.shortest_path() == *path);
        let reached = |id: &u32| graph.distance_to_goal(*id).is_some();
        assert!(graph.cells().iter().all(reached), "{}", entry.id);
        for said in &PATHS {
            let text = (said.text)(path);
            let verdict = judge.judge(&text);
            assert_eq!(verdict.outcome, said.ours, "{}: {verdict:?}", said.what);
        }
    }
    assert_eq!(mazes, 22);
}

#[test]
fn counts_layers_and_colours_are_judged_as_text() {
    let Some(all) = entries() else {
        return;
    };
    let mut seen = BTreeMap::new();
    for entry in &all {
        let mut judge = Texts::of(entry);
        let gold = entry.answer.to_string();
        let (right, wrong): (String, String) = match (&entry.task[..], &entry.answer) {
            ("circle_count", _) => {
                judge.options = (0..100).map(|count| count.to_string()).collect();
                (
                    format!("There are {gold} circles."),
                    "There are 77.".to_owned(),
                )
            }
            ("rects", Answer::Sequence(names)) => {
                let turned: Vec<_> = names.iter().rev().cloned().collect();
                (gold.clone(), turned.join(", "))
            }
            ("color_grid", _) => {
                judge.options = ["Red", "Blue", "Green", "Yellow", "Purple", "Orange"]
                    .map(str::to_owned)
                    .to_vec();
                (
                    format!("The answer is {}.", gold.to_lowercase()),
                    "red or blue".to_owned(),
                )
            }
            ("size_cycle", _) => {
                judge.options = ["Small", "Medium", "Large"].map(str::to_owned).to_vec();
                (
                    format!("<answer>{gold}</answer>"),
                    "<answer>huge</answer>".to_owned(),
                )
            }
            // Their boards are not asked for in words; the numbers are the reader's own.
            ("mirror", Answer::Grid(rows)) => {
                let turned: Vec<Vec<u8>> = rows
                    .iter()
                    .map(|row| row.iter().rev().copied().collect())
                    .collect();
                (gold.clone(), format!("{turned:?}"))
            }
            _ => continue,
        };
        let verdict = judge.judge(&right);
        assert!(verdict.correct, "{} {right:?}: {verdict:?}", entry.id);
        let verdict = judge.judge(&wrong);
        assert!(!verdict.correct, "{} {wrong:?}: {verdict:?}", entry.id);
        *seen.entry(entry.task.as_str()).or_insert(0) += 1;
    }
    let expected = [
        ("circle_count", 6),
        ("color_grid", 2),
        ("mirror", 6),
        ("rects", 6),
        ("size_cycle", 2),
    ];
    assert_eq!(seen, BTreeMap::from(expected));
}

/// Pictures that are no honest answers, or honest ones that were taken for wrong.
struct Trick {
    what: &'static str,
    group: TaskGroup,
    draw: fn(&Pictured) -> RgbImage,
    /// What the older evaluators say, where that is not measured here.
    upstream: Option<&'static str>,
    /// Whether it is an honest answer.
    honest: bool,
    why: &'static str,
}

const TRICKS: [Trick; 7] = [
    Trick {
        what: "all of the picture red",
        group: TaskGroup::Eyeballing,
        draw: |case| RgbImage::from_pixel(case.puzzle.width(), case.puzzle.height(), Rgb(RED)),
        upstream: None,
        honest: false,
        why: "the puzzle is gone",
    },
    Trick {
        what: "red rings about all five markers",
        group: TaskGroup::Eyeballing,
        draw: |case| ringed(&case.puzzle, &case.markers()),
        upstream: None,
        honest: false,
        why: "several answers are none",
    },
    Trick {
        what: "the right ring on an empty page",
        group: TaskGroup::Eyeballing,
        draw: |case| {
            let page =
                RgbImage::from_pixel(case.puzzle.width(), case.puzzle.height(), Rgb([255; 3]));
            ringed(&page, &[case.markers()[case.answer()]])
        },
        upstream: None,
        honest: false,
        why: "the puzzle is gone",
    },
    Trick {
        what: "the right ring, and a red line to the farthest corner",
        group: TaskGroup::Eyeballing,
        draw: |case| {
            let right = case.markers()[case.answer()];
            let side = [case.puzzle.width(), case.puzzle.height()].map(f64::from);
            let far = [0, 1].map(|axis| {
                if right[axis] < side[axis] / 2.0 {
                    side[axis]
                } else {
                    0.0
                }
            });
            // As far as our limit of red beside the markers, 1 % of the picture, allows.
            let end = [0, 1].map(|axis| right[axis] + 0.8 * (far[axis] - right[axis]));
            ringed(&lined(&case.puzzle, right, end), &[right])
        },
        upstream: None,
        honest: true,
        why: "a construction line is no mark: red is counted at each marker",
    },
    Trick {
        what: "all floors of the maze red",
        group: TaskGroup::Maze,
        draw: |case| flooded(&case.puzzle),
        upstream: Some("right, 12 of 12 of each kind"),
        honest: false,
        why: "a line is asked for, cell by cell",
    },
    Trick {
        what: "the solution, and all floors red",
        group: TaskGroup::Maze,
        draw: |case| flooded(&case.solution),
        upstream: Some("right"),
        honest: false,
        why: "as above",
    },
    Trick {
        what: "the solution as JPEG, quality 90",
        group: TaskGroup::Maze,
        draw: |case| jpeg(&case.solution, 90),
        upstream: Some("wrong, 5 of 12 (labyrinth)"),
        honest: true,
        why: "a red pixel on a wall is no crossing",
    },
];

fn of_group(cases: &[Pictured], group: TaskGroup) -> impl Iterator<Item = &Pictured> {
    cases.iter().filter(move |case| case.entry.group == group)
}

#[test]
fn tricks_that_passed_there_fail_here() {
    let Some(cases) = pictured() else {
        return;
    };
    for trick in &TRICKS {
        for case in of_group(&cases, trick.group) {
            let verdict = case.judge.judge(&(trick.draw)(case));
            let name = case.name();
            // Some of their markers lie on each other or beside the picture.
            let fair = !trick.honest || trick.group == TaskGroup::Maze || is_legible(case);
            assert!(
                verdict.correct == trick.honest || !fair,
                "{} {name}: {verdict:#?}",
                trick.what
            );
        }
    }
    let illegible = of_group(&cases, TaskGroup::Eyeballing).filter(|case| !is_legible(case));
    assert_eq!(illegible.count(), 0, "docs/upstream.md names this number");
    for case in of_group(&cases, TaskGroup::Eyeballing) {
        let verdict = case.judge.judge(&ringed(&case.puzzle, &case.markers()));
        assert_eq!(
            verdict.outcome,
            Outcome::Ambiguous,
            "{}: {verdict:#?}",
            case.name()
        );
    }
}

/// All markers lie in the picture and apart.
fn is_legible(case: &Pictured) -> bool {
    let markers = case.markers();
    let side = [case.puzzle.width(), case.puzzle.height()].map(f64::from);
    let inside =
        |at: &[f64; 2]| (0..2).all(|axis| at[axis] >= 10.0 && at[axis] <= side[axis] - 10.0);
    let apart = |(at, a): (usize, &[f64; 2])| {
        let others = markers[at + 1..].iter();
        others
            .clone()
            .all(|b| (a[0] - b[0]).hypot(a[1] - b[1]) >= 20.0)
    };
    markers.iter().all(inside) && markers.iter().enumerate().all(apart)
}

const DOCUMENT: &str = include_str!("../../../docs/upstream.md");

#[test]
fn the_document_shows_what_is_measured() {
    let Some(tables) = tables() else {
        return;
    };
    for line in tables.iter().flat_map(|table| table.lines()) {
        let shown = DOCUMENT.lines().any(|known| known == line);
        assert!(
            shown,
            "docs/upstream.md lacks this line; the ignored test prints all:\n{line}"
        );
    }
}

#[test]
#[ignore = "prints the tables of docs/upstream.md"]
#[allow(clippy::print_stdout, reason = "that is what it is for")]
fn print_the_tables() {
    for table in tables().into_iter().flatten() {
        println!("{table}\n");
    }
}

fn tables() -> Option<[String; 6]> {
    let (drawn, cases) = (drawn()?, pictured()?);
    Some([
        group_table(&drawn),
        kind_table(&drawn),
        solution_table(&cases),
        trick_table(&cases),
        parsing_table(),
        path_table(),
    ])
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let head: Vec<_> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = "|---".repeat(head.len()) + "|";
    let rows = rows.into_iter().map(|row| line(&row));
    let lines = [line(&head), rule].into_iter().chain(rows);
    lines.collect::<Vec<_>>().join("\n")
}

/// Drawings, and how many of them are judged so: `7 of 8`.
fn agreement<'a>(cases: impl Iterator<Item = &'a Drawn>, by: fn(&Drawn) -> bool) -> [String; 2] {
    let [mut all, mut right, mut open, mut open_right] = [0; 4];
    for case in cases {
        match case.intent {
            Some(wanted) => {
                all += 1;
                right += usize::from(by(case) == wanted);
            }
            None => {
                open += 1;
                open_right += usize::from(by(case));
            }
        }
    }
    let of = |count: usize, all: usize| match all {
        0 => "-".to_owned(),
        all => format!("{count} of {all}"),
    };
    [of(right, all), of(open_right, open)]
}

fn agreement_rows(cases: &[Drawn], key: fn(&Drawn) -> &str) -> Vec<Vec<String>> {
    let names: BTreeSet<_> = cases.iter().map(key).collect();
    let row = |name: &str, of: &dyn Fn(&&Drawn) -> bool| {
        let own = || cases.iter().filter(|case| of(case));
        let upstream = agreement(own(), |case| case.upstream);
        let ours = agreement(own(), |case| case.ours.correct);
        let [[theirs, their_open], [ours, our_open]] = [upstream, ours];
        vec![
            name.to_owned(),
            own().count().to_string(),
            theirs,
            ours,
            their_open,
            our_open,
        ]
    };
    let mut rows: Vec<_> = names
        .iter()
        .map(|name| row(name, &|case| key(case) == *name))
        .collect();
    rows.push(row("all", &|_| true));
    rows
}

const AGREEMENT: [&str; 5] = [
    "drawings",
    "upstream as meant",
    "ours as meant",
    "borderline, right upstream",
    "borderline, right here",
];

fn group_table(cases: &[Drawn]) -> String {
    let head = [&["group"], &AGREEMENT[..]].concat();
    table(&head, agreement_rows(cases, |case| &case.group))
}

fn kind_table(cases: &[Drawn]) -> String {
    let head = [&["maze"], &AGREEMENT[..]].concat();
    table(&head, agreement_rows(cases, |case| &case.task))
}

fn solution_table(cases: &[Pictured]) -> String {
    let tasks: BTreeSet<_> = cases.iter().map(|case| case.entry.task.as_str()).collect();
    let row = |task: &str, of: &dyn Fn(&&Pictured) -> bool| {
        let own: Vec<_> = cases.iter().filter(|case| of(case)).collect();
        let right = |change: fn(&RgbImage) -> RgbImage| {
            let judged = own
                .iter()
                .map(|case| case.judge.judge(&change(&case.solution)));
            judged.filter(|verdict| verdict.correct).count().to_string()
        };
        let silent = own
            .iter()
            .filter(|case| case.judge.judge(&case.puzzle).outcome == Outcome::Invalid);
        vec![
            task.to_owned(),
            own.len().to_string(),
            right(RgbImage::clone),
            right(|picture| jpeg(picture, 90)),
            right(|picture| jpeg(picture, 75)),
            right(|picture| scale(picture, 1, 2)),
            right(|picture| scale(picture, 2, 1)),
            silent.count().to_string(),
        ]
    };
    let mut rows: Vec<_> = tasks
        .iter()
        .map(|task| row(task, &|case| case.entry.task == *task))
        .collect();
    rows.push(row("all", &|_| true));
    let head = [
        "task",
        "records",
        "right as drawn",
        "JPEG 90",
        "JPEG 75",
        "half size",
        "double size",
        "puzzle alone is no answer",
    ];
    table(&head, rows)
}

fn scale(picture: &RgbImage, by: u32, of: u32) -> RgbImage {
    let side = |length: u32| length * by / of;
    resize(
        picture,
        side(picture.width()),
        side(picture.height()),
        FilterType::Triangle,
    )
}

fn trick_table(cases: &[Pictured]) -> String {
    let row = |trick: &Trick| {
        let own: Vec<_> = of_group(cases, trick.group).collect();
        let drawn: Vec<_> = own.iter().map(|case| (trick.draw)(case)).collect();
        let pairs = || own.iter().zip(&drawn);
        let count = own.len();
        let fooled = pairs().filter(|(case, picture)| {
            nearest_to_mean_red(picture, &case.markers()) == Some(case.answer())
        });
        let upstream = match trick.upstream {
            Some(known) => known.to_owned(),
            None => format!("right, {} of {count}", fooled.count()),
        };
        let right = pairs().filter(|(case, picture)| case.judge.judge(picture).correct);
        vec![
            trick.what.to_owned(),
            if trick.honest { "right" } else { "no answer" }.to_owned(),
            upstream,
            format!("right, {} of {count}", right.count()),
            trick.why.to_owned(),
        ]
    };
    table(
        &["picture", "should be", "upstream", "ours", "why"],
        TRICKS.iter().map(row),
    )
}

fn parsing_table() -> String {
    let row = |(text, upstream, option): &(&str, &str, Option<&str>)| {
        let ours = option.unwrap_or("no option").to_owned();
        vec![format!("`{text}`"), (*upstream).to_owned(), ours]
    };
    table(
        &["text", "upstream reads", "ours reads"],
        PARSING.iter().map(row),
    )
}

fn path_table() -> String {
    let row = |said: &Said| {
        let ours = match said.ours {
            Outcome::Correct => "right",
            Outcome::Wrong => "wrong",
            Outcome::Ambiguous => "ambiguous",
            Outcome::Invalid => "cannot be read",
        };
        vec![
            said.what.to_owned(),
            said.upstream.to_owned(),
            ours.to_owned(),
        ]
    };
    table(
        &["answer", "upstream's reward", "our verdict"],
        PATHS.iter().map(row),
    )
}
