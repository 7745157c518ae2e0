//! PNG bytes.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};

use super::deflate::Stream;
use crate::error::{PuzzleError, Result};

/// Encodes a picture as PNG, eight bits of red, green and blue; the same picture gives the same
/// bytes on every machine.
///
/// # Errors
/// [`PuzzleError::Picture`] when the encoder refuses it.
pub fn encode_png(picture: &RgbImage) -> Result<Vec<u8>> {
    match encode_flat(picture) {
        Some(bytes) => Ok(bytes),
        None => encode_other(picture),
    }
}

/// Most bytes that a flat picture may take, as a part of its pixels' bytes.
const FLAT: usize = 6;

fn encode_other(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // The fast level has one implementation; the others change with the zlib that is linked.
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Up)
        .write_image(
            picture.as_raw(),
            picture.width(),
            picture.height(),
            ExtendedColorType::Rgb8,
        )
        .map_err(|fault| PuzzleError::Picture(fault.to_string()))?;
    Ok(bytes)
}

/// Each row as its difference from the row above; most are alike, and their bytes need no looking at.
/// `None` if the picture is not flat.
fn encode_flat(picture: &RgbImage) -> Option<Vec<u8>> {
    const UP: u8 = 2;
    let row = picture.width() as usize * 3;
    if row == 0 {
        return None;
    }
    let most = picture.as_raw().len() / FLAT + 1024;
    let mut stream = Stream::new(32 << 10);
    let blank = vec![0; row];
    let mut above = &blank[..];
    let mut change = vec![0; row];
    for here in picture.as_raw().chunks_exact(row) {
        match here == above {
            true => {
                stream.literals(&[UP, 0]);
                zeros(&mut stream, row - 1);
            }
            false => {
                stream.literals(&[UP]);
                for ((to, old), new) in change.iter_mut().zip(above).zip(here) {
                    *to = new.wrapping_sub(*old);
                }
                write_row(&mut stream, &change);
            }
        }
        if stream.len() > most {
            return None;
        }
        stream.settle();
        above = here;
    }
    let size = [picture.width(), picture.height()].map(u32::to_be_bytes);
    let mut header = size.concat();
    // Eight bits, red green blue, and the only methods there are.
    header.extend([8, 2, 0, 0, 0]);
    let data = stream.finish();
    let mut file = Vec::with_capacity(data.len() + 64);
    file.extend(*b"\x89PNG\r\n\x1a\n");
    for (kind, content) in [(b"IHDR", &header[..]), (b"IDAT", &data), (b"IEND", &[])] {
        chunk(&mut file, *kind, content);
    }
    Some(file)
}

/// Zeros after a zero.
fn zeros(stream: &mut Stream, count: usize) {
    match count {
        0..3 => stream.literals(&[0; 2][..count]),
        _ => stream.repeat(count, &[0]),
    }
}

/// The bytes of a row: runs of zeros, runs of one and the same pixel, and others.
fn write_row(stream: &mut Stream, row: &[u8]) {
    let (mut done, mut at) = (0, 0);
    // Runs of fewer than six bytes are not worth a match, and six are compared at once.
    while let Some(next) = six(row, at) {
        if next == 0 {
            let count = count_zeros(&row[at..]);
            stream.literals(&row[done..=at]);
            stream.repeat(count - 1, &[0]);
            at += count;
            done = at;
        } else if at >= 3 && six(row, at - 3) == Some(next) {
            let pairs = row[at..].iter().zip(&row[at - 3..]);
            let count = pairs.take_while(|(here, before)| here == before).count();
            stream.literals(&row[done..at]);
            stream.repeat(count, &row[at - 3..at]);
            at += count;
            done = at;
        } else {
            at += 1;
        }
    }
    stream.literals(&row[done..]);
}

/// Six bytes as one number; `None` where fewer than eight are left.
fn six(row: &[u8], at: usize) -> Option<u64> {
    let eight = row.get(at..at + 8)?.try_into().ok()?;
    Some(u64::from_le_bytes(eight) << 16)
}

fn count_zeros(bytes: &[u8]) -> usize {
    let known = |width: usize, from: usize| {
        let parts = bytes[from..].chunks_exact(width);
        let bare = |part: &&[u8]| part.iter().fold(0, |all, byte| all | byte) == 0;
        from + width * parts.take_while(bare).count()
    };
    known(1, known(8, known(64, 0)))
}

