//! A zlib stream for bytes that are mostly runs: what is left of a flat drawing when each row is
//! told by its difference from the row above.
//!
//! Runs become matches, everything else literals, all in the code that the format has fixed
//! (RFC 1951, 3.2.6), so that nothing is counted before or looked for behind. A compressor for all
//! kinds of data takes three times as long for the same size.

/// Bytes are appended one after another; [`Stream::finish`] gives the stream.
pub(super) struct Stream {
    bytes: Vec<u8>,
    /// Bits not written yet, the first lowest.
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

impl Stream {
    pub(super) fn new(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        // Deflate with a window of 32 KiB, the fastest kind.
        bytes.extend([0x78, 0x01]);
        let mut stream = Self {
            bytes,
            bits: 0,
            count: 0,
            sums: [1, 0],
        };
        // The last block, and the only one, in the fixed code.
        stream.push((0b011, 3));
        stream
    }

    /// Appends bytes one by one.
    pub(super) fn literals(&mut self, bytes: &[u8]) {
        let (mut bits, mut count) = (self.bits, self.count);
        for byte in bytes {
            let (code, length) = LITERALS[usize::from(*byte)];
            bits |= u64::from(code) << count;
            count += length;
            if count >= 32 {
                self.bytes.extend((bits as u32).to_le_bytes());
                bits >>= 32;
                count -= 32;
            }
        }
        for byte in bytes {
            self.sums[0] += u64::from(*byte);
            self.sums[1] += self.sums[0];
        }
        (self.bits, self.count) = (bits, count);
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends `length` more bytes as they stand one `period` (1 or 3) before.
    pub(super) fn repeat(&mut self, mut length: usize, recent: &[u8]) {
        let period = recent.len();
        match recent {
            [0] => self.sums[1] += self.sums[0] * length as u64,
            _ => recent.iter().cycle().take(length).for_each(|byte| {
                self.sums[0] += u64::from(*byte);
                self.sums[1] += self.sums[0];
            }),
        }
        // Distances of 1 to 4 have the codes 0 to 3, five bits, highest first.
        let distance = ((period as u32 - 1).reverse_bits() >> 27, 5);
        while length > 0 {
            // What remains must not be shorter than the shortest match.
            let part = match length {
                0..=LONGEST => length,
                _ if length < LONGEST + 3 => LONGEST - 3,
                _ => LONGEST,
            };
            self.push(LENGTHS[part]);
            self.push(distance);
            length -= part;
        }
    }

    /// Keeps the sums small; to be called at least every 64 KiB.
    pub(super) fn settle(&mut self) {
        self.sums = self.sums.map(|sum| sum % MODULUS);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.settle();
        // End of block, then what fills the last byte.
        self.push((0, 7));
        self.push((0, (8 - self.count % 8) % 8));
        while self.count > 0 {
            self.bytes.push(self.bits as u8);
            self.bits >>= 8;
            self.count -= 8;
        }
        let [low, high] = self.sums;
        self.bytes
            .extend((((high << 16) | low) as u32).to_be_bytes());
        self.bytes
    }

    fn push(&mut self, (code, count): (u32, u32)) {
        self.bits |= u64::from(code) << self.count;
        self.count += count;
        if self.count >= 32 {
            self.bytes.extend((self.bits as u32).to_le_bytes());
            self.bits >>= 32;
            self.count -= 32;
        }
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
