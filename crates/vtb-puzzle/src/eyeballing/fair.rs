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
use super::plane::{Vec2, add, cross, dot, length, normal, scale, sub, unit};
use super::{EyeballingParams, distance, snap};
use crate::dice::Dice;

/// Share of [`EyeballingParams::cluster_radius`] in which the candidates of a figure stand: they
/// need room on all sides, whichever is the answer.
const COMPACT: f64 = 0.66;

/// Draws a set of candidates that all could be the answer to `figure`, whose target is the origin;
/// `None` when they did not fit this time or a lazy rule would be right too often or too rarely.
///
/// `squeeze` puts them closer together than usual (1); each is moved `moves` times on average.
pub fn draw_fair_set(
    params: &EyeballingParams,
    figure: &Figure,
    squeeze: f64,
    moves: usize,
    dice: &mut Dice,
) -> Option<Vec<Vec2>> {
    let cluster = Scatter::new(params, figure, squeeze, dice);
    let count = params.candidates;
    let mut points: Vec<_> = (0..count).map(|_| cluster.draw_point(dice)).collect();
    let mut conflicts = cluster.all_conflicts(&points);
    let mut faults = cluster.count_faults(&points, &conflicts, usize::MAX);
    // Sets that keep all rules at once are rare; most come to do so when points are moved singly.
    for _ in 0..moves * count {
        if faults == 0 {
            // No member is special, whatever the order in which they came to rest.
            dice.shuffle(&mut points);
            return Some(points);
        }
        let at = dice.below(count);
        let old = points[at];
        points[at] = match dice.chance(0.5) {
            true => cluster.draw_point(dice),
            false => cluster.nudge(old, dice),
        };
        let moved = cluster.conflicts_of(&points, at, &conflicts, faults / 3);
        let now = moved.map(|moved| (cluster.count_faults(&points, &moved, faults), moved));
        match now {
            Some((now, moved)) if now <= faults => (faults, conflicts) = (now, moved),
            _ => points[at] = old,
        }
    }
    None
}

/// Pairs of candidates that cannot stand together.
#[derive(Clone)]
struct Conflicts {
    /// Bit `k` of entry `i`: candidates `i` and `k`.
    with: [u16; MOST],
    count: usize,
}

/// More candidates than there ever are.
const MOST: usize = 16;

/// An ellipse about the origin in which candidates are scattered.
struct Scatter<'a> {
    params: &'a EyeballingParams,
    figure: &'a Figure,
    axis: Vec2,
    long: f64,
    short: f64,
}

impl<'a> Scatter<'a> {
    fn new(
        params: &'a EyeballingParams,
        figure: &'a Figure,
        squeeze: f64,
        dice: &mut Dice,
    ) -> Self {
        let to_mean = sub(figure.mean(), figure.target);
        // Along the mean of the anchors, the answer is not always the candidate nearest to it.
        let axis = match length(to_mean) > 1.0 && dice.chance(0.7) {
            true => unit(to_mean),
            false => dice.direction(),
        };
        let stretch = dice.between(1.0, 1.4);
        let reach = COMPACT * squeeze * params.cluster_radius();
        Self {
            params,
            figure,
            axis,
            long: reach * stretch,
            short: reach / stretch,
        }
    }

    fn draw_point(&self, dice: &mut Dice) -> Vec2 {
        let [x, y] = dice.in_disc();
        let aside = scale(normal(self.axis), y * self.short);
        snap(add(scale(self.axis, x * self.long), aside))
    }

    /// A point near `old`, or anywhere if that would leave the ellipse.
    fn nudge(&self, old: Vec2, dice: &mut Dice) -> Vec2 {
        let step = dice.in_disc().map(|part| part * self.params.tolerance());
        let point = snap(add(old, step));
        let along = dot(point, self.axis) / self.long;
        let aside = dot(point, normal(self.axis)) / self.short;
        match along * along + aside * aside <= 1.0 {
            true => point,
            false => self.draw_point(dice),
        }
    }

    /// Two candidates overlap, or one would cover the figure if the other were the answer.
    fn is_conflict(&self, one: Vec2, other: Vec2) -> bool {
        distance(one, other) < self.params.tolerance()
            || !self.figure.admits(self.params, sub(one, other))
            || !self.figure.admits(self.params, sub(other, one))
    }

    fn all_conflicts(&self, points: &[Vec2]) -> Conflicts {
        let none = Conflicts {
            with: [0; MOST],
            count: 0,
        };
        (1..points.len()).fold(none, |found, at| {
            let known = self.conflicts_of(&points[..=at], at, &found, usize::MAX);
            known.unwrap_or(found)
        })
    }

