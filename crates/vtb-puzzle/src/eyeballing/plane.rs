//! Plane geometry. Pixels, y down.

/// A point or an arrow.
pub type Vec2 = [f64; 2];

/// `a + b`.
#[must_use]
pub fn add(a: Vec2, b: Vec2) -> Vec2 {
    [a[0] + b[0], a[1] + b[1]]
}

/// `a - b`.
#[must_use]
pub fn sub(a: Vec2, b: Vec2) -> Vec2 {
    [a[0] - b[0], a[1] - b[1]]
}

/// `a` times a number.
#[must_use]
pub fn scale(a: Vec2, by: f64) -> Vec2 {
    [a[0] * by, a[1] * by]
}

/// The point at share `t` of the way from `a` to `b`.
#[must_use]
pub fn lerp(a: Vec2, b: Vec2, t: f64) -> Vec2 {
    [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t]
}

/// Scalar product.
#[must_use]
pub fn dot(a: Vec2, b: Vec2) -> f64 {
    a[0] * b[0] + a[1] * b[1]
}

/// Third component of the vector product: positive when `b` lies clockwise of `a` on the screen.
#[must_use]
pub fn cross(a: Vec2, b: Vec2) -> f64 {
    a[0] * b[1] - a[1] * b[0]
}

/// Length of an arrow. Not `hypot`, whose last bit differs between machines.
#[must_use]
pub fn length(a: Vec2) -> f64 {
    dot(a, a).sqrt()
}

/// The arrow of length 1 in the direction of `a`; not a number for nil.
#[must_use]
pub fn unit(a: Vec2) -> Vec2 {
    scale(a, 1.0 / length(a))
}

/// `a` turned by a right angle, clockwise on the screen.
#[must_use]
pub fn normal(a: Vec2) -> Vec2 {
    [-a[1], a[0]]
}

/// `a` turned clockwise on the screen by twice the angle whose tangent is `slope`.
///
/// Sums, products and quotients only: sines differ between machines.
#[must_use]
pub fn turn(a: Vec2, slope: f64) -> Vec2 {
    let square = slope * slope;
    let [cosine, sine] = [
        (1.0 - square) / (1.0 + square),
        2.0 * slope / (1.0 + square),
    ];
    [a[0] * cosine - a[1] * sine, a[0] * sine + a[1] * cosine]
}

/// The slope by which [`turn`] takes the direction of `a` to that of `b`; both of length 1, not
/// opposite.
#[must_use]
pub fn slope_between(a: Vec2, b: Vec2) -> f64 {
    cross(a, b) / (1.0 + dot(a, b))
}

/// Foot of the perpendicular from `point` onto the line through `a` and `b`.
#[must_use]
pub fn foot(point: Vec2, a: Vec2, b: Vec2) -> Vec2 {
    let along = sub(b, a);
    add(
        a,
        scale(along, dot(sub(point, a), along) / dot(along, along)),
    )
}

/// Distance of `point` from the line through `a` and `b`.
#[must_use]
pub fn line_distance(point: Vec2, a: Vec2, b: Vec2) -> f64 {
    (cross(sub(b, a), sub(point, a)) / length(sub(b, a))).abs()
}

/// Distance of `point` from the segment `a b`.
#[must_use]
pub fn segment_distance(point: Vec2, a: Vec2, b: Vec2) -> f64 {
    let along = sub(b, a);
    let t = (dot(sub(point, a), along) / dot(along, along)).clamp(0.0, 1.0);
    length(sub(point, add(a, scale(along, t))))
}

/// Two segments neither cross nor come nearer than this.
#[must_use]
pub fn are_apart(one: [Vec2; 2], other: [Vec2; 2], least: f64) -> bool {
    let beside = |[a, b]: [Vec2; 2], [c, d]: [Vec2; 2]| {
        let along = sub(b, a);
        cross(along, sub(c, a)) * cross(along, sub(d, a)) > 0.0
    };
    let near = |point: Vec2, [a, b]: [Vec2; 2]| segment_distance(point, a, b) < least;
    (beside(one, other) || beside(other, one))
        && !one.iter().any(|end| near(*end, other))
        && !other.iter().any(|end| near(*end, one))
}

/// Where the lines `a b` and `c d` meet; `None` when they are parallel.
#[must_use]
pub fn meet([a, b]: [Vec2; 2], [c, d]: [Vec2; 2]) -> Option<Vec2> {
    let (one, other) = (sub(b, a), sub(d, c));
    let spread = cross(one, other);
    let t = cross(sub(c, a), other) / spread;
    (spread.abs() > 1e-9 * length(one) * length(other)).then(|| add(a, scale(one, t)))
}

/// `point` mirrored in the line through `a` and `b`.
#[must_use]
pub fn mirror(point: Vec2, a: Vec2, b: Vec2) -> Vec2 {
    sub(scale(foot(point, a, b), 2.0), point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_right_triangle() {
        let [a, b, c] = [[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]];
        assert_eq!(foot([1.0, 5.0], a, b), [1.0, 0.0]);
        assert_eq!(mirror([1.0, 5.0], a, b), [1.0, -5.0]);
        assert_eq!(line_distance([9.0, 2.0], a, b), 2.0);
        assert_eq!(segment_distance([7.0, 4.0], a, b), 5.0);
        assert_eq!(meet([a, b], [c, [2.0, 1.5]]), Some([4.0, 0.0]));
        assert_eq!(meet([a, b], [c, [2.0, 3.0]]), None);
        assert_eq!(unit(sub(c, a)), [0.0, 1.0]);
        assert!(are_apart([a, b], [[0.0, 2.0], c], 1.9));
        assert!(!are_apart([a, b], [[0.0, 2.0], c], 2.1));
        assert!(!are_apart([a, b], [[1.0, -5.0], [2.0, 5.0]], 0.1));
        assert!(cross([1.0, 0.0], normal([1.0, 0.0])) > 0.0);
        assert_eq!(turn([2.0, 0.0], 1.0), [0.0, 2.0]);
        assert_eq!(slope_between([1.0, 0.0], [0.0, -1.0]), -1.0);
    }
}
