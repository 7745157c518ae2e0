//! Decoding in tiles that overlap and are blended by ramps along their inner edges.

use vtb_nn::velocity::Latent;

use super::Clip;
use crate::DiffusionError;

/// Tiles of a latent, in its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    /// Height and width of a tile.
    pub size: [usize; 2],
    /// From one tile to the next, along both axes.
    pub stride: [usize; 2],
}

impl Default for Tiling {
    /// 30 × 52 cells, half a tile apart, as DiffSynth-Studio has it.
    fn default() -> Self {
        Self {
            size: [30, 52],
            stride: [15, 26],
        }
    }
}

/// Where tiles along an axis begin and end: the last ends with the axis.
fn spans(length: usize, size: usize, stride: usize) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    let mut start = 0;
    loop {
        let end = (start + size).min(length);
        spans.push((start, end));
        if end == length {
            return spans;
        }
        start += stride;
    }
}

/// Weights of the pixels of a tile along an axis: ramps up over `overlap` pixels from an inner edge.
fn ramp(length: usize, overlap: usize, [inner_start, inner_end]: [bool; 2]) -> Vec<f32> {
    let weight = |i: usize| {
        let up = |at: usize| ((at as f32 + 1.0) / (overlap as f32 + 1.0)).min(1.0);
        let start = if inner_start { up(i) } else { 1.0 };
        let end = if inner_end { up(length - 1 - i) } else { 1.0 };
        start * end
    };
    (0..length).map(weight).collect()
}

/// Decodes every tile and blends them. `factor` is the pixels of a cell.
///
/// # Errors
/// The tiling leaves gaps, or `decode` fails.
pub(super) fn decode(
    latent: &Latent,
    tiling: Tiling,
    factor: usize,
    decode: impl Fn(&Latent) -> Result<Clip, DiffusionError>,
) -> Result<Clip, DiffusionError> {
    let Tiling { size, stride } = tiling;
    if (0..2).any(|axis| stride[axis] == 0 || stride[axis] > size[axis]) {
        return Err(DiffusionError::input(format!(
            "tiles of {size:?} cells {stride:?} apart leave gaps: a stride must lie between 1 and the size"
        )));
    }
    let [z, frames, rows, columns] = latent.shape;
    let across = spans(columns, size[1], stride[1]);
    let down = spans(rows, size[0], stride[0]);
    if across.len() * down.len() == 1 {
        return decode(latent);
    }
    let (height, width) = (rows * factor, columns * factor);
    let mut sums: Option<Clip> = None;
    let mut weights = vec![0.0f32; height * width];
    for (top, bottom) in down {
        for &(left, right) in &across {
            let mut tile = Latent::zeros([z, frames, bottom - top, right - left]);
            for plane in 0..z * frames {
                for row in top..bottom {
                    let from = (plane * rows + row) * columns;
                    let to = (plane * (bottom - top) + row - top) * (right - left);
                    tile.values[to..to + right - left]
                        .copy_from_slice(&latent.values[from + left..from + right]);
                }
            }
            let clip = decode(&tile)?;
            let [colours, count, tall, wide] = clip.shape;
            let overlap = |axis: usize| (size[axis] - stride[axis]) * factor;
            let rise = ramp(tall, overlap(0), [top > 0, bottom < rows]);
            let run = ramp(wide, overlap(1), [left > 0, right < columns]);
            let sums = sums.get_or_insert_with(|| Clip {
                shape: [colours, count, height, width],
                values: vec![0.0; colours * count * height * width],
            });
            for (y, rise) in rise.iter().enumerate() {
                let row = (top * factor + y) * width + left * factor;
                for (x, run) in run.iter().enumerate() {
                    weights[row + x] += rise * run;
                }
                for plane in 0..colours * count {
                    let source = &clip.values[(plane * tall + y) * wide..][..wide];
                    let target = &mut sums.values[plane * height * width + row..][..wide];
                    for ((target, value), run) in target.iter_mut().zip(source).zip(&run) {
                        *target += value * rise * run;
                    }
                }
            }
        }
    }
    let mut clip = sums.ok_or_else(|| DiffusionError::input("there is nothing to decode"))?;
    for plane in clip.values.chunks_exact_mut(height * width) {
        for (value, weight) in plane.iter_mut().zip(&weights) {
            *value /= weight;
        }
    }
    Ok(clip)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each cell becomes `factor`² pixels of its value, for every frame.
    fn doubled(latent: &Latent) -> Clip {
        let [z, frames, rows, columns] = latent.shape;
        let mut values = Vec::new();
        for plane in latent.values.chunks_exact(rows * columns) {
            for y in 0..2 * rows {
                values.extend((0..2 * columns).map(|x| plane[y / 2 * columns + x / 2]));
            }
        }
        Clip {
            shape: [z, frames, 2 * rows, 2 * columns],
            values,
        }
    }

    #[test]
    fn tiles_of_what_needs_no_neighbours_are_the_whole() {
        let latent = Latent {
            shape: [2, 3, 7, 9],
            values: (0..2 * 3 * 7 * 9).map(|i| (i as f32).sin()).collect(),
        };
        let whole = doubled(&latent);
        for (size, stride) in [([4, 4], [2, 3]), ([3, 9], [3, 9]), ([7, 5], [7, 1])] {
            let tiled = decode(&latent, Tiling { size, stride }, 2, |tile| {
                Ok(doubled(tile))
            });
            let tiled = tiled.unwrap();
            assert_eq!(tiled.shape, whole.shape);
            let pairs = tiled.values.iter().zip(&whole.values);
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
        }
        let gaps = Tiling {
            size: [2, 2],
            stride: [3, 1],
        };
        let error = decode(&latent, gaps, 2, |tile| Ok(doubled(tile))).unwrap_err();
        assert!(error.to_string().contains("gaps"), "{error}");
    }
}
