//! PNG bytes.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use wide::u8x16;

use super::deflate::{Place, Row, Stream};
use crate::error::{PuzzleError, Result};

/// Encodes a picture as PNG, eight bits of red, green and blue; the same picture gives the same
/// bytes on every machine.
///
/// # Errors
/// [`PuzzleError::Picture`] when the encoder refuses it.
pub fn encode_png(picture: &RgbImage) -> Result<Vec<u8>> {
    match encode_flat(picture, None) {
        Some((bytes, _)) => Ok(bytes),
        None => encode_other(picture),
    }
}

/// Encodes pictures of which each is much like the one before, into the bytes that [`encode_png`]
/// gives: rows that two have in common are coded once.
#[derive(Default)]
pub struct PngSeries {
    last: Option<(RgbImage, Rows)>,
}

impl PngSeries {
    /// Encodes the next picture.
    ///
    /// # Errors
    /// As [`encode_png`].
    pub fn encode(&mut self, picture: RgbImage) -> Result<Vec<u8>> {
        let last = self.last.take();
        let last = last
            .as_ref()
            .filter(|last| last.0.dimensions() == picture.dimensions());
        let Some((bytes, rows)) = encode_flat(&picture, last) else {
            return encode_other(&picture);
        };
        // Of a picture with little on it, coding rows takes no longer than comparing them.
        if bytes.len() > picture.as_raw().len() / 20 {
            self.last = Some((picture, rows));
        }
        Ok(bytes)
    }
}

/// A picture's stream, and where in it each row begins and the last ends.
struct Rows {
    data: Vec<u8>,
    places: Vec<Place>,
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
/// `None` if the picture is not flat. `last` is another picture of that size.
fn encode_flat(picture: &RgbImage, last: Option<&(RgbImage, Rows)>) -> Option<(Vec<u8>, Rows)> {
    let row = picture.width() as usize * 3;
    if row == 0 {
        return None;
    }
    let rows = FlatRows {
        bytes: picture.as_raw(),
        row,
        last,
    };
    let (stream, places) = pulp::Arch::new().dispatch(rows)?;
    let size = [picture.width(), picture.height()].map(u32::to_be_bytes);
    let mut header = size.concat();
    // Eight bits, red green blue, and the only methods there are.
    header.extend([8, 2, 0, 0, 0]);
    let mut data = stream.finish();
    let mut file = Vec::with_capacity(data.len() + 64);
    file.extend(*b"\x89PNG\r\n\x1a\n");
    for (kind, content) in [(b"IHDR", &header[..]), (b"IDAT", &data), (b"IEND", &[])] {
        chunk(&mut file, *kind, content);
    }
    // Bits are read in words, also the last.
    data.extend([0; 8]);
    Some((file, Rows { data, places }))
}

/// [`flat_rows`] for the vectors and bit instructions that this processor has. Not a closure: it
/// would be a function of its own, and only what is inlined is compiled for them.
struct FlatRows<'a> {
    bytes: &'a [u8],
    row: usize,
    last: Option<&'a (RgbImage, Rows)>,
}

impl pulp::NullaryFnOnce for FlatRows<'_> {
    type Output = Option<(Stream, Vec<Place>)>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        flat_rows(self.bytes, self.row, self.last)
    }
}

