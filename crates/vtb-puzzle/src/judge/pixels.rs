//! Passes over whole pictures, on bytes.

use std::iter::zip;
use std::ops::Range;

use image::RgbImage;
use wide::u8x16;

/// How much redder than anything else a colour is.
pub(super) fn redness(pixel: &[u8]) -> u8 {
    pixel[0].saturating_sub(pixel[1].max(pixel[2]))
}

/// Whether a row has a pixel of this redness, or more; `least` is not 0.
pub(super) fn has_red(line: &[u8], least: u8) -> bool {
    let (parts, rest) = line.as_chunks();
    let is_red = |pixel: &[u8]| redness(pixel) >= least;
    parts.iter().any(|part| has_red_part(part, least)) || rest.chunks_exact(3).any(is_red)
}

/// The same of 16 pixels, in registers.
#[inline]
fn has_red_part(part: &[u8; 48], least: u8) -> bool {
    // Where a register begins; together they begin pixels at all their lanes that a mask names.
    const STARTS: [usize; 3] = [0, 16, 30];
    const FIRSTS: [[u8; 16]; 3] = {
        let mut firsts = [[0; 16]; 3];
        let mut at = 0;
        while at < 48 {
            let start = at / 16;
            if (STARTS[start] + at % 16).is_multiple_of(3) {
                firsts[start][at % 16] = 255;
            }
            at += 1;
        }
        firsts
    };
    let below = u8x16::splat(least - 1);
    let lanes = |from: usize| {
        part[from..]
            .first_chunk()
            .map_or(u8x16::ZERO, |lanes| u8x16::from(*lanes))
    };
    let found = STARTS.iter().zip(FIRSTS).map(|(start, firsts)| {
        let [red, green, blue] = [0, 1, 2].map(|color| lanes(start + color));
        red.saturating_sub(green.max(blue)).saturating_sub(below) & u8x16::from(firsts)
    });
    let found = found.fold(u8x16::ZERO, |all, some| all | some);
    found != u8x16::ZERO
}

/// Applies `pick` over the 3x3 neighbourhood of every byte; `channels` bytes make a pixel.
fn window3(bytes: &[u8], row: usize, channels: usize, pick: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    if row == 0 {
        return Vec::new();
    }
    let three = |a: &[u8], b: &[u8], c: &[u8], to: &mut Vec<u8>| {
        let all = a.iter().zip(b).zip(c);
        to.extend(all.map(|((a, b), c)| pick(pick(*a, *b), *c)));
    };
    let mut across = Vec::with_capacity(bytes.len());
    for line in bytes.chunks_exact(row) {
        // At the ends there is one neighbour, or none.
        let (first, last) = (
            &line[..channels.min(row)],
            &line[row.saturating_sub(channels)..],
        );
        let (second, before) = match row >= 2 * channels {
            true => (
                &line[channels..2 * channels],
                &line[row - 2 * channels..row - channels],
            ),
            false => (first, last),
        };
        three(first, first, second, &mut across);
        if row > 2 * channels {
            three(line, &line[channels..], &line[2 * channels..], &mut across);
        }
        if row > channels {
            three(before, last, last, &mut across);
        }
    }
    let mut whole = Vec::with_capacity(bytes.len());
    for from in (0..across.len()).step_by(row) {
        let line = |from: usize| &across[from..from + row];
        let below = if from + row < across.len() {
            from + row
        } else {
            from
        };
        three(
            line(from.saturating_sub(row)),
            line(from),
            line(below),
            &mut whole,
        );
    }
    whole
}

/// Least value of the 3x3 neighbourhood, channel by channel.
pub(super) fn least3(bytes: &[u8], row: usize, channels: usize) -> Vec<u8> {
    window3(bytes, row, channels, Ord::min)
}

/// Greatest value of the 3x3 neighbourhood, channel by channel.
pub(super) fn most3(bytes: &[u8], row: usize, channels: usize) -> Vec<u8> {
    window3(bytes, row, channels, Ord::max)
}

