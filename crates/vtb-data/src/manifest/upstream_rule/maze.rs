//! What the three kinds of mazes share.

use std::collections::BTreeMap;

use image::RgbImage;
use vtb_puzzle::judge::{CellMap, RouteRule};
use vtb_puzzle::{CellId, MazeGraph, PathRules, check_path};

use super::fields::{Fields, Found};
use super::{hexagon, labyrinth, square, wrong};

/// Cells that a maze may have.
pub(super) const MAX_CELLS: usize = 1 << 16;

/// A maze, and where its cells lie.
pub(super) struct Maze {
    pub(super) graph: MazeGraph,
    pub(super) rule: RouteRule,
}

/// The cells that a record and its picture show.
pub(super) struct Layout {
    /// Middle of every cell.
    pub(super) centers: BTreeMap<CellId, [f64; 2]>,
    /// Pairs of cells with no wall between them.
    pub(super) passages: Vec<(CellId, CellId)>,
    /// Cell of every pixel.
    pub(super) cells: Vec<Option<CellId>>,
    /// Start and goal, where the record names them beside the path.
    pub(super) ends: [CellId; 2],
}

/// Reads the maze of a record whose solution is `path`.
///
/// The path must be a legal one: record and picture then belong together, and the walls were
/// seen right at least along it.
pub(super) fn read(fields: &Fields, path: &[CellId], puzzle: &RgbImage) -> Found<Maze> {
    let has = |field: &str| fields.contains_key(field);
    let layout = if has("maze_grid") {
        square::read(fields, puzzle)?
    } else if has("cells_per_ring") {
        labyrinth::read(fields, puzzle)?
    } else if has("cell_radius") {
        hexagon::read(fields, puzzle)?
    } else {
        let reason = "is missing, and so are `cells_per_ring` and `cell_radius`: the record does \
                      not say where the cells lie";
        return wrong("maze_grid", reason);
    };
    let field = "solution_path_cell_ids";
    let named = [path.first(), path.last()].map(|end| end.copied());
    if named != layout.ends.map(Some) {
        let [start, goal] = layout.ends;
        let reason =
            format!("does not lead from the start, cell {start}, to the goal, cell {goal}");
        return wrong(field, reason);
    }
    let cells = layout.centers.keys().copied().collect();
    let [start, goal] = layout.ends;
    let graph = MazeGraph::new(cells, &layout.passages, start, goal)
        .or_else(|fault| wrong(field, fault.to_string()))?;
    let check = check_path(&graph, path, PathRules::default());
    if let (Some(fault), Some(at)) = (check.fault, check.first_error_index) {
        let reason = format!("on the maze in the picture, {}", fault.describe(path, at));
        return wrong(field, reason);
    }
    Ok(Maze {
        graph,
        rule: RouteRule {
            cells: CellMap::of(&layout.cells),
            centers: layout.centers,
        },
    })
}
