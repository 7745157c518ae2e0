//! A zlib stream for bytes that are mostly runs: what is left of a flat drawing when each row is
//! told by its difference from the row above.
//!
//! Runs become matches, everything else literals, all in the code that the format has fixed
//! (RFC 1951, 3.2.6), so that nothing is counted before or looked for behind. A compressor for all
//! kinds of data takes three times as long for the same size.

/// Rows are appended one after another; [`Stream::finish`] gives the stream.
pub(super) struct Stream {
    /// What is written, and room for more.
    bytes: Vec<u8>,
    state: State,
}

/// Where a stream is.
#[derive(Clone, Copy)]
pub(super) struct State {
    /// How many bytes are written.
    at: usize,
    /// Bits not written yet, the first lowest; fewer than eight between calls.
    bits: u64,
    count: u32,
    /// The two sums of the checksum (RFC 1950, 8.2), each below its modulus between rows.
    sums: [u64; 2],
    /// The last run: a pixel, its first byte lowest, and how many more bytes of it are counted but not
    /// written.
    last: u32,
    again: usize,
}

/// Where a row begins or ends: the bit, and the checksum's sums.
#[derive(Clone, Copy)]
pub(super) struct Place {
    bit: usize,
    sums: [u64; 2],
}

/// A row being written: to be held by value, as what is known to lie in registers need not be read
/// again after every byte that is written.
pub(super) struct Row<'a> {
    out: &'a mut [u8],
    state: State,
}

/// Longest match.
const LONGEST: usize = 258;
/// Modulus of the checksum.
const MODULUS: u64 = 65_521;
/// Codes of bytes and of match lengths, with how many bits each has.
static LITERALS: [(u32, u32); 256] = literals();
/// The same for pixels of three equal bytes.
static GRAYS: [(u32, u32); 256] = grays();
static LENGTHS: [(u32, u32); LONGEST + 1] = lengths();
/// What a stream begins with: deflate with a window of 32 KiB, the fastest kind.
pub(crate) const HEADER: [u8; 2] = [0x78, 0x01];
/// The last block, and the only one, in the fixed code: three bits.
pub(crate) const LAST_FIXED: u64 = 0b011;
/// Codes of the distances 1 and 3, and how many bits they have.
pub(crate) const ONE_BACK: u64 = 0;
pub(crate) const THREE_BACK: u64 = mirrored(2, DISTANCE as u32) as u64;
pub(crate) const DISTANCE: u8 = 5;
/// Codes of so many bytes, of whole pixels that fit into one match: zeros, and as three bytes before.
static ZEROS: [(u32, u32); RUN] = zeros();
static AGAIN: [(u32, u32); RUN] = again();
const RUN: usize = LONGEST + 1;

impl Stream {
    pub(super) fn new(capacity: usize) -> Self {
        let mut bytes = vec![0; capacity.max(64)];
        bytes[..2].copy_from_slice(&HEADER);
        let state = State {
            at: 2,
            bits: 0,
            count: 0,
            sums: [1, 0],
            last: 0,
            again: 0,
        };
        let mut stream = Self { bytes, state };
        let mut row = stream.begin(0);
        row.push(LAST_FIXED, 3);
        stream.state = row.state;
        stream
    }

