//! The tasks, one file each.

mod circle_center;
mod circumcenter;
mod color_grid;
mod fermat_point;
mod incenter;
mod isosceles_trapezoid;
mod maze_square;
mod midpoint;
mod orthocenter;
mod parallelogram;
mod ray_intersection;
mod reflection;
mod square_outlier;
mod triangle_center;

use crate::task::Puzzle;

pub use circle_center::{CircleCenter, GivenCircle};
pub use circumcenter::Circumcenter;
pub use color_grid::{ColorGrid, ColorGridParams, ColorGridScene, PromptStyle};
pub use fermat_point::FermatPoint;
pub use incenter::Incenter;
pub use isosceles_trapezoid::{BaseAndLeg, IsoscelesTrapezoid};
pub use maze_square::{MazeSquare, MazeSquareParams, MazeSquareScene, Placement};
pub use midpoint::{Midpoint, MidpointParams, MidpointScene};
pub use orthocenter::Orthocenter;
pub use parallelogram::{Parallelogram, TwoSides};
pub use ray_intersection::{RayIntersection, RayParts};
pub use reflection::{MirrorAndSource, Reflection};
pub use square_outlier::{SquareOutlier, SquareOutlierParams, SquareOutlierScene};
pub use triangle_center::TriangleCenter;

/// The table behind the registry, sorted by name.
pub(crate) static TASKS: &[&dyn Puzzle] = &[
    &CircleCenter,
    &Circumcenter,
    &ColorGrid,
    &FermatPoint,
    &Incenter,
    &IsoscelesTrapezoid,
    &MazeSquare,
    &Midpoint,
    &Orthocenter,
    &Parallelogram,
    &RayIntersection,
    &Reflection,
    &SquareOutlier,
    &TriangleCenter,
];
