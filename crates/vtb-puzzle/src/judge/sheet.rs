//! Puzzle and solution, and a picture laid over them.

use std::sync::OnceLock;

use image::RgbImage;

use super::pixels::{PageColor, each_run};
use super::tiles::Grid;

/// Puzzle and solution of one size, and what is found out about them when it is first asked for.
pub(super) struct Sheet {
    pub(super) grid: Grid,
    pub(super) size: [u32; 2],
    pub(super) puzzle: RgbImage,
    pub(super) solution: RgbImage,
    plain: OnceLock<Vec<Option<[u8; 3]>>>,
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
            plain: OnceLock::new(),
            page: OnceLock::new(),
        }
    }

    /// As [`Grid::far`] has it, from the puzzle.
    pub(super) fn far(&self, picture: &RgbImage) -> Vec<u8> {
        self.grid.far(picture.as_raw(), self.puzzle.as_raw())
    }

    /// The puzzle's colour in every tile, where it and its margin have only one.
    pub(super) fn plain(&self) -> &[Option<[u8; 3]>] {
        let plain = || self.grid.plain(self.puzzle.as_raw());
        self.plain.get_or_init(plain)
    }

    /// The colour most of the puzzle has.
    pub(super) fn page(&self) -> [u8; 3] {
        *self.page.get_or_init(|| {
            let mut page = PageColor::new();
            for (tile, plain) in self.grid.tiles().zip(self.plain()) {
                match plain {
                    Some(color) => page.add(*color, tile.area() as u64),
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
