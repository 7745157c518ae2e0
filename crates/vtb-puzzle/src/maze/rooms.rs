//! Drawing and solving a maze whose cells are all rooms.

use serde::{Deserialize, Serialize};

use super::{MazeParams, RimPlacement, braid, carve, distant_pair, steps_from};
use crate::dice::Dice;
use crate::error::{PuzzleError, Result};
use crate::graph::{CellId, MazeGraph, PathRules};
use crate::record::Answer;
use crate::task::Solved;

/// What was drawn by lot: the part of a scene that makes the maze.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ways {
    /// Cells with no wall between them, each pair once, smaller id first, ascending.
    pub passages: Vec<[CellId; 2]>,
    /// Where the path begins.
    pub start: CellId,
    /// Where it ends.
    pub goal: CellId,
}

impl Ways {
    /// Whether there is no wall between two cells.
    #[must_use]
    pub fn joins(&self, a: usize, b: usize) -> bool {
        let pair = [a.min(b) as CellId, a.max(b) as CellId];
        self.passages.binary_search(&pair).is_ok()
    }
}

/// The cells of a maze before any wall is opened; ids are indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rooms {
    /// Cells next door to each cell.
    pub doors: Vec<Vec<usize>>,
    /// The cell in the middle.
    pub center: usize,
    /// The cells farthest out.
    pub rim: Vec<usize>,
}

impl Rooms {
    /// Draws passages, start and goal.
    ///
    /// # Errors
    /// [`PuzzleError::NoScene`] when no maze drawn has a path of `min_path` cells.
    pub fn draw(&self, task: &str, params: &MazeParams, dice: &mut Dice) -> Result<Ways> {
        const TRIES: u32 = 20;
        for _ in 0..TRIES {
            let mut open = carve(&self.doors, dice.below(self.doors.len()), dice);
            braid(&self.doors, &mut open, params.braid, dice);
            let Some((start, goal)) = self.ends(params, &open, dice) else {
                continue;
            };
            let ordered = |&(a, b): &(usize, usize)| [a.min(b) as CellId, a.max(b) as CellId];
            let mut passages: Vec<_> = open.iter().map(ordered).collect();
            passages.sort_unstable();
            return Ok(Ways {
                passages,
                start: start as CellId,
                goal: goal as CellId,
            });
        }
        Err(PuzzleError::NoScene {
            task: task.to_owned(),
            tries: TRIES,
            hint: "lower `min_path` or ask for a maze of more cells".to_owned(),
        })
    }

    fn ends(
        &self,
        params: &MazeParams,
        open: &[(usize, usize)],
        dice: &mut Dice,
    ) -> Option<(usize, usize)> {
        let least = params.min_path.saturating_sub(1);
        match params.placement {
            RimPlacement::Random => distant_pair(self.doors.len(), open, least, dice),
            RimPlacement::Center => {
                let steps = steps_from(self.doors.len(), open, self.center);
                let far = |&&cell: &&usize| steps[cell].is_some_and(|walked| walked >= least);
                let starts: Vec<_> = self.rim.iter().filter(far).copied().collect();
                dice.pick(&starts).map(|&start| (start, self.center))
            }
        }
    }

    /// Checks the passages and finds the path; strokes are the task's affair.
    ///
    /// # Errors
    /// [`PuzzleError::BadScene`] or [`PuzzleError::Graph`] naming the rule that is broken.
    pub fn solve(&self, params: &MazeParams, ways: &Ways, canvas: [u32; 2]) -> Result<Solved> {
        let next_door = |&[a, b]: &[CellId; 2]| {
            let doors = self.doors.get(a as usize);
            a < b && doors.is_some_and(|doors| doors.contains(&(b as usize)))
        };
        require(
            ways.passages.iter().all(next_door),
            "a passage joins cells that are not neighbours",
        )?;
        require(
            ways.passages.windows(2).all(|pair| pair[0] < pair[1]),
            "passages are not in order",
        )?;
        let pairs: Vec<_> = ways.passages.iter().map(|&[a, b]| (a, b)).collect();
        let cells = (0..self.doors.len() as CellId).collect();
        let graph = MazeGraph::new(cells, &pairs, ways.start, ways.goal)?;
        let reached = |&id: &CellId| graph.distance_to_goal(id).is_some();
        require(graph.cells().iter().all(reached), "a cell is walled up")?;
        // Joined throughout, so one passage fewer than cells means: no loop.
        let loops = ways.passages.len() >= self.doors.len();
        require(params.braid > 0.0 || !loops, "the maze has a loop")?;
        let centered =
            ways.goal as usize == self.center && self.rim.contains(&(ways.start as usize));
        require(
            params.placement == RimPlacement::Random || centered,
            "the path does not lead from the rim to the centre",
        )?;
        let path = graph.shortest_path();
        require(
            path.len() >= params.min_path,
            "the path is shorter than `min_path`",
        )?;
        let mut solved = Solved::new(Answer::Path(path.clone()), canvas);
        let length = path.len() as f64;
        let difficulty = length / self.doors.len() as f64;
        solved.measures.insert("path_len".to_owned(), length);
        solved.measures.insert("difficulty".to_owned(), difficulty);
        solved.graph = Some(graph);
        solved.path_rules = PathRules {
            allow_repeats: false,
            shortest_only: params.shortest_only,
        };
        Ok(solved)
    }
}

/// [`PuzzleError::BadScene`] unless the rule holds.
pub(crate) fn require(holds: bool, fault: &str) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(PuzzleError::BadScene(fault.to_owned())),
    }
}
