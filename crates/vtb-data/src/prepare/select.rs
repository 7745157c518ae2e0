//! Which samples of a data set are wanted.

use std::collections::BTreeSet;

use super::sample::Sample;
use crate::error::{DataError, Result};

/// The group of questions in words that come with the benchmark's Parquet files.
pub const TEXT_CENTRIC: &str = "text_centric";
/// Every group there is.
pub const GROUPS: [&str; 5] = [
    "eyeballing",
    "maze",
    "visual",
    "visual_puzzle",
    TEXT_CENTRIC,
];

/// Names of tasks, groups and splits; an empty list leaves nothing out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Tasks.
    pub tasks: BTreeSet<String>,
    /// Groups of tasks.
    pub groups: BTreeSet<String>,
    /// Parts of the data set.
    pub splits: BTreeSet<String>,
}

impl Selection {
    /// Takes names as a user gave them; `all` stands for every task or group.
    ///
    /// # Errors
    /// [`DataError::Prepare`] for a group that does not exist. Tasks and splits are told by the
    /// data: see `run`, which refuses what no record has.
    pub fn new(tasks: &[String], groups: &[String], splits: &[String]) -> Result<Self> {
        for group in groups {
            if group != "all" && !GROUPS.contains(&group.as_str()) {
                let near = |known: &&&str| strsim::damerau_levenshtein(known, group);
                let near = GROUPS.iter().min_by_key(near).unwrap_or(&GROUPS[0]);
                let all = GROUPS.join(", ");
                return Err(DataError::Prepare(format!(
                    "there is no group {group:?}; did you mean {near}? There are {all}"
                )));
            }
        }
        let set = |names: &[String]| match names.iter().any(|name| name == "all") {
            true => BTreeSet::new(),
            false => names.iter().cloned().collect(),
        };
        Ok(Self {
            tasks: set(tasks),
            groups: set(groups),
            splits: splits.iter().cloned().collect(),
        })
    }

    /// Whether a sample is wanted.
    pub fn takes(&self, sample: &Sample) -> bool {
        let split = || sample.split.as_deref().unwrap_or_default();
        let within =
            |names: &BTreeSet<String>, name: &str| names.is_empty() || names.contains(name);
        within(&self.tasks, &sample.task)
            && within(&self.groups, &sample.group)
            && (self.splits.is_empty() || self.splits.contains(split()))
    }

    /// The first name that no sample bears, told with those that are there: a misspelt one.
    pub(super) fn unseen(&self, seen: &Seen) -> Option<String> {
        let lists = [
            ("task", &self.tasks, &seen.tasks),
            ("split", &self.splits, &seen.splits),
        ];
        for (what, wanted, seen) in lists {
            if let Some(name) = wanted.iter().find(|name| !seen.contains(*name)) {
                let there: Vec<&str> = seen.iter().map(String::as_str).collect();
                let there = match there.is_empty() {
                    true => "none".to_owned(),
                    false => there.join(", "),
                };
                return Some(format!(
                    "no record of the data set has {what} {name:?}; there: {there}"
                ));
            }
        }
        None
    }
}

/// Names that occur in a data set.
#[derive(Debug, Default)]
pub(super) struct Seen {
    tasks: BTreeSet<String>,
    splits: BTreeSet<String>,
}

impl Seen {
    pub(super) fn note(&mut self, sample: &Sample) {
        if !self.tasks.contains(&sample.task) {
            self.tasks.insert(sample.task.clone());
        }
        if let Some(split) = &sample.split
            && !self.splits.contains(split)
        {
            self.splits.insert(split.clone());
        }
    }
}