    /// Begins a row of so many bytes, 64 KiB at most. Not by a function that writes it: that would
    /// not be compiled for the processor at hand.
    #[inline(always)]
    pub(super) fn begin(&mut self, bytes: usize) -> Row<'_> {
        // So they stay small.
        self.state.sums = self.state.sums.map(|sum| sum % MODULUS);
        // A byte takes nine bits at most.
        let wanted = self.state.at + bytes + bytes / 8 + 64;
        if wanted > self.bytes.len() {
            self.bytes.resize(wanted + wanted / 2, 0);
        }
        Row {
            out: &mut self.bytes,
            state: self.state,
        }
    }

    /// Goes on where a row ends.
    #[inline(always)]
    pub(super) fn go_on_at(&mut self, end: State) {
        self.state = end;
    }

    /// Appends a row like one before, by the bits that [`Stream::bits_of`] gave and the number of zero
    /// bytes behind its first byte.
    #[inline(always)]
    pub(super) fn row_of_zeros(&mut self, first: u8, zeros: usize, bits: &[(u64, u32)]) {
        let mut row = self.begin(1 + zeros);
        let sums = &mut row.state.sums;
        sums[0] += u64::from(first);
        sums[1] += sums[0] * (1 + zeros as u64);
        for &(code, count) in bits {
            row.push(code, count);
        }
        self.state = row.state;
    }

    /// The bits that `write` appends, some at a time.
    pub(super) fn bits_of(bytes: usize, write: impl FnOnce(&mut Row<'_>)) -> Vec<(u64, u32)> {
        let mut stream = Self::new(64);
        let from = 8 * stream.state.at + stream.state.count as usize;
        let mut row = stream.begin(bytes);
        write(&mut row);
        stream.state = row.state;
        let to = 8 * stream.state.at + stream.state.count as usize;
        let bit = |at: usize| u64::from(stream.bytes[at / 8] >> (at % 8) & 1);
        let part = |from: usize, to: usize| {
            let bits = (from..to).rev().fold(0, |bits, at| bits << 1 | bit(at));
            (bits, (to - from) as u32)
        };
        let parts = (from..to).step_by(56);
        parts.map(|at| part(at, to.min(at + 56))).collect()
    }

    /// Where the next row begins.
    pub(super) fn place(&self) -> Place {
        Place {
            bit: 8 * self.state.at + self.state.count as usize,
            sums: self.state.sums,
        }
    }

    /// Appends a row of so many bytes as it stands in another stream, `between` two of its places. Eight
    /// bytes more must follow that stream's end.
    #[inline(always)]
    pub(super) fn copy(&mut self, bytes: usize, from: &[u8], between: [Place; 2]) {
        let [start, end] = between;
        // What the row added to the sums, of which the second grew by the first for every byte.
        let [before, low] = start.sums.map(|sum| sum % MODULUS);
        let added = end.sums[0] - before;
        let inner = end.sums[1] - low - before * bytes as u64;
        let mut row = self.begin(bytes);
        let sums = &mut row.state.sums;
        sums[1] += sums[0] * bytes as u64 + inner;
        sums[0] += added;
        let mut bit = start.bit;
        while bit < end.bit {
            let count = (end.bit - bit).min(56);
            let some = from.get(bit / 8..).and_then(|rest| rest.first_chunk());
            let some = some.map_or(0, |some| u64::from_le_bytes(*some)) >> (bit % 8);
            row.push(some & ((1 << count) - 1), count as u32);
            bit += count;
        }
        self.state = row.state;
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.state.at
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let mut row = self.begin(0);
        // End of block, then what fills the last byte.
        row.push(0, 7);
        row.push(0, (8 - row.state.count % 8) % 8);
        self.state = row.state;
        let [low, high] = self.state.sums.map(|sum| sum % MODULUS);
        self.bytes.truncate(self.state.at);
        self.bytes
            .extend((((high << 16) | low) as u32).to_be_bytes());
        self.bytes
    }
}

impl Row<'_> {
    /// Where it ends, once all is written.
    #[inline(always)]
    pub(super) fn end_state(&self) -> State {
        self.state
    }

    /// Appends one byte.
    #[inline(always)]
    pub(super) fn byte(&mut self, byte: u8) {
        self.state.sums[0] += u64::from(byte);
        self.state.sums[1] += self.state.sums[0];
        let (code, count) = LITERALS[usize::from(byte)];
        self.push(u64::from(code), count);
    }

    /// Appends so many bytes of zeros, then a pixel, whose first byte is the lowest, then so many more
    /// bytes of the same pixel; all multiples of three.
    #[inline(always)]
    pub(super) fn run(&mut self, zeros: usize, pixel: u32, again: usize) {
        self.close();
        let first = pixel & 0xff;
        let (code, count, each, inner) = if pixel == first * 0x01_01_01 {
            let (code, count) = GRAYS[first as usize];
            (code, count, 3 * first, 6 * first)
        } else {
            let [second, third] = [pixel >> 8 & 0xff, pixel >> 16 & 0xff];
            let codes = [first, second, third].map(|byte| LITERALS[(byte & 0xff) as usize]);
            let (code, count) = joined(joined(codes[0], codes[1]), codes[2]);
            let each = first + second + third;
            (code, count, each, 3 * first + 2 * second + third)
        };
        let sums = &mut self.state.sums;
        sums[1] += sums[0] * (zeros + 3) as u64 + u64::from(inner);
        sums[0] += u64::from(each);
        match ZEROS.get(zeros) {
            Some(zeros) => {
                let code = u64::from(code) << zeros.1 | u64::from(zeros.0);
                self.push(code, zeros.1 + count);
            }
            None => {
                self.state = long_runs(self.out, self.state, 0, zeros);
                self.push(u64::from(code), count);
            }
        }
        self.state.last = pixel;
        if again > 0 {
            self.go_on(again);
        }
    }

    /// Appends so many bytes more of the last run's pixel.
    #[inline(always)]
    pub(super) fn go_on(&mut self, again: usize) {
        let bytes = [0, 8, 16].map(|shift| u64::from(self.state.last >> shift & 0xff));
        let [first, second, third] = bytes;
        let each = first + second + third;
        let inner = 3 * first + 2 * second + third;
        let times = again as u64 / 3;
        let sums = &mut self.state.sums;
        // Every pixel adds three times what came before it, and its own bytes 3, 2 and 1 times.
        let before = 3 * times * sums[0] + 3 * each * (times * times - times) / 2;
        sums[1] += before + times * inner;
        sums[0] += times * each;
        self.state.again += again;
    }

    /// Appends so many bytes of zeros, the last of the row.
    #[inline(always)]
    pub(super) fn end(&mut self, zeros: usize) {
        self.close();
        self.state.sums[1] += self.state.sums[0] * zeros as u64;
        match ZEROS.get(zeros) {
            Some(&(code, count)) => self.push(u64::from(code), count),
            None => self.state = long_runs(self.out, self.state, 0, zeros),
        }
    }

    /// Writes what was counted of the last run.
    #[inline(always)]
    fn close(&mut self) {
        let again = self.state.again;
        if again == 0 {
            return;
        }
        match AGAIN.get(again) {
            Some(&(code, count)) => self.push(u64::from(code), count),
            None => self.state = long_runs(self.out, self.state, again, 0),
        }
        self.state.again = 0;
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
            self.push(
                u64::from(code) | distance << count,
                count + u32::from(DISTANCE),
            );
            length -= part;
        }
    }

    /// Appends up to 56 bits.
    #[inline(always)]
    fn push(&mut self, code: u64, count: u32) {
        let state = &mut self.state;
        let bits = state.bits | code << state.count;
        let count = state.count + count;
        self.out[state.at..state.at + 8].copy_from_slice(&bits.to_le_bytes());
        state.at += (count / 8) as usize;
        state.bits = bits >> (count & !7);
        state.count = count % 8;
    }
}

