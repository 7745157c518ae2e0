//! Where the lines of a file lie, found in one pass over its bytes that reads nothing into them.

use std::io::{Read, Result};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use sha2::{Digest, Sha256};

use crate::lines::hex;

/// Bytes read at a time.
const CHUNK: usize = 4 << 20;
/// Chunks that wait for the hash. With those being read and hashed, what a pass holds in memory.
const WAITING: usize = 2;
/// A byte order mark, which some editors put before the first line.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Where a row lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// Where it begins; the byte order mark of a first line is skipped.
    pub(super) offset: u64,
    /// Its bytes without the line feed, or [`Slot::TOO_LONG`].
    pub(super) len: u32,
    /// Number of the line, modulo 2³²: only for messages.
    pub(super) line: u32,
    /// CRC-32C of its bytes: tells a file that changed while it was open.
    pub(super) sum: u32,
}

impl Slot {
    /// Stands for the length of a line beyond the limit, which is never read.
    pub(super) const TOO_LONG: u32 = u32::MAX;
}

/// The rows of a file, blank lines left out, and what the file is.
pub(super) struct Index {
    pub(super) slots: Vec<Slot>,
    /// Of the whole file, lower-case hexadecimal.
    pub(super) sha256: String,
    /// Size of the file.
    pub(super) bytes: u64,
}

/// Reads to the end. A line may have `limit` bytes without its end; of none more than a chunk is held.
///
/// The hash is the slow part, and has a thread of its own.
pub(super) fn scan(mut reader: impl Read, limit: usize) -> Result<Index> {
    let mut scanner = Scanner::new(limit);
    let first = read_chunk(&mut reader)?;
    if first.len() < CHUNK {
        scanner.take(&first);
        let hash = Sha256::digest(&first);
        return Ok(scanner.finish(hex(&hash)));
    }
    std::thread::scope(|scope| {
        let (hand_over, chunks) = sync_channel::<Arc<Vec<u8>>>(WAITING);
        let hasher = scope.spawn(move || {
            let mut hash = Sha256::new();
            chunks.iter().for_each(|chunk| hash.update(&*chunk));
            hex(&hash.finalize())
        });
        let mut chunk = Arc::new(first);
        while !chunk.is_empty() {
            // The hasher ends only when this end is dropped.
            let _ = hand_over.send(Arc::clone(&chunk));
            scanner.take(&chunk);
            chunk = Arc::new(read_chunk(&mut reader)?);
        }
        drop(hand_over);
        let hash = hasher
            .join()
            .map_err(|_| std::io::Error::other("the thread that hashes the file panicked"))?;
        Ok(scanner.finish(hash))
    })
}

/// A full chunk, or what is left.
fn read_chunk(reader: &mut impl Read) -> Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(CHUNK);
    reader.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
    Ok(chunk)
}

/// The line at hand, and the rows before it.
struct Scanner {
    limit: u64,
    slots: Vec<Slot>,
    /// Bytes taken so far.
    offset: u64,
    line: u64,
    /// Where the line at hand begins.
    start: u64,
    /// Its bytes so far, their sum, whether all are blank, and whether the last is a carriage return.
    len: u64,
    sum: u32,
    blank: bool,
    returned: bool,
}

impl Scanner {
    fn new(limit: usize) -> Self {
        Self {
            // A slot holds lengths in 32 bits, a carriage return included.
            limit: (limit as u64).min(u64::from(u32::MAX - 2)),
            slots: Vec::new(),
            offset: 0,
            line: 1,
            start: 0,
            len: 0,
            sum: 0,
            blank: true,
            returned: false,
        }
    }

    fn take(&mut self, chunk: &[u8]) {
        let skip = if self.offset == 0 && chunk.starts_with(MARK) {
            MARK.len()
        } else {
            0
        };
        self.start += skip as u64;
        let mut from = skip;
        for end in memchr::memchr_iter(b'\n', &chunk[skip..]) {
            let end = skip + end;
            self.extend(&chunk[from..end]);
            self.end_line();
            from = end + 1;
            self.start = self.offset + from as u64;
            self.line += 1;
        }
        self.extend(&chunk[from..]);
        self.offset += chunk.len() as u64;
    }

