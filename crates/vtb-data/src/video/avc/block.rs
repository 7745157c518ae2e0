//! Macroblocks: predicted, transformed, quantized, written, and put together again as a decoder
//! will.

use super::bits::BitWriter;
use super::cavlc::{Around, write_block};
use super::tables::INTER_PATTERN;
use super::transform::{Quantizer, ZIGZAG, forward, hadamard, hadamard4, inverse};
use crate::video::color::Planes;

/// A plane of the picture as the decoder has it.
struct Plane {
    samples: Vec<u8>,
    stride: usize,
    /// Coefficients of every block of 4x4 in this frame, row by row.
    counts: Vec<u8>,
}

impl Plane {
    fn new([across, down]: [usize; 2], side: usize) -> Self {
        Self {
            samples: vec![0; across * side * down * side],
            stride: across * side,
            counts: vec![0; across * down * side * side / 16],
        }
    }

    fn around(&self, [x, y]: [usize; 2]) -> Around {
        let row = self.stride / 4;
        let at = y * row + x;
        Around::Count(match (x > 0, y > 0) {
            (true, true) => (self.counts[at - 1] + self.counts[at - row]).div_ceil(2),
            (true, false) => self.counts[at - 1],
            (false, true) => self.counts[at - row],
            (false, false) => 0,
        })
    }

    /// The samples just above a square, where there are any.
    fn above(&self, [x, y]: [usize; 2], count: usize) -> Option<&[u8]> {
        let at = y.checked_sub(1)? * self.stride + x;
        Some(&self.samples[at..at + count])
    }

    /// Those just to the left of it, `N` of them.
    fn left<const N: usize>(&self, [x, y]: [usize; 2]) -> Option<[u8; N]> {
        let x = x.checked_sub(1)?;
        Some(std::array::from_fn(|row| {
            self.samples[(y + row) * self.stride + x]
        }))
    }
}

/// A square of samples, row by row; the luma of a macroblock has a side of 16, its chroma of 8.
type Square = [u8; 256];

/// One plane of a macroblock between prediction and decoder.
struct Part {
    side: usize,
    wanted: Square,
    guess: Square,
    /// Quantized coefficients of each block of 4x4, row by row.
    levels: [[i32; 16]; 16],
    /// Whether a block has any, the first apart where it goes its own way.
    coded: [bool; 16],
}

/// Blocks of 4x4 in the order in which they are written: place in the macroblock.
const ORDER: [[usize; 2]; 16] = {
    let mut order = [[0; 2]; 16];
    let mut at = 0;
    while at < 16 {
        order[at] = [at & 1 | at >> 1 & 2, at >> 1 & 1 | at >> 2 & 2];
        at += 1;
    }
    order
};

impl Part {
    fn new(side: usize, wanted: &[u8], stride: usize, [x, y]: [usize; 2]) -> Self {
        let mut part = Self {
            side,
            wanted: [0; 256],
            guess: [0; 256],
            levels: [[0; 16]; 16],
            coded: [false; 16],
        };
        for (row, to) in part.wanted[..side * side]
            .chunks_exact_mut(side)
            .enumerate()
        {
            let from = (y + row) * stride + x;
            to.copy_from_slice(&wanted[from..from + side]);
        }
        part
    }

    /// Takes what the decoder has there as the guess.
    fn guess_same(&mut self, plane: &Plane, [x, y]: [usize; 2]) {
        let side = self.side;
        for (row, to) in self.guess[..side * side].chunks_exact_mut(side).enumerate() {
            let from = (y + row) * plane.stride + x;
            to.copy_from_slice(&plane.samples[from..from + side]);
        }
    }

    fn is_guessed(&self) -> bool {
        let all = self.side * self.side;
        self.wanted[..all] == self.guess[..all]
    }

