//! Candidates of an eyeballing record.

use serde::Deserialize;
use vtb_puzzle::judge::MarkerRule;

use super::fields::{Fields, Found, get_or_none, list, within};
use super::wrong;

/// Outer radius of a marker where the record says nothing, pixels: measured on the pictures.
const RADIUS: f64 = 10.0;

#[derive(Deserialize)]
struct Candidate {
    x: f64,
    y: f64,
    label: String,
}

/// Centres in the order of labels, which is the order of the entry's options.
pub(super) fn read(fields: &Fields) -> Found<MarkerRule> {
    let mut candidates: Vec<Candidate> = list(fields, "candidates")?;
    candidates.sort_by(|a, b| a.label.cmp(&b.label));
    if let Some(pair) = candidates.windows(2).find(|p| p[0].label == p[1].label) {
        let reason = format!("two candidates are labelled {:?}", pair[0].label);
        return wrong("candidates", reason);
    }
    let radius = get_or_none(fields, "point_radius")?.unwrap_or(RADIUS);
    Ok(MarkerRule {
        radius: within("point_radius", radius, [2.0, 500.0])?,
        points: candidates.iter().map(|at| [at.x, at.y]).collect(),
    })
}
