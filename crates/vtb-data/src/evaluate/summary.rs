//! The numbers of an evaluation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use vtb_puzzle::{Outcome, TaskGroup};

use super::baseline::SHORTCUTS;
use super::{Attempt, Judged, Kind};
use crate::stats::{Accuracy, pass_at_k};

/// Most options of a task whose confusions are counted.
const MAX_LABELS: usize = 26;
/// Bins of difficulty.
const BINS: usize = 5;

/// How a set of records came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Records.
    pub records: usize,
    /// Attempts at them.
    pub attempts: usize,
    /// Records that nothing was predicted for: each counts as one invalid attempt.
    pub missing: usize,
    /// Attempts that are right.
    pub correct: usize,
    /// Attempts that can be read and are not right.
    pub wrong: usize,
    /// Attempts without an answer that can be read, missing ones included.
    pub invalid: usize,
    /// Attempts with several answers.
    pub ambiguous: usize,
    /// Of the invalid ones, those whose file could not be read at all.
    pub unreadable: usize,
    /// Mean over records of the share of right attempts (avg@k), with a 95 % Wilson interval over
    /// records.
    pub accuracy: Accuracy,
    /// Mean of the attempts' scores, which also count how near a picture or clip came.
    pub mean_score: f64,
    /// By k: mean probability that one of k attempts is right (unbiased). Only where every record
    /// has as many attempts.
    pub pass_at: BTreeMap<usize, f64>,
    /// By k: share of records whose most frequent answer among the first k attempts is right; a tie
    /// is wrong. Only where every record has as many attempts.
    pub maj_at: BTreeMap<usize, f64>,
    /// Accuracy of guessing among the options.
    pub chance: f64,
}

/// Records of like difficulty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bin {
    /// Least difficulty, included.
    pub from: f64,
    /// Greatest difficulty.
    pub to: f64,
    /// How they came out.
    pub accuracy: Accuracy,
}

/// How one task came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskSummary {
    /// Family of the task.
    pub group: TaskGroup,
    /// All of its records.
    #[serde(flatten)]
    pub score: Score,
    /// What rules score that do not look at the figure: always the most frequent answer, and for
    /// markers the one in a special place.
    pub baselines: BTreeMap<String, f64>,
    /// By right answer: how often each answer was given; also `(invalid)` and `(ambiguous)`.
    pub confusion: BTreeMap<String, BTreeMap<String, usize>>,
    /// By the records' `difficulty`, 0 to 1, where they have one.
    pub difficulty: Vec<Bin>,
}

/// How a family of tasks came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupSummary {
    /// All of its records.
    #[serde(flatten)]
    pub score: Score,
    /// Mean accuracy of its tasks, each counted alike.
    pub mean_of_tasks: f64,
}

/// What `summary.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Name and version of the program.
    pub program: String,
    /// What was judged.
    pub kind: Kind,
    /// The data set.
    pub dataset: String,
    /// The predictions.
    pub predictions: String,
    /// All records.
    pub overall: Score,
    /// Mean accuracy of the tasks, each counted alike.
    pub mean_of_tasks: f64,
    /// Mean over groups of their `mean_of_tasks`, each group counted alike.
    pub mean_of_groups: f64,
    /// By group.
    pub groups: BTreeMap<TaskGroup, GroupSummary>,
    /// By task.
    pub tasks: BTreeMap<String, TaskSummary>,
}

impl Summary {
    pub(super) fn new(kind: Kind, dataset: &Path, predictions: &Path, records: &[Judged]) -> Self {
        let mut by_task: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
        let mut by_group: BTreeMap<TaskGroup, Vec<&Judged>> = BTreeMap::new();
        for record in records {
            by_task.entry(&record.task).or_default().push(record);
            by_group.entry(record.group).or_default().push(record);
        }
        let tasks: BTreeMap<String, TaskSummary> = by_task
            .iter()
            .map(|(name, records)| ((*name).to_owned(), TaskSummary::new(records)))
            .collect();
        let mean_of = |group: Option<TaskGroup>| {
            let wanted = tasks
                .values()
                .filter(|task| group.is_none_or(|group| task.group == group));
            mean(wanted.map(|task| task.score.accuracy.accuracy))
        };
        let groups: BTreeMap<TaskGroup, GroupSummary> = by_group
            .iter()
            .map(|(group, records)| {
                let summary = GroupSummary {
                    score: Score::new(records),
                    mean_of_tasks: mean_of(Some(*group)),
                };
                (*group, summary)
            })
            .collect();
        let all: Vec<&Judged> = records.iter().collect();
        Self {
            program: format!("vtb {}", env!("CARGO_PKG_VERSION")),
            kind,
            dataset: dataset.display().to_string(),
            predictions: predictions.display().to_string(),
            overall: Score::new(&all),
            mean_of_tasks: mean_of(None),
            mean_of_groups: mean(groups.values().map(|group| group.mean_of_tasks)),
            groups,
            tasks,
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, count), value| {
        (sum + value, count + 1)
    });
    sum / count.max(1) as f64
}