/// A ninth of up to 2295, rounded: 7282 is 65536 / 9. Written so that it takes one instruction.
pub(super) fn ninth(sum: u16) -> u8 {
    ((u32::from(sum + 4) * 7282) >> 16) as u8
}

/// Mean of the 3x3 neighbourhood, channel by channel; edges repeat.
pub(super) fn soften(picture: &RgbImage) -> Vec<u8> {
    soften_bytes(picture.as_raw(), picture.width() as usize * 3)
}

/// The same of bytes; `row` of them make a row.
pub(super) fn soften_bytes(bytes: &[u8], row: usize) -> Vec<u8> {
    if row < 3 {
        return Vec::new();
    }
    let sum = |((a, b), c): ((&u8, &u8), &u8)| u16::from(*a) + u16::from(*b) + u16::from(*c);
    let three = |a, b, c, to: &mut Vec<u16>| to.extend(zip(zip(a, b), c).map(sum));
    let mut sums = Vec::with_capacity(bytes.len());
    for line in bytes.chunks_exact(row) {
        let (first, last) = (&line[..3], &line[row - 3..]);
        let (second, before) = (&line[3..], &line[row.saturating_sub(6)..]);
        match row {
            3 => three(first, first, first, &mut sums),
            _ => {
                three(first, first, second, &mut sums);
                three(line, &line[3..], &line[6..], &mut sums);
                three(before, last, last, &mut sums);
            }
        }
    }
    let mut soft = Vec::with_capacity(bytes.len());
    for from in (0..sums.len()).step_by(row) {
        let line = |from: usize| &sums[from..from + row];
        let below = if from + row < sums.len() {
            from + row
        } else {
            from
        };
        let lines = zip(zip(line(from.saturating_sub(row)), line(from)), line(below));
        soft.extend(lines.map(|((a, b), c)| ninth(a + b + c)));
    }
    soft
}

/// Means of `by` x `by` blocks; what is left over at the right and at the bottom is dropped.
pub(super) fn shrink(picture: &RgbImage, by: u32) -> RgbImage {
    let (width, height) = (picture.width() / by, picture.height() / by);
    let row = picture.width() as usize * 3;
    let area = by * by;
    let mut bytes = Vec::with_capacity(width as usize * height as usize * 3);
    let mut sums = vec![0u32; width as usize * 3];
    for lines in picture.as_raw().chunks_exact((row * by as usize).max(1)) {
        sums.fill(0);
        for line in lines.chunks_exact(row) {
            let blocks = line.chunks_exact(3 * by as usize);
            for (sum, block) in sums.chunks_exact_mut(3).zip(blocks) {
                for pixel in block.chunks_exact(3) {
                    for (to, value) in sum.iter_mut().zip(pixel) {
                        *to += u32::from(*value);
                    }
                }
            }
        }
        bytes.extend(sums.iter().map(|sum| ((sum + area / 2) / area) as u8));
    }
    bytes.truncate(width as usize * height as usize * 3);
    RgbImage::from_raw(width, height, bytes).unwrap_or_default()
}

/// Takes up colours, each with how many pixels have it.
pub(super) type AddColor<'a> = &'a mut dyn FnMut([u8; 3], usize);

