//! Pictures in tiles, so that only those are looked at where something is to be seen.

use std::ops::Range;

/// Side of a tile, pixels.
const SIDE: usize = 16;
/// Bytes of a tile's row, of [`MARGIN`] pixels on either side of it, and a few more: whole registers.
const WIDE: usize = 3 * SIDE + 16;
const BEFORE: usize = 8;
/// Every window of the judge reaches this far at most, pixels.
pub(super) const MARGIN: usize = 2;

/// Part of a picture, pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) right: usize,
    pub(super) bottom: usize,
}

impl Rect {
    pub(super) fn rows(&self) -> Range<usize> {
        self.top..self.bottom
    }

    pub(super) fn holds(&self, x: usize, y: usize) -> bool {
        (self.left..self.right).contains(&x) && (self.top..self.bottom).contains(&y)
    }

    pub(super) fn area(&self) -> usize {
        (self.right - self.left) * (self.bottom - self.top)
    }
}

/// How a picture of three bytes a pixel falls into tiles; those at its right and lower edge may be
/// smaller.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub(super) width: usize,
    pub(super) height: usize,
    side: usize,
    across: usize,
    down: usize,
}

/// Bytes of a tile with a margin, as a picture of its own.
///
/// What is worked out on it from windows no wider than the margin is, within the tile, what it
/// would be on the whole picture: where the margin is cut off, so is the picture.
pub(super) struct Patch {
    pub(super) bytes: Vec<u8>,
    /// Where it lies in the picture.
    pub(super) rect: Rect,
}

impl Patch {
    /// Bytes of a row.
    pub(super) fn row(&self) -> usize {
        (self.rect.right - self.rect.left) * 3
    }

    /// What lies within the tile, of bytes laid out as this patch.
    pub(super) fn crop(&self, bytes: &[u8], tile: Rect) -> Vec<u8> {
        let from = 3 * (tile.left - self.rect.left);
        let to = 3 * (tile.right - self.rect.left);
        let lines = bytes.chunks_exact(self.row());
        let lines = lines.skip(tile.top - self.rect.top).take(tile.rows().len());
        let mut inner = Vec::with_capacity(3 * tile.area());
        lines.for_each(|line| inner.extend_from_slice(&line[from..to]));
        inner
    }
}

impl Grid {
    pub(super) fn new(size: [u32; 2]) -> Self {
        Self::of_side(size, SIDE)
    }

    /// One tile that is the whole picture, of which nothing is passed over: what tests compare with.
    #[cfg(test)]
    pub(super) fn whole(size: [u32; 2]) -> Self {
        Self::of_side(size, size[0].max(size[1]) as usize + SIDE)
    }

