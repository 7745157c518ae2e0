//! The joint between tasks and the rest of the world.
//!
//! A task's author implements [`Task`]: typed parameters, a typed scene, four functions. Everybody
//! else sees [`Puzzle`], which works on records and follows from it.

use std::collections::BTreeMap;

use image::RgbImage;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::AnswerPolicy;
use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke};
use crate::error::{PuzzleError, Result};
use crate::graph::{MazeGraph, PathRules};
use crate::hash::{record_id, scene_hash};
use crate::judge::{PictureJudge, PictureRule, PictureVerdict, decode_picture};
use crate::params::{Params, defaults, read_params};
use crate::record::{Answer, Prompts, Record, TaskGroup};
use crate::verdict::{Verdict, judge_record};

/// Name and place of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskInfo {
    /// Name in records, on the command line and in folders.
    pub name: &'static str,
    /// Family.
    pub group: TaskGroup,
    /// Raised whenever the same seed gives another scene or picture.
    pub version: u32,
    /// What the solver has to do, in one sentence.
    pub about: &'static str,
}

/// What follows from a scene and its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Solved {
    /// The right answer.
    pub answer: Answer,
    /// Width and height of the picture, pixels.
    pub canvas: [u32; 2],
    /// Strokes that turn the puzzle into its solution.
    pub construction: Vec<Stroke>,
    /// Named measures of this scene.
    pub measures: BTreeMap<String, f64>,
    /// Mazes: the graph.
    pub graph: Option<MazeGraph>,
    /// Mazes: what a path may do.
    pub path_rules: PathRules,
}

impl Solved {
    /// A solution with nothing but its answer.
    #[must_use]
    pub fn new(answer: Answer, canvas: [u32; 2]) -> Self {
        Self {
            answer,
            canvas,
            construction: Vec::new(),
            measures: BTreeMap::new(),
            graph: None,
            path_rules: PathRules::default(),
        }
    }
}

/// A kind of puzzle, as its author writes it.
pub trait Task: Send + Sync + 'static {
    /// Parameter block.
    type Params: Params;
    /// Geometry, whole and without the answer; numbers that survive JSON exactly.
    type Scene: Serialize + DeserializeOwned;

    /// Name and place.
    fn info(&self) -> TaskInfo;

    /// How many different scenes these parameters allow, where that can be counted.
    fn scene_space(&self, _params: &Self::Params) -> Option<u128> {
        None
    }

    /// Draws the lots for one scene.
    ///
    /// # Errors
    /// [`PuzzleError::NoScene`] when the bound on tries is reached.
    fn build(&self, params: &Self::Params, dice: &mut Dice) -> Result<Self::Scene>;

    /// Checks every rule of the scene and derives the answer from its geometry alone.
    ///
    /// # Errors
    /// [`PuzzleError::BadScene`] naming the rule that is broken.
    fn solve(&self, params: &Self::Params, scene: &Self::Scene) -> Result<Solved>;

    /// What an answer may be, in the order it is offered, or each name of a sequence; empty for
    /// paths and grids.
    ///
    /// # Errors
    /// [`PuzzleError::BadScene`].
    fn options(
        &self,
        params: &Self::Params,
        scene: &Self::Scene,
        solved: &Solved,
        dice: &mut Dice,
    ) -> Result<Vec<String>>;

    /// The text prompt lists the options.
    fn lists_options(&self, _params: &Self::Params) -> bool {
        true
    }

    /// The four prompts.
    fn prompts(&self, params: &Self::Params, solved: &Solved, options: &[String]) -> Prompts;

    /// Draws a scene that [`Task::solve`] accepted: strokes first, markers last.
    ///
    /// A task has this, or [`Task::ground`] and [`Task::paint_over`], from which it follows.
    ///
    /// # Errors
    /// [`PuzzleError::Picture`].
    fn paint(
        &self,
        params: &Self::Params,
        scene: &Self::Scene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        match self.ground(params, scene, solved)? {
            Some(ground) => self.paint_over(ground, params, scene, solved, layer),
            None => Err(lacks(self.info().name, "`paint`")),
        }
    }

    /// What lies under the construction in all pictures of a scene, where drawing it once saves much.
    ///
    /// # Errors
    /// As [`Task::paint`].
    fn ground(
        &self,
        _params: &Self::Params,
        _scene: &Self::Scene,
        _solved: &Solved,
    ) -> Result<Option<Canvas>> {
        Ok(None)
    }

    /// The rest of a picture, on what [`Task::ground`] drew.
    ///
    /// # Errors
    /// As [`Task::paint`].
    fn paint_over(
        &self,
        _ground: Canvas,
        _params: &Self::Params,
        _scene: &Self::Scene,
        _solved: &Solved,
        _layer: Layer,
    ) -> Result<Canvas> {
        Err(lacks(self.info().name, "`paint_over`"))
    }

    /// What an edited picture must show, for a scene that [`Task::solve`] accepted.
    ///
    /// # Errors
    /// As [`Task::paint`].
    fn picture_rule(
        &self,
        _params: &Self::Params,
        _scene: &Self::Scene,
        _solved: &Solved,
        _options: &[String],
    ) -> Result<PictureRule> {
        Err(lacks(self.info().name, "rule for edited pictures"))
    }
}

