//! maze_labyrinth: find the way through rings of cells about a disc.
//!
//! The disc is cell 0; `rings` rings of `segments` cells lie about it. Walls are circles between
//! rings, with openings, and spokes between the cells of a ring.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke, draw_growing};
use crate::error::{PuzzleError, Result};
use crate::eyeballing::snap;
use crate::graph::CellId;
use crate::judge::{PictureRule, RouteRule};
use crate::maze::{
    FLOOR, GOAL, ID_SIZE_MIN, MazeParams, ROUTE, Rings, START, WALL, Ways, Words, require,
};
use crate::params::{Params, within};
use crate::record::{Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct MazeLabyrinth;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MazeLabyrinthParams {
    /// Rings about the disc in the centre (default 4).
    pub rings: u32,
    /// Cells in each ring (default 12).
    pub segments: u32,
    /// Width of the corridors, pixels; 0 for the largest the picture holds (default 0).
    pub ring_width: u32,
    /// Thickness of walls, pixels; 0 for a sixth of `ring_width`, at least 3 (default 0).
    pub wall: u32,
    /// Picture size, ends and routes.
    #[serde(flatten)]
    pub common: MazeParams,
}

impl Default for MazeLabyrinthParams {
    fn default() -> Self {
        Self {
            rings: 4,
            segments: 12,
            ring_width: 0,
            wall: 0,
            common: MazeParams::default(),
        }
    }
}

impl Params for MazeLabyrinthParams {
    fn validate(&self) -> Result<(), String> {
        within("rings", self.rings, 1, 32)?;
        within("segments", self.segments, SEGMENTS_MIN, 96)?;
        self.common.validate()?;
        let (rings, _) = self.layout()?;
        within("wall", rings.wall, 2, rings.ring_width / 2)?;
        if rings.narrowest() < GAP_MIN {
            let wide = |segments: &u32| {
                Rings {
                    segments: *segments,
                    ..rings
                }
                .narrowest()
                    >= GAP_MIN
            };
            let most = (SEGMENTS_MIN..self.segments)
                .rev()
                .find(wide)
                .unwrap_or(SEGMENTS_MIN);
            return Err(format!(
                "`segments` is {}; the innermost ring has room for {most} (or raise `ring_width` \
                 or the picture's `width` and `height`)",
                self.segments
            ));
        }
        if self.common.print_ids && rings.id_size() < ID_SIZE_MIN {
            let legible = |width: &u32| self.about_origin(*width).id_size() >= ID_SIZE_MIN;
            let least = (rings.ring_width..=SIZES[1])
                .find(legible)
                .unwrap_or(SIZES[1]);
            return Err(format!(
                "`ring_width` is {} pixels; printed ids are legible from {least} (raise \
                 `ring_width` or the picture's `width` and `height`, lower `rings` or `segments`, \
                 or turn `print_ids` off)",
                rings.ring_width
            ));
        }
        Ok(())
    }
}

/// Least and greatest width of a corridor, pixels.
const SIZES: [u32; 2] = [8, 512];
/// Below this the geometry of openings would not hold.
const SEGMENTS_MIN: u32 = 4;
/// Least free width between two spokes, pixels.
const GAP_MIN: f64 = 8.0;

impl MazeLabyrinthParams {
    fn about_origin(&self, ring_width: u32) -> Rings {
        let wall = match self.wall {
            0 => (ring_width / 6).max(3),
            wall => wall,
        };
        // A wall that makes no sense is refused by name later; here it must only not overflow.
        Rings::new([self.rings, self.segments], ring_width, wall.min(SIZES[1]))
    }

    /// The labyrinth in the middle of the picture, and the picture's size.
    fn layout(&self) -> Result<(Rings, [u32; 2]), String> {
        let [least, most] = SIZES;
        let size = |width| [2 * self.about_origin(width).reach(); 2];
        let width = self
            .common
            .size("ring_width", self.ring_width, least..=most, size)?;
        let canvas = self.common.canvas(size(width))?;
        let center = canvas.map(|side| f64::from(side) / 2.0);
        let rings = Rings {
            center,
            ..self.about_origin(width)
        };
        Ok((rings, canvas))
    }
}

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MazeLabyrinthScene {
    /// Where the cells lie.
    pub rings: Rings,
    /// Passages, start and goal.
    pub ways: Ways,
}

impl Task for MazeLabyrinth {
    type Params = MazeLabyrinthParams;
    type Scene = MazeLabyrinthScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "maze_labyrinth",
            group: TaskGroup::Maze,
            version: 1,
            about: "Find the way from start to goal through a round labyrinth.",
        }
    }

    fn build(&self, params: &MazeLabyrinthParams, dice: &mut Dice) -> Result<MazeLabyrinthScene> {
        let (rings, _) = params.layout().map_err(PuzzleError::BadScene)?;
        let ways = rings
            .rooms()
            .draw(Task::info(self).name, &params.common, dice)?;
        Ok(MazeLabyrinthScene { rings, ways })
    }

    fn solve(&self, params: &MazeLabyrinthParams, scene: &MazeLabyrinthScene) -> Result<Solved> {
        let (rings, canvas) = params.layout().map_err(PuzzleError::BadScene)?;
        require(
            rings == scene.rings,
            "cells do not lie where the parameters put them",
        )?;
        let mut solved = rings.rooms().solve(&params.common, &scene.ways, canvas)?;
        let path = solved.graph.as_ref().map(|graph| graph.shortest_path());
        let points = rings.route(&path.unwrap_or_default());
        solved.construction.push(Stroke::Line {
            points: points.into_iter().map(snap).collect(),
            width: rings.route_width(),
            color: ROUTE,
        });
        Ok(solved)
    }

    fn options(
        &self,
        _: &MazeLabyrinthParams,
        _: &MazeLabyrinthScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn prompts(&self, params: &MazeLabyrinthParams, _: &Solved, _: &[String]) -> Prompts {
        let figure = "The picture shows a round labyrinth: a disc in the middle and rings of \
                      cells about it; black lines are walls, with openings. The green cell is \
                      the start, the blue cell the goal. A path goes from cell to neighbouring \
                      cell, along a ring where no wall stands across it or through an opening to \
                      the next ring, and enters no cell twice.";
        let naming = match params.common.print_ids {
            true => "Every cell bears its number.".to_owned(),
            false => format!(
                "Cell 0 is the disc. Each ring has {} equal cells; they are numbered on from 1, \
                 the innermost ring first, in each ring counter-clockwise from the direction \
                 straight to the right.",
                params.segments
            ),
        };
        let words = Words {
            figure,
            naming: &naming,
            shortest_only: params.common.shortest_only,
        };
        words.prompts()
    }

    fn ground(
        &self,
        _: &MazeLabyrinthParams,
        scene: &MazeLabyrinthScene,
        solved: &Solved,
    ) -> Result<Option<Canvas>> {
        let size = solved.canvas;
        let rings = &scene.rings;
        let mut canvas = rings.floor(size)?;
        rings.paint_openings(&mut canvas, &scene.ways, FLOOR);
        let ends = [scene.ways.start, scene.ways.goal].map(|id| id as usize);
        for (end, color) in ends.into_iter().zip([START, GOAL]) {
            rings.paint_cell(&mut canvas, size, end, color);
        }
        // Before the route, which keeps clear of them.
        rings.paint_spokes(&mut canvas, &scene.ways, WALL);
        Ok(Some(canvas))
    }

    fn paint_over(
        &self,
        mut canvas: Canvas,
        params: &MazeLabyrinthParams,
        scene: &MazeLabyrinthScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let rings = &scene.rings;
        // Over the ends' colours: under a wide cell a growing route would seem to stand still.
        draw_growing(&mut canvas, &solved.construction, layer.progress());
        if params.common.print_ids {
            let ends = [scene.ways.start, scene.ways.goal].map(|id| id as usize);
            let text_size = rings.id_size();
            for id in 0..=(rings.rings * rings.segments) as usize {
                let color = if ends.contains(&id) { FLOOR } else { WALL };
                canvas.label(rings.middle(id), &id.to_string(), text_size, color);
            }
        }
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        _: &MazeLabyrinthParams,
        scene: &MazeLabyrinthScene,
        solved: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let cells = 0..=(scene.rings.rings * scene.rings.segments);
        let middle = |id: CellId| (id, scene.rings.middle(id as usize));
        Ok(PictureRule::Route(RouteRule {
            cells: scene.rings.cell_map(&scene.ways, solved.canvas),
            centers: cells.map(middle).collect(),
        }))
    }
}
