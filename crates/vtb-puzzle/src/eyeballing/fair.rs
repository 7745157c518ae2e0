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

use super::figure::{Clearance, Figure, bounds};
use super::plane::{Vec2, add, cross, dot, length, normal, scale, sub, unit};
use super::{EyeballingParams, snap};
use crate::dice::Dice;

/// Share of [`EyeballingParams::cluster_radius`] in which the candidates of a figure stand: they
/// need room on all sides, whichever is the answer.
const COMPACT: f64 = 0.66;

/// How a fair set is searched for.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// How close together candidates are put, against the usual (1).
    pub squeeze: f64,
    /// How often each candidate is moved on average.
    pub moves: usize,
    /// For figures about which fair sets are rare: candidates in conflict are moved first, and a
    /// set that comes on badly is given up.
    pub picky: bool,
}

/// Draws a set of candidates that all could be the answer to `figure`, whose target is the origin;
/// `None` when they did not fit this time or a lazy rule would be right too often or too rarely.
pub fn draw_fair_set(
    params: &EyeballingParams,
    figure: &Figure,
    search: Search,
    dice: &mut Dice,
) -> Option<Vec<Vec2>> {
    let count = params.candidates;
    if count > MOST {
        return None;
    }
    let cluster = Scatter::new(params, figure, search.squeeze, dice);
    let mut points: Vec<_> = (0..count).map(|_| cluster.draw_point(dice)).collect();
    if search.picky {
        cluster.part(&mut points, dice);
    }
    let mut conflicts = cluster.all_conflicts(&points);
    let mut faults = cluster.count_faults(&points, conflicts.count, usize::MAX);
    // Sets that keep all rules at once are rare; most come to do so when points are moved singly.
    for moved in 0..search.moves * count {
        if faults == 0 {
            // No member is special, whatever the order in which they came to rest.
            dice.shuffle(&mut points);
            return Some(points);
        }
        if search.picky && comes_on_badly(moved, faults, count) {
            return None;
        }
        let mut at = dice.below(count);
        if search.picky {
            at = conflicts.next_at_odds(at).unwrap_or(at);
        }
        let old = points[at];
        points[at] = match dice.chance(0.5) {
            true => cluster.draw_point(dice),
            false => cluster.nudge(old, dice),
        };
        let others = conflicts.without(at);
        let now = cluster
            .conflicts_of(&points, at, others, faults / 3)
            .map(|own| {
                let all = others + own.count_ones() as usize;
                (cluster.count_faults(&points, all, faults), own)
            });
        match now {
            Some((now, own)) if now <= faults => {
                faults = now;
                conflicts.set(at, own);
            }
            _ => points[at] = old,
        }
    }
    None
}

/// Whether a set has more faults after so many moves than most of those that come to have none.
///
/// Of sets of five candidates with five faults after 40 moves, one in twenty does; with more, hardly
/// any.
fn comes_on_badly(moved: usize, faults: usize, count: usize) -> bool {
    (moved == 5 * count && faults > count.max(5) - 1)
        || (moved == 16 * count && faults > count.max(5) - 2)
}

/// Pairs of candidates that cannot stand together.
struct Conflicts {
    /// Bit `k` of entry `i`: candidates `i` and `k`.
    with: [u8; MOST],
    count: usize,
}

impl Conflicts {
    /// The first candidate in conflict, from index `at` on and round.
    fn next_at_odds(&self, at: usize) -> Option<usize> {
        let round = (at..MOST).chain(0..at);
        round.into_iter().find(|one| self.with[*one] > 0)
    }

    /// Number of those that the candidate at index `at` has no part in.
    fn without(&self, at: usize) -> usize {
        self.count - self.with[at].count_ones() as usize
    }

    /// Puts others in the place of those of the candidate at index `at`.
    fn set(&mut self, at: usize, own: u8) {
        self.count = self.without(at) + own.count_ones() as usize;
        for (other, with) in self.with.iter_mut().enumerate() {
            *with = *with & !(1 << at) | (own >> other & 1) << at;
        }
        self.with[at] = own;
    }
}

/// Most candidates that there ever are.
const MOST: usize = 8;

/// An ellipse about the origin in which candidates are scattered.
struct Scatter<'a> {
    axis: Vec2,
    long: f64,
    short: f64,
    tolerance: f64,
    clearance: Clearance<'a>,
    /// Anchors, from the target.
    anchors: Vec<Vec2>,
    /// They and their mean in groups.
    groups: Vec<Group>,
    /// On each axis, twice the distances of the anchors from the target.
    levels: [Vec<f64>; 2],
}

