//! A puzzle of your own, from its geometry to training files: which of several bars is the tallest?
//!
//! ```text
//! cargo run --release --example custom_puzzle -- data/tallest_bar
//! ```

#![allow(clippy::print_stdout)] // what was made is what this program tells

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use vtb_data::{GeneratedDataset, PuzzleSpec, RowMode, write_jsonl};
use vtb_puzzle::draw::{Canvas, Rgb, Stroke, draw_growing};
use vtb_puzzle::judge::MarkerRule;
use vtb_puzzle::{
    Answer, Dice, Instance, Layer, Params, PictureRule, Prompts, PuzzleError, Solved, Task,
    TaskGroup, TaskInfo, register,
};

const RED: Rgb = [220, 30, 30];
const INK: Rgb = [30, 30, 30];
const WHITE: Rgb = [255, 255, 255];

/// The task.
struct TallestBar;

/// What a user may change; every parameter has a default.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BarParams {
    /// Bars, 3 to 8.
    bars: usize,
    /// Least difference between the tallest bar and any other, pixels.
    lead: u32,
}

impl Default for BarParams {
    fn default() -> Self {
        Self { bars: 5, lead: 8 }
    }
}

impl Params for BarParams {
    fn validate(&self) -> Result<(), String> {
        if !(3..=8).contains(&self.bars) {
            return Err(format!("`bars` is {}; 3 to 8 are possible", self.bars));
        }
        if !(1..=100).contains(&self.lead) {
            return Err(format!(
                "`lead` is {}; 1 to 100 pixels are possible",
                self.lead
            ));
        }
        Ok(())
    }
}

/// Heights from left to right, pixels. Not which one is the tallest: that follows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bars {
    heights: Vec<u32>,
}

impl Bars {
    const SIDE: u32 = 384;
    const FLOOR: u32 = 320;
    const RANGE: [u32; 2] = [40, 280];

    /// Middle of a bar, from the left.
    fn middle(&self, bar: usize) -> f64 {
        (bar as f64 + 0.5) * f64::from(Self::SIDE) / self.heights.len() as f64
    }

    /// Middle of the marker below a bar.
    fn marker(&self, bar: usize) -> [f64; 2] {
        [self.middle(bar), f64::from(Self::FLOOR) + 30.0]
    }
}

const RADIUS: f64 = 16.0;

fn letter(bar: usize) -> String {
    ["A", "B", "C", "D", "E", "F", "G", "H"][bar].to_owned()
}

