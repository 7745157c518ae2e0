//! `reward check`: what rewards pay for answers whose worth is known, before anything is trained on them.

use std::fmt::Write;

use vtb_data::{RowSource, TrainRow};
use vtb_rewards::{Completion, Reference, ScoreStatus, Truth, WeightedRewards};

/// An answer whose worth is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// A word of reasoning, then the solution in answer tags.
    Gold,
    /// The solution in answer tags and nothing else.
    GoldAlone,
    /// The solution without tags.
    GoldUntagged,
    /// Reasoning, then an answer of the right kind that is wrong, in tags.
    Wrong,
    /// Every option, one after the other; a path that only names its ends.
    Guess,
    /// Text without an answer.
    Prose,
    /// Nothing.
    Empty,
}

impl Probe {
    /// All, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::Gold,
        Self::GoldAlone,
        Self::GoldUntagged,
        Self::Wrong,
        Self::Guess,
        Self::Prose,
        Self::Empty,
    ];

    /// Name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gold => "gold",
            Self::GoldAlone => "gold, no reasoning",
            Self::GoldUntagged => "gold, no tags",
            Self::Wrong => "wrong",
            Self::Guess => "guess",
            Self::Prose => "prose",
            Self::Empty => "empty",
        }
    }

    /// Whether a reward that pays more for it than for [`Probe::Gold`] or as much teaches the wrong thing.
    fn must_lose(self) -> bool {
        matches!(self, Self::Wrong | Self::Guess | Self::Prose | Self::Empty)
    }

    /// The text, where the row has such an answer.
    pub fn text(self, reference: &Reference) -> Option<String> {
        let gold = (!reference.solution.is_empty()).then(|| reference.solution.clone());
        let reasoned = |answer: &str| {
            format!("The figure was measured part by part.\n<answer>{answer}</answer>")
        };
        match self {
            Self::Gold => gold.map(|answer| reasoned(&answer)),
            Self::GoldAlone => gold.map(|answer| format!("<answer>{answer}</answer>")),
            Self::GoldUntagged => gold,
            Self::Wrong => wrong(&reference.truth).map(|answer| reasoned(&answer)),
            Self::Guess => guess(&reference.truth),
            Self::Prose => Some("The figure was measured part by part, without a result.".into()),
            Self::Empty => Some(String::new()),
        }
    }
}

/// An answer of the right kind that is not the solution.
fn wrong(truth: &Truth) -> Option<String> {
    match truth {
        Truth::Choice(choice) => {
            let other =
                |(at, option): (usize, &String)| (at != choice.correct).then(|| option.clone());
            choice.options.iter().enumerate().find_map(other)
        }
        Truth::Path(path) => {
            let (_, short) = path.path.split_last()?;
            Some(format!("{short:?}"))
        }
        Truth::Sequence(sequence) => {
            let turned: Vec<_> = sequence.names.iter().rev().cloned().collect();
            (turned != sequence.names).then(|| turned.join(", "))
        }
        Truth::Grid(rows) => {
            let mut rows = rows.clone();
            let cell = rows.first_mut()?.first_mut()?;
            *cell = if *cell == 1 { 2 } else { 1 };
            Some(format!("{rows:?}"))
        }
        Truth::Unknown => None,
    }
}

/// An answer that hopes for credit without solving the puzzle.
fn guess(truth: &Truth) -> Option<String> {
    match truth {
        Truth::Choice(choice) if choice.options.len() > 1 => {
            let tagged = |option: &String| format!("<answer>{option}</answer>");
            Some(choice.options.iter().map(tagged).collect())
        }
        Truth::Path(path) => {
            let (start, goal) = (path.path.first()?, path.path.last()?);
            Some(format!("<answer>[{start}, {goal}]</answer>"))
        }
        _ => None,
    }
}

/// What one kind of answer was paid.
#[derive(Debug, Clone, Default)]
struct Paid {
    rows: usize,
    sum: f64,
    least: f64,
    most: f64,
    errors: usize,
    /// A row that was paid no less for it than for gold.
    beats_gold: Vec<String>,
}

impl Paid {
    fn add(&mut self, value: f64, errors: usize) {
        self.least = if self.rows == 0 {
            value
        } else {
            self.least.min(value)
        };
        self.most = if self.rows == 0 {
            value
        } else {
            self.most.max(value)
        };
        self.rows += 1;
        self.sum += value;
        self.errors += errors;
    }
}

/// The table of one file.
#[derive(Debug, Clone)]
pub struct Findings {
    rows: usize,
    paid: Vec<(Probe, Paid)>,
    /// Rows without anything to compare an answer with.
    unknown: Vec<String>,
    /// Rows that no reward has anything to say about.
    unjudged: Vec<String>,
    /// Rows whose gold answer is not read as an answer.
    unread: Vec<String>,
}

