//! Judges every attempt at a record.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use vtb_puzzle::answer::{AnswerPolicy, text_from_bytes};
use vtb_puzzle::judge::decode_picture;
use vtb_puzzle::{
    Answer, ClipJudge, MazeGraph, Outcome, PathRules, PictureJudge, PictureRule, Question, Record,
    find, judge_question,
};

use super::{Attempt, Given, Judged, Kind, baseline};
use crate::error::{DataError, Result};
use crate::manifest::{Asset, Manifest, ManifestEntry};
use crate::video::VideoReader;

/// Largest picture file, bytes.
const MAX_PICTURE: u64 = 256 << 20;
/// Largest text file, bytes.
const MAX_TEXT: u64 = 8 << 20;

/// Judges of a data set.
pub(super) struct Judges<'a> {
    manifest: &'a Manifest,
    kind: Kind,
    policy: AnswerPolicy,
    /// All answers of foreign records without options, by task: what an answer may be.
    answers: BTreeMap<String, BTreeSet<String>>,
}

/// A verdict of any kind.
struct Said {
    verdict: Outcome,
    reason: String,
    parsed: Option<String>,
    score: f64,
    unreadable: bool,
}

/// An entry's [`Question`], owned.
struct Known {
    answer: Answer,
    options: Vec<String>,
    options_listed: bool,
    graph: Option<MazeGraph>,
    path_rules: PathRules,
    chance: f64,
}

impl Known {
    fn question(&self) -> Question<'_> {
        Question {
            answer: &self.answer,
            options: &self.options,
            options_listed: self.options_listed,
            graph: self.graph.as_ref(),
            path_rules: self.path_rules,
        }
    }
}

impl Said {
    fn nothing(reason: String) -> Self {
        Self {
            verdict: Outcome::Invalid,
            reason,
            parsed: None,
            score: 0.0,
            unreadable: false,
        }
    }

    fn unreadable(reason: String) -> Self {
        Self {
            unreadable: true,
            ..Self::nothing(reason)
        }
    }
}

impl<'a> Judges<'a> {
    pub(super) fn new(manifest: &'a Manifest, kind: Kind, policy: AnswerPolicy) -> Result<Self> {
        let mut answers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for entry in manifest.iter() {
            let entry = entry?;
            if let (None, true, Answer::Choice(answer)) =
                (&entry.record, entry.options.is_empty(), &entry.answer)
            {
                answers
                    .entry(entry.task)
                    .or_default()
                    .insert(answer.clone());
            }
        }
        Ok(Self {
            manifest,
            kind,
            policy,
            answers,
        })
    }

    /// Judges all attempts at one record.
    pub(super) fn record(&self, index: usize, given: &[Given]) -> Result<Judged> {
        let entry = self.manifest.entry(index)?;
        let known = self.known(&entry);
        let said = match given {
            [] => vec![Said::nothing("nothing was predicted".to_owned())],
            given => self.all(&entry, &known, given),
        };
        let first = usize::from(!given.is_empty());
        let attempt = |(said, attempt): (Said, usize)| Attempt {
            id: entry.id.clone(),
            attempt,
            task: entry.task.clone(),
            verdict: said.verdict,
            reason: said.reason,
            parsed: said.parsed,
            answer: entry.answer.to_string(),
            score: said.score,
            unreadable: said.unreadable,
        };
        let attempts = said.into_iter().zip(first..).map(attempt).collect();
        let record = entry.record.as_deref();
        let label = match &known.answer {
            Answer::Choice(label) => Some(label.clone()),
            _ => None,
        };
        Ok(Judged {
            index,
            group: entry.group,
            label,
            chance: known.chance,
            difficulty: record.and_then(|record| record.measures.get("difficulty").copied()),
            shortcuts: record.and_then(shortcuts),
            missing: given.is_empty(),
            task: entry.task,
            attempts,
        })
    }

    fn all(&self, entry: &ManifestEntry, known: &Known, given: &[Given]) -> Vec<Said> {
        let nothing = |fault: DataError| Said::nothing(fault.to_string());
        match self.kind {
            Kind::Text => given.iter().map(|given| self.text(known, given)).collect(),
            Kind::Image => match entry.picture_judge() {
                Ok(judge) => given.iter().map(|given| picture(&judge, given)).collect(),
                Err(fault) => {
                    let reason = fault.to_string();
                    given
                        .iter()
                        .map(|_| Said::nothing(reason.clone()))
                        .collect()
                }
            },
            Kind::Video => {
                let clip = |given| entry.picture_judge().map(|judge| clip(judge, given));
                given
                    .iter()
                    .map(|given| clip(given).unwrap_or_else(nothing))
                    .collect()
            }
        }
    }

