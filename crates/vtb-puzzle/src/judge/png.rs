//! The usual PNG, read in one go: red, green and blue of eight bits, not interlaced.
//!
//! Nearly all pictures that are judged come so. The decoder of the `image` crate goes row by row,
//! through buffers of its own; here the rows are unpacked where the picture will be.

use image::RgbImage;

use super::flat_png;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Chunks that say nothing about the pixels as they are stored.
const IDLE: [&[u8]; 4] = [b"pHYs", b"gAMA", b"sRGB", b"tEXt"];

/// Width and height, where the header is that of such a file.
pub(super) fn plain_size(bytes: &[u8]) -> Option<[u32; 2]> {
    let (kind, header, _) = chunk(bytes.strip_prefix(SIGNATURE)?)?;
    let [size, form] = [header.get(..8)?, header.get(8..)?];
    let side = |at: usize| Some(u32::from_be_bytes(size[at..at + 4].try_into().ok()?));
    let is_plain = kind == b"IHDR" && form == [8, 2, 0, 0, 0];
    Some([side(0)?, side(4)?]).filter(|_| is_plain)
}

/// The picture of a file that is as [`plain_size`] says; `None` for whatever is unusual or wrong
/// about it, which another decoder may explain.
pub(super) fn read_plain(bytes: &[u8], [width, height]: [u32; 2]) -> Option<RgbImage> {
    if let Some(picture) = read_flat(bytes, [width, height]) {
        return Some(picture);
    }
    let row = width as usize * 3;
    let packed = (row + 1) * height as usize;
    // Room for one byte too many, to tell whether that is all.
    let mut rows = vec![0; packed + 1];
    if unpack(bytes, &mut rows)? != packed {
        return None;
    }
    for y in 0..height as usize {
        let (done, rest) = rows.split_at_mut(row * y);
        let filter = rest[y];
        rest.copy_within(y + 1..y + 1 + row, 0);
        let above = &done[(row * y).saturating_sub(row)..];
        unfilter(filter, &mut rest[..row], above)?;
    }
    rows.truncate(row * height as usize);
    RgbImage::from_raw(width, height, rows)
}

/// The picture of a file as this crate writes them: a header, one stream, an end.
fn read_flat(bytes: &[u8], size: [u32; 2]) -> Option<RgbImage> {
    let (_, _, rest) = chunk(bytes.strip_prefix(SIGNATURE)?)?;
    // Before the checksum of a long stream is taken that is of another kind.
    if !flat_png::is_begun(rest.get(8..)?) {
        return None;
    }
    let (kind, stream, rest) = chunk(rest)?;
    let (last, _, _) = chunk(rest)?;
    match (kind, last) {
        (b"IDAT", b"IEND") => flat_png::unpack(stream, size),
        _ => None,
    }
}

/// Kind and content of a chunk whose checksum is right, and what follows.
fn chunk(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    let (checked, rest) = bytes[4..].split_at_checked(length.checked_add(4)?)?;
    let sum = u32::from_be_bytes(*rest.first_chunk()?);
    let (kind, content) = checked.split_at(4);
    (crc32fast::hash(checked) == sum).then_some((kind, content, &rest[4..]))
}

/// Unpacks the rows, each with its filter in front, and tells how many bytes they are.
fn unpack(bytes: &[u8], rows: &mut [u8]) -> Option<usize> {
    let mut stream = fdeflate::Decompressor::new();
    // As other decoders do: chunks have checksums of their own.
    stream.ignore_adler32();
    let mut at = 0;
    let mut rest = bytes.strip_prefix(SIGNATURE)?;
    let mut before: &[u8] = b"";
    loop {
        let (kind, content, next) = chunk(rest)?;
        match kind {
            b"IHDR" if before.is_empty() => {}
            b"IDAT" if !before.is_empty() => {
                let (read, written) = stream.read(content, rows, at, false).ok()?;
                at += written;
                if read < content.len() && !stream.is_done() {
                    return None;
                }
            }
            b"IEND" => break,
            _ if IDLE.contains(&kind) && before != b"IDAT" => {}
            _ => return None,
        }
        (before, rest) = (kind, next);
    }
    stream.is_done().then_some(at)
}