/// The error of a task whose author left something out.
fn lacks(task: &str, what: &str) -> PuzzleError {
    PuzzleError::Picture(format!("the task {task} has no {what}"))
}

/// Draws pictures of one puzzle.
pub struct Painter<'a>(Box<dyn Paint + 'a>);

impl Painter<'_> {
    /// Draws a picture.
    ///
    /// # Errors
    /// [`PuzzleError::Picture`].
    pub fn paint(&self, layer: Layer) -> Result<RgbImage> {
        self.0.paint(layer)
    }

    /// Draws the last picture: on what all have in common itself, not on a copy.
    ///
    /// # Errors
    /// As [`Painter::paint`].
    pub fn paint_last(self, layer: Layer) -> Result<RgbImage> {
        self.0.paint_last(layer)
    }
}

trait Paint {
    fn paint(&self, layer: Layer) -> Result<RgbImage>;
    fn paint_last(self: Box<Self>, layer: Layer) -> Result<RgbImage>;
}

/// A record that was read, and the ground of its pictures.
struct Ready<'a, T: Task> {
    task: &'a T,
    params: T::Params,
    scene: T::Scene,
    solved: Solved,
    ground: Option<Canvas>,
}

impl<T: Task> Ready<'_, T> {
    fn paint_on(&self, ground: Option<Canvas>, layer: Layer) -> Result<RgbImage> {
        let (params, scene, solved) = (&self.params, &self.scene, &self.solved);
        let canvas = match ground {
            Some(ground) => self.task.paint_over(ground, params, scene, solved, layer),
            None => self.task.paint(params, scene, solved, layer),
        };
        canvas?.into_rgb()
    }
}

impl<T: Task> Paint for Ready<'_, T> {
    fn paint(&self, layer: Layer) -> Result<RgbImage> {
        self.paint_on(self.ground.clone(), layer)
    }

    fn paint_last(mut self: Box<Self>, layer: Layer) -> Result<RgbImage> {
        let ground = self.ground.take();
        self.paint_on(ground, layer)
    }
}

/// A kind of puzzle, as everybody else uses it.
///
/// `params` is a JSON object with the keys to change, or null.
pub trait Puzzle: Send + Sync {
    /// Name and place.
    fn info(&self) -> TaskInfo;

    /// Every parameter with its default.
    fn default_params(&self) -> Value;

    /// The full parameter block: `params` checked and filled up with defaults.
    ///
    /// # Errors
    /// [`PuzzleError::UnknownParam`], [`PuzzleError::BadParam`].
    fn resolve_params(&self, params: &Value) -> Result<Value>;

    /// How many different scenes these parameters allow; `None` where that cannot be counted.
    ///
    /// # Errors
    /// As [`Puzzle::resolve_params`].
    fn scene_space(&self, params: &Value) -> Result<Option<u128>>;

    /// Makes the record of one puzzle; the same `(params, seed)` gives the same record for ever.
    ///
    /// # Errors
    /// As [`Puzzle::resolve_params`], and [`PuzzleError::NoScene`].
    fn generate(&self, params: &Value, seed: u64) -> Result<Record>;

    /// Derives everything that follows from the record's geometry and compares.
    ///
    /// Prompts are not compared: they may be put in other words.
    ///
    /// # Errors
    /// [`PuzzleError::BadRecord`] naming the first field that does not agree.
    fn verify(&self, record: &Record) -> Result<()>;

