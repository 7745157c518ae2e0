//! The tasks, one file each.

mod angle_bisector;
mod arc_connect;
mod arc_connect_point_ver;
mod arcagi;
mod circle_center;
mod circle_count;
mod circle_tangent_line;
mod circle_tangent_point;
mod circumcenter;
mod color_grid;
mod color_hexagon;
mod color_overlap_squares;
mod color_size;
mod fermat_point;
mod incenter;
mod isosceles_trapezoid;
mod jigsaw;
mod maze_hexagon;
mod maze_labyrinth;
mod maze_square;
mod midpoint;
mod mirror;
mod orthocenter;
mod parallel;
mod parallelogram;
mod perpendicular;
mod perpendicular_bisector;
mod polygon_sides_color;
mod ray;
mod ray_intersection;
mod ray_reflect;
mod rectangle_height_color;
mod rects;
mod reflection;
mod right_triangle;
mod shape_reflect;
mod shape_size_grid;
mod size_cycle;
mod size_grid;
mod square_outlier;
mod sudoku;
mod triangle_center;

pub use crate::pattern::PromptStyle;
use crate::task::Puzzle;

pub use angle_bisector::{AngleBisector, AngleBisectorScene};
pub use arc_connect::ArcConnect;
pub use arc_connect_point_ver::ArcConnectPointVer;
pub use arcagi::{ArcPair, ArcSource, Arcagi, ArcagiParams, ArcagiScene};
pub use circle_center::{CircleCenter, GivenCircle};
pub use circle_count::{Circle, CircleCount, CircleCountParams, CircleCountScene};
pub use circle_tangent_line::{CircleTangentLine, CircleTangentLineScene};
pub use circle_tangent_point::{
    CircleTangentPoint, CircleTangentPointParams, CircleTangentPointScene,
};
pub use circumcenter::Circumcenter;
pub use color_grid::{ColorGrid, ColorGridParams, ColorGridScene};
pub use color_hexagon::{ColorHexagon, ColorHexagonParams, ColorHexagonScene};
pub use color_overlap_squares::{
    ColorOverlapSquares, ColorOverlapSquaresParams, ColorOverlapSquaresScene, OuterSquare,
};
pub use color_size::{ColorSize, ColorSizeParams, ColorSizeScene, Shade};
pub use fermat_point::FermatPoint;
pub use incenter::Incenter;
pub use isosceles_trapezoid::{BaseAndLeg, IsoscelesTrapezoid};
pub use jigsaw::{Jigsaw, JigsawParams, JigsawScene, PictureOrigin, Piece};
pub use maze_hexagon::{MazeHexagon, MazeHexagonParams, MazeHexagonScene};
pub use maze_labyrinth::{MazeLabyrinth, MazeLabyrinthParams, MazeLabyrinthScene};
pub use maze_square::{MazeSquare, MazeSquareParams, MazeSquareScene, Placement};
pub use midpoint::{Midpoint, MidpointParams, MidpointScene};
pub use mirror::{Mirror, MirrorParams, MirrorScene};
pub use orthocenter::Orthocenter;
pub use parallel::{Parallel, ParallelScene};
pub use parallelogram::{Parallelogram, TwoSides};
pub use perpendicular::{Perpendicular, PerpendicularScene};
pub use perpendicular_bisector::{PerpendicularBisector, PerpendicularBisectorScene};
pub use polygon_sides_color::{
    ColoredPolygon, PolygonSidesColor, PolygonSidesColorParams, PolygonSidesColorScene,
};
pub use ray::{Ray, RayParams, RayScene};
pub use ray_intersection::{RayIntersection, RayParts};
pub use ray_reflect::{RayReflect, RayReflectScene};
pub use rectangle_height_color::{
    Alignment, ColoredBar, RectangleHeightColor, RectangleHeightColorParams,
    RectangleHeightColorScene,
};
pub use rects::{LayerRect, Rects, RectsParams, RectsScene};
pub use reflection::{MirrorAndSource, Reflection};
pub use right_triangle::{RightTriangle, RightTriangleParams, RightTriangleScene};
pub use shape_reflect::{ShapeReflect, ShapeReflectParams, ShapeReflectScene};
pub use shape_size_grid::{ShapeSizeGrid, ShapeSizeGridParams, ShapeSizeGridScene, SizesAlong};
pub use size_cycle::{SizeCycle, SizeCycleParams, SizeCycleScene};
pub use size_grid::{SizeGrid, SizeGridParams, SizeGridScene};
pub use square_outlier::{SquareOutlier, SquareOutlierParams, SquareOutlierScene};
pub use sudoku::{Sudoku, SudokuParams, SudokuScene};
pub use triangle_center::TriangleCenter;

/// The table behind the registry, sorted by name.
pub(crate) static TASKS: &[&dyn Puzzle] = &[
    &AngleBisector,
    &ArcConnect,
    &ArcConnectPointVer,
    &Arcagi,
    &CircleCenter,
    &CircleCount,
    &CircleTangentLine,
    &CircleTangentPoint,
    &Circumcenter,
    &ColorGrid,
    &ColorHexagon,
    &ColorOverlapSquares,
    &ColorSize,
    &FermatPoint,
    &Incenter,
    &IsoscelesTrapezoid,
    &Jigsaw,
    &MazeHexagon,
    &MazeLabyrinth,
    &MazeSquare,
    &Midpoint,
    &Mirror,
    &Orthocenter,
    &Parallel,
    &Parallelogram,
    &Perpendicular,
    &PerpendicularBisector,
    &PolygonSidesColor,
    &Ray,
    &RayIntersection,
    &RayReflect,
    &RectangleHeightColor,
    &Rects,
    &Reflection,
    &RightTriangle,
    &ShapeReflect,
    &ShapeSizeGrid,
    &SizeCycle,
    &SizeGrid,
    &SquareOutlier,
    &Sudoku,
    &TriangleCenter,
];
