//! Passes over whole pictures, on bytes.

use std::iter::zip;
use std::ops::Range;

use image::RgbImage;

/// How much redder than anything else a colour is.
pub(super) fn redness(pixel: &[u8]) -> u8 {
    pixel[0].saturating_sub(pixel[1].max(pixel[2]))
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

/// Finds the colour most of a picture has: the mean of the fullest of 4096 boxes of the colour cube.
pub(super) struct PageColor {
    /// Sums of red, green and blue, and how many.
    boxes: Vec<[u64; 4]>,
}

impl PageColor {
    pub(super) fn new() -> Self {
        Self {
            boxes: vec![[0; 4]; 4096],
        }
    }

    /// Takes up a colour that is there so many times.
    pub(super) fn add(&mut self, color: [u8; 3], count: u64) {
        let [red, green, blue] = color.map(|value| usize::from(value) >> 4);
        let sums = &mut self.boxes[red << 8 | green << 4 | blue];
        for (sum, value) in sums.iter_mut().zip(color) {
            *sum += u64::from(value) * count;
        }
        sums[3] += count;
    }

    pub(super) fn find(&self) -> [u8; 3] {
        let fullest = self.boxes.iter().max_by_key(|sums| sums[3]);
        let [red, green, blue, count] = fullest.copied().unwrap_or([0; 4]);
        [red, green, blue].map(|sum| (sum / count.max(1)) as u8)
    }
}

/// Visits neighbouring pixels of one colour: the colour, and which they are.
pub(super) fn each_run(bytes: &[u8], mut visit: impl FnMut([u8; 3], Range<usize>)) {
    let mut pixels = bytes
        .chunks_exact(3)
        .map(|pixel| [pixel[0], pixel[1], pixel[2]]);
    let Some(mut color) = pixels.next() else {
        return;
    };
    let mut from = 0;
    for (at, next) in (1..).zip(pixels) {
        if next != color {
            visit(color, from..at);
            (color, from) = (next, at);
        }
    }
    visit(color, from..bytes.len() / 3);
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
        let mut page = PageColor::new();
        assert_eq!(page.find(), [0, 0, 0]);
        let bytes = [[9u8; 6].as_slice(), &[250, 251, 252].repeat(5), &[9; 3]].concat();
        each_run(&bytes, |color, range| page.add(color, range.len() as u64));
        page.add([255, 251, 252], 5);
        assert_eq!(page.find(), [252, 251, 252]);
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