impl<'a> Scatter<'a> {
    fn new(params: &EyeballingParams, figure: &'a Figure, squeeze: f64, dice: &mut Dice) -> Self {
        let from_target = |point: Vec2| sub(point, figure.target);
        let to_mean = from_target(figure.mean());
        // Along the mean of the anchors, the answer is not always the candidate nearest to it.
        let axis = match length(to_mean) > 1.0 && dice.chance(0.7) {
            true => unit(to_mean),
            false => dice.direction(),
        };
        let stretch = dice.between(1.0, 1.4);
        let reach = COMPACT * squeeze * params.cluster_radius();
        let anchors: Vec<_> = figure.anchors.iter().copied().map(from_target).collect();
        let has_mean = anchors.len() > 1 && !figure.mean_is_target;
        let mean = has_mean.then_some(to_mean);
        let offsets: Vec<_> = mean.into_iter().chain(anchors.iter().copied()).collect();
        Self {
            axis,
            long: reach * stretch,
            short: reach / stretch,
            tolerance: params.tolerance(),
            clearance: figure.clearance(params),
            groups: offsets.chunks(LANES).map(Group::new).collect(),
            levels: [0, 1].map(|axis: usize| {
                let ways = anchors.iter().map(|anchor| 2.0 * anchor[axis].abs());
                ways.collect()
            }),
            anchors,
        }
    }

    fn draw_point(&self, dice: &mut Dice) -> Vec2 {
        let [x, y] = dice.in_disc();
        let aside = scale(normal(self.axis), y * self.short);
        snap(add(scale(self.axis, x * self.long), aside))
    }

    /// A point near `old`, or anywhere if that would leave the ellipse.
    fn nudge(&self, old: Vec2, dice: &mut Dice) -> Vec2 {
        let step = dice.in_disc().map(|part| part * self.tolerance);
        let point = snap(add(old, step));
        let along = dot(point, self.axis) / self.long;
        let aside = dot(point, normal(self.axis)) / self.short;
        match along * along + aside * aside <= 1.0 {
            true => point,
            false => self.draw_point(dice),
        }
    }

    /// Draws points in conflict with those before them a few times more.
    fn part(&self, points: &mut [Vec2], dice: &mut Dice) {
        const TRIES: usize = 8;
        for at in 1..points.len() {
            for _ in 0..TRIES {
                if self.conflicts_of(&points[..=at], at, 0, 0).is_some() {
                    break;
                }
                points[at] = self.draw_point(dice);
            }
        }
    }

    fn all_conflicts(&self, points: &[Vec2]) -> Conflicts {
        let mut found = Conflicts {
            with: [0; MOST],
            count: 0,
        };
        for at in 1..points.len() {
            let own = self.conflicts_of(&points[..=at], at, 0, usize::MAX);
            found.set(at, own.unwrap_or(0));
        }
        found
    }

    /// Which candidates that at index `at` is in conflict with, as bits: they overlap, or one would
    /// cover the figure if the other were the answer. `None` when there are more than `limit`
    /// conflicts, those among the others added.
    fn conflicts_of(
        &self,
        points: &[Vec2],
        at: usize,
        among_others: usize,
        limit: usize,
    ) -> Option<u8> {
        let [mut across, mut down, mut squares] = [[0.0; MOST]; 3];
        for (other, point) in points.iter().enumerate() {
            let apart = sub(points[at], *point);
            [across[other], down[other]] = apart;
            squares[other] = dot(apart, apart);
        }
        let least = self.tolerance * self.tolerance;
        let near = |bits, other: usize| bits | u32::from(squares[other] < least) << other;
        // Where there is no arrow, there is no conflict.
        let those = ((1 << points.len()) - 1) & !(1 << at);
        let count = |own: u32| among_others + own.count_ones() as usize;
        let near = (0..MOST).fold(0, near) & those;
        if count(near) > limit {
            return None;
        }
        let own = near | (self.clearance.refused([&across, &down], &squares) & those);
        (count(own) <= limit).then_some(own as u8)
    }

