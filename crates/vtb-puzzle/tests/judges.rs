//! Judges of edited pictures and clips, for every registered task that can be judged.

#![allow(clippy::unwrap_used)]

mod judge_support;

use std::io::Cursor;

use image::imageops::FilterType;
use image::{ImageFormat, Rgb, RgbImage};
use judge_support::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use vtb_puzzle::judge::{
    Area, Expect, MarkerRule, RouteRule, SlotRule, color_difference, decode_picture,
};
use vtb_puzzle::{ClipJudge, Instance, Layer, Outcome, PictureRule, PictureVerdict, find};

/// Named pictures, every one of which must be judged as the solution.
fn harmless(case: &Case) -> Vec<(String, RgbImage)> {
    let own = &case.solution;
    let mut list = vec![("as drawn".to_owned(), own.clone())];
    for (by, filter) in [
        (0.5, FilterType::Triangle),
        (0.5, FilterType::Lanczos3),
        (0.75, FilterType::CatmullRom),
        (1.5, FilterType::CatmullRom),
        (2.0, FilterType::Triangle),
        (2.0, FilterType::Nearest),
    ] {
        list.push((format!("x{by} {filter:?}"), scaled(own, by, filter)));
    }
    list.push(("jpeg 75".to_owned(), jpeg(own, 75)));
    list.push((
        "x0.75, jpeg 75".to_owned(),
        jpeg(&scaled(own, 0.75, FilterType::Triangle), 75),
    ));
    let [width, height] = [own.width(), own.height()];
    for color in [[0, 0, 0], [255, 255, 255], [114, 114, 114]] {
        let wide = padded(own, [width + 120, height], [60, 0], color);
        list.push((format!("letterbox {color:?}"), wide));
    }
    let small = scaled(own, 0.75, FilterType::Triangle);
    let boxed = padded(&small, [width, height], [width / 8, height / 8], [0, 0, 0]);
    list.push(("small on a page".to_owned(), boxed));
    let even = [width.div_ceil(32) * 32, height.div_ceil(32) * 32];
    list.push((
        "padded to 32".to_owned(),
        padded(own, even, [0, 0], [0, 0, 0]),
    ));
    list.push(("shifted".to_owned(), shifted(own, [3, -2])));
    list.push((
        "stretched".to_owned(),
        image::imageops::resize(own, width, height * 11 / 10, FilterType::Triangle),
    ));
    list
}

#[test]
fn own_solutions_are_right_however_they_are_resized_padded_and_compressed() {
    each_case(1, |case| {
        for (how, picture) in harmless(case) {
            let verdict = case.judge.judge(&picture);
            assert!(verdict.correct, "{}, {how}: {verdict:#?}", case.name());
            assert_eq!(verdict.score(), 1.0);
        }
    });
}

#[test]
fn many_solutions_of_each_task_are_right() {
    each_case(4, |case| {
        for picture in [
            &case.solution,
            &jpeg(&case.solution, 75),
            &scaled(&case.solution, 0.5, FilterType::Triangle),
        ] {
            let verdict = case.judge.judge(picture);
            assert!(
                verdict.correct,
                "{} {}: {verdict:#?}",
                case.name(),
                case.record.seed
            );
        }
    });
}

#[test]
fn the_untouched_puzzle_is_invalid() {
    each_case(2, |case| {
        for picture in [
            &case.puzzle,
            &jpeg(&case.puzzle, 75),
            &scaled(&case.puzzle, 1.5, FilterType::Triangle),
        ] {
            let verdict = case.judge.judge(picture);
            assert_eq!(
                verdict.outcome,
                Outcome::Invalid,
                "{}: {verdict:#?}",
                case.name()
            );
            assert!(verdict.score() < 0.2, "{}: {verdict:#?}", case.name());
        }
    });
}

