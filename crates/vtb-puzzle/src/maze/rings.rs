//! Geometry of a labyrinth: rings of cells about a disc.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::band::whole;
use super::comb::DIGIT_HEIGHT;
use super::last::{ANY, Last};
use super::ring_map::cell_map;
use super::{FLOOR, Rooms, WALL, Ways, on_circle};
use crate::draw::{Canvas, Rgb, text_width};
use crate::error::Result;
use crate::graph::CellId;
use crate::judge::CellMap;

/// A disc, which is cell 0, and rings of equally many cells about it. Pixels, y down.
///
/// Ids go from the inside out, in each ring counter-clockwise from the direction to the right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rings {
    /// Rings about the disc.
    pub rings: u32,
    /// Cells in each ring.
    pub segments: u32,
    /// Width of the corridors.
    pub ring_width: u32,
    /// Thickness of walls.
    pub wall: u32,
    /// Radius of the disc.
    pub hub: u32,
    /// Middle of the maze.
    pub center: [f64; 2],
}

/// Ring, from 1, and place in it.
type Spot = [u32; 2];

/// An opening in a wall between two rings.
pub(super) struct Opening {
    pub(super) inside: CellId,
    pub(super) outside: CellId,
    /// Between which the wall lies.
    pub(super) radii: [f64; 2],
    /// From the inside out.
    pub(super) ends: [[f64; 2]; 2],
    /// Half its width.
    pub(super) half: f64,
}

impl Rings {
    /// A labyrinth about the origin; the disc is about as wide as it takes to hold a ring.
    #[must_use]
    pub fn new([rings, segments]: [u32; 2], ring_width: u32, wall: u32) -> Self {
        Self {
            rings,
            segments,
            ring_width,
            wall,
            hub: ring_width + (2 * wall).max(ring_width / 2).max(12),
            center: [0.0; 2],
        }
    }

    /// Radius of the maze, outer wall included.
    #[must_use]
    pub fn reach(&self) -> u32 {
        self.hub + self.wall + self.rings * (self.ring_width + self.wall)
    }

    /// Radii between which the corridor of a ring lies.
    pub(super) fn corridor(&self, ring: u32) -> [f64; 2] {
        let inner = self.hub + self.wall + (ring - 1) * (self.ring_width + self.wall);
        [f64::from(inner), f64::from(inner + self.ring_width)]
    }

    /// Radii between which the wall inside a ring lies.
    fn wall_inside(&self, ring: u32) -> [f64; 2] {
        let [inner, _] = self.corridor(ring);
        [inner - f64::from(self.wall), inner]
    }

    /// Where a cell lies; none for the disc.
    fn spot(&self, id: usize) -> Option<Spot> {
        let at = u32::try_from(id).ok()?.checked_sub(1)?;
        Some([at / self.segments + 1, at % self.segments])
    }

    pub(super) fn id(&self, [ring, segment]: Spot) -> usize {
        (1 + (ring - 1) * self.segments + segment % self.segments) as usize
    }

    /// All cells but the disc.
    fn spots(&self) -> impl Iterator<Item = Spot> {
        let segments = self.segments;
        (1..=self.rings).flat_map(move |ring| (0..segments).map(move |segment| [ring, segment]))
    }

    /// The point at `step / of` turns, counter-clockwise from the right.
    fn at(&self, step: u32, of: u32, radius: f64) -> [f64; 2] {
        let [x, y] = on_circle(step, of);
        [self.center[0] + radius * x, self.center[1] - radius * y]
    }

    /// Middle of a cell.
    #[must_use]
    pub fn middle(&self, id: usize) -> [f64; 2] {
        self.spot(id).map_or(self.center, |[ring, segment]| {
            let [inner, outer] = self.corridor(ring);
            self.at(2 * segment + 1, 2 * self.segments, (inner + outer) / 2.0)
        })
    }

    /// The cells as a graph without walls; puzzles of one size share it.
    #[must_use]
    pub fn rooms(&self) -> Arc<Rooms> {
        thread_local! {
            static LAST: Last<(Rings, [u32; 2]), Arc<Rooms>> = const { Last::new() };
        }
        let make = || Arc::new(self.lay_out_rooms());
        LAST.with(|last| last.with((*self, ANY), make, Arc::clone))
    }

    fn lay_out_rooms(&self) -> Rooms {
        let last = self.segments - 1;
        let mut doors = vec![(1..=self.segments as usize).collect::<Vec<_>>()];
        for [ring, segment] in self.spots() {
            let inside = match ring {
                1 => 0,
                _ => self.id([ring - 1, segment]),
            };
            let beside = [segment + last, segment + 1].map(|next| self.id([ring, next]));
            let outside = (ring < self.rings).then(|| self.id([ring + 1, segment]));
            doors.push([inside].into_iter().chain(beside).chain(outside).collect());
        }
        let first = self.id([self.rings, 0]);
        Rooms {
            rim: (first..doors.len()).collect(),
            doors,
            center: 0,
        }
    }

