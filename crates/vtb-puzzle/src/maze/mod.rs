//! What the maze tasks share: carving a graph of rooms, placing start and goal, geometry of
//! cells, colours and words.

pub(crate) mod band;
mod carve;
mod circle;
mod comb;
mod last;
mod look;
mod params;
mod place;
mod ring_map;
mod rings;
mod rooms;

pub use carve::{braid, carve};
pub use circle::on_circle;
pub use comb::Comb;
pub use look::{FLOOR, GOAL, ID_SIZE_MIN, ROUTE, START, WALL, Words};
pub use params::{MazeParams, RimPlacement};
pub use place::{distant_pair, steps_from};
pub use rings::Rings;
pub use rooms::{Rooms, Ways};

pub(crate) use rooms::require;
