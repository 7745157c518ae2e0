//! The PNG that this crate writes, read without a detour.
//!
//! Every row is told by its difference from the row above, in one block of the code that the format
//! has fixed, and runs repeat the byte or the pixel before them. So one row is kept and changed in
//! place: where nothing changes, which is nearly everywhere, nothing is done.

use image::RgbImage;

use crate::draw::deflate::{
    DISTANCE, HEADER, LAST_FIXED, ONE_BACK, THREE_BACK, code_of, more_bits,
};

/// The filter of every row: the difference from the row above.
const UP: u8 = 2;
/// Bytes of the checksum behind a stream; chunks have checksums of their own.
const CHECKSUM: usize = 4;
/// Bits of the longest code.
const LONGEST: u32 = 9;

/// By the next nine bits: what they begin with.
static CODES: [Code; 1 << LONGEST] = codes();

#[derive(Clone, Copy)]
struct Code {
    /// Bits of the code.
    bits: u8,
    /// Bits that follow and are added to the length.
    more: u8,
    kind: Kind,
    /// A byte, or the least length of a match.
    value: u16,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Byte,
    Match,
    End,
    /// Nothing has this code.
    None,
}

/// Whether bytes may be the beginning of such a stream.
pub(super) fn is_begun(stream: &[u8]) -> bool {
    let block = stream.strip_prefix(&HEADER).and_then(|rest| rest.first());
    block.is_some_and(|byte| u64::from(byte & 0b111) == LAST_FIXED)
}

/// Unpacks the only block of such a stream; `None` for any other.
pub(super) fn unpack(stream: &[u8], [width, height]: [u32; 2]) -> Option<RgbImage> {
    let mut input = Input {
        rest: stream.strip_prefix(&HEADER)?,
        bits: 0,
        count: 0,
    };
    input.fill()?;
    if input.take(3) != LAST_FIXED {
        return None;
    }
    let mut line = vec![0; width as usize * 3];
    let mut rows = Vec::with_capacity(line.len() * height as usize);
    for _ in 0..height {
        input.change(&mut line)?;
        rows.extend_from_slice(&line);
    }
    input.is_at_end().then_some(())?;
    RgbImage::from_raw(width, height, rows)
}

/// Bits in their order, lowest first.
struct Input<'a> {
    rest: &'a [u8],
    bits: u64,
    /// How many there are; fewer than none where the stream is cut off.
    count: i32,
}

impl Input<'_> {
    /// Takes up bytes, if there are fewer than a whole match or three bytes may need.
    #[inline]
    fn fill(&mut self) -> Option<()> {
        const WHOLE: i32 = 3 * LONGEST as i32;
        if self.count >= WHOLE {
            return Some(());
        }
        let count = u32::try_from(self.count).ok()?;
        match self.rest.first_chunk() {
            Some(eight) => {
                let bytes = (63 - count) / 8;
                // Bits beyond those that count are taken up again, and are the same then.
                self.bits |= u64::from_le_bytes(*eight) << count;
                self.rest = &self.rest[bytes as usize..];
                self.count += 8 * bytes as i32;
            }
            None => self.fill_last(),
        }
        Some(())
    }

    #[cold]
    fn fill_last(&mut self) {
        while self.count < 56
            && let Some((byte, rest)) = self.rest.split_first()
        {
            self.bits |= u64::from(*byte) << self.count;
            self.rest = rest;
            self.count += 8;
        }
    }

    #[inline]
    fn take(&mut self, count: u8) -> u64 {
        let taken = self.bits & ((1 << count) - 1);
        self.bits >>= count;
        self.count -= i32::from(count);
        taken
    }

    #[inline]
    fn code(&mut self) -> Option<Code> {
        self.fill()?;
        Some(self.take_code())
    }

    #[inline]
    fn take_code(&mut self) -> Code {
        let code = self.next_code();
        self.take(code.bits);
        code
    }

    #[inline]
    fn next_code(&self) -> Code {
        CODES[(self.bits & ((1 << LONGEST) - 1)) as usize]
    }

    /// A byte that comes three times, as most pixels of smooth edges do: then so do its bits.
    #[inline]
    fn take_three(&mut self) -> Option<u8> {
        let code = self.next_code();
        let again = (self.bits >> code.bits ^ self.bits) & ((1 << (2 * code.bits)) - 1);
        let three = 3 * code.bits;
        let is_three = again == 0 && code.kind == Kind::Byte && self.count >= i32::from(three);
        is_three.then(|| {
            self.take(three);
            code.value as u8
        })
    }

    /// Changes a row into the next one.
    fn change(&mut self, line: &mut [u8]) -> Option<()> {
        let filter = self.code()?;
        if filter.kind != Kind::Byte || filter.value != u16::from(UP) {
            return None;
        }
        // The last three differences.
        let mut last = [0u8; 3];
        let mut at = 0;
        while at < line.len() {
            self.fill()?;
            // The third may be the next row's filter.
            if at + 3 <= line.len()
                && let Some(byte) = self.take_three()
            {
                let three = line[at..at + 3].iter_mut();
                three.for_each(|old| *old = old.wrapping_add(byte));
                last = [byte; 3];
                at += 3;
                continue;
            }
            let code = self.take_code();
            match code.kind {
                Kind::Byte => {
                    let byte = code.value as u8;
                    line[at] = line[at].wrapping_add(byte);
                    last = [last[1], last[2], byte];
                    at += 1;
                }
                Kind::Match => {
                    let length = usize::from(code.value) + self.take(code.more) as usize;
                    let distance = self.take(DISTANCE);
                    let part = line.get_mut(at..at + length)?;
                    match distance {
                        ONE_BACK if at >= 1 => last = [last[2]; 3],
                        THREE_BACK if at >= 3 && length.is_multiple_of(3) => {}
                        _ => return None,
                    }
                    repeat(part, last);
                    at += length;
                }
                Kind::End | Kind::None => return None,
            }
        }
        Some(())
    }

    /// Whether the block ends here, and the stream with it.
    fn is_at_end(&mut self) -> bool {
        let ends = self.code().is_some_and(|code| code.kind == Kind::End);
        let left = usize::try_from(self.count / 8);
        ends && left.is_ok_and(|left| self.rest.len() + left == CHECKSUM)
    }
}

