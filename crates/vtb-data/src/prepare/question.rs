//! What a language model is asked about a sample, and what is right.
//!
//! Our own records bring a prompt that says how to answer. Foreign prompts do not, or only in
//! part; a line that says it is added.

use std::sync::Arc;

use serde_json::{Map, Value};
use vtb_puzzle::{Answer, Layer, MazeGraph, Record, encode_png, find};

use super::sample::{Picture, Sample};
use crate::error::Result;

/// A question in words with its picture.
pub(super) struct Question {
    /// The prompt, without the picture's place.
    pub(super) text: String,
    /// The picture, with printed cell ids where the answer names cells.
    pub(super) picture: Option<(&'static str, Picture)>,
    /// The right answer.
    pub(super) answer: Answer,
    options: Vec<String>,
    options_listed: bool,
    maze: Option<Value>,
    path_rules: Option<Value>,
    scene_hash: Option<String>,
    /// Cells are to be named and nothing says that their ids are printed.
    pub(super) ids_unknown: bool,
}

impl Question {
    /// The answer inside its tags: the shortest text that is right.
    pub(super) fn gold(&self) -> String {
        format!("<answer>{}</answer>", self.answer)
    }

    /// The answer as a column: text for every kind of answer, so that files that mix tasks have
    /// columns of one type.
    pub(super) fn solution(&self) -> String {
        match &self.answer {
            Answer::Sequence(names) => Value::from(names.clone()).to_string(),
            other => other.to_string(),
        }
    }

