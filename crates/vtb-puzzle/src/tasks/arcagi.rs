//! arcagi: one rule turns each input grid into its output; what is the last output?
//!
//! Problems come through the parameter `source` (see the loader of ARC files in the data crate) or,
//! without it, from rule families of our own; those are kept only if every rule we know that agrees
//! with the examples gives the same output. All grids are drawn as large as one square box allows, so
//! the empty box of the answer says nothing about the output's shape.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Rgb};
use crate::error::{PuzzleError, Result};
use crate::judge::{Expect, PictureRule, Slot, SlotRule};
use crate::params::{Params, nearest, within};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};
use crate::visual::{
    ArcRule, Board, FAMILIES, Grid, MAX_ARC_SIDE, canvas_sides, fill_growing, fitting_outputs,
    inset, make_example, outline, random_rule, require,
};

/// The task.
pub struct Arcagi;

/// Names and colours of the numbers 0 to 9.
const COLORS: [(&str, Rgb); 10] = [
    ("black", [0, 0, 0]),
    ("blue", [0, 116, 217]),
    ("red", [255, 65, 54]),
    ("green", [46, 204, 64]),
    ("yellow", [255, 220, 0]),
    ("gray", [160, 160, 160]),
    ("magenta", [240, 18, 190]),
    ("orange", [255, 133, 27]),
    ("sky blue", [127, 219, 255]),
    ("maroon", [135, 12, 37]),
];

const PAGE: Rgb = [245, 245, 245];
const INK: Rgb = [32, 32, 32];
const LINE: Rgb = [85, 85, 85];
/// Cells below this have no lines between them.
const LEAST_LINED: u32 = 6;
const LEAST_CELL: u32 = 4;
/// Edge of the answer's box, and its distance from the grid.
const BOX_LINE: u32 = 2;
const BOX_PAD: u32 = 4;
/// Thinner parts of the answer's box are out of the question mark's reach.
const LEAST_REST: u32 = 8;
const MOST_PAIRS: usize = 12;

/// An input and its output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArcPair {
    /// The input, numbers 0 to 9.
    pub input: Grid,
    /// The output.
    pub output: Grid,
}

/// A problem that comes from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArcSource {
    /// Its name.
    pub name: String,
    /// The examples.
    pub train: Vec<ArcPair>,
    /// The question and its answer.
    pub test: ArcPair,
}

impl ArcSource {
    /// Checks that grids are rectangular, of 1 to 30 rows and columns, with numbers 0 to 9.
    ///
    /// # Errors
    /// A sentence naming the grid.
    pub fn check(&self) -> Result<(), String> {
        within(
            "number of pairs in `train`",
            self.train.len(),
            1,
            MOST_PAIRS,
        )?;
        let train = self.train.iter().enumerate();
        let train = train.map(|(at, pair)| (format!("train[{at}]"), pair));
        for (name, pair) in train.chain([("test".to_owned(), &self.test)]) {
            check_grid(&pair.input).map_err(|fault| format!("{name}.input {fault}"))?;
            check_grid(&pair.output).map_err(|fault| format!("{name}.output {fault}"))?;
        }
        Ok(())
    }
}

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArcagiParams {
    /// Width of the picture, pixels (default 512).
    pub width: u32,
    /// Height of the picture, pixels (default 512).
    pub height: u32,
    /// How many of the source's examples are shown; 0 for all (default 0).
    pub shots: usize,
    /// The empty output is shown as a grid of the right size (default false: a question mark).
    pub show_output_size: bool,
    /// A problem to show in place of our own (default none).
    pub source: Option<ArcSource>,
    /// Our own problems: kinds of rules (default all).
    pub families: Vec<String>,
    /// Our own problems: number of examples (default 3).
    pub examples: usize,
    /// Our own problems: most rows and columns of a grid (default 8).
    pub side_max: usize,
}

