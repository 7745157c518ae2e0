//! Sets of candidates from which no lazy rule can tell the answer.
//!
//! A set is drawn about a figure whose target is the origin. Any member can be made the answer by
//! moving the figure onto it, and all members are equally likely to be. So a rule of thumb ("the
//! one nearest the first corner") is at chance when it is right for exactly one choice of answer,
//! whatever the rule: the set is kept only if that holds for every rule at every anchor. Rules
//! that look at nothing but the candidates (leftmost, medoid, the third label) need no check.
//!
//! Without this the answer stands out: seen from a corner of the figure, at its fixed distance, it
//! is nearest more often than one time in five, because the other candidates scatter about it.

use super::figure::{Figure, bounds};
use super::plane::{Vec2, add, cross, dot, length, sub};
use super::{EyeballingParams, distance, snap};
use crate::dice::Dice;

/// Share of [`EyeballingParams::cluster_radius`] in which the candidates of a figure stand: they
/// need room on all sides, whichever is the answer.
const COMPACT: f64 = 0.66;

/// Draws a set of candidates that all could be the answer to `figure`, whose target is the origin;
/// `None` when they did not fit this time or a lazy rule would be right too often or too rarely.
pub fn draw_fair_set(
    params: &EyeballingParams,
    figure: &Figure,
    dice: &mut Dice,
) -> Option<Vec<Vec2>> {
    let points = draw_set(params, figure, dice)?;
    let from_target = |anchor: Vec2| sub(anchor, figure.target);
    let has_mean = figure.anchors.len() > 1 && !figure.mean_is_target;
    let fair = (!has_mean || distance_is_fair(&points, from_target(figure.mean())))
        && figure
            .anchors
            .iter()
            .all(|anchor| anchor_is_fair(&points, from_target(*anchor)));
    fair.then_some(points)
}

/// Scatters points; none may overlap another or the figure, whichever of them is the target.
fn draw_set(params: &EyeballingParams, figure: &Figure, dice: &mut Dice) -> Option<Vec<Vec2>> {
    const TRIES_PER_POINT: usize = 60;
    let along_mean = sub(figure.mean(), figure.target);
    // Along the mean of the anchors, the answer is not always the candidate nearest to it.
    let axis = match length(along_mean) > 1.0 && dice.chance(0.7) {
        true => along_mean.map(|part| part / length(along_mean)),
        false => dice.direction(),
    };
    let stretch = dice.between(1.0, 1.4);
    let reach = COMPACT * params.cluster_radius();
    let mut points = Vec::<Vec2>::with_capacity(params.candidates);
    for _ in 0..params.candidates {
        let fresh = (0..TRIES_PER_POINT).find_map(|_| {
            let [x, y] = dice.in_disc();
            let (along, aside) = (x * reach * stretch, y * reach / stretch);
            let point = snap([
                along * axis[0] - aside * axis[1],
                along * axis[1] + aside * axis[0],
            ]);
            let fits = |other: &Vec2| {
                distance(*other, point) >= params.tolerance()
                    && figure.admits(params, sub(point, *other))
                    && figure.admits(params, sub(*other, point))
            };
            points.iter().all(fits).then_some(point)
        })?;
        points.push(fresh);
    }
    // Points placed late sit in the gaps between early ones: labels must not tell them apart.
    dice.shuffle(&mut points);
    Some(points)
}

/// Where to move the set so that figure and candidates lie inside the margin whichever is the
/// answer; all such places are equally likely.
pub fn draw_place(
    params: &EyeballingParams,
    figure: &Figure,
    points: &[Vec2],
    dice: &mut Dice,
) -> Option<Vec2> {
    let [low, high] = bounds(points.iter().copied());
    let ink = figure.extent();
    let canvas = params.canvas().map(f64::from);
    let edge = params.margin() + params.line_width / 2.0;
    let marker = params.margin() + params.marker_radius;
    let range = [0, 1].map(|axis: usize| {
        let first = (edge - ink[0][axis]).max(marker) - low[axis];
        let last = canvas[axis] - (edge + ink[1][axis]).max(marker) - high[axis];
        [first, last]
    });
    let fits = range.iter().all(|[first, last]| first <= last);
    // Rounding must not carry the figure over the margin.
    let inner = |[first, last]: [f64; 2], at: f64| {
        let (first, last) = ((first * 16.0).ceil(), (last * 16.0).floor());
        ((first + (last - first) * at)
            .round()
            .clamp(first, last.max(first)))
            / 16.0
    };
    fits.then(|| [0, 1].map(|axis: usize| inner(range[axis], dice.unit())))
}

