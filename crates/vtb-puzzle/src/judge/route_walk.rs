//! Following a red line from cell to cell.

use std::collections::VecDeque;

use super::route::{Crossings, Routes};
use super::route_line::Line;
use crate::graph::CellId;

/// Red of a picture, followed from the start.
pub(super) struct Walk {
    /// Cells from the start on, as the line runs.
    pub(super) path: Vec<u32>,
    /// Red pixels of every cell; entry 0 is walls.
    pub(super) red: Vec<u32>,
    /// Cells with more red than a slip of the pen.
    pub(super) visited: Vec<u32>,
    /// A visited cell that is not on the path.
    pub(super) stray: Option<u32>,
    /// Red pixels off the path.
    pub(super) stray_area: u32,
    /// What is wrong with the line as a line.
    pub(super) fault: Option<String>,
}

/// What a frame of a clip shows of a route.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trail {
    /// Cells from the start on.
    pub(super) path: Vec<CellId>,
    /// Red pixels.
    pub(super) area: usize,
    /// The line is a legal route as far as it goes.
    pub(super) clean: bool,
}

/// Red in a cell that is still a slip of the pen: the square of the line's width, but no more than
/// this share of the cell.
const SLIP_SHARE: f64 = 0.08;
const SLIP_LEAST: f64 = 6.0;
/// Thickness of a line of single pixels, as it is measured: such a line is all rim.
const HAIRLINE: f64 = 2.4;

impl Walk {
    pub(super) fn along(routes: &Routes, line: &Line, allow_repeats: bool) -> Self {
        let mut red = vec![0u32; routes.areas.len()];
        for at in line.pixels() {
            red[routes.cells[at] as usize] += 1;
        }
        let holds = |cell: usize| {
            let slip = (line.width * line.width).min(SLIP_SHARE * f64::from(routes.areas[cell]));
            f64::from(red[cell]) > slip.max(SLIP_LEAST)
        };
        let is_visited: Vec<bool> = (0..red.len())
            .map(|cell| cell != 0 && holds(cell))
            .collect();
        let crossings = crossings(routes, line);
        let counts = |cell: u32| is_visited[cell as usize] || cell == routes.goal;
        let next = |cell: u32, before: Option<u32>| -> Vec<u32> {
            let ways = crossings.range((cell, 0)..=(cell, u32::MAX));
            ways.map(|(&(_, to), _)| to)
                .filter(|to| counts(*to) && Some(*to) != before)
                .collect()
        };
        let (path, mut fault) = match allow_repeats {
            true => (shortest(routes, &next), None),
            false => follow(routes, &next),
        };
        let visited: Vec<u32> = (1..red.len() as u32)
            .filter(|cell| is_visited[*cell as usize])
            .collect();
        let mut is_on_path = vec![false; red.len()];
        path.iter()
            .for_each(|cell| is_on_path[*cell as usize] = true);
        let joined = |cell: &u32| match allow_repeats {
            true => !next(*cell, None).is_empty(),
            false => is_on_path[*cell as usize],
        };
        let stray = visited
            .iter()
            .copied()
            .find(|cell| *cell != routes.start && !joined(cell));
        let off_path = (1..red.len()).filter(|cell| !is_on_path[*cell]);
        let stray_area = off_path.map(|cell| red[cell]).sum();
        if fault.is_none() && stray.is_none() {
            fault = broken(routes, line, &path);
        }
        Self {
            path,
            red,
            visited,
            stray,
            stray_area,
            fault,
        }
    }
}

/// Between which cells the line runs on, both ways round.
fn crossings(routes: &Routes, line: &Line) -> Crossings {
    // A line of one or two pixels may pass a border in a single step, and a slanted one across a
    // corner.
    let is_thin = line.width < 4.0;
    let least = match is_thin {
        true => 1,
        false => (0.3 * line.width).max(2.0) as u32,
    };
    let mut found = Crossings::new();
    let is_end = |cell: u32| cell == routes.start || cell == routes.goal;
    let mut look = |a: usize, b: usize| {
        let (from, to) = (routes.cells[a], routes.cells[b]);
        if from == to || from == 0 || to == 0 {
            return;
        }
        // Start and goal are painted over the line, so it is enough that it arrives there.
        let arrives = |near: usize, end: usize| {
            is_end(routes.cells[end]) && line.is_near(near) && routes.is_hidden(end)
        };
        if line.is_on(a) && line.is_on(b) || arrives(a, b) || arrives(b, a) {
            *found.entry((from, to)).or_default() += 1;
            *found.entry((to, from)).or_default() += 1;
        }
    };
    let (width, count) = (routes.width(), routes.cells.len());
    for at in line.near() {
        let column = at % width;
        if column + 1 < width {
            look(at, at + 1);
        }
        if at + width < count {
            look(at, at + width);
            if is_thin && column + 1 < width {
                look(at, at + width + 1);
            }
            if is_thin && column > 0 {
                look(at, at + width - 1);
            }
        }
        // The pair behind is looked at from there, unless there is nothing.
        if column > 0 && !line.is_near(at - 1) {
            look(at - 1, at);
        }
        if at >= width && !line.is_near(at - width) {
            look(at - width, at);
        }
    }
    found.retain(|_, count| *count >= least);
    found
}