impl Default for ArcagiParams {
    fn default() -> Self {
        Self {
            width: 512,
            height: 512,
            shots: 0,
            show_output_size: false,
            source: None,
            families: FAMILIES.map(str::to_owned).to_vec(),
            examples: 3,
            side_max: 8,
        }
    }
}

impl Params for ArcagiParams {
    fn validate(&self) -> Result<(), String> {
        canvas_sides(self.width, self.height)?;
        within("shots", self.shots, 0, MOST_PAIRS)?;
        within("examples", self.examples, 2, 6)?;
        within("side_max", self.side_max, 6, 15)?;
        if self.families.is_empty() {
            return Err("`families` is empty".to_owned());
        }
        let known = |name: &&String| FAMILIES.contains(&name.as_str());
        if let Some(name) = self.families.iter().find(|name| !known(name)) {
            let hint = nearest(name, FAMILIES.into_iter());
            return Err(format!("`families` has no `{name}`; {hint}"));
        }
        let (mut pairs, mut longest) = (self.examples + 1, self.side_max);
        if let Some(source) = &self.source {
            source
                .check()
                .map_err(|fault| format!("`source` {}: {fault}", source.name))?;
            let shown = || self.shown(source).iter().chain([&source.test]);
            let sides = |grid: &Grid| grid.len().max(grid[0].len());
            pairs = shown().count();
            longest = shown()
                .map(|pair| sides(&pair.input).max(sides(&pair.output)))
                .fold(0, usize::max);
        }
        let cell = Layout::new(self, pairs).side / longest.max(1) as u32;
        if cell < LEAST_CELL {
            return Err(format!(
                "cells would be {cell} pixels wide, {LEAST_CELL} are needed: raise `width` and \
                 `height` or show fewer examples (`shots`)"
            ));
        }
        Ok(())
    }
}

impl ArcagiParams {
    fn shown<'a>(&self, source: &'a ArcSource) -> &'a [ArcPair] {
        let count = match self.shots {
            0 => source.train.len(),
            shots => shots.min(source.train.len()),
        };
        &source.train[..count]
    }
}

/// Grids, without the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArcagiScene {
    /// The examples.
    pub train: Vec<ArcPair>,
    /// The input whose output is asked for.
    pub test_input: Grid,
    /// Our own problems: the rule.
    pub rule: Option<ArcRule>,
}

/// Where the grids go. Pixels.
struct Layout {
    /// Input and output of every pair, the test last; squares.
    boxes: Vec<[[u32; 4]; 2]>,
    /// Side of the room for a grid.
    side: u32,
}

impl Layout {
    /// As many columns of pairs as make the boxes largest.
    fn new(params: &ArcagiParams, pairs: usize) -> Self {
        let (pairs, margin) = (pairs.max(1) as u32, params.width.min(params.height) / 40);
        let arrow = (params.width / 14).max(24);
        let slot = |cols: u32| {
            let rows = pairs.div_ceil(cols);
            [
                params.width.saturating_sub((cols + 1) * margin) / cols,
                params.height.saturating_sub((rows + 1) * margin) / rows,
            ]
        };
        let outer = |cols: u32| {
            let [width, height] = slot(cols);
            (width.saturating_sub(arrow) / 2).min(height)
        };
        let cols = (1..=3_u32)
            .rev()
            .max_by_key(|&cols| outer(cols))
            .unwrap_or(1);
        let ([width, height], outer) = (slot(cols), outer(cols));
        let boxes = (0..pairs).map(|at| {
            let left = margin + at % cols * (width + margin);
            let top = margin + at / cols * (height + margin) + (height - outer) / 2;
            let input = left + (width - 2 * outer).saturating_sub(arrow) / 2;
            [input, input + outer + arrow].map(|left| [left, top, left + outer, top + outer])
        });
        Self {
            boxes: boxes.collect(),
            side: outer.saturating_sub(2 * BOX_PAD),
        }
    }

