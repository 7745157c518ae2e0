//! Square mazes: the record says everything.

use image::RgbImage;
use vtb_puzzle::CellId;

use super::fields::{Fields, Found, get, list};
use super::maze::{Layout, MAX_CELLS};
use super::wrong;

/// Left, top, right and bottom edge.
type Edges = [f64; 4];

/// Cells are the zeros of `maze_grid`; ids count all its places row by row.
pub(super) fn read(fields: &Fields, puzzle: &RgbImage) -> Found<Layout> {
    let grid: Vec<Vec<u8>> = list(fields, "maze_grid")?;
    let boxes: Vec<Vec<Edges>> = list(fields, "cell_bboxes")?;
    let columns = grid.first().map_or(0, Vec::len);
    if columns == 0 || grid.iter().any(|row| row.len() != columns) {
        return wrong("maze_grid", "is no grid of equal rows");
    }
    if grid.len().saturating_mul(columns) > MAX_CELLS {
        return wrong("maze_grid", format!("has more than {MAX_CELLS} places"));
    }
    let shaped = boxes.len() == grid.len() && boxes.iter().all(|row| row.len() == columns);
    if !shaped {
        return wrong("cell_bboxes", "has another shape than `maze_grid`");
    }
    let is_open = |row: usize, column: usize| {
        let cell = grid.get(row).and_then(|cells| cells.get(column));
        cell.is_some_and(|cell| *cell == 0)
    };
    let id = |row: usize, column: usize| (row * columns + column) as CellId;
    let mut layout = Layout {
        centers: [].into(),
        passages: Vec::new(),
        cells: vec![None; puzzle.width() as usize * puzzle.height() as usize],
        ends: [
            end(fields, "start", columns)?,
            end(fields, "goal", columns)?,
        ],
    };
    // A box that holds the whole picture, thousands of times, would keep us busy for long.
    let mut room = 4 * layout.cells.len();
    for (row, column) in (0..grid.len()).flat_map(|row| (0..columns).map(move |at| (row, at))) {
        if !is_open(row, column) {
            continue;
        }
        let [left, top, right, bottom] = boxes[row][column];
        let here = id(row, column);
        let middle = [f64::midpoint(left, right), f64::midpoint(top, bottom)];
        layout.centers.insert(here, middle);
        let beside = [(row, column + 1), (row + 1, column)];
        let open = beside.into_iter().filter(|&(row, at)| is_open(row, at));
        layout
            .passages
            .extend(open.map(|(row, at)| (here, id(row, at))));

        let columns = clip(left, right, puzzle.width());
        let rows = clip(top, bottom, puzzle.height());
        let Some(left_over) = room.checked_sub(columns.len() * rows.len()) else {
            return wrong("cell_bboxes", "the boxes of cells lie on each other");
        };
        room = left_over;
        for y in rows {
            let line = y * puzzle.width() as usize;
            layout.cells[line + columns.start..line + columns.end].fill(Some(here));
        }
    }
    Ok(layout)
}

fn end(fields: &Fields, field: &str, columns: usize) -> Found<CellId> {
    let [row, column]: [u32; 2] = get(fields, field)?;
    let id = u64::from(row) * columns as u64 + u64::from(column);
    match CellId::try_from(id) {
        Ok(id) if (column as usize) < columns => Ok(id),
        _ => wrong(
            field,
            format!("row {row}, column {column} is outside the grid"),
        ),
    }
}

/// Whole pixels from `low` to `high`, within the picture.
fn clip(low: f64, high: f64, end: u32) -> std::ops::Range<usize> {
    let whole = |at: f64| at.round().clamp(0.0, f64::from(end)) as usize;
    let (low, high) = (whole(low), whole(high));
    low..high.max(low)
}
