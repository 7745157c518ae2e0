//! The graph of a maze and the check of a path on it.
//!
//! A verdict on a path never looks at pixels: cells and open passages are part of the record.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::error::{PuzzleError, Result};

/// Name of a cell, as printed on the maze and written in answers.
pub type CellId = u32;

/// Cells, open passages, start and goal of a maze.
///
/// JSON form: `{"cells":[id..], "passages":[[a,b]..], "start":id, "goal":id}`, cells ascending,
/// each passage once with `a < b`, passages ascending. Reading it back checks all of that
/// [`MazeGraph::new`] checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawGraph", into = "RawGraph")]
pub struct MazeGraph {
    cells: Vec<CellId>,
    /// Neighbours of all cells, cell after cell, and where those of each end.
    neighbours: Vec<CellId>,
    ends: Vec<usize>,
    to_goal: Vec<Option<usize>>,
    start: CellId,
    goal: CellId,
    shortest: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGraph {
    cells: Vec<CellId>,
    passages: Vec<(CellId, CellId)>,
    start: CellId,
    goal: CellId,
}

impl TryFrom<RawGraph> for MazeGraph {
    type Error = PuzzleError;

    fn try_from(raw: RawGraph) -> Result<Self> {
        Self::new(raw.cells, &raw.passages, raw.start, raw.goal)
    }
}

impl From<MazeGraph> for RawGraph {
    fn from(graph: MazeGraph) -> Self {
        let passages = graph.passages();
        Self {
            cells: graph.cells,
            passages,
            start: graph.start,
            goal: graph.goal,
        }
    }
}

impl MazeGraph {
    /// Builds the graph; order of `cells` and `passages` does not matter.
    ///
    /// # Errors
    /// [`PuzzleError::Graph`] when a cell is listed twice, a passage names a cell that is not
    /// listed or joins a cell to itself, start equals goal, or the goal cannot be reached.
    pub fn new(
        mut cells: Vec<CellId>,
        passages: &[(CellId, CellId)],
        start: CellId,
        goal: CellId,
    ) -> Result<Self> {
        cells.sort_unstable();
        if let Some(pair) = cells.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(PuzzleError::Graph(format!(
                "cell {} is listed twice",
                pair[0]
            )));
        }
        let place = |id: CellId, role: &str| {
            index_of(&cells, id).ok_or_else(|| {
                PuzzleError::Graph(format!("{role} {id} is not in the list of cells"))
            })
        };
        let mut doors = Vec::with_capacity(2 * passages.len());
        for &(a, b) in passages {
            let (at_a, at_b) = (place(a, "passage end")?, place(b, "passage end")?);
            if a == b {
                return Err(PuzzleError::Graph(format!(
                    "a passage joins cell {a} to itself"
                )));
            }
            doors.extend([(at_a, b), (at_b, a)]);
        }
        doors.sort_unstable();
        doors.dedup();
        let mut ends = vec![0; cells.len()];
        doors.iter().for_each(|(at, _)| ends[*at] += 1);
        let mut end = 0;
        for count in &mut ends {
            end += *count;
            *count = end;
        }
        place(start, "start")?;
        place(goal, "goal")?;
        if start == goal {
            return Err(PuzzleError::Graph(format!(
                "start and goal are the same cell {start}"
            )));
        }
        let mut graph = Self {
            cells,
            neighbours: doors.into_iter().map(|(_, next)| next).collect(),
            ends,
            to_goal: Vec::new(),
            start,
            goal,
            shortest: 0,
        };
        graph.to_goal = graph.distances_from(goal);
        let Some(steps) = graph.distance_to_goal(start) else {
            let fault = format!("the goal {goal} cannot be reached from the start {start}");
            return Err(PuzzleError::Graph(fault));
        };
        graph.shortest = steps + 1;
        Ok(graph)
    }

    /// All cells, ascending.
    #[must_use]
    pub fn cells(&self) -> &[CellId] {
        &self.cells
    }

    /// Where a path must begin.
    #[must_use]
    pub fn start(&self) -> CellId {
        self.start
    }

    /// Where a path must end.
    #[must_use]
    pub fn goal(&self) -> CellId {
        self.goal
    }

    /// Whether the maze has a cell of this name.
    #[must_use]
    pub fn contains(&self, id: CellId) -> bool {
        index_of(&self.cells, id).is_some()
    }

