//! No eyeballing task can be solved without measuring: labels are even, lazy rules stay at chance.
//!
//! Every registered task of the group is tested, by its scene alone: `candidates` holds the points
//! to choose from, and every other pair of numbers in the scene is taken for a point of the figure
//! (an anchor). `SHORTCUT_TASKS=incenter,reflection` restricts the suite to some tasks.
//!
//!     cargo test -p vtb-puzzle --test shortcuts -- --ignored --nocapture
//!
//! measures 2,000 puzzles (or `SHORTCUT_COUNT`) of every task, with callouts as well, and prints a
//! table.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use vtb_puzzle::{Layer, Puzzle, Record, TaskGroup, record_seed, registry};

/// Rules that ask for nothing less than the task itself: task, beginning of the rule's name, reason.
///
/// Only for rules whose pick follows from the definition of the answer. A rule that is merely
/// often right shows a fault of the generator.
const RULE_IS_THE_TASK: &[(&str, &str, &str)] = &[
    ("midpoint", "nearest to the mean of", MIDPOINT),
    ("midpoint", "farthest from the mean of", MIDPOINT),
    (
        "circle_tangent_point",
        "first by angle about /outside",
        TANGENT,
    ),
    (
        "circle_tangent_point",
        "middle by angle about /outside",
        TANGENT,
    ),
    (
        "circle_tangent_point",
        "last by angle about /outside",
        TANGENT,
    ),
    ("triangle_center", "nearest to the mean of", CENTROID),
    ("triangle_center", "farthest from the mean of", CENTROID),
];

const TANGENT: &str = "a tangent from a point touches where the circle ends as seen from there, on \
                       one of two sides";

const CENTROID: &str = "the mean of the corners is the point that is asked for";

const MIDPOINT: &str = "the mean of the two rings is the point that is asked for";

/// Puzzles per task, and per task and rule when a rule stood out.
const COUNTS: [u64; 2] = [500, 2_000];

type Point = [f64; 2];

fn gap(a: Point, b: Point) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn mean(points: &[Point]) -> Point {
    let count = points.len() as f64;
    [0, 1].map(|axis| points.iter().map(|point| point[axis]).sum::<f64>() / count)
}

fn tasks() -> impl Iterator<Item = &'static dyn Puzzle> {
    let only = std::env::var("SHORTCUT_TASKS").ok();
    let wanted = move |name: &str| {
        only.as_ref()
            .is_none_or(|names| names.split(',').any(|one| one == name))
    };
    registry()
        .iter()
        .copied()
        .filter(move |task| task.info().group == TaskGroup::Eyeballing && wanted(task.info().name))
}

/// Records of one block of parameters; another `base` gives fresh seeds.
fn records<'a>(
    task: &'a dyn Puzzle,
    params: &'a Value,
    base: u64,
    count: u64,
) -> impl Iterator<Item = Record> + 'a {
    let name = task.info().name;
    (0..count).map(move |index| {
        task.generate(params, record_seed(base, name, index))
            .unwrap_or_else(|fault| panic!("{name} {index}: {fault}"))
    })
}

/// What a lazy solver sees of a puzzle.
struct Sight {
    candidates: Vec<Point>,
    /// Name (place in the scene) and position.
    anchors: Vec<(String, Point)>,
    canvas_center: Point,
    /// Index of the right candidate.
    answer: usize,
}

impl Sight {
    fn of(record: &Record) -> Self {
        let task = &record.task;
        let list = record.scene["candidates"]
            .as_array()
            .unwrap_or_else(|| panic!("{task}: the scene has no list of candidates"));
        let point = |one: &Value| ["x", "y"].map(|key| one[key].as_f64().unwrap());
        let label = record.answer.to_string();
        let mut anchors = Vec::new();
        find_anchors(&record.scene, String::new(), &mut anchors);
        Self {
            candidates: list.iter().map(point).collect(),
            anchors,
            canvas_center: record.canvas.map(|side| f64::from(side) / 2.0),
            answer: list.iter().position(|one| one["label"] == label).unwrap(),
        }
    }