    /// Conflicts, and choices of answer too many or too few that the lazy rules are right for, all
    /// rules added; counting stops above `limit`.
    fn count_faults(&self, points: &[Vec2], conflicts: usize, limit: usize) -> usize {
        let mut faults = 3 * conflicts;
        for group in &self.groups {
            if faults > limit {
                return faults;
            }
            faults += group.distance_faults(points);
        }
        if faults > limit {
            return faults;
        }
        faults += self.level_faults(points, 0) + self.level_faults(points, 1);
        if faults > 0 {
            return faults;
        }
        // Seldom at fault, and dear to find out.
        let sweeps = self.anchors.iter();
        sweeps.map(|anchor| sweep_faults(points, *anchor)).sum()
    }

    /// "Level with" each anchor on an axis.
    fn level_faults(&self, points: &[Vec2], axis: usize) -> usize {
        // To the next point on. The rule is right for the outermost on the anchor's side, and for
        // each before a gap of more than twice the anchor's offset.
        let mut gaps = [f64::INFINITY; MOST];
        let mut ties = 0;
        for (gap, point) in gaps.iter_mut().zip(points) {
            for rival in points {
                let ahead = rival[axis] - point[axis];
                ties += u32::from(ahead == 0.0);
                *gap = if ahead > 0.0 { gap.min(ahead) } else { *gap };
            }
        }
        if ties as usize == points.len() {
            let before = |twice: &f64| gaps.iter().filter(|gap| *gap > twice).count();
            // No gap follows the outermost, nor those that are no points.
            let always = MOST - points.len() + 1;
            return self.levels[axis]
                .iter()
                .map(|twice| before(twice) - always)
                .sum();
        }
        let of_anchor = |anchor: &Vec2| {
            let away = anchor[axis];
            faults(points, |at, point| {
                others(points, at)
                    .all(|rival| (rival[axis] - point[axis] - away).abs() > away.abs())
            })
        };
        self.anchors.iter().map(of_anchor).sum()
    }
}

/// Anchors in one group.
const LANES: usize = 4;

/// Anchors that are looked at all at once.
struct Group {
    across: [f64; LANES],
    down: [f64; LANES],
    /// Squared distance of each from the answer.
    own: [f64; LANES],
    count: usize,
}

impl Group {
    /// Of at most [`LANES`] anchors at `offsets` from the target.
    fn new(offsets: &[Vec2]) -> Self {
        let mut group = Self {
            across: [0.0; LANES],
            down: [0.0; LANES],
            own: [0.0; LANES],
            count: offsets.len(),
        };
        for (at, offset) in offsets.iter().enumerate() {
            [group.across[at], group.down[at]] = *offset;
            group.own[at] = dot(*offset, *offset);
        }
        group
    }

    /// "Nearest to" and "farthest from" each anchor, by squares of distances. No loop is left
    /// early, as that takes longer than to go on.
    fn distance_faults(&self, points: &[Vec2]) -> usize {
        let [mut nearest, mut farthest] = [[0_u64; LANES]; 2];
        for (at, point) in points.iter().enumerate() {
            // When this point is the answer.
            let across = self.across.map(|offset| point[0] + offset);
            let down = self.down.map(|offset| point[1] + offset);
            let [mut near, mut far] = [[1_u64; LANES]; 2];
            for (other, rival) in points.iter().enumerate() {
                if other == at {
                    continue;
                }
                for lane in 0..LANES {
                    let apart = [rival[0] - across[lane], rival[1] - down[lane]];
                    let square = dot(apart, apart);
                    near[lane] &= u64::from(square > self.own[lane]);
                    far[lane] &= u64::from(square < self.own[lane]);
                }
            }
            for lane in 0..LANES {
                nearest[lane] += near[lane];
                farthest[lane] += far[lane];
            }
        }
        let right = nearest[..self.count].iter().chain(&farthest[..self.count]);
        right.map(|count| count.abs_diff(1) as usize).sum()
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
        let faults = |offset: Vec2| {
            let figure = Figure {
                target: [0.0; 2],
                anchors: vec![offset],
                mean_is_target: false,
                shapes: Vec::new(),
                construction: Vec::new(),
            };
            let params = EyeballingParams::default();
            let scatter = Scatter::new(&params, &figure, 1.0, &mut Dice::new(1, "faults"));
            scatter.count_faults(&points, 0, usize::MAX)
        };
        assert_eq!(faults([900.0, 1700.0]), 0);
        assert_eq!(sweep_faults(&points, [900.0, 1700.0]), 0);
        // Every candidate would be the nearest to an anchor that is so near to it.
        assert!(faults([5.0, 5.0]) > 3);
        // Each would be level with an anchor of nearly its own height.
        assert_eq!(faults([900.0, 1.0]), 3);
    }
}