    /// Reads a record, for several pictures of its puzzle.
    ///
    /// # Errors
    /// [`PuzzleError::BadRecord`], [`PuzzleError::BadScene`].
    fn painter(&self, record: &Record) -> Result<Painter<'_>>;

    /// Draws a picture of the puzzle from the record alone.
    ///
    /// # Errors
    /// As [`Puzzle::painter`], and [`PuzzleError::Picture`].
    fn draw(&self, record: &Record, layer: Layer) -> Result<RgbImage> {
        self.painter(record)?.paint_last(layer)
    }

    /// Draws `count` pictures: the puzzle, the growing construction, the solution.
    ///
    /// # Errors
    /// As [`Puzzle::draw`]; [`PuzzleError::Picture`] when `count` is below 2.
    fn frames(&self, record: &Record, count: usize) -> Result<Vec<RgbImage>> {
        if count < 2 {
            let fault = format!("{count} frames; a video needs at least 2, puzzle and solution");
            return Err(PuzzleError::Picture(fault));
        }
        let painter = self.painter(record)?;
        (0..count)
            .map(|at| painter.paint(Layer::of_frame(at, count)))
            .collect()
    }

    /// Judges a text answer; total.
    fn judge_text(&self, record: &Record, text: &str, policy: &AnswerPolicy) -> Verdict {
        judge_record(record, text, policy)
    }

    /// What an edited picture of this record must show.
    ///
    /// # Errors
    /// As [`Puzzle::draw`].
    fn picture_rule(&self, record: &Record) -> Result<PictureRule>;

    /// [`Puzzle::picture_rule`] with the pictures of puzzle and solution: all that a judge needs.
    ///
    /// # Errors
    /// As [`Puzzle::draw`].
    fn rule_and_layers(&self, record: &Record) -> Result<(PictureRule, [RgbImage; 2])> {
        let rule = self.picture_rule(record)?;
        let puzzle = self.draw(record, Layer::Puzzle)?;
        Ok((rule, [puzzle, self.draw(record, Layer::Solution)?]))
    }

    /// Judges an edited picture; total. For several pictures of one record, and for clips, a
    /// [`PictureJudge`] or [`ClipJudge`](crate::judge::ClipJudge) saves preparing it each time.
    fn judge_image(&self, record: &Record, picture: &RgbImage) -> PictureVerdict {
        match PictureJudge::new(self, record) {
            Ok(judge) => judge.judge(picture),
            Err(fault) => PictureVerdict::invalid(fault.to_string()),
        }
    }

    /// Judges the bytes of an edited picture (PNG, JPEG, WebP, BMP or GIF); total.
    fn judge_image_bytes(&self, record: &Record, bytes: &[u8]) -> PictureVerdict {
        match decode_picture(bytes) {
            Ok(picture) => self.judge_image(record, &picture),
            Err(reason) => PictureVerdict::invalid(reason),
        }
    }
}

impl<T: Task> Puzzle for T {
    fn info(&self) -> TaskInfo {
        Task::info(self)
    }

    fn default_params(&self) -> Value {
        defaults::<T::Params>().map_or(Value::Null, Value::Object)
    }

    fn resolve_params(&self, params: &Value) -> Result<Value> {
        let task = Task::info(self).name;
        to_json(task, &read_params::<T::Params>(task, params)?)
    }

    fn scene_space(&self, params: &Value) -> Result<Option<u128>> {
        let params = read_params::<T::Params>(Task::info(self).name, params)?;
        Ok(Task::scene_space(self, &params))
    }

    fn generate(&self, params: &Value, seed: u64) -> Result<Record> {
        let name = Task::info(self).name;
        let params = read_params::<T::Params>(name, params)?;
        let scene = self.build(&params, &mut Dice::new(seed, name))?;
        assemble(self, &params, &scene, seed)
    }

    fn verify(&self, record: &Record) -> Result<()> {
        let (params, scene) = read_record(self, record)?;
        let derived = assemble(self, &params, &scene, record.seed)
            .map_err(|fault| bad_record(record, "scene", &fault.to_string()))?;
        match first_difference(record, &derived) {
            None => Ok(()),
            Some(field) => Err(bad_record(
                record,
                field,
                "does not follow from the geometry",
            )),
        }
    }

