//! What an edited picture must show, in the terms of a scene.

use std::collections::BTreeMap;

use image::RgbImage;

use super::cell_map::CellMap;
use crate::draw::Rgb;
use crate::graph::CellId;

/// How the edited picture of a puzzle is judged.
#[derive(Debug, Clone)]
pub enum PictureRule {
    /// Exactly one of several markers must be made red.
    Marker(MarkerRule),
    /// New red strokes must follow a legal route on the graph.
    Route(RouteRule),
    /// Places of the picture must show what belongs there.
    Slots(SlotRule),
}

/// Markers of which the answer's must be made red.
#[derive(Debug, Clone)]
pub struct MarkerRule {
    /// Centres, in the order of the record's options, pixels.
    pub points: Vec<[f64; 2]>,
    /// Outer radius of a marker, pixels.
    pub radius: f64,
}

/// Where the cells of a maze lie.
#[derive(Debug, Clone)]
pub struct RouteRule {
    /// The cell every pixel belongs to.
    pub cells: CellMap,
    /// Middle of every cell, pixels.
    pub centers: BTreeMap<CellId, [f64; 2]>,
}

/// Places that must be filled.
#[derive(Debug, Clone)]
pub struct SlotRule {
    /// The places; all must be right.
    pub slots: Vec<Slot>,
    /// Everything outside the places must stay as it was.
    pub keeps_rest: bool,
}

/// One place of a picture.
#[derive(Debug, Clone)]
pub struct Slot {
    /// How a reason names it, e.g. `row 2, column 3`.
    pub name: String,
    /// Where it is.
    pub area: Area,
    /// What must be seen there.
    pub expect: Expect,
}

/// A part of a picture, pixels.
#[derive(Debug, Clone, PartialEq)]
pub enum Area {
    /// A filled circle.
    Disc {
        /// Centre.
        center: [f64; 2],
        /// Radius.
        radius: f64,
    },
    /// The inside of a closed polygon.
    Polygon(Vec<[f64; 2]>),
    /// Left, top, right, bottom.
    Rect([f64; 4]),
}

/// What a place must show.
#[derive(Debug, Clone)]
pub enum Expect {
    /// A flat colour.
    Color {
        /// The right one.
        right: Rgb,
        /// What it could be mistaken for.
        others: Vec<Rgb>,
    },
    /// One of several drawings, each a whole picture of which only the place is compared.
    Drawing {
        /// The right one among `choices`.
        right: usize,
        /// Name and picture; all of the puzzle's size.
        choices: Vec<(String, RgbImage)>,
    },
}
