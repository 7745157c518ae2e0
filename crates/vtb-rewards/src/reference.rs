//! What a training row says is true.

use serde_json::{Map, Value};
use vtb_puzzle::Record;
use vtb_puzzle::answer::{AnswerPolicy, AnswerStatus, extract_span};
use vtb_puzzle::graph::{CellId, MazeGraph, PathRules};

use crate::error::{Result, RewardError};

/// Options of a row that names none but is answered by one capital letter.
const USUAL_LETTERS: std::ops::RangeInclusive<char> = 'A'..='E';
/// How deep a record is searched for its maze.
const MAX_DEPTH: usize = 4;

/// A training row as rewards see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// The task, e.g. `midpoint`; empty if the row does not say.
    pub task_type: String,
    /// The family of the task, e.g. `eyeballing`; empty if the row does not say.
    pub task_group: String,
    /// The column `solution` as text (lists as JSON); empty if there is none.
    pub solution: String,
    /// The solution in a form that can be checked.
    pub truth: Truth,
    /// The whole row, for rewards that need other columns.
    pub row: Map<String, Value>,
}

/// What the right answer is.
#[derive(Debug, Clone, PartialEq)]
pub enum Truth {
    /// One of some options.
    Choice(ChoiceTruth),
    /// A path in a maze.
    Path(PathTruth),
    /// Names in order.
    Sequence(SequenceTruth),
    /// Rows of small numbers, top row first.
    Grid(Vec<Vec<u8>>),
    /// The row has no solution; only a user's own reward can judge it.
    Unknown,
}

/// A question with options.
#[derive(Debug, Clone, PartialEq)]
pub struct ChoiceTruth {
    /// All options; only the right one if the row does not name them.
    pub options: Vec<String>,
    /// Index of the right one.
    pub correct: usize,
    /// `options` is the whole set. Where it is not, any other answer is wrong, not invalid.
    pub closed: bool,
    /// The solver was shown `options` in this order, so that a lone letter can name one by its place.
    pub listed: bool,
    /// How far each option is from being right (0 for the right one), in the record's own measure.
    pub violations: Option<Vec<f64>>,
}

/// A maze and its path.
#[derive(Debug, Clone, PartialEq)]
pub struct PathTruth {
    /// Cells and passages.
    pub graph: MazeGraph,
    /// The reference path from start to goal.
    pub path: Vec<CellId>,
    /// What a path may do.
    pub rules: PathRules,
    /// The row has no maze: `graph` is the reference path alone, so that no other route is legal.
    pub from_path_only: bool,
}

/// Names in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceTruth {
    /// The right names in the right order.
    pub names: Vec<String>,
    /// What an answer may name; the right names if the row does not say.
    pub options: Vec<String>,
}

impl Reference {
    /// Reads a row of training data.
    ///
    /// - `solution`: an option's text (`"B"`, `"light blue"`), or a list or its JSON text: cell ids (a
    ///   path), texts (a sequence) or lists of numbers from 0 to 255 (a grid); answer tags around it
    ///   are taken off;
    /// - `task_type`, `task_group`: text;
    /// - `options`: list of texts. Without it, a solution of one letter is taken to be among A to E
    ///   (or as far as that letter), any other text to be one of an unknown set;
    /// - `options_listed`: whether the prompt lists the options in order (assumed if it is not said);
    /// - `violations`: one number for each option;
    /// - `maze` (or `graph`): `cells`, `passages`, `start`, `goal`. Without it, the reference path is
    ///   taken for the whole maze, so that no other route counts;
    /// - `path_rules`: what a path may do;
    /// - `record`: a whole puzzle record, searched for what the row does not hold itself.
    ///
    /// # Errors
    /// [`RewardError::Row`] naming the column that is of the wrong kind or contradicts another.
    pub fn from_row(row: &Map<String, Value>) -> Result<Self> {
        let (solution, truth) = match own_or_record(row, "solution", "answer") {
            None => (String::new(), Truth::Unknown),
            Some(Value::Array(items)) => {
                let text = Value::from(items.clone()).to_string();
                (text, list_truth(row, items)?)
            }
            Some(Value::String(text)) => (text.clone(), text_truth(row, text)?),
            Some(Value::Number(number)) => {
                let text = number.to_string();
                let truth = text_truth(row, &text)?;
                (text, truth)
            }
            Some(_) => {
                let reason = "is neither text nor a list";
                return Err(RewardError::row("solution", reason));
            }
        };
        Ok(Self {
            task_type: text_column(row, "task_type", "task")?,
            task_group: text_column(row, "task_group", "group")?,
            solution,
            truth,
            row: row.clone(),
        })
    }