/// Named pictures, none of which may be judged right.
fn adversarial(case: &Case) -> Vec<(String, RgbImage)> {
    let (puzzle, own) = (&case.puzzle, &case.solution);
    let (width, height) = puzzle.dimensions();
    let other = |index: u64| {
        Case::new(case.task, &case.record.params, 100 + index)
            .unwrap()
            .solution
    };
    let mut list = vec![
        ("flooded puzzle", flooded(puzzle)),
        ("all red", RgbImage::from_pixel(width, height, Rgb(RED))),
        ("all black", RgbImage::new(width, height)),
        (
            "blank page",
            RgbImage::from_pixel(width, height, *puzzle.get_pixel(0, 0)),
        ),
        ("erased but for the answer", erased_but_answer(case)),
        ("noise", noise(width, height, 7)),
        ("another's solution", other(0)),
        ("yet another's solution", other(1)),
        ("red scribble", scribbled(own, RED)),
        ("blue scribble", scribbled(own, [40, 60, 220])),
        ("gray scribble", scribbled(own, [128, 128, 128])),
        ("scribbled puzzle", scribbled(puzzle, RED)),
        (
            "negative",
            RgbImage::from_fn(width, height, |x, y| {
                Rgb(own.get_pixel(x, y).0.map(|v| 255 - v))
            }),
        ),
    ];
    let flood = flooded(own);
    let wet = flood
        .pixels()
        .zip(own.pixels())
        .filter(|(a, b)| a != b)
        .count();
    if wet > (width * height) as usize / 20 {
        list.push(("flooded solution", flood));
    }
    if !matches!(case.rule, PictureRule::Slots(_)) {
        // Filled places may stand symmetrically; markers and mazes do not.
        list.push(("upside down", image::imageops::rotate180(own)));
    }
    match &case.rule {
        PictureRule::Marker(rule) => list.extend(marker_cheats(case, rule)),
        PictureRule::Route(rule) => list.extend(route_cheats(case, rule)),
        PictureRule::Slots(rule) => list.extend(slot_cheats(case, rule)),
    }
    list.into_iter()
        .map(|(name, picture)| (name.to_owned(), picture))
        .collect()
}

fn marker_cheats(case: &Case, rule: &MarkerRule) -> Vec<(&'static str, RgbImage)> {
    let gold = case.record.answer.to_string();
    let answer = case
        .record
        .options
        .iter()
        .position(|option| *option == gold)
        .unwrap();
    let with = |chosen: &dyn Fn(usize) -> bool, from: &RgbImage| {
        let mut picture = from.clone();
        for (at, point) in rule.points.iter().enumerate().filter(|(at, _)| chosen(*at)) {
            let _ = at;
            ring(&mut picture, *point, rule.radius, 0.4 * rule.radius, RED);
        }
        picture
    };
    let wrong = (answer + 1) % rule.points.len();
    let right = with(&|at| at == answer, &case.puzzle);
    assert!(
        case.judge.judge(&right).correct,
        "{}: a plain red ring is right",
        case.name()
    );
    let ambiguous = case.judge.judge(&with(&|_| true, &case.puzzle));
    assert_eq!(ambiguous.outcome, Outcome::Ambiguous, "{ambiguous:?}");
    let marked = case.judge.judge(&with(&|at| at == wrong, &case.puzzle));
    assert_eq!(marked.outcome, Outcome::Wrong, "{marked:?}");
    assert_eq!(marked.parsed.as_ref(), Some(&case.record.options[wrong]));
    vec![
        ("all markers", with(&|_| true, &case.puzzle)),
        (
            "two markers",
            with(&|at| at == answer || at == wrong, &case.puzzle),
        ),
        (
            "another marker too",
            with(&|at| at == wrong, &case.solution),
        ),
        ("wrong marker", with(&|at| at == wrong, &case.puzzle)),
    ]
}