impl Task for TallestBar {
    type Params = BarParams;
    type Scene = Bars;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "tallest_bar",
            group: TaskGroup::Eyeballing,
            version: 1,
            about: "Pick the tallest of several bars.",
        }
    }

    fn build(&self, params: &BarParams, dice: &mut Dice) -> Result<Bars, PuzzleError> {
        let [low, high] = Bars::RANGE.map(|height| height as i32);
        // Lots are drawn before it is known which bar wins, so that its place says nothing.
        for _ in 0..1000 {
            let heights: Vec<u32> = (0..params.bars)
                .map(|_| dice.whole(low, high) as u32)
                .collect();
            let bars = Bars { heights };
            if self.solve(params, &bars).is_ok() {
                return Ok(bars);
            }
        }
        Err(PuzzleError::NoScene {
            task: "tallest_bar".to_owned(),
            tries: 1000,
            hint: "lower `lead` or `bars`".to_owned(),
        })
    }

    fn solve(&self, params: &BarParams, scene: &Bars) -> Result<Solved, PuzzleError> {
        let broken = |rule: &str| Err(PuzzleError::BadScene(rule.to_owned()));
        let [low, high] = Bars::RANGE;
        if scene.heights.len() != params.bars {
            return broken("the number of bars is another");
        }
        if scene
            .heights
            .iter()
            .any(|height| !(low..=high).contains(height))
        {
            return broken("a bar is too short or too tall");
        }
        let mut order: Vec<usize> = (0..params.bars).collect();
        order.sort_by_key(|&bar| std::cmp::Reverse(scene.heights[bar]));
        if scene.heights[order[0]] - scene.heights[order[1]] < params.lead {
            return broken("the tallest bar does not stand out");
        }
        let mut solved = Solved::new(Answer::Choice(letter(order[0])), [Bars::SIDE; 2]);
        solved.construction = vec![Stroke::Disc {
            center: scene.marker(order[0]),
            radius: RADIUS,
            color: RED,
        }];
        Ok(solved)
    }

    fn options(
        &self,
        params: &BarParams,
        _: &Bars,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>, PuzzleError> {
        Ok((0..params.bars).map(letter).collect())
    }

    fn prompts(&self, _: &BarParams, _: &Solved, options: &[String]) -> Prompts {
        let ask = "The picture shows bars that stand on a line, each with a letter below it.";
        let options = options.join(", ");
        let draw = "make the disc below the tallest bar red and leave everything else as it is.";
        Prompts {
            text: format!(
                "{ask} Which bar is the tallest? Options: {options}. Reply <answer>LETTER</answer>."
            ),
            image: format!("{ask} In this picture, {draw}"),
            text_image: format!("{ask} Name the tallest bar ({options}), and {draw}"),
            video: format!("{ask} Nothing moves but one red disc that grows: {draw}"),
        }
    }

    fn paint(
        &self,
        _: &BarParams,
        scene: &Bars,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas, PuzzleError> {
        let mut canvas = Canvas::new([Bars::SIDE; 2], WHITE)?;
        canvas.rect([0, Bars::FLOOR, Bars::SIDE, Bars::FLOOR + 2], INK);
        let half = 0.3 * f64::from(Bars::SIDE) / scene.heights.len() as f64;
        for (bar, height) in scene.heights.iter().enumerate() {
            let [left, right] = [-half, half].map(|off| (scene.middle(bar) + off).round() as u32);
            canvas.rect(
                [left, Bars::FLOOR - height, right, Bars::FLOOR],
                [90, 130, 190],
            );
            canvas.ring(scene.marker(bar), RADIUS, 2.0, INK, WHITE);
        }
        draw_growing(&mut canvas, &solved.construction, layer.progress());
        for bar in 0..scene.heights.len() {
            canvas.label(scene.marker(bar), &letter(bar), 18.0, INK);
        }
        Ok(canvas)
    }

    /// Answers may also be pictures: the marker of the answer, and no other, turns red.
    fn picture_rule(
        &self,
        _: &BarParams,
        scene: &Bars,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule, PuzzleError> {
        Ok(PictureRule::Marker(MarkerRule {
            points: (0..scene.heights.len())
                .map(|bar| scene.marker(bar))
                .collect(),
            radius: RADIUS,
        }))
    }
}

fn main() -> Result<()> {
    let out = PathBuf::from(
        std::env::args()
            .nth(1)
            .unwrap_or("data/tallest_bar".to_owned()),
    );
    register(&TallestBar)?;

    let puzzle = Instance::generate(&TallestBar, &json!({"bars": 6}), 7)?;
    ensure!(puzzle.judge_text(&puzzle.record.gold_text()).correct);
    std::fs::create_dir_all(&out)?;
    puzzle.draw(Layer::Puzzle)?.save(out.join("puzzle.png"))?;
    puzzle
        .draw(Layer::Solution)?
        .save(out.join("solution.png"))?;

    // Held-out puzzles first; no training puzzle shows one of their scenes.
    let spec = |seed, count| PuzzleSpec {
        task: "tallest_bar".to_owned(),
        params: json!({}),
        seed,
        count,
    };
    let held_out = GeneratedDataset::new(&spec(1, 50), RowMode::Grpo, &BTreeSet::new())?;
    let scenes = held_out.scene_hashes();
    let sft = GeneratedDataset::new(&spec(2, 500), RowMode::Sft, &scenes)?;
    let grpo = GeneratedDataset::new(&spec(2, 500), RowMode::Grpo, &scenes)?;
    for record in held_out.records() {
        vtb_puzzle::verify(record)?;
    }
    for (name, rows) in [
        ("eval_grpo.jsonl", &held_out),
        ("train_sft.jsonl", &sft),
        ("train_grpo.jsonl", &grpo),
    ] {
        let path = write_jsonl(&out, name, rows, &Default::default())?;
        println!("{}: {} rows", path.display(), rows.records().len());
    }
    Ok(())
}