    /// The truth of a puzzle record.
    ///
    /// # Errors
    /// [`RewardError::Row`] if the record contradicts itself.
    pub fn from_record(record: &Record) -> Result<Self> {
        let value = serde_json::to_value(record)
            .map_err(|fault| RewardError::row("record", format!("cannot be read: {fault}")))?;
        let mut row = Map::new();
        row.insert("record".to_owned(), value);
        Self::from_row(&row)
    }

    /// A question with a closed set of options, without a row.
    ///
    /// # Errors
    /// [`RewardError::Row`] if `correct` is not one of `options`.
    pub fn choice(options: &[&str], correct: &str) -> Result<Self> {
        let mut row = Map::new();
        row.insert("options".to_owned(), Value::from(options));
        row.insert("solution".to_owned(), Value::from(correct));
        Self::from_row(&row)
    }

    /// A maze; its solution is a shortest route.
    #[must_use]
    pub fn maze(graph: MazeGraph) -> Self {
        let path = graph.shortest_path();
        Self {
            task_type: String::new(),
            task_group: String::new(),
            solution: Value::from(path.clone()).to_string(),
            truth: Truth::Path(PathTruth {
                graph,
                path,
                rules: PathRules::default(),
                from_path_only: false,
            }),
            row: Map::new(),
        }
    }
}

fn text_column(row: &Map<String, Value>, column: &'static str, in_record: &str) -> Result<String> {
    match own_or_record(row, column, in_record) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(RewardError::row(column, "is not text")),
    }
}

fn text_truth(row: &Map<String, Value>, text: &str) -> Result<Truth> {
    let span = extract_span(text, &AnswerPolicy::default());
    let bare = match span.status {
        AnswerStatus::Ok => span.text.trim(),
        _ => text.trim(),
    };
    if bare.is_empty() {
        return Err(RewardError::row("solution", "is empty"));
    }
    if !bare.starts_with('[') || !bare.ends_with(']') {
        return choice_truth(row, bare).map(Truth::Choice);
    }
    let items: Vec<Value> = serde_json::from_str(bare)
        .map_err(|fault| RewardError::row("solution", format!("is not a JSON list: {fault}")))?;
    list_truth(row, &items)
}

/// The first item says of what kind the list is.
fn list_truth(row: &Map<String, Value>, items: &[Value]) -> Result<Truth> {
    match items.first() {
        Some(Value::String(_)) => sequence_truth(row, items).map(Truth::Sequence),
        Some(Value::Array(_)) => grid_rows(items).map(Truth::Grid),
        _ => path_truth(row, path_ids(items)?),
    }
}

fn sequence_truth(row: &Map<String, Value>, items: &[Value]) -> Result<SequenceTruth> {
    let name = |item: &Value| item.as_str().map(str::to_owned);
    let names: Option<Vec<String>> = items.iter().map(name).collect();
    let names =
        names.ok_or_else(|| RewardError::row("solution", "holds texts and other things"))?;
    let options = match own_or_record(row, "options", "options") {
        Some(given) => option_texts(given)?,
        None => names.clone(),
    };
    match names.iter().find(|name| !options.contains(name)) {
        None => Ok(SequenceTruth { names, options }),
        Some(other) => {
            let reason = format!("names `{other}`, which is not among the options");
            Err(RewardError::row("solution", reason))
        }
    }
}

fn grid_rows(items: &[Value]) -> Result<Vec<Vec<u8>>> {
    let rows = items
        .iter()
        .map(|item| serde_json::from_value::<Vec<u8>>(item.clone()));
    let rows: Result<Vec<_>, _> = rows.collect();
    rows.map_err(|_| RewardError::row("solution", "is not a list of lists of numbers to 255"))
}

fn path_ids(items: &[Value]) -> Result<Vec<CellId>> {
    let id = |item: &Value| item.as_u64().and_then(|id| CellId::try_from(id).ok());
    let ids = items.iter().map(|item| {
        id(item).ok_or_else(|| RewardError::row("solution", format!("holds {item}, not a cell id")))
    });
    ids.collect()
}

