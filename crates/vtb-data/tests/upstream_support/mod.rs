//! The recorded material of the two Python projects, and brushes to cheat with.

#![allow(clippy::unwrap_used, reason = "tests")]

pub(crate) mod cases;
pub(crate) mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;
use vtb_data::manifest::{Manifest, ManifestEntry};
use vtb_puzzle::answer::AnswerPolicy;
use vtb_puzzle::judge::decode_picture;
use vtb_puzzle::{
    Answer, MazeGraph, PathRules, PictureJudge, PictureVerdict, Question, TaskGroup, Verdict,
    judge_question,
};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/upstream");

/// A folder of the recorded material, or word that it is not there.
#[allow(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn recorded(folder: &str) -> Option<PathBuf> {
    let place = Path::new(RECORDED).join(folder);
    if !place.is_dir() {
        println!("skipped: the recorded data is not here ({folder})");
        return None;
    }
    Some(place)
}

/// The trees of records, and how many records each has.
pub(crate) const TREES: [(&str, usize); 4] = [
    ("dataset", 78),
    ("video_dataset", 4),
    ("variants/cell_ids", 6),
    ("newer_layout", 8),
];

/// Every entry of every tree.
pub(crate) fn entries() -> Option<Vec<ManifestEntry>> {
    let mut all = Vec::new();
    for (folder, _) in TREES {
        let manifest = Manifest::open_upstream(recorded(folder)?, false).unwrap();
        all.extend(manifest.iter().map(Result::unwrap));
    }
    Some(all)
}

/// A puzzle whose pictures can be judged.
pub(crate) struct Pictured {
    pub(crate) entry: ManifestEntry,
    pub(crate) judge: PictureJudge,
    pub(crate) puzzle: RgbImage,
    pub(crate) solution: RgbImage,
}

impl Pictured {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.entry.task, self.entry.id)
    }

    /// Centres of the markers in the order of the options; none where there are no markers.
    pub(crate) fn markers(&self) -> Vec<[f64; 2]> {
        let fields = self.entry.foreign.as_ref().unwrap().fields().unwrap();
        let Some(Value::Array(candidates)) = fields.get("candidates") else {
            return Vec::new();
        };
        let number = |at: &Value, axis: &str| at[axis].as_f64().unwrap();
        let mut found: Vec<_> = candidates
            .iter()
            .map(|at| {
                (
                    at["label"].as_str().unwrap(),
                    [number(at, "x"), number(at, "y")],
                )
            })
            .collect();
        found.sort_by(|a, b| a.0.cmp(b.0));
        found.into_iter().map(|(_, point)| point).collect()
    }

    /// Place of the answer among the options.
    pub(crate) fn answer(&self) -> usize {
        let gold = self.entry.answer.to_string();
        let mut options = self.entry.options.iter();
        options.position(|option| *option == gold).unwrap()
    }
}

/// All tasks that are answered in text only.
pub(crate) const TEXT_ONLY: [&str; 4] = ["circle_count", "color_grid", "rects", "size_cycle"];

/// Every puzzle with its judge, made once for all tests.
pub(crate) fn pictured() -> Option<&'static [Pictured]> {
    static ALL: OnceLock<Option<Vec<Pictured>>> = OnceLock::new();
    ALL.get_or_init(load_pictured).as_deref()
}

fn load_pictured() -> Option<Vec<Pictured>> {
    let all = entries()?.into_iter();
    let judged = all.filter(|entry| !TEXT_ONLY.contains(&entry.task.as_str()));
    let load = |entry: ManifestEntry| Pictured {
        judge: entry.picture_judge().unwrap(),
        puzzle: picture(&entry.puzzle.path),
        solution: picture(&entry.solution.as_ref().unwrap().path),
        entry,
    };
    Some(judged.map(load).collect())
}

pub(crate) fn picture(path: &Path) -> RgbImage {
    decode_picture(&std::fs::read(path).unwrap()).unwrap()
}

/// Judges text answers to an entry.
pub(crate) struct Texts {
    pub(crate) answer: Answer,
    pub(crate) options: Vec<String>,
    pub(crate) graph: Option<MazeGraph>,
}

impl Texts {
    pub(crate) fn of(entry: &ManifestEntry) -> Self {
        Self {
            answer: entry.answer.clone(),
            options: entry.options.clone(),
            graph: entry.maze_graph().unwrap(),
        }
    }

    pub(crate) fn judge(&self, text: &str) -> Verdict {
        let question = Question {
            answer: &self.answer,
            options: &self.options,
            options_listed: false,
            graph: self.graph.as_ref(),
            path_rules: PathRules::default(),
        };
        judge_question(&question, text, &AnswerPolicy::default())
    }
}

/// One drawn answer to a maze.
pub(crate) struct Drawn {
    pub(crate) puzzle: String,
    pub(crate) task: String,
    pub(crate) group: String,
    pub(crate) variant: String,
    /// What it was meant to be: right, wrong, or either.
    pub(crate) intent: Option<bool>,
    pub(crate) upstream: bool,
    pub(crate) ours: PictureVerdict,
}

impl Drawn {
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.puzzle, self.variant)
    }
}

