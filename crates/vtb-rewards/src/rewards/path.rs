//! Reward for a path through a maze, judged on the maze's graph.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use vtb_puzzle::answer::{AnswerPolicy, AnswerStatus, PathAnswer, parse_path};
use vtb_puzzle::graph::{CellId, MazeGraph, PathCheck, PathRules, check_path};

use super::check_order;
use crate::error::{Result, RewardError};
use crate::reference::{PathTruth, Truth};
use crate::{Completion, Reference, Reward, Score};

/// Names of the components, in order.
const COMPONENTS: [&str; 9] = [
    "format",
    "valid_ids",
    "starts",
    "ends",
    "adjacency",
    "legal_prefix",
    "no_repeat",
    "length",
    "legal",
];

/// Parameters of [`PathReward`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PathParams {
    /// Value of an answer that is no list of cell ids of the maze.
    pub malformed: f64,
    /// Most that a path short of the goal can earn, between 0 and 1.
    pub partial: f64,
    /// Factors on the components: the total is multiplied by their weighted mean. Empty (the
    /// default): no such factor.
    pub weights: BTreeMap<String, f64>,
    /// Only a route of the least length is worth 1, whatever the record's rules; a longer one earns
    /// `partial`.
    pub require_shortest: bool,
    /// A route may pass a cell twice, whatever the record's rules.
    pub allow_repeats: bool,
    /// An id above the largest of the maze makes the answer malformed. Off: it is an illegal step.
    pub strict_ids: bool,
    /// Longest list read, in multiples of the number of cells.
    pub max_len_factor: usize,
    /// Taken off when something follows the closing tag; never below `malformed`.
    pub trailing_penalty: f64,
    /// How answers are read.
    pub parser: AnswerPolicy,
}

impl Default for PathParams {
    fn default() -> Self {
        Self {
            malformed: -1.0,
            partial: 0.8,
            weights: BTreeMap::new(),
            require_shortest: false,
            allow_repeats: false,
            strict_ids: true,
            max_len_factor: 4,
            trailing_penalty: 0.0,
            parser: AnswerPolicy::default(),
        }
    }
}

/// 1 for a legal route from start to goal; otherwise `partial` times the progress made before the
/// first illegal step.
///
/// Progress is `(d(start, goal) - d(last legal cell, goal)) / d(start, goal)`, at least 0, with
/// distances on the graph. A list that is only the start, or the two ends of a longer route, earns
/// nothing, and cells behind the first illegal step count for nothing.
///
/// Components, each in 0..=1: `format` (a list of ids was read), `valid_ids` (share of ids that are
/// cells), `starts`, `ends`, `adjacency` (share of steps through an open passage), `legal_prefix`
/// (the progress), `no_repeat` (distinct cells over cells), `length` (shortest length over length,
/// for a legal route), `legal`.
pub struct PathReward {
    params: PathParams,
}

impl PathReward {
    /// A reward with these parameters.
    ///
    /// # Errors
    /// [`RewardError::Params`] if a number is out of range or a weight names no component.
    pub fn new(params: PathParams) -> Result<Self> {
        let fault = |reason: String| RewardError::Params {
            name: "path".to_owned(),
            reason,
        };
        let (low, partial) = (("malformed", params.malformed), ("partial", params.partial));
        check_order("path", &[low, ("zero", 0.0), partial, ("one", 1.0)])?;
        check_order(
            "path",
            &[("zero", 0.0), ("trailing_penalty", params.trailing_penalty)],
        )?;
        for (name, &weight) in &params.weights {
            if !COMPONENTS.contains(&name.as_str()) {
                let known = COMPONENTS.join(", ");
                return Err(fault(format!(
                    "weight of `{name}`: the components are {known}"
                )));
            }
            check_order("path", &[("zero", 0.0), (name, weight)])?;
        }
        if !params.weights.is_empty() && params.weights.values().all(|&weight| weight == 0.0) {
            return Err(fault("all `weights` are 0".to_owned()));
        }
        Ok(Self { params })
    }

    fn rules(&self, truth: &PathTruth) -> PathRules {
        PathRules {
            allow_repeats: self.params.allow_repeats || truth.rules.allow_repeats,
            shortest_only: self.params.require_shortest || truth.rules.shortest_only,
        }
    }

    fn unreadable(&self, status: AnswerStatus, message: String) -> Score {
        let score = Score::with_status(self.params.malformed, status).message(message);
        COMPONENTS
            .iter()
            .fold(score, |score, &name| score.component(name, 0.0))
    }