fn right(attempt: &Attempt) -> bool {
    attempt.verdict == Outcome::Correct
}

fn right_of(record: &Judged) -> usize {
    record
        .attempts
        .iter()
        .filter(|attempt| right(attempt))
        .count()
}

impl Score {
    fn new(records: &[&Judged]) -> Self {
        let attempts = || records.iter().flat_map(|record| &record.attempts);
        let count = |outcome| {
            attempts()
                .filter(|attempt| attempt.verdict == outcome)
                .count()
        };
        let share =
            |record: &&Judged| right_of(record) as f64 / record.attempts.len().max(1) as f64;
        let fewest = records.iter().map(|record| record.attempts.len()).min();
        let ks = || ks_up_to(fewest.unwrap_or(0));
        let pass = |k: usize| {
            let each = records
                .iter()
                .map(|record| pass_at_k(record.attempts.len(), right_of(record), k));
            (k, mean(each.flatten()))
        };
        let majority = |k: usize| {
            let each = records
                .iter()
                .map(|record| f64::from(u8::from(majority_is_right(&record.attempts[..k]))));
            (k, mean(each))
        };
        Self {
            records: records.len(),
            attempts: attempts().count(),
            missing: records.iter().filter(|record| record.missing).count(),
            correct: count(Outcome::Correct),
            wrong: count(Outcome::Wrong),
            invalid: count(Outcome::Invalid),
            ambiguous: count(Outcome::Ambiguous),
            unreadable: attempts().filter(|attempt| attempt.unreadable).count(),
            accuracy: Accuracy::from_mean(mean(records.iter().map(share)), records.len()),
            mean_score: mean(attempts().map(|attempt| attempt.score)),
            pass_at: ks().map(pass).collect(),
            maj_at: ks().map(majority).collect(),
            chance: mean(records.iter().map(|record| record.chance)),
        }
    }
}

/// 1, 2, 4, ... and `most` itself.
fn ks_up_to(most: usize) -> impl Iterator<Item = usize> {
    let powers = (0..usize::BITS)
        .map(|bit| 1 << bit)
        .take_while(move |k| *k <= most);
    let ks: BTreeSet<usize> = powers.chain((most > 0).then_some(most)).collect();
    ks.into_iter()
}

/// Whether one answer is given more often than any other, and is right. Two different routes
/// through a maze are two answers.
fn majority_is_right(attempts: &[Attempt]) -> bool {
    let mut votes: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
    for attempt in attempts {
        let read = matches!(attempt.verdict, Outcome::Correct | Outcome::Wrong);
        if let (Some(answer), true) = (&attempt.parsed, read) {
            let vote = votes.entry(answer).or_default();
            *vote = (vote.0 + 1, vote.1 || right(attempt));
        }
    }
    let most = votes.values().map(|vote| vote.0).max().unwrap_or(0);
    let mut leaders = votes.values().filter(|vote| vote.0 == most);
    matches!((leaders.next(), leaders.next()), (Some((_, true)), None))
}

impl TaskSummary {
    fn new(records: &[&Judged]) -> Self {
        let labels: Vec<&str> = records.iter().filter_map(|r| r.label.as_deref()).collect();
        Self {
            group: records
                .first()
                .map_or(TaskGroup::Visual, |record| record.group),
            score: Score::new(records),
            baselines: baselines(records, &labels),
            confusion: confusion(records, &labels),
            difficulty: bins(records),
        }
    }
}

fn baselines(records: &[&Judged], labels: &[&str]) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for label in labels {
        *counts.entry(label).or_default() += 1;
    }
    if let (Some(most), true) = (counts.values().max(), labels.len() == records.len()) {
        found.insert(
            "most_frequent_answer".to_owned(),
            *most as f64 / records.len() as f64,
        );
    }
    let picked: Option<Vec<_>> = records.iter().map(|record| record.shortcuts).collect();
    if let Some(picked) = picked {
        for (at, name) in SHORTCUTS.iter().enumerate() {
            let share = mean(picked.iter().map(|hits| f64::from(u8::from(hits[at]))));
            found.insert((*name).to_owned(), share);
        }
    }
    found
}