/// Cell by cell from the start while there is one way on.
fn follow(
    routes: &Routes,
    next: &impl Fn(u32, Option<u32>) -> Vec<u32>,
) -> (Vec<u32>, Option<String>) {
    let name = |cell: u32| routes.ids[cell as usize - 1];
    let mut seen = vec![false; routes.areas.len()];
    let mut path = vec![routes.start];
    let mut here = routes.start;
    let mut before = None;
    loop {
        seen[here as usize] = true;
        let ways = next(here, before);
        let on = match ways.as_slice() {
            [] => return (path, None),
            [on] => *on,
            [a, b, ..] => {
                let (a, b, here) = (name(*a), name(*b), name(here));
                let fault = format!("the line forks in cell {here}, towards cells {a} and {b}");
                return (path, Some(fault));
            }
        };
        if here == routes.goal {
            let fault = format!("the line goes on after the goal, to cell {}", name(on));
            return (path, Some(fault));
        }
        if seen[on as usize] {
            let fault = format!("the line comes back to cell {}", name(on));
            return (path, Some(fault));
        }
        path.push(on);
        (before, here) = (Some(here), on);
    }
}

/// The shortest way along the line from start to goal, where cells may be visited twice.
fn shortest(routes: &Routes, next: &impl Fn(u32, Option<u32>) -> Vec<u32>) -> Vec<u32> {
    let mut from = vec![0u32; routes.areas.len()];
    from[routes.start as usize] = routes.start;
    let mut queue = VecDeque::from([routes.start]);
    let mut last = routes.start;
    while let Some(here) = queue.pop_front() {
        last = here;
        if here == routes.goal {
            break;
        }
        for on in next(here, None) {
            if from[on as usize] == 0 {
                from[on as usize] = here;
                queue.push_back(on);
            }
        }
    }
    let mut path = vec![last];
    while last != routes.start {
        last = from[last as usize];
        path.push(last);
    }
    path.reverse();
    path
}

/// Whether the line has a gap: red must lead, pixel by pixel, through every cell of the path.
///
/// What is blurred may be faint, and what is printed over a cell does not cut the line. Pixels of a
/// hairline may touch with their corners; in a thicker line that would be a slanted cut.
fn broken(routes: &Routes, line: &Line, path: &[u32]) -> Option<String> {
    if path.len() < 2 {
        return None;
    }
    let (width, count) = (routes.width(), routes.cells.len());
    let is_on = |at: usize| routes.cells[at] != 0 && (line.is_faint(at) || routes.is_smeared(at));
    // Whether the line runs there, where that was asked.
    let mut known: Vec<Option<bool>> = vec![None; count];
    let mut reached = vec![false; routes.areas.len()];
    let mut stack: Vec<usize> = Vec::new();
    for at in routes.start_pixels().into_iter().filter(|at| is_on(*at)) {
        known[at] = Some(true);
        stack.push(at);
    }
    let is_hairline = line.width < HAIRLINE;
    while let Some(at) = stack.pop() {
        let cell = routes.cells[at];
        reached[cell as usize] = true;
        let column = at as u32 % width as u32;
        let (left, right) = (column > 0, (column as usize) + 1 < width);
        let mut look = |is_there: bool, to: usize| {
            if !is_there || to >= count || known[to].is_some() {
                return;
            }
            let runs_on = cell == routes.cells[to] || line.is_near(at) || line.is_near(to);
            if runs_on {
                let is_on = is_on(to);
                known[to] = Some(is_on);
                if is_on {
                    stack.push(to);
                }
            }
        };
        let (above, below) = (at.wrapping_sub(width), at + width);
        for (row, corners) in [(above, is_hairline), (at, true), (below, is_hairline)] {
            look(left && corners, row.wrapping_sub(1));
            look(true, row);
            look(right && corners, row.wrapping_add(1));
        }
    }
    let missing = path.iter().position(|cell| !reached[*cell as usize])?;
    let before = path[missing.saturating_sub(1)];
    Some(format!(
        "the line is broken in cell {}",
        routes.ids[before as usize - 1]
    ))
}
