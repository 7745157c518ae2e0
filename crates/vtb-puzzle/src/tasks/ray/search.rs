//! The search for a scene: mirrors, a start, and one ray for every candidate.
//!
//! Rays that do what is asked are rare, and rarer still are as many of them as there are candidates
//! that keep off each other's points. So all rays found from a start are kept, and each new one is
//! tried with every set of earlier ones.

use crate::dice::Dice;
use crate::eyeballing::plane::{
    Vec2, add, are_apart, cross, dot, lerp, scale, segment_distance, sub, unit,
};
use crate::eyeballing::{EyeballingParams, distance, snap};

use super::light::{Hall, comes_near, field};
use super::{APART, ARROW, MIRROR, RayParams};

/// A ray with a point on it.
pub(super) struct Shot {
    /// Tip of the arrow.
    pub(super) aim: Vec2,
    /// Its direction.
    toward: Vec2,
    /// Start, mirrors, edge of the field.
    path: Vec<Vec2>,
    /// Where its candidate stands.
    pub(super) point: Vec2,
}

/// All of a scene but the answer.
pub(super) struct Stage {
    pub(super) mirrors: Vec<[Vec2; 2]>,
    pub(super) start: Vec2,
    /// One for every candidate.
    pub(super) shots: Vec<Shot>,
}

/// Starts tried among the same mirrors.
const STARTS: usize = 3;
/// Most rays from one start.
const SHOTS: usize = 150;
/// A start is given up when fewer than one ray of so many does what is asked.
const RARE: usize = 12;
/// Points tried on one ray.
const POINTS: usize = 2;

/// Draws mirrors and tries a few starts among them.
pub(super) fn draw_stage(params: &RayParams, dice: &mut Dice) -> Option<Stage> {
    let mirrors = draw_mirrors(params, dice)?;
    let hall = Hall::new(params, &mirrors);
    let (start, shots) = (0..STARTS).find_map(|_| {
        let start = Start::draw(&params.common, dice);
        Some((start.at, draw_shots(params, &mirrors, &hall, start, dice)?))
    })?;
    Some(Stage {
        mirrors,
        start,
        shots,
    })
}

/// Mirrors that keep apart from each other, inside the field.
fn draw_mirrors(params: &RayParams, dice: &mut Dice) -> Option<Vec<[Vec2; 2]>> {
    const TRIES: usize = 40;
    let common = &params.common;
    let side = common.side();
    let apart = APART * side;
    // Between ends within the field lies a middle within it.
    let [left, top, right, bottom] = field(common);
    let mut mirrors: Vec<[Vec2; 2]> = Vec::with_capacity(params.mirrors);
    let mut discs: Vec<(Vec2, f64)> = Vec::with_capacity(params.mirrors);
    for _ in 0..params.mirrors {
        let (ends, disc) = (0..TRIES).find_map(|_| {
            let middle = [
                dice.between(left + apart, right - apart),
                dice.between(top + apart, bottom - apart),
            ];
            let half = side * dice.between(MIRROR[0], MIRROR[1]) / 2.0;
            let arm = scale(dice.direction(), half);
            let ends = [sub(middle, arm), add(middle, arm)].map(snap);
            let clear = |(other, (center, radius)): (&[Vec2; 2], &(Vec2, f64))| {
                // Most are far; rounding moves an end by less than a tenth of a pixel.
                distance(middle, *center) >= half + radius + apart + 0.2
                    || are_apart(ends, *other, apart)
            };
            let fits = ends.iter().all(|end| common.holds(*end, apart))
                && mirrors.iter().zip(&discs).all(clear);
            fits.then_some((ends, (middle, half)))
        })?;
        mirrors.push(ends);
        discs.push(disc);
    }
    Some(mirrors)
}

/// A place at the edge of the field.
#[derive(Clone, Copy)]
struct Start {
    at: Vec2,
    /// Direction into the field.
    inward: Vec2,
}

impl Start {
    fn draw(common: &EyeballingParams, dice: &mut Dice) -> Self {
        let [left, top, right, bottom] = field(common);
        let share = dice.between(0.15, 0.85);
        let (x, y) = (left + (right - left) * share, top + (bottom - top) * share);
        let (at, inward) = match dice.below(4) {
            0 => ([left, y], [1.0, 0.0]),
            1 => ([right, y], [-1.0, 0.0]),
            2 => ([x, top], [0.0, 1.0]),
            _ => ([x, bottom], [0.0, -1.0]),
        };
        Self {
            at: snap(at),
            inward,
        }
    }

    /// Tip of an arrow into the field.
    fn draw_aim(&self, common: &EyeballingParams, dice: &mut Dice) -> Vec2 {
        let toward = dice.direction();
        let reach = (ARROW * common.side()).copysign(dot(toward, self.inward));
        snap(add(self.at, scale(toward, reach)))
    }
}