    fn board(frame: [u32; 4], grid: &[Vec<u8>]) -> Board {
        let cols = grid.first().map_or(0, Vec::len);
        Board::fit(inset(frame, BOX_PAD), [grid.len() as u32, cols as u32])
    }

    /// The empty box.
    fn answer(&self) -> [u32; 4] {
        self.boxes.last().map_or([0; 4], |pair| pair[1])
    }
}

impl Task for Arcagi {
    type Params = ArcagiParams;
    type Scene = ArcagiScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "arcagi",
            group: TaskGroup::Visual,
            version: 1,
            about: "Find the rule that turns input grids into output grids and apply it.",
        }
    }

    fn scene_space(&self, params: &ArcagiParams) -> Option<u128> {
        params.source.as_ref().map(|_| 1)
    }

    fn build(&self, params: &ArcagiParams, dice: &mut Dice) -> Result<ArcagiScene> {
        const TRIES: u32 = 2_000;
        if let Some(source) = &params.source {
            return Ok(ArcagiScene {
                train: params.shown(source).to_vec(),
                test_input: source.test.input.clone(),
                rule: None,
            });
        }
        // The family first: some are drawn in vain more often than others.
        let family = dice.pick(&params.families).cloned().unwrap_or_default();
        for _ in 0..TRIES {
            let scene = draw_scene(params, &family, dice);
            if let Some(scene) = scene.filter(|scene| self.solve(params, scene).is_ok()) {
                return Ok(scene);
            }
        }
        Err(PuzzleError::NoScene {
            task: Task::info(self).name.to_owned(),
            tries: TRIES,
            hint: "raise `examples` or `side_max`, or name other `families`".to_owned(),
        })
    }

    fn solve(&self, params: &ArcagiParams, scene: &ArcagiScene) -> Result<Solved> {
        let answer = match &params.source {
            Some(source) => {
                let same = scene.train == params.shown(source)
                    && scene.test_input == source.test.input
                    && scene.rule.is_none();
                require(same, "the grids are not those of the source")?;
                source.test.output.clone()
            }
            None => solve_own(params, scene)?,
        };
        let mut solved = Solved::new(Answer::Grid(answer), [params.width, params.height]);
        solved
            .measures
            .insert("examples".to_owned(), scene.train.len() as f64);
        Ok(solved)
    }

    fn options(
        &self,
        _: &ArcagiParams,
        _: &ArcagiScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn prompts(&self, params: &ArcagiParams, _: &Solved, _: &[String]) -> Prompts {
        let place = match params.show_output_size {
            true => "is still an empty grid",
            false => "is missing; a box with a question mark stands in its place",
        };
        let figure = format!(
            "The picture shows pairs of colored grids; an arrow leads from each input to its \
             output. One and the same rule turns every input into its output. The output of the \
             last pair {place}."
        );
        let names = COLORS.iter().enumerate();
        let legend: Vec<_> = names
            .map(|(at, (name, _))| format!("{at} {name}"))
            .collect();
        let list = format!(
            "as a list of rows from top to bottom, each a list of the numbers of its colors from \
             left to right, like [[0, 1], [2, 0]], inside <answer> and </answer>. The numbers \
             mean: {}.",
            legend.join(", ")
        );
        let edit = match params.show_output_size {
            true => "Color the cells of the empty grid accordingly",
            false => {
                "Draw that output in the middle of the box, with square cells and as large as the \
                 box allows, as the other grids are, without the question mark,"
            }
        };
        Prompts {
            text: format!("{figure} Find the rule and give that output {list}"),
            image: format!("{figure} Find the rule. {edit} and leave everything else as it is."),
            text_image: format!(
                "{figure} Find the rule. {edit} and leave everything else as it is. Also give that \
                 output {list}"
            ),
            video: format!(
                "{figure} The camera does not move. The missing output appears in its place, its \
                 cells taking on their colors row by row. Nothing else changes."
            ),
        }
    }

    fn paint(
        &self,
        params: &ArcagiParams,
        scene: &ArcagiScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let layout = Layout::new(params, scene.train.len() + 1);
        let mut canvas = Canvas::new([params.width, params.height], PAGE)?;
        let inputs = scene.train.iter().map(|pair| &pair.input);
        for ([frame, output], grid) in layout.boxes.iter().zip(inputs.chain([&scene.test_input])) {
            draw_grid(&mut canvas, *frame, grid, 1.0);
            draw_arrow(&mut canvas, *frame, *output);
        }
        for ([_, frame], pair) in layout.boxes.iter().zip(&scene.train) {
            draw_grid(&mut canvas, *frame, &pair.output, 1.0);
        }
        let frame = layout.answer();
        outline(&mut canvas, frame, BOX_LINE, INK);
        match &solved.answer {
            Answer::Grid(grid) if params.show_output_size || layer.progress() > 0.0 => {
                draw_grid(&mut canvas, frame, grid, layer.progress());
            }
            _ => {
                let [left, top, right, bottom] = frame.map(f64::from);
                let middle = [(left + right) / 2.0, (top + bottom) / 2.0];
                canvas.label(middle, "?", 0.5 * (bottom - top), INK);
            }
        }
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        params: &ArcagiParams,
        scene: &ArcagiScene,
        solved: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let Answer::Grid(grid) = &solved.answer else {
            return Err(PuzzleError::BadScene("the answer is no grid".to_owned()));
        };
        let frame = Layout::new(params, scene.train.len() + 1).answer();
        let board = Layout::board(frame, grid);
        let colors = || COLORS.iter().map(|(_, rgb)| *rgb);
        let slot = |name: String, area: [u32; 4], right: Rgb| Slot {
            name,
            area: area.into(),
            expect: Expect::Color {
                right,
                others: colors().filter(|other| *other != right).collect(),
            },
        };
        let mut slots: Vec<_> = board
            .places()
            .map(|(row, column)| {
                let name = format!("row {}, column {}", row + 1, column + 1);
                let right = color(grid[row as usize][column as usize]);
                slot(name, board.cell(row, column), right)
            })
            .collect();
        if !params.show_output_size {
            let rest = rest_of_box(inset(frame, BOX_LINE), board.bounds());
            slots.extend(rest.map(|area| slot("the box beside the output".to_owned(), area, PAGE)));
        }
        Ok(PictureRule::Slots(SlotRule {
            slots,
            keeps_rest: true,
        }))
    }
}

