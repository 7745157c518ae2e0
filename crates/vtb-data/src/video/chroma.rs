//! The one colour that four pixels share in 4:2:0, chosen to do the four least harm.
//!
//! The mean of a thin red line and the white beside it turns both pink: the line loses its red.
//! Searched instead is the chroma, between the mean and each of the four, that with the best Y of
//! every pixel gives the smallest squared error in RGB after decoding. On coloured drawings this is
//! worth several decibels.

use super::color::FromYuv;

/// Y may leave 16..235 a little, as the standards allow for overshoot; 0 and 255 are reserved.
const LUMA: (i32, i32) = (1, 254);
/// Steps from the mean to a pixel's own chroma.
const STEPS: i32 = 4;

/// Four pixels of a block, in R, G and B.
pub(super) type Block = [[u8; 3]; 4];

/// Chroma and the Y of each pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coded {
    pub(super) u: u8,
    pub(super) v: u8,
    pub(super) y: [u8; 4],
}

/// Improves on `mean`; `own` is the chroma that each pixel would have for itself.
pub(super) fn share(from: &FromYuv, block: &Block, mean: Coded, own: [(u8, u8); 4]) -> Coded {
    let mut best = (u32::MAX, mean);
    try_chroma(from, block, (mean.u, mean.v), &mut best);
    for (i, &(u, v)) in own.iter().enumerate() {
        if own[..i].contains(&(u, v)) {
            continue;
        }
        for step in 1..=STEPS {
            let toward = |mean: u8, own: u8| {
                let (mean, own) = (i32::from(mean), i32::from(own));
                (mean + (own - mean) * step / STEPS) as u8
            };
            try_chroma(
                from,
                block,
                (toward(mean.u, u), toward(mean.v, v)),
                &mut best,
            );
        }
    }
    best.1
}

fn try_chroma(from: &FromYuv, block: &Block, (u, v): (u8, u8), best: &mut (u32, Coded)) {
    let tint = from.tint(u, v);
    let (mut error, mut y) = (0, [0; 4]);
    for i in 0..4 {
        // Drawings have few colours: a pixel is often that before it.
        let (one, luma) = match i > 0 && block[i] == block[i - 1] {
            true => (0, y[i - 1]),
            false => best_luma(from, tint, block[i]),
        };
        y[i] = luma;
        let again = block[i + 1..]
            .iter()
            .take_while(|p| **p == block[i])
            .count() as u32;
        error += one * (again + 1);
        if error >= best.0 {
            return;
        }
    }
    *best = (error, Coded { u, v, y });
}

/// The Y that brings a pixel closest, and the squared error that is left.
///
/// Without clipping that is the mean of what the channels ask for. A channel that is clipped at
/// what it should be asks for nothing, so it is left out and the mean taken again.
fn best_luma(from: &FromYuv, tint: [i32; 3], pixel: [u8; 3]) -> (u32, u8) {
    let mut best = (u32::MAX, 0);
    let mut active = [true; 3];
    for _ in 0..3 {
        let (mut sum, mut count) = (0, 0);
        for c in (0..3).filter(|&c| active[c]) {
            sum += from.asks(tint[c], pixel[c]);
            count += 1;
        }
        if count == 0 {
            break;
        }
        let y = ((2 * sum + count).div_euclid(2 * count)).clamp(LUMA.0, LUMA.1) as u8;
        let mut decoded = [0; 3];
        from.pixel(y, tint, &mut decoded);
        let error = (0..3).map(|c| u32::from(decoded[c].abs_diff(pixel[c])).pow(2));
        best = best.min((error.sum(), y));
        let clipped = |c: usize| matches!(decoded[c], 0 | 255) && decoded[c] == pixel[c];
        let next = [0, 1, 2].map(|c| active[c] && !clipped(c));
        if next == active {
            break;
        }
        active = next;
    }
    best
}