/// Each rule about an anchor at `offset` from the target is right for exactly one choice of answer.
fn anchor_is_fair(points: &[Vec2], offset: Vec2) -> bool {
    let level = |axis: usize| {
        once(points, |at, point| {
            let away = |of: Vec2| (of[axis] - point[axis] - offset[axis]).abs();
            points
                .iter()
                .enumerate()
                .all(|(other, rival)| other == at || away(*rival) > away(*point))
        })
    };
    distance_is_fair(points, offset) && level(0) && level(1) && sweep_is_fair(points, offset)
}

/// "Nearest to" and "farthest from" the anchor.
fn distance_is_fair(points: &[Vec2], offset: Vec2) -> bool {
    let own = dot(offset, offset);
    let rivals = |at: usize, point: Vec2| {
        let anchor = add(point, offset);
        let others = points
            .iter()
            .enumerate()
            .filter(move |(other, _)| *other != at);
        others.map(move |(_, rival)| {
            let apart = sub(*rival, anchor);
            dot(apart, apart)
        })
    };
    once(points, |at, point| {
        rivals(at, *point).all(|rival| rival > own)
    }) && once(points, |at, point| {
        rivals(at, *point).all(|rival| rival < own)
    })
}

/// First, middle and last in the order in which a hand turning about the anchor meets them.
fn sweep_is_fair(points: &[Vec2], offset: Vec2) -> bool {
    let count = points.len() as f64;
    let middle = points
        .iter()
        .copied()
        .fold([0.0; 2], add)
        .map(|sum| sum / count);
    let mut seen = vec![0_u32; points.len()];
    for (at, point) in points.iter().enumerate() {
        let anchor = add(*point, offset);
        let ahead = sub(middle, anchor);
        let turn = |of: Vec2| turn(ahead, sub(of, anchor));
        let own = turn(*point);
        let before = |(other, rival): (usize, &Vec2)| other != at && turn(*rival) < own;
        let rank = points.iter().enumerate().filter(|one| before(*one)).count();
        seen[rank] += 1;
    }
    let last = points.len() - 1;
    [0, last / 2, last].iter().all(|rank| seen[*rank] == 1)
}

/// Grows with the angle from `ahead` to `arm`, from -2 to 2 for a whole turn.
fn turn(ahead: Vec2, arm: Vec2) -> f64 {
    let scale = length(ahead) * length(arm);
    let (sine, cosine) = (cross(ahead, arm) / scale, dot(ahead, arm) / scale);
    match cosine >= 0.0 {
        true => sine,
        false => sine.signum() * 2.0 - sine,
    }
}

/// `holds` for exactly one point.
fn once(points: &[Vec2], holds: impl Fn(usize, &Vec2) -> bool) -> bool {
    let mut places = points
        .iter()
        .enumerate()
        .filter(|(at, point)| holds(*at, point));
    places.next().is_some() && places.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_grow_with_the_angle() {
        let ahead = [2.0, 0.0];
        let arms = [
            [-1.0, -0.1],
            [-1.0, -1.0],
            [0.0, -1.0],
            [1.0, -0.5],
            [3.0, 0.0],
            [1.0, 4.0],
            [-2.0, 0.3],
        ];
        let turns = arms.map(|arm| turn(ahead, arm));
        assert!(turns.windows(2).all(|pair| pair[0] < pair[1]), "{turns:?}");
    }

    #[test]
    fn a_near_anchor_is_unfair_and_a_far_one_fair() {
        let points = [[0.0, 0.0], [30.0, 11.0], [-28.0, 25.0], [5.0, -40.0]];
        assert!(anchor_is_fair(&points, [900.0, 1700.0]));
        // Every candidate would be the nearest to an anchor that is so near to it.
        assert!(!anchor_is_fair(&points, [5.0, 5.0]));
        // Each would be level with an anchor of nearly its own height.
        assert!(!anchor_is_fair(&points, [900.0, 1.0]));
    }
}
