//! The integer transform of H.264 and its quantizer (8.5), both ways.
//!
//! Blocks of 4x4 lie row by row.

/// Order in which the coefficients of a block are written (figure 8-12).
pub(super) const ZIGZAG: [usize; 16] = [0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15];

/// What the remainder of the quantizer by 6 multiplies coefficients with: at places whose row and
/// column are both even, both odd, and others (8.5.9).
const SCALE: [[i32; 3]; 6] = [
    [10, 16, 13],
    [11, 18, 14],
    [13, 20, 16],
    [14, 23, 18],
    [16, 25, 20],
    [18, 29, 23],
];
/// The same for the way there, in 2^-15: with the gain of both transforms, one over [`SCALE`].
const STEPS: [[i32; 3]; 6] = [
    [13107, 5243, 8066],
    [11916, 4660, 7490],
    [10082, 4194, 6554],
    [9362, 3647, 5825],
    [8192, 3355, 5243],
    [7282, 2893, 4559],
];

/// The quantizer of one plane.
#[derive(Debug, Clone)]
pub(super) struct Quantizer {
    steps: [i32; 16],
    scale: [i32; 16],
    /// Sixth of the quantizer.
    octave: u32,
}

impl Quantizer {
    /// `q` from 0 to 51.
    pub(super) fn new(q: u8) -> Self {
        let place = |table: &[i32; 3], at: usize| match (at / 4 % 2, at % 2) {
            (0, 0) => table[0],
            (1, 1) => table[1],
            _ => table[2],
        };
        let (octave, rest) = (u32::from(q / 6), usize::from(q % 6));
        Self {
            steps: std::array::from_fn(|at| place(&STEPS[rest], at)),
            scale: std::array::from_fn(|at| place(&SCALE[rest], at)),
            octave,
        }
    }

    /// Coefficients to levels, in place.
    #[inline]
    pub(super) fn quantize(&self, block: &mut [i32; 16]) {
        let shift = 15 + self.octave;
        // Rounded at a third: what lies beside an edge tends to zero.
        let third = (1 << shift) / 3;
        for (value, step) in block.iter_mut().zip(&self.steps) {
            let level = (value.abs() * step + third) >> shift;
            *value = if *value < 0 { -level } else { level };
        }
    }

    /// Levels to coefficients, in place.
    #[inline]
    pub(super) fn rescale(&self, block: &mut [i32; 16]) {
        for (value, scale) in block.iter_mut().zip(&self.scale) {
            *value = (*value * scale) << self.octave;
        }
    }

    /// The level of a DC coefficient that went through a second transform.
    #[inline]
    pub(super) fn quantize_dc(&self, value: i32) -> i32 {
        let shift = 16 + self.octave;
        let level = (value.abs() * self.steps[0] + (1 << shift) / 3) >> shift;
        if value < 0 { -level } else { level }
    }

    /// Back, for the sixteen of luma (8.5.10).
    #[inline]
    pub(super) fn rescale_luma_dc(&self, value: i32) -> i32 {
        let scaled = value * self.scale[0];
        match self.octave {
            0 | 1 => (scaled + (1 << (1 - self.octave))) >> (2 - self.octave),
            octave => scaled << (octave - 2),
        }
    }

    /// Back, for the four of a chroma plane (8.5.11.2).
    #[inline]
    pub(super) fn rescale_chroma_dc(&self, value: i32) -> i32 {
        ((value * self.scale[0]) << self.octave) >> 1
    }
}

/// Differences to coefficients (the inverse of 8.5.12.2 up to scale).
#[inline]
pub(super) fn forward(block: &mut [i32; 16]) {
    let turn = |a: i32, b: i32, c: i32, d: i32| {
        let (outer, inner) = (a + d, b + c);
        let (far, near) = (a - d, b - c);
        [outer + inner, 2 * far + near, outer - inner, far - 2 * near]
    };
    for row in 0..4 {
        let i = 4 * row;
        let turned = turn(block[i], block[i + 1], block[i + 2], block[i + 3]);
        block[i..i + 4].copy_from_slice(&turned);
    }
    for i in 0..4 {
        let turned = turn(block[i], block[i + 4], block[i + 8], block[i + 12]);
        for (row, value) in turned.into_iter().enumerate() {
            block[4 * row + i] = value;
        }
    }
}

