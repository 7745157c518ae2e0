//! Puzzle and solution, and a picture laid over them.

use std::ops::Range;
use std::sync::OnceLock;

use image::RgbImage;

use super::pixels::{each_run, page_color};
use super::tiles::{Grid, Rect};

/// Puzzle and solution of one size, and what is found out about them when it is first asked for.
pub(super) struct Sheet {
    pub(super) grid: Grid,
    pub(super) size: [u32; 2],
    pub(super) puzzle: RgbImage,
    pub(super) solution: RgbImage,
    /// By tile: whether the puzzle has one colour in it and its margin.
    plain: OnceLock<Vec<bool>>,
    page: OnceLock<[u8; 3]>,
}

/// A picture on the puzzle's own grid.
pub(super) struct Overlay<'a> {
    pub(super) picture: &'a RgbImage,
    pub(super) likeness: Likeness,
}

/// How a picture compares with puzzle and solution, tile by tile, each with its margin.
pub(super) struct Likeness {
    /// How far it is from the puzzle, grey levels, or more.
    pub(super) far: Vec<u8>,
    /// Whether it is not the puzzle, but the solution, byte for byte.
    pub(super) solved: Vec<bool>,
}

/// Least share of the drawn tiles that are as known where a picture of the puzzle's size is in place.
const IN_PLACE: f64 = 0.75;

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

    /// Compares a picture of this size.
    pub(super) fn likeness(&self, picture: &RgbImage) -> Likeness {
        let [bytes, puzzle, solution] =
            [picture, &self.puzzle, &self.solution].map(|picture| picture.as_raw());
        let grid = self.grid;
        let differs = grid.differs(bytes, puzzle);
        let tiles = differs
            .iter()
            .enumerate()
            .map(|(at, differs)| match differs {
                false => (0, false),
                true if grid.is_same_around(bytes, solution, at) => (255, true),
                true => (grid.distance(bytes, puzzle, at), false),
            });
        let (far, solved) = tiles.unzip();
        Likeness { far, solved }
    }

    /// Whether a picture can only lie in place: most of what is drawn is the puzzle's or the
    /// solution's, byte for byte.
    pub(super) fn is_in_place(&self, likeness: &Likeness) -> bool {
        let tiles = likeness.far.iter().zip(&likeness.solved);
        let is_known = tiles.map(|(far, solved)| *far == 0 || *solved);
        if is_known.clone().all(|known| known) {
            return true;
        }
        let mut counts = [0usize; 2];
        let drawn = is_known.enumerate().filter(|(at, _)| !self.is_plain(*at));
        drawn.for_each(|(_, known)| counts[usize::from(known)] += 1);
        let [other, same] = counts.map(|count| count as f64);
        same > 0.0 && same >= IN_PLACE * (other + same)
    }

    /// Whether the puzzle has one colour in tile `at` and its margin.
    pub(super) fn is_plain(&self, at: usize) -> bool {
        let plain = self
            .plain
            .get_or_init(|| self.grid.plain(self.puzzle.as_raw()));
        plain[at]
    }

    /// That colour, where there is one.
    pub(super) fn plain(&self, at: usize) -> Option<[u8; 3]> {
        let tile = self.grid.tile(at);
        let color = || self.puzzle.get_pixel(tile.left as u32, tile.top as u32).0;
        self.is_plain(at).then(color)
    }

    /// What is drawn in a row of tiles: neighbours are one part.
    pub(super) fn drawn(&self, band: Range<usize>) -> impl Iterator<Item = Rect> {
        let mut tiles = band.filter(|at| !self.is_plain(*at)).peekable();
        std::iter::from_fn(move || {
            let first = tiles.next()?;
            let mut last = first;
            while let Some(next) = tiles.next_if(|next| *next == last + 1) {
                last = next;
            }
            let [first, last] = [first, last].map(|at| self.grid.tile(at));
            Some(Rect {
                right: last.right,
                ..first
            })
        })
    }

    /// The colour most of the puzzle has.
    pub(super) fn page(&self) -> [u8; 3] {
        *self.page.get_or_init(|| {
            let guess = self.plain_page();
            page_color(guess, self.grid.width * self.grid.height, |add| {
                for at in 0..self.grid.count() {
                    if let Some(color) = self.plain(at) {
                        add(color, self.grid.tile(at).area());
                    }
                }
                for part in self.grid.bands().flat_map(|band| self.drawn(band)) {
                    for y in part.rows() {
                        let line = self.grid.line(self.puzzle.as_raw(), part, y);
                        each_run(line, |color, run| add(color, run.len()));
                    }
                }
            })
        })
    }

    /// The colour of the first tile that has only one, if that is the colour of most tiles.
    fn plain_page(&self) -> Option<[u8; 3]> {
        let mut colors = (0..self.grid.count()).map(|at| self.plain(at));
        let first = colors.clone().flatten().next()?;
        let count = colors
            .by_ref()
            .filter(|color| *color == Some(first))
            .count();
        (2 * count > self.grid.count()).then_some(first)
    }
}