    fn of_side([width, height]: [u32; 2], side: usize) -> Self {
        let [width, height] = [width, height].map(|side| side as usize);
        Self {
            width,
            height,
            side,
            across: width.div_ceil(side),
            down: height.div_ceil(side),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.across * self.down
    }

    /// The rows of tiles, from the top.
    pub(super) fn bands(&self) -> impl Iterator<Item = Range<usize>> {
        let across = self.across;
        (0..self.down).map(move |band| band * across..(band + 1) * across)
    }

    pub(super) fn tile(&self, at: usize) -> Rect {
        let [left, top] = [at % self.across, at / self.across].map(|part| part * self.side);
        Rect {
            left,
            top,
            right: (left + self.side).min(self.width),
            bottom: (top + self.side).min(self.height),
        }
    }

    /// The tile that holds a pixel.
    pub(super) fn tile_of(&self, x: usize, y: usize) -> usize {
        y / self.side * self.across + x / self.side
    }

    /// Pixels within so many pixels of another, row by row.
    pub(super) fn window(
        &self,
        pixel: usize,
        reach: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let (x, y) = (pixel % self.width, pixel / self.width);
        let (left, right) = (x.saturating_sub(reach), (x + reach + 1).min(self.width));
        let rows = y.saturating_sub(reach)..(y + reach + 1).min(self.height);
        let width = self.width;
        rows.map(move |y| y * width + left..y * width + right)
    }

    /// Bytes of a row of a part of a picture.
    pub(super) fn line<'a>(&self, bytes: &'a [u8], part: Rect, y: usize) -> &'a [u8] {
        let start = y * self.width;
        &bytes[3 * (start + part.left)..3 * (start + part.right)]
    }

    /// A part and a margin, as far as there is one.
    pub(super) fn with_margin(&self, part: Rect, margin: usize) -> Rect {
        Rect {
            left: part.left.saturating_sub(margin),
            top: part.top.saturating_sub(margin),
            right: (part.right + margin).min(self.width),
            bottom: (part.bottom + margin).min(self.height),
        }
    }

    /// Cuts out a part of a picture with a margin.
    pub(super) fn patch(&self, bytes: &[u8], part: Rect, margin: usize) -> Patch {
        let rect = self.with_margin(part, margin);
        let mut cut = Vec::with_capacity(3 * rect.area());
        rect.rows()
            .for_each(|y| cut.extend_from_slice(self.line(bytes, rect, y)));
        Patch { bytes: cut, rect }
    }

    /// Whether two pictures are the same within a tile.
    pub(super) fn is_same(&self, a: &[u8], b: &[u8], tile: Rect) -> bool {
        tile.rows()
            .all(|y| self.line(a, tile, y) == self.line(b, tile, y))
    }

    /// Whether two pictures are the same within a tile and its margin, and a few pixels more; not
    /// told of in pictures narrower than that.
    pub(super) fn is_same_around(&self, a: &[u8], b: &[u8], at: usize) -> bool {
        let same = |from| is_equal(window(a, from), window(b, from));
        self.windows(at)
            .is_some_and(|mut windows| windows.all(same))
    }

    /// For every tile: whether it and its margin have one colour.
    ///
    /// They do where the first row has, and every further row is as the one before it.
    pub(super) fn plain(&self, bytes: &[u8]) -> Vec<bool> {
        let mut plain = vec![false; self.count()];
        let row = 3 * self.width;
        if self.wide(0).is_none() {
            return plain;
        }
        let window = |y: usize, across: usize| -> Option<&[u8; WIDE]> {
            bytes[y * row + self.wide(across * SIDE)?..].first_chunk()
        };
        for (at, plain) in plain.iter_mut().enumerate() {
            let (across, top) = (at % self.across, at / self.across * SIDE);
            let first = window(top.saturating_sub(MARGIN), across);
            *plain = first.is_some_and(|first| first[3..] == first[..WIDE - 3]);
        }
        for y in 1..self.height {
            let (above, here) = (&bytes[(y - 1) * row..y * row], &bytes[y * row..][..row]);
            if above == here {
                continue;
            }
            for across in 0..self.across {
                let [above, here] = [y - 1, y].map(|y| window(y, across));
                if above.zip(here).is_some_and(|(a, b)| !is_equal(a, b)) {
                    self.bands_with(y - 1, y)
                        .for_each(|band| plain[band * self.across + across] = false);
                }
            }
        }
        plain
    }

    /// For every tile: whether two pictures may differ in it and its margin.
    pub(super) fn differs(&self, a: &[u8], b: &[u8]) -> Vec<bool> {
        if self.wide(0).is_none() {
            return vec![true; self.count()];
        }
        let mut differs = vec![false; self.count()];
        // Of a row: which tiles differ, and none beside the picture.
        let mut changed = vec![false; self.across + 2];
        let row = 3 * self.width;
        let lines = a.chunks_exact(row).zip(b.chunks_exact(row));
        for (y, (a, b)) in lines.enumerate().filter(|(_, (a, b))| a != b) {
            note_changes(a, b, &mut changed[1..=self.across]);
            for band in self.bands_with(y, y) {
                let band = &mut differs[band * self.across..][..self.across];
                for (differs, changed) in band.iter_mut().zip(changed.windows(3)) {
                    // The margin is narrower than the tiles beside.
                    *differs |= changed[0] | changed[1] | changed[2];
                }
            }
        }
        differs
    }

    /// The rows of tiles that, with their margins, hold two rows of pixels.
    fn bands_with(&self, first: usize, last: usize) -> Range<usize> {
        last.saturating_sub(MARGIN) / SIDE..((first + MARGIN) / SIDE + 1).min(self.down)
    }

    /// The greatest difference of two pictures in a tile and its margin, or more.
    pub(super) fn distance(&self, a: &[u8], b: &[u8], at: usize) -> u8 {
        let mut most = [0u8; WIDE];
        let Some(windows) = self.windows(at) else {
            return 255;
        };
        for (a, b) in windows.map(|from| (window(a, from), window(b, from))) {
            for (to, (a, b)) in most.iter_mut().zip(a.iter().zip(b)) {
                *to = (*to).max(a.abs_diff(*b));
            }
        }
        most.into_iter().fold(0, u8::max)
    }

    /// Where the windows of a tile begin, row by row.
    fn windows(&self, at: usize) -> Option<impl Iterator<Item = usize> + use<>> {
        let (across, band) = (at % self.across, at / self.across);
        let from = self.wide(across * SIDE)?;
        let last = ((band + 1) * SIDE + MARGIN).min(self.height);
        let row = 3 * self.width;
        let rows = (band * SIDE).saturating_sub(MARGIN)..last;
        Some(rows.map(move |y| y * row + from))
    }

    /// Where, within a row of bytes, a window begins that holds the part of a tile and its margin;
    /// none in pictures narrower than a window.
    fn wide(&self, left: usize) -> Option<usize> {
        let last = (3 * self.width).checked_sub(WIDE);
        let last = last.filter(|_| self.side == SIDE)?;
        Some((3 * left).saturating_sub(BEFORE).min(last))
    }
}