    /// Cells one open passage away, ascending; empty for an unknown cell.
    #[must_use]
    pub fn neighbours(&self, id: CellId) -> &[CellId] {
        index_of(&self.cells, id).map_or(&[], |at| self.neighbours_of(at))
    }

    /// Those of the cell at an index.
    fn neighbours_of(&self, at: usize) -> &[CellId] {
        let from = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.neighbours[from..self.ends[at]]
    }

    /// Every open passage once, as `(a, b)` with `a < b`, ascending.
    #[must_use]
    pub fn passages(&self) -> Vec<(CellId, CellId)> {
        let cells = self.cells.iter().enumerate();
        let after = |(at, &a): (usize, &CellId)| {
            let later = self.neighbours_of(at).iter().filter(move |&&b| a < b);
            later.map(move |&b| (a, b))
        };
        cells.flat_map(after).collect()
    }

    /// Steps on a shortest route between two cells; `None` if there is no route or no such cell.
    #[must_use]
    pub fn distance(&self, a: CellId, b: CellId) -> Option<usize> {
        let at = index_of(&self.cells, b)?;
        self.distances_from(a).get(at).copied().flatten()
    }

    /// Steps from `id` to the goal, looked up in a table.
    #[must_use]
    pub fn distance_to_goal(&self, id: CellId) -> Option<usize> {
        self.to_goal[index_of(&self.cells, id)?]
    }

    /// Number of cells on a shortest route from start to goal, both included (at least 2).
    #[must_use]
    pub fn shortest_path_len(&self) -> usize {
        self.shortest
    }

    /// A shortest route from start to goal; among equals the one with the smallest ids first.
    #[must_use]
    pub fn shortest_path(&self) -> Vec<CellId> {
        let mut path = vec![self.start];
        let mut here = self.start;
        while let Some(left) = self.distance_to_goal(here).filter(|&left| left > 0) {
            let closer = |&&id: &&CellId| self.distance_to_goal(id) == Some(left - 1);
            let Some(&next) = self.neighbours(here).iter().find(closer) else {
                break;
            };
            path.push(next);
            here = next;
        }
        path
    }

    /// Whether exactly one simple route joins any two cells that are joined at all: no loops.
    #[must_use]
    pub fn is_forest(&self) -> bool {
        let mut seen = vec![false; self.cells.len()];
        let mut trees = 0;
        for root in 0..self.cells.len() {
            if seen[root] {
                continue;
            }
            trees += 1;
            let reached = self.distances_from(self.cells[root]);
            for (mark, distance) in seen.iter_mut().zip(reached) {
                *mark |= distance.is_some();
            }
        }
        self.passages().len() + trees == self.cells.len()
    }

    fn distances_from(&self, from: CellId) -> Vec<Option<usize>> {
        let mut steps = vec![None; self.cells.len()];
        let Some(at) = index_of(&self.cells, from) else {
            return steps;
        };
        steps[at] = Some(0);
        let mut queue = VecDeque::with_capacity(self.cells.len());
        queue.push_back((at, 0));
        while let Some((here, walked)) = queue.pop_front() {
            for id in self.neighbours_of(here) {
                let next = index_of(&self.cells, *id);
                if let Some(next) = next.filter(|next| steps[*next].is_none()) {
                    steps[next] = Some(walked + 1);
                    queue.push_back((next, walked + 1));
                }
            }
        }
        steps
    }
}

/// Where a cell stands in an ascending list.
pub(crate) fn index_of(cells: &[CellId], id: CellId) -> Option<usize> {
    // Cells are counted through, mostly.
    let counted = id.wrapping_sub(cells.first().copied().unwrap_or(0)) as usize;
    match cells.get(counted) == Some(&id) {
        true => Some(counted),
        false => cells.binary_search(&id).ok(),
    }
}

/// What a path may do and still count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PathRules {
    /// Cells may be visited more than once (default: no).
    pub allow_repeats: bool,
    /// Only a route of the least possible length is valid (default: any route).
    pub shortest_only: bool,
}

/// The first thing wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathFault {
    /// There are no cells in it.
    Empty,
    /// The cell is not in the maze.
    UnknownCell,
    /// The first cell is not the start.
    WrongStart,
    /// No open passage leads here from the cell before.
    NoPassage,
    /// The cell was visited before.
    Repeated,
    /// The path goes on after reaching the goal.
    PastGoal,
    /// Every step is legal but the path stops before the goal (index = length of the path).
    StopsShort,
    /// The route is legal but longer than asked (index = length of the path).
    NotShortest,
}

