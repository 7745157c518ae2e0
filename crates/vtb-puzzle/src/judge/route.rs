//! Which way does the red line take?
//!
//! New red is laid over the cells: which hold enough of it, and between which it runs on. From the
//! start the line is followed cell by cell; whatever red is not on that way, or on walls, is a
//! fault. Truth comes from the record's graph alone.

use std::collections::{BTreeMap, BTreeSet};

use image::RgbImage;

use super::compare::Reference;
use super::picture::Reading;
use super::pixels::{least3, most3, page_color};
use super::route_walk::{Trail, Walk};
use super::rule::RouteRule;
use super::verdict::PictureVerdict;
use crate::error::{PuzzleError, Result};
use crate::graph::{CellId, MazeGraph, PathFault, PathRules, check_path};
use crate::record::{Answer, Record};
use crate::verdict::Outcome;

/// Redness that may be red at all.
const TINGE: u8 = 40;
/// Fewest such pixels that are something.
const LEAST_RED: usize = 12;
/// Bounds of the threshold, which is half of what the reddest part has.
const THRESHOLD: [u8; 2] = [45, 95];
/// Most red on walls, as a share of all red, and pixels on top.
const WALL_SHARE: f64 = 0.005;
const WALL_SLACK: f64 = 4.0;
/// Most red of all cells, and of the cells of the way.
const FLOOD: f64 = 0.6;
const THICK: f64 = 0.85;
/// Least that must stay as it was.
const PRESERVED: f64 = 0.9;

/// A [`RouteRule`] laid out on the pixels.
pub(super) struct Routes {
    pub(super) width: usize,
    /// 0 on walls, else one more than the index into `ids`.
    pub(super) cells: Vec<u32>,
    /// 255 on walls more than two pixels from any cell.
    deep: Vec<u8>,
    /// 255 where something is printed over a cell: red may run beneath.
    pub(super) hidden: Vec<u8>,
    /// Pixels of every cell; entry 0 is walls.
    pub(super) areas: Vec<u32>,
    pub(super) ids: Vec<CellId>,
    middles: Vec<[f64; 2]>,
    pub(super) start: u32,
    pub(super) goal: u32,
    start_pixels: Vec<u32>,
    graph: MazeGraph,
    rules: PathRules,
    answer: Vec<CellId>,
}

/// The red of one picture.
pub(super) struct Line {
    /// 255 on red pixels.
    pub(super) red: Vec<u8>,
    /// 255 within one pixel of them.
    pub(super) near: Vec<u8>,
    core: Vec<u8>,
    pub(super) area: usize,
    /// Mean thickness, pixels.
    pub(super) width: f64,
}

impl Line {
    fn new(redness: &[u8], row: usize) -> Option<Self> {
        let mut counts = [0usize; 256];
        for &value in redness.iter().filter(|value| **value >= TINGE) {
            counts[usize::from(value)] += 1;
        }
        let tinged: usize = counts.iter().sum();
        if tinged < LEAST_RED {
            return None;
        }
        let mut above = 0;
        let strong = (0..256).rev().find(|&value| {
            above += counts[value];
            above * 5 >= tinged
        });
        let half = (strong.unwrap_or(0) / 2) as u8;
        let threshold = half.clamp(THRESHOLD[0], THRESHOLD[1]);
        let red: Vec<u8> = redness
            .iter()
            .map(|&value| if value >= threshold { 255 } else { 0 })
            .collect();
        let core = least3(&red, row, 1);
        let count = |mask: &[u8]| mask.iter().filter(|value| **value != 0).count();
        let (area, inner) = (count(&red), count(&core));
        // A line of width w has two pixels of rim for w of area.
        let width = 2.0 * area as f64 / (area - inner).max(1) as f64;
        Some(Self {
            near: most3(&red, row, 1),
            red,
            core,
            area,
            width,
        })
    }
}