fn window(bytes: &[u8], from: usize) -> &[u8; WIDE] {
    bytes[from..].first_chunk().unwrap_or(&[0; WIDE])
}

/// Notes of each tile's part of a row whether it differs.
fn note_changes(one: &[u8], other: &[u8], changed: &mut [bool]) {
    const TILE: usize = 3 * SIDE;
    let ((some, rest), (others, last)) = (one.as_chunks::<TILE>(), other.as_chunks());
    for (changed, (one, other)) in changed.iter_mut().zip(some.iter().zip(others)) {
        *changed = !is_equal(one, other);
    }
    if !rest.is_empty() {
        changed[some.len()] = rest != last;
    }
}

/// As `==`, which calls a function that is made for longer slices.
#[inline]
fn is_equal<const N: usize>(one: &[u8; N], other: &[u8; N]) -> bool {
    let differs = one.iter().zip(other).map(|(one, other)| one ^ other);
    differs.fold(0, |all, differs| all | differs) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(width: usize, height: usize) -> Vec<u8> {
        (0..3 * width * height)
            .map(|at| (at * at % 251) as u8)
            .collect()
    }

    /// The distance of every tile that differs.
    fn far(grid: Grid, a: &[u8], b: &[u8]) -> Vec<u8> {
        let differs = grid.differs(a, b);
        let tiles = differs.into_iter().enumerate();
        let far = tiles.map(|(at, differs)| match differs {
            true => {
                let far = grid.distance(a, b, at);
                assert_eq!(grid.is_same_around(a, b, at), far == 0, "{at}");
                far
            }
            false => 0,
        });
        far.collect()
    }

    #[test]
    fn tiles_cover_a_picture_once() {
        for size in [[1u32, 1], [16, 16], [17, 40], [480, 33]] {
            let grid = Grid::new(size);
            let mut seen = vec![0; grid.width * grid.height];
            assert_eq!(grid.bands().flatten().count(), grid.count());
            for tile in grid.bands().flatten() {
                let rect = grid.tile(tile);
                for (x, y) in rect
                    .rows()
                    .flat_map(|y| (rect.left..rect.right).map(move |x| (x, y)))
                {
                    seen[y * grid.width + x] += 1;
                    assert_eq!(grid.tile_of(x, y), tile);
                }
            }
            assert!(seen.iter().all(|count| *count == 1));
        }
    }

    #[test]
    fn a_patch_is_part_of_the_picture_and_holds_its_tile() {
        let grid = Grid::new([50, 40]);
        let whole = bytes(50, 40);
        for at in 0..grid.count() {
            let tile = grid.tile(at);
            let patch = grid.patch(&whole, tile, MARGIN);
            let own: Vec<u8> = tile
                .rows()
                .flat_map(|y| grid.line(&whole, tile, y).to_vec())
                .collect();
            assert_eq!(patch.crop(&patch.bytes, tile), own);
            assert!(patch.rect.left + MARGIN >= tile.left && patch.rect.right <= 50);
        }
    }

    /// A change is told of in the tile it is in, and in every tile within the margin.
    #[test]
    fn every_difference_is_seen_from_as_far_as_the_margin() {
        for size in [[21u32, 20], [22, 18], [64, 50], [100, 37]] {
            let grid = Grid::new(size);
            let (width, height) = (grid.width, grid.height);
            let page = [[200u8, 100, 50]; 1].concat().repeat(width * height);
            assert!(
                grid.plain(&page)
                    .iter()
                    .all(|plain| *plain == (width >= 22))
            );
            for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
                let mut other = page.clone();
                other[3 * (y * width + x) + (x + y) % 3] += 9;
                let far = far(grid, &page, &other);
                let plain = grid.plain(&other);
                for (at, far) in far.iter().enumerate().take(grid.count()) {
                    let tile = grid.tile(at);
                    let near = (tile.left..tile.right + MARGIN).contains(&x.max(tile.left))
                        && x + MARGIN >= tile.left
                        && y + MARGIN >= tile.top
                        && y < tile.bottom + MARGIN
                        && x < tile.right + MARGIN;
                    if near {
                        assert!(*far >= 9, "{size:?} {x} {y} {at}");
                        assert!(!plain[at], "{size:?} {x} {y} {at}");
                    }
                    // Windows hold a few pixels more than the margin.
                    let is_beyond = x + 7 < tile.left
                        || x > tile.right + 7
                        || y + MARGIN < tile.top
                        || y >= tile.bottom + MARGIN;
                    if is_beyond && width >= 22 && tile.left + SIDE <= width {
                        assert!(plain[at] && *far == 0, "{size:?} {x} {y} {at}");
                    }
                }
            }
            if width >= 22 {
                assert!(far(grid, &page, &page).iter().all(|far| *far == 0));
            }
        }
    }
}