impl PathFault {
    /// The fault of `path` at index `at`, in words.
    #[must_use]
    pub fn describe(self, path: &[CellId], at: usize) -> String {
        let here = path
            .get(at)
            .map_or_else(|| "the end".to_owned(), |id| format!("cell {id}"));
        let place = format!("{here} (item {} of {})", at + 1, path.len());
        match self {
            Self::Empty => "the path has no cells".to_owned(),
            Self::UnknownCell => format!("{place} is not a cell of the maze"),
            Self::WrongStart => format!("{place} is not the start"),
            Self::NoPassage => format!("{place} has no open passage from the cell before"),
            Self::Repeated => format!("{place} was visited before"),
            Self::PastGoal => format!("{place} comes after the goal"),
            Self::StopsShort => format!("the path of {} cells stops before the goal", path.len()),
            Self::NotShortest => format!("the path of {} cells is not a shortest one", path.len()),
        }
    }
}

/// Report on a path; see [`check_path`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathCheck {
    /// A legal route from start to goal under the rules.
    pub valid: bool,
    /// Valid and of the least possible length (in a maze without loops: the solution itself).
    pub exact: bool,
    /// Index into the path of the first fault.
    pub first_error_index: Option<usize>,
    /// What the fault is.
    pub fault: Option<PathFault>,
    /// Cells before the first illegal one.
    pub prefix_valid_len: usize,
    /// The legal prefix arrives at the goal.
    pub reaches_goal: bool,
    /// Shortest length over this length, both in cells, when valid; else 0.
    pub length_ratio: f64,
}

/// Walks `path` on `graph` and reports how far it is legal.
///
/// A path is legal up to the first cell that is unknown, not the start (at index 0), not joined to
/// the one before, visited already, or after the goal. Cells behind that point count for nothing.
#[must_use]
pub fn check_path(graph: &MazeGraph, path: &[CellId], rules: PathRules) -> PathCheck {
    let mut seen = BTreeSet::new();
    let illegal = (0..path.len()).find_map(|at| {
        let again = !seen.insert(path[at]) && !rules.allow_repeats;
        Some((at, step_fault(graph, path, at, again)?))
    });
    let prefix = illegal.map_or(path.len(), |(at, _)| at);
    let reaches_goal = path[..prefix].last() == Some(&graph.goal());
    let shortest = path.len() <= graph.shortest_path_len();
    let fault = match illegal {
        Some(found) => Some(found),
        None if path.is_empty() => Some((0, PathFault::Empty)),
        None if !reaches_goal => Some((path.len(), PathFault::StopsShort)),
        None if rules.shortest_only && !shortest => Some((path.len(), PathFault::NotShortest)),
        None => None,
    };
    let valid = fault.is_none();
    let ratio = graph.shortest_path_len() as f64 / path.len().max(1) as f64;
    PathCheck {
        valid,
        exact: valid && shortest,
        first_error_index: fault.map(|(at, _)| at),
        fault: fault.map(|(_, kind)| kind),
        prefix_valid_len: prefix,
        reaches_goal,
        length_ratio: if valid { ratio } else { 0.0 },
    }
}

