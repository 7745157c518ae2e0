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

/// Each row as its difference from the row above; most pixels are alike, and are only compared.
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
    for here in picture.as_raw().chunks_exact(row) {
        stream.begin_row(row + 1);
        stream.byte(UP);
        match here == above {
            true => stream.zeros(row / 3),
            false => write_row(&mut stream, above, here),
        }
        if stream.len() > most {
            return None;
        }
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

/// A row of pixels: runs of pixels like those above, runs of pixels that differ from those above by
/// the same, and others.
fn write_row(stream: &mut Stream, above: &[u8], here: &[u8]) {
    let row = here.len();
    let mut at = 0;
    while at < row {
        let same = alike(&above[at..], &here[at..]) / 3;
        stream.zeros(same);
        at += 3 * same;
        let Some(mut change) = change(above, here, at) else {
            break;
        };
        // Until a pixel is like that above.
        while change != [0; 3] {
            stream.pixel(change);
            let from = at + 3;
            at = from;
            let next = loop {
                match self::change(above, here, at) {
                    Some(next) if next == change => at += 3,
                    next => break next.unwrap_or_default(),
                }
            };
            if at > from {
                stream.again(change, (at - from) / 3);
            }
            change = next;
        }
    }
}

/// By what a pixel differs from that above; `None` after the last.
#[inline]
fn change(above: &[u8], here: &[u8], at: usize) -> Option<[u8; 3]> {
    let [above, here] = [above, here].map(|row| row.get(at..at + 3));
    let (above, here) = (above?, here?);
    Some([0, 1, 2].map(|channel: usize| here[channel].wrapping_sub(above[channel])))
}

/// How many bytes two rows of one length have in common before they differ.
#[inline]
fn alike(one: &[u8], other: &[u8]) -> usize {
    let mut known = 0;
    // Most runs are short; those that are not are compared in longer and longer parts.
    while let (Some(here), Some(there)) = (one[known..].first_chunk(), other[known..].first_chunk())
    {
        let differs = u64::from_le_bytes(*here) ^ u64::from_le_bytes(*there);
        if differs != 0 {
            return known + (differs.trailing_zeros() / 8) as usize;
        }
        known += 8;
        if known % LONG == 0 {
            let parts = one[known..].as_chunks::<LONG>().0.iter();
            let parts = parts.zip(other[known..].as_chunks::<LONG>().0);
            known += LONG * parts.take_while(|(one, other)| one == other).count();
        }
    }
    let rest = one[known..].iter().zip(&other[known..]);
    known + rest.take_while(|(one, other)| one == other).count()
}

/// Bytes of a long run.
const LONG: usize = 64;

fn chunk(file: &mut Vec<u8>, kind: [u8; 4], content: &[u8]) {
    file.extend((content.len() as u32).to_be_bytes());
    let from = file.len();
    file.extend(kind);
    file.extend(content);
    let sum = crc32fast::hash(&file[from..]);
    file.extend(sum.to_be_bytes());
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
}