impl Routes {
    pub(super) fn new(rule: &RouteRule, record: &Record, puzzle: &RgbImage) -> Result<Self> {
        let fault = |text: &str| PuzzleError::Picture(text.to_owned());
        let Some(graph) = record.graph.clone() else {
            return Err(fault("the record has no maze graph to judge a route by"));
        };
        let Answer::Path(answer) = &record.answer else {
            return Err(fault("the answer is not a path"));
        };
        let (width, height) = (puzzle.width() as usize, puzzle.height() as usize);
        if rule.cells.len() != width * height {
            return Err(fault("the cells are not laid out on this picture"));
        }
        let ids = graph.cells().to_vec();
        let number = |id: CellId| ids.binary_search(&id).map_or(0, |at| at as u32 + 1);
        let cells: Vec<u32> = rule
            .cells
            .iter()
            .map(|cell| cell.map_or(0, number))
            .collect();
        let mut areas = vec![0; ids.len() + 1];
        cells.iter().for_each(|&cell| areas[cell as usize] += 1);
        let start = number(graph.start());
        let goal = number(graph.goal());
        if areas[start as usize] == 0 || areas[goal as usize] == 0 {
            return Err(fault("start or goal has no place in the picture"));
        }
        let within = |at: &usize| cells[*at] == start;
        let start_pixels = (0..cells.len())
            .filter(within)
            .map(|at| at as u32)
            .collect();
        let open: Vec<u8> = cells
            .iter()
            .map(|cell| if *cell == 0 { 0 } else { 255 })
            .collect();
        let close = most3(&most3(&open, width, 1), width, 1);
        let middle = |id: &CellId| rule.centers.get(id).copied().unwrap_or([0.0; 2]);
        Ok(Self {
            width,
            deep: close.iter().map(|value| !value).collect(),
            hidden: hidden(puzzle, &cells),
            middles: ids.iter().map(middle).collect(),
            cells,
            areas,
            ids,
            start,
            goal,
            start_pixels,
            graph,
            rules: record.path_rules,
            answer: answer.clone(),
        })
    }

    pub(super) fn judge(&self, reference: &Reference, picture: &RgbImage) -> Reading {
        let redness = reference.new_red(picture);
        let tinged: Vec<u8> = redness
            .iter()
            .map(|&value| if value >= TINGE { 255 } else { 0 })
            .collect();
        // What red bleeds into is not held against the rest of the picture.
        let skip = most3(&most3(&tinged, self.width, 1), self.width, 1);
        let changes = reference.changes(picture, None, Some(&skip));
        if changes.is_another_picture() {
            return Reading::refused(changes);
        }
        let Some(line) = Line::new(&redness, self.width) else {
            let verdict = PictureVerdict::invalid("no red line is drawn");
            return Reading::nothing(verdict, changes);
        };
        let walk = Walk::along(self, &line, self.rules.allow_repeats);
        let path: Vec<CellId> = walk
            .path
            .iter()
            .map(|cell| self.ids[*cell as usize - 1])
            .collect();
        let on_walls = self.on_walls(&line);
        let fault = self.fault(&line, &walk, &path, &on_walls);
        let check = check_path(&self.graph, &path, self.rules);
        let legal = check.prefix_valid_len == path.len();
        let trail = Trail {
            path: path.clone(),
            area: line.area,
            clean: legal && fault.is_none(),
        };

        let preserved = changes.preservation();
        let (outcome, reason) = match (fault, check.fault, check.first_error_index) {
            (Some(reason), _, _) => (Outcome::Wrong, reason),
            (None, Some(PathFault::StopsShort), _) => {
                let last = path.last().copied().unwrap_or(self.graph.start());
                (
                    Outcome::Wrong,
                    format!("the line ends in cell {last}, before the goal"),
                )
            }
            (None, Some(kind), Some(at)) => (Outcome::Wrong, kind.describe(&path, at)),
            _ if preserved < PRESERVED => (
                Outcome::Wrong,
                "the rest of the picture was changed".to_owned(),
            ),
            _ => (
                Outcome::Correct,
                format!("a legal route of {} cells", path.len()),
            ),
        };
        let parsed = (path.len() > 1).then(|| format!("{path:?}"));
        let mut verdict = PictureVerdict::new(outcome, parsed, reason);
        let overlap = self.overlap(&walk);
        let wall = on_walls.area as f64 / line.area.max(1) as f64;
        verdict.grade(overlap * (1.0 - wall) * preserved);
        for (name, value) in [
            ("cell_f1", overlap),
            ("wall_red", wall),
            (
                "off_path_red",
                walk.stray_area as f64 / line.area.max(1) as f64,
            ),
            ("corridor_red", self.corridor_share(&walk)),
            ("line_width", line.width),
            ("legal_prefix", check.prefix_valid_len as f64),
        ] {
            verdict.note(name, value);
        }
        changes.note(&mut verdict);
        Reading::of_route(verdict, trail)
    }

    /// Pixels of the start cell.
    pub(super) fn start_pixels(&self) -> &[u32] {
        &self.start_pixels
    }

