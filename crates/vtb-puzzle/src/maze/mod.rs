//! What the maze tasks share: carving a graph of rooms, placing start and goal.

mod carve;
mod place;

pub use carve::{braid, carve};
pub use place::{distant_pair, steps_from};