    /// What rewards need beside the solution.
    pub(super) fn columns(&self) -> Map<String, Value> {
        let mut columns = Map::new();
        if !self.options.is_empty() {
            columns.insert("options".to_owned(), self.options.clone().into());
            columns.insert("options_listed".to_owned(), self.options_listed.into());
        }
        let named = [
            ("maze", self.maze.clone()),
            ("path_rules", self.path_rules.clone()),
            ("scene_hash", self.scene_hash.clone().map(Value::from)),
        ];
        let named = named.into_iter();
        columns.extend(named.filter_map(|(name, value)| Some((name.to_owned(), value?))));
        columns
    }
}

/// The question of a sample.
///
/// # Errors
/// A sample without a text prompt or an answer; a maze whose stored path is not open.
pub(super) fn ask(sample: &Sample) -> Result<Question> {
    match sample.record.as_deref() {
        Some(record) => own(sample, record),
        None => foreign(sample),
    }
}

/// The question of a sample, where there is a prompt and an answer for one.
///
/// # Errors
/// As [`ask`] otherwise.
pub(super) fn try_ask(sample: &Sample) -> Result<Option<Question>> {
    match sample.answer.is_some() && !sample.prompts.text.trim().is_empty() {
        true => ask(sample).map(Some),
        false => Ok(None),
    }
}

/// The pictures of a sample for files that hold all of it.
pub(super) struct Shown {
    /// What goes with the question.
    pub(super) question: Option<Picture>,
    /// The puzzle to be edited, where that is another.
    pub(super) puzzle: Option<Picture>,
}

impl Shown {
    pub(super) fn of(sample: &Sample, question: Option<&Question>) -> Self {
        let asked = question.and_then(|question| question.picture.as_ref());
        match asked {
            Some((_, picture)) => Self {
                puzzle: sample.puzzle.clone().filter(|puzzle| puzzle != picture),
                question: Some(picture.clone()),
            },
            None => Self {
                question: sample.puzzle.clone(),
                puzzle: None,
            },
        }
    }
}

fn own(sample: &Sample, record: &Record) -> Result<Question> {
    let printed = with_ids(sample, record)?;
    let (record, picture) = match printed {
        Some((record, picture)) => (record, Some(("image", picture))),
        None => {
            let picture = sample.puzzle.clone().map(|picture| ("image", picture));
            (record.clone(), picture)
        }
    };
    let json = |value: serde_json::Result<Value>| {
        value.map_err(|fault| sample.invalid("record", fault.to_string()))
    };
    let maze = record.graph.as_ref().map(serde_json::to_value);
    let path_rules = record.graph.as_ref().map(|_| record.path_rules);
    Ok(Question {
        ids_unknown: false,
        picture,
        maze: maze.map(json).transpose()?,
        path_rules: path_rules.map(serde_json::to_value).map(json).transpose()?,
        scene_hash: Some(record.scene_hash),
        text: record.prompts.text,
        answer: record.answer,
        options: record.options,
        options_listed: record.options_listed,
    })
}

/// A maze drawn without ids, as it is with them: text answers name cells. `None` where they are
/// printed already, or where they would be too small to read; the prompt then says how cells are
/// counted.
fn with_ids(sample: &Sample, record: &Record) -> Result<Option<(Record, Picture)>> {
    if record.params.get("print_ids") != Some(&Value::Bool(false)) {
        return Ok(None);
    }
    let fault = |fault: vtb_puzzle::PuzzleError| sample.invalid("record", fault.to_string());
    let task = find(&record.task).map_err(fault)?;
    let mut params = record.params.clone();
    params["print_ids"] = Value::Bool(true);
    let Ok(printed) = task.generate(&params, record.seed) else {
        return Ok(None);
    };
    if printed.scene_hash != record.scene_hash || printed.answer != record.answer {
        return Ok(None);
    }
    let drawn = task.draw(&printed, Layer::Puzzle).map_err(fault)?;
    let bytes: Arc<[u8]> = encode_png(&drawn).map_err(fault)?.into();
    Ok(Some((printed, Picture::Bytes(bytes))))
}

fn foreign(sample: &Sample) -> Result<Question> {
    let prompt = sample.prompts.text.trim();
    if prompt.is_empty() {
        return Err(sample.missing("ti2t_prompt"));
    }
    let mut answer = sample
        .answer
        .clone()
        .ok_or_else(|| sample.missing("answer"))?;
    let mut options = sample.options.clone();
    let listed = options_in(prompt);
    // The newer project keeps the options of visual puzzles in the prompt alone.
    if options.is_empty()
        && let (Answer::Choice(choice), Some(listed)) = (&answer, &listed)
        && let Some(same) = listed.iter().find(|o| o.eq_ignore_ascii_case(choice))
    {
        answer = Answer::Choice(same.clone());
        options = listed.clone();
    }
    let graph = match sample.foreign.as_ref().map(|entry| entry.maze_graph()) {
        Some(found) => found?,
        None => None,
    };
    let maze = graph
        .as_ref()
        .map(|graph: &MazeGraph| serde_json::to_value(graph));
    let maze = maze.transpose();
    let maze = maze.map_err(|fault| sample.invalid("maze", fault.to_string()))?;
    let picture = match (&sample.reasoning, &sample.puzzle) {
        (Some(marked), _) => Some(("reasoning_image", marked.clone())),
        (None, Some(puzzle)) => Some(("image", puzzle.clone())),
        (None, None) => None,
    };
    let is_path = matches!(answer, Answer::Path(_));
    Ok(Question {
        ids_unknown: is_path && sample.reasoning.is_none(),
        text: format!("{prompt}\n{}", how_to_answer(&answer, &options)),
        options_listed: listed.is_some_and(|listed| listed == options),
        scene_hash: sample.foreign_text("scene_hash"),
        path_rules: None,
        picture,
        answer,
        options,
        maze,
    })
}

/// The names in `Options: [red, blue]`.
fn options_in(prompt: &str) -> Option<Vec<String>> {
    let (_, rest) = prompt.split_once("Options: [")?;
    let (inside, _) = rest.split_once(']')?;
    let names: Vec<String> = inside
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect();
    names.iter().all(|name| !name.is_empty()).then_some(names)
}

/// The line that says in which form the answer is read.
fn how_to_answer(answer: &Answer, options: &[String]) -> String {
    let names = options.join(", ");
    let what = match answer {
        Answer::Choice(_) if options.is_empty() => "your answer".to_owned(),
        Answer::Choice(_) => format!("one of {names}"),
        Answer::Path(_) => {
            "the numbers of the cells from start to goal as a list such as [3, 4, 9]".to_owned()
        }
        Answer::Sequence(_) if options.is_empty() => "the names in order".to_owned(),
        Answer::Sequence(_) => format!("the names in order, separated by commas, out of {names}"),
        Answer::Grid(_) if options.is_empty() => "the grid as a list of rows".to_owned(),
        Answer::Grid(_) => {
            let colors: Vec<String> = (1..)
                .zip(options)
                .map(|(number, name)| format!("{number} for {name}"))
                .collect();
            let colors = colors.join(", ");
            format!(
                "the right half of the solved board as a list of rows of numbers, top row first: \
                 0 for an empty cell, {colors}"
            )
        }
    };
    format!("Put {what} between <answer> and </answer>.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_in_a_prompt() {
        let found = options_in("Which? Options: [dark red, blue]. One.");
        assert_eq!(found, Some(vec!["dark red".to_owned(), "blue".to_owned()]));
        assert_eq!(options_in("Which? Options: []."), None);
        assert_eq!(options_in("Which? Options: [a"), None);
    }

    #[test]
    fn every_kind_of_answer_is_told_how_to_be_given() {
        let two = ["red".to_owned(), "blue".to_owned()];
        let told = |answer, options: &[String]| how_to_answer(&answer, options);
        assert!(told(Answer::Choice("red".into()), &two).contains("one of red, blue between"));
        assert!(told(Answer::Path(vec![1]), &[]).contains("[3, 4, 9]"));
        assert!(told(Answer::Sequence(two.to_vec()), &two).contains("out of red, blue"));
        assert!(told(Answer::Grid(vec![vec![1]]), &two).contains("1 for red, 2 for blue"));
    }
}
