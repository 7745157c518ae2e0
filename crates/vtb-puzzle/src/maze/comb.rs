//! Geometry of a honeycomb: hexagonal cells about a centre.

use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::band::{runs, whole};
use super::last::{ANY, Last};
use super::{FLOOR, Rooms, WALL, Ways};
use crate::draw::{Canvas, Rgb, text_width};
use crate::error::Result;
use crate::graph::CellId;
use crate::judge::CellMap;

/// Column and slanted row of a cell, both 0 in the centre.
type Axial = [i32; 2];

/// Neighbours in the order of the edges: the first lies beyond the edge from 0 to 60 degrees.
const AROUND: [Axial; 6] = [[1, 0], [0, 1], [-1, 1], [-1, 0], [0, -1], [1, -1]];

/// Hexagonal cells with flat tops; walls run along their edges. Pixels, y down.
///
/// Ids go column by column from the left, in each column from the top.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comb {
    /// Rings of cells about the one in the centre.
    pub radius: u32,
    /// Side of a cell, which is also the distance of its corners from its middle.
    pub cell_size: u32,
    /// Thickness of walls.
    pub wall: u32,
    /// Middle of the maze.
    pub center: [f64; 2],
}

impl Comb {
    /// Width and height of the maze, outer walls included.
    #[must_use]
    pub fn size(radius: u32, cell_size: u32, wall: u32) -> [u32; 2] {
        let height = f64::from((2 * radius + 1) * cell_size) * root3() + f64::from(wall);
        [(3 * radius + 2) * cell_size + wall, height.ceil() as u32]
    }

    /// Every cell in the order of ids.
    fn cells(&self) -> Vec<Axial> {
        let reach = self.radius as i32;
        let column = |q: i32| (-reach..=reach).map(move |r| [q, r]);
        let inside = |&cell: &Axial| steps_out(cell) <= reach;
        (-reach..=reach).flat_map(column).filter(inside).collect()
    }

    /// Ids of the six neighbours of every cell, in the order of its edges.
    fn around(&self, cells: &[Axial]) -> Vec<[Option<usize>; 6]> {
        let reach = self.radius as i32;
        let side = 2 * self.radius as usize + 1;
        let slot = |[q, r]: Axial| (q + reach) as usize * side + (r + reach) as usize;
        let mut ids = vec![None; side * side];
        for (id, &cell) in cells.iter().enumerate() {
            ids[slot(cell)] = Some(id);
        }
        let beside = |&[q, r]: &Axial| {
            AROUND.map(|[dq, dr]| {
                let next = [q + dq, r + dr];
                (steps_out(next) <= reach)
                    .then(|| ids[slot(next)])
                    .flatten()
            })
        };
        cells.iter().map(beside).collect()
    }

    /// The cells as a graph without walls; puzzles of one size share it.
    #[must_use]
    pub fn rooms(&self) -> Arc<Rooms> {
        thread_local! {
            static LAST: Last<(Comb, [u32; 2]), Arc<Rooms>> = const { Last::new() };
        }
        let make = || Arc::new(self.lay_out_rooms());
        LAST.with(|last| last.with((*self, ANY), make, Arc::clone))
    }

    fn lay_out_rooms(&self) -> Rooms {
        let cells = self.cells();
        let doors = |beside: &[Option<usize>; 6]| beside.iter().flatten().copied().collect();
        let on_rim = |id: &usize| steps_out(cells[*id]) == self.radius as i32;
        Rooms {
            doors: self.around(&cells).iter().map(doors).collect(),
            center: cells.len() / 2,
            rim: (0..cells.len()).filter(on_rim).collect(),
        }
    }

    /// Middles of all cells in the order of ids.
    #[must_use]
    pub fn middles(&self) -> Vec<[f64; 2]> {
        let side = f64::from(self.cell_size);
        let middle = |[q, r]: Axial| {
            let down = root3() * (f64::from(r) + f64::from(q) / 2.0);
            [
                self.center[0] + 1.5 * f64::from(q) * side,
                self.center[1] + down * side,
            ]
        };
        self.cells().into_iter().map(middle).collect()
    }

    /// Every wall of the maze once, as a segment.
    #[must_use]
    pub fn walls(&self, ways: &Ways) -> Vec<[[f64; 2]; 2]> {
        let walls = self.numbered_walls(ways);
        walls.into_iter().map(|(_, ends)| ends).collect()
    }

    /// The same, each with a number that stands for its place in any maze of this size.
    fn numbered_walls(&self, ways: &Ways) -> Vec<(usize, [[f64; 2]; 2])> {
        let side = f64::from(self.cell_size);
        let (near, high) = (0.5 * side, root3() / 2.0 * side);
        let corners = [
            [side, 0.0],
            [near, high],
            [-near, high],
            [-side, 0.0],
            [-near, -high],
            [near, -high],
        ];
        let mut walls = Vec::new();
        let middles = self.middles();
        for (id, beside) in self.around(&self.cells()).into_iter().enumerate() {
            for (edge, other) in beside.into_iter().enumerate() {
                // Seen from both sides; taken from the smaller id.
                if other.is_some_and(|other| other < id || ways.joins(id, other)) {
                    continue;
                }
                let corner = |at: usize| {
                    let [x, y] = corners[at % 6];
                    [middles[id][0] + x, middles[id][1] + y]
                };
                walls.push((6 * id + edge, [corner(edge), corner(edge + 1)]));
            }
        }
        walls
    }