/// The recorded mazes laid out as a tree that can be opened.
fn maze_tree(place: &Path) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for kind in ["maze_square", "maze_hexagon", "maze_labyrinth"] {
        let task = dir.path().join(kind);
        std::fs::create_dir_all(task.join("puzzles")).unwrap();
        let records = place.join(kind).with_extension("json");
        std::fs::copy(records, task.join("data.json")).unwrap();
        for picture in place.join("puzzles").read_dir().unwrap() {
            let picture = picture.unwrap();
            let copy = task.join("puzzles").join(picture.file_name());
            std::fs::copy(picture.path(), copy).unwrap();
        }
    }
    dir
}

/// All answers that were drawn on mazes, judged once for all tests.
pub(crate) fn drawn() -> Option<&'static [Drawn]> {
    static ALL: OnceLock<Option<Vec<Drawn>>> = OnceLock::new();
    ALL.get_or_init(judge_drawn).as_deref()
}

fn judge_drawn() -> Option<Vec<Drawn>> {
    let place = recorded("maze_verdicts")?;
    let tree = maze_tree(&place);
    let manifest = Manifest::open_upstream(tree.path(), false).unwrap();
    let judge = |at| {
        (
            manifest.entry(at).unwrap().id,
            manifest.picture_judge(at).unwrap(),
        )
    };
    let judges: BTreeMap<String, PictureJudge> = (0..manifest.len()).map(judge).collect();
    let text = std::fs::read_to_string(place.join("verdicts.jsonl")).unwrap();
    let read = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| row[field].as_str().unwrap().to_owned();
        let bytes = std::fs::read(place.join(text("candidate"))).unwrap();
        Drawn {
            ours: judges[&text("puzzle")].judge_bytes(&bytes),
            puzzle: text("puzzle"),
            task: text("maze_type"),
            group: text("group"),
            variant: text("variant"),
            intent: match text("intent").as_str() {
                "pass" => Some(true),
                "fail" => Some(false),
                _ => None,
            },
            upstream: row["upstream_pass"].as_bool().unwrap(),
        }
    };
    Some(text.lines().map(read).collect())
}

pub(crate) const RED: [u8; 3] = [220, 30, 30];

/// A red ring about each of the points.
pub(crate) fn ringed(picture: &RgbImage, points: &[[f64; 2]]) -> RgbImage {
    let mut out = picture.clone();
    for (x, y, pixel) in out.enumerate_pixels_mut() {
        let at = |center: &[f64; 2]| {
            (f64::from(x) + 0.5 - center[0]).hypot(f64::from(y) + 0.5 - center[1])
        };
        if points
            .iter()
            .any(|center| (6.0..=10.0).contains(&at(center)))
        {
            *pixel = Rgb(RED);
        }
    }
    out
}

/// A red line of three pixels.
pub(crate) fn lined(picture: &RgbImage, from: [f64; 2], to: [f64; 2]) -> RgbImage {
    let mut out = picture.clone();
    let along = [to[0] - from[0], to[1] - from[1]];
    let length = (along[0] * along[0] + along[1] * along[1]).max(1e-9);
    for (x, y, pixel) in out.enumerate_pixels_mut() {
        let at = [f64::from(x) + 0.5 - from[0], f64::from(y) + 0.5 - from[1]];
        let share = ((at[0] * along[0] + at[1] * along[1]) / length).clamp(0.0, 1.0);
        let off = [at[0] - share * along[0], at[1] - share * along[1]];
        if off[0].hypot(off[1]) <= 1.5 {
            *pixel = Rgb(RED);
        }
    }
    out
}

/// Everything that is not dark made red.
pub(crate) fn flooded(picture: &RgbImage) -> RgbImage {
    let mut out = picture.clone();
    for pixel in out.pixels_mut() {
        if pixel.0.iter().any(|channel| *channel > 80) {
            *pixel = Rgb(RED);
        }
    }
    out
}

pub(crate) fn jpeg(picture: &RgbImage, quality: u8) -> RgbImage {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode_image(picture)
        .unwrap();
    decode_picture(&bytes).unwrap()
}

/// The older rule for markers, by its description: the candidate nearest to the mean of all red.
pub(crate) fn nearest_to_mean_red(picture: &RgbImage, markers: &[[f64; 2]]) -> Option<usize> {
    let is_red = |[red, green, blue]: [u8; 3]| {
        let other = green.max(blue);
        red >= 140 && red >= other.saturating_add(40) && other <= 130
    };
    let (mut sum, mut count) = ([0.0; 2], 0.0);
    for (x, y, _) in picture.enumerate_pixels().filter(|at| is_red(at.2.0)) {
        sum = [sum[0] + f64::from(x), sum[1] + f64::from(y)];
        count += 1.0;
    }
    let mean = sum.map(|part| part / count);
    let away = |at: &usize| (markers[*at][0] - mean[0]).hypot(markers[*at][1] - mean[1]);
    let nearest = (0..markers.len()).min_by(|a, b| away(a).total_cmp(&away(b)));
    nearest.filter(|_| count >= 20.0)
}

/// The cases of a family of tasks.
pub(crate) fn of_group(cases: &[Pictured], group: TaskGroup) -> impl Iterator<Item = &Pictured> {
    cases.iter().filter(move |case| case.entry.group == group)
}