fn choice_truth(row: &Map<String, Value>, solution: &str) -> Result<ChoiceTruth> {
    let (options, closed) = match own_or_record(row, "options", "options") {
        Some(given) => (option_texts(given)?, true),
        None => usual_letters(solution).map_or_else(
            || (vec![solution.to_owned()], false),
            |letters| (letters, true),
        ),
    };
    let fold = |text: &str| text.trim().to_lowercase();
    let same = |option: &String| fold(option) == fold(solution);
    let Some(correct) = options.iter().position(same) else {
        let listed = options.join(", ");
        let reason = format!("is `{solution}`, which is not among the options {listed}");
        return Err(RewardError::row("solution", reason));
    };
    let violations = match own_or_record(row, "violations", "violations") {
        Some(given) => Some(violations(given, options.len())?),
        None => None,
    };
    let listed = own_or_record(row, "options_listed", "options_listed");
    Ok(ChoiceTruth {
        options,
        correct,
        closed,
        listed: closed && listed.and_then(Value::as_bool).unwrap_or(true),
        violations,
    })
}

fn option_texts(given: &Value) -> Result<Vec<String>> {
    let text = |item: &Value| match item {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let texts = given
        .as_array()
        .map(|items| items.iter().map(text).collect());
    let texts: Option<Vec<String>> = texts.flatten();
    texts.ok_or_else(|| RewardError::row("options", "is not a list of texts"))
}

/// Capital letters up to E, or up to the solution if that comes later.
fn usual_letters(solution: &str) -> Option<Vec<String>> {
    let mut chars = solution.chars();
    let letter = chars
        .next()
        .filter(|c| c.is_ascii_alphabetic())?
        .to_ascii_uppercase();
    let last = letter.max(*USUAL_LETTERS.end());
    let letters = (*USUAL_LETTERS.start()..=last).map(String::from);
    chars.next().is_none().then(|| letters.collect())
}

fn violations(given: &Value, options: usize) -> Result<Vec<f64>> {
    let number = |item: &Value| item.as_f64().filter(|number| *number >= 0.0);
    let numbers = given
        .as_array()
        .map(|items| items.iter().map(number).collect());
    let numbers: Option<Vec<f64>> = numbers.flatten();
    let fits = numbers.filter(|numbers| numbers.len() == options);
    fits.ok_or_else(|| {
        let reason = format!("is not a list of {options} numbers from 0 up, one for each option");
        RewardError::row("violations", reason)
    })
}

/// A column of the row, or what the row's record calls `in_record`.
fn own_or_record<'a>(
    row: &'a Map<String, Value>,
    column: &str,
    in_record: &str,
) -> Option<&'a Value> {
    let own = row.get(column).filter(|value| !value.is_null());
    own.or_else(|| {
        let has_it = |map: &Map<String, Value>| map.contains_key(in_record);
        find(row.get("record")?, MAX_DEPTH, &has_it)?.get(in_record)
    })
}

fn path_truth(row: &Map<String, Value>, path: Vec<CellId>) -> Result<Truth> {
    let given = given_maze(row);
    let graph = match given {
        Some(value) => {
            let graph = serde_json::from_value::<MazeGraph>(value.clone());
            graph.map_err(|fault| RewardError::row("maze", format!("is not a maze: {fault}")))?
        }
        None => chain(&path)?,
    };
    let ends = (path.first().copied(), path.last().copied());
    if ends != (Some(graph.start()), Some(graph.goal())) {
        let reason = "does not lead from the maze's start to its goal";
        return Err(RewardError::row("solution", reason));
    }
    let rules = match own_or_record(row, "path_rules", "path_rules") {
        Some(value) => serde_json::from_value(value.clone())
            .map_err(|fault| RewardError::row("path_rules", format!("is not usable: {fault}")))?,
        None => PathRules::default(),
    };
    Ok(Truth::Path(PathTruth {
        graph,
        path,
        rules,
        from_path_only: given.is_none(),
    }))
}

fn given_maze(row: &Map<String, Value>) -> Option<&Value> {
    let is_graph = |map: &Map<String, Value>| {
        let keys = ["cells", "passages", "start", "goal"];
        keys.iter().all(|key| map.contains_key(*key))
    };
    let mut own = ["maze", "graph"].iter().filter_map(|key| row.get(*key));
    own.find(|value| !value.is_null())
        .or_else(|| find(row.get("record")?, MAX_DEPTH, &is_graph))
}

/// A maze that is nothing but the reference path.
fn chain(path: &[CellId]) -> Result<MazeGraph> {
    let (Some(&start), Some(&goal)) = (path.first(), path.last()) else {
        return Err(RewardError::row("solution", "is an empty path"));
    };
    let steps: Vec<_> = path.windows(2).map(|step| (step[0], step[1])).collect();
    let mut cells = path.to_vec();
    cells.sort_unstable();
    cells.dedup();
    MazeGraph::new(cells, &steps, start, goal)
        .map_err(|fault| RewardError::row("solution", format!("is not a usable path: {fault}")))
}