    fn painter(&self, record: &Record) -> Result<Painter<'_>> {
        Ok(Painter(Box::new(ready(self, record)?)))
    }

    fn picture_rule(&self, record: &Record) -> Result<PictureRule> {
        let (params, scene) = read_record(self, record)?;
        let solved = self.solve(&params, &scene)?;
        Task::picture_rule(self, &params, &scene, &solved, &record.options)
    }

    fn rule_and_layers(&self, record: &Record) -> Result<(PictureRule, [RgbImage; 2])> {
        let ready = Box::new(ready(self, record)?);
        let (params, scene, solved) = (&ready.params, &ready.scene, &ready.solved);
        let rule = Task::picture_rule(self, params, scene, solved, &record.options)?;
        let puzzle = ready.paint(Layer::Puzzle)?;
        Ok((rule, [puzzle, ready.paint_last(Layer::Solution)?]))
    }
}

fn ready<'a, T: Task>(task: &'a T, record: &Record) -> Result<Ready<'a, T>> {
    let (params, scene) = read_record(task, record)?;
    let solved = task.solve(&params, &scene)?;
    Ok(Ready {
        ground: task.ground(&params, &scene, &solved)?,
        task,
        params,
        scene,
        solved,
    })
}

fn assemble<T: Task>(task: &T, params: &T::Params, scene: &T::Scene, seed: u64) -> Result<Record> {
    let TaskInfo {
        name,
        group,
        version,
        ..
    } = Task::info(task);
    let solved = task.solve(params, scene)?;
    let purpose = format!("{name}/options");
    let options = task.options(params, scene, &solved, &mut Dice::new(seed, &purpose))?;
    let prompts = task.prompts(params, &solved, &options);
    let options_listed = !options.is_empty() && task.lists_options(params);
    let (params, scene) = (to_json(name, params)?, to_json(name, scene)?);
    Ok(Record {
        id: record_id(name, version, &params, seed),
        task: name.to_owned(),
        group,
        version,
        seed,
        scene_hash: scene_hash(name, &scene),
        params,
        scene,
        canvas: solved.canvas,
        prompts,
        answer: solved.answer,
        options,
        options_listed,
        construction: solved.construction,
        measures: solved.measures,
        graph: solved.graph,
        path_rules: solved.path_rules,
    })
}

fn read_record<T: Task>(task: &T, record: &Record) -> Result<(T::Params, T::Scene)> {
    let info = Task::info(task);
    if record.task != info.name {
        let reason = format!("is `{}`, but this is {}", record.task, info.name);
        return Err(bad_record(record, "task", &reason));
    }
    if record.version != info.version {
        let reason = format!(
            "is {}, but this program draws version {}; generate the data again",
            record.version, info.version
        );
        return Err(bad_record(record, "version", &reason));
    }
    let params = read_params(info.name, &record.params)
        .map_err(|fault| bad_record(record, "params", &fault.to_string()))?;
    let scene = T::Scene::deserialize(&record.scene)
        .map_err(|fault| bad_record(record, "scene", &fault.to_string()))?;
    Ok((params, scene))
}

fn first_difference(given: &Record, derived: &Record) -> Option<&'static str> {
    let fields = [
        ("id", given.id == derived.id),
        ("group", given.group == derived.group),
        ("params", given.params == derived.params),
        ("scene", given.scene == derived.scene),
        ("scene_hash", given.scene_hash == derived.scene_hash),
        ("canvas", given.canvas == derived.canvas),
        ("answer", given.answer == derived.answer),
        ("options", given.options == derived.options),
        (
            "options_listed",
            given.options_listed == derived.options_listed,
        ),
        ("construction", given.construction == derived.construction),
        ("measures", given.measures == derived.measures),
        ("graph", given.graph == derived.graph),
        ("path_rules", given.path_rules == derived.path_rules),
    ];
    fields
        .into_iter()
        .find(|(_, same)| !same)
        .map(|(field, _)| field)
}

fn bad_record(record: &Record, field: &str, reason: &str) -> PuzzleError {
    PuzzleError::BadRecord {
        id: record.id.clone(),
        field: field.to_owned(),
        reason: reason.to_owned(),
    }
}

fn to_json(task: &str, value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|fault| PuzzleError::BadScene(format!("{task} cannot be written: {fault}")))
}
