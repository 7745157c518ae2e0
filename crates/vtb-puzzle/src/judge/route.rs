//! Which way does the red line take?
//!
//! New red is laid over the cells: which hold enough of it, and between which it runs on. From the
//! start the line is followed cell by cell; whatever red is not on that way, or on walls, is a
//! fault. Truth comes from the record's graph alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::cell_map::number_of;
use super::compare::Reference;
use super::picture::Reading;
use super::pixels::{AddColor, page_color};
use super::route_line::{Line, Tinge};
use super::route_walk::{Trail, Walk};
use super::rule::RouteRule;
use super::sheet::{Overlay, Sheet};
use super::verdict::PictureVerdict;
use crate::draw::Rgb;
use crate::error::{PuzzleError, Result};
use crate::graph::{CellId, MazeGraph, PathFault, PathRules, check_path};
use crate::record::Answer;
use crate::verdict::{Outcome, Question};

/// Most red on walls, as a share of all red, and pixels on top.
const WALL_SHARE: f64 = 0.005;
const WALL_SLACK: f64 = 4.0;
/// Of a line no thicker than this, all red counts on walls: what opening leaves is nothing.
const THIN: f64 = 3.5;
/// Most red of all cells, and of the cells of the way.
const FLOOD: f64 = 0.6;
const THICK: f64 = 0.85;
/// Least that must stay as it was.
const PRESERVED: f64 = 0.9;

/// Pixels that are looked at together.
const CHUNK: usize = 8;

/// A [`RouteRule`] laid out on the pixels.
pub(super) struct Routes {
    sheet: Arc<Sheet>,
    /// 0 on walls, else one more than the index into `ids`.
    pub(super) cells: Vec<u32>,
    /// Pixels of every cell; entry 0 is walls.
    pub(super) areas: Vec<u32>,
    pub(super) ids: Vec<CellId>,
    middles: Vec<[f64; 2]>,
    pub(super) start: u32,
    pub(super) goal: u32,
    floor: OnceLock<Rgb>,
    graph: MazeGraph,
    rules: PathRules,
    answer: Vec<CellId>,
}

impl Routes {
    pub(super) fn new(
        rule: RouteRule,
        question: &Question<'_>,
        sheet: &Arc<Sheet>,
    ) -> Result<Self> {
        let fault = |text: &str| PuzzleError::Picture(text.to_owned());
        let Some(graph) = question.graph.cloned() else {
            return Err(fault("the record has no maze graph to judge a route by"));
        };
        let Answer::Path(answer) = question.answer else {
            return Err(fault("the answer is not a path"));
        };
        if rule.cells.pixels() != sheet.grid.width * sheet.grid.height {
            return Err(fault("the cells are not laid out on this picture"));
        }
        let ids = graph.cells().to_vec();
        let [start, goal] = [graph.start(), graph.goal()].map(|id| number_of(&ids, id));
        let (cells, areas) = rule.cells.into_numbers(&ids);
        if areas[start as usize] == 0 || areas[goal as usize] == 0 {
            return Err(fault("start or goal has no place in the picture"));
        }
        let middle = |id: &CellId| rule.centers.get(id).copied().unwrap_or([0.0; 2]);
        Ok(Self {
            sheet: sheet.clone(),
            middles: ids.iter().map(middle).collect(),
            cells,
            areas,
            ids,
            start,
            goal,
            floor: OnceLock::new(),
            graph,
            rules: question.path_rules,
            answer: answer.clone(),
        })
    }