fn route_cheats(case: &Case, rule: &RouteRule) -> Vec<(&'static str, RgbImage)> {
    let graph = case.record.graph.as_ref().unwrap();
    let path = graph.shortest_path();
    let at = |id: u32| rule.centers[&id];
    let draw = |ids: &[u32], width: f64, from: &RgbImage| {
        let mut picture = from.clone();
        for pair in ids.windows(2) {
            stroke(&mut picture, at(pair[0]), at(pair[1]), width, RED);
        }
        picture
    };
    let [start, goal] = [graph.start(), graph.goal()];
    let step = at(path[0])
        .iter()
        .zip(at(path[1]))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    // Puts the puzzle back around the middle of a cell.
    let cut = |id: u32, radius: f64| {
        let mut picture = case.solution.clone();
        for (x, y, pixel) in picture.enumerate_pixels_mut() {
            let away = (f64::from(x) - at(id)[0]).hypot(f64::from(y) - at(id)[1]);
            if away <= radius {
                *pixel = *case.puzzle.get_pixel(x, y);
            }
        }
        picture
    };
    let middle = path[path.len() / 2];
    let stray = *graph.cells().iter().find(|id| !path.contains(id)).unwrap();
    let mut blot = case.solution.clone();
    ring(&mut blot, at(stray), 0.3 * step, step, RED);
    let mut list = vec![
        (
            "through the walls",
            draw(&[start, goal], step / 3.0, &case.puzzle),
        ),
        (
            "through the walls, thin",
            draw(&[start, goal], 3.0, &case.puzzle),
        ),
        (
            "solution and short cut",
            draw(&[start, goal], step / 3.0, &case.solution),
        ),
        ("gap", cut(middle, 0.6 * step)),
        ("start missing", cut(path[1], 0.6 * step)),
        ("goal missing", cut(path[path.len() - 2], 0.6 * step)),
        ("all cells", draw(&[start, goal], 4000.0, &case.puzzle)),
        ("stray blot", blot),
        (
            "half the way",
            case.task.draw(&case.record, Layer::Growing(0.5)).unwrap(),
        ),
    ];
    // A dead end beside the way.
    let side = path[1..path.len() - 1].iter().find_map(|id| {
        let beside = graph
            .neighbours(*id)
            .iter()
            .find(|next| !path.contains(next));
        beside.map(|next| [*id, *next])
    });
    if let Some(branch) = side {
        list.push(("branch", draw(&branch, step / 3.0, &case.solution)));
    }
    list
}

fn slot_cheats(case: &Case, rule: &SlotRule) -> Vec<(&'static str, RgbImage)> {
    let mut list = Vec::new();
    for slot in &rule.slots {
        let inside = |x: u32, y: u32| holds(&slot.area, f64::from(x) + 0.5, f64::from(y) + 0.5);
        let fill = |color: &dyn Fn(u32, u32) -> Rgb<u8>| {
            let mut picture = case.solution.clone();
            for (x, y, pixel) in picture.enumerate_pixels_mut() {
                if inside(x, y) {
                    *pixel = color(x, y);
                }
            }
            picture
        };
        match &slot.expect {
            Expect::Color { others, .. } => {
                for other in others {
                    list.push(("another colour", fill(&|_, _| Rgb(*other))));
                }
            }
            Expect::Drawing { right, choices } => {
                let gold = &choices[*right].1;
                for (_, other) in choices {
                    if (0..gold.height()).any(|y| {
                        (0..gold.width())
                            .any(|x| inside(x, y) && gold.get_pixel(x, y) != other.get_pixel(x, y))
                    }) {
                        list.push(("another drawing", fill(&|x, y| *other.get_pixel(x, y))));
                    }
                }
            }
        }
        for (how, color) in [("red place", [255, 0, 0]), ("black place", [0, 0, 0])] {
            let alike = match &slot.expect {
                Expect::Color { right, .. } => color_difference(*right, color) < 20.0,
                Expect::Drawing { .. } => false,
            };
            if !alike {
                list.push((how, fill(&|_, _| Rgb(color))));
            }
        }
        if list.len() > 40 {
            break;
        }
    }
    list
}

fn holds(area: &Area, x: f64, y: f64) -> bool {
    match area {
        Area::Disc { center, radius } => (x - center[0]).hypot(y - center[1]) <= *radius,
        Area::Rect([left, top, right, bottom]) => {
            (*left..*right).contains(&x) && (*top..*bottom).contains(&y)
        }
        Area::Polygon(points) => {
            let next = points.iter().cycle().skip(1);
            let crossed = points.iter().zip(next).filter(|(a, b)| {
                (a[1] > y) != (b[1] > y) && x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
            });
            crossed.count() % 2 == 1
        }
    }
}

#[test]
fn no_trick_passes() {
    each_case(1, |case| {
        for (at, (how, picture)) in adversarial(case).into_iter().enumerate() {
            let verdict = case.judge.judge(&picture);
            assert!(!verdict.correct, "{}, {how}: {verdict:#?}", case.name());
            assert!(
                verdict.score() <= 0.8,
                "{}, {how}: {verdict:#?}",
                case.name()
            );
            if at % 3 != 0 {
                continue;
            }
            let worse = jpeg(&picture, 75);
            let verdict = case.judge.judge(&worse);
            assert!(
                !verdict.correct,
                "{}, {how}, jpeg: {verdict:#?}",
                case.name()
            );
        }
    });
}