fn step_fault(graph: &MazeGraph, path: &[CellId], at: usize, again: bool) -> Option<PathFault> {
    let here = path[at];
    if !graph.contains(here) {
        return Some(PathFault::UnknownCell);
    }
    let Some(before) = at.checked_sub(1).map(|last| path[last]) else {
        return (here != graph.start()).then_some(PathFault::WrongStart);
    };
    if before == graph.goal() {
        return Some(PathFault::PastGoal);
    }
    if graph.neighbours(before).binary_search(&here).is_err() {
        return Some(PathFault::NoPassage);
    }
    again.then_some(PathFault::Repeated)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1-2-3-4 in a row, and 2-5-6-3 as a way round.
    fn looped() -> MazeGraph {
        let passages = [(1, 2), (2, 3), (3, 4), (5, 2), (5, 6), (6, 3)];
        MazeGraph::new(vec![4, 3, 2, 1, 5, 6], &passages, 1, 4).unwrap()
    }

    fn fault(path: &[CellId]) -> (Option<usize>, Option<PathFault>) {
        let check = check_path(&looped(), path, PathRules::default());
        assert_eq!(check.valid, check.fault.is_none());
        (check.first_error_index, check.fault)
    }

    #[test]
    fn legal_routes_are_valid_and_the_shortest_is_exact() {
        let short = check_path(&looped(), &[1, 2, 3, 4], PathRules::default());
        assert!(short.valid && short.exact && short.reaches_goal);
        assert_eq!((short.prefix_valid_len, short.length_ratio), (4, 1.0));
        let long = check_path(&looped(), &[1, 2, 5, 6, 3, 4], PathRules::default());
        assert!(long.valid && !long.exact);
        assert!((long.length_ratio - 4.0 / 6.0).abs() < 1e-12);
        let strict = PathRules {
            shortest_only: true,
            ..PathRules::default()
        };
        let refused = check_path(&looped(), &[1, 2, 5, 6, 3, 4], strict);
        assert_eq!(refused.fault, Some(PathFault::NotShortest));
    }

    #[test]
    fn the_first_fault_is_named_with_its_place() {
        assert_eq!(fault(&[]), (Some(0), Some(PathFault::Empty)));
        assert_eq!(fault(&[9]), (Some(0), Some(PathFault::UnknownCell)));
        assert_eq!(fault(&[2, 3, 4]), (Some(0), Some(PathFault::WrongStart)));
        assert_eq!(fault(&[1, 3, 4]), (Some(1), Some(PathFault::NoPassage)));
        assert_eq!(
            fault(&[1, 2, 1, 2, 3, 4]),
            (Some(2), Some(PathFault::Repeated))
        );
        assert_eq!(fault(&[1, 2, 3]), (Some(3), Some(PathFault::StopsShort)));
        assert_eq!(
            fault(&[1, 2, 3, 4, 3]),
            (Some(4), Some(PathFault::PastGoal))
        );
        let past = check_path(&looped(), &[1, 2, 3, 4, 3], PathRules::default());
        assert!(past.reaches_goal && !past.valid && past.length_ratio == 0.0);
    }

    #[test]
    fn repeats_may_be_allowed() {
        let rules = PathRules {
            allow_repeats: true,
            ..PathRules::default()
        };
        assert!(check_path(&looped(), &[1, 2, 1, 2, 3, 4], rules).valid);
    }

    #[test]
    fn distances_and_shortest_path_agree() {
        let graph = looped();
        assert_eq!(graph.shortest_path(), [1, 2, 3, 4]);
        assert_eq!(graph.shortest_path_len(), 4);
        assert_eq!(graph.distance(5, 4), Some(3));
        assert_eq!(graph.distance_to_goal(5), Some(3));
        assert_eq!(graph.distance(5, 77), None);
        assert_eq!(graph.distance(77, 5), None);
        assert_eq!(graph.neighbours(2), [1, 3, 5]);
        assert_eq!(graph.neighbours(77), [0; 0]);
        assert!(!graph.is_forest());
        assert!(
            MazeGraph::new(vec![1, 2], &[(1, 2)], 1, 2)
                .unwrap()
                .is_forest()
        );
    }

    #[test]
    fn json_round_trip_is_canonical_and_checked() {
        let text = serde_json::to_string(&looped()).unwrap();
        let expected = r#"{"cells":[1,2,3,4,5,6],"passages":[[1,2],[2,3],[2,5],[3,4],[3,6],[5,6]],"start":1,"goal":4}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<MazeGraph>(&text).unwrap(), looped());
        let broken = text.replace(r#""goal":4"#, r#""goal":40"#);
        let error = serde_json::from_str::<MazeGraph>(&broken)
            .unwrap_err()
            .to_string();
        assert!(error.contains("goal 40"), "{error}");
    }

    #[test]
    fn unusable_graphs_are_refused() {
        let refuse = |cells: &[CellId], passages: &[(CellId, CellId)], start, goal| {
            MazeGraph::new(cells.to_vec(), passages, start, goal)
                .unwrap_err()
                .to_string()
        };
        assert!(refuse(&[1, 1, 2], &[(1, 2)], 1, 2).contains("twice"));
        assert!(refuse(&[1, 2], &[(1, 3)], 1, 2).contains("passage end 3"));
        assert!(refuse(&[1, 2], &[(1, 1)], 1, 2).contains("itself"));
        assert!(refuse(&[1, 2], &[(1, 2)], 1, 1).contains("same cell"));
        assert!(refuse(&[1, 2, 3], &[(1, 2)], 1, 3).contains("cannot be reached"));
    }
}