/// The colour most of a picture has: the mean of the fullest of 4096 boxes of the colour cube.
///
/// `each` names all colours, of `total` pixels. If more than half of them are in the box of `guess`,
/// the others need not be counted.
pub(super) fn page_color(
    guess: Option<[u8; 3]>,
    total: usize,
    each: impl Fn(AddColor<'_>),
) -> [u8; 3] {
    if let Some(guess) = guess {
        let own = box_of(guess);
        let mut sums = [0; 4];
        each(&mut |color, count| {
            if box_of(color) == own {
                add_to(&mut sums, color, count);
            }
        });
        if 2 * sums[3] > total as u64 {
            return mean(sums);
        }
    }
    let mut boxes = vec![[0; 4]; BOXES];
    each(&mut |color, count| add_to(&mut boxes[box_of(color)], color, count));
    let fullest = boxes.iter().max_by_key(|sums| sums[3]);
    mean(fullest.copied().unwrap_or_default())
}

const BOXES: usize = 4096;

fn box_of(color: [u8; 3]) -> usize {
    let [red, green, blue] = color.map(|value| usize::from(value) >> 4);
    red << 8 | green << 4 | blue
}

/// `sums` are of red, green and blue, and how many.
fn add_to(sums: &mut [u64; 4], color: [u8; 3], count: usize) {
    for (sum, value) in sums.iter_mut().zip(color) {
        *sum += u64::from(value) * count as u64;
    }
    sums[3] += count as u64;
}

fn mean([red, green, blue, count]: [u64; 4]) -> [u8; 3] {
    [red, green, blue].map(|sum| (sum / count.max(1)) as u8)
}

/// How many bytes are the same at the end of two rows of one length.
pub(super) fn alike_behind(one: &[u8], other: &[u8]) -> usize {
    let (mut here, mut there) = (one, other);
    while let (Some((left, last)), Some((right, other))) =
        (here.split_last_chunk(), there.split_last_chunk())
    {
        let differs = u64::from_le_bytes(*last) ^ u64::from_le_bytes(*other);
        if differs != 0 {
            return one.len() - here.len() + (differs.leading_zeros() / 8) as usize;
        }
        (here, there) = (left, right);
    }
    let rest = here.iter().rev().zip(there.iter().rev());
    one.len() - here.len() + rest.take_while(|(one, other)| one == other).count()
}

/// Visits neighbouring pixels of one colour: the colour, and which they are.
pub(super) fn each_run(bytes: &[u8], mut visit: impl FnMut([u8; 3], Range<usize>)) {
    let mut from = 0;
    while let Some(color) = bytes[3 * from..].first_chunk::<3>() {
        let to = from + 1 + alike(&bytes[3 * from..], &bytes[3 * from + 3..]) / 3;
        visit(*color, from..to);
        from = to;
    }
}

/// How many bytes are the same, before any differ or one of both ends.
#[inline]
pub(super) fn alike(one: &[u8], other: &[u8]) -> usize {
    let mut known = 0;
    while let (Some(here), Some(there)) = (one[known..].first_chunk(), other[known..].first_chunk())
    {
        let differs = u64::from_le_bytes(*here) ^ u64::from_le_bytes(*there);
        if differs != 0 {
            return known + (differs.trailing_zeros() / 8) as usize;
        }
        known += 8;
    }
    let rest = one[known..].iter().zip(&other[known..]);
    known + rest.take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn sample() -> RgbImage {
        RgbImage::from_fn(9, 7, |x, y| {
            Rgb([
                (x * 31 + y * 7) as u8,
                (x * y * 5) as u8,
                255 - (y * 30) as u8,
            ])
        })
    }

    fn window(picture: &RgbImage, x: u32, y: u32, channel: usize) -> Vec<u8> {
        let near = |at: u32, end: u32| at.saturating_sub(1)..=(at + 1).min(end - 1);
        near(y, picture.height())
            .flat_map(|row| near(x, picture.width()).map(move |column| (column, row)))
            .map(|(column, row)| picture.get_pixel(column, row).0[channel])
            .collect()
    }

    #[test]
    fn windows_agree_with_the_plain_definition() {
        let picture = sample();
        let row = 27;
        let (least, most) = (
            least3(picture.as_raw(), row, 3),
            most3(picture.as_raw(), row, 3),
        );
        let soft = soften(&picture);
        for (x, y, _) in picture.enumerate_pixels() {
            for channel in 0..3 {
                let at = y as usize * row + x as usize * 3 + channel;
                let seen = window(&picture, x, y, channel);
                assert_eq!(Some(least[at]), seen.iter().copied().min());
                assert_eq!(Some(most[at]), seen.iter().copied().max());
                if (1..8).contains(&x) && (1..6).contains(&y) {
                    let sum: u32 = seen.iter().map(|&value| u32::from(value)).sum();
                    assert_eq!(u32::from(soft[at]), (sum * 2 + 9) / 18);
                }
            }
        }
    }

    #[test]
    fn red_is_found_wherever_it_is() {
        for width in 1..70 {
            let mut bytes: Vec<u8> = (0..3 * width).map(|at| (at * 83 % 251) as u8).collect();
            let reddest = bytes.chunks_exact(3).map(redness).max().unwrap();
            assert!(has_red(&bytes, reddest) && !has_red(&bytes, reddest + 1));
            for at in 0..width {
                bytes.fill(200);
                bytes[3 * at] = 240;
                assert!(has_red(&bytes, 40) && !has_red(&bytes, 41), "{width} {at}");
                bytes.fill(0);
                bytes[3 * at + 1..3 * at + 3].fill(90);
                assert!(!has_red(&bytes, 1), "{width} {at}");
            }
        }
    }

    #[test]
    fn shrinking_takes_means() {
        let picture = sample();
        let small = shrink(&picture, 2);
        assert_eq!(small.dimensions(), (4, 3));
        let mean = |x: u32, y: u32| {
            let block = [(0, 0), (1, 0), (0, 1), (1, 1)];
            let sum: u32 = block
                .iter()
                .map(|(dx, dy)| u32::from(picture.get_pixel(2 * x + dx, 2 * y + dy).0[0]))
                .sum();
            ((sum + 2) / 4) as u8
        };
        for (x, y, pixel) in small.enumerate_pixels() {
            assert_eq!(pixel.0[0], mean(x, y));
        }
        assert_eq!(shrink(&picture, 100).dimensions(), (0, 0));
    }

    #[test]
    fn a_ninth_is_rounded() {
        for sum in 0..=9 * 255 {
            assert_eq!(u32::from(ninth(sum)), (u32::from(sum) * 2 + 9) / 18);
        }
    }

    #[test]
    fn the_page_is_the_commonest_colour() {
        assert_eq!(page_color(None, 0, |_| {}), [0, 0, 0]);
        let bytes = [[9u8; 6].as_slice(), &[250, 251, 252].repeat(5), &[9; 3]].concat();
        for guess in [None, Some([255; 3]), Some([9; 3])] {
            let page = page_color(guess, 13, |add| {
                each_run(&bytes, |color, range| add(color, range.len()));
                add([255, 251, 252], 5);
            });
            assert_eq!(page, [252, 251, 252]);
        }
    }

    #[test]
    fn runs_are_the_pixels_in_turn() {
        for (bytes, runs) in [
            (&[][..], vec![]),
            (&[1, 2, 3], vec![([1, 2, 3], 0..1)]),
            (
                &[1, 2, 3, 1, 2, 3, 1, 2, 4, 1, 2, 3],
                vec![([1, 2, 3], 0..2), ([1, 2, 4], 2..3), ([1, 2, 3], 3..4)],
            ),
        ] {
            let mut found = Vec::new();
            each_run(bytes, |color, range| found.push((color, range)));
            assert_eq!(found, runs);
        }
    }

    #[test]
    fn narrow_pictures_have_windows_too() {
        for (width, height) in [(1usize, 1usize), (1, 4), (2, 3), (3, 1)] {
            let bytes: Vec<u8> = (0..3 * width * height)
                .map(|at| (at * 83 % 251) as u8)
                .collect();
            let picture = RgbImage::from_raw(width as u32, height as u32, bytes).unwrap();
            let most = most3(picture.as_raw(), 3 * width, 3);
            let soft = soften(&picture);
            assert_eq!(soft.len(), most.len());
            for (x, y, _) in picture.enumerate_pixels() {
                for channel in 0..3 {
                    let at = (y as usize * width + x as usize) * 3 + channel;
                    assert_eq!(
                        Some(most[at]),
                        window(&picture, x, y, channel).into_iter().max()
                    );
                }
            }
        }
    }
}
