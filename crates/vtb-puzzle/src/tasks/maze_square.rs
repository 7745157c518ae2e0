//! maze_square: find the way through a maze of square cells.
//!
//! Rooms lie at odd rows and columns of a grid of cells; an open passage is the cell between two
//! rooms. Every cell of the grid, wall or not, has the id `row * cols + column`; the graph has
//! the open ones. Its picture is `cols * cell` by `rows * cell` pixels plus padding.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, MAX_SIDE, Stroke, draw_growing, text_width};
use crate::error::{PuzzleError, Result};
use crate::graph::{CellId, MazeGraph, PathRules};
use crate::judge::{CellMap, PictureRule, RouteRule};
use crate::maze::{
    FLOOR, GOAL, ID_SIZE_MIN, ROUTE, START, WALL, Words, braid, carve, distant_pair, require,
};
use crate::params::{Params, within};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct MazeSquare;

/// Bounds of a cell's side, pixels.
const CELL_MIN: u32 = 4;
const CELL_MAX: u32 = 256;

/// Where start and goal lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Top left and bottom right.
    Corners,
    /// Any two rooms at least `min_path` cells apart.
    Random,
}

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MazeSquareParams {
    /// Rows of cells, walls included; odd (default 9).
    pub rows: u32,
    /// Columns of cells, walls included; odd (default 9).
    pub cols: u32,
    /// Side of a cell, pixels; 0 for as large as `width` and `height` allow (default 32).
    pub cell: u32,
    /// Width of the picture, pixels; 0 for just the maze (default 0). More is padded evenly.
    pub width: u32,
    /// Height of the picture, likewise (default 0).
    pub height: u32,
    /// Where start and goal lie (default random: fixed ends are free credit).
    pub placement: Placement,
    /// Random placement: least length of the shortest path, cells, both ends counted (default 7).
    pub min_path: usize,
    /// Probability that a dead end is opened into a loop (default 0: exactly one path).
    pub braid: f64,
    /// Only a shortest path is right; matters with loops (default false: any path is).
    pub shortest_only: bool,
    /// Print ids on open cells (default true: text answers name cells by them; turn it off for
    /// edited pictures and videos).
    pub print_ids: bool,
}

impl Default for MazeSquareParams {
    fn default() -> Self {
        Self {
            rows: 9,
            cols: 9,
            cell: 32,
            width: 0,
            height: 0,
            placement: Placement::Random,
            min_path: 7,
            braid: 0.0,
            shortest_only: false,
            print_ids: true,
        }
    }
}

impl Params for MazeSquareParams {
    fn validate(&self) -> Result<(), String> {
        for (name, count) in [("rows", self.rows), ("cols", self.cols)] {
            within(name, count, 5, 401)?;
            if count % 2 == 0 {
                let near = count + 1;
                return Err(format!(
                    "`{name}` is {count}; it must be odd, for example {near}"
                ));
            }
        }
        if self.cell != 0 {
            within("cell", self.cell, CELL_MIN, CELL_MAX)?;
        } else if self.width == 0 && self.height == 0 {
            return Err(
                "`cell` is 0, which means as large as the picture allows; give a `width` or a \
                 `height`"
                    .to_owned(),
            );
        }
        within("braid", self.braid, 0.0, 1.0)?;
        within("min_path", self.min_path, 3, 10_000)?;
        let natural = self.maze();
        for (name, asked, least) in [
            ("width", self.width, natural[0]),
            ("height", self.height, natural[1]),
        ] {
            if asked != 0 && asked < least {
                return Err(format!(
                    "`{name}` is {asked}; the maze alone takes {least} pixels"
                ));
            }
            let side = asked.max(least);
            within(&format!("picture's {name}"), side, 1, MAX_SIDE)?;
        }
        if self.print_ids && self.id_size() < ID_SIZE_MIN {
            let side = self.side();
            let least = (f64::from(side) * ID_SIZE_MIN / self.id_size())
                .ceil()
                .max(18.0);
            return Err(format!(
                "`cell` is {side} pixels; printed ids are legible from {least} (or turn \
                 `print_ids` off)"
            ));
        }
        Ok(())
    }
}