    /// Free width between two spokes where a corridor is narrowest.
    #[must_use]
    pub fn narrowest(&self) -> f64 {
        let [inner, _] = self.corridor(1);
        self.gap(inner)
    }

    /// Free width between two neighbouring spokes, `radius` away from the middle.
    fn gap(&self, radius: f64) -> f64 {
        let [_, sine] = on_circle(1, 2 * self.segments);
        2.0 * radius * sine - f64::from(self.wall)
    }

    /// Half the width of openings in the wall inside a ring.
    fn opening(&self, ring: u32) -> f64 {
        // Below the first ring there are no spokes, so there the wall's outer edge counts.
        let [below, above] = self.wall_inside(ring);
        let narrow = self.gap(if ring == 1 { above } else { below });
        0.3 * narrow.min(f64::from(self.ring_width))
    }

    /// Thickness of a route that keeps clear of every wall.
    #[must_use]
    pub fn route_width(&self) -> f64 {
        let corridor = f64::from(self.ring_width) / 3.0;
        corridor.min(self.opening(1)).floor().max(2.0)
    }

    /// The spokes that stand: walls between cells of a ring, each from the inside out, and the cell
    /// before which it stands.
    pub(super) fn spokes(&self, ways: &Ways) -> impl Iterator<Item = (usize, [[f64; 2]; 2])> {
        let last = self.segments - 1;
        let walled = move |&[ring, segment]: &Spot| {
            !ways.joins(self.id([ring, segment]), self.id([ring, segment + last]))
        };
        let spoke = move |[ring, segment]: Spot| {
            let ends = self
                .corridor(ring)
                .map(|radius| self.at(segment, self.segments, radius));
            (self.id([ring, segment]), ends)
        };
        self.spots().filter(walled).map(spoke)
    }

    /// Openings in the walls between rings.
    pub(super) fn openings(&self, ways: &Ways) -> impl Iterator<Item = Opening> {
        let opening = move |[ring, segment]: Spot| {
            let inside = match ring {
                1 => 0,
                _ => self.id([ring - 1, segment]),
            };
            let outside = self.id([ring, segment]);
            let radii = self.wall_inside(ring);
            ways.joins(inside, outside).then(|| Opening {
                inside: inside as CellId,
                outside: outside as CellId,
                radii,
                ends: radii.map(|radius| self.at(2 * segment + 1, 2 * self.segments, radius)),
                half: self.opening(ring),
            })
        };
        self.spots().filter_map(opening)
    }

    /// The way along a path: arcs in the middle of corridors, straight through openings.
    #[must_use]
    pub fn route(&self, path: &[CellId]) -> Vec<[f64; 2]> {
        let pieces = self.pieces();
        let mut points: Vec<_> = path
            .first()
            .map(|&id| self.middle(id as usize))
            .into_iter()
            .collect();
        for pair in path.windows(2) {
            let [from, to] = [pair[0], pair[1]].map(|id| self.spot(id as usize));
            match (from, to) {
                (Some([ring, first]), Some([other, second])) if ring == other => {
                    points.extend(self.arc(ring, first, second, pieces));
                }
                _ => points.push(self.middle(pair[1] as usize)),
            }
        }
        points
    }

    /// Pieces per cell that make an arc look round: none strays 0.1 pixel.
    fn pieces(&self) -> u32 {
        let radius = f64::from(self.reach());
        let round = |&pieces: &u32| {
            let [cosine, _] = on_circle(1, 2 * self.segments * pieces);
            radius * (1.0 - cosine) <= 0.1
        };
        (1..256).find(round).unwrap_or(256)
    }

    /// The arc from the middle of one cell to that of the next, without its first point.
    fn arc(&self, ring: u32, first: u32, second: u32, pieces: u32) -> Vec<[f64; 2]> {
        let [inner, outer] = self.corridor(ring);
        let turn = 2 * self.segments * pieces;
        let from = (2 * first + 1) * pieces;
        let forward = (first + 1) % self.segments == second;
        let step = |piece: u32| match forward {
            true => from + 2 * piece,
            false => from + turn - 2 * piece,
        };
        let point = |piece| self.at(step(piece), turn, (inner + outer) / 2.0);
        (1..=pieces).map(point).collect()
    }

    /// A page with the disc and the corridors; puzzles of one size share it.
    pub(crate) fn floor(&self, size: [u32; 2]) -> Result<Canvas> {
        thread_local! {
            static LAST: Last<(Rings, [u32; 2]), Canvas> = const { Last::new() };
        }
        let make = || {
            let mut canvas = Canvas::new(size, WALL)?;
            for ring in 1..=self.rings {
                let radii = self.corridor(ring);
                let [inner, outer] = radii;
                let coverage = |distance: f64| (distance - inner).min(outer - distance) + 0.5;
                canvas.round(self.center, radii, f64::INFINITY, FLOOR, coverage);
            }
            canvas.disc(self.center, f64::from(self.hub), FLOOR);
            Ok(canvas)
        };
        LAST.with(|last| last.try_with((*self, size), make, Canvas::clone))
    }

