//! Tiles of a picture, and whether they can be told apart and put together.

use image::RgbImage;

use crate::draw::Canvas;

/// Squares along a side of a tile whose mean colours stand for the tile.
const BLOCKS: u32 = 8;

/// A picture cut into rows and columns of square tiles.
pub(crate) struct Cut<'a> {
    /// The picture, `cols * side` by `rows * side` pixels.
    pub(crate) picture: &'a RgbImage,
    /// Rows of tiles.
    pub(crate) rows: u32,
    /// Columns of tiles.
    pub(crate) cols: u32,
    /// Side of a tile, pixels.
    pub(crate) side: u32,
    /// Tiles may be turned.
    pub(crate) turned: bool,
}

/// One tile, turned clockwise by some quarter turns.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    picture: &'a RgbImage,
    corner: [u32; 2],
    side: u32,
    turn: u8,
}

impl Tile<'_> {
    /// The pixel at a place within the tile as it lies.
    pub(crate) fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let last = self.side - 1;
        let (x, y) = match self.turn % 4 {
            0 => (x, y),
            1 => (y, last - x),
            2 => (last - x, last - y),
            _ => (last - y, x),
        };
        self.picture
            .get_pixel(self.corner[0] + x, self.corner[1] + y)
            .0
    }

    /// Draws the tile with its left top corner at `at`.
    pub(crate) fn paste(&self, canvas: &mut Canvas, at: [i32; 2]) {
        for y in 0..self.side {
            for x in 0..self.side {
                let place = [at[0] + x as i32, at[1] + y as i32];
                canvas.dot(place[0], place[1], self.pixel(x, y));
            }
        }
    }

    /// Mean colours of its blocks, row by row.
    fn blocks(&self) -> Vec<f64> {
        let mut means = Vec::new();
        let edge = |at: u32| at * self.side / BLOCKS;
        for row in 0..BLOCKS {
            for column in 0..BLOCKS {
                let mut sums = [0_u32; 3];
                for y in edge(row)..edge(row + 1) {
                    for x in edge(column)..edge(column + 1) {
                        let pixel = self.pixel(x, y);
                        (0..3).for_each(|at| sums[at] += u32::from(pixel[at]));
                    }
                }
                let count = (edge(row + 1) - edge(row)) * (edge(column + 1) - edge(column));
                means.extend(sums.map(|sum| f64::from(sum) / f64::from(count.max(1))));
            }
        }
        means
    }
}

