//! Solution clips as they are generated, through a real file and back, before their judges.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use common::{data_set, read_all};
use image::{Rgb, RgbImage};
use rayon::prelude::*;
use vtb_data::generate::{ClipSettings, ParamLayers, Request};
use vtb_data::video::{ReadOptions, VideoReader, VideoSettings, encode_mp4};
use vtb_puzzle::judge::{Area, Expect, MarkerRule, RouteRule, SlotRule};
use vtb_puzzle::{
    ClipJudge, ClipVerdict, Layer, Outcome, PictureRule, Puzzle, Record, find, registry,
};

/// Two records of each of these tasks, with clips; as large as the defaults say, or so large.
fn with_clips(tasks: &[&'static dyn Puzzle], side: Option<u32>, frames: usize) -> Request {
    let mut params = ParamLayers::new(tasks);
    params.canvas(side, None).unwrap();
    let usual = ClipSettings::default();
    Request {
        tasks: tasks.to_vec(),
        params: params.finish(),
        count: 2,
        seed: 31,
        video: Some(ClipSettings { frames, ..usual }),
        splits: None,
        held_out: BTreeSet::new(),
    }
}

/// A puzzle, its pictures, and its clip as it reads from the file.
struct Case {
    task: &'static dyn Puzzle,
    record: Record,
    puzzle: RgbImage,
    clip: Vec<RgbImage>,
}

impl Case {
    fn judge(&self, frames: &[RgbImage]) -> ClipVerdict {
        let mut judge = ClipJudge::new(self.task, &self.record).unwrap();
        frames.iter().for_each(|frame| judge.push(frame));
        judge.finish()
    }

    /// The verdict on frames that went through a file.
    fn judge_coded(&self, frames: &[&RgbImage]) -> ClipVerdict {
        let bytes = encode_mp4(frames.iter().copied(), VideoSettings::default()).unwrap();
        let reader = VideoReader::from_bytes(bytes, ReadOptions::default()).unwrap();
        self.judge(&reader.collect_frames().unwrap())
    }
}

/// Both records of each task.
fn cases(request: &Request) -> Vec<[Case; 2]> {
    let dir = tempfile::tempdir().unwrap();
    let entries = read_all(&data_set(request, dir.path()));
    let frames = request.video.unwrap().frames;
    let mut cases = entries.into_iter().map(|entry| {
        let record = *entry.record.unwrap();
        let task = find(&record.task).unwrap();
        let video = entry.video.unwrap();
        let reader = VideoReader::open(&video.file.path).unwrap();
        let [width, height] = record.canvas.map(|side| side.next_multiple_of(2));
        let info = reader.info();
        assert_eq!((info.width, info.height), (width, height));
        assert_eq!((info.frame_count, info.fps), (frames, 16.0));
        Case {
            puzzle: task.draw(&record, Layer::Puzzle).unwrap(),
            clip: reader.collect_frames().unwrap(),
            task,
            record,
        }
    });
    let mut pairs = Vec::new();
    while let (Some(a), Some(b)) = (cases.next(), cases.next()) {
        assert_eq!(a.record.task, b.record.task);
        pairs.push([a, b]);
    }
    assert_eq!(pairs.len(), request.tasks.len());
    pairs
}

/// Every task in pictures as small as leaves room for all candidates.
static SMALL: LazyLock<Vec<[Case; 2]>> =
    LazyLock::new(|| cases(&with_clips(registry(), Some(480), 5)));

/// Names everything that fails, not just the first.
fn check(cases: &[[Case; 2]], check: impl Fn(&[Case; 2]) -> Vec<String> + Sync + Send) {
    let failed: Vec<_> = cases.par_iter().flat_map_iter(check).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn own_clip_is_right([case, _]: &[Case; 2]) -> Vec<String> {
    let verdict = case.judge(&case.clip);
    let right = verdict.correct && verdict.frames == case.clip.len() && verdict.progress > 0.9;
    let told = || format!("{}: {verdict:#?}", case.record.task);
    (!right).then(told).into_iter().collect()
}

#[test]
fn every_task_s_own_clip_is_right_after_h264() {
    check(&SMALL, own_clip_is_right);
}

#[test]
fn so_it_is_at_full_size() {
    let names = ["circle_center", "maze_labyrinth", "jigsaw"];
    let tasks = names.map(|name| find(name).unwrap());
    check(&cases(&with_clips(&tasks, None, 17)), own_clip_is_right);
}

/// Clips that must not pass: name, frames, and the outcome where it is sure.
fn cheats<'a>(
    [case, other]: &'a [Case; 2],
    wrong: &'a [(&'static str, RgbImage)],
) -> Vec<(&'static str, Vec<&'a RgbImage>, Option<Outcome>)> {
    let (puzzle, clip) = (&case.puzzle, &case.clip);
    let own = || clip.iter();
    let mut list = vec![
        ("the puzzle alone", vec![puzzle; 2], Some(Outcome::Invalid)),
        ("backwards", own().rev().collect(), None),
        ("taken back", own().chain([puzzle]).collect(), None),
        ("another puzzle's", other.clip.iter().collect(), None),
        (
            "another puzzle's end",
            own().take(2).chain(&other.clip[3..]).collect(),
            None,
        ),
    ];
    for (how, end) in wrong {
        list.push((how, vec![puzzle, end], None));
        // It does not help that the right answer was there before.
        list.push((how, own().skip(2).chain([end, end]).collect(), None));
    }
    list
}

