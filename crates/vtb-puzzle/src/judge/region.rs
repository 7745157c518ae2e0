//! Which pixels may change.

use std::sync::OnceLock;

use super::tiles::{Grid, Rect};

/// Pixels of this region may change.
pub(super) const FREE: u8 = 255;
/// The outermost pixels may change: a fraction of a pixel off, they show what lies beside the
/// picture.
const RIM: usize = 3;

/// The part of the picture that every pixel belongs to.
pub(super) enum Regions {
    /// All belong to one, 0.
    One,
    /// All may change.
    Free,
    /// A region for every pixel, row by row.
    Plane(Plane),
}

/// A plane that is made when it is first asked for.
pub(super) struct Plane {
    known: OnceLock<Vec<u8>>,
    make: Box<dyn Fn() -> Vec<u8> + Send + Sync>,
}

impl Regions {
    /// Those that `make` gives.
    pub(super) fn by(make: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::Plane(Plane {
            known: OnceLock::new(),
            make: Box::new(make),
        })
    }

    /// The region of a pixel within the rim.
    pub(super) fn at(&self, pixel: usize) -> u8 {
        match self {
            Self::One => 0,
            Self::Free => FREE,
            Self::Plane(plane) => plane.bytes()[pixel],
        }
    }

    /// The region of all pixels of a part within the rim, where they have one.
    pub(super) fn whole(&self, grid: Grid, part: Rect) -> Option<u8> {
        let first = self.at(part.top * grid.width + part.left);
        let Self::Plane(plane) = self else {
            return Some(first);
        };
        let line = |y: usize| &plane.bytes()[y * grid.width..][part.left..part.right];
        let is_one = |y: usize| line(y).iter().fold(0, |all, at| all | (at ^ first)) == 0;
        part.rows().all(is_one).then_some(first)
    }
}

impl Plane {
    fn bytes(&self) -> &[u8] {
        self.known.get_or_init(|| (self.make)())
    }
}

/// What lies within the rim of a picture; empty in a small one.
pub(super) fn within_rim(grid: Grid, tile: Rect) -> Rect {
    let [left, top] = [tile.left.max(RIM), tile.top.max(RIM)];
    Rect {
        left,
        top,
        right: tile.right.min(grid.width.saturating_sub(RIM)).max(left),
        bottom: tile.bottom.min(grid.height.saturating_sub(RIM)).max(top),
    }
}
