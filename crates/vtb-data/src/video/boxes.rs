//! Boxes of an MP4 file, read with every length checked.

use super::{Found, damaged};

/// Big-endian numbers from the content of a box.
#[derive(Clone)]
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
    name: &'static str,
}

impl<'a> Bytes<'a> {
    /// `name` is for messages.
    pub(super) fn new(rest: &'a [u8], name: &'static str) -> Self {
        Self { rest, name }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Found<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return damaged(format!("box {} ends early", self.name));
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn skip(&mut self, count: usize) -> Found<()> {
        self.take(count).map(drop)
    }

    /// A number of at most 8 bytes.
    pub(super) fn number(&mut self, bytes: usize) -> Found<u64> {
        let taken = self.take(bytes)?;
        Ok(taken.iter().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    pub(super) fn u8(&mut self) -> Found<u8> {
        Ok(self.number(1)? as u8)
    }

    pub(super) fn u16(&mut self) -> Found<u16> {
        Ok(self.number(2)? as u16)
    }

    pub(super) fn u32(&mut self) -> Found<u32> {
        Ok(self.number(4)? as u32)
    }

    /// A table: its length in entries, then the entries of `size` bytes each.
    pub(super) fn table(&mut self, size: usize) -> Found<std::slice::ChunksExact<'a, u8>> {
        let count = self.u32()? as usize;
        let Some(bytes) = count.checked_mul(size) else {
            return damaged(format!("box {} counts too many entries", self.name));
        };
        Ok(self.take(bytes)?.chunks_exact(size))
    }
}

/// A four-byte number inside a table's entry.
pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
    u32::from_be_bytes(four.unwrap_or_default())
}

/// Name and content.
pub(super) type Box4<'a> = ([u8; 4], &'a [u8]);

/// The boxes that lie one after another in `data`.
pub(super) fn boxes(data: &[u8]) -> impl Iterator<Item = Found<Box4<'_>>> {
    let mut rest = data;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = split_box(rest);
        rest = next.as_ref().map_or(&[], |(_, after)| *after);
        Some(next.map(|(found, _)| found))
    })
}

fn split_box(data: &[u8]) -> Found<(Box4<'_>, &[u8])> {
    let mut head = Bytes::new(data, "of some kind");
    let short = u64::from(head.u32()?);
    let mut name = [0; 4];
    name.copy_from_slice(head.take(4)?);
    let (header, size) = match short {
        0 => (8, data.len() as u64),
        1 => (16, head.number(8)?),
        _ => (8, short),
    };
    let whole = usize::try_from(size).ok().and_then(|n| data.get(..n));
    let Some(content) = whole.and_then(|w| w.get(header..)) else {
        let name = name_of(name);
        return damaged(format!(
            "box {name} claims {size} bytes and {} are left; the file may be cut short",
            data.len()
        ));
    };
    Ok(((name, content), &data[size as usize..]))
}

/// The first box of that name, if there is one.
pub(super) fn find<'a>(data: &'a [u8], name: &[u8; 4]) -> Found<Option<&'a [u8]>> {
    for found in boxes(data) {
        let (this, content) = found?;
        if this == *name {
            return Ok(Some(content));
        }
    }
    Ok(None)
}

/// The first box of that name; its absence is an error.
pub(super) fn need<'a>(data: &'a [u8], name: &[u8; 4]) -> Found<&'a [u8]> {
    match find(data, name)? {
        Some(content) => Ok(content),
        None => damaged(format!("box {} is missing", name_of(*name))),
    }
}

/// A box's name as text.
pub(super) fn name_of(name: [u8; 4]) -> String {
    name.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_of_all_three_length_forms_are_walked() {
        let mut data = Vec::new();
        data.extend([0, 0, 0, 9]);
        data.extend(b"abcdX");
        data.extend([0, 0, 0, 1]);
        data.extend(b"wide");
        data.extend([0, 0, 0, 0, 0, 0, 0, 17, b'Y']);
        data.extend([0, 0, 0, 0]);
        data.extend(b"lastZZ");
        let all: Vec<_> = boxes(&data).map(|b| b.unwrap()).collect();
        assert_eq!(
            all,
            [
                (*b"abcd", &b"X"[..]),
                (*b"wide", &b"Y"[..]),
                (*b"last", &b"ZZ"[..])
            ]
        );
        assert_eq!(need(&data, b"wide").unwrap(), b"Y");
        assert!(find(&data, b"none").unwrap().is_none());
    }

    #[test]
    fn lengths_that_lie_end_the_walk_with_an_error() {
        for bad in [
            &b"\0\0\0\x09abcd"[..],
            b"\0\0\0\x04abcd",
            b"\0\0\0\x01abcd\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\0\0",
        ] {
            let all: Vec<_> = boxes(bad).collect();
            assert!(all.len() == 1 && all[0].is_err(), "{bad:?}");
        }
        let mut table = Bytes::new(&[0xff, 0xff, 0xff, 0xff, 1, 2], "stts");
        assert!(table.table(8).is_err());
    }
}