/// The rows of so many bytes; `None` if they are not flat.
#[inline(always)]
fn flat_rows(
    bytes: &[u8],
    row: usize,
    last: Option<&(RgbImage, Rows)>,
) -> Option<(Stream, Vec<Place>)> {
    const UP: u8 = 2;
    let most = bytes.len() / FLAT + 1024;
    let mut stream = Stream::new(32 << 10);
    // The usual row: as the one above.
    let same = Stream::bits_of(row + 1, |out| {
        out.byte(UP);
        out.end(row);
    });
    let blank = vec![0; row];
    let mut above = &blank[..];
    let mut places = Vec::with_capacity(bytes.len() / row + 1);
    // Whether the row above is that of the last picture.
    let mut is_above_known = true;
    for (at, here) in bytes.chunks_exact(row).enumerate() {
        places.push(stream.place());
        let known = last.filter(|last| last.0.as_raw()[at * row..].starts_with(here));
        let is_known = known.is_some();
        if above == here {
            stream.row_of_zeros(UP, row, &same);
        } else if let Some((_, rows)) = known.filter(|_| is_above_known) {
            let between = [rows.places[at], rows.places[at + 1]];
            stream.copy(row + 1, &rows.data, between);
        } else {
            let mut out = stream.begin(row + 1);
            out.byte(UP);
            // With the pixel before it, and as far as its last group may reach.
            let reach = row.next_multiple_of(GROUP);
            let wide = |at: usize| bytes.get((at * row).checked_sub(3)?..at * row + reach);
            match at.checked_sub(1).and_then(wide).zip(wide(at)) {
                Some((above, here)) => write_row(&mut out, above, here, row),
                // The first rows and the last.
                None => {
                    let wide = |row: &[u8]| [&[0; 3], row, &[0; GROUP]].concat();
                    write_row(&mut out, &wide(above), &wide(here), row);
                }
            }
            let end = out.end_state();
            stream.go_on_at(end);
        }
        above = here;
        is_above_known = is_known;
        if stream.len() > most {
            return None;
        }
    }
    places.push(stream.place());
    Some((stream, places))
}

/// A row of so many bytes: runs of pixels like those above, runs of pixels that differ from those
/// above by the same, and others.
///
/// Where a smooth edge begins and ends cannot be foretold, so the pixels that begin a run are found
/// as bits of a word, and what lies between two of them is looked up rather than asked for.
///
/// A row has a pixel in front, and goes on to the end of its last group; what that is does not matter.
#[inline(always)]
fn write_row(out: &mut Row<'_>, above: &[u8], here: &[u8], row: usize) {
    // Bytes that are written, but for the end of the last run.
    let mut done = 0;
    // Groups in turn in which nothing changed.
    let mut quiet = 0;
    let mut next = 0;
    while next < row {
        if quiet > 1 && is_same(above, here, next) {
            next += MANY * GROUP;
            continue;
        }
        let from = next;
        next += GROUP;
        let (Some(above), Some(here)) = (group(above, from), group(here, from)) else {
            break;
        };
        let (changed, again) = compare(above, here);
        // What is beside the row.
        let own = !0 >> (64 - GROUP.min(row - from));
        let changed = changed & own;
        if changed == 0 {
            quiet += 1;
            continue;
        }
        quiet = 0;
        let again = if from == 0 { again & !1 } else { again };
        let again = (again & own) * 0b111;
        let lead = again.trailing_ones() as usize;
        if lead > 0 {
            out.go_on(lead);
            done += lead;
        }
        let mut begins = changed & !again;
        while begins != 0 {
            let at = begins.trailing_zeros() as usize;
            begins &= begins - 1;
            // With the byte before it, as whole words are read faster.
            let pixel = |row: &[u8; 3 + GROUP]| row[at + 2..].first_chunk().copied();
            let (Some(above), Some(here)) = (pixel(above), pixel(here)) else {
                break;
            };
            let [above, here] = [above, here].map(u32::from_le_bytes);
            let more = (again >> (at + 3)).trailing_ones() as usize;
            out.run(from + at - done, differences(above, here) >> 8, more);
            done = from + at + 3 + more;
        }
    }
    out.end(row - done);
}

/// The differences of four bytes, each by itself.
#[inline(always)]
fn differences(above: u32, here: u32) -> u32 {
    const HIGH: u32 = 0x80_80_80_80;
    ((here | HIGH) - (above & !HIGH)) ^ ((here ^ !above) & HIGH)
}

/// The group at `from`, with the pixel before it.
#[inline(always)]
fn group(row: &[u8], from: usize) -> Option<&[u8; 3 + GROUP]> {
    row.get(from..)?.first_chunk()
}