/// Scores every [`Probe`] of up to `limit` rows, spread evenly over the file.
///
/// # Errors
/// A row cannot be read, or its columns contradict each other.
pub fn check(
    rows: &dyn RowSource,
    limit: usize,
    rewards: &WeightedRewards,
) -> anyhow::Result<Findings> {
    let count = limit.clamp(1, rows.len());
    let mut findings = Findings {
        rows: count,
        paid: Probe::ALL.map(|probe| (probe, Paid::default())).into(),
        unknown: Vec::new(),
        unjudged: Vec::new(),
        unread: Vec::new(),
    };
    for at in 0..count {
        let row = rows.row(at * rows.len() / count)?;
        findings.add(&row, rewards)?;
    }
    Ok(findings)
}

impl Findings {
    fn add(&mut self, row: &TrainRow, rewards: &WeightedRewards) -> anyhow::Result<()> {
        let reference = Reference::from_row(&row.columns())
            .map_err(|fault| anyhow::anyhow!("{}: {fault}", row.origin))?;
        let name = row.origin.to_string();
        if reference.truth == Truth::Unknown {
            self.unknown.push(name);
            return Ok(());
        }
        let mut gold = None;
        for (probe, paid) in &mut self.paid {
            let Some(text) = probe.text(&reference) else {
                continue;
            };
            let total = rewards.total(&Completion::new(text), &reference);
            paid.add(total.value, total.errors());
            if *probe == Probe::Gold {
                let scores = || total.parts.iter().filter_map(|part| part.score.as_ref());
                let read = |status| matches!(status, ScoreStatus::Answer(s) if s.as_str() == "ok");
                if scores().count() == 0 {
                    self.unjudged.push(name.clone());
                } else if !scores().all(|score| read(score.status)) {
                    self.unread.push(name.clone());
                }
                gold = Some(total.value);
            } else if probe.must_lose() && gold.is_some_and(|gold| total.value >= gold) {
                paid.beats_gold.push(name.clone());
            }
        }
        Ok(())
    }

    /// What speaks against training on this file with these rewards; empty where nothing does.
    pub fn faults(&self) -> Vec<String> {
        let note = |rows: &[String], what: &str| {
            let first = rows.first()?;
            let (count, all) = (rows.len(), self.rows);
            Some(format!("{what}: {count} of {all} rows, first {first}"))
        };
        let rows = [
            (&self.unknown, "no solution that can be checked"),
            (&self.unjudged, "no reward applies"),
            (&self.unread, "the solution is not read as an answer"),
        ];
        let mut faults: Vec<_> = rows
            .iter()
            .filter_map(|(rows, what)| note(rows, what))
            .collect();
        for (probe, paid) in &self.paid {
            let name = probe.name();
            faults.extend(note(
                &paid.beats_gold,
                &format!("`{name}` is paid no less than gold"),
            ));
            if paid.errors > 0 {
                faults.push(format!(
                    "a reward failed on {} `{name}` answers",
                    paid.errors
                ));
            }
        }
        faults
    }

    /// A line for each kind of answer.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<20} {:>6} {:>8} {:>8} {:>8}\n",
            "answer", "rows", "mean", "least", "most"
        );
        for (probe, paid) in &self.paid {
            if paid.rows == 0 {
                continue;
            }
            let mean = paid.sum / paid.rows as f64;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{:<20} {:>6} {:>8.3} {:>8.3} {:>8.3}",
                probe.name(),
                paid.rows,
                mean,
                paid.least,
                paid.most
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use vtb_rewards::{Registry, RewardSpec};

    use super::*;

    fn reference(row: Value) -> Reference {
        Reference::from_row(row.as_object().expect("an object")).expect("a reference")
    }

    fn rewards() -> WeightedRewards {
        let spec = RewardSpec {
            name: "auto".into(),
            weight: 1.0,
            params: Value::Null,
        };
        WeightedRewards::from_specs(&Registry::builtin(), &[spec]).expect("built in")
    }

    #[test]
    fn every_kind_of_truth_has_an_answer_that_wins_and_answers_that_lose() {
        let rows = [
            json!({"solution": "B", "options": ["A", "B", "C"]}),
            json!({"solution": [1, 2, 3, 4]}),
            json!({"solution": ["red", "blue", "green"]}),
            json!({"solution": [[1, 2], [2, 1]]}),
        ];
        for row in rows {
            let reference = reference(row.clone());
            let pay = |probe: Probe| {
                let text = probe.text(&reference)?;
                Some(rewards().total(&Completion::new(text), &reference).value)
            };
            let gold = pay(Probe::Gold).expect("a solution");
            assert_eq!(pay(Probe::GoldAlone), Some(gold), "{row}");
            for probe in Probe::ALL.into_iter().filter(|probe| probe.must_lose()) {
                assert!(pay(probe).is_none_or(|paid| paid < gold), "{row} {probe:?}");
            }
            assert!(pay(Probe::Wrong).is_some(), "{row}");
        }
    }

    #[test]
    fn a_row_without_solution_has_no_gold() {
        let unknown = reference(json!({}));
        assert_eq!(Probe::Gold.text(&unknown), None);
        assert_eq!(Probe::Wrong.text(&unknown), None);
    }
}