    /// The first thing wrong with the drawing itself; whether its path is legal is not asked here.
    fn fault(&self, line: &Line, walk: &Walk, path: &[CellId], walls: &OnWalls) -> Option<String> {
        if self.corridor_share(walk) > FLOOD {
            return Some("the maze is flooded with red, no line can be told".to_owned());
        }
        if walls.deep > 1 || walls.area as f64 > WALL_SHARE * line.area as f64 + WALL_SLACK {
            let cell = self.nearest_cell(walls.first);
            return Some(format!("red runs over a wall near cell {cell}"));
        }
        if let Some(reason) = &walk.fault {
            return Some(reason.clone());
        }
        if let Some(stray) = walk.stray {
            let cell = self.ids[stray as usize - 1];
            let way = match path {
                [_, .., last] => format!("the line from the start, which ends in cell {last}"),
                _ => "any line that begins at the start".to_owned(),
            };
            return Some(format!("cell {cell} has red that does not belong to {way}"));
        }
        let thick = walk
            .path
            .iter()
            .filter(|cell| ![self.start, self.goal].contains(cell));
        let (red, area) = thick.fold((0u32, 0u32), |(red, area), cell| {
            (
                red + walk.red[*cell as usize],
                area + self.areas[*cell as usize],
            )
        });
        if f64::from(red) > THICK * f64::from(area.max(1)) {
            return Some("the line fills its cells from wall to wall".to_owned());
        }
        None
    }

    fn on_walls(&self, line: &Line) -> OnWalls {
        let mut found = OnWalls {
            area: 0,
            deep: 0,
            first: 0,
        };
        for (at, _) in line.core.iter().enumerate().filter(|(_, core)| **core != 0) {
            if self.cells[at] != 0 {
                continue;
            }
            let deep = self.deep[at] != 0;
            if found.area == 0 || deep && found.deep == 0 {
                found.first = at;
            }
            found.area += 1;
            found.deep += usize::from(deep);
        }
        found
    }

    fn nearest_cell(&self, pixel: usize) -> CellId {
        let [x, y] = [pixel % self.width, pixel / self.width].map(|at| at as f64 + 0.5);
        let away = |at: &usize| {
            let [left, up] = [self.middles[*at][0] - x, self.middles[*at][1] - y];
            left * left + up * up
        };
        let nearest = (0..self.ids.len()).min_by(|a, b| away(a).total_cmp(&away(b)));
        nearest.map_or(self.graph.start(), |at| self.ids[at])
    }

    fn corridor_share(&self, walk: &Walk) -> f64 {
        let sum = |list: &[u32]| list[1..].iter().map(|count| f64::from(*count)).sum::<f64>();
        sum(&walk.red) / sum(&self.areas).max(1.0)
    }

    /// F1 score of the cells that hold red against those of the answer, start and goal aside.
    fn overlap(&self, walk: &Walk) -> f64 {
        let ends = [self.graph.start(), self.graph.goal()];
        let inner = |id: &CellId| !ends.contains(id);
        let wanted: BTreeSet<_> = self.answer.iter().copied().filter(inner).collect();
        let cells = walk.visited.iter().map(|cell| self.ids[*cell as usize - 1]);
        let seen: BTreeSet<_> = cells.filter(inner).collect();
        let hits = seen.intersection(&wanted).count() as f64;
        2.0 * hits / (seen.len() + wanted.len()).max(1) as f64
    }
}

struct OnWalls {
    area: usize,
    deep: usize,
    /// A pixel to name a place by.
    first: usize,
}

/// Pixels of cells that differ from the floor.
fn hidden(puzzle: &RgbImage, cells: &[u32]) -> Vec<u8> {
    const CONTRAST: u8 = 48;
    let colors = || puzzle.pixels().map(|pixel| pixel.0).zip(cells);
    let floor = page_color(
        colors()
            .filter(|(_, cell)| **cell != 0)
            .map(|(color, _)| color),
    );
    let differs = |color: [u8; 3]| (0..3).any(|at| color[at].abs_diff(floor[at]) > CONTRAST);
    let is_hidden = |(color, cell): ([u8; 3], &u32)| *cell != 0 && differs(color);
    colors()
        .map(|pixel| if is_hidden(pixel) { 255 } else { 0 })
        .collect()
}

/// Names of cells by pairs, with how many pixels of red run on between them.
pub(super) type Crossings = BTreeMap<(u32, u32), u32>;
