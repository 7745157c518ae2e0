//! Passes over whole pictures, on bytes.

use image::RgbImage;

/// How much redder than anything else a colour is.
pub(super) fn redness(pixel: &[u8]) -> u8 {
    pixel[0].saturating_sub(pixel[1].max(pixel[2]))
}

/// Applies `pick` over the 3x3 neighbourhood of every byte; `channels` bytes make a pixel.
fn window3(bytes: &[u8], row: usize, channels: usize, pick: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    let mut across = bytes.to_vec();
    if row > channels {
        for (out, line) in across.chunks_exact_mut(row).zip(bytes.chunks_exact(row)) {
            for (to, next) in out.iter_mut().zip(&line[channels..]) {
                *to = pick(*to, *next);
            }
            for (to, before) in out[channels..].iter_mut().zip(line) {
                *to = pick(*to, *before);
            }
        }
    }
    let mut whole = across.clone();
    if row > 0 && bytes.len() > row {
        for (to, below) in whole.iter_mut().zip(&across[row..]) {
            *to = pick(*to, *below);
        }
        for (to, above) in whole[row..].iter_mut().zip(&across) {
            *to = pick(*to, *above);
        }
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

/// A ninth, rounded: 7282 is 65536 / 9.
pub(super) fn ninth(sum: u16) -> u8 {
    ((u32::from(sum) * 7282 + 32768) >> 16) as u8
}

/// Mean of the 3x3 neighbourhood, channel by channel; edges repeat.
pub(super) fn soften(picture: &RgbImage) -> Vec<u8> {
    soften_bytes(picture.as_raw(), picture.width() as usize * 3)
}

/// The same of bytes; `row` of them make a row.
pub(super) fn soften_bytes(bytes: &[u8], row: usize) -> Vec<u8> {
    let mut sums: Vec<u16> = bytes.iter().map(|&byte| u16::from(byte)).collect();
    if row == 0 {
        return Vec::new();
    }
    for (out, line) in sums.chunks_exact_mut(row).zip(bytes.chunks_exact(row)) {
        for (at, sum) in out.iter_mut().enumerate() {
            let before = if at >= 3 { line[at - 3] } else { line[at] };
            let next = if at + 3 < row { line[at + 3] } else { line[at] };
            *sum += u16::from(before) + u16::from(next);
        }
    }
    let height = bytes.len() / row;
    let mut soft = vec![0; bytes.len()];
    for (at, out) in soft.chunks_exact_mut(row).enumerate() {
        let line = |at: usize| &sums[at * row..(at + 1) * row];
        let (above, here) = (line(at.saturating_sub(1)), line(at));
        let below = line((at + 1).min(height - 1));
        for (to, ((a, b), c)) in out.iter_mut().zip(above.iter().zip(here).zip(below)) {
            *to = ninth(a + b + c);
        }
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

/// The colour most of a picture has, of colours that are there so many times: the mean of the
/// fullest of 4096 boxes of the colour cube.
pub(super) fn page_color_of(colors: impl Iterator<Item = ([u8; 3], u64)>) -> [u8; 3] {
    let mut boxes = vec![[0u64; 4]; 4096];
    for ([red, green, blue], count) in colors {
        let at = (usize::from(red) >> 4) << 8 | (usize::from(green) >> 4) << 4;
        let sums = &mut boxes[at | usize::from(blue) >> 4];
        for (sum, value) in sums.iter_mut().zip([red, green, blue, 1]) {
            *sum += u64::from(value) * count;
        }
    }
    let fullest = boxes.iter().max_by_key(|sums| sums[3]);
    let [red, green, blue, count] = fullest.copied().unwrap_or([0; 4]);
    [red, green, blue].map(|sum| (sum / count.max(1)) as u8)
}

/// Neighbouring pixels of one colour, as the colour and how many there are.
pub(super) fn runs(bytes: &[u8]) -> impl Iterator<Item = ([u8; 3], u64)> {
    let mut pixels = bytes.chunks_exact(3).peekable();
    std::iter::from_fn(move || {
        let first = pixels.next()?;
        let mut count = 1;
        while pixels.next_if(|next| *next == first).is_some() {
            count += 1;
        }
        Some(([first[0], first[1], first[2]], count))
    })
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
    fn the_page_is_the_commonest_colour() {
        let pixels = (0..90).map(|at| {
            if at % 3 == 0 {
                [9, 9, 9]
            } else {
                [250, 251, 252]
            }
        });
        assert_eq!(
            page_color_of(pixels.map(|color| (color, 1))),
            [250, 251, 252]
        );
        assert_eq!(page_color_of(std::iter::empty()), [0, 0, 0]);
    }
}