    /// Transforms and quantizes what the guess lacks. With `apart`, the first coefficient of each
    /// block is handed out instead.
    fn transform(&mut self, quantizer: &Quantizer, apart: bool) -> [i32; 16] {
        let mut first = [0; 16];
        if self.is_guessed() {
            return first;
        }
        let across = self.side / 4;
        let blocks = self.levels.iter_mut().zip(&mut first).take(across * across);
        for (block, (levels, first)) in blocks.enumerate() {
            let at = block / across * 4 * self.side + block % across * 4;
            let place = |i: usize| at + i / 4 * self.side + i % 4;
            let mut any = 0;
            for (i, level) in levels.iter_mut().enumerate() {
                *level = i32::from(self.wanted[place(i)]) - i32::from(self.guess[place(i)]);
                any |= *level;
            }
            if any == 0 {
                continue;
            }
            forward(levels);
            if apart {
                *first = std::mem::take(&mut levels[0]);
            }
            quantizer.quantize(levels);
            self.coded[block] = levels.iter().any(|level| *level != 0);
        }
        first
    }

    /// Adds what was coded to the guess and hands it to the plane. `first` holds the first
    /// coefficients of the blocks, where they went their own way.
    fn rebuild(
        &mut self,
        quantizer: &Quantizer,
        first: Option<&[i32; 16]>,
        plane: &mut Plane,
        [x, y]: [usize; 2],
    ) {
        let (side, across) = (self.side, self.side / 4);
        for block in 0..across * across {
            let dc = first.map_or(0, |first| first[block]);
            if !self.coded[block] && dc == 0 {
                continue;
            }
            let mut change = self.levels[block];
            quantizer.rescale(&mut change);
            if first.is_some() {
                change[0] = dc;
            }
            inverse(&mut change);
            let at = block / across * 4 * side + block % across * 4;
            for (i, change) in change.into_iter().enumerate() {
                let sample = &mut self.guess[at + i / 4 * side + i % 4];
                *sample = (i32::from(*sample) + change).clamp(0, 255) as u8;
            }
        }
        for (row, from) in self.guess[..side * side].chunks_exact(side).enumerate() {
            let to = (y + row) * plane.stride + x;
            plane.samples[to..to + side].copy_from_slice(from);
        }
    }

    /// Writes a block; from its second coefficient on where the first went its own way.
    fn write(
        &self,
        block: usize,
        from: usize,
        plane: &mut Plane,
        at: [usize; 2],
        out: &mut BitWriter,
    ) {
        let levels = ZIGZAG.map(|i| self.levels[block][i] as i16);
        let count = write_block(out, &levels[from..], plane.around(at));
        plane.counts[at[1] * plane.stride / 4 + at[0]] = count;
    }
}

/// The picture as the decoder has it, and how it is brought up to date.
pub(super) struct Picture {
    blocks: [usize; 2],
    planes: [Plane; 3],
    luma: Quantizer,
    chroma: Quantizer,
}

impl Picture {
    /// So many macroblocks across and down.
    pub(super) fn new(blocks: [usize; 2], quantizer: u8) -> Self {
        Self {
            blocks,
            planes: [16, 8, 8].map(|side| Plane::new(blocks, side)),
            luma: Quantizer::new(quantizer),
            chroma: Quantizer::new(chroma_quantizer(quantizer)),
        }
    }

    fn begin(&mut self) {
        self.planes
            .iter_mut()
            .for_each(|plane| plane.counts.fill(0));
    }

    /// Every macroblock afresh.
    pub(super) fn write_whole(&mut self, source: &Planes, out: &mut BitWriter) {
        self.begin();
        for y in 0..self.blocks[1] {
            for x in 0..self.blocks[0] {
                self.write_fresh(source, [x, y], out);
            }
        }
    }

    /// The macroblocks that `source` says have changed, added to the frame before.
    pub(super) fn write_changes(&mut self, source: &Planes, out: &mut BitWriter) {
        self.begin();
        let mut passed = 0;
        for (at, changed) in source.changed().iter().enumerate() {
            let place = [at % self.blocks[0], at / self.blocks[0]];
            if !(*changed && self.write_change(source, place, &mut passed, out)) {
                passed += 1;
            }
        }
        if passed > 0 {
            out.ue(passed);
        }
    }