    fn extend(&mut self, part: &[u8]) {
        let Some(last) = part.last() else { return };
        self.len += part.len() as u64;
        self.returned = *last == b'\r';
        self.blank = self.blank && part.iter().all(u8::is_ascii_whitespace);
        // Of a line that is too long nothing is read again.
        if self.len <= self.limit + 1 {
            self.sum = crc32c::crc32c_append(self.sum, part);
        }
    }

    fn end_line(&mut self) {
        let content = self.len - u64::from(self.returned);
        let long = content > self.limit;
        if !self.blank || long {
            self.slots.push(Slot {
                offset: self.start,
                len: if long {
                    Slot::TOO_LONG
                } else {
                    self.len as u32
                },
                line: self.line as u32,
                sum: self.sum,
            });
        }
        (self.len, self.sum, self.blank, self.returned) = (0, 0, true, false);
    }

    fn finish(mut self, sha256: String) -> Index {
        self.end_line();
        Index {
            slots: self.slots,
            sha256,
            bytes: self.offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &[u8], limit: usize) -> Vec<(u64, u32, u32)> {
        let index = scan(text, limit).unwrap();
        assert_eq!(index.sha256, hex(&Sha256::digest(text)));
        assert_eq!(index.bytes, text.len() as u64);
        let slot = |s: &Slot| (s.offset, s.len, s.line);
        index.slots.iter().map(slot).collect()
    }

    #[test]
    fn blank_lines_ends_and_a_byte_order_mark_are_seen() {
        assert_eq!(lines(b"", 9), []);
        assert_eq!(lines(b"\n \r\n\t", 9), []);
        assert_eq!(lines(b"ab\r\n\ncd", 9), [(0, 3, 1), (5, 2, 3)]);
        assert_eq!(lines(b"\xef\xbb\xbfab\nc\n", 9), [(3, 2, 1), (6, 1, 2)]);
    }

    #[test]
    fn the_limit_counts_the_line_without_its_end() {
        assert_eq!(lines(b"abcd\r\nx", 4), [(0, 5, 1), (6, 1, 2)]);
        let long = Slot::TOO_LONG;
        assert_eq!(lines(b"abcde\nx", 4), [(0, long, 1), (6, 1, 2)]);
        assert_eq!(lines(b"abcdefghij", 4), [(0, long, 1)]);
        assert_eq!(lines(b"      ", 4), [(0, long, 1)]);
    }

    #[test]
    fn lines_across_chunks_are_whole_and_every_byte_is_hashed() {
        let long = vec![b'x'; CHUNK + CHUNK / 2];
        let text = [long.as_slice(), b"\nab\n", &long[..CHUNK], b"\r\nz"].concat();
        let index = scan(text.as_slice(), 2 * CHUNK).unwrap();
        let found: Vec<_> = index.slots.iter().map(|s| (s.line, s.len)).collect();
        let (first, third) = (long.len() as u32, CHUNK as u32 + 1);
        assert_eq!(found, [(1, first), (2, 2), (3, third), (4, 1)]);
        for slot in &index.slots {
            let from = slot.offset as usize;
            let bytes = &text[from..from + slot.len as usize];
            assert_eq!(slot.sum, crc32c::crc32c(bytes));
        }
        assert_eq!(index.sha256, hex(&Sha256::digest(&text)));
    }

    proptest! {
        /// Against the plain way of splitting a text.
        #[test]
        fn rows_are_the_lines_that_are_not_blank(text in "[ab \r\n]{0,60}") {
            let found = scan(text.as_bytes(), 8).unwrap();
            let mut wanted = Vec::new();
            for (number, line) in text.split('\n').enumerate() {
                let content = line.strip_suffix('\r').unwrap_or(line);
                if content.len() > 8 {
                    wanted.push((number as u32 + 1, Slot::TOO_LONG));
                } else if !content.bytes().all(|b| b.is_ascii_whitespace()) {
                    wanted.push((number as u32 + 1, line.len() as u32));
                }
            }
            let slots: Vec<_> = found.slots.iter().map(|s| (s.line, s.len)).collect();
            prop_assert_eq!(slots, wanted);
        }
    }
}