#[test]
fn any_legal_route_is_right_and_faults_are_named() {
    let task = find("maze_square").unwrap();
    let params = json!({"braid": 1.0, "print_ids": false, "rows": 11, "cols": 11});
    let mut detours = 0;
    for index in 0..12 {
        let case = Case::new(task, &params, index).unwrap();
        let PictureRule::Route(rule) = &case.rule else {
            panic!("a maze has a route")
        };
        let graph = case.record.graph.clone().unwrap();
        let draw = |ids: &[u32]| {
            let mut picture = case.puzzle.clone();
            for pair in ids.windows(2) {
                stroke(
                    &mut picture,
                    rule.centers[&pair[0]],
                    rule.centers[&pair[1]],
                    7.0,
                    RED,
                );
            }
            case.judge.judge(&picture)
        };
        let path = graph.shortest_path();
        let verdict = draw(&path);
        assert!(
            verdict.correct && verdict.parsed == Some(format!("{path:?}")),
            "{verdict:#?}"
        );
        if let Some(detour) = detour(&graph, &path) {
            detours += 1;
            let verdict = draw(&detour);
            assert!(
                verdict.correct && verdict.parsed == Some(format!("{detour:?}")),
                "{verdict:#?}"
            );
        }
        let short = &path[..path.len() - 2];
        let verdict = draw(short);
        let last = short[short.len() - 1];
        assert_eq!(
            verdict.reason,
            format!("the line ends in cell {last}, before the goal")
        );
        assert_eq!(verdict.outcome, Outcome::Wrong);
        let late = draw(&path[2..]);
        assert!(
            late.reason
                .contains("does not belong to any line that begins at the start"),
            "{late:?}"
        );
    }
    assert!(detours > 2);
}

/// A simple route other than the shortest, by depth-first search.
fn detour(graph: &vtb_puzzle::MazeGraph, short: &[u32]) -> Option<Vec<u32>> {
    fn go(
        graph: &vtb_puzzle::MazeGraph,
        path: &mut Vec<u32>,
        short: &[u32],
        budget: &mut u32,
    ) -> bool {
        let here = *path.last().unwrap();
        if here == graph.goal() {
            return path != short;
        }
        *budget = budget.saturating_sub(1);
        let around: Vec<_> = graph.neighbours(here).iter().rev().copied().collect();
        around.into_iter().any(|next| {
            if *budget == 0 || path.contains(&next) {
                return false;
            }
            path.push(next);
            let found = go(graph, path, short, budget);
            if !found {
                path.pop();
            }
            found
        })
    }
    let mut path = vec![graph.start()];
    go(graph, &mut path, short, &mut 20_000).then_some(path)
}

fn clip(case: &Case, frames: impl IntoIterator<Item = RgbImage>) -> vtb_puzzle::ClipVerdict {
    let judge =
        vtb_puzzle::PictureJudge::with_rule(&case.record, &case.puzzle, &case.solution, &case.rule);
    let mut judge = ClipJudge::with_judge(judge.unwrap());
    frames.into_iter().for_each(|frame| judge.push(&frame));
    judge.finish()
}

#[test]
fn own_clips_are_right_and_still_after_compression() {
    each_case(1, |case| {
        let frames = case.task.frames(&case.record, 17).unwrap();
        let verdict = clip(case, frames.clone());
        assert!(
            verdict.correct && verdict.frames == 17,
            "{}: {verdict:#?}",
            case.name()
        );
        assert!(verdict.progress > 0.94, "{}: {verdict:#?}", case.name());
        assert!(verdict.measures["camera_drift"] < 0.5, "{verdict:#?}");
        assert!(verdict.best_frame.unwrap().correct && verdict.best_at > 0);
        let poor = frames
            .iter()
            .map(|frame| jpeg(&scaled(frame, 0.75, FilterType::Triangle), 60));
        let verdict = clip(case, poor);
        assert!(verdict.correct, "{}: {verdict:#?}", case.name());
    });
}

