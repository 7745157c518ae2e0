//! Directions without sines: constants for regular polygons, fractions for everything else.

use std::f64::consts::FRAC_1_SQRT_2;

/// A point or an arrow. Pixels, y down.
pub type Vec2 = [f64; 2];

/// Steps of a quarter turn.
const QUARTER: i32 = 64;

/// Steps of a whole turn.
pub const WHOLE_TURN: i32 = 4 * QUARTER;

/// The arrow to the right, turned clockwise by `turn` steps.
///
/// A quarter turn is cut at equal steps of the tangent of half the angle, because a point of the
/// circle is then a fraction: steps are between 0.9 and 1.8 degrees.
#[must_use]
pub fn direction(turn: i32) -> Vec2 {
    let t = f64::from(turn.rem_euclid(QUARTER)) / f64::from(QUARTER);
    let [x, y] = [(1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t)];
    match turn.div_euclid(QUARTER).rem_euclid(4) {
        0 => [x, y],
        1 => [-y, x],
        2 => [-x, -y],
        _ => [y, -x],
    }
}

/// `point` turned about the origin so that the arrow to the right becomes `by`.
#[must_use]
pub fn rotate([x, y]: Vec2, by: Vec2) -> Vec2 {
    [x * by[0] - y * by[1], x * by[1] + y * by[0]]
}

/// How many turns of a figure of `fold`-fold symmetry look different: those below a `fold`th of a
/// whole turn.
#[must_use]
pub fn turns(fold: usize) -> i32 {
    // 64 tan(180 degrees / fold), rounded up; beyond a quarter turn counted from there.
    const TURNS: [i32; 7] = [82, 64, 47, 37, 31, 27, 24];
    match fold {
        3..=9 => TURNS[fold - 3],
        _ => 1,
    }
}

/// Corners of the regular polygon in the unit circle: the first on top, clockwise.
///
/// Empty when `sides` does not lie in 3..=9.
#[must_use]
pub fn regular(sides: usize) -> &'static [Vec2] {
    match sides {
        3 => &CORNERS_3,
        4 => &CORNERS_4,
        5 => &CORNERS_5,
        6 => &CORNERS_6,
        7 => &CORNERS_7,
        8 => &CORNERS_8,
        9 => &CORNERS_9,
        _ => &[],
    }
}

/// 36 points of the unit circle, the first on top, clockwise.
#[must_use]
pub fn circle_points() -> Vec<Vec2> {
    // Every multiple of 10 degrees is one of 40 degrees and one of 90: 10 k = -80 k + 90 k.
    let point = |k: usize| rotate(CORNERS_9[7 * k % 9], direction(k as i32 * QUARTER));
    (0..36).map(point).collect()
}

const CORNERS_3: [Vec2; 3] = [
    [0.0, -1.0],
    [0.8660254037844387, 0.5],
    [-0.8660254037844387, 0.5],
];
const CORNERS_4: [Vec2; 4] = [[0.0, -1.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]];
const CORNERS_5: [Vec2; 5] = [
    [0.0, -1.0],
    [0.9510565162951535, -0.3090169943749475],
    [0.5877852522924732, 0.8090169943749473],
    [-0.5877852522924732, 0.8090169943749473],
    [-0.9510565162951535, -0.3090169943749475],
];
const CORNERS_6: [Vec2; 6] = [
    [0.0, -1.0],
    [0.8660254037844386, -0.5],
    [0.8660254037844387, 0.5],
    [0.0, 1.0],
    [-0.8660254037844387, 0.5],
    [-0.8660254037844386, -0.5],
];
const CORNERS_7: [Vec2; 7] = [
    [0.0, -1.0],
    [0.7818314824680298, -0.6234898018587336],
    [0.9749279121818236, 0.2225209339563143],
    [0.4338837391175582, 0.900968867902419],
    [-0.4338837391175582, 0.900968867902419],
    [-0.9749279121818236, 0.2225209339563143],
    [-0.7818314824680298, -0.6234898018587336],
];
const CORNERS_8: [Vec2; 8] = [
    [0.0, -1.0],
    [FRAC_1_SQRT_2, -FRAC_1_SQRT_2],
    [1.0, 0.0],
    [FRAC_1_SQRT_2, FRAC_1_SQRT_2],
    [0.0, 1.0],
    [-FRAC_1_SQRT_2, FRAC_1_SQRT_2],
    [-1.0, 0.0],
    [-FRAC_1_SQRT_2, -FRAC_1_SQRT_2],
];
const CORNERS_9: [Vec2; 9] = [
    [0.0, -1.0],
    [0.6427876096865393, -0.766044443118978],
    [0.984807753012208, -0.1736481776669304],
    [0.8660254037844387, 0.5],
    [0.3420201433256689, 0.9396926207859083],
    [-0.3420201433256689, 0.9396926207859083],
    [-0.8660254037844387, 0.5],
    [-0.984807753012208, -0.1736481776669304],
    [-0.6427876096865393, -0.766044443118978],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn angle([x, y]: Vec2) -> f64 {
        y.atan2(x).to_degrees().rem_euclid(360.0)
    }

    #[test]
    fn directions_go_round_once() {
        let angles: Vec<_> = (0..WHOLE_TURN).map(|turn| angle(direction(turn))).collect();
        assert_eq!(angles[0], 0.0);
        for pair in angles.windows(2) {
            assert!((0.85..1.85).contains(&(pair[1] - pair[0])), "{pair:?}");
        }
        assert_eq!(direction(-1), direction(WHOLE_TURN - 1));
        assert_eq!(rotate([1.0, 0.0], direction(QUARTER)), [0.0, 1.0]);
    }

    #[test]
    fn turns_stop_short_of_the_next_symmetry() {
        for fold in 3..=9 {
            let step = 360.0 / fold as f64;
            assert!(angle(direction(turns(fold) - 1)) < step);
            assert!(angle(direction(turns(fold))) >= step - 1e-9);
        }
        assert_eq!(turns(0), 1);
    }

    #[test]
    fn corners_are_regular() {
        for sides in 3..=9 {
            for (at, &corner) in regular(sides).iter().enumerate() {
                let expected = (at as f64 / sides as f64 * 360.0 + 270.0).rem_euclid(360.0);
                assert!((angle(corner) - expected).abs() < 1e-9, "{sides} {at}");
                assert!((corner[0] * corner[0] + corner[1] * corner[1] - 1.0).abs() < 1e-14);
            }
        }
        for (at, &point) in circle_points().iter().enumerate() {
            let expected = (at as f64 * 10.0 + 270.0).rem_euclid(360.0);
            assert!((angle(point) - expected).abs() < 1e-9, "{at}");
        }
        assert!(regular(2).is_empty() && regular(10).is_empty());
    }
}
