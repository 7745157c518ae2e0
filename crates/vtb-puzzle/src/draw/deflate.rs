//! A zlib stream for bytes that are mostly runs: what is left of a flat drawing when each row is
//! told by its difference from the row above.
//!
//! Runs become matches, everything else literals, all in the code that the format has fixed
//! (RFC 1951, 3.2.6), so that nothing is counted before or looked for behind. A compressor for all
//! kinds of data takes three times as long for the same size.

/// Pixels of three bytes are appended one after another; [`Stream::finish`] gives the stream.
pub(super) struct Stream {
    /// What is written, and room for more.
    bytes: Vec<u8>,
    /// How many bytes are written.
    at: usize,
    /// Bits not written yet, the first lowest; fewer than eight between calls.
    bits: u64,
    count: u32,
    /// The two sums of the checksum (RFC 1950, 8.2), each below its modulus between rows.
    sums: [u64; 2],
}

/// Longest match.
const LONGEST: usize = 258;
/// Modulus of the checksum.
const MODULUS: u64 = 65_521;
/// Codes of bytes and of match lengths, with how many bits each has.
static LITERALS: [(u32, u32); 256] = literals();
static LENGTHS: [(u32, u32); LONGEST + 1] = lengths();
/// Codes of the distances 1 and 3, five bits each.
const ONE_BACK: u64 = 0;
const THREE_BACK: u64 = mirrored(2, 5) as u64;

impl Stream {
    pub(super) fn new(capacity: usize) -> Self {
        let mut bytes = vec![0; capacity.max(64)];
        // Deflate with a window of 32 KiB, the fastest kind.
        bytes[..2].copy_from_slice(&[0x78, 0x01]);
        let mut stream = Self {
            bytes,
            at: 2,
            bits: 0,
            count: 0,
            sums: [1, 0],
        };
        // The last block, and the only one, in the fixed code.
        stream.push(0b011, 3);
        stream
    }

    /// Makes room for a row of so many bytes, and keeps the checksum's sums small; to be called
    /// before every row, of 64 KiB at most.
    pub(super) fn begin_row(&mut self, bytes: usize) {
        self.sums = self.sums.map(|sum| sum % MODULUS);
        // A byte takes nine bits at most.
        let wanted = self.at + bytes + bytes / 8 + 64;
        if wanted > self.bytes.len() {
            self.bytes.resize(wanted + wanted / 2, 0);
        }
    }

    /// Appends one byte.
    pub(super) fn byte(&mut self, byte: u8) {
        self.sums[0] += u64::from(byte);
        self.sums[1] += self.sums[0];
        let (code, count) = LITERALS[usize::from(byte)];
        self.push(u64::from(code), count);
    }

    /// Appends a pixel.
    pub(super) fn pixel(&mut self, pixel: [u8; 3]) {
        self.count_pixels(pixel, 1);
        let [first, second, third] = pixel.map(|byte| LITERALS[usize::from(byte)]);
        let code = u64::from(first.0)
            | u64::from(second.0) << first.1
            | u64::from(third.0) << (first.1 + second.1);
        self.push(code, first.1 + second.1 + third.1);
    }

    /// Appends a pixel that was appended last, `times` more.
    pub(super) fn again(&mut self, pixel: [u8; 3], times: usize) {
        self.count_pixels(pixel, times as u64);
        self.matches(3 * times, THREE_BACK);
    }

    /// Appends pixels of zeros.
    pub(super) fn zeros(&mut self, pixels: usize) {
        self.sums[1] += self.sums[0] * 3 * pixels as u64;
        let (zero, count) = LITERALS[0];
        let zero = u64::from(zero);
        match pixels {
            0 => {}
            1 => self.push(zero | zero << count | zero << (2 * count), 3 * count),
            _ => {
                self.push(zero, count);
                self.matches(3 * pixels - 1, ONE_BACK);
            }
        }
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.at
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.begin_row(0);
        // End of block, then what fills the last byte.
        self.push(0, 7);
        self.push(0, (8 - self.count % 8) % 8);
        let [low, high] = self.sums;
        self.bytes.truncate(self.at);
        self.bytes
            .extend((((high << 16) | low) as u32).to_be_bytes());
        self.bytes
    }

    /// The checksum after `times` more pixels of one kind.
    fn count_pixels(&mut self, pixel: [u8; 3], times: u64) {
        let [first, second, third] = pixel.map(u64::from);
        let each = first + second + third;
        let inner = 3 * first + 2 * second + third;
        // Every pixel adds three times what came before it, and its own bytes 3, 2 and 1 times.
        let before = 3 * times * self.sums[0] + 3 * each * (times * (times - 1) / 2);
        self.sums[1] += before + times * inner;
        self.sums[0] += times * each;
    }

    /// Appends `length` bytes, three at least, as they stand before.
    fn matches(&mut self, mut length: usize, distance: u64) {
        while length > 0 {
            // What remains must not be shorter than the shortest match.
            let part = match length {
                0..=LONGEST => length,
                _ if length < LONGEST + 3 => LONGEST - 3,
                _ => LONGEST,
            };
            let (code, count) = LENGTHS[part];
            self.push(u64::from(code) | distance << count, count + 5);
            length -= part;
        }
    }

    /// Appends up to 56 bits.
    #[inline]
    fn push(&mut self, code: u64, count: u32) {
        self.bits |= code << self.count;
        self.count += count;
        self.bytes[self.at..self.at + 8].copy_from_slice(&self.bits.to_le_bytes());
        self.at += (self.count / 8) as usize;
        self.bits >>= self.count & !7;
        self.count %= 8;
    }
}

/// Codes are written highest bit first, everything else lowest bit first.
const fn mirrored(code: u32, count: u32) -> u32 {
    code.reverse_bits() >> (32 - count)
}

const fn literals() -> [(u32, u32); 256] {
    let mut codes = [(0, 0); 256];
    let mut byte = 0;
    while byte < 256 {
        codes[byte as usize] = match byte {
            0..=143 => (mirrored(0x30 + byte, 8), 8),
            _ => (mirrored(0x190 + byte - 144, 9), 9),
        };
        byte += 1;
    }
    codes
}

/// A length is a code and some more bits, here in one; below 3 there is none.
const fn lengths() -> [(u32, u32); LONGEST + 1] {
    let mut codes = [(0, 0); LONGEST + 1];
    let mut length = 3;
    let mut symbol = 257;
    while symbol <= 284 {
        let extra = if symbol < 265 { 0 } else { (symbol - 261) / 4 };
        let (code, count) = of_length(symbol);
        let mut more = 0;
        while more < 1 << extra {
            // The last of these belongs to the longest match, which has a code of its own.
            codes[length] = (code | more << count, count + extra);
            length += 1;
            more += 1;
        }
        symbol += 1;
    }
    codes[LONGEST] = of_length(285);
    codes
}

const fn of_length(symbol: u32) -> (u32, u32) {
    match symbol {
        257..=279 => (mirrored(symbol - 256, 7), 7),
        _ => (mirrored(0xc0 + symbol - 280, 8), 8),
    }
}
