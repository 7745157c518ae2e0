//! The tasks, one file each.

mod angle_bisector;
mod arc_connect;
mod arc_connect_point_ver;
mod circle_center;
mod circle_tangent_line;
mod circle_tangent_point;
mod circumcenter;
mod color_grid;
mod fermat_point;
mod incenter;
mod isosceles_trapezoid;
mod maze_hexagon;
mod maze_labyrinth;
mod maze_square;
mod midpoint;
mod orthocenter;
mod parallel;
mod parallelogram;
mod perpendicular;
mod perpendicular_bisector;
mod ray;
mod ray_intersection;
mod ray_reflect;
mod reflection;
mod right_triangle;
mod square_outlier;
mod triangle_center;

use crate::task::Puzzle;

pub use angle_bisector::{AngleBisector, AngleBisectorScene};
pub use arc_connect::ArcConnect;
pub use arc_connect_point_ver::ArcConnectPointVer;
pub use circle_center::{CircleCenter, GivenCircle};
pub use circle_tangent_line::{CircleTangentLine, CircleTangentLineScene};
pub use circle_tangent_point::{CircleTangentPoint, CircleTangentPointParams, CircleTangentPointScene};
pub use circumcenter::Circumcenter;
pub use color_grid::{ColorGrid, ColorGridParams, ColorGridScene, PromptStyle};
pub use fermat_point::FermatPoint;
pub use incenter::Incenter;
pub use isosceles_trapezoid::{BaseAndLeg, IsoscelesTrapezoid};
pub use maze_hexagon::{MazeHexagon, MazeHexagonParams, MazeHexagonScene};
pub use maze_labyrinth::{MazeLabyrinth, MazeLabyrinthParams, MazeLabyrinthScene};
pub use maze_square::{MazeSquare, MazeSquareParams, MazeSquareScene, Placement};
pub use midpoint::{Midpoint, MidpointParams, MidpointScene};
pub use orthocenter::Orthocenter;
pub use parallel::{Parallel, ParallelScene};
pub use parallelogram::{Parallelogram, TwoSides};
pub use perpendicular::{Perpendicular, PerpendicularScene};
pub use perpendicular_bisector::{PerpendicularBisector, PerpendicularBisectorScene};
pub use ray::{Ray, RayParams, RayScene};
pub use ray_intersection::{RayIntersection, RayParts};
pub use ray_reflect::{RayReflect, RayReflectScene};
pub use reflection::{MirrorAndSource, Reflection};
pub use right_triangle::{RightTriangle, RightTriangleParams, RightTriangleScene};
pub use square_outlier::{SquareOutlier, SquareOutlierParams, SquareOutlierScene};
pub use triangle_center::TriangleCenter;

/// The table behind the registry, sorted by name.
pub(crate) static TASKS: &[&dyn Puzzle] = &[&AngleBisector, &ArcConnect, &ArcConnectPointVer, &CircleCenter, &CircleTangentLine, &CircleTangentPoint, &Circumcenter, &ColorGrid, &FermatPoint, &Incenter, &IsoscelesTrapezoid, &MazeHexagon, &MazeLabyrinth, &MazeSquare, &Midpoint, &Orthocenter, &Parallel, &Parallelogram, &Perpendicular, &PerpendicularBisector, &Ray, &RayIntersection, &RayReflect, &Reflection, &RightTriangle, &SquareOutlier, &TriangleCenter];