/// Takes back the filter of a row (PNG, clause 9); nothing lies above the first.
fn unfilter(filter: u8, row: &mut [u8], above: &[u8]) -> Option<()> {
    match (filter, above.is_empty()) {
        (0, _) | (2, true) => {}
        (1, _) | (4, true) => {
            let mut left = [0u8; 3];
            for pixel in row.chunks_exact_mut(3) {
                for (byte, left) in pixel.iter_mut().zip(&mut left) {
                    *left = byte.wrapping_add(*left);
                    *byte = *left;
                }
            }
        }
        (2, false) => {
            for (byte, above) in row.iter_mut().zip(above) {
                *byte = byte.wrapping_add(*above);
            }
        }
        (3, _) => {
            let mut left = [0u8; 3];
            let zeros = vec![0; if above.is_empty() { row.len() } else { 0 }];
            let above = if above.is_empty() { &zeros } else { above };
            for (pixel, above) in row.chunks_exact_mut(3).zip(above.chunks_exact(3)) {
                for ((byte, left), above) in pixel.iter_mut().zip(&mut left).zip(above) {
                    let mean = (u16::from(*left) + u16::from(*above)) / 2;
                    *left = byte.wrapping_add(mean as u8);
                    *byte = *left;
                }
            }
        }
        (4, false) => {
            let (mut left, mut corner) = ([0u8; 3], [0u8; 3]);
            for (pixel, above) in row.chunks_exact_mut(3).zip(above.chunks_exact(3)) {
                for at in 0..3 {
                    left[at] = pixel[at].wrapping_add(nearest(left[at], above[at], corner[at]));
                    corner[at] = above[at];
                    pixel[at] = left[at];
                }
            }
        }
        _ => return None,
    }
    Some(())
}

/// Of three neighbours that which is nearest to `left + above - corner`.
fn nearest(left: u8, above: u8, corner: u8) -> u8 {
    let [a, b, c] = [left, above, corner].map(i16::from);
    let (to_left, to_above, to_corner) = ((b - c).abs(), (a - c).abs(), (a + b - 2 * c).abs());
    if to_left <= to_above && to_left <= to_corner {
        left
    } else if to_above <= to_corner {
        above
    } else {
        corner
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode_png;
    use image::codecs::png::{CompressionType, FilterType, PngEncoder};
    use image::{ExtendedColorType, ImageEncoder, Rgb};

    fn read(bytes: &[u8]) -> Option<RgbImage> {
        read_plain(bytes, plain_size(bytes)?)
    }

    fn pictures() -> Vec<RgbImage> {
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let sizes = [(1, 1), (1, 7), (9, 1), (31, 22), (200, 150)];
        let mut all = Vec::new();
        for (width, height) in sizes {
            all.push(RgbImage::from_fn(width, height, |_, _| {
                Rgb([(); 3].map(|()| noise()))
            }));
            all.push(RgbImage::from_fn(width, height, |x, y| {
                Rgb([(x * 3) as u8, (y * 2) as u8, (x + y) as u8])
            }));
            all.push(RgbImage::from_pixel(width, height, Rgb([250, 250, 240])));
        }
        all
    }

    #[test]
    fn files_of_every_filter_are_read() {
        const FILTERS: [FilterType; 6] = [
            FilterType::NoFilter,
            FilterType::Sub,
            FilterType::Up,
            FilterType::Avg,
            FilterType::Paeth,
            FilterType::Adaptive,
        ];
        for picture in pictures() {
            assert!(read(&encode_png(&picture).unwrap()).as_ref() == Some(&picture));
            for filter in FILTERS {
                for level in [CompressionType::Fast, CompressionType::Best] {
                    let mut bytes = Vec::new();
                    PngEncoder::new_with_quality(&mut bytes, level, filter)
                        .write_image(
                            picture.as_raw(),
                            picture.width(),
                            picture.height(),
                            ExtendedColorType::Rgb8,
                        )
                        .unwrap();
                    assert!(
                        read(&bytes).as_ref() == Some(&picture),
                        "{filter:?} {level:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn files_that_are_unusual_or_damaged_are_left_to_others() {
        let picture = &pictures()[9];
        let whole = encode_png(picture).unwrap();
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_none());
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert!(read(&damaged).is_none(), "byte {at}");
        }
        let mut alpha = Vec::new();
        PngEncoder::new(&mut alpha)
            .write_image(&[7; 16], 2, 2, ExtendedColorType::Rgba8)
            .unwrap();
        assert!(plain_size(&alpha).is_none());
        // Another size than the rows have.
        let [width, height] = [picture.width(), picture.height()];
        for size in [
            [width + 1, height],
            [width, height + 1],
            [width, height - 1],
        ] {
            assert!(read_plain(&whole, size).is_none());
        }
    }
}