/// The answer of a problem of our own.
fn solve_own(params: &ArcagiParams, scene: &ArcagiScene) -> Result<Grid> {
    let bad = |fault: &str| PuzzleError::BadScene(fault.to_owned());
    let rule = scene.rule.ok_or_else(|| bad("there is no rule"))?;
    require(
        scene.train.len() == params.examples,
        "the number of examples is not the parameters'",
    )?;
    let inputs = scene.train.iter().map(|pair| &pair.input);
    for input in inputs.chain([&scene.test_input]) {
        check_grid(input).map_err(|fault| bad(&format!("an input {fault}")))?;
        let side = input.len().max(input[0].len());
        require(
            side <= params.side_max,
            "an input is larger than `side_max`",
        )?;
    }
    let apply = |input: &Grid| {
        let output = rule.apply(input).filter(|output| output != input);
        let output = output.ok_or_else(|| bad("the rule does nothing to an input"))?;
        let side = output.len().max(output[0].len());
        require(
            side <= params.side_max,
            "an output is larger than `side_max`",
        )?;
        check_grid(&output).map_err(|fault| bad(&format!("an output {fault}")))?;
        Ok::<_, PuzzleError>(output)
    };
    for (at, pair) in scene.train.iter().enumerate() {
        require(
            apply(&pair.input)? == pair.output,
            "an example does not follow the rule",
        )?;
        let mut shown = scene.train[..at].iter().map(|pair| &pair.input);
        let again = shown.any(|input| *input == pair.input) || pair.input == scene.test_input;
        require(!again, "an input comes up twice")?;
    }
    let answer = apply(&scene.test_input)?;
    let examples: Vec<_> = scene
        .train
        .iter()
        .map(|pair| (&pair.input, &pair.output))
        .collect();
    require(
        fitting_outputs(&examples, &scene.test_input) == [answer.clone()],
        "the examples fit rules with different outputs",
    )?;
    Ok(answer)
}