    /// The candidate with the least score.
    fn least(&self, score: impl Fn(Point) -> f64) -> usize {
        let scores: Vec<_> = self.candidates.iter().map(|&point| score(point)).collect();
        (0..scores.len())
            .min_by(|&a, &b| scores[a].total_cmp(&scores[b]))
            .unwrap()
    }

    /// Candidates as seen from `anchor`, from left to right.
    fn sweep(&self, anchor: Point) -> Vec<usize> {
        let middle = mean(&self.candidates);
        let ahead = [middle[0] - anchor[0], middle[1] - anchor[1]];
        let angle = |at: &usize| {
            let [x, y] = [0, 1].map(|axis| self.candidates[*at][axis] - anchor[axis]);
            (ahead[0] * y - ahead[1] * x).atan2(ahead[0] * x + ahead[1] * y)
        };
        let mut order: Vec<_> = (0..self.candidates.len()).collect();
        order.sort_by(|a, b| angle(a).total_cmp(&angle(b)));
        order
    }

    /// Every rule's name and pick.
    fn picks(&self) -> Vec<(String, usize)> {
        let mut picks = self.cluster_picks();
        let points: Vec<_> = self.anchors.iter().map(|anchor| anchor.1).collect();
        let mut add =
            |rule: &str, anchor: &str, pick| picks.push((format!("{rule} {anchor}"), pick));
        if points.len() > 1 {
            let middle = mean(&points);
            add(
                "nearest to",
                "the mean of anchors",
                self.least(|point| gap(point, middle)),
            );
            add(
                "farthest from",
                "the mean of anchors",
                self.least(|point| -gap(point, middle)),
            );
        }
        for (name, anchor) in &self.anchors {
            add("nearest to", name, self.least(|point| gap(point, *anchor)));
            add(
                "farthest from",
                name,
                self.least(|point| -gap(point, *anchor)),
            );
            for (axis, rule) in ["same x as", "same y as"].into_iter().enumerate() {
                add(
                    rule,
                    name,
                    self.least(|point| (point[axis] - anchor[axis]).abs()),
                );
            }
            let order = self.sweep(*anchor);
            add("first by angle about", name, order[0]);
            add("middle by angle about", name, order[(order.len() - 1) / 2]);
            add("last by angle about", name, order[order.len() - 1]);
        }
        picks
    }

    /// Rules that look at nothing but the candidates.
    fn cluster_picks(&self) -> Vec<(String, usize)> {
        let middle = mean(&self.candidates);
        let to_rest = |point: Point| self.candidates.iter().map(|&other| gap(point, other)).sum();
        let to_two = |point: Point| {
            let mut gaps: Vec<_> = self.candidates.iter().map(|&one| gap(point, one)).collect();
            gaps.sort_by(f64::total_cmp);
            // The first is its own.
            (gaps[1] + gaps[2]) / 2.0
        };
        let labels = (0..self.candidates.len()).map(|at| (format!("label {at}"), at));
        let others = [
            ("medoid", self.least(to_rest)),
            ("outlier", self.least(|point| -to_rest(point))),
            ("least mean of the two nearest", self.least(to_two)),
            (
                "greatest mean of the two nearest",
                self.least(|point| -to_two(point)),
            ),
            (
                "nearest to the mean",
                self.least(|point| gap(point, middle)),
            ),
            (
                "nearest to the picture's centre",
                self.least(|point| gap(point, self.canvas_center)),
            ),
            (
                "farthest from the picture's centre",
                self.least(|point| -gap(point, self.canvas_center)),
            ),
            ("leftmost", self.least(|point| point[0])),
            ("topmost", self.least(|point| point[1])),
        ];
        labels
            .chain(others.map(|(rule, pick)| (rule.to_owned(), pick)))
            .collect()
    }