/// Adds the same difference to pixel after pixel.
#[inline]
fn repeat(part: &mut [u8], by: [u8; 3]) {
    if by == [0; 3] {
        return;
    }
    for pixel in part.chunks_mut(3) {
        for (byte, by) in pixel.iter_mut().zip(by) {
            *byte = byte.wrapping_add(by);
        }
    }
}

const fn codes() -> [Code; 1 << LONGEST] {
    let mut codes = [Code {
        bits: LONGEST as u8,
        more: 0,
        kind: Kind::None,
        value: 0,
    }; 1 << LONGEST];
    let mut symbol: u32 = 0;
    // The least length of the next match.
    let mut length = 3;
    while symbol < 286 {
        let (code, bits) = code_of(symbol);
        let more = more_bits(symbol);
        let (kind, value) = match symbol {
            0..=255 => (Kind::Byte, symbol),
            256 => (Kind::End, 0),
            257..=284 => (Kind::Match, length),
            // The longest match has a code of its own.
            _ => (Kind::Match, 258),
        };
        if symbol > 256 {
            length += 1 << more;
        }
        // What follows a code may be anything.
        let mut at = code;
        while at < 1 << LONGEST {
            codes[at as usize] = Code {
                bits: bits as u8,
                more: more as u8,
                kind,
                value: value as u16,
            };
            at += 1 << bits;
        }
        symbol += 1;
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use crate::encode_png;
    use image::Rgb;

    /// The stream of a file that this crate wrote: signature and header take 33 bytes, a chunk's
    /// length and kind 8, its checksum and the last chunk 16.
    fn stream(file: &[u8]) -> Vec<u8> {
        file[41..file.len() - 16].to_vec()
    }

    /// Flat pictures with runs of all kinds, and a picture that is not flat.
    fn pictures() -> Vec<RgbImage> {
        let mut dice = Dice::new(1, "flat");
        let mut all = Vec::new();
        for size in [[1, 1], [1, 50], [400, 2], [301, 290], [48, 64], [17, 90]] {
            let mut picture = RgbImage::from_pixel(size[0], size[1], Rgb([250, 250, 240]));
            for _ in 0..12 {
                let [width, height] = size.map(|side| side as usize);
                let [left, top] = [dice.below(width), dice.below(height)];
                let [right, bottom] = [
                    left + dice.below(width - left),
                    top + dice.below(height - top),
                ];
                let color = Rgb([(); 3].map(|()| dice.below(256) as u8));
                for (x, y) in (top..=bottom).flat_map(|y| (left..=right).map(move |x| (x, y))) {
                    picture.put_pixel(x as u32, y as u32, color);
                }
            }
            all.push(picture);
        }
        all
    }

    #[test]
    fn what_is_written_is_read() {
        for picture in pictures() {
            let [width, height] = [picture.width(), picture.height()];
            let stream = stream(&encode_png(&picture).unwrap());
            let found = unpack(&stream, [width, height]);
            assert!(found.as_ref() == Some(&picture), "{width}x{height}");
            for other in [
                [width + 1, height],
                [width, height + 1],
                [width, height - 1],
            ] {
                assert!(unpack(&stream, other).is_none());
            }
        }
    }

    /// What is damaged is refused, or read as another decoder reads it.
    #[test]
    fn damage_is_never_read_differently() {
        let mut dice = Dice::new(3, "damage");
        for picture in pictures() {
            let [width, height] = [picture.width(), picture.height()];
            let whole = stream(&encode_png(&picture).unwrap());
            for cut in (0..whole.len()).rev().take(40) {
                assert!(unpack(&whole[..cut], [width, height]).is_none());
            }
            for _ in 0..300 {
                let mut stream = whole.clone();
                let at = dice.below(stream.len());
                stream[at] ^= 1 << dice.below(8);
                let Some(found) = unpack(&stream, [width, height]) else {
                    continue;
                };
                let mut unpacked = fdeflate::Decompressor::new();
                unpacked.ignore_adler32();
                let row = 3 * width as usize;
                let mut bytes = vec![0; (row + 1) * height as usize + 1];
                let (_, written) = unpacked.read(&stream, &mut bytes, 0, true).unwrap();
                assert!(unpacked.is_done() && written == bytes.len() - 1);
                let mut above = vec![0u8; row];
                for (line, packed) in found.as_raw().chunks(row).zip(bytes.chunks(row + 1)) {
                    assert_eq!(packed[0], UP);
                    above
                        .iter_mut()
                        .zip(&packed[1..])
                        .for_each(|(a, b)| *a = a.wrapping_add(*b));
                    assert!(line == above);
                }
            }
        }
    }
}