    /// Conflicts once the point at index `at` has moved; `None` when there are more than `limit`.
    fn conflicts_of(
        &self,
        points: &[Vec2],
        at: usize,
        before: &Conflicts,
        limit: usize,
    ) -> Option<Conflicts> {
        let own = 1 << at;
        let mut with = before.with;
        let mut count = before.count - with[at].count_ones() as usize;
        with[at] = 0;
        for (other, point) in points.iter().enumerate().filter(|one| one.0 != at) {
            with[other] &= !own;
            if self.is_conflict(points[at], *point) {
                with[other] |= own;
                with[at] |= 1 << other;
                count += 1;
            }
            if count > limit {
                return None;
            }
        }
        Some(Conflicts { with, count })
    }

    /// Conflicts, and choices of answer too many or too few that the lazy rules are right for, all
    /// rules added; counting stops above `limit`.
    fn count_faults(&self, points: &[Vec2], conflicts: &Conflicts, limit: usize) -> usize {
        let figure = self.figure;
        let from_target = |anchor: Vec2| sub(anchor, figure.target);
        let mut faults = 3 * conflicts.count;
        if figure.anchors.len() > 1 && !figure.mean_is_target && faults <= limit {
            faults += distance_faults(points, from_target(figure.mean()));
        }
        for anchor in &figure.anchors {
            if faults > limit {
                break;
            }
            faults += anchor_faults(points, from_target(*anchor));
        }
        if faults > 0 {
            return faults;
        }
        // Seldom at fault, and dear to find out.
        let sweeps = figure.anchors.iter();
        sweeps
            .map(|anchor| sweep_faults(points, from_target(*anchor)))
            .sum()
    }
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
    let marker = params.margin() + params.disc_radius();
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

/// Faults of the rules on distance from, and level with, an anchor at `offset` from the target.
fn anchor_faults(points: &[Vec2], offset: Vec2) -> usize {
    let level = |axis: usize| {
        faults(points, |at, point| {
            let away = |of: Vec2| (of[axis] - point[axis] - offset[axis]).abs();
            let own = away(point);
            others(points, at).all(|rival| away(rival) > own)
        })
    };
    distance_faults(points, offset) + level(0) + level(1)
}

/// "Nearest to" and "farthest from" the anchor.
fn distance_faults(points: &[Vec2], offset: Vec2) -> usize {
    let own = dot(offset, offset);
    let away = |of: Vec2, point: Vec2| {
        let apart = sub(of, add(point, offset));
        dot(apart, apart)
    };
    let nearest = |at, point| others(points, at).all(|rival| away(rival, point) > own);
    let farthest = |at, point| others(points, at).all(|rival| away(rival, point) < own);
    faults(points, nearest) + faults(points, farthest)
}

/// First, middle and last in the order in which a hand turning about the anchor meets them.
fn sweep_faults(points: &[Vec2], offset: Vec2) -> usize {
    let share = 1.0 / points.len() as f64;
    let middle = scale(points.iter().copied().fold([0.0; 2], add), share);
    let rank = |at: usize, point: Vec2| {
        let anchor = add(point, offset);
        let ahead = sub(middle, anchor);
        let own = turn(ahead, sub(point, anchor));
        let before = |rival: &Vec2| turn(ahead, sub(*rival, anchor)) < own;
        others(points, at).filter(before).count()
    };
    let last = points.len().saturating_sub(1);
    let ranked = [0, last / 2, last];
    let mut right = [0_usize; 3];
    for (at, point) in points.iter().enumerate() {
        let own = rank(at, *point);
        (0..3).for_each(|rule| right[rule] += usize::from(own == ranked[rule]));
    }
    right.into_iter().map(|count| count.abs_diff(1)).sum()
}

/// All points but the one at index `at`.
fn others(points: &[Vec2], at: usize) -> impl Iterator<Item = Vec2> {
    let rest = points.iter().enumerate().filter(move |one| one.0 != at);
    rest.map(|one| *one.1)
}

/// By how much the number of points for which `holds` differs from one.
fn faults(points: &[Vec2], holds: impl Fn(usize, Vec2) -> bool) -> usize {
    let right = points.iter().enumerate().filter(|one| holds(one.0, *one.1));
    right.count().abs_diff(1)
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
        assert_eq!(anchor_faults(&points, [900.0, 1700.0]), 0);
        assert_eq!(sweep_faults(&points, [900.0, 1700.0]), 0);
        // Every candidate would be the nearest to an anchor that is so near to it.
        assert!(anchor_faults(&points, [5.0, 5.0]) > 3);
        // Each would be level with an anchor of nearly its own height.
        assert_eq!(anchor_faults(&points, [900.0, 1.0]), 3);
    }
}
