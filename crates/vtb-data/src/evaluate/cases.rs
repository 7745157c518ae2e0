//! Failed attempts for the report, with their pictures.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::RgbImage;
use image::imageops::FilterType;
use vtb_puzzle::judge::decode_picture;
use vtb_puzzle::{Outcome, encode_png};

use super::{Attempt, Evaluation, Given, Kind};
use crate::manifest::Asset;
use crate::video::VideoReader;

/// Longer side of a picture in the report, pixels.
const SIDE: u32 = 240;
/// Longest text in the report, characters.
const TEXT: usize = 600;
/// Largest picture file, bytes.
const MAX_PICTURE: u64 = 64 << 20;

/// A failed attempt.
pub(super) struct Case {
    pub(super) attempt: Attempt,
    /// Pictures with a caption each, as data addresses.
    pub(super) pictures: Vec<(&'static str, String)>,
    /// What was answered, if that is text.
    pub(super) text: Option<String>,
}

/// At most `most` failed attempts, spread over the tasks, in the order of the data set.
pub(super) fn choose(evaluation: &Evaluation<'_>, most: usize) -> Vec<Case> {
    let mut by_task: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
    for (at, record) in evaluation.records.iter().enumerate() {
        let failed = |attempt: &Attempt| attempt.verdict != Outcome::Correct && attempt.attempt > 0;
        if let Some(first) = record.attempts.iter().position(failed) {
            by_task.entry(&record.task).or_default().push((at, first));
        }
    }
    let mut chosen = Vec::new();
    for round in 0.. {
        let next: Vec<_> = by_task
            .values()
            .filter_map(|failed| failed.get(round))
            .collect();
        if next.is_empty() || chosen.len() >= most {
            break;
        }
        chosen.extend(next);
    }
    chosen.truncate(most);
    chosen.sort_unstable();
    chosen
        .into_iter()
        .filter_map(|(at, which)| case(evaluation, at, which))
        .collect()
}

fn case(evaluation: &Evaluation<'_>, at: usize, which: usize) -> Option<Case> {
    let record = &evaluation.records[at];
    let entry = evaluation.manifest.entry(record.index).ok()?;
    let given = evaluation.predictions[record.index].get(which)?;
    let kind = evaluation.summary.kind;
    let mut pictures = Vec::new();
    let mut add = |caption, picture: Option<RgbImage>| {
        pictures.extend(picture.and_then(|picture| Some((caption, address(&picture)?))));
    };
    add("puzzle", open(&entry.puzzle));
    add("prediction", predicted(given, kind));
    add("solution", entry.solution.as_ref().and_then(open));
    Some(Case {
        attempt: record.attempts.get(which)?.clone(),
        pictures,
        text: text(given, kind),
    })
}

fn predicted(given: &Given, kind: Kind) -> Option<RgbImage> {
    let Given::File(path) = given else {
        return None;
    };
    match kind {
        Kind::Text => None,
        Kind::Image => open(&Asset {
            path: path.clone(),
            sha256: None,
        }),
        Kind::Video => VideoReader::open(path).ok()?.last_frame().ok(),
    }
}

fn text(given: &Given, kind: Kind) -> Option<String> {
    let whole = match (given, kind) {
        (Given::Text(text), _) => text.clone(),
        (Given::File(path), Kind::Text) => {
            let asset = Asset {
                path: path.clone(),
                sha256: None,
            };
            String::from_utf8_lossy(&asset.read(MAX_PICTURE).ok()?).into_owned()
        }
        _ => return None,
    };
    // The answer stands at the end of a text.
    let count = whole.chars().count();
    Some(match count > TEXT {
        true => format!(
            "... {}",
            whole.chars().skip(count - TEXT).collect::<String>()
        ),
        false => whole,
    })
}

fn open(asset: &Asset) -> Option<RgbImage> {
    decode_picture(&asset.read(MAX_PICTURE).ok()?).ok()
}

fn address(picture: &RgbImage) -> Option<String> {
    let (width, height) = picture.dimensions();
    let longer = width.max(height).max(1);
    let side = |side: u32| (u64::from(side) * u64::from(SIDE) / u64::from(longer)).max(1) as u32;
    let small = match longer > SIDE {
        true => image::imageops::resize(picture, side(width), side(height), FilterType::Triangle),
        false => picture.clone(),
    };
    let png = encode_png(&small).ok()?;
    Some(format!("data:image/png;base64,{}", STANDARD.encode(png)))
}