    /// One macroblock, predicted from those to the left and above (Intra_16x16).
    fn write_fresh(&mut self, source: &Planes, at: [usize; 2], out: &mut BitWriter) {
        let [x, y] = at;
        let corner = [16 * x, 16 * y];
        let mut luma = Part::new(16, &source.y, source.stride, corner);
        let mode = guess_luma(&mut luma, &self.planes[0], corner);
        let mut first = luma.transform(&self.luma, true);
        hadamard(&mut first);
        let first = first.map(|value| self.luma.quantize_dc((value + 1) >> 1));
        let [mut u, mut v] = self.chroma_parts(source, at);
        let tints = [
            guess_chroma(&mut u, &self.planes[1], at, &self.chroma),
            guess_chroma(&mut v, &self.planes[2], at, &self.chroma),
        ];
        let any = luma.coded.contains(&true);
        let tint = chroma_pattern([&u, &v], &tints);
        out.ue(1 + mode + 4 * tint + if any { 12 } else { 0 });
        out.ue(0); // chroma: the mean
        out.se(0); // quantizer: as before
        let plane = &mut self.planes[0];
        let levels = ZIGZAG.map(|i| first[i] as i16);
        write_block(out, &levels, plane.around([4 * x, 4 * y]));
        if any {
            for [bx, by] in ORDER {
                luma.write(4 * by + bx, 1, plane, [4 * x + bx, 4 * y + by], out);
            }
        }
        let mut first = first;
        hadamard(&mut first);
        let first = first.map(|value| self.luma.rescale_luma_dc(value));
        luma.rebuild(&self.luma, Some(&first), plane, corner);
        self.write_chroma([u, v], tints, tint, at, out);
    }

    /// One macroblock, predicted from itself in the frame before. False, and nothing is written,
    /// if that will do.
    fn write_change(
        &mut self,
        source: &Planes,
        at: [usize; 2],
        passed: &mut u32,
        out: &mut BitWriter,
    ) -> bool {
        let [x, y] = at;
        let corner = [16 * x, 16 * y];
        let mut luma = Part::new(16, &source.y, source.stride, corner);
        luma.guess_same(&self.planes[0], corner);
        luma.transform(&self.luma, false);
        let [mut u, mut v] = self.chroma_parts(source, at);
        let mut tints = [[0; 4]; 2];
        for ((part, plane), tint) in [&mut u, &mut v]
            .into_iter()
            .zip(&self.planes[1..])
            .zip(&mut tints)
        {
            part.guess_same(plane, [8 * x, 8 * y]);
            *tint = chroma_dc(part, &self.chroma);
        }
        let mut pattern = 16 * chroma_pattern([&u, &v], &tints);
        for (at, [bx, by]) in ORDER.into_iter().enumerate() {
            pattern |= u32::from(luma.coded[4 * by + bx]) << (at / 4);
        }
        if pattern == 0 {
            return false;
        }
        out.ue(std::mem::take(passed));
        out.ue(0); // one vector for all
        out.se(0); // which is nil, as in all the others
        out.se(0);
        out.ue(u32::from(INTER_PATTERN[pattern as usize]));
        out.se(0);
        let plane = &mut self.planes[0];
        for (at, [bx, by]) in ORDER.into_iter().enumerate() {
            if pattern >> (at / 4) & 1 == 1 {
                luma.write(4 * by + bx, 0, plane, [4 * x + bx, 4 * y + by], out);
            }
        }
        luma.rebuild(&self.luma, None, plane, corner);
        self.write_chroma([u, v], tints, pattern >> 4, at, out);
        true
    }

    fn chroma_parts(&self, source: &Planes, [x, y]: [usize; 2]) -> [Part; 2] {
        let part = |plane| Part::new(8, plane, source.stride / 2, [8 * x, 8 * y]);
        [part(&source.u), part(&source.v)]
    }

    fn write_chroma(
        &mut self,
        parts: [Part; 2],
        tints: [[i32; 4]; 2],
        pattern: u32,
        [x, y]: [usize; 2],
        out: &mut BitWriter,
    ) {
        if pattern > 0 {
            for tint in tints {
                write_block(out, &tint.map(|level| level as i16), Around::ChromaDc);
            }
        }
        for ((mut part, plane), tint) in parts.into_iter().zip(&mut self.planes[1..]).zip(tints) {
            if pattern == 2 {
                for block in 0..4 {
                    let at = [2 * x + block % 2, 2 * y + block / 2];
                    part.write(block, 1, plane, at, out);
                }
            }
            let mut first = [0; 16];
            let four = hadamard4(tint).map(|value| self.chroma.rescale_chroma_dc(value));
            first[..4].copy_from_slice(&four);
            part.rebuild(&self.chroma, Some(&first), plane, [8 * x, 8 * y]);
        }
    }
}