/// Coefficients to differences (8.5.12.2).
#[inline]
pub(super) fn inverse(block: &mut [i32; 16]) {
    let turn = |a: i32, b: i32, c: i32, d: i32| {
        let (even, odd) = (a + c, a - c);
        let (low, high) = ((b >> 1) - d, b + (d >> 1));
        [even + high, odd + low, odd - low, even - high]
    };
    for row in 0..4 {
        let i = 4 * row;
        let turned = turn(block[i], block[i + 1], block[i + 2], block[i + 3]);
        block[i..i + 4].copy_from_slice(&turned);
    }
    for i in 0..4 {
        let turned = turn(block[i], block[i + 4], block[i + 8], block[i + 12]);
        for (row, value) in turned.into_iter().enumerate() {
            block[4 * row + i] = (value + 32) >> 6;
        }
    }
}

/// The second transform of the sixteen DC coefficients of luma; its own inverse up to scale.
pub(super) fn hadamard(block: &mut [i32; 16]) {
    let turn = |a: i32, b: i32, c: i32, d: i32| {
        let (outer, inner) = (a + d, b + c);
        let (far, near) = (a - d, b - c);
        [outer + inner, far + near, outer - inner, far - near]
    };
    for row in 0..4 {
        let i = 4 * row;
        let turned = turn(block[i], block[i + 1], block[i + 2], block[i + 3]);
        block[i..i + 4].copy_from_slice(&turned);
    }
    for i in 0..4 {
        let turned = turn(block[i], block[i + 4], block[i + 8], block[i + 12]);
        for (row, value) in turned.into_iter().enumerate() {
            block[4 * row + i] = value;
        }
    }
}

/// That of the four DC coefficients of a chroma plane.
pub(super) fn hadamard4([a, b, c, d]: [i32; 4]) -> [i32; 4] {
    [a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks() -> impl Iterator<Item = [i32; 16]> {
        let mut state = 1u32;
        (0..300).map(move |_| {
            std::array::from_fn(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 23) as i32 % 511 - 255
            })
        })
    }

    #[test]
    fn blocks_come_back_within_the_step_of_the_quantizer() {
        for (q, most) in [(12, 4), (14, 5), (18, 8), (24, 16)] {
            let quantizer = Quantizer::new(q);
            for block in blocks() {
                let mut there = block;
                forward(&mut there);
                quantizer.quantize(&mut there);
                quantizer.rescale(&mut there);
                inverse(&mut there);
                for (found, wanted) in there.iter().zip(block) {
                    assert!((found - wanted).abs() <= most, "{q}: {found} for {wanted}");
                }
            }
        }
    }

    #[test]
    fn means_of_blocks_come_back_as_well() {
        for q in [12, 20, 30] {
            let quantizer = Quantizer::new(q);
            for block in blocks() {
                // DC coefficients are sixteen times the mean.
                let mut luma = block.map(|mean| 16 * mean);
                hadamard(&mut luma);
                let mut luma = luma.map(|value| quantizer.quantize_dc((value + 1) >> 1));
                assert!(luma.iter().all(|level| level.abs() < 2000));
                hadamard(&mut luma);
                for (value, wanted) in luma.into_iter().zip(block) {
                    let found = (quantizer.rescale_luma_dc(value) + 32) >> 6;
                    assert!(
                        (found - wanted).abs() <= 1 + i32::from(q) / 5,
                        "{q}: {found} {wanted}"
                    );
                }
                let four = [block[0], block[1], block[2], block[3]];
                let levels =
                    hadamard4(four.map(|mean| 16 * mean)).map(|v| quantizer.quantize_dc(v));
                for (value, wanted) in hadamard4(levels).into_iter().zip(four) {
                    let found = (quantizer.rescale_chroma_dc(value) + 32) >> 6;
                    assert!(
                        (found - wanted).abs() <= 1 + i32::from(q) / 5,
                        "{q}: {found} {wanted}"
                    );
                }
            }
        }
    }
}