    pub(super) fn judge(&self, reference: &Reference, seen: &Overlay<'_>) -> Reading {
        let tinge = Tinge::new(reference, seen, self.sheet.grid);
        // What red bleeds into is not held against the rest of the picture.
        let changes = reference.changes(seen, None, |at| tinge.is_near(at));
        if changes.is_another_picture() {
            return Reading::refused(changes);
        }
        let Some(line) = tinge.line(seen.picture) else {
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
    pub(super) fn start_pixels(&self) -> Vec<usize> {
        let (width, height) = (self.width(), self.sheet.grid.height);
        let [_, middle] = self.middles[self.start as usize - 1];
        let middle = (middle.max(0.0) as usize).min(height);
        // Cells are in one piece, mostly: all is found a few rows above and below the middle.
        let below = (middle..height).map(Some).chain(std::iter::repeat(None));
        let above = (0..middle).rev().map(Some).chain(std::iter::repeat(None));
        let rows = below.zip(above).flat_map(|(below, above)| [below, above]);
        let mut found = Vec::new();
        for row in rows.take(2 * height).flatten() {
            if found.len() == self.areas[self.start as usize] as usize {
                break;
            }
            let row = row * width..(row + 1) * width;
            found.extend(row.filter(|at| self.cells[*at] == self.start));
        }
        found
    }

    pub(super) fn width(&self) -> usize {
        self.sheet.grid.width
    }

    /// Whether something is printed over a cell at this pixel: red may run beneath.
    pub(super) fn is_hidden(&self, at: usize) -> bool {
        const CONTRAST: u8 = 48;
        let is_off = || {
            let color = self.sheet.puzzle.as_raw()[3 * at..].iter();
            let off = color.zip(self.floor()).map(|(a, b)| a.abs_diff(*b));
            off.fold(0, u8::max) > CONTRAST
        };
        self.cells[at] != 0 && is_off()
    }

    /// Whether something is printed within one pixel: compression smears it so far.
    pub(super) fn is_smeared(&self, at: usize) -> bool {
        let mut pixels = self.sheet.grid.window(at, 1).flatten();
        pixels.any(|at| self.is_hidden(at))
    }

    /// The colour of most pixels of cells, or of a sample where there are many.
    fn floor(&self) -> &Rgb {
        const MANY: u32 = 1 << 12;
        const SAMPLE: usize = 7;
        self.floor.get_or_init(|| {
            let open: u32 = self.areas[1..].iter().sum();
            let step = if open > MANY { SAMPLE } else { 1 };
            let mut open = 0;
            self.each_floor(step, &mut |_, count| open += count);
            page_color(self.some_floor(), open, |add| self.each_floor(step, add))
        })
    }

    /// The puzzle's bytes and the cells of pixels, in chunks of a fixed length, which are compared and
    /// counted in registers.
    fn chunks(&self) -> impl Iterator<Item = (&[u8; 3 * CHUNK], &[u32; CHUNK])> {
        let bytes = self.sheet.puzzle.as_raw().as_chunks().0;
        bytes.iter().zip(self.cells.as_chunks().0)
    }

    /// The first colour that several neighbours in cells have.
    fn some_floor(&self) -> Option<Rgb> {
        let mut chunks = self.chunks();
        let (bytes, _) = chunks.find(|(bytes, cells)| is_plain(bytes) && !cells.contains(&0))?;
        bytes.first_chunk().copied()
    }

    /// Names the colours of pixels of cells: of one chunk of so many.
    fn each_floor(&self, step: usize, add: AddColor<'_>) {
        let mut last = ([0; 3], 0);
        let mut take = |color: &[u8], count: usize| {
            if last.0 != color {
                if last.1 > 0 {
                    add(last.0, last.1);
                }
                last = ([color[0], color[1], color[2]], 0);
            }
            last.1 += count;
        };
        for (bytes, cells) in self.chunks().step_by(step) {
            if is_plain(bytes) {
                let open = cells.iter().map(|cell| u32::from(*cell != 0));
                take(&bytes[..3], open.sum::<u32>() as usize);
            } else {
                each_open(bytes, cells, &mut take);
            }
        }
        let rest = self.cells.as_chunks::<CHUNK>().1;
        let bytes = self.sheet.puzzle.as_raw();
        each_open(&bytes[bytes.len() - 3 * rest.len()..], rest, &mut take);
        add(last.0, last.1);
    }

    /// Whether any cell lies within so many pixels.
    fn is_near_cell(&self, at: usize, reach: usize) -> bool {
        let mut pixels = self.sheet.grid.window(at, reach).flatten();
        pixels.any(|pixel| self.cells[pixel] != 0)
    }

    /// The first thing wrong with the drawing itself; whether its path is legal is not asked here.
    fn fault(&self, line: &Line, walk: &Walk, path: &[CellId], walls: &OnWalls) -> Option<String> {
        if !line.is_red() {
            let [red, green, blue] = line.color;
            return Some(format!(
                "the line is #{red:02x}{green:02x}{blue:02x}, which is no red"
            ));
        }
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
        let is_on_wall = |at: &usize| {
            let is_wall = self.cells[*at] == 0;
            is_wall
                && match line.width <= THIN {
                    true => !self.is_near_cell(*at, 1),
                    false => line.is_core(*at),
                }
        };
        let on_walls: Vec<usize> = line.pixels().filter(is_on_wall).collect();
        let is_deep = |at: &usize| !self.is_near_cell(*at, 2);
        let deep: Vec<usize> = on_walls.iter().copied().filter(is_deep).collect();
        OnWalls {
            area: on_walls.len(),
            deep: deep.len(),
            first: deep
                .iter()
                .min()
                .or(on_walls.iter().min())
                .copied()
                .unwrap_or(0),
        }
    }

    fn nearest_cell(&self, pixel: usize) -> CellId {
        let width = self.width();
        let [x, y] = [pixel % width, pixel / width].map(|at| at as f64 + 0.5);
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

/// Calls `take` with the colour of every pixel in a cell.
fn each_open(bytes: &[u8], cells: &[u32], take: &mut impl FnMut(&[u8], usize)) {
    for (color, cell) in bytes.chunks_exact(3).zip(cells) {
        if *cell != 0 {
            take(color, 1);
        }
    }
}

/// Whether all pixels of a chunk have one colour.
fn is_plain(bytes: &[u8; 3 * CHUNK]) -> bool {
    bytes[3..] == bytes[..3 * CHUNK - 3]
}

struct OnWalls {
    area: usize,
    deep: usize,
    /// A pixel to name a place by.
    first: usize,
}

/// Names of cells by pairs, with how many pixels of red run on between them.
pub(super) type Crossings = BTreeMap<(u32, u32), u32>;
