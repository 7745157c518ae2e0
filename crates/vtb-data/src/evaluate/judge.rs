//! Judges every attempt at a record.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use vtb_puzzle::answer::{AnswerPolicy, AnswerStatus, parse_path, text_from_bytes};
use vtb_puzzle::{
    Answer, ClipJudge, Outcome, PictureJudge, PictureRule, Record, find, judge_record,
};

use super::{Attempt, Given, Judged, Kind, baseline};
use crate::error::Result;
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
        let said = match given {
            [] => vec![Said::nothing("nothing was predicted".to_owned())],
            given => self.all(index, &entry, given),
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
        let record = self.known(&entry);
        let label = match &record.answer {
            Answer::Choice(label) => Some(label.clone()),
            _ => None,
        };
        Ok(Judged {
            index,
            group: entry.group,
            label,
            chance: record.chance(),
            difficulty: record.measures.get("difficulty").copied(),
            shortcuts: shortcuts(&record),
            missing: given.is_empty(),
            task: entry.task,
            attempts,
        })
    }

    fn all(&self, index: usize, entry: &ManifestEntry, given: &[Given]) -> Vec<Said> {
        match self.kind {
            Kind::Text => {
                let record = self.known(entry);
                given
                    .iter()
                    .map(|given| self.text(&record, given))
                    .collect()
            }
            Kind::Image => match self.picture_judge(index, entry) {
                Ok(judge) => given.iter().map(|given| picture(&judge, given)).collect(),
                Err(reason) => given
                    .iter()
                    .map(|_| Said::nothing(reason.clone()))
                    .collect(),
            },
            Kind::Video => {
                let judged = given
                    .iter()
                    .map(|given| match self.picture_judge(index, entry) {
                        Ok(judge) => clip(judge, given),
                        Err(reason) => Said::nothing(reason),
                    });
                judged.collect()
            }
        }
    }

    /// The record, or what is known of a foreign one.
    fn known(&self, entry: &ManifestEntry) -> Record {
        if let Some(record) = &entry.record {
            return (**record).clone();
        }
        let mut options = entry.options.clone();
        if let (Answer::Choice(answer), true) = (&entry.answer, options.is_empty()) {
            options = match answer.parse::<u32>() {
                Ok(number) => (0..=number.max(100))
                    .map(|number| number.to_string())
                    .collect(),
                Err(_) => self
                    .answers
                    .get(&entry.task)
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect(),
            };
        }
        Record {
            id: entry.id.clone(),
            task: entry.task.clone(),
            group: entry.group,
            version: 0,
            seed: 0,
            params: serde_json::Value::Null,
            scene: serde_json::Value::Null,
            scene_hash: String::new(),
            canvas: [0, 0],
            prompts: entry.prompts.clone(),
            answer: entry.answer.clone(),
            options,
            options_listed: false,
            construction: Vec::new(),
            measures: BTreeMap::new(),
            graph: None,
            path_rules: vtb_puzzle::PathRules::default(),
        }
    }

    fn text(&self, record: &Record, given: &Given) -> Said {
        let text = match given {
            Given::Nothing => return Said::nothing("there is no text".to_owned()),
            Given::Text(text) => text.clone(),
            Given::File(path) => match read(path, MAX_TEXT) {
                Ok(bytes) => text_from_bytes(&bytes).into_owned(),
                Err(reason) => return Said::unreadable(reason),
            },
        };
        if let (Answer::Path(known), None) = (&record.answer, &record.graph) {
            return self.foreign_path(known, &text);
        }
        let verdict = match find(&record.task) {
            Ok(task) if !record.scene.is_null() => task.judge_text(record, &text, &self.policy),
            _ => judge_record(record, &text, &self.policy),
        };
        Said {
            verdict: verdict.outcome,
            reason: verdict.reason,
            parsed: verdict.parsed,
            score: f64::from(u8::from(verdict.correct)),
            unreadable: false,
        }
    }

    /// Foreign records do not hold the passages of their mazes: the one known route counts.
    fn foreign_path(&self, known: &[u32], text: &str) -> Said {
        let found = parse_path(text, known.len().saturating_mul(16), &self.policy);
        if found.status != AnswerStatus::Ok {
            return Said::nothing(format!("no path can be read ({})", found.status.as_str()));
        }
        let right = found.ids == known;
        Said {
            verdict: if right {
                Outcome::Correct
            } else {
                Outcome::Wrong
            },
            reason: match right {
                true => "it is the record's own route".to_owned(),
                false => "it is not the record's own route, the only one that is known".to_owned(),
            },
            parsed: Some(format!("{:?}", found.ids)),
            score: f64::from(u8::from(right)),
            unreadable: false,
        }
    }

    fn picture_judge(
        &self,
        _index: usize,
        entry: &ManifestEntry,
    ) -> std::result::Result<PictureJudge, String> {
        let Some(record) = &entry.record else {
            let reason = "pictures cannot be judged without a record of this program";
            return Err(reason.to_owned());
        };
        let task = find(&record.task).map_err(|fault| fault.to_string())?;
        PictureJudge::new(task, record).map_err(|fault| fault.to_string())
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
    let picture = match vtb_puzzle::judge::decode_picture(&bytes) {
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