/// Appends runs of any length: so many bytes of the last pixel, then so many of zeros. The checksum
/// is left out.
#[cold]
fn long_runs(out: &mut [u8], state: State, again: usize, zeros: usize) -> State {
    let mut row = Row { out, state };
    row.matches(again, THREE_BACK);
    match ZEROS.get(zeros) {
        Some(&(code, count)) => row.push(u64::from(code), count),
        None => {
            row.push(u64::from(LITERALS[0].0), LITERALS[0].1);
            row.matches(zeros - 1, ONE_BACK);
        }
    }
    row.state
}

/// Codes are written highest bit first, everything else lowest bit first.
const fn mirrored(code: u32, count: u32) -> u32 {
    code.reverse_bits() >> (32 - count)
}

/// The fixed code of a symbol below 286 (a byte, 256 for the end, or a length), and how many bits it
/// has.
pub(crate) const fn code_of(symbol: u32) -> (u32, u32) {
    let (code, count) = match symbol {
        0..=143 => (0x30 + symbol, 8),
        144..=255 => (0x190 + symbol - 144, 9),
        256..=279 => (symbol - 256, 7),
        _ => (0xc0 + symbol - 280, 8),
    };
    (mirrored(code, count), count)
}

/// How many bits follow the code of a length.
pub(crate) const fn more_bits(symbol: u32) -> u32 {
    match symbol {
        265..=284 => (symbol - 261) / 4,
        _ => 0,
    }
}

const fn literals() -> [(u32, u32); 256] {
    let mut codes = [(0, 0); 256];
    let mut byte = 0;
    while byte < 256 {
        codes[byte as usize] = code_of(byte);
        byte += 1;
    }
    codes
}

const fn grays() -> [(u32, u32); 256] {
    let mut codes = literals();
    let mut byte = 0;
    while byte < 256 {
        let one = codes[byte];
        codes[byte] = joined(joined(one, one), one);
        byte += 1;
    }
    codes
}

/// Two codes, one after the other.
const fn joined(first: (u32, u32), second: (u32, u32)) -> (u32, u32) {
    (first.0 | second.0 << first.1, first.1 + second.1)
}

/// A length is a code and some more bits, here in one; below 3 there is none.
const fn lengths() -> [(u32, u32); LONGEST + 1] {
    let mut codes = [(0, 0); LONGEST + 1];
    let mut length = 3;
    let mut symbol = 257;
    while symbol <= 284 {
        let extra = more_bits(symbol);
        let (code, count) = code_of(symbol);
        let mut more = 0;
        while more < 1 << extra {
            // The last of these belongs to the longest match, which has a code of its own.
            codes[length] = (code | more << count, count + extra);
            length += 1;
            more += 1;
        }
        symbol += 1;
    }
    codes[LONGEST] = code_of(285);
    codes
}

/// A literal and a match; a match may not be shorter than three bytes.
const fn zeros() -> [(u32, u32); RUN] {
    let mut codes = [(0, 0); RUN];
    codes[3] = grays()[0];
    let lengths = lengths();
    let mut bytes = 6;
    while bytes < RUN {
        let distance = (ONE_BACK as u32, DISTANCE as u32);
        codes[bytes] = joined(literals()[0], joined(lengths[bytes - 1], distance));
        bytes += 3;
    }
    codes
}

const fn again() -> [(u32, u32); RUN] {
    let mut codes = [(0, 0); RUN];
    let lengths = lengths();
    let mut bytes = 3;
    while bytes < RUN {
        codes[bytes] = joined(lengths[bytes], (THREE_BACK as u32, DISTANCE as u32));
        bytes += 3;
    }
    codes
}