/// Pictures that a wrong clip may end with.
fn wrong_ends(case: &Case) -> Vec<(&'static str, RgbImage)> {
    let half = || case.task.draw(&case.record, Layer::Growing(0.5)).unwrap();
    match case.task.picture_rule(&case.record).unwrap() {
        PictureRule::Marker(rule) => vec![("a wrong marker", wrong_marker(case, &rule))],
        PictureRule::Route(rule) => vec![
            ("half the way", half()),
            ("through the walls", through_walls(case, &rule)),
        ],
        PictureRule::Slots(rule) => {
            let wrong = wrong_filling(case, &rule);
            vec![("a wrong filling", wrong)]
        }
    }
}

const RED: Rgb<u8> = Rgb([220, 30, 30]);

fn painted(from: &RgbImage, color: impl Fn(f64, f64, Rgb<u8>) -> Rgb<u8>) -> RgbImage {
    let at = |x: u32| f64::from(x) + 0.5;
    RgbImage::from_fn(from.width(), from.height(), |x, y| {
        color(at(x), at(y), *from.get_pixel(x, y))
    })
}

/// The marker behind the answer's gets the red outline.
fn wrong_marker(case: &Case, rule: &MarkerRule) -> RgbImage {
    let gold = case.record.answer.to_string();
    let options = &case.record.options;
    let answer = options.iter().position(|option| *option == gold).unwrap();
    let [cx, cy] = rule.points[(answer + 1) % rule.points.len()];
    painted(&case.puzzle, |x, y, before| {
        let away = (x - cx).hypot(y - cy);
        match (0.6 * rule.radius..=rule.radius).contains(&away) {
            true => RED,
            false => before,
        }
    })
}

/// A straight line from start to goal.
fn through_walls(case: &Case, rule: &RouteRule) -> RgbImage {
    let graph = case.record.graph.as_ref().unwrap();
    let [a, b] = [graph.start(), graph.goal()].map(|id| rule.centers[&id]);
    let along = [b[0] - a[0], b[1] - a[1]];
    let length = along[0] * along[0] + along[1] * along[1];
    painted(&case.puzzle, |x, y, before| {
        let at = [x - a[0], y - a[1]];
        let share = (at[0] * along[0] + at[1] * along[1]) / length;
        let away = (at[0] - share * along[0]).hypot(at[1] - share * along[1]);
        match (0.0..=1.0).contains(&share) && away < 3.0 {
            true => RED,
            false => before,
        }
    })
}

/// The solution, but for one place that shows something else.
fn wrong_filling(case: &Case, rule: &SlotRule) -> RgbImage {
    let solution = case.task.draw(&case.record, Layer::Solution).unwrap();
    let places = rule.slots.iter();
    let filled = places.filter_map(|slot| match &slot.expect {
        Expect::Color { others, .. } => {
            let other = Rgb(*others.first()?);
            Some(painted(&solution, |x, y, before| {
                if holds(&slot.area, x, y) {
                    other
                } else {
                    before
                }
            }))
        }
        Expect::Drawing { right, choices } => {
            let (_, other) = choices.iter().enumerate().find(|(at, _)| at != right)?.1;
            Some(painted(&solution, |x, y, before| {
                match holds(&slot.area, x, y) {
                    true => *other.get_pixel(x as u32, y as u32),
                    false => before,
                }
            }))
        }
    });
    let mut wrong = filled.filter(|picture| *picture != solution);
    wrong.next().expect("some place can be filled otherwise")
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
fn no_clip_that_cheats_is_right_after_h264() {
    check(&SMALL, |pair| {
        let case = &pair[0];
        let wrong = wrong_ends(case);
        let mut failed = Vec::new();
        for (how, frames, outcome) in cheats(pair, &wrong) {
            let verdict = case.judge_coded(&frames);
            let caught = !verdict.correct && outcome.is_none_or(|o| o == verdict.outcome);
            if !caught {
                failed.push(format!("{}, {how}: {verdict:#?}", case.record.task));
            }
        }
        failed
    });
}