impl MazeSquareParams {
    /// Side of a cell, pixels: as asked for, or the largest that the picture holds.
    fn side(&self) -> u32 {
        if self.cell != 0 {
            return self.cell;
        }
        let room = |picture: u32, count: u32| match picture {
            0 => CELL_MAX,
            _ => picture / count,
        };
        let room = room(self.width, self.cols).min(room(self.height, self.rows));
        room.clamp(CELL_MIN, CELL_MAX)
    }

    /// Width and height of the maze alone.
    fn maze(&self) -> [u32; 2] {
        [self.cols, self.rows].map(|count| count * self.side())
    }

    fn canvas(&self) -> [u32; 2] {
        let [width, height] = self.maze();
        [self.width.max(width), self.height.max(height)]
    }

    /// Size at which the longest id fits into a cell, pixels.
    fn id_size(&self) -> f64 {
        let longest = (self.rows * self.cols - 1).to_string();
        let cell = f64::from(self.side());
        (0.88 * cell / text_width(&longest).max(0.1)).min(0.5 * cell)
    }
}

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MazeSquareScene {
    /// The cells row by row: `#` wall, `.` open.
    pub grid: Vec<String>,
    /// Side of a cell.
    pub cell_size: u32,
    /// Left and top edge of the maze in the picture.
    pub origin: [u32; 2],
    /// Row and column of the start.
    pub start: [u32; 2],
    /// Row and column of the goal.
    pub goal: [u32; 2],
}

impl MazeSquareScene {
    fn cols(&self) -> u32 {
        self.grid.first().map_or(0, |row| row.len() as u32)
    }

    fn is_open(&self, row: u32, column: u32) -> bool {
        let line = self
            .grid
            .get(row as usize)
            .map_or(&[][..], |line| line.as_bytes());
        line.get(column as usize) == Some(&b'.')
    }

    fn open_cells(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let all = (0..self.grid.len() as u32)
            .flat_map(|row| (0..self.cols()).map(move |column| (row, column)));
        all.filter(|&(row, column)| self.is_open(row, column))
    }

    fn id(&self, row: u32, column: u32) -> CellId {
        row * self.cols() + column
    }

    /// Left, top, right, bottom of a cell.
    fn bbox(&self, row: u32, column: u32) -> [u32; 4] {
        let left = self.origin[0] + column * self.cell_size;
        let top = self.origin[1] + row * self.cell_size;
        [left, top, left + self.cell_size, top + self.cell_size]
    }

    fn middle(&self, row: u32, column: u32) -> [f64; 2] {
        let [left, top, right, bottom] = self.bbox(row, column).map(f64::from);
        [(left + right) / 2.0, (top + bottom) / 2.0]
    }

    fn graph(&self) -> Result<MazeGraph> {
        let cells = self
            .open_cells()
            .map(|(row, column)| self.id(row, column))
            .collect();
        let mut passages = Vec::new();
        for (row, column) in self.open_cells() {
            for (next_row, next_column) in [(row + 1, column), (row, column + 1)] {
                if self.is_open(next_row, next_column) {
                    passages.push((self.id(row, column), self.id(next_row, next_column)));
                }
            }
        }
        let [start, goal] = [self.start, self.goal].map(|[row, column]| self.id(row, column));
        MazeGraph::new(cells, &passages, start, goal)
    }