    /// The candidate with most reddish pixels about it in the picture of the question.
    fn reddest(&self, task: &dyn Puzzle, record: &Record) -> usize {
        let picture = task.draw(record, Layer::Puzzle).unwrap();
        let reach = 2.0 * record.params["marker_radius"].as_f64().unwrap_or(10.0);
        self.least(|center| {
            let [x0, y0] = center.map(|at| (at - reach).max(0.0) as u32);
            let [x1, y1] = [0, 1]
                .map(|axis| ((center[axis] + reach).max(0.0) as u32).min(record.canvas[axis]));
            let reddish = |x: u32, y: u32| {
                let [red, green, blue] = picture.get_pixel(x, y).0.map(i32::from);
                red > green + 60 && red > blue + 60
            };
            let count: usize = (y0..y1)
                .map(|y| (x0..x1).filter(|&x| reddish(x, y)).count())
                .sum();
            -(count as f64)
        })
    }
}

/// All pairs of numbers outside `candidates`.
fn find_anchors(value: &Value, path: String, found: &mut Vec<(String, Point)>) {
    match value {
        Value::Object(map) => {
            for (key, item) in map.iter().filter(|(key, _)| *key != "candidates") {
                find_anchors(item, format!("{path}/{key}"), found);
            }
        }
        Value::Array(items) => match items.as_slice() {
            [Value::Number(x), Value::Number(y)] => {
                found.push((path, [x, y].map(|number| number.as_f64().unwrap())));
            }
            _ => {
                for (at, item) in items.iter().enumerate() {
                    find_anchors(item, format!("{path}/{at}"), found);
                }
            }
        },
        _ => {}
    }
}

/// How often a rule was right, and how often a guess would have been.
#[derive(Default)]
struct Score {
    tried: u64,
    right: f64,
    expected: f64,
    variance: f64,
}

impl Score {
    fn count(&mut self, right: bool, chance: f64) {
        self.tried += 1;
        self.right += f64::from(u8::from(right));
        self.expected += chance;
        self.variance += chance * (1.0 - chance);
    }

    /// How far from chance, in standard deviations.
    fn sigma(&self) -> f64 {
        (self.right - self.expected) / self.variance.sqrt()
    }

    fn is_chance(&self) -> bool {
        self.sigma().abs() <= 3.0
    }
}

const REDDEST: &str = "largest red";

/// Scores of all rules on `count` puzzles; pictures are drawn only if `red` is asked for.
fn scores(
    task: &dyn Puzzle,
    params: &Value,
    base: u64,
    count: u64,
    red: bool,
) -> BTreeMap<String, Score> {
    let mut scores = BTreeMap::<String, Score>::new();
    for record in records(task, params, base, count) {
        let sight = Sight::of(&record);
        let mut picks = sight.picks();
        if red {
            picks.push((REDDEST.to_owned(), sight.reddest(task, &record)));
        }
        for (rule, pick) in picks {
            let score = scores.entry(rule).or_default();
            score.count(pick == sight.answer, record.chance());
        }
    }
    let is_task = |rule: &str| {
        let name = task.info().name;
        let mut skips = RULE_IS_THE_TASK.iter();
        skips.any(|(of, start, _)| *of == name && rule.starts_with(start))
    };
    scores.retain(|rule, _| !is_task(rule));
    scores
}

