//! The cells of a labyrinth, pixel by pixel.

use std::cell::OnceCell;
use std::ops::Range;

use super::Ways;
use super::band::runs;
use super::circle::{diamond_angle, on_circle};
use super::last::Last;
use super::rings::{Opening, Rings};
use crate::graph::CellId;
use crate::judge::CellMap;

/// The cell of every pixel; puzzles of one size share most of the work.
pub(super) fn cell_map(rings: &Rings, ways: &Ways, size: [u32; 2]) -> CellMap {
    thread_local! {
        static LAST: Last<(Rings, [u32; 2]), Layout> = const { Last::new() };
    }
    let make = || Layout::new(rings, size);
    LAST.with(|last| last.with((*rings, size), make, |layout| layout.cell_map(rings, ways)))
}

/// Pixels beside each other, and their cell.
type Part = (Range<usize>, CellId);

/// The pixels of a labyrinth.
struct Layout {
    size: [u32; 2],
    /// As if no spoke stood and no wall were open.
    whole: CellMap,
    /// By cell: the opening to the inside, and the spoke before it.
    openings: Vec<OnceCell<Vec<Part>>>,
    spokes: Vec<OnceCell<Vec<Range<usize>>>>,
}

impl Layout {
    fn new(rings: &Rings, size: [u32; 2]) -> Self {
        let ids = 0..=(rings.rings * rings.segments) as CellId;
        let count = ids.clone().count();
        Self {
            size,
            whole: CellMap::of_named(ids.collect(), &lay_out(rings, size)),
            openings: vec![OnceCell::new(); count],
            spokes: vec![OnceCell::new(); count],
        }
    }

    fn cell_map(&self, rings: &Rings, ways: &Ways) -> CellMap {
        let mut map = self.whole.clone();
        for opening in rings.openings(ways) {
            let pixels = &self.openings[opening.outside as usize];
            for (run, cell) in pixels.get_or_init(|| self.open(rings, &opening)) {
                map.open(run.clone(), *cell);
            }
        }
        for (id, ends) in rings.spokes(ways) {
            let half = f64::from(rings.wall) / 2.0;
            for run in self.spokes[id].get_or_init(|| runs(self.size, ends, half)) {
                map.fill(run.clone(), None);
            }
        }
        map
    }

    /// The pixels of an opening, and to which of its cells they are nearer.
    fn open(&self, rings: &Rings, opening: &Opening) -> Vec<Part> {
        let [below, above] = opening.radii;
        let middle = (below + above) / 2.0;
        let width = self.size[0] as usize;
        let cell = |pixel: &usize| {
            let [x, y] = rings.seen_at((pixel % width) as u32, (pixel / width) as u32);
            match x * x + y * y < middle * middle {
                true => opening.inside,
                false => opening.outside,
            }
        };
        let mut found = Vec::new();
        for run in runs(self.size, opening.ends, opening.half) {
            let pixels: Vec<_> = run.collect();
            for part in pixels.chunk_by(|one, next| cell(one) == cell(next)) {
                found.push((part[0]..part[0] + part.len(), cell(&part[0])));
            }
        }
        found
    }
}

/// To the left and to the right of the middle, the farther out a pixel of a row is, the larger is
/// its radius, and its angle turns one way: cells are runs of pixels, whose ends are worked out.
fn lay_out(rings: &Rings, [width, height]: [u32; 2]) -> Vec<Option<CellId>> {
    let spokes: Vec<_> = (0..rings.segments)
        .map(|segment| on_circle(segment, rings.segments))
        .collect();
    let angles: Vec<_> = spokes.iter().map(|spoke| diamond_angle(*spoke)).collect();
    let is_right = |column: &u32| rings.seen_at(*column, 0)[0] >= 0.0;
    let middle = (0..width).find(is_right).unwrap_or(width);
    let mut map = vec![None; width as usize * height as usize];
    for (row, line) in (0..height).zip(map.chunks_exact_mut(width.max(1) as usize)) {
        let (left, right) = line.split_at_mut(middle as usize);
        let half = HalfRow {
            rings,
            spokes: &spokes,
            angles: &angles,
            y: rings.seen_at(0, row)[1],
        };
        half.fill(right, |at| rings.seen_at(middle + at as u32, row)[0]);
        left.reverse();
        half.fill(left, |at| rings.seen_at(middle - 1 - at as u32, row)[0]);
        left.reverse();
    }
    map
}