/// Bytes of the pixels that are compared at once.
const GROUP: usize = 48;
/// Groups that are passed over at once.
const MANY: usize = 4;

/// Whether the groups from `from` on are as those above; not told where the row ends before.
#[inline(always)]
fn is_same(above: &[u8], here: &[u8], from: usize) -> bool {
    let groups =
        |row: &[u8]| -> Option<[u8; MANY * GROUP]> { row.get(from + 3..)?.first_chunk().copied() };
    groups(above)
        .zip(groups(here))
        .is_some_and(|(above, here)| {
            let differs = above.iter().zip(&here).map(|(above, here)| above ^ here);
            differs.fold(0, |all, differs| all | differs) == 0
        })
}
/// Bits of the bytes that begin a pixel.
const FIRST: u64 = 0o1111_1111_1111_1111;

/// The pixels that differ from those above, and those of them that differ by the same as the pixel
/// before: bits of their first bytes. A group has the pixel before it in front.
#[inline(always)]
fn compare(above: &[u8; 3 + GROUP], here: &[u8; 3 + GROUP]) -> (u64, u64) {
    let lane = |row: &[u8; 3 + GROUP], at: usize| {
        let bytes = row[at..].first_chunk().copied();
        u8x16::new(bytes.unwrap_or_default())
    };
    let same = |at: usize| u64::from(lane(above, at + 3).simd_eq(lane(here, at + 3)).to_bitmask());
    let differ = !(same(0) | same(16) << 16 | same(32) << 32);
    let changed = (differ | differ >> 1 | differ >> 2) & FIRST;
    if changed == 0 {
        return (0, 0);
    }
    let change = |at: usize| lane(here, at) - lane(above, at);
    let alike = |at: usize| u64::from(change(at + 3).simd_eq(change(at)).to_bitmask());
    let alike = alike(0) | alike(16) << 16 | alike(32) << 32;
    (changed, changed & alike & alike >> 1 & alike >> 2)
}

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
        let flat = encode_flat(picture, None).map(|flat| flat.0);
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
    fn bytes_are_subtracted_each_by_itself() {
        let mut dice = Dice::new(4, "bytes");
        for _ in 0..2_000 {
            let [above, here] = [(); 2].map(|()| (dice.bits() as u32).to_le_bytes());
            let [one, other] = [above, here].map(u32::from_le_bytes);
            let expected: [u8; 4] = std::array::from_fn(|at| here[at].wrapping_sub(above[at]));
            assert_eq!(differences(one, other).to_le_bytes(), expected);
        }
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
    fn a_series_has_the_bytes_of_its_pictures() {
        let mut dice = Dice::new(3, "series");
        for [width, height] in [[61, 40], [16, 3], [1, 9], [480, 120]] {
            let mut canvas = Canvas::new([width, height], [255; 3]).unwrap();
            let mut series = PngSeries::default();
            for _ in 0..30 {
                // Some like the last, some dense, some too full to be flat, and one of another size.
                let mut picture = canvas.clone().into_rgb().unwrap();
                if dice.chance(0.2) {
                    picture = RgbImage::from_fn(width, height, |_, _| {
                        image::Rgb([(); 3].map(|()| dice.below(256) as u8))
                    });
                } else if dice.chance(0.1) {
                    picture = RgbImage::from_pixel(height, width, image::Rgb([1, 2, 3]));
                }
                let bytes = encode_png(&picture).unwrap();
                assert!(series.encode(picture).unwrap() == bytes, "{width}x{height}");
                let [x, y] = [width, height].map(|side| dice.between(0.0, f64::from(side)));
                match dice.below(3) {
                    0 => canvas.disc([x, y], dice.between(1.0, 20.0), [30, 90, 200]),
                    1 => canvas.polyline(&[[x, y], [y, x]], 3.0, [20; 3]),
                    _ => {}
                }
            }
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