fn draw_scene(params: &ArcagiParams, family: &str, dice: &mut Dice) -> Option<ArcagiScene> {
    let rule = random_rule(family, dice)?;
    let mut pairs = Vec::new();
    for _ in 0..=params.examples {
        let (input, output) = make_example(rule, params.side_max, dice)?;
        pairs.push(ArcPair { input, output });
    }
    let test_input = pairs.pop()?.input;
    Some(ArcagiScene {
        train: pairs,
        test_input,
        rule: Some(rule),
    })
}

fn check_grid(grid: &Grid) -> Result<(), String> {
    let cols = grid.first().map_or(0, Vec::len);
    within("number of rows", grid.len(), 1, MAX_ARC_SIDE)?;
    within("number of columns", cols, 1, MAX_ARC_SIDE)?;
    if let Some(at) = grid.iter().position(|row| row.len() != cols) {
        let found = grid[at].len();
        return Err(format!(
            "row {at} has {found} cells and the first has {cols}"
        ));
    }
    match grid.iter().flatten().find(|cell| **cell > 9) {
        Some(cell) => Err(format!("holds {cell}; numbers go from 0 to 9")),
        None => Ok(()),
    }
}

fn color(cell: u8) -> Rgb {
    COLORS.get(usize::from(cell)).map_or(PAGE, |(_, rgb)| *rgb)
}

/// Draws a grid of which only the share `progress` of the cells is coloured.
fn draw_grid(canvas: &mut Canvas, frame: [u32; 4], grid: &[Vec<u8>], progress: f64) {
    let board = Layout::board(frame, grid);
    let lined = u32::from(board.cell >= LEAST_LINED);
    canvas.rect(board.bounds(), LINE);
    let cells: Vec<_> = board
        .places()
        .map(|(row, column)| {
            let [left, top, right, bottom] = board.cell(row, column);
            let inner = [left + lined, top + lined, right, bottom];
            (inner, color(grid[row as usize][column as usize]))
        })
        .collect();
    for (inner, _) in &cells {
        canvas.rect(*inner, PAGE);
    }
    fill_growing(canvas, &cells, progress);
}

/// An arrow from one box to the next.
fn draw_arrow(canvas: &mut Canvas, from: [u32; 4], to: [u32; 4]) {
    let middle = f64::from(from[1] + from[3]) / 2.0;
    let gap = f64::from(to[0]) - f64::from(from[2]);
    let (start, end) = (
        f64::from(from[2]) + 0.2 * gap,
        f64::from(to[0]) - 0.25 * gap,
    );
    let head = 0.2 * gap;
    canvas.polyline(&[[start, middle], [end, middle]], 3.0, INK);
    let barbs = [
        [end - head, middle - head],
        [end, middle],
        [end - head, middle + head],
    ];
    canvas.polyline(&barbs, 3.0, INK);
}

/// What the output leaves of its box, where a question mark could be left over.
fn rest_of_box(frame: [u32; 4], board: [u32; 4]) -> impl Iterator<Item = [u32; 4]> {
    let [left, top, right, bottom] = frame;
    let parts = [
        [left, top, board[0], bottom],
        [board[2], top, right, bottom],
        [board[0], top, board[2], board[1]],
        [board[0], board[3], board[2], bottom],
    ];
    let thickness = |part: &[u32; 4]| {
        let [width, height] = [0, 1].map(|axis| part[axis + 2].saturating_sub(part[axis]));
        width.min(height)
    };
    parts
        .into_iter()
        .filter(move |part| thickness(part) >= LEAST_REST)
}
