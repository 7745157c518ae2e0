//! maze_hexagon: find the way through a maze of hexagonal cells.
//!
//! All cells no more than `radius` steps from the centre: `3 radius (radius + 1) + 1` of them.
//! Walls run along the edges; an open passage is an edge without wall.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke, draw_growing};
use crate::error::{PuzzleError, Result};
use crate::eyeballing::snap;
use crate::graph::CellId;
use crate::judge::{PictureRule, RouteRule};
use crate::maze::{
    Comb, FLOOR, GOAL, ID_SIZE_MIN, MazeParams, ROUTE, START, WALL, Ways, Words, require,
};
use crate::params::{Params, within};
use crate::record::{Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct MazeHexagon;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MazeHexagonParams {
    /// Rings of cells about the one in the centre (default 4: 61 cells).
    pub radius: u32,
    /// Side of a cell, pixels; 0 for the largest the picture holds (default 0).
    pub cell: u32,
    /// Thickness of walls, pixels; 0 for a sixth of `cell`, at least 3 (default 0).
    pub wall: u32,
    /// Picture size, ends and routes.
    #[serde(flatten)]
    pub common: MazeParams,
}

impl Default for MazeHexagonParams {
    fn default() -> Self {
        Self {
            radius: 4,
            cell: 0,
            wall: 0,
            common: MazeParams::default(),
        }
    }
}

impl Params for MazeHexagonParams {
    fn validate(&self) -> Result<(), String> {
        within("radius", self.radius, 1, 100)?;
        self.common.validate()?;
        let (comb, _) = self.layout()?;
        within("wall", comb.wall, 2, comb.cell_size / 3)?;
        if self.common.print_ids && comb.id_size() < ID_SIZE_MIN {
            let legible = |cell: &u32| self.comb(*cell).id_size() >= ID_SIZE_MIN;
            let least = (comb.cell_size..=SIZES[1])
                .find(legible)
                .unwrap_or(SIZES[1]);
            return Err(format!(
                "`cell` is {} pixels; printed ids are legible from {least} (raise `cell` or the \
                 picture's `width` and `height`, lower `radius`, or turn `print_ids` off)",
                comb.cell_size
            ));
        }
        Ok(())
    }
}

/// Least and greatest side of a cell, pixels.
const SIZES: [u32; 2] = [8, 512];

impl MazeHexagonParams {
    /// The comb about the origin.
    fn comb(&self, cell_size: u32) -> Comb {
        let wall = match self.wall {
            0 => (cell_size / 6).max(3),
            wall => wall,
        };
        // A wall that makes no sense is refused by name later; here it must only not overflow.
        Comb {
            radius: self.radius,
            cell_size,
            wall: wall.min(SIZES[1]),
            center: [0.0; 2],
        }
    }

    /// The comb in the middle of the picture, and the picture's size.
    fn layout(&self) -> Result<(Comb, [u32; 2]), String> {
        let [least, most] = SIZES;
        let size = |cell| {
            let comb = self.comb(cell);
            Comb::size(comb.radius, cell, comb.wall)
        };
        let cell = self.common.size("cell", self.cell, least..=most, size)?;
        let canvas = self.common.canvas(size(cell))?;
        let center = canvas.map(|side| f64::from(side) / 2.0);
        Ok((
            Comb {
                center,
                ..self.comb(cell)
            },
            canvas,
        ))
    }
}

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MazeHexagonScene {
    /// Where the cells lie.
    pub comb: Comb,
    /// Passages, start and goal.
    pub ways: Ways,
}

impl Task for MazeHexagon {
    type Params = MazeHexagonParams;
    type Scene = MazeHexagonScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "maze_hexagon",
            group: TaskGroup::Maze,
            version: 1,
            about: "Find the way from start to goal through a maze of hexagonal cells.",
        }
    }

    fn build(&self, params: &MazeHexagonParams, dice: &mut Dice) -> Result<MazeHexagonScene> {
        let (comb, _) = params.layout().map_err(PuzzleError::BadScene)?;
        let ways = comb
            .rooms()
            .draw(Task::info(self).name, &params.common, dice)?;
        Ok(MazeHexagonScene { comb, ways })
    }

    fn solve(&self, params: &MazeHexagonParams, scene: &MazeHexagonScene) -> Result<Solved> {
        let (comb, canvas) = params.layout().map_err(PuzzleError::BadScene)?;
        require(
            comb == scene.comb,
            "cells do not lie where the parameters put them",
        )?;
        let mut solved = comb.rooms().solve(&params.common, &scene.ways, canvas)?;
        let middles = comb.middles();
        let path = solved.graph.as_ref().map(|graph| graph.shortest_path());
        let points = path.unwrap_or_default();
        solved.construction.push(Stroke::Line {
            points: points
                .iter()
                .map(|&id| snap(middles[id as usize]))
                .collect(),
            width: (f64::from(comb.cell_size) / 3.0).floor().max(2.0),
            color: ROUTE,
        });
        Ok(solved)
    }

    fn options(
        &self,
        _: &MazeHexagonParams,
        _: &MazeHexagonScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn prompts(&self, params: &MazeHexagonParams, _: &Solved, _: &[String]) -> Prompts {
        let figure = "The picture shows a maze of hexagonal cells; black lines are walls. The \
                      green cell is the start, the blue cell the goal. A path goes from cell to \
                      neighbouring cell where no wall lies between the two, and enters no cell \
                      twice.";
        let naming = match params.common.print_ids {
            true => "Every cell bears its number.",
            false => {
                "Cells stand in upright columns; they are numbered from 0, column by column from \
                 left to right, each column from top to bottom."
            }
        };
        let words = Words {
            figure,
            naming,
            shortest_only: params.common.shortest_only,
        };
        words.prompts()
    }

    fn ground(
        &self,
        _: &MazeHexagonParams,
        scene: &MazeHexagonScene,
        solved: &Solved,
    ) -> Result<Option<Canvas>> {
        let size = solved.canvas;
        let comb = &scene.comb;
        let mut canvas = comb.floor(size)?;
        let middles = comb.middles();
        for (end, color) in [(scene.ways.start, START), (scene.ways.goal, GOAL)] {
            comb.paint_cell(&mut canvas, size, middles[end as usize], color);
        }
        // Before the route, which keeps clear of them.
        for wall in comb.walls(&scene.ways) {
            canvas.kept_line(wall, f64::from(comb.wall), WALL);
        }
        Ok(Some(canvas))
    }

    fn paint_over(
        &self,
        mut canvas: Canvas,
        params: &MazeHexagonParams,
        scene: &MazeHexagonScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let comb = &scene.comb;
        // Over the ends' colours: under a wide cell a growing route would seem to stand still.
        draw_growing(&mut canvas, &solved.construction, layer.progress());
        if params.common.print_ids {
            let ends = [scene.ways.start, scene.ways.goal].map(|id| id as usize);
            let text_size = comb.id_size();
            for (id, middle) in comb.middles().into_iter().enumerate() {
                let color = if ends.contains(&id) { FLOOR } else { WALL };
                canvas.label(middle, &id.to_string(), text_size, color);
            }
        }
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        _: &MazeHexagonParams,
        scene: &MazeHexagonScene,
        solved: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let middles = scene.comb.middles().into_iter().enumerate();
        Ok(PictureRule::Route(RouteRule {
            cells: scene.comb.cell_map(&scene.ways, solved.canvas),
            centers: middles.map(|(id, middle)| (id as CellId, middle)).collect(),
        }))
    }
}
