//! Points of a circle, the same on every machine.
//!
//! The sines of the standard library differ in their last bit from one machine to the next, and
//! that bit would end up in records. Here a point is worked out with `+ - * /` alone, whose
//! results are fixed to the last bit everywhere.

use std::cell::Cell;
use std::f64::consts::FRAC_PI_2;

/// The point of the unit circle at `step / of` turns from `+x` towards `+y`.
///
/// Error below 1e-15. Whole quarters are exact; `step` may exceed `of`, and `of` 0 counts as 1.
#[must_use]
pub fn on_circle(step: u32, of: u32) -> [f64; 2] {
    // Mazes of one size ask for the same points: the last ones are kept, by step and turn.
    const KEPT: usize = 1 << 10;
    thread_local! {
        static POINTS: [Cell<(u64, [f64; 2])>; KEPT] =
            const { [const { Cell::new((0, [0.0; 2])) }; KEPT] };
    }
    let of = of.max(1);
    let step = step % of;
    let key = u64::from(step) << 32 | u64::from(of);
    // Neighbouring steps, and the same one of other turns, lie apart.
    let slot = (step as usize).wrapping_add(of as usize * 129) % KEPT;
    POINTS.with(|points| {
        let (kept, point) = points[slot].get();
        if kept == key {
            return point;
        }
        let point = work_out(u64::from(step), u64::from(of));
        points[slot].set((key, point));
        point
    })
}

fn work_out(step: u64, of: u64) -> [f64; 2] {
    let quarters = 4 * step;
    let (quarter, rest) = (quarters / of, quarters % of);
    // Beyond half a quarter the series is slower: sine and cosine change places.
    let [cos, sin] = if 2 * rest <= of {
        first_eighth(rest as f64 / of as f64)
    } else {
        let [sin, cos] = first_eighth((of - rest) as f64 / of as f64);
        [cos, sin]
    };
    match quarter {
        0 => [cos, sin],
        1 => [-sin, cos],
        2 => [-cos, -sin],
        _ => [sin, -cos],
    }
}

/// Cosine and sine of up to half a quarter turn, by their power series.
fn first_eighth(share_of_quarter: f64) -> [f64; 2] {
    const TERMS: u32 = 10;
    let angle = FRAC_PI_2 * share_of_quarter;
    let square = angle * angle;
    let (mut cos, mut sin) = (1.0, 1.0);
    for term in (1..=TERMS).rev() {
        let even = f64::from(2 * term);
        cos = 1.0 - square / ((even - 1.0) * even) * cos;
        sin = 1.0 - square / (even * (even + 1.0)) * sin;
    }
    [cos, angle * sin]
}

/// A measure of direction that grows with the angle from `+x` towards `+y`, from 0 to 4.
///
/// For comparing directions without an arc tangent; nil for no direction.
#[must_use]
pub(crate) fn diamond_angle([x, y]: [f64; 2]) -> f64 {
    let reach = x.abs() + y.abs();
    if reach <= 0.0 {
        return 0.0;
    }
    match (x >= 0.0, y >= 0.0) {
        (true, true) => y / reach,
        (false, true) => 1.0 - x / reach,
        (false, false) => 2.0 - y / reach,
        (true, false) => 3.0 + x / reach,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_standard_library() {
        for of in [1, 2, 3, 4, 7, 8, 12, 18, 360, 1_000, 99_991] {
            for step in 0..of.min(5_000) {
                let angle = std::f64::consts::TAU * f64::from(step) / f64::from(of);
                let (sin, cos) = angle.sin_cos();
                let [x, y] = on_circle(step, of);
                let far = (x - cos).abs().max((y - sin).abs());
                assert!(far < 4e-15, "{step}/{of}: {x} {y}, not {cos} {sin}");
                assert!((x * x + y * y - 1.0).abs() < 1e-15);
            }
        }
    }

    #[test]
    fn quarters_are_exact_and_turns_repeat() {
        let quarters = [0, 1, 2, 3].map(|step| on_circle(step, 4));
        assert_eq!(quarters, [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]);
        assert_eq!(on_circle(19, 12), on_circle(7, 12));
        assert_eq!(on_circle(9, 0), [1.0, 0.0]);
        assert_eq!(on_circle(u32::MAX, u32::MAX), [1.0, 0.0]);
    }

    /// These bits may never change: they stand in records.
    #[test]
    fn values_are_pinned() {
        let bits = |step, of| on_circle(step, of).map(f64::to_bits);
        assert_eq!(bits(1, 12), [4605975682916830379, 4602678819172646911]);
        assert_eq!(bits(3, 7), [13829662462515567729, 4601487774501153729]);
    }

    #[test]
    fn diamond_angles_grow_with_the_angle() {
        let angles: Vec<_> = (0..720)
            .map(|step| diamond_angle(on_circle(step, 720)))
            .collect();
        assert!(angles.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(angles[0] == 0.0 && angles[719] < 4.0);
        assert_eq!(diamond_angle([0.0, 0.0]), 0.0);
    }
}