    /// Checks shape and border; everything else is the graph's affair.
    fn require_shape(&self, params: &MazeSquareParams) -> Result<()> {
        let [rows, cols] = [params.rows, params.cols];
        let shaped = self.grid.len() == rows as usize
            && self.grid.iter().all(|line| {
                line.len() == cols as usize && line.bytes().all(|cell| b"#.".contains(&cell))
            });
        require(shaped, "grid is not rows x cols of `#` and `.`")?;
        require(
            self.cell_size == params.side(),
            "cell size is not the parameters'",
        )?;
        require(
            self.origin == origin(params),
            "maze is not in the middle of the picture",
        )?;
        let inside = |(row, column): (u32, u32)| {
            (1..rows - 1).contains(&row) && (1..cols - 1).contains(&column)
        };
        require(self.open_cells().all(inside), "the outer wall has a gap")?;
        let is_room = |[row, column]: [u32; 2]| row % 2 == 1 && column % 2 == 1;
        let is_end = |at: [u32; 2]| is_room(at) && self.is_open(at[0], at[1]);
        require(
            is_end(self.start) && is_end(self.goal),
            "start and goal must be rooms",
        )?;
        let rooms = ((rows / 2) * (cols / 2)) as usize;
        let open = self
            .open_cells()
            .filter(|&(row, column)| is_room([row, column]))
            .count();
        require(open == rooms, "a room is walled up")?;
        require(
            self.open_cells()
                .all(|(row, column)| row % 2 == 1 || column % 2 == 1),
            "a pillar between four rooms is missing",
        )
    }
}

fn origin(params: &MazeSquareParams) -> [u32; 2] {
    let (picture, maze) = (params.canvas(), params.maze());
    [0, 1].map(|axis| (picture[axis] - maze[axis]) / 2)
}

/// Rooms next door, rooms numbered row by row; `down` and `across` count rooms.
fn room_doors(down: usize, across: usize) -> Vec<Vec<usize>> {
    let doors = |room: usize| {
        let (row, column) = (room / across, room % across);
        let ways = [
            (row > 0).then(|| room - across),
            (column > 0).then(|| room - 1),
            (column + 1 < across).then(|| room + 1),
            (row + 1 < down).then(|| room + across),
        ];
        ways.into_iter().flatten().collect()
    };
    (0..down * across).map(doors).collect()
}

