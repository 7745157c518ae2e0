//! Judging answers to the entries of a data set, whoever made it.

use vtb_puzzle::answer::{AnswerMethod, AnswerPolicy, parse_choice};
use vtb_puzzle::{
    Answer, MazeGraph, Outcome, PictureJudge, Question, Verdict, find, judge_question,
};

use super::ManifestEntry;
use super::upstream_rule;
use crate::error::{DataError, Result};

impl ManifestEntry {
    /// Makes the judge of edited pictures of this entry.
    ///
    /// For our own data everything follows from the record. Foreign data say less: markers,
    /// boards and square mazes are told from the record's geometry; hexagonal and round mazes
    /// store no walls, so their cells come from the record and their passages from the walls that
    /// the puzzle's picture shows, and the stored path must be open on them. The other foreign
    /// tasks are answered in text.
    ///
    /// # Errors
    /// [`DataError::Puzzle`] for our own record, also of a task whose pictures cannot be judged;
    /// [`DataError::Record`] naming a foreign record and the field that does not serve;
    /// [`DataError::Io`] and [`DataError::Changed`] for its pictures.
    pub fn picture_judge(&self) -> Result<PictureJudge> {
        match (&self.record, &self.foreign) {
            (Some(record), _) => find(&record.task)
                .and_then(|task| PictureJudge::new(task, record))
                .map_err(|fault| self.puzzle_fault(&fault.to_string())),
            (None, Some(foreign)) => upstream_rule::picture_judge(self, foreign),
            (None, None) => Err(self.puzzle_fault("there is no record to judge by")),
        }
    }

    /// Cells and open passages of a maze; `None` for other puzzles. See
    /// [`ManifestEntry::picture_judge`] for where they come from in foreign data.
    ///
    /// # Errors
    /// As [`ManifestEntry::picture_judge`].
    pub fn maze_graph(&self) -> Result<Option<MazeGraph>> {
        match (&self.record, &self.foreign, &self.answer) {
            (Some(record), ..) => Ok(record.graph.clone()),
            (None, Some(foreign), Answer::Path(_)) => {
                upstream_rule::maze_graph(self, foreign).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Judges a text answer.
    ///
    /// Where the options are not known, as in some foreign data, an answer counts only if it
    /// stands by itself, behind "the answer is" or on the last line: among unknown words nobody
    /// can tell which is meant. Counts may be any number below 100.
    ///
    /// # Errors
    /// As [`ManifestEntry::maze_graph`]; for one entry and many texts,
    /// [`ManifestEntry::text_judge`] looks for the maze once.
    pub fn judge_text(&self, text: &str, policy: &AnswerPolicy) -> Result<Verdict> {
        Ok(self.text_judge()?.judge(text, policy))
    }

    /// Makes the judge of text answers to this entry.
    ///
    /// # Errors
    /// As [`ManifestEntry::maze_graph`].
    pub fn text_judge(&self) -> Result<TextJudge> {
        let (options, is_open) = match &self.answer {
            Answer::Choice(gold) if self.options.is_empty() => possible(gold),
            _ => (self.options.clone(), false),
        };
        let record = self.record.as_deref();
        Ok(TextJudge {
            answer: self.answer.clone(),
            options,
            is_open,
            options_listed: record.is_some_and(|record| record.options_listed),
            graph: self.maze_graph()?,
            rules: record.map(|record| record.path_rules).unwrap_or_default(),
        })
    }

    fn puzzle_fault(&self, reason: &str) -> DataError {
        DataError::Puzzle {
            task: self.task.clone(),
            reason: format!("record {}: {reason}", self.id),
        }
    }
}

/// Judges text answers to one entry; see [`ManifestEntry::text_judge`].
#[derive(Debug, Clone)]
pub struct TextJudge {
    answer: Answer,
    options: Vec<String>,
    /// There are options that nobody listed.
    is_open: bool,
    options_listed: bool,
    graph: Option<MazeGraph>,
    rules: vtb_puzzle::PathRules,
}

impl TextJudge {
    /// Judges a text; total.
    #[must_use]
    pub fn judge(&self, text: &str, policy: &AnswerPolicy) -> Verdict {
        let question = Question {
            answer: &self.answer,
            options: &self.options,
            options_listed: self.options_listed,
            graph: self.graph.as_ref(),
            path_rules: self.rules,
        };
        let verdict = judge_question(&question, text, policy);
        if !self.is_open || !verdict.correct || self.stands_alone(text, policy) {
            return verdict;
        }
        Verdict {
            outcome: Outcome::Ambiguous,
            correct: false,
            reason: "the right word is among others, and the options are not known".to_owned(),
            ..verdict
        }
    }

    fn stands_alone(&self, text: &str, policy: &AnswerPolicy) -> bool {
        use AnswerMethod::{AnswerPhrase, Direct, FinalLine};
        let method = parse_choice(text, &self.options, policy).method;
        matches!(method, Some(Direct | AnswerPhrase | FinalLine))
    }
}

/// What an answer may be where that is not said, and whether there may be more.
fn possible(gold: &str) -> (Vec<String>, bool) {
    const COUNTS: u64 = 100;
    match gold.parse::<u64>() {
        Ok(count) if count < COUNTS => ((0..COUNTS).map(|n| n.to_string()).collect(), false),
        _ => (vec![gold.to_owned()], true),
    }
}