fn chunk(file: &mut Vec<u8>, kind: [u8; 4], content: &[u8]) {
    file.extend((content.len() as u32).to_be_bytes());
    let from = file.len();
    file.extend(kind);
    file.extend(content);
    let sum = crc(&file[from..]);
    file.extend(sum.to_be_bytes());
}

/// The checksum of a chunk (PNG, annex D), eight bytes at a time.
fn crc(bytes: &[u8]) -> u32 {
    static TABLES: [[u32; 256]; 8] = crc_tables();
    let mut sum = u32::MAX;
    let mut eights = bytes.chunks_exact(8);
    for eight in &mut eights {
        let low = u32::from_le_bytes([eight[0], eight[1], eight[2], eight[3]]) ^ sum;
        let high = u32::from_le_bytes([eight[4], eight[5], eight[6], eight[7]]);
        let part = |table: usize, four: u32, at: u32| TABLES[table][(four >> at & 255) as usize];
        sum = part(7, low, 0) ^ part(6, low, 8) ^ part(5, low, 16) ^ part(4, low, 24);
        sum ^= part(3, high, 0) ^ part(2, high, 8) ^ part(1, high, 16) ^ part(0, high, 24);
    }
    for byte in eights.remainder() {
        sum = TABLES[0][usize::from(byte ^ sum as u8)] ^ (sum >> 8);
    }
    !sum
}

const fn crc_tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 {
                0xedb8_8320 ^ (sum >> 1)
            } else {
                sum >> 1
            };
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let last = tables[table - 1][byte];
            tables[table][byte] = tables[0][(last & 255) as usize] ^ (last >> 8);
            byte += 1;
        }
        table += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use crate::draw::Canvas;

    fn check(picture: &RgbImage) {
        let flat = encode_flat(picture);
        let other = encode_other(picture).unwrap();
        for bytes in flat.into_iter().chain([other]) {
            let size = picture.dimensions();
            let found = image::load_from_memory(&bytes).unwrap();
            assert_eq!(found.color(), image::ColorType::Rgb8, "{size:?}");
            assert!(found.to_rgb8() == *picture, "{size:?}");
        }
        assert_eq!(encode_png(picture).unwrap(), encode_png(picture).unwrap());
    }

    #[test]
    fn decodes_to_the_same_picture() {
        check(&RgbImage::from_fn(33, 21, |x, y| {
            image::Rgb([x as u8, y as u8, 77])
        }));
        // Every length of a run, and every byte.
        check(&RgbImage::from_fn(301, 300, |x, y| match x < y {
            true => image::Rgb([y as u8, 200, (x / 7) as u8]),
            false => image::Rgb([0; 3]),
        }));
        for size in [[1, 1], [2, 1], [1, 2], [3, 3], [700, 5], [5, 700]] {
            check(&RgbImage::from_pixel(size[0], size[1], image::Rgb([0; 3])));
            check(&RgbImage::from_pixel(
                size[0],
                size[1],
                image::Rgb([9, 8, 7]),
            ));
            let mut dice = Dice::new(1, "png");
            let noise = RgbImage::from_fn(size[0], size[1], |_, _| {
                image::Rgb([(); 3].map(|()| dice.below(256) as u8))
            });
            check(&noise);
        }
    }

    #[test]
    fn drawings_are_flat_and_become_small() {
        let mut canvas = Canvas::new([480, 480], [255; 3]).unwrap();
        canvas.ring([200.0, 240.0], 130.0, 5.0, [30; 3], [255; 3]);
        canvas.rect([300, 40, 400, 90], [20, 90, 200]);
        canvas.label([350.0, 300.0], "42", 30.0, [30; 3]);
        let picture = canvas.into_rgb().unwrap();
        check(&picture);
        let bytes = encode_png(&picture).unwrap().len();
        assert!(bytes < 20_000, "{bytes} bytes");
        let other = encode_other(&picture).unwrap().len();
        assert!(bytes <= other, "{bytes} bytes, {other} otherwise");
    }

    #[test]
    fn checksums_are_those_of_the_format() {
        assert_eq!(crc(b"IEND"), 0xae42_6082);
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
    }
}