#[test]
fn clips_that_do_not_get_there_or_cheat_on_the_way_are_not_right() {
    each_case(1, |case| {
        let frames = case.task.frames(&case.record, 12).unwrap();
        let name = case.name();
        let none = clip(case, []);
        assert_eq!((none.outcome, none.frames), (Outcome::Invalid, 0));
        let still = clip(case, vec![case.puzzle.clone(); 5]);
        assert_eq!(still.outcome, Outcome::Invalid, "{name}: {still:#?}");
        let back = frames.iter().rev().cloned();
        assert!(!clip(case, back).correct, "{name}: backwards");
        // The answer is there, and lost again in the end.
        let lost = clip(case, frames.iter().cloned().chain([case.puzzle.clone()]));
        assert!(
            !lost.correct && lost.best_frame.unwrap().correct && lost.best_at <= 11,
            "{name}"
        );
        let noisy = frames
            .iter()
            .cloned()
            .enumerate()
            .map(|(at, frame)| match at % 3 {
                1 => noise(frame.width(), frame.height(), at as u32),
                _ => frame,
            });
        let noisy = clip(case, noisy);
        assert!(!noisy.correct, "{name}: {noisy:#?}");
        let other = Case::new(case.task, &case.record.params, 77).unwrap();
        let cut = frames[..4]
            .iter()
            .cloned()
            .chain(other.task.frames(&other.record, 5).unwrap());
        assert!(!clip(case, cut).correct, "{name}: another puzzle");
    });
}

#[test]
fn answers_that_flicker_are_ambiguous() {
    let case = Case::new(find("midpoint").unwrap(), &Value::Null, 3).unwrap();
    let PictureRule::Marker(rule) = &case.rule else {
        panic!("candidates are markers")
    };
    let marked = |at: usize| {
        let mut picture = case.puzzle.clone();
        ring(&mut picture, rule.points[at], rule.radius, 4.0, RED);
        picture
    };
    let all = (0..rule.points.len()).flat_map(|at| [marked(at), marked(at)]);
    let verdict = clip(
        &case,
        all.chain([case.solution.clone(), case.solution.clone()]),
    );
    assert_eq!(verdict.outcome, Outcome::Ambiguous, "{verdict:#?}");
    assert!(verdict.final_frame.unwrap().correct);
}

#[test]
fn a_moving_camera_is_followed_and_reported() {
    let case = Case::new(
        find("maze_square").unwrap(),
        &json!({"print_ids": false}),
        5,
    )
    .unwrap();
    let frames = case.task.frames(&case.record, 13).unwrap();
    let moved = frames
        .iter()
        .enumerate()
        .map(|(at, frame)| shifted(frame, [at as i64, 0]));
    let verdict = clip(&case, moved);
    assert!(verdict.correct, "{verdict:#?}");
    let drift = verdict.measures["camera_drift"];
    assert!((11.0..13.5).contains(&drift), "{drift}");
}

fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

const FORMATS: [ImageFormat; 5] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::WebP,
    ImageFormat::Bmp,
    ImageFormat::Gif,
];

#[test]
fn files_of_five_formats_are_judged() {
    each_case(1, |case| {
        for format in FORMATS {
            let verdict = case.judge.judge_bytes(&encoded(&case.solution, format));
            assert!(verdict.correct, "{}, {format:?}: {verdict:#?}", case.name());
        }
    });
    let task = find("midpoint").unwrap();
    let made = Instance::generate(task, &Value::Null, 4).unwrap();
    let picture = made.draw(Layer::Solution).unwrap();
    assert!(task.judge_image(&made.record, &picture).correct);
    assert!(
        task.judge_image_bytes(&made.record, &encoded(&picture, ImageFormat::Png))
            .correct
    );
    let mut broken = made.record.clone();
    broken.scene = json!({});
    assert_eq!(
        task.judge_image(&broken, &picture).outcome,
        Outcome::Invalid
    );
    let mut foreign = made.record;
    foreign.options.clear();
    assert_eq!(
        task.judge_image(&foreign, &picture).outcome,
        Outcome::Invalid
    );
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |mut sum, byte| {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 * (sum & 1));
        }
        sum
    })
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut named = kind.to_vec();
    named.extend(data);
    let mut out = (data.len() as u32).to_be_bytes().to_vec();
    out.extend(&named);
    out.extend(crc(&named).to_be_bytes());
    out
}

