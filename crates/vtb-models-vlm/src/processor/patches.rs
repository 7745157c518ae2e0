//! Cutting a resized picture into the rows of a vision tower.

use super::decode::Rgb;
use super::settings::ImageSettings;

/// Patch rows `[gh · gw, channels · frames · patch · patch]` of a picture whose sides are multiples of
/// `patch · merge`, and its grid `[1, gh, gw]`.
///
/// Rows come block by block: the `merge × merge` patches that become one token stand next to each other, blocks
/// in reading order. Within a row the order is channel, frame, y, x; a still picture fills every frame.
pub(super) fn patchify(image: &Rgb, settings: &ImageSettings) -> (Vec<f32>, [usize; 3]) {
    let (patch, merge) = (settings.patch, settings.merge);
    let (rows, columns) = (image.height / patch, image.width / patch);
    // The sizes of the published models, for which the compiler unrolls a line.
    let cut = match patch {
        14 => cut_patch::<14>,
        16 => cut_patch::<16>,
        _ => cut_any_patch,
    };
    let levels = settings.levels();
    let mut values = Vec::with_capacity(rows * columns * 3 * settings.temporal * patch * patch);
    for block_row in 0..rows / merge {
        for block_column in 0..columns / merge {
            for unit in 0..merge * merge {
                let y = (block_row * merge + unit / merge) * patch;
                let x = (block_column * merge + unit % merge) * patch;
                for channel in 0..3 {
                    let first = values.len();
                    let from = (y * image.width + x) * 3 + channel;
                    let lines = image.pixels[from..].chunks(3 * image.width);
                    cut(lines.take(patch), &levels[channel], patch, &mut values);
                    let end = values.len();
                    for _ in 1..settings.temporal {
                        values.extend_from_within(first..end);
                    }
                }
            }
        }
    }
    (values, [1, rows, columns])
}

/// Lines of pixels, each from the channel that is wanted on.
type Lines<'a> = std::iter::Take<std::slice::Chunks<'a, u8>>;

/// One channel of a patch of `N` pixels a side.
fn cut_patch<const N: usize>(
    lines: Lines<'_>,
    levels: &[f32; 256],
    _: usize,
    values: &mut Vec<f32>,
) {
    for line in lines {
        let line = &line[..3 * N - 2];
        let row: [f32; N] = std::array::from_fn(|x| levels[usize::from(line[3 * x])]);
        values.extend_from_slice(&row);
    }
}

/// One channel of a patch of `side` pixels a side.
fn cut_any_patch(lines: Lines<'_>, levels: &[f32; 256], side: usize, values: &mut Vec<f32>) {
    for line in lines {
        let pixels = line.iter().step_by(3).take(side);
        values.extend(pixels.map(|value| levels[usize::from(*value)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_block_by_block() {
        // 2x4 blocks of 2x2 patches of 2x2 pixels; every pixel holds the number of its patch in reading order.
        let settings = ImageSettings {
            patch: 2,
            merge: 2,
            temporal: 2,
            mean: [0.0; 3],
            std: [1.0; 3],
            ..ImageSettings::default()
        };
        let (width, height) = (16, 8);
        let pixels = (0..width * height)
            .flat_map(|i| [(i / width / 2 * 8 + i % width / 2) as u8; 3])
            .collect();
        let (values, grid) = patchify(
            &Rgb {
                width,
                height,
                pixels,
            },
            &settings,
        );
        assert_eq!(grid, [1, 4, 8]);
        let order: Vec<usize> = values
            .chunks_exact(24)
            .map(|row| {
                assert!(row.iter().all(|v| *v == row[0]));
                (row[0] * 255.0).round() as usize
            })
            .collect();
        assert_eq!(order[..8], [0, 1, 8, 9, 2, 3, 10, 11]);
        assert_eq!(order[16..20], [16, 17, 24, 25]);
    }

    #[test]
    fn a_row_is_channel_frame_y_x() {
        let settings = ImageSettings {
            patch: 2,
            merge: 1,
            temporal: 2,
            mean: [0.0; 3],
            std: [1.0; 3],
            ..ImageSettings::default()
        };
        let pixels = (0..12).collect();
        let (values, _) = patchify(
            &Rgb {
                width: 2,
                height: 2,
                pixels,
            },
            &settings,
        );
        let found: Vec<usize> = values
            .iter()
            .map(|v| (v * 255.0).round() as usize)
            .collect();
        let red = [0, 3, 6, 9];
        let expected: Vec<usize> = (0..3)
            .flat_map(|c| [red, red].concat().into_iter().map(move |v| v + c))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn unrolled_lines_are_those_of_any_size() {
        let levels = ImageSettings::default().levels();
        let pixels: Vec<u8> = (0..3 * 50 * 16).map(|at| (at * 7 % 256) as u8).collect();
        for (from, channel) in [(0, 0), (3 * 11, 2)] {
            let lines = || pixels[from + channel..].chunks(3 * 50);
            let cut = |cut: fn(Lines<'_>, &[f32; 256], usize, &mut Vec<f32>), side: usize| {
                let mut values = Vec::new();
                cut(lines().take(side), &levels[channel], side, &mut values);
                assert_eq!(values.len(), side * side);
                values
            };
            assert_eq!(cut(cut_patch::<14>, 14), cut(cut_any_patch, 14));
            assert_eq!(cut(cut_patch::<16>, 16), cut(cut_any_patch, 16));
        }
    }
}