    /// Calls `visit(row, left, right)` for the rows of pixels of the cell about `middle`.
    ///
    /// Ends are rounded outwards, so cells next door leave no gap; walls hide what juts out.
    fn each_row(
        &self,
        middle: [f64; 2],
        [width, height]: [u32; 2],
        mut visit: impl FnMut(u32, u32, u32),
    ) {
        let side = f64::from(self.cell_size);
        let high = root3() / 2.0 * side;
        for row in whole(middle[1] - high, middle[1] + high, height) {
            let off = (f64::from(row) + 0.5 - middle[1]).abs();
            let reach = side - off / root3();
            let columns = whole(middle[0] - reach, middle[0] + reach, width);
            visit(row, columns.start, columns.end);
        }
    }

    /// A page with every cell; puzzles of one size share it.
    pub(crate) fn floor(&self, size: [u32; 2]) -> Result<Canvas> {
        thread_local! {
            static LAST: Last<(Comb, [u32; 2]), Canvas> = const { Last::new() };
        }
        let make = || {
            let mut canvas = Canvas::new(size, WALL)?;
            for middle in self.middles() {
                self.each_row(middle, size, |row, left, right| {
                    canvas.rect([left, row, right, row + 1], FLOOR);
                });
            }
            Ok(canvas)
        };
        LAST.with(|last| last.try_with((*self, size), make, Canvas::clone))
    }

    /// Paints one cell, with smooth edges where it is open.
    pub(crate) fn paint_cell(
        &self,
        canvas: &mut Canvas,
        size: [u32; 2],
        middle: [f64; 2],
        color: Rgb,
    ) {
        let side = f64::from(self.cell_size);
        let high = root3() / 2.0 * side;
        let [x, y] = middle;
        canvas.kept_area([x, y, side, 0.0, 0.0, 0.0], color, |area| {
            self.each_row(middle, size, |row, left, right| {
                let off = (f64::from(row) + 0.5 - y).abs();
                area.row(row as i32, left as i32..right as i32, |column| {
                    let across = (f64::from(column) + 0.5 - x).abs();
                    let slanted = high - (root3() * across + off) / 2.0;
                    (slanted.min(high - off) + 0.5) as f32
                });
            });
        });
    }

    /// The cell of every pixel; none on walls and beside the maze. Puzzles of one size share most of
    /// the work.
    #[must_use]
    pub fn cell_map(&self, ways: &Ways, size: [u32; 2]) -> CellMap {
        thread_local! {
            static LAST: Last<(Comb, [u32; 2]), Layout> = const { Last::new() };
        }
        let make = || Layout::new(self, size);
        let look = |layout: &Layout| {
            let mut map = layout.open.clone();
            for (at, wall) in self.numbered_walls(ways) {
                let half = f64::from(self.wall) / 2.0;
                for run in layout.walls[at].get_or_init(|| runs(size, wall, half)) {
                    map.fill(run.clone(), None);
                }
            }
            map
        };
        LAST.with(|last| last.with((*self, size), make, look))
    }

    /// Size at which the longest id fits into a cell clear of its walls, pixels.
    #[must_use]
    pub fn id_size(&self) -> f64 {
        let count = 3 * self.radius * (self.radius + 1) + 1;
        let [width, height] = [text_width(&(count - 1).to_string()), DIGIT_HEIGHT];
        let high = (root3() * f64::from(self.cell_size) - f64::from(self.wall)) / 2.0 - 1.0;
        // A corner of the text touches a slanted wall, or the text's top a level one.
        let slanted = 4.0 * high / (root3() * width + height);
        slanted
            .min(2.0 * high / height)
            .min(0.62 * f64::from(self.cell_size))
    }
}

/// The pixels of a honeycomb.
struct Layout {
    /// As if no wall stood.
    open: CellMap,
    /// By cell and edge.
    walls: Vec<OnceCell<Vec<Range<usize>>>>,
}

impl Layout {
    fn new(comb: &Comb, [width, height]: [u32; 2]) -> Self {
        let place = |column: u32, row: u32| row as usize * width as usize + column as usize;
        let middles = comb.middles();
        let ids = 0..middles.len() as CellId;
        let mut open = CellMap::new(place(0, height), ids.clone().collect());
        for (id, middle) in ids.zip(&middles) {
            comb.each_row(*middle, [width, height], |row, left, right| {
                if left < right {
                    open.fill(place(left, row)..place(right, row), Some(id));
                }
            });
        }
        Self {
            open,
            walls: vec![OnceCell::new(); 6 * middles.len()],
        }
    }
}

/// Height of digits, in units of their size.
pub(crate) const DIGIT_HEIGHT: f64 = 0.76;

fn root3() -> f64 {
    3.0_f64.sqrt()
}

/// Steps from the centre.
fn steps_out([q, r]: Axial) -> i32 {
    q.abs().max(r.abs()).max((q + r).abs())
}