/// The quantizer of chroma for one of luma (table 8-15).
fn chroma_quantizer(luma: u8) -> u8 {
    const FROM_30: [u8; 22] = [
        29, 30, 31, 32, 32, 33, 34, 34, 35, 35, 36, 36, 37, 37, 37, 38, 38, 38, 39, 39, 39, 39,
    ];
    match luma.checked_sub(30) {
        Some(at) => FROM_30[usize::from(at).min(21)],
        None => luma,
    }
}

/// Of the guesses from the edges, the nearest; returns its number (table 8-4).
fn guess_luma(part: &mut Part, plane: &Plane, corner: [usize; 2]) -> u32 {
    let above = plane.above(corner, 16);
    let left = plane.left::<16>(corner);
    let sum = |samples: &[u8]| samples.iter().map(|s| u32::from(*s)).sum::<u32>();
    let mean = match (above, &left) {
        (Some(above), Some(left)) => (sum(above) + sum(left) + 16) >> 5,
        (Some(above), None) => (sum(above) + 8) >> 4,
        (None, Some(left)) => (sum(left) + 8) >> 4,
        (None, None) => 128,
    };
    part.guess = [mean as u8; 256];
    let far = |part: &Part, guess: &Square| {
        let pairs = part.wanted.iter().zip(guess);
        pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>()
    };
    let (mut mode, mut least) = (2, far(part, &part.guess));
    if least == 0 {
        return mode;
    }
    let mut consider = |number: u32, guess: Square| {
        let distance = far(part, &guess);
        if distance < least {
            (mode, least) = (number, distance);
            part.guess = guess;
        }
    };
    if let Some(above) = above {
        let mut guess = [0; 256];
        guess
            .chunks_exact_mut(16)
            .for_each(|row| row.copy_from_slice(above));
        consider(0, guess);
    }
    if let Some(left) = left {
        consider(1, std::array::from_fn(|at| left[at / 16]));
    }
    mode
}

/// The mean of each block's edges, whichever there are (8.3.4.1-3); returns the levels of the
/// first coefficients.
fn guess_chroma(
    part: &mut Part,
    plane: &Plane,
    [x, y]: [usize; 2],
    quantizer: &Quantizer,
) -> [i32; 4] {
    let corner = [8 * x, 8 * y];
    let above = plane.above(corner, 8);
    let left = plane.left::<8>(corner);
    let sum = |samples: &[u8]| samples.iter().map(|s| u32::from(*s)).sum::<u32>();
    for block in 0..4 {
        let [bx, by] = [block % 2, block / 2];
        let above = above.map(|above| sum(&above[4 * bx..4 * bx + 4]));
        let left = left.map(|left| sum(&left[4 * by..4 * by + 4]));
        let mean = match (above, left) {
            (Some(above), Some(left)) if bx == by => (above + left + 4) >> 3,
            // The block beside the corner that the edge belongs to.
            (Some(above), Some(_)) if bx > by => (above + 2) >> 2,
            (Some(_) | None, Some(left)) => (left + 2) >> 2,
            (Some(above), None) => (above + 2) >> 2,
            (None, None) => 128,
        };
        for row in 0..4 {
            let at = (4 * by + row) * 8 + 4 * bx;
            part.guess[at..at + 4].fill(mean as u8);
        }
    }
    chroma_dc(part, quantizer)
}

/// Transforms a plane of chroma; returns the levels of the first coefficients.
fn chroma_dc(part: &mut Part, quantizer: &Quantizer) -> [i32; 4] {
    let first = part.transform(quantizer, true);
    let four = hadamard4([first[0], first[1], first[2], first[3]]);
    four.map(|value| quantizer.quantize_dc(value))
}

/// What of chroma is written: nothing, the first coefficients, or all.
fn chroma_pattern(parts: [&Part; 2], tints: &[[i32; 4]; 2]) -> u32 {
    if parts.iter().any(|part| part.coded.contains(&true)) {
        return 2;
    }
    u32::from(tints.iter().flatten().any(|level| *level != 0))
}
