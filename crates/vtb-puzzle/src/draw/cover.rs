//! Lines through several points, and polygons.

use std::cell::Cell;
use std::ops::Range;

use tiny_skia::{FillRule, Mask, PathBuilder, Transform};

use super::canvas::{Canvas, Mixture, Rgb, share};
use super::pen::Pen;
use super::surface::{Surface, ceil, floor};

/// How much of each pixel of a part of the picture is covered, in 255ths: where parts of one shape
/// overlap, they cover no more than one of them.
pub(super) struct Cover {
    left: i32,
    top: i32,
    width: usize,
    height: usize,
    /// By row: some more than the width, whole blocks; and nothing behind the last row. Empty before
    /// anything is covered.
    shares: Vec<u8>,
    /// By row: which of its blocks have anything, as bits. Most of a line's box is bare.
    inked: Vec<u64>,
}

/// Pixels of a block.
const BLOCK: usize = 16;

thread_local! {
    /// Shares of the last shape, bare again: asking for so many takes as long as a line.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
/// Most that are kept.
const MOST_SPARE: usize = 4 << 20;

impl Cover {
    /// An empty one, large enough for a line of this width; `None` outside the picture.
    pub(super) fn about(points: &[[f64; 2]], line: f64, size: [i32; 2]) -> Option<Self> {
        let reach = line / 2.0 + 1.0;
        let edge = |axis: usize| {
            let parts = points.iter().map(|point| point[axis]);
            let low = parts.clone().fold(f64::INFINITY, f64::min) - reach;
            let high = parts.fold(f64::NEG_INFINITY, f64::max) + reach;
            let low = floor(low).clamp(0, size[axis]);
            (low, ceil(high).clamp(low, size[axis]))
        };
        let ((left, right), (top, bottom)) = (edge(0), edge(1));
        let [width, height] = [right - left, bottom - top].map(|side| side as usize);
        (width * height > 0).then(|| {
            let inked = vec![0; width.div_ceil(64 * BLOCK) * height];
            Self {
                left,
                top,
                width,
                height,
                shares: Vec::new(),
                inked,
            }
        })
    }

    /// Shares of a row.
    fn row(&self) -> usize {
        self.width.next_multiple_of(BLOCK)
    }

    /// Words of a row's blocks.
    fn words(&self) -> usize {
        self.width.div_ceil(64 * BLOCK)
    }

    /// Draws a line of this half thickness, and paints what it covers.
    pub(super) fn draw(mut self, points: &[[f64; 2]], half: f64, canvas: &mut Canvas, color: Rgb) {
        self.shares = SPARE.take();
        let count = self.row() * self.height;
        if self.shares.len() < count {
            self.shares.resize(count, 0);
        }
        let cover = &mut self;
        pulp::Arch::new().dispatch(Draw {
            cover,
            points,
            half,
        });
        self.paint::<true>(canvas, color);
        if self.shares.len() <= MOST_SPARE {
            SPARE.set(self.shares);
        }
    }

    /// A row, and which part of it. All of a line lies inside by construction; rounding may disagree
    /// by a pixel.
    #[inline(always)]
    fn part(&mut self, row: i32, columns: &Range<i32>) -> Option<(Range<usize>, &mut [u8])> {
        let first = columns.start.max(self.left);
        if row < self.top || first >= columns.end {
            return None;
        }
        let row = (row - self.top) as usize;
        let [from, to] = [first, columns.end].map(|at| (at - self.left) as usize);
        let inked = row * self.words();
        for block in from / BLOCK..to.div_ceil(BLOCK) {
            self.inked[inked + block / 64] |= 1 << (block % 64);
        }
        let length = self.row();
        let start = row * length;
        Some((from..to, &mut self.shares[start..start + length]))
    }

    /// Fills the polygon through the points.
    pub(super) fn fill(mut self, points: &[[f64; 2]], canvas: &mut Canvas, color: Rgb) {
        let mut path = PathBuilder::new();
        for (at, [x, y]) in points.iter().enumerate() {
            let [x, y] = [x - f64::from(self.left), y - f64::from(self.top)];
            match at {
                0 => path.move_to(x as f32, y as f32),
                _ => path.line_to(x as f32, y as f32),
            }
        }
        path.close();
        let mask = Mask::new(self.row() as u32, self.height as u32);
        if let (Some(path), Some(mut mask)) = (path.finish(), mask) {
            mask.fill_path(&path, FillRule::Winding, true, Transform::identity());
            self.shares = mask.take();
            self.inked.fill(!0);
            self.paint::<false>(canvas, color);
        }
    }

    /// Paints what is covered; it is bare then if it is to be used again.
    fn paint<const AGAIN: bool>(&mut self, canvas: &mut Canvas, color: Rgb) {
        let known = Mixture::new(canvas.color_at(self.left, self.top), color);
        let (length, words) = (self.row(), self.words());
        let rows = self.shares.chunks_exact_mut(length);
        for (row, (shares, inked)) in (self.top..).zip(rows.zip(self.inked.chunks_exact(words))) {
            for (first, word) in (0..).step_by(64).zip(inked) {
                let mut word = *word;
                while word != 0 {
                    let from = BLOCK * (first + word.trailing_zeros() as usize);
                    word &= word - 1;
                    let Some(some) = shares.get_mut(from..(from + BLOCK).min(self.width)) else {
                        break;
                    };
                    let column = self.left + from as i32;
                    match some.first_chunk() {
                        Some(block) => paint_block(canvas, row, column, block, &known),
                        None => canvas.mix_known(row, column, some, &known),
                    }
                    if AGAIN {
                        some.fill(0);
                    }
                }
            }
        }
    }
}

fn paint_block(canvas: &mut Canvas, row: i32, column: i32, shares: &[u8; BLOCK], known: &Mixture) {
    let bits = u128::from_le_bytes(*shares);
    if bits == 0 {
        return;
    }
    if bits == u128::MAX {
        canvas.span(row, column..column + BLOCK as i32, known.color);
        return;
    }
    let first = bits.trailing_zeros() as usize / 8;
    let last = BLOCK - bits.leading_zeros() as usize / 8;
    canvas.mix_known(row, column + first as i32, &shares[first..last], known);
}

/// Draws a line, by code for the vectors that this processor has.
struct Draw<'a> {
    cover: &'a mut Cover,
    points: &'a [[f64; 2]],
    half: f64,
}

