//! The tasks, one file each.

mod color_grid;
mod color_hexagon;
mod color_overlap_squares;
mod color_size;
mod maze_square;
mod midpoint;
mod polygon_sides_color;
mod rectangle_height_color;
mod shape_reflect;
mod shape_size_grid;
mod size_cycle;
mod size_grid;

use crate::task::Puzzle;

pub use crate::pattern::PromptStyle;
pub use color_grid::{ColorGrid, ColorGridParams, ColorGridScene};
pub use color_hexagon::{ColorHexagon, ColorHexagonParams, ColorHexagonScene};
pub use color_overlap_squares::{
    ColorOverlapSquares, ColorOverlapSquaresParams, ColorOverlapSquaresScene, OuterSquare,
};
pub use color_size::{ColorSize, ColorSizeParams, ColorSizeScene, Shade};
pub use maze_square::{MazeSquare, MazeSquareParams, MazeSquareScene, Placement};
pub use midpoint::{Midpoint, MidpointParams, MidpointScene};
pub use polygon_sides_color::{
    ColoredPolygon, PolygonSidesColor, PolygonSidesColorParams, PolygonSidesColorScene,
};
pub use rectangle_height_color::{
    Alignment, ColoredBar, RectangleHeightColor, RectangleHeightColorParams,
    RectangleHeightColorScene,
};
pub use shape_reflect::{ShapeReflect, ShapeReflectParams, ShapeReflectScene};
pub use shape_size_grid::{ShapeSizeGrid, ShapeSizeGridParams, ShapeSizeGridScene, SizesAlong};
pub use size_cycle::{SizeCycle, SizeCycleParams, SizeCycleScene};
pub use size_grid::{SizeGrid, SizeGridParams, SizeGridScene};

/// The table behind the registry, sorted by name.
pub(crate) static TASKS: &[&dyn Puzzle] = &[
    &ColorGrid,
    &ColorHexagon,
    &ColorOverlapSquares,
    &ColorSize,
    &MazeSquare,
    &Midpoint,
    &PolygonSidesColor,
    &RectangleHeightColor,
    &ShapeReflect,
    &ShapeSizeGrid,
    &SizeCycle,
    &SizeGrid,
];
