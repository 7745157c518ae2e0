//! Puzzle and solution, and a picture laid over them.

use std::sync::OnceLock;

use image::RgbImage;

use super::pixels::{PageColor, each_run};
use super::tiles::{Grid, Rect};

/// Puzzle and solution of one size, and what is found out about them when it is first asked for.
pub(super) struct Sheet {
    pub(super) grid: Grid,
    pub(super) size: [u32; 2],
    pub(super) puzzle: RgbImage,
    pub(super) solution: RgbImage,
    page: OnceLock<[u8; 3]>,
}

/// A picture on the puzzle's own grid.
pub(super) struct Overlay<'a> {
    pub(super) picture: &'a RgbImage,
    /// How far every tile and its margin is from the puzzle, grey levels; it may be less.
    pub(super) far: Vec<u8>,
}

impl Sheet {
    pub(super) fn new(puzzle: RgbImage, solution: RgbImage) -> Self {
        let size = [puzzle.width(), puzzle.height()];
        Self {
            grid: Grid::new(size),
            size,
            puzzle,
            solution,
            page: OnceLock::new(),
        }
    }

    /// As [`Grid::far`] has it, from the puzzle.
    pub(super) fn far(&self, picture: &RgbImage) -> Vec<u8> {
        self.grid.far(picture.as_raw(), self.puzzle.as_raw())
    }

    /// The puzzle's colour within a tile and its margin, where it has only one.
    pub(super) fn plain(&self, tile: Rect) -> Option<[u8; 3]> {
        let color = || self.puzzle.get_pixel(tile.left as u32, tile.top as u32).0;
        let is_plain = self.grid.is_plain(self.puzzle.as_raw(), tile);
        is_plain.then(color)
    }

    /// The colour most of the puzzle has.
    pub(super) fn page(&self) -> [u8; 3] {
        *self.page.get_or_init(|| {
            let mut page = PageColor::new();
            for tile in self.grid.tiles() {
                match self.plain(tile) {
                    Some(color) => page.add(color, tile.area() as u64),
                    None => tile.rows().for_each(|y| {
                        let line = self.grid.line(self.puzzle.as_raw(), tile, y);
                        each_run(line, |color, run| page.add(color, run.len() as u64));
                    }),
                }
            }
            page.find()
        })
    }
}
