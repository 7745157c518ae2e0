//! What the eyeballing tasks share: parameters, candidates, markers.
//!
//! Candidates are exchangeable: the set of points is drawn first, the answer's index is drawn
//! without looking at it, and a figure is rejected only for reasons that treat all candidates
//! alike. So neither a label nor a position within the set says anything about the answer.

pub mod arcs;
pub mod callouts;
mod candidates;
mod fair;
pub mod fan;
pub mod figure;
pub mod figure_task;
mod markers;
mod params;
pub mod plane;
pub mod sheet;
pub mod triangle;

pub use candidates::{Candidate, Cluster, draw_candidates, index_of_answer, require_legible};
pub use fair::{draw_fair_set, draw_place};
pub use markers::{
    Theme, dot_radius, dot_reach, draw_anchor, draw_around, draw_callouts, draw_choices, draw_dots,
    draw_markers,
};
pub use params::{EyeballingParams, LabelStyle};

/// Rounds to 1/16 pixel: exact in binary and in four decimals, so JSON keeps it.
#[must_use]
pub fn snap([x, y]: [f64; 2]) -> [f64; 2] {
    [x, y].map(|value| (value * 16.0).round() / 16.0)
}

/// Rounds to 1/256 pixel: exact in binary and in eight decimals, so JSON keeps it.
///
/// For figures from which a far candidate's place is derived: there 1/16 would be felt.
#[must_use]
pub fn snap_fine([x, y]: [f64; 2]) -> [f64; 2] {
    [x, y].map(|value| (value * 256.0).round() / 256.0)
}

/// Distance of two points.
#[must_use]
pub fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    let [x, y] = [a[0] - b[0], a[1] - b[1]];
    (x * x + y * y).sqrt()
}