fn confusion(records: &[&Judged], labels: &[&str]) -> BTreeMap<String, BTreeMap<String, usize>> {
    let known: BTreeSet<&str> = labels.iter().copied().collect();
    let mut table: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    if known.len() > MAX_LABELS {
        return table;
    }
    for record in records {
        let Some(label) = &record.label else { continue };
        let row = table.entry(label.clone()).or_default();
        for attempt in &record.attempts {
            let given = match (attempt.verdict, &attempt.parsed) {
                (Outcome::Correct, _) => label.clone(),
                (Outcome::Wrong, Some(parsed)) => parsed.clone(),
                (Outcome::Wrong, None) => "(other)".to_owned(),
                (Outcome::Invalid, _) => "(invalid)".to_owned(),
                (Outcome::Ambiguous, _) => "(ambiguous)".to_owned(),
            };
            *row.entry(given).or_default() += 1;
        }
    }
    table
}

fn bins(records: &[&Judged]) -> Vec<Bin> {
    let mut bins = vec![Vec::new(); BINS];
    for record in records {
        if let Some(difficulty) = record.difficulty.filter(|value| value.is_finite()) {
            let at = (difficulty.clamp(0.0, 1.0) * BINS as f64) as usize;
            bins[at.min(BINS - 1)]
                .push(right_of(record) as f64 / record.attempts.len().max(1) as f64);
        }
    }
    let edge = |at: usize| at as f64 / BINS as f64;
    let filled = bins
        .iter()
        .enumerate()
        .filter(|(_, shares)| !shares.is_empty());
    filled
        .map(|(at, shares)| Bin {
            from: edge(at),
            to: edge(at + 1),
            accuracy: Accuracy::from_mean(mean(shares.iter().copied()), shares.len()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(verdict: Outcome, parsed: &str) -> Attempt {
        Attempt {
            id: "x".to_owned(),
            attempt: 1,
            task: "t".to_owned(),
            verdict,
            reason: "r".to_owned(),
            parsed: (!parsed.is_empty()).then(|| parsed.to_owned()),
            answer: "A".to_owned(),
            score: f64::from(u8::from(verdict == Outcome::Correct)),
            unreadable: false,
        }
    }

    fn judged(given: &[(Outcome, &str)]) -> Judged {
        Judged {
            index: 0,
            group: TaskGroup::Eyeballing,
            task: "t".to_owned(),
            label: Some("A".to_owned()),
            chance: 0.2,
            difficulty: Some(0.5),
            shortcuts: Some([true, false, false]),
            missing: false,
            attempts: given
                .iter()
                .map(|(verdict, parsed)| attempt(*verdict, parsed))
                .collect(),
        }
    }

    #[test]
    fn several_attempts_are_counted_apart_and_together() {
        use Outcome::{Ambiguous, Correct, Invalid, Wrong};
        let records = [
            judged(&[(Correct, "A"), (Wrong, "B"), (Correct, "A"), (Invalid, "")]),
            judged(&[(Wrong, "B"), (Correct, "A"), (Ambiguous, "A"), (Wrong, "C")]),
        ];
        let summary = Summary::new(Kind::Text, Path::new("d"), Path::new("p"), &records);
        let score = &summary.overall;
        assert_eq!(
            [score.correct, score.wrong, score.invalid, score.ambiguous],
            [3, 3, 1, 1]
        );
        assert_eq!((score.accuracy.accuracy, score.accuracy.n), (0.375, 2));
        assert_eq!(score.pass_at.keys().copied().collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!((score.pass_at[&1], score.pass_at[&4]), (0.375, 1.0));
        // First: A and B tie at two attempts, A wins at four. Second: B, A, C once each.
        assert_eq!(
            (score.maj_at[&1], score.maj_at[&2], score.maj_at[&4]),
            (0.5, 0.0, 0.5)
        );
        let task = &summary.tasks["t"];
        assert_eq!(task.baselines["most_frequent_answer"], 1.0);
        assert_eq!(
            (
                task.baselines["nearest_to_middle"],
                task.baselines["medoid"]
            ),
            (1.0, 0.0)
        );
        let row = &task.confusion["A"];
        assert_eq!(
            (row["A"], row["B"], row["(invalid)"], row["(ambiguous)"]),
            (3, 2, 1, 1)
        );
        assert_eq!((task.difficulty.len(), task.difficulty[0].from), (1, 0.4));
    }

    #[test]
    fn nothing_at_all_is_no_division_by_nothing() {
        let summary = Summary::new(Kind::Image, Path::new("d"), Path::new("p"), &[]);
        assert_eq!(summary.overall.accuracy, Accuracy::from_counts(0, 0));
        assert!(
            serde_json::to_string(&summary)
                .unwrap()
                .contains("\"mean_of_groups\":0.0")
        );
    }
}
