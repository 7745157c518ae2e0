//! Hexagonal mazes: cells from the record, walls from the picture.

use image::RgbImage;
use vtb_puzzle::CellId;

use super::fields::{Fields, Found, get, pixels, within};
use super::maze::Layout;
use super::walls::{Door, Spot, cell_map, passages};
use super::wrong;

/// Column and slanted row of a cell.
type Axial = [i32; 2];

/// Half of a cell's neighbours: with the other half every pair would come twice.
const BESIDE: [Axial; 3] = [[1, 0], [0, 1], [1, -1]];
/// Most rings about the middle.
const MAX_RADIUS: u32 = 100;

/// Flat-topped cells about the one in the middle; ids go column by column.
struct Comb {
    radius: i32,
    /// Side of a cell.
    side: f64,
    wall: f64,
    /// Middle of cell 0, 0.
    center: [f64; 2],
    /// Id of every place of the square that holds the comb.
    ids: Vec<Option<CellId>>,
    cells: Vec<Axial>,
}

/// Reads the maze of a record.
pub(super) fn read(fields: &Fields, puzzle: &RgbImage) -> Found<Layout> {
    let comb = Comb::read(fields)?;
    let [start, goal] = [comb.end(fields, "start")?, comb.end(fields, "goal")?];
    let middles = comb.cells.iter().map(|&cell| comb.middle(cell));
    Ok(Layout {
        centers: (0..).zip(middles).collect(),
        passages: passages(puzzle, &comb.doors())?,
        cells: cell_map(puzzle, |point| comb.spot(point)),
        ends: [start, goal],
    })
}

impl Comb {
    fn read(fields: &Fields) -> Found<Self> {
        let radius = within("radius", get::<u32>(fields, "radius")?, [1, MAX_RADIUS])? as i32;
        let side = pixels(fields, "cell_radius", [6.0, 1000.0])?;
        let wall = pixels(fields, "wall_thickness", [1.0, side / 2.0])?;
        let range = || -radius..=radius;
        let inside = |&[q, r]: &Axial| (q + r).abs() <= radius;
        let cells: Vec<Axial> = range()
            .flat_map(|q| range().map(move |r| [q, r]))
            .filter(inside)
            .collect();
        let mut comb = Self {
            radius,
            side,
            wall,
            center: [0.0; 2],
            ids: vec![None; (2 * radius as usize + 1).pow(2)],
            cells,
        };
        for (id, cell) in comb.cells.clone().into_iter().enumerate() {
            if let Some(slot) = comb.slot(cell) {
                comb.ids[slot] = Some(id as CellId);
            }
        }
        let goal: Axial = get(fields, "goal_cell")?;
        if comb.id(goal).is_none() {
            return wrong("goal_cell", "is not in the maze");
        }
        let point: [f64; 2] = get(fields, "goal_point")?;
        let from_origin = comb.middle(goal);
        comb.center = [0, 1].map(|axis| point[axis] - from_origin[axis]);
        Ok(comb)
    }

    fn slot(&self, [q, r]: Axial) -> Option<usize> {
        let side = 2 * self.radius + 1;
        let (column, row) = (q.checked_add(self.radius)?, r.checked_add(self.radius)?);
        let within = (0..side).contains(&column) && (0..side).contains(&row);
        within.then_some((column * side + row) as usize)
    }

    fn id(&self, cell: Axial) -> Option<CellId> {
        self.slot(cell).and_then(|slot| self.ids[slot])
    }

    fn middle(&self, [q, r]: Axial) -> [f64; 2] {
        let [q, r] = [f64::from(q), f64::from(r)];
        [
            self.center[0] + 1.5 * q * self.side,
            self.center[1] + 3.0_f64.sqrt() * (r + q / 2.0) * self.side,
        ]
    }

    /// The cell of `start` or `goal`, which must lie where the record says.
    fn end(&self, fields: &Fields, which: &str) -> Found<CellId> {
        let cell: Axial = get(fields, &format!("{which}_cell"))?;
        let Some(id) = self.id(cell) else {
            return wrong(&format!("{which}_cell"), "is not in the maze");
        };
        let field = format!("{which}_point");
        let point: [f64; 2] = get(fields, &field)?;
        let middle = self.middle(cell);
        let off = (point[0] - middle[0]).hypot(point[1] - middle[1]);
        match off <= self.side / 4.0 {
            true => Ok(id),
            false => wrong(&field, "does not lie in the middle of its cell"),
        }
    }

    fn doors(&self) -> Vec<Door> {
        let mut doors = Vec::new();
        for (id, &[q, r]) in (0..).zip(&self.cells) {
            for [dq, dr] in BESIDE {
                let next = [q + dq, r + dr];
                let Some(other) = self.id(next) else {
                    continue;
                };
                let (a, b) = (self.middle([q, r]), self.middle(next));
                let length = 3.0_f64.sqrt() * self.side;
                doors.push(Door {
                    cells: [id, other],
                    at: [0, 1].map(|axis| f64::midpoint(a[axis], b[axis])),
                    across: [0, 1].map(|axis| (b[axis] - a[axis]) / length),
                    half: [self.wall / 4.0, self.side / 5.0],
                });
            }
        }
        doors
    }

    /// The cell at a point.
    fn spot(&self, point: [f64; 2]) -> Option<Spot> {
        let [x, y] = [0, 1].map(|axis| (point[axis] - self.center[axis]) / self.side);
        let q = x / 1.5;
        let r = y / 3.0_f64.sqrt() - q / 2.0;
        let cell = round(q, r)?;
        let id = self.id(cell)?;
        let middle = self.middle(cell);
        let [x, y] = [0, 1].map(|axis| (point[axis] - middle[axis]).abs());
        // Distance to the nearest edge, which is level or slanted.
        let high = 3.0_f64.sqrt() / 2.0 * self.side;
        let slanted = high - (3.0_f64.sqrt() * x + y) / 2.0;
        Some(Spot {
            cell: id,
            is_inside: slanted.min(high - y) > self.wall / 2.0 + 0.5,
        })
    }
}

/// The cell whose middle is nearest: of the three coordinates, which sum to 0, the one that was
/// rounded most follows from the others.
fn round(q: f64, r: f64) -> Option<Axial> {
    let exact = [q, r, -q - r];
    let whole = exact.map(f64::round);
    if whole.iter().any(|part| part.abs() > 1e6) {
        return None;
    }
    let off = [0, 1, 2].map(|at| (exact[at] - whole[at]).abs());
    let [q, r, s] = whole.map(|part| part as i32);
    Some(if off[0] > off[1] && off[0] > off[2] {
        [-r - s, r]
    } else if off[1] > off[2] {
        [q, -q - s]
    } else {
        [q, r]
    })
}