/// The first object within `value`, outermost first, that `wanted` accepts.
fn find<'a>(
    value: &'a Value,
    depth: usize,
    wanted: &dyn Fn(&Map<String, Value>) -> bool,
) -> Option<&'a Value> {
    let map = value.as_object()?;
    if wanted(map) {
        return Some(value);
    }
    let depth = depth.checked_sub(1)?;
    map.values().find_map(|inner| find(inner, depth, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(row: Value) -> Result<Reference> {
        Reference::from_row(row.as_object().unwrap())
    }

    fn choice(row: Value) -> ChoiceTruth {
        match read(row).unwrap().truth {
            Truth::Choice(choice) => choice,
            other => panic!("{other:?}"),
        }
    }

    fn path(row: Value) -> PathTruth {
        match read(row).unwrap().truth {
            Truth::Path(path) => path,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn choices_come_with_or_without_options() {
        let given =
            choice(json!({"solution": "Red", "options": ["blue", "red"], "violations": [2.5, 0]}));
        assert_eq!((given.correct, given.closed), (1, true));
        assert_eq!(given.violations, Some(vec![2.5, 0.0]));
        assert_eq!(
            choice(json!({"solution": "<answer>b</answer>"}))
                .options
                .len(),
            5
        );
        assert_eq!(choice(json!({"solution": "G"})).correct, 6);
        let open = choice(json!({"solution": "light blue"}));
        assert_eq!(
            (open.options, open.closed),
            (vec!["light blue".to_owned()], false)
        );
        assert_eq!(
            choice(json!({"solution": 3, "options": [1, 2, 3]})).correct,
            2
        );
        let record = json!({"solution": "B", "record": {"scene": {"options": ["A", "B"]}}});
        assert_eq!(choice(record).options, ["A", "B"]);
    }

    #[test]
    fn paths_come_as_text_or_list_with_or_without_a_maze() {
        let maze = json!({"cells": [1, 2, 3, 4], "passages": [[1, 2], [2, 3], [2, 4]], "start": 1, "goal": 3});
        for solution in [
            json!("[1, 2, 3]"),
            json!([1, 2, 3]),
            json!("<answer>[1,2,3]</answer>"),
        ] {
            let own = path(json!({"solution": solution, "maze": maze}));
            assert!(!own.from_path_only && own.graph.contains(4) && own.path == [1, 2, 3]);
            let inside =
                path(json!({"solution": solution, "record": {"geometry": {"maze": maze}}}));
            assert!(!inside.from_path_only && inside.graph.contains(4));
            let alone = path(json!({"solution": solution}));
            assert!(alone.from_path_only && !alone.graph.contains(4));
        }
        assert_eq!(
            Reference::maze(path(json!({"solution": [1, 2, 3]})).graph).solution,
            "[1,2,3]"
        );
    }

    #[test]
    fn contradictions_are_named() {
        let fault = |row: Value| read(row).unwrap_err().to_string();
        assert!(fault(json!({"solution": "purple", "options": ["red"]})).contains("purple"));
        assert!(fault(json!({"solution": true})).contains("solution"));
        assert!(fault(json!({"solution": " "})).contains("empty"));
        assert!(fault(json!({"solution": [1.5, 2]})).contains("1.5"));
        assert!(fault(json!({"solution": "[]"})).contains("empty path"));
        assert!(fault(json!({"solution": [1, 1]})).contains("usable path"));
        assert!(fault(json!({"solution": ["a", 1]})).contains("texts and other"));
        assert!(fault(json!({"solution": ["a"], "options": ["b"]})).contains("among the options"));
        assert!(fault(json!({"solution": [[1], [256]]})).contains("list of lists"));
        assert!(fault(json!({"solution": "B", "options": "AB"})).contains("options"));
        assert!(fault(json!({"solution": "B", "violations": [1]})).contains("violations"));
        assert!(fault(json!({"solution": "B", "task_type": 1})).contains("task_type"));
        let maze = json!({"cells": [1, 2], "passages": [[1, 2]], "start": 1, "goal": 2});
        assert!(fault(json!({"solution": [2, 1], "maze": maze})).contains("start to its goal"));
        assert!(fault(json!({"solution": [1, 2], "maze": {"cells": []}})).contains("maze"));
        assert_eq!(read(json!({})).unwrap().truth, Truth::Unknown);
    }
}
