//! What counts as one red line through a maze.

#![allow(clippy::unwrap_used)]

mod judge_support;

use image::{Rgb, RgbImage};
use judge_support::*;
use serde_json::json;
use vtb_puzzle::{Outcome, PictureRule, find};

/// A square maze with wide cells, without printed numbers.
fn case() -> Case {
    let params = json!({"rows": 9, "cols": 9, "cell": 40, "print_ids": false});
    Case::new(find("maze_square").unwrap(), &params, 3).unwrap()
}

/// The solution, drawn by hand; the shift puts a line of odd width on whole pixels.
fn line(case: &Case, width: f64, shift: f64, color: [u8; 3]) -> RgbImage {
    let PictureRule::Route(rule) = &case.rule else {
        panic!("a maze has a route")
    };
    let mut picture = case.puzzle.clone();
    let path = case.record.graph.as_ref().unwrap().shortest_path();
    let at = |id: u32| rule.centers[&id].map(|part| part + shift);
    for pair in path.windows(2) {
        stroke(&mut picture, at(pair[0]), at(pair[1]), width, color);
    }
    picture
}

/// Middle of a cell of the path, and whether the line runs upright there.
fn bend(case: &Case) -> ([f64; 2], bool) {
    let PictureRule::Route(rule) = &case.rule else {
        panic!("a maze has a route")
    };
    let path = case.record.graph.as_ref().unwrap().shortest_path();
    let straight = path.windows(3).find(|ids| {
        let [a, b] = [rule.centers[&ids[0]], rule.centers[&ids[2]]];
        a[0] == b[0] || a[1] == b[1]
    });
    let ids = straight.unwrap();
    let [a, b] = [rule.centers[&ids[0]], rule.centers[&ids[2]]];
    (rule.centers[&ids[1]], a[0] == b[0])
}

#[test]
fn lines_of_one_pixel_and_more_are_right() {
    let case = case();
    for (width, shift) in [(1.0, 0.5), (2.0, 0.0), (3.0, 0.5), (5.0, 0.5), (12.0, 0.0)] {
        let verdict = case.judge.judge(&line(&case, width, shift, RED));
        assert!(verdict.correct, "{width}: {verdict:#?}");
    }
}

#[test]
fn only_red_is_red() {
    let case = case();
    for color in [
        [220, 20, 60],
        [255, 0, 0],
        [178, 34, 34],
        [255, 69, 0],
        [255, 99, 71],
    ] {
        let verdict = case.judge.judge(&line(&case, 8.0, 0.0, color));
        assert!(verdict.correct, "{color:?}: {verdict:#?}");
    }
    for color in [
        [255, 165, 0],
        [255, 192, 203],
        [255, 105, 180],
        [139, 0, 0],
        [165, 42, 42].map(|part: u8| part / 2),
    ] {
        let verdict = case.judge.judge(&line(&case, 8.0, 0.0, color));
        let refused =
            verdict.outcome == Outcome::Wrong && verdict.reason.contains("which is no red");
        assert!(refused, "{color:?}: {verdict:#?}");
    }
}

#[test]
fn a_cut_of_one_pixel_breaks_the_line_and_a_blurred_one_does_not() {
    let case = case();
    let mut cut = line(&case, 9.0, 0.5, RED);
    let (middle, upright) = bend(&case);
    let floor = Rgb([255; 3]);
    for by in -8..=8 {
        let [x, y] = middle.map(|part| part as i32);
        let (x, y) = if upright { (x + by, y) } else { (x, y + by) };
        cut.put_pixel(x as u32, y as u32, floor);
    }
    let verdict = case.judge.judge(&cut);
    assert!(
        !verdict.correct && verdict.reason.contains("the line is broken in cell"),
        "{verdict:#?}"
    );
    // At half the size nobody sees it.
    let small = scaled(&cut, 0.5, image::imageops::FilterType::Triangle);
    assert!(case.judge.judge(&small).correct);
}

#[test]
fn a_thin_stub_into_a_wall_is_seen() {
    let case = case();
    let (middle, upright) = bend(&case);
    for width in [1.0, 2.0, 3.0] {
        let mut picture = line(&case, width, 0.5, RED);
        let aside = if upright { [1.0, 0.0] } else { [0.0, 1.0] };
        let stubs =
            [-1.0, 1.0].map(|side| [0, 1].map(|axis| middle[axis] + side * 32.0 * aside[axis]));
        for end in stubs {
            stroke(&mut picture, middle.map(|part| part + 0.5), end, width, RED);
        }
        let verdict = case.judge.judge(&picture);
        assert!(!verdict.correct, "{width}: {verdict:#?}");
    }
}