impl<'a> Cut<'a> {
    /// The tile of this row and column, turned.
    pub(crate) fn tile(&self, row: u32, column: u32, turn: u8) -> Tile<'a> {
        Tile {
            picture: self.picture,
            corner: [column * self.side, row * self.side],
            side: self.side,
            turn,
        }
    }

    fn turns(&self) -> u8 {
        if self.turned { 4 } else { 1 }
    }

    fn places(&self) -> impl Iterator<Item = [u32; 2]> + use<> {
        let (rows, cols) = (self.rows, self.cols);
        (0..rows).flat_map(move |row| (0..cols).map(move |column| [row, column]))
    }

    /// Every tile in every turn it may have.
    fn variants(&self) -> impl Iterator<Item = ([u32; 2], u8)> + use<> {
        let turns = self.turns();
        self.places()
            .flat_map(move |place| (0..turns).map(move |turn| (place, turn)))
    }

    /// Mean difference, grey levels, of the two tiles most alike; a turned tile counts as another.
    pub(crate) fn least_difference(&self) -> f64 {
        let mut variants = Vec::new();
        for place in self.places() {
            let mut blocks = self.tile(place[0], place[1], 0).blocks();
            for turn in 0..self.turns() {
                let next = turned_blocks(&blocks);
                variants.push((place, turn, std::mem::replace(&mut blocks, next)));
            }
        }
        let mut least = f64::INFINITY;
        for (place, _, upright) in variants.iter().filter(|(_, turn, _)| *turn == 0) {
            for (other, turn, blocks) in &variants {
                if (place, 0) != (other, *turn) {
                    least = least.min(mean_difference(upright, blocks));
                }
            }
        }
        least
    }

    /// The other tiles, upright, those that look most like the one at `place` first.
    pub(crate) fn most_alike(&self, place: [u32; 2]) -> Vec<[u32; 2]> {
        let blocks = |[row, column]: [u32; 2]| self.tile(row, column, 0).blocks();
        let own = blocks(place);
        let others = self.places().filter(|other| *other != place);
        let mut scored: Vec<_> = others
            .map(|other| (mean_difference(&own, &blocks(other)), other))
            .collect();
        scored.sort_by(|a, b| a.0.total_cmp(&b.0));
        scored.into_iter().map(|(_, other)| other).collect()
    }

    /// At every seam, from either side, the right neighbour fits better than any other tile does.
    pub(crate) fn seams_hold(&self) -> bool {
        let inner = self.places().flat_map(|[row, column]| {
            let right = (column + 1 < self.cols).then_some(([row, column + 1], 0));
            let below = (row + 1 < self.rows).then_some(([row + 1, column], 1));
            let here = [row, column];
            [right, below]
                .into_iter()
                .flatten()
                .flat_map(move |(next, side)| [(here, next, side), (next, here, side + 2)])
        });
        let mut seams = inner.collect::<Vec<_>>().into_iter();
        seams.all(|(here, next, side)| self.seam_is_clear(here, next, side))
    }

    /// `next` continues `here` beyond its side: 0 right, 1 below, 2 left, 3 above.
    fn seam_is_clear(&self, here: [u32; 2], next: [u32; 2], side: u8) -> bool {
        // A wrong tile must fit worse by this factor and by this many grey levels.
        const FACTOR: f64 = 1.3;
        const LEVELS: f64 = 3.0;
        let own = self.edge(here, 0, side);
        let cost = |place: [u32; 2], turn: u8| {
            mean_difference(&own, &self.edge(place, turn, (side + 2) % 4))
        };
        let right = cost(next, 0);
        self.variants()
            .filter(|&(place, turn)| place != here && (place, turn) != (next, 0))
            .all(|(place, turn)| cost(place, turn) > FACTOR * right + LEVELS)
    }

    /// Pixels along a side, from left to right or from top to bottom.
    fn edge(&self, [row, column]: [u32; 2], turn: u8, side: u8) -> Vec<f64> {
        let tile = self.tile(row, column, turn);
        let last = self.side - 1;
        let along = (0..self.side).flat_map(|at| {
            let (x, y) = match side {
                0 => (last, at),
                1 => (at, last),
                2 => (0, at),
                _ => (at, 0),
            };
            tile.pixel(x, y).map(f64::from)
        });
        along.collect()
    }
}

/// Blocks of a tile turned clockwise once more.
fn turned_blocks(blocks: &[f64]) -> Vec<f64> {
    let last = BLOCKS as usize - 1;
    let places = (0..=last).flat_map(|row| (0..=last).map(move |column| (row, column)));
    let source = places.map(|(row, column)| (last - column) * BLOCKS as usize + row);
    source
        .flat_map(|at| blocks[3 * at..3 * at + 3].iter().copied())
        .collect()
}

fn mean_difference(one: &[f64], other: &[f64]) -> f64 {
    let sum: f64 = one.iter().zip(other).map(|(a, b)| (a - b).abs()).sum();
    sum / one.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> RgbImage {
        RgbImage::from_fn(32, 16, |x, y| image::Rgb([x as u8 * 7, y as u8 * 15, 0]))
    }

    fn cut(picture: &RgbImage, turned: bool) -> Cut<'_> {
        Cut {
            picture,
            rows: 1,
            cols: 2,
            side: 16,
            turned,
        }
    }

    #[test]
    fn tiles_are_turned_clockwise() {
        let picture = picture();
        let cut = cut(&picture, true);
        let corner = picture.get_pixel(16, 0).0;
        for (turn, [x, y]) in [[0, 0], [15, 0], [15, 15], [0, 15]].into_iter().enumerate() {
            let tile = cut.tile(0, 1, turn as u8);
            assert_eq!(tile.pixel(x, y), corner, "turn {turn}");
        }
    }

    #[test]
    fn blocks_turn_with_their_tile() {
        let picture = picture();
        let cut = cut(&picture, true);
        let turned = turned_blocks(&cut.tile(0, 1, 0).blocks());
        assert_eq!(turned, cut.tile(0, 1, 1).blocks());
    }

    #[test]
    fn alike_tiles_and_open_seams_are_found() {
        let picture = picture();
        assert!(cut(&picture, false).least_difference() > 20.0);
        assert!(cut(&picture, false).seams_hold());
        assert_eq!(cut(&picture, false).most_alike([0, 0]), [[0, 1]]);
        let flat = RgbImage::new(32, 16);
        assert_eq!(cut(&flat, false).least_difference(), 0.0);
        assert!(!cut(&flat, true).seams_hold());
    }
}