impl Task for MazeSquare {
    type Params = MazeSquareParams;
    type Scene = MazeSquareScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "maze_square",
            group: TaskGroup::Maze,
            version: 1,
            about: "Find the way from start to goal through a maze of square cells.",
        }
    }

    fn build(&self, params: &MazeSquareParams, dice: &mut Dice) -> Result<MazeSquareScene> {
        const TRIES: u32 = 20;
        let (down, across) = (params.rows as usize / 2, params.cols as usize / 2);
        let doors = room_doors(down, across);
        let place = |room: usize| [room / across, room % across].map(|at| 2 * at as u32 + 1);
        for _ in 0..TRIES {
            let first = dice.below(doors.len());
            let mut open = carve(&doors, first, dice);
            braid(&doors, &mut open, params.braid, dice);
            // One passage between rooms is two steps between cells.
            let least = params.min_path.saturating_sub(1).div_ceil(2);
            let ends = match params.placement {
                Placement::Corners => Some((0, doors.len() - 1)),
                Placement::Random => distant_pair(doors.len(), &open, least, dice),
            };
            let Some((start, goal)) = ends else { continue };
            let mut grid = vec![vec![b'#'; params.cols as usize]; params.rows as usize];
            let mut dig = |[row, column]: [u32; 2]| grid[row as usize][column as usize] = b'.';
            (0..doors.len()).for_each(|room| dig(place(room)));
            for (a, b) in open {
                let (from, to) = (place(a), place(b));
                dig([0, 1].map(|axis| (from[axis] + to[axis]) / 2));
            }
            let text = |line: &Vec<u8>| line.iter().map(|&cell| char::from(cell)).collect();
            return Ok(MazeSquareScene {
                grid: grid.iter().map(text).collect(),
                cell_size: params.side(),
                origin: origin(params),
                start: place(start),
                goal: place(goal),
            });
        }
        Err(PuzzleError::NoScene {
            task: Task::info(self).name.to_owned(),
            tries: TRIES,
            hint: "lower `min_path` or raise `rows` and `cols`".to_owned(),
        })
    }

    fn solve(&self, params: &MazeSquareParams, scene: &MazeSquareScene) -> Result<Solved> {
        scene.require_shape(params)?;
        let graph = scene.graph()?;
        if params.braid <= 0.0 && !graph.is_forest() {
            return Err(PuzzleError::BadScene("the maze has a loop".to_owned()));
        }
        let path = graph.shortest_path();
        let random = params.placement == Placement::Random;
        if random && path.len() < params.min_path {
            return Err(PuzzleError::BadScene(
                "the path is shorter than `min_path`".to_owned(),
            ));
        }
        let middle = |id: &CellId| scene.middle(id / params.cols, id % params.cols);
        let mut solved = Solved::new(Answer::Path(path.clone()), params.canvas());
        solved.construction.push(Stroke::Line {
            points: path.iter().map(middle).collect(),
            width: (f64::from(scene.cell_size) / 3.0).floor().max(2.0),
            color: ROUTE,
        });
        solved
            .measures
            .insert("path_len".to_owned(), path.len() as f64);
        let cells = graph.cells().len() as f64;
        solved
            .measures
            .insert("difficulty".to_owned(), path.len() as f64 / cells);
        solved.graph = Some(graph);
        solved.path_rules = PathRules {
            allow_repeats: false,
            shortest_only: params.shortest_only,
        };
        Ok(solved)
    }

    fn options(
        &self,
        _: &MazeSquareParams,
        _: &MazeSquareScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn prompts(&self, params: &MazeSquareParams, _: &Solved, _: &[String]) -> Prompts {
        let figure = "The picture shows a maze: white cells are open, black ones are walls. The \
                      green cell is the start, the blue cell the goal. A path goes from cell to \
                      cell, up, down, left or right, over open cells only, and enters no cell \
                      twice.";
        let naming = match params.print_ids {
            true => "Every open cell bears its number.".to_owned(),
            false => format!(
                "The maze has {} rows and {} columns of cells, walls included; cells are numbered \
                 row by row from 0 at the top left.",
                params.rows, params.cols
            ),
        };
        let words = Words {
            figure,
            naming: &naming,
            shortest_only: params.shortest_only,
        };
        words.prompts()
    }

    fn ground(
        &self,
        _: &MazeSquareParams,
        scene: &MazeSquareScene,
        solved: &Solved,
    ) -> Result<Option<Canvas>> {
        let size = solved.canvas;
        let mut canvas = Canvas::new(size, WALL)?;
        for (row, column) in scene.open_cells() {
            canvas.rect(scene.bbox(row, column), FLOOR);
        }
        Ok(Some(canvas))
    }

    fn paint_over(
        &self,
        mut canvas: Canvas,
        params: &MazeSquareParams,
        scene: &MazeSquareScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        draw_growing(&mut canvas, &solved.construction, layer.progress());
        for ([row, column], color) in [(scene.start, START), (scene.goal, GOAL)] {
            canvas.rect(scene.bbox(row, column), color);
        }
        if params.print_ids {
            let size = params.id_size();
            for (row, column) in scene.open_cells() {
                let is_end = [scene.start, scene.goal].contains(&[row, column]);
                let color = if is_end { FLOOR } else { WALL };
                let id = scene.id(row, column).to_string();
                canvas.label(scene.middle(row, column), &id, size, color);
            }
        }
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        _: &MazeSquareParams,
        scene: &MazeSquareScene,
        solved: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let [width, height] = solved.canvas.map(|side| side as usize);
        let ids = scene
            .open_cells()
            .map(|(row, column)| scene.id(row, column));
        let mut cells = CellMap::new(width * height, ids.collect());
        for (row, column) in scene.open_cells() {
            let [left, top, right, bottom] = scene.bbox(row, column).map(|edge| edge as usize);
            for line in (top..bottom).map(|line| line * width) {
                cells.fill(line + left..line + right, Some(scene.id(row, column)));
            }
        }
        let middle = |(row, column)| (scene.id(row, column), scene.middle(row, column));
        Ok(PictureRule::Route(RouteRule {
            cells,
            centers: scene.open_cells().map(middle).collect(),
        }))
    }
}