    /// What an answer to the entry is judged by.
    fn known(&self, entry: &ManifestEntry) -> Known {
        if let Some(record) = &entry.record {
            return Known {
                answer: record.answer.clone(),
                options: record.options.clone(),
                options_listed: record.options_listed,
                graph: record.graph.clone(),
                path_rules: record.path_rules,
                chance: record.chance(),
            };
        }
        let mut options = entry.options.clone();
        if let (Answer::Choice(answer), true) = (&entry.answer, options.is_empty()) {
            options = match answer.parse::<u32>() {
                Ok(number) => (0..=number.max(100)).map(|n| n.to_string()).collect(),
                Err(_) => self
                    .answers
                    .get(&entry.task)
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect(),
            };
        }
        Known {
            chance: match &entry.answer {
                Answer::Choice(_) => 1.0 / options.len().max(1) as f64,
                _ => 0.0,
            },
            answer: entry.answer.clone(),
            options,
            options_listed: false,
            // Without passages a path cannot be judged, which the verdict then says.
            graph: entry.maze_graph().ok().flatten(),
            path_rules: PathRules::default(),
        }
    }

    fn text(&self, known: &Known, given: &Given) -> Said {
        let text = match given {
            Given::Nothing => return Said::nothing("there is no text".to_owned()),
            Given::Text(text) => text.clone(),
            Given::File(path) => match read(path, MAX_TEXT) {
                Ok(bytes) => text_from_bytes(&bytes).into_owned(),
                Err(reason) => return Said::unreadable(reason),
            },
        };
        let verdict = judge_question(&known.question(), &text, &self.policy);
        Said {
            verdict: verdict.outcome,
            reason: verdict.reason,
            parsed: verdict.parsed,
            score: f64::from(u8::from(verdict.correct)),
            unreadable: false,
        }
    }
}

/// Whether each shortcut picks the right marker, where there are markers.
fn shortcuts(record: &Record) -> Option<[bool; baseline::SHORTCUTS.len()]> {
    let rule = find(&record.task).ok()?.picture_rule(record).ok()?;
    let PictureRule::Marker(rule) = rule else {
        return None;
    };
    let answer = record.answer.to_string();
    let right = record.options.iter().position(|option| *option == answer)?;
    Some(baseline::picks(&rule, record.canvas).map(|pick| pick == right))
}

fn read(path: &Path, limit: u64) -> std::result::Result<Vec<u8>, String> {
    let asset = Asset {
        path: path.to_owned(),
        sha256: None,
    };
    asset.read(limit).map_err(|fault| fault.to_string())
}

fn picture(judge: &PictureJudge, given: &Given) -> Said {
    let Given::File(path) = given else {
        return Said::nothing("there is no picture".to_owned());
    };
    let bytes = match read(path, MAX_PICTURE) {
        Ok(bytes) => bytes,
        Err(reason) => return Said::unreadable(reason),
    };
    let picture = match decode_picture(&bytes) {
        Ok(picture) => picture,
        Err(reason) => return Said::unreadable(reason),
    };
    let verdict = judge.judge(&picture);
    Said {
        score: verdict.score(),
        verdict: verdict.outcome,
        reason: verdict.reason,
        parsed: verdict.parsed,
        unreadable: false,
    }
}

fn clip(judge: PictureJudge, given: &Given) -> Said {
    let Given::File(path) = given else {
        return Said::nothing("there is no clip".to_owned());
    };
    let frames = match VideoReader::open(path) {
        Ok(frames) => frames,
        Err(fault) => return Said::unreadable(fault.to_string()),
    };
    let mut judge = ClipJudge::with_judge(judge);
    for frame in frames {
        match frame {
            Ok(frame) => judge.push(&frame),
            Err(fault) => return Said::unreadable(fault.to_string()),
        }
    }
    let verdict = judge.finish();
    let last = verdict.final_frame.and_then(|last| last.parsed);
    Said {
        score: verdict.measures.get("score").copied().unwrap_or(0.0),
        verdict: verdict.outcome,
        reason: verdict.reason,
        parsed: last,
        unreadable: false,
    }
}
