//! Parameter sets and slice headers (H.264, 7.3.2 and 7.3.3).

use super::bits::BitWriter;

/// Bits of a frame's number.
const NUMBER_BITS: u32 = 8;
/// Level, most macroblocks of a frame, most a second (table A-1).
const LEVELS: [(u8, u32, u32); 15] = [
    (10, 99, 1_485),
    (11, 396, 3_000),
    (12, 396, 6_000),
    (13, 396, 11_880),
    (21, 792, 19_800),
    (22, 1_620, 20_250),
    (30, 1_620, 40_500),
    (31, 3_600, 108_000),
    (32, 5_120, 216_000),
    (40, 8_192, 245_760),
    (42, 8_704, 522_240),
    (50, 22_080, 589_824),
    (51, 36_864, 983_040),
    (52, 36_864, 2_073_600),
    (62, 139_264, 16_711_680),
];

/// The smallest level that allows frames of so many macroblocks; the highest where none does.
fn level([across, down]: [u32; 2], fps: f64) -> u8 {
    let all = across * down;
    let side = across.max(down);
    let allows = |(_, frame, second): &&(u8, u32, u32)| {
        let fast = f64::from(all) * fps <= f64::from(*second);
        all <= *frame && side * side <= 8 * frame && fast
    };
    LEVELS.iter().find(allows).map_or(62, |level| level.0)
}

/// The sequence parameter set: Constrained Baseline, frames in the order of display, `colors` as
/// numbers of H.273 (primaries, transfer, matrix), limited range. Sides are even.
pub(super) fn sequence([width, height]: [u32; 2], fps: f64, colors: [u8; 3]) -> Vec<u8> {
    let blocks = [width, height].map(|side| side.div_ceil(16));
    let mut out = BitWriter::new(0x67);
    out.bits(66, 8);
    // Also fit for decoders of the Main profile.
    out.bits(0b1100_0000, 8);
    out.bits(u32::from(level(blocks, fps)), 8);
    out.ue(0); // its number
    out.ue(NUMBER_BITS - 4);
    out.ue(2); // order of display: that of decoding
    out.ue(1); // reference frames
    out.bit(false); // gaps between numbers
    out.ue(blocks[0] - 1);
    out.ue(blocks[1] - 1);
    out.bit(true); // no fields
    out.bit(true); // direct inference, which fields would need
    let beyond = [16 * blocks[0] - width, 16 * blocks[1] - height];
    out.bit(beyond != [0, 0]);
    if beyond != [0, 0] {
        // Left, right, top, bottom, in units of chroma samples.
        for edge in [0, beyond[0] / 2, 0, beyond[1] / 2] {
            out.ue(edge);
        }
    }
    out.bit(true); // what follows is how to show it
    out.bits(0b00, 2); // shape of pixels, overscan
    out.bit(true); // colours
    out.bits(5, 3); // format not given
    out.bit(false); // limited range
    out.bit(true);
    for code in colors {
        out.bits(u32::from(code), 8);
    }
    out.bits(0b00000, 5); // place of chroma, times, buffers (two kinds), fields
    out.bit(true); // bounds
    out.bit(true); // vectors may leave the picture
    out.ue(0); // bytes of a picture: not said
    out.ue(0); // bits of a macroblock: not said
    out.ue(0); // vectors: none
    out.ue(0);
    out.ue(0); // no frame is held back
    out.ue(1); // frames kept
    out.finish()
}

/// The picture parameter set.
pub(super) fn picture(quantizer: u8) -> Vec<u8> {
    let mut out = BitWriter::new(0x68);
    out.ue(0); // its number, and that of its sequence
    out.ue(0);
    out.bit(false); // code of variable length
    out.bit(false); // no fields
    out.ue(0); // one group of slices
    out.ue(0); // one reference, in either list
    out.ue(0);
    out.bits(0b000, 3); // no weights
    out.se(i32::from(quantizer) - 26);
    out.se(0);
    out.se(0); // chroma is quantized alike
    out.bit(true); // slices say how edges are smoothed
    out.bits(0b00, 2);
    out.finish()
}

/// Opens the one slice of a frame, the `number`th after a key frame, which is number 0 itself;
/// `keys` counts the key frames before it.
pub(super) fn slice(number: u32, keys: u32) -> BitWriter {
    let key = number == 0;
    let mut out = BitWriter::new(if key { 0x65 } else { 0x41 });
    out.ue(0); // first macroblock
    out.ue(if key { 7 } else { 5 });
    out.ue(0); // picture parameter set
    out.bits(number % (1 << NUMBER_BITS), NUMBER_BITS);
    if key {
        // Two key frames in a row must differ in it.
        out.ue(keys % 2);
        out.bits(0b00, 2); // earlier frames are shown, this one is not kept for long
    } else {
        // References as usual, and no note of which to forget.
        out.bits(0b000, 3);
    }
    out.se(0); // quantizer as in the parameter set
    out.ue(1); // edges of blocks are left alone: drawings have none that need smoothing
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::params::Sequence;

    #[test]
    fn sequences_read_as_they_were_written() {
        for size in [[16, 16], [480, 480], [480, 874], [18, 640], [3840, 2160]] {
            let found = Sequence::parse(&sequence(size, 16.0, [1, 13, 6])).unwrap();
            assert_eq!([found.width, found.height], size);
            assert_eq!((found.matrix, found.full_range), (Some(6), Some(false)));
        }
    }

    #[test]
    fn levels_are_those_that_the_standard_asks_for() {
        assert_eq!(level([11, 9], 15.0), 10);
        assert_eq!(level([30, 30], 16.0), 22);
        assert_eq!(level([30, 30], 30.0), 30);
        assert_eq!(level([80, 45], 30.0), 31);
        assert_eq!(level([120, 68], 30.0), 40);
        assert_eq!(level([2, 40], 16.0), 11);
        assert_eq!(level([240, 135], 1000.0), 62);
    }
}