/// Half a row of pixels, from the middle outwards.
struct HalfRow<'a> {
    rings: &'a Rings,
    spokes: &'a [[f64; 2]],
    angles: &'a [f64],
    y: f64,
}

impl HalfRow<'_> {
    /// Enters the cells of the pixels; `x` tells where they lie.
    fn fill(&self, cells: &mut [Option<CellId>], x: impl Fn(usize) -> f64) {
        let (count, y) = (cells.len(), self.y);
        let Some(last) = count.checked_sub(1) else {
            return;
        };
        let first_x = x(0).abs();
        let radius = |at: usize| (x(at) * x(at) + y * y).sqrt();
        let beyond = |bound: f64, holds: &dyn Fn(f64) -> bool| {
            let guess = (bound * bound - y * y).max(0.0).sqrt() - first_x;
            first(count, guess, |at| holds(radius(at)))
        };
        let hub = f64::from(self.rings.hub);
        let end = beyond(hub, &|radius| radius > hub);
        cells[..end].fill(Some(0));
        let segments = self.segments(last, &x);
        for ring in 1..=self.rings.rings {
            let [inner, outer] = self.rings.corridor(ring);
            let from = beyond(inner, &|radius| radius >= inner);
            let to = beyond(outer, &|radius| radius > outer);
            for (segment, range) in &segments {
                let range = range.start.max(from)..range.end.min(to);
                if !range.is_empty() {
                    let id = self.rings.id([ring, *segment]) as CellId;
                    cells[range].fill(Some(id));
                }
            }
        }
    }

    /// Where each segment lies in the half row, up to pixel `last`.
    fn segments(&self, last: usize, x: &impl Fn(usize) -> f64) -> Vec<(u32, Range<usize>)> {
        let y = self.y;
        let segment = |at: usize| {
            let angle = diamond_angle([x(at), y]);
            let spokes = self.angles.partition_point(|spoke| *spoke <= angle);
            spokes.saturating_sub(1)
        };
        let mut found = Vec::new();
        let (mut from, mut here, end) = (0, segment(0), segment(last));
        while here != end {
            // The spoke that is crossed next, and where.
            let spoke = self.spokes[if end > here { here + 1 } else { here }];
            let guess = (y * spoke[0] / spoke[1]).abs() - x(0).abs();
            let to = first(last + 1, guess, |at| match end > here {
                true => segment(at) > here,
                false => segment(at) < here,
            });
            found.push((here as u32, from..to));
            from = to;
            here = segment(to.min(last));
        }
        found.push((here as u32, from..last + 1));
        found
    }
}

/// The first of `count` at which something holds that holds from there on, looked for from `guess`.
fn first(count: usize, guess: f64, holds: impl Fn(usize) -> bool) -> usize {
    let mut at = (guess.max(0.0) as usize).min(count);
    while at > 0 && holds(at - 1) {
        at -= 1;
    }
    while at < count && !holds(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cell at a point, y up from the centre.
    fn cell_at(rings: &Rings, [x, y]: [f64; 2]) -> Option<CellId> {
        let radius = (x * x + y * y).sqrt();
        if radius <= f64::from(rings.hub) {
            return Some(0);
        }
        let in_ring = |ring: &u32| {
            let [inner, outer] = rings.corridor(*ring);
            (inner..=outer).contains(&radius)
        };
        let ring = (1..=rings.rings).rev().find(in_ring)?;
        let angle = diamond_angle([x, y]);
        let after = |segment: &u32| diamond_angle(on_circle(*segment, rings.segments)) <= angle;
        let segment = (0..rings.segments).rev().find(after)?;
        Some(rings.id([ring, segment]) as CellId)
    }

    #[test]
    fn runs_hold_the_cells_of_their_pixels() {
        for (rings, segments, center, size) in [
            (2, 5, [60.0, 55.0], [120, 110]),
            (3, 8, [70.5, 70.5], [141, 141]),
            (1, 12, [41.3, 38.7], [80, 80]),
            // Beside the picture.
            (2, 7, [-8.0, 20.0], [60, 70]),
            (2, 7, [90.0, 20.5], [60, 50]),
        ] {
            let mut maze = Rings::new([rings, segments], 13, 4);
            maze.center = center;
            let map = lay_out(&maze, size);
            for (at, cell) in map.into_iter().enumerate() {
                let [column, row] = [at as u32 % size[0], at as u32 / size[0]];
                let point = maze.seen_at(column, row);
                assert_eq!(cell, cell_at(&maze, point), "{center:?} {column} {row}");
            }
        }
    }
}