    /// Weighted mean of the components, 1 without weights.
    fn factor(&self, values: &[f64; COMPONENTS.len()]) -> f64 {
        let weight = |name: &str| self.params.weights.get(name).copied().unwrap_or(0.0);
        let sum: f64 = COMPONENTS.iter().map(|name| weight(name)).sum();
        if sum <= 0.0 {
            return 1.0;
        }
        let terms = COMPONENTS
            .iter()
            .zip(values)
            .map(|(name, value)| weight(name) * value);
        terms.sum::<f64>() / sum
    }

    fn judge(&self, truth: &PathTruth, answer: &PathAnswer) -> Score {
        let check = check_path(&truth.graph, &answer.ids, self.rules(truth));
        let values = components(&truth.graph, &answer.ids, &check);
        let [.., legal_prefix, _, _, _] = values;
        let base = if check.valid {
            1.0
        } else {
            self.params.partial * legal_prefix
        };
        let mut value = base * self.factor(&values);
        if answer.trailing {
            value = (value - self.params.trailing_penalty).max(self.params.malformed);
        }
        let score = Score::ok(value).message(describe(&check, answer));
        COMPONENTS
            .iter()
            .zip(values)
            .fold(score, |score, (&name, value)| score.component(name, value))
    }
}

impl Reward for PathReward {
    fn name(&self) -> &str {
        "path"
    }

    fn applies(&self, reference: &Reference) -> bool {
        matches!(reference.truth, Truth::Path(_))
    }

    fn score(&self, completion: &Completion<'_>, reference: &Reference) -> Score {
        let Truth::Path(truth) = &reference.truth else {
            return Score::not_applicable();
        };
        let max_len = truth
            .graph
            .cells()
            .len()
            .saturating_mul(self.params.max_len_factor);
        let answer = parse_path(completion.text(), max_len, &self.params.parser);
        if answer.status != AnswerStatus::Ok {
            let why = if answer.too_long {
                format!("the list has more than {max_len} items")
            } else {
                format!("no list of cell ids: {}", answer.status.as_str())
            };
            return self.unreadable(answer.status, why);
        }
        // Without a maze its largest id is not known, so that no id can be out of range.
        let strict = self.params.strict_ids && !truth.from_path_only;
        let largest = truth.graph.cells().last().copied().unwrap_or(0);
        match answer.ids.iter().find(|&&id| strict && id > largest) {
            Some(id) => {
                let why = format!("id {id} is out of range: the largest is {largest}");
                self.unreadable(AnswerStatus::Malformed, why)
            }
            None => self.judge(truth, &answer),
        }
    }
}

/// The components in the order of [`COMPONENTS`]. `ids` is not empty.
fn components(graph: &MazeGraph, ids: &[CellId], check: &PathCheck) -> [f64; COMPONENTS.len()] {
    let flag = |on: bool| if on { 1.0 } else { 0.0 };
    let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
    let known = ids.iter().filter(|&&id| graph.contains(id)).count();
    let open = |step: &&[CellId]| graph.neighbours(step[0]).contains(&step[1]);
    let legal_steps = ids.windows(2).filter(open).count();
    let distinct = ids.iter().collect::<BTreeSet<_>>().len();
    [
        1.0,
        share(known, ids.len()),
        flag(ids.first() == Some(&graph.start())),
        flag(ids.last() == Some(&graph.goal())),
        share(legal_steps, ids.len().saturating_sub(1)),
        progress(graph, &ids[..check.prefix_valid_len]),
        share(distinct, ids.len()),
        check.length_ratio.min(1.0),
        flag(check.valid),
    ]
}

/// Share of the way from start to goal that a legal path has come.
fn progress(graph: &MazeGraph, legal: &[CellId]) -> f64 {
    let left = legal.last().and_then(|&id| graph.distance_to_goal(id));
    let whole = graph.distance_to_goal(graph.start());
    match (left, whole) {
        (Some(left), Some(whole)) => whole.saturating_sub(left) as f64 / whole.max(1) as f64,
        _ => 0.0,
    }
}

fn describe(check: &PathCheck, answer: &PathAnswer) -> String {
    let dropped = match answer.dropped {
        0 => String::new(),
        count => format!(" ({count} items left out)"),
    };
    match check.fault.zip(check.first_error_index) {
        Some((fault, at)) => format!("{}{dropped}", fault.describe(&answer.ids, at)),
        None => format!("a legal route of {} cells{dropped}", answer.ids.len()),
    }
}
