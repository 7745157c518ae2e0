//! A record as the Python projects write it, for the tools that read theirs.

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use vtb_puzzle::eyeballing::{Candidate, EyeballingParams};
use vtb_puzzle::{Answer, Record, TaskGroup};

use crate::manifest::AssetRefs;

/// One element of `data.json`. Which fields stand there depends on the family of the task.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    task_type: &'a str,
    task_group: TaskGroup,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<&'a str>,
    seed: u64,
    scene_hash: &'a str,
    prompt: &'a str,
    gpt5_prompt: &'a str,
    ti2v_prompt: &'a str,
    ti2i_prompt: &'a str,
    ti2t_prompt: &'a str,
    ti2ti_prompt: &'a str,
    ti2t_answer: &'a str,
    ti2ti_answer: Both<'a>,
    canvas_dimensions: [u32; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<Vec<Candidate>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    point_radius: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_width: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correct_option: Option<&'a Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    solution_path_cell_ids: Option<&'a Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'a Answer>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    options: &'a [String],
    image: &'a str,
    reasoning_image: &'a str,
    solution_image_path: &'a str,
    solution_video_path: Option<&'a str>,
    video_fps: Option<Number>,
    video_num_frames: Option<u64>,
}

#[derive(Serialize)]
struct Both<'a> {
    text: &'a str,
    image: &'a str,
}

/// The element of `data.json` for a record, on one line.
pub(super) fn upstream_row(
    record: &Record,
    split: Option<&str>,
    assets: &AssetRefs,
) -> serde_json::Result<String> {
    let gold = record.gold_text();
    // Paths start at the folder of `data.json`, which is the task's.
    let inside = |path: &'_ str| match path.split_once('/') {
        Some((_, rest)) => rest.to_owned(),
        None => path.to_owned(),
    };
    let puzzle = inside(&assets.puzzle.path);
    let solution = inside(&assets.solution.path);
    let video = assets.video.as_ref().map(|video| inside(&video.path));
    let is_path = matches!(record.answer, Answer::Path(_));
    let eyeballing = record.group == TaskGroup::Eyeballing;
    let answer = |here: bool| here.then_some(&record.answer);
    let param = |name| record.params.get(name).and_then(number);
    let prompts = &record.prompts;
    serde_json::to_string(&Row {
        id: &record.id,
        task_type: &record.task,
        task_group: record.group,
        split,
        seed: record.seed,
        scene_hash: &record.scene_hash,
        prompt: &prompts.video,
        gpt5_prompt: &prompts.text,
        ti2v_prompt: &prompts.video,
        ti2i_prompt: &prompts.image,
        ti2t_prompt: &prompts.text,
        ti2ti_prompt: &prompts.text_image,
        ti2t_answer: &gold,
        ti2ti_answer: Both {
            text: &gold,
            image: &solution,
        },
        canvas_dimensions: record.canvas,
        candidates: candidates(&record.scene),
        point_radius: point_radius(record).filter(|_| eyeballing),
        line_width: param("line_width").filter(|_| eyeballing),
        correct_option: answer(eyeballing && !is_path),
        solution_path_cell_ids: answer(is_path),
        answer: answer(!eyeballing && !is_path),
        options: &record.options,
        image: &puzzle,
        reasoning_image: &puzzle,
        solution_image_path: &solution,
        solution_video_path: video.as_deref(),
        video_fps: assets.video.as_ref().and_then(|video| whole(video.fps)),
        video_num_frames: assets.video.as_ref().map(|video| video.frames),
    })
}

/// Radius of what marks a candidate; with callouts that is a dot.
fn point_radius(record: &Record) -> Option<Number> {
    let params = EyeballingParams::deserialize(&record.params).ok()?;
    whole(params.disc_radius())
}

fn candidates(scene: &Value) -> Option<Vec<Candidate>> {
    Vec::deserialize(scene.get("candidates")?).ok()
}

fn number(value: &Value) -> Option<Number> {
    whole(value.as_f64()?)
}

/// A number without a point where it has no fraction.
fn whole(value: f64) -> Option<Number> {
    match value.fract() == 0.0 && (0.0..1e15).contains(&value) {
        true => Some(Number::from(value as u64)),
        false => Number::from_f64(value),
    }
}