/// Some of the thousand rules stand out by three sigma by chance alone. Such a rule is tried again
/// on four times as many fresh puzzles, and only a rule that stands out there as well has found
/// something: for one at chance that happens once in 140,000.
#[test]
fn no_lazy_rule_solves_a_task() {
    let mut faults = Vec::new();
    for task in tasks() {
        let mut suspects = scores(task, &Value::Null, 501, COUNTS[0], true);
        suspects.retain(|_, score| !score.is_chance());
        if suspects.is_empty() {
            continue;
        }
        let red = suspects.contains_key(REDDEST);
        let again = scores(task, &Value::Null, 502, COUNTS[1], red);
        for (rule, score) in again {
            if suspects.contains_key(&rule) && !score.is_chance() {
                faults.push(format!(
                    "{}: `{rule}` is right in {} of {}, a guess in {:.0}",
                    task.info().name,
                    score.right,
                    score.tried,
                    score.expected
                ));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The line of a task in the table: what stands out most of all rules on `count` puzzles; and the
/// rules that do so by three sigma there and again on 10,000 fresh puzzles.
fn measure(task: &dyn Puzzle, params: &Value, count: u64) -> (String, Vec<String>) {
    let name = task.info().name;
    let found = scores(task, params, 601, count, true);
    let told = |rule: &str, score: &Score| {
        let (sigma, share) = (score.sigma(), 100.0 * score.right / score.tried as f64);
        format!("{share:.1} % ({sigma:+.1} sigma) `{rule}`")
    };
    let by_sigma = |one: &(&String, &Score), other: &(&String, &Score)| {
        one.1.sigma().total_cmp(&other.1.sigma())
    };
    let [low, high] = [
        found.iter().min_by(by_sigma).unwrap(),
        found.iter().max_by(by_sigma).unwrap(),
    ];
    let extremes = [low, high].map(|(rule, score)| told(rule, score));
    let mut line = format!(
        "| `{name}` {params} | {} | {} |",
        found.len(),
        extremes.join(" | ")
    );
    let suspects: Vec<_> = found.iter().filter(|one| !one.1.is_chance()).collect();
    let mut faults = Vec::new();
    if !suspects.is_empty() {
        let again = scores(
            task,
            params,
            602,
            10_000,
            suspects.iter().any(|one| one.0 == REDDEST),
        );
        for (rule, _) in suspects {
            let score = &again[rule];
            line += &format!("\n|   again | 10,000 puzzles | {} | |", told(rule, score));
            if !score.is_chance() {
                faults.push(format!("{name} {params}: {}", told(rule, score)));
            }
        }
    }
    (line, faults)
}

/// One rule of four hundred stands out by three sigma by chance; it is tried again on five times as
/// many fresh puzzles.
#[test]
#[ignore = "takes minutes; the suite at 500 puzzles runs always"]
fn no_lazy_rule_solves_a_task_in_two_thousand() {
    let tasks: Vec<_> = tasks().collect();
    let blocks = [Value::Null, json!({"callouts": true})];
    let jobs: Vec<_> = blocks
        .iter()
        .flat_map(|params| tasks.iter().map(move |task| (*task, params)))
        .collect();
    let count = std::env::var("SHORTCUT_COUNT").map_or(COUNTS[1], |count| count.parse().unwrap());
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    println!("| task | rules | least | most |\n|---|---|---|---|");
    let work = || {
        while let Some((task, params)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (line, found) = measure(*task, params, count);
            println!("{line}");
            faults.lock().unwrap().extend(found);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
    std::thread::scope(|scope| {
        (0..cores).for_each(|_| {
            scope.spawn(work);
        });
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Upper 1 % points of chi square by degrees of freedom.
const CRITICAL: [f64; 9] = [0.0, 6.63, 9.21, 11.34, 13.28, 15.09, 16.81, 18.48, 20.09];

/// Labels of the answers of 5,000 records, or a sentence on why they are not even.
fn label_fault(task: &dyn Puzzle, base: u64) -> Option<String> {
    let mut counts = BTreeMap::<String, f64>::new();
    for record in records(task, &Value::Null, base, 5_000) {
        for option in &record.options {
            counts.entry(option.clone()).or_default();
        }
        *counts.entry(record.answer.to_string()).or_default() += 1.0;
    }
    let even = counts.values().sum::<f64>() / counts.len() as f64;
    let statistic: f64 = counts
        .values()
        .map(|count| (count - even).powi(2) / even)
        .sum();
    let name = task.info().name;
    (statistic >= CRITICAL[counts.len() - 1])
        .then(|| format!("{name}: chi square {statistic:.1}, answers {counts:?}"))
}

/// One task of a hundred stands out by chance alone; that one is tried again on fresh seeds.
#[test]
fn labels_are_even() {
    let faults: Vec<_> = tasks()
        .filter(|task| label_fault(*task, 503).is_some())
        .filter_map(|task| label_fault(task, 504))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn skips_name_tasks_and_give_reasons() {
    for (task, rule, reason) in RULE_IS_THE_TASK {
        let known = registry().iter().any(|one| one.info().name == *task);
        assert!(
            known && !rule.is_empty() && reason.len() > 20,
            "{task}: {rule}"
        );
    }
}
