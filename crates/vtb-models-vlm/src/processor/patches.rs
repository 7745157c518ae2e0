//! Cutting resized pictures and frames into the rows of a vision tower.

use super::decode::Rgb;
use super::settings::ImageSettings;

/// Patch rows `[gh · gw, channels · frames · patch · patch]` of a picture whose sides are multiples of
/// `patch · merge`, and its grid `[1, gh, gw]`. A still picture fills every frame.
pub(super) fn patchify(image: &Rgb, settings: &ImageSettings) -> (Vec<f32>, [usize; 3]) {
    let (rows, columns) = (image.height / settings.patch, image.width / settings.patch);
    let size = rows * columns * 3 * settings.temporal * settings.patch * settings.patch;
    let mut values = Vec::with_capacity(size);
    patchify_group(&vec![image; settings.temporal], settings, &mut values);
    (values, [1, rows, columns])
}

/// Appends the patch rows of one temporal group: `settings.temporal` frames of one size, whose sides are multiples of
/// `patch · merge`.
///
/// Rows come block by block: the `merge × merge` patches that become one token stand next to each other, blocks
/// in reading order. Within a row the order is channel, frame, y, x.
pub(super) fn patchify_group(frames: &[&Rgb], settings: &ImageSettings, values: &mut Vec<f32>) {
    let (patch, merge) = (settings.patch, settings.merge);
    let Some(first) = frames.first() else { return };
    let (rows, columns) = (first.height / patch, first.width / patch);
    let levels = settings.levels();
    for block_row in 0..rows / merge {
        for block_column in 0..columns / merge {
            for unit in 0..merge * merge {
                let y = (block_row * merge + unit / merge) * patch;
                let x = (block_column * merge + unit % merge) * patch;
                for (channel, levels) in levels.iter().enumerate() {
                    for (i, frame) in frames.iter().enumerate() {
                        if i > 0 && std::ptr::eq(*frame, frames[i - 1]) {
                            // The same picture again.
                            let start = values.len() - patch * patch;
                            values.extend_from_within(start..);
                            continue;
                        }
                        for line in y..y + patch {
                            let start = (line * frame.width + x) * 3;
                            let pixels = &frame.pixels[start..start + patch * 3];
                            values.extend(
                                pixels
                                    .chunks_exact(3)
                                    .map(|p| levels[usize::from(p[channel])]),
                            );
                        }
                    }
                }
            }
        }
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
}
