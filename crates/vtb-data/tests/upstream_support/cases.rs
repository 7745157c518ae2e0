//! Answers that were read or judged badly there, with what ours must say.

use image::{Rgb, RgbImage};
use vtb_puzzle::{Outcome, TaskGroup};

use super::*;

/// Texts, what the older parsers read in them, and what ours must.
pub(crate) const PARSING: [(&str, &str, Option<&str>); 11] = [
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

/// An answer in text, what the older rewards give for it, and our verdict.
pub(crate) struct Said {
    pub(crate) what: &'static str,
    pub(crate) text: fn(&[u32]) -> String,
    pub(crate) upstream: &'static str,
    pub(crate) ours: Outcome,
}

pub(crate) const PATHS: [Said; 11] = [
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

/// Pictures that are no honest answers, or honest ones that were taken for wrong.
pub(crate) struct Trick {
    pub(crate) what: &'static str,
    pub(crate) group: TaskGroup,
    pub(crate) draw: fn(&Pictured) -> RgbImage,
    /// What the older evaluators say, where that is not measured here.
    pub(crate) upstream: Option<&'static str>,
    /// Whether it is an honest answer.
    pub(crate) honest: bool,
    pub(crate) why: &'static str,
}

pub(crate) const TRICKS: [Trick; 7] = [
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
