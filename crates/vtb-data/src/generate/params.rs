//! Parameters of many tasks at once: general options, then a file, then single values.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use vtb_puzzle::{Puzzle, TaskGroup, find};

use super::fault::GenerateFault;
use crate::error::Result;

/// The tasks that an option speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those of a group.
    Group(TaskGroup),
    /// One.
    Task(&'static str),
}

/// A general option: another name for a parameter of some tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knob {
    /// Name on the command line, without the dashes in front.
    pub option: &'static str,
    /// Whose parameter.
    pub scope: Scope,
    /// Which one.
    pub param: &'static str,
}

const fn knob(option: &'static str, scope: Scope, param: &'static str) -> Knob {
    Knob {
        option,
        scope,
        param,
    }
}

const EYES: Scope = Scope::Group(TaskGroup::Eyeballing);
const SQUARE: Scope = Scope::Task("maze_square");
const HEXAGON: Scope = Scope::Task("maze_hexagon");
const LABYRINTH: Scope = Scope::Task("maze_labyrinth");

/// Every general option but those of the canvas.
pub const KNOBS: &[Knob] = &[
    knob("point-radius", EYES, "marker_radius"),
    knob("line-width", EYES, "line_width"),
    knob("maze-rows", SQUARE, "rows"),
    knob("maze-cols", SQUARE, "cols"),
    knob("maze-cell-size", SQUARE, "cell"),
    knob("hex-radius", HEXAGON, "radius"),
    knob("hex-cell-size", HEXAGON, "cell"),
    knob("hex-wall-thickness", HEXAGON, "wall"),
    knob("lab-rings", LABYRINTH, "rings"),
    knob("lab-segments", LABYRINTH, "segments"),
    knob("lab-cell-size", LABYRINTH, "ring_width"),
    knob("lab-wall-thickness", LABYRINTH, "wall"),
];

/// Parameters by task, layer upon layer: what is said later wins.
///
/// Whether a task has a parameter of that name, and takes the value, is checked by
/// [`Plan::new`](super::Plan::new).
pub struct ParamLayers {
    tasks: Vec<&'static dyn Puzzle>,
    params: BTreeMap<&'static str, Map<String, Value>>,
}

impl ParamLayers {
    /// The defaults of these tasks.
    #[must_use]
    pub fn new(tasks: &[&'static dyn Puzzle]) -> Self {
        let names = tasks.iter().map(|task| (task.info().name, Map::new()));
        Self {
            tasks: tasks.to_vec(),
            params: names.collect(),
        }
    }

    /// Size of the pictures of every task, pixels; one side alone asks for squares. Mazes become as
    /// large as the picture allows, unless the side of a cell is said later.
    ///
    /// # Errors
    /// [`GenerateFault::NoSuchParam`] naming the tasks whose pictures take their size from
    /// elsewhere, or are square when other proportions are asked for.
    pub fn canvas(&mut self, width: Option<u32>, height: Option<u32>) -> Result<()> {
        let (Some(wide), Some(high)) = (width.or(height), height.or(width)) else {
            return Ok(());
        };
        let mut without = Vec::new();
        for task in &self.tasks {
            let (name, known) = (task.info().name, task.default_params());
            let has = |key| known.get(key).is_some();
            let params = self.params.entry(name).or_default();
            if has("canvas") && wide == high {
                params.insert("canvas".to_owned(), wide.into());
            } else if has("width") && has("height") {
                params.insert("width".to_owned(), wide.into());
                params.insert("height".to_owned(), high.into());
                if known["cell"].as_u64().is_some_and(|side| side > 0) {
                    params.insert("cell".to_owned(), 0.into());
                }
            } else {
                without.push(name.to_owned());
            }
        }
        let option = match (width, height) {
            (Some(_), None) => "--canvas-width".to_owned(),
            (None, _) => "--canvas-height".to_owned(),
            _ => format!("a canvas of {wide}x{high}"),
        };
        refuse(option, without)
    }

    /// The general option of this name.
    ///
    /// # Errors
    /// [`GenerateFault::NoSuchParam`] naming the tasks of its scope that lack the parameter;
    /// [`GenerateFault::NotSelected`] if the scope is empty.
    pub fn knob(&mut self, knob: &Knob, value: Value) -> Result<()> {
        let option = format!("--{}", knob.option);
        let (mut meant, mut without) = (false, Vec::new());
        for task in &self.tasks {
            let info = task.info();
            let inside = match knob.scope {
                Scope::Group(group) => info.group == group,
                Scope::Task(name) => info.name == name,
            };
            if !inside {
                continue;
            }
            meant = true;
            if task.default_params().get(knob.param).is_none() {
                without.push(info.name.to_owned());
                continue;
            }
            let params = self.params.entry(info.name).or_default();
            params.insert(knob.param.to_owned(), value.clone());
        }
        if !meant {
            let task = match knob.scope {
                Scope::Group(group) => format!("group {group}"),
                Scope::Task(name) => name.to_owned(),
            };
            return Err(GenerateFault::NotSelected { option, task }.into());
        }
        refuse(option, without)
    }

    /// A whole file: an object from task to its parameters. Tasks that are not made may be there,
    /// so that one file serves many runs.
    ///
    /// # Errors
    /// [`GenerateFault::Puzzle`] for an unknown task; [`GenerateFault::Setting`].
    pub fn file(&mut self, value: Value) -> Result<()> {
        let Value::Object(tables) = value else {
            let text = "the parameters must be an object from task to parameters".to_owned();
            return Err(GenerateFault::Setting(text).into());
        };
        for (name, table) in tables {
            let name = find(&name).map_err(GenerateFault::from)?.info().name;
            let Value::Object(table) = table else {
                let text = format!("`{name}` must be an object of parameters");
                return Err(GenerateFault::Setting(text).into());
            };
            if let Some(params) = self.params.get_mut(name) {
                params.extend(table);
            }
        }
        Ok(())
    }

    /// One value: `task.key=value`, the value as JSON, else as text.
    ///
    /// # Errors
    /// [`GenerateFault::Setting`] for another form, [`GenerateFault::Puzzle`] for an unknown task,
    /// [`GenerateFault::NotSelected`].
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let parts = assignment.split_once('=');
        let parts = parts.and_then(|(place, value)| Some((place.split_once('.')?, value)));
        let Some(((task, key), value)) = parts else {
            let text = format!("--set {assignment}: write it as TASK.KEY=VALUE");
            return Err(GenerateFault::Setting(text).into());
        };
        let name = find(task.trim()).map_err(GenerateFault::from)?.info().name;
        let Some(params) = self.params.get_mut(name) else {
            let option = format!("--set {assignment}");
            let task = name.to_owned();
            return Err(GenerateFault::NotSelected { option, task }.into());
        };
        let value = serde_json::from_str(value.trim()).unwrap_or_else(|_| Value::from(value));
        params.insert(key.trim().to_owned(), value);
        Ok(())
    }

    /// What differs from the defaults, by task.
    #[must_use]
    pub fn finish(self) -> BTreeMap<String, Value> {
        let named = |(name, params): (&str, _)| (name.to_owned(), Value::Object(params));
        self.params.into_iter().map(named).collect()
    }
}

fn refuse(option: String, tasks: Vec<String>) -> Result<()> {
    match tasks.is_empty() {
        true => Ok(()),
        false => Err(GenerateFault::NoSuchParam { option, tasks }.into()),
    }
}