#[test]
fn files_that_claim_too_much_or_are_no_still_pictures_are_refused() {
    let picture = RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8 * 6, y as u8 * 8, 90]));
    let refused = |bytes: &[u8], word: &str| {
        let fault = decode_picture(bytes).unwrap_err();
        assert!(fault.contains(word), "{fault}");
    };
    let side = 60_000u32.to_be_bytes();
    let mut png = encoded(&picture, ImageFormat::Png);
    let header = [&side[..], &side[..], &png[24..29]].concat();
    png.splice(8..33, chunk(b"IHDR", &header));
    refused(&png, "");
    let mut apng = encoded(&picture, ImageFormat::Png);
    apng.splice(33..33, chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]));
    refused(&apng, "animation");
    let mut bmp = encoded(&picture, ImageFormat::Bmp);
    bmp[18..26].copy_from_slice(&[0x60, 0xea, 0, 0, 0x60, 0xea, 0, 0]);
    refused(&bmp, "too many");
    let mut gif = encoded(&picture, ImageFormat::Gif);
    gif[6..10].copy_from_slice(&[0x60, 0xea, 0x60, 0xea]);
    refused(&gif, "too many");
    let mut two = Vec::new();
    {
        let mut encoder = image::codecs::gif::GifEncoder::new(&mut two);
        let frame = || image::Frame::new(image::DynamicImage::from(picture.clone()).into_rgba8());
        encoder.encode_frames([frame(), frame()]).unwrap();
    }
    refused(&two, "animation");
    let jpeg = encoded(&picture, ImageFormat::Jpeg);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    let mut large = jpeg.clone();
    large[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    refused(&large, "too many");
    let mut inks = jpeg.clone();
    inks[frame + 9] = 4;
    refused(&inks, "CMYK");
    refused(&[], "empty");
    refused(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no PNG");
    // What is cut off is refused, wherever the cut is; trailing marks some formats can do without.
    for format in FORMATS {
        let whole = encoded(&picture, format);
        assert!(decode_picture(&whole).is_ok());
        for cut in 0..whole.len() * 9 / 10 {
            assert!(
                decode_picture(&whole[..cut]).is_err(),
                "{format:?} cut at {cut}"
            );
        }
    }
}

fn small_case(at: usize) -> &'static Case {
    use std::sync::OnceLock;
    // A judge is made of plain data, but cases hold trait objects; one per thread is not needed.
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    let cases = CASES.get_or_init(|| {
        [
            ("color_grid", json!({"canvas": 96})),
            (
                "maze_square",
                json!({"rows": 5, "cols": 5, "cell": 18, "min_path": 3}),
            ),
            (
                "midpoint",
                json!({"width": 320, "height": 320, "candidates": 3}),
            ),
        ]
        .iter()
        .map(|(name, params)| Case::new(find(name).unwrap(), params, 1).unwrap())
        .collect()
    });
    &cases[at % cases.len()]
}

fn sane(verdict: &PictureVerdict) -> bool {
    let finite = verdict.measures.values().all(|value| value.is_finite());
    finite && !verdict.reason.is_empty() && verdict.correct == (verdict.outcome == Outcome::Correct)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0usize..3) {
        let verdict = small_case(at).judge.judge_bytes(&bytes);
        prop_assert!(sane(&verdict) && !verdict.correct);
    }

    #[test]
    fn damaged_files_never_panic(
        format in 0usize..5,
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        at in 0usize..3,
    ) {
        let case = small_case(at);
        let mut bytes = encoded(&case.puzzle, FORMATS[format]);
        for (place, value) in places {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let verdict = case.judge.judge_bytes(&bytes);
        prop_assert!(sane(&verdict));
    }

    #[test]
    fn arbitrary_pictures_never_panic(
        width in 0u32..70,
        height in 0u32..70,
        seed in any::<u32>(),
        kind in 0usize..4,
        at in 0usize..3,
    ) {
        let case = small_case(at);
        let picture = match kind {
            0 => noise(width, height, seed),
            1 => RgbImage::from_pixel(width, height, Rgb(seed.to_le_bytes()[..3].try_into().unwrap())),
            2 => image::imageops::crop_imm(&case.solution, seed % 40, seed / 64 % 40, width.max(1), height.max(1)).to_image(),
            _ => image::imageops::resize(&case.solution, width.max(1) * 3, height.max(1), FilterType::Nearest),
        };
        let verdict = case.judge.judge(&picture);
        prop_assert!(sane(&verdict));
        if kind < 2 {
            prop_assert!(!verdict.correct);
        }
    }
}
