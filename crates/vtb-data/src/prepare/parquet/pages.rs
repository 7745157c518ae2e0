//! Page headers, looked at before a page is unpacked: what they claim is what the unpacking takes
//! in memory, and nothing else bounds it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

/// Most bytes of a page once it is unpacked.
const MAX_PAGE: i64 = 64 << 20;
/// Most rows of a row group.
const MAX_ROWS: i64 = 1 << 20;
/// Most values of a list column for each row, on average; a small group may have more.
const MAX_ITEMS: i64 = 16;
const FREE_ITEMS: i64 = 4096;
/// Longest page header in bytes; statistics may stand in it.
const MAX_HEADER: u64 = 1 << 20;
/// Deepest nesting in a header.
const MAX_DEPTH: usize = 8;

/// Checks the pages of some columns of a row group against the limits.
///
/// # Errors
/// A sentence that names the column and what it claims.
pub(super) fn check_pages(
    file: &mut File,
    group: &RowGroupMetaData,
    columns: &[usize],
) -> Result<(), String> {
    let rows = group.num_rows();
    if !(0..=MAX_ROWS).contains(&rows) {
        return Err(format!(
            "a row group claims {rows} rows and {MAX_ROWS} are allowed"
        ));
    }
    let size = file.metadata().map_err(|e| e.to_string())?.len();
    for &at in columns {
        let Some(column) = group.columns().get(at) else {
            return Err("a row group lacks a column".to_owned());
        };
        let name = column.column_path().string();
        let fail = |reason: String| format!("column `{name}`: {reason}");
        let values = walk(file, size, column).map_err(fail)?;
        let most = rows.saturating_mul(MAX_ITEMS).saturating_add(FREE_ITEMS);
        if values > most {
            return Err(fail(format!(
                "it holds {values} values for {rows} rows and {most} are allowed"
            )));
        }
    }
    Ok(())
}

/// The values of all data pages of a column.
fn walk(file: &mut File, size: u64, column: &ColumnChunkMetaData) -> Result<i64, String> {
    let starts = [
        Some(column.data_page_offset()),
        column.dictionary_page_offset(),
    ];
    let start = starts.into_iter().flatten().filter(|at| *at > 0).min();
    let place = |number: i64| u64::try_from(number).map_err(|_| "its place is negative".to_owned());
    let mut at = place(start.unwrap_or(0))?;
    let end = at.saturating_add(place(column.compressed_size())?);
    if end > size {
        return Err("it ends behind the end of the file".to_owned());
    }
    let mut values = 0_i64;
    while at < end {
        let header = Header::read(file, at, end)?;
        let (page, unpacked) = (i64::from(header.compressed), i64::from(header.unpacked));
        if page < 0 || unpacked < 0 || header.values < 0 {
            return Err("a page claims a negative size".to_owned());
        }
        if unpacked > MAX_PAGE {
            return Err(format!(
                "a page claims {unpacked} bytes and {MAX_PAGE} are allowed"
            ));
        }
        if header.is_data {
            values = values.saturating_add(i64::from(header.values));
        }
        at = at
            .saturating_add(header.length)
            .saturating_add(page.unsigned_abs());
    }
    Ok(values)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Header {
    length: u64,
    unpacked: i32,
    compressed: i32,
    values: i32,
    is_data: bool,
}

impl Header {
    fn read(file: &mut File, at: u64, end: u64) -> Result<Self, String> {
        let mut bytes = Vec::new();
        // Nearly every header fits into the first, short look.
        for look in [256, MAX_HEADER] {
            bytes.clear();
            file.seek(SeekFrom::Start(at))
                .and_then(|_| {
                    let part = Read::by_ref(file).take(look.min(end - at));
                    part.take(look).read_to_end(&mut bytes)
                })
                .map_err(|e| e.to_string())?;
            if let Some(header) = Self::parse(&bytes) {
                return Ok(header);
            }
        }
        Err(format!("the page header at byte {at} cannot be read"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut thrift = Thrift { bytes, at: 0 };
        let mut header = Self::default();
        let mut kind = -1;
        thrift.fields(0, &mut |thrift, field, of| {
            let number = of == I32;
            match field {
                1 if number => kind = thrift.i32()?,
                2 if number => header.unpacked = thrift.i32()?,
                3 if number => header.compressed = thrift.i32()?,
                5 | 7 | 8 if of == STRUCT => thrift.fields(1, &mut |thrift, inner, of| {
                    match inner {
                        1 if of == I32 => header.values = thrift.i32()?,
                        _ => thrift.skip(of, 2)?,
                    }
                    Some(())
                })?,
                _ => thrift.skip(of, 1)?,
            }
            Some(())
        })?;
        header.length = thrift.at as u64;
        header.is_data = kind == 0 || kind == 3;
        Some(header)
    }
}

/// Types of Thrift's compact protocol.
const I32: u8 = 5;
const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;

/// Just enough of Thrift's compact protocol; `None` where the bytes end or make no sense.
struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

type Visit<'v, 'a> = &'v mut dyn FnMut(&mut Thrift<'a>, i32, u8) -> Option<()>;

impl<'a> Thrift<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn i32(&mut self) -> Option<i32> {
        let raw = u32::try_from(self.varint()?).ok()?;
        Some(((raw >> 1) as i32) ^ -((raw & 1) as i32))
    }

    /// Fields of a struct up to its end.
    fn fields(&mut self, depth: usize, visit: Visit<'_, 'a>) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut id = 0_i32;
        loop {
            let head = self.byte()?;
            let (step, of) = (head >> 4, head & 0x0f);
            if of == 0 {
                return Some(());
            }
            id = match step {
                0 => self.i32()?,
                step => id.checked_add(i32::from(step))?,
            };
            visit(self, id, of)?;
        }
    }

    fn skip(&mut self, of: u8, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match of {
            // A truth is in its field's head.
            1 | 2 => Some(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.advance(8),
            8 => {
                let len = usize::try_from(self.varint()?).ok()?;
                self.advance(len)
            }
            LIST | SET => {
                let head = self.byte()?;
                let len = match head >> 4 {
                    15 => usize::try_from(self.varint()?).ok()?,
                    len => usize::from(len),
                };
                // Truths of a list have a byte each.
                let of = if head & 0x0f <= 2 { 3 } else { head & 0x0f };
                (0..len.min(self.bytes.len() + 1)).try_for_each(|_| self.skip(of, depth + 1))
            }
            STRUCT => self.fields(depth + 1, &mut |thrift, _, of| thrift.skip(of, depth + 1)),
            _ => None,
        }
    }

    fn advance(&mut self, by: usize) -> Option<()> {
        let at = self.at.checked_add(by)?;
        (at <= self.bytes.len()).then(|| self.at = at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_page_header_is_read() {
        // type 0, unpacked 300, packed 100, data_page_header {num_values 7, ..}.
        let bytes = [
            0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0xc8, 0x01, 0x2c, 0x15, 0x0e, 0x15, 0x00, 0x00,
            0x00,
        ];
        let header = Header::parse(&bytes).unwrap();
        assert_eq!((header.unpacked, header.compressed), (300, 100));
        assert_eq!(
            (header.values, header.is_data, header.length),
            (7, true, 15)
        );
        for cut in 0..bytes.len() {
            assert_eq!(Header::parse(&bytes[..cut]), None);
        }
    }
}
