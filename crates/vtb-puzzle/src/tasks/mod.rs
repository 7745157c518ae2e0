//! The tasks, one file each.

mod angle_bisector;
mod arc_connect;
mod arc_connect_point_ver;
mod circle_tangent_line;
mod circle_tangent_point;
mod color_grid;
mod maze_hexagon;
mod maze_labyrinth;
mod maze_square;
mod midpoint;
mod parallel;
mod perpendicular;
mod perpendicular_bisector;
mod ray;
mod ray_reflect;
mod right_triangle;

use crate::task::Puzzle;

pub use angle_bisector::{AngleBisector, AngleBisectorScene};
pub use arc_connect::ArcConnect;
pub use arc_connect_point_ver::ArcConnectPointVer;
pub use circle_tangent_line::{CircleTangentLine, CircleTangentLineScene};
pub use circle_tangent_point::{
    CircleTangentPoint, CircleTangentPointParams, CircleTangentPointScene,
};
pub use color_grid::{ColorGrid, ColorGridParams, ColorGridScene, PromptStyle};
pub use maze_hexagon::{MazeHexagon, MazeHexagonParams, MazeHexagonScene};
pub use maze_labyrinth::{MazeLabyrinth, MazeLabyrinthParams, MazeLabyrinthScene};
pub use maze_square::{MazeSquare, MazeSquareParams, MazeSquareScene, Placement};
pub use midpoint::{Midpoint, MidpointParams, MidpointScene};
pub use parallel::{Parallel, ParallelScene};
pub use perpendicular::{Perpendicular, PerpendicularScene};
pub use perpendicular_bisector::{PerpendicularBisector, PerpendicularBisectorScene};
pub use ray::{Ray, RayParams, RayScene};
pub use ray_reflect::{RayReflect, RayReflectScene};
pub use right_triangle::{RightTriangle, RightTriangleParams, RightTriangleScene};

/// The table behind the registry, sorted by name.
pub(crate) static TASKS: &[&dyn Puzzle] = &[
    &AngleBisector,
    &ArcConnect,
    &ArcConnectPointVer,
    &CircleTangentLine,
    &CircleTangentPoint,
    &ColorGrid,
    &MazeHexagon,
    &MazeLabyrinth,
    &MazeSquare,
    &Midpoint,
    &Parallel,
    &Perpendicular,
    &PerpendicularBisector,
    &Ray,
    &RayReflect,
    &RightTriangle,
];