    /// Paints the openings.
    pub(crate) fn paint_openings(&self, canvas: &mut Canvas, ways: &Ways, floor: Rgb) {
        for opening in self.openings(ways) {
            canvas.kept_line(opening.ends, 2.0 * opening.half, floor);
        }
    }

    /// Draws the spokes.
    pub(crate) fn paint_spokes(&self, canvas: &mut Canvas, ways: &Ways, wall: Rgb) {
        for (_, spoke) in self.spokes(ways) {
            canvas.kept_line(spoke, f64::from(self.wall), wall);
        }
    }

    /// Paints one cell, with smooth edges where it is open.
    pub(crate) fn paint_cell(
        &self,
        canvas: &mut Canvas,
        [width, height]: [u32; 2],
        id: usize,
        color: Rgb,
    ) {
        let Some([ring, segment]) = self.spot(id) else {
            canvas.disc(self.center, f64::from(self.hub), color);
            return;
        };
        let [inner, outer] = self.corridor(ring);
        // The corners and the outermost point of the bow enclose the cell.
        let corners = [2 * segment, 2 * segment + 1, 2 * segment + 2];
        let corners = corners.map(|step| on_circle(step, 2 * self.segments));
        let reach = |axis: usize, sign: f64| {
            let far =
                |corner: &[f64; 2]| (sign * corner[axis] * inner).max(sign * corner[axis] * outer);
            sign * corners.iter().map(far).fold(f64::NEG_INFINITY, f64::max)
        };
        // The bow of a wide cell swells a little past these three points.
        let swell = outer * (1.0 - on_circle(1, 4 * self.segments)[0]) + 1.0;
        let rows = whole(
            self.center[1] - reach(1, 1.0) - swell,
            self.center[1] - reach(1, -1.0) + swell,
            height,
        );
        let columns = whole(
            self.center[0] + reach(0, -1.0) - swell,
            self.center[0] + reach(0, 1.0) + swell,
            width,
        );
        let [first, _, last] = corners;
        let [x, y] = self.center;
        let [segment, segments] = [segment, self.segments].map(f64::from);
        canvas.kept_area([x, y, inner, outer, segment, segments], color, |area| {
            for row in rows {
                let columns = columns.start as i32..columns.end as i32;
                area.row(row as i32, columns, |column| {
                    let [x, y] = self.seen_at(column as u32, row);
                    let radius = (x * x + y * y).sqrt();
                    let after = first[0] * y - first[1] * x;
                    let before = x * last[1] - y * last[0];
                    let inset = (radius - inner).min(outer - radius).min(after).min(before);
                    (inset + 0.5) as f32
                });
            }
        });
    }

    /// Middle of a pixel as seen from the centre, y up.
    pub(super) fn seen_at(&self, column: u32, row: u32) -> [f64; 2] {
        [
            f64::from(column) + 0.5 - self.center[0],
            self.center[1] - f64::from(row) - 0.5,
        ]
    }

    /// The cell of every pixel; none on walls and beside the maze.
    #[must_use]
    pub fn cell_map(&self, ways: &Ways, size: [u32; 2]) -> CellMap {
        cell_map(self, ways, size)
    }

    /// Size at which every id fits into its cell clear of the walls, pixels.
    #[must_use]
    pub fn id_size(&self) -> f64 {
        let mut size = 0.62 * f64::from(self.ring_width);
        for spot in self.spots() {
            let width = text_width(&self.id(spot).to_string());
            while size > 1.0 && !self.fits(spot, [width * size, DIGIT_HEIGHT * size]) {
                size -= 0.25;
            }
        }
        size
    }

    /// Whether an upright box about a cell's middle keeps a pixel clear of all its walls.
    fn fits(&self, spot: Spot, text: [f64; 2]) -> bool {
        let [ring, segment] = spot;
        let [inner, outer] = self.corridor(ring);
        let half = text.map(|side| side / 2.0 + 1.0);
        let radius = (inner + outer) / 2.0;
        let middle = on_circle(2 * segment + 1, 2 * self.segments).map(|part| part * radius);
        let square = |offset: [f64; 2]| offset[0] * offset[0] + offset[1] * offset[1];
        let far = [0, 1].map(|axis| middle[axis].abs() + half[axis]);
        let near = [0, 1].map(|axis| (middle[axis].abs() - half[axis]).max(0.0));
        let clear_of = |spoke: [f64; 2]| {
            let [x, y] = spoke;
            let away = (x * middle[1] - y * middle[0]).abs();
            away - (y.abs() * half[0] + x.abs() * half[1]) >= f64::from(self.wall) / 2.0
        };
        square(far) <= outer * outer
            && square(near) >= inner * inner
            && [segment, segment + 1]
                .into_iter()
                .all(|at| clear_of(on_circle(at, self.segments)))
    }
}
