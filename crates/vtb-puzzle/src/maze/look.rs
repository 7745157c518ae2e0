//! Colours and words that the maze tasks share.

use crate::draw::Rgb;
use crate::record::Prompts;

/// Walls, and the page about the maze.
pub const WALL: Rgb = [0, 0, 0];
/// Cells.
pub const FLOOR: Rgb = [255, 255, 255];
/// The start's cell.
pub const START: Rgb = [30, 140, 60];
/// The goal's cell.
pub const GOAL: Rgb = [40, 80, 200];
/// The solution; nothing in a puzzle is red.
pub const ROUTE: Rgb = [220, 30, 30];

/// Smallest size of printed ids, pixels.
pub const ID_SIZE_MIN: f64 = 9.0;

/// The parts of a maze's prompts.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// What is seen and what a path may do.
    pub figure: &'a str,
    /// How cells are called in a text answer.
    pub naming: &'a str,
    /// Only a shortest path is right.
    pub shortest_only: bool,
}

impl Words<'_> {
    /// The four prompts.
    #[must_use]
    pub fn prompts(self) -> Prompts {
        let Self { figure, naming, .. } = self;
        let which = match self.shortest_only {
            true => "a shortest path",
            false => "a path",
        };
        let list = "as a list of cell numbers in square brackets, start and goal included, inside \
                    <answer> and </answer>";
        let edit = "as one red line through the middles of its cells, without touching a wall, \
                    and leave the rest of the picture as it is.";
        Prompts {
            text: format!(
                "{figure} {naming} Find {which} from start to goal and give it {list} at the end \
                 of your reply."
            ),
            image: format!("{figure} Draw {which} from start to goal {edit}"),
            text_image: format!(
                "{figure} {naming} Draw {which} from start to goal {edit} Also give it {list}."
            ),
            video: format!(
                "{figure} The camera does not move. A red line grows from the start along {which} \
                 through the middles of its cells until it reaches the goal, without touching a \
                 wall. Nothing else changes."
            ),
        }
    }
}