impl pulp::NullaryFnOnce for Draw<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let cover = self.cover;
        let corner = [
            cover.left + cover.width as i32,
            cover.top + cover.height as i32,
        ];
        let mut pens = self.points.windows(2);
        let Some(&[a, b]) = pens.next() else {
            return;
        };
        let mut pen = Pen::new([a, b], self.half);
        loop {
            let next = pens.next().and_then(|pair| pair.first_chunk());
            let mut next = next.map(|ends| Pen::new(*ends, self.half));
            if let Some(next) = &mut next {
                pen.join(next);
            }
            pen.draw(corner, cover);
            match next {
                Some(next) => pen = next,
                None => return,
            }
        }
    }
}

impl Surface for Cover {
    #[inline(always)]
    fn whole(&mut self, row: i32, columns: Range<i32>) {
        if let Some((columns, shares)) = self.part(row, &columns) {
            shares[columns].fill(255);
        }
    }

    #[inline(always)]
    fn edge(&mut self, row: i32, columns: Range<i32>, coverage: impl Fn(i32) -> f32) {
        let left = self.left;
        if let Some((columns, shares)) = self.part(row, &columns) {
            let first = columns.start as i32 + left;
            for (old, column) in shares[columns].iter_mut().zip(first..) {
                *old = (*old).max(share(coverage(column)));
            }
        }
    }
}
