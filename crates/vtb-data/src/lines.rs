//! Lines of a file with their places, never more than a limit in memory.

use std::io::{BufRead, BufReader, Read, Result};

/// One line.
pub(crate) struct Line {
    /// Where it begins, in bytes; the byte order mark of a first line is skipped.
    pub(crate) offset: u64,
    /// Its number, from 1.
    pub(crate) number: u64,
    /// The line without its end (`\n` or `\r\n`), or `None` where it is longer than the limit.
    pub(crate) bytes: Option<Vec<u8>>,
}

impl Line {
    /// Whether there is nothing on it.
    pub(crate) fn is_blank(&self) -> bool {
        let blank = |bytes: &Vec<u8>| bytes.iter().all(u8::is_ascii_whitespace);
        self.bytes.as_ref().is_some_and(blank)
    }
}

/// Reads lines one after the other.
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    limit: usize,
    offset: u64,
    number: u64,
}

impl<R: Read> Lines<R> {
    /// `limit`: longest line to hold, in bytes without its end.
    pub(crate) fn new(inner: R, limit: usize) -> Self {
        let reader = BufReader::with_capacity(1 << 20, inner);
        Self {
            reader,
            limit,
            offset: 0,
            number: 0,
        }
    }

    /// The next line, or `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Line>> {
        let mut line = Vec::new();
        let (mut read, mut ended) = (0u64, false);
        while !ended {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let end = memchr::memchr(b'\n', chunk);
            let used = end.map_or(chunk.len(), |at| at + 1);
            // The end of the line and two bytes more are kept, to tell too long from just right.
            let room = (self.limit + 2).saturating_sub(line.len());
            line.extend_from_slice(&chunk[..used.min(room)]);
            read += used as u64;
            ended = end.is_some();
            self.reader.consume(used);
        }
        if read == 0 {
            return Ok(None);
        }
        let mut offset = self.offset;
        self.offset += read;
        self.number += 1;
        let mut content = read - u64::from(ended);
        line.truncate(usize::try_from(content).unwrap_or(usize::MAX));
        if ended && line.len() as u64 == content && line.last() == Some(&b'\r') {
            line.pop();
            content -= 1;
        }
        if offset == 0 && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
            offset = 3;
            content -= 3;
        }
        let fits = content <= self.limit as u64 && content == line.len() as u64;
        Ok(Some(Line {
            offset,
            number: self.number,
            bytes: fits.then_some(line),
        }))
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], limit: usize) -> Vec<(u64, u64, Option<String>)> {
        let mut lines = Lines::new(text, limit);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let bytes = line.bytes.map(|b| String::from_utf8(b).unwrap());
            found.push((line.offset, line.number, bytes));
        }
        found
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn ends_of_lines_are_left_out_and_places_are_exact() {
        assert_eq!(all(b"", 9), []);
        assert_eq!(
            all(b"ab\r\n\ncd", 9),
            [(0, 1, some("ab")), (4, 2, some("")), (5, 3, some("cd"))]
        );
        assert_eq!(
            all(b"\xef\xbb\xbfab\nc\n", 9),
            [(3, 1, some("ab")), (6, 2, some("c"))]
        );
    }

    #[test]
    fn the_limit_counts_the_line_without_its_end() {
        assert_eq!(
            all(b"abcd\r\nx", 4),
            [(0, 1, some("abcd")), (6, 2, some("x"))]
        );
        assert_eq!(all(b"abcde\nx", 4), [(0, 1, None), (6, 2, some("x"))]);
        assert_eq!(all(b"abcdefghij", 4), [(0, 1, None)]);
    }

    #[test]
    fn a_line_past_the_buffer_is_whole() {
        let text = [vec![b'x'; 3 << 20], b"\ny".to_vec()].concat();
        let mut lines = Lines::new(text.as_slice(), 4 << 20);
        let first = lines.next().unwrap().unwrap();
        assert_eq!(first.bytes.unwrap().len(), 3 << 20);
        assert_eq!(lines.next().unwrap().unwrap().offset, (3 << 20) + 1);
        assert!(lines.next().unwrap().is_none());
    }
}
