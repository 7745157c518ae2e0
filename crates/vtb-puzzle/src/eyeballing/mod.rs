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
pub use fair::{Search, draw_fair_set, draw_place};
pub use markers::{
    Theme, dot_radius, dot_reach, draw_anchor, draw_around, draw_callouts, draw_choices, draw_dots,
    draw_markers,
};
pub use params::{EyeballingParams, LabelStyle};

/// Rounds to 1/16 pixel: exact in binary and in four decimals, so JSON keeps it.
#[must_use]
pub fn snap([x, y]: [f64; 2]) -> [f64; 2] {
    [x, y].map(|value| round(value * 16.0) / 16.0)
}

/// Rounds to 1/256 pixel: exact in binary and in eight decimals, so JSON keeps it.
///
/// For figures from which a far candidate's place is derived: there 1/16 would be felt.
#[must_use]
pub fn snap_fine([x, y]: [f64; 2]) -> [f64; 2] {
    [x, y].map(|value| round(value * 256.0) / 256.0)
}

/// [`f64::round`], which is a call where processors need not have an instruction for it; points are
/// rounded by the thousand for a scene.
fn round(value: f64) -> f64 {
    // Numbers from here on have no fraction.
    const WHOLE: f64 = (1_u64 << 52) as f64;
    let size = value.abs();
    if size >= WHOLE {
        return value;
    }
    // Halves go to the even neighbour here, but away from zero in the end.
    let even = (size + WHOLE) - WHOLE;
    let up = if size - even >= 0.5 { 1.0 } else { 0.0 };
    (even + up).copysign(value)
}

/// Distance of two points.
#[must_use]
pub fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    let [x, y] = [a[0] - b[0], a[1] - b[1]];
    (x * x + y * y).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_as_the_standard_library_does() {
        let most = (1_u64 << 53) as f64;
        let sizes = [
            0.0,
            0.25,
            0.5_f64.next_down(),
            0.5,
            1.5,
            2.5,
            2.5_f64.next_up(),
            1234.56,
            most / 4.0 + 0.5,
            most / 2.0 - 0.5,
            most / 2.0 + 1.0,
            most + 2.0,
            f64::MAX,
            f64::INFINITY,
        ];
        for value in sizes.into_iter().flat_map(|size| [size, -size]) {
            assert_eq!(round(value).to_bits(), value.round().to_bits(), "{value}");
        }
        assert!(round(f64::NAN).is_nan());
    }
}