/// One ray for every candidate, none near the point of another; `None` when this start gave too
/// few rays.
fn draw_shots(
    params: &RayParams,
    mirrors: &[[Vec2; 2]],
    hall: &Hall,
    start: Start,
    dice: &mut Dice,
) -> Option<Vec<Shot>> {
    let common = &params.common;
    let mut pool = Pool::new(common, start.at);
    let mut path = Vec::new();
    let mut found = 0;
    for tried in 0..SHOTS {
        if tried > RARE * (found + 1) {
            return None;
        }
        let aim = start.draw_aim(common, dice);
        if hall.trace(start.at, aim, &mut path).is_err() {
            continue;
        }
        found += 1;
        for _ in 0..POINTS {
            let Some(point) = draw_point(params, mirrors, [start.at, aim], &path, dice) else {
                continue;
            };
            let shot = Shot {
                aim,
                toward: unit(sub(aim, start.at)),
                path: path.clone(),
                point,
            };
            if let Some(chosen) = pool.add(shot) {
                return Some(pool.take(&chosen));
            }
            if pool.is_spent() {
                return None;
            }
        }
    }
    None
}

/// A place on a late part of a ray, clear of all strokes.
fn draw_point(
    params: &RayParams,
    mirrors: &[[Vec2; 2]],
    arrow: [Vec2; 2],
    path: &[Vec2],
    dice: &mut Dice,
) -> Option<Vec2> {
    let common = &params.common;
    let parts = path.len() - 1;
    let late = params.bounces_min + dice.below(parts - params.bounces_min);
    let point = snap(lerp(path[late], path[late + 1], dice.between(0.15, 0.85)));
    let clear = mirrors
        .iter()
        .chain([&arrow])
        .all(|[a, b]| segment_distance(point, *a, *b) >= common.stroke_clearance());
    (clear && common.holds(point, common.disc_radius())).then_some(point)
}

/// Rays from one start, and which of them can stand in one scene.
struct Pool {
    start: Vec2,
    /// Least distance of a ray from another's point, and of two points.
    tolerance: f64,
    /// Number of candidates.
    count: usize,
    shots: Vec<Shot>,
    /// Bit `k` of entry `i`: neither of the shots `i` and `k` comes near the other's point.
    with: Vec<u64>,
    /// How many more sets may be looked at.
    patience: usize,
}

impl Pool {
    fn new(common: &EyeballingParams, start: Vec2) -> Self {
        Self {
            start,
            tolerance: common.tolerance(),
            count: common.candidates,
            shots: Vec::new(),
            with: Vec::new(),
            patience: 1_000,
        }
    }

    /// No more shots can be added, or it would be in vain.
    fn is_spent(&self) -> bool {
        self.patience == 0 || self.shots.len() == u64::BITS as usize
    }

    /// Adds a shot; returns a whole set with it once there is one.
    fn add(&mut self, shot: Shot) -> Option<Vec<usize>> {
        let at = self.shots.len();
        let mut with = 0;
        for (other, known) in self.shots.iter().enumerate() {
            if self.are_apart(&shot, known) {
                with |= 1 << other;
                self.with[other] |= 1 << at;
            }
        }
        self.shots.push(shot);
        self.with.push(with);
        let mut chosen = vec![at];
        self.complete(&mut chosen, with).then_some(chosen)
    }

    /// Neither of two rays comes near the other's point.
    fn are_apart(&self, one: &Shot, other: &Shot) -> bool {
        distance(one.point, other.point) >= self.tolerance
            && !comes_near(&one.path, other.point, self.tolerance)
            && !comes_near(&other.path, one.point, self.tolerance)
    }

    /// Adds members of `free` until the set is whole and even.
    fn complete(&mut self, chosen: &mut Vec<usize>, mut free: u64) -> bool {
        if chosen.len() == self.count {
            self.patience = self.patience.saturating_sub(1);
            return self.is_even(chosen);
        }
        while self.patience > 0 && chosen.len() + free.count_ones() as usize >= self.count {
            let at = free.trailing_zeros() as usize;
            free &= free - 1;
            chosen.push(at);
            if self.complete(chosen, free & self.with[at]) {
                return true;
            }
            chosen.pop();
        }
        false
    }

    /// Whether each rule that looks at the arrow alone is right for exactly one of the rays: nearest
    /// to where it points (else right in 29 of 100 puzzles), nearest to its tip or farthest from it,
    /// level with it.
    fn is_even(&self, chosen: &[usize]) -> bool {
        let off = |shot: &Shot, at: Vec2| cross(shot.toward, sub(at, self.start)).abs();
        let square = |shot: &Shot, at: Vec2| {
            let arm = sub(at, shot.aim);
            dot(arm, arm)
        };
        let aside = |axis: usize| move |shot: &Shot, at: Vec2| (at[axis] - shot.aim[axis]).abs();
        self.is_right_once(chosen, off)
            && self.is_right_once(chosen, square)
            && self.is_right_once(chosen, |shot, at| -square(shot, at))
            && self.is_right_once(chosen, aside(0))
            && self.is_right_once(chosen, aside(1))
    }

    /// The point of exactly one of the chosen shots has the least score of all their points, by the
    /// shot's own scores.
    fn is_right_once(&self, chosen: &[usize], score: impl Fn(&Shot, Vec2) -> f64) -> bool {
        let is_least = |own: &&usize| {
            let shot = &self.shots[**own];
            let least = score(shot, shot.point);
            let mut others = chosen.iter().filter(|at| *at != *own);
            others.all(|at| score(shot, self.shots[*at].point) > least)
        };
        chosen.iter().filter(is_least).count() == 1
    }

    /// The chosen shots.
    fn take(self, chosen: &[usize]) -> Vec<Shot> {
        let shots = self.shots.into_iter().enumerate();
        shots
            .filter(|(at, _)| chosen.contains(at))
            .map(|(_, shot)| shot)
            .collect()
    }
}
