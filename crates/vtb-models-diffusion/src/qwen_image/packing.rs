//! Latents as tokens: patches of p×p, row by row, and their positions.

use vtb_nn::NnError;
use vtb_nn::velocity::Latent;

/// Rows and columns of tokens.
pub(super) type Grid = [usize; 2];

/// The grid of a latent of `channels` channels and one frame.
///
/// # Errors
/// The latent has other channels, more frames, no cells, sides that patches do not divide, or not as many values as its
/// shape says.
pub(super) fn grid_of(latent: &Latent, channels: usize, patch: usize) -> Result<Grid, NnError> {
    let [c, frames, height, width] = latent.shape;
    let fits = c == channels
        && frames == 1
        && height > 0
        && width > 0
        && height % patch == 0
        && width % patch == 0
        && latent.is_whole();
    if !fits {
        return Err(NnError::input(format!(
            "a latent of shape {:?} with {} values does not fit: expected [{channels}, 1, H, W] with H and W multiples \
             of {patch}",
            latent.shape,
            latent.values.len()
        )));
    }
    Ok([height / patch, width / patch])
}

/// `[C, 1, H, W]` to tokens `[(H/p)(W/p), C·p²]`: the channel varies slowest, the column of the patch fastest.
pub(super) fn pack(latent: &Latent, patch: usize, into: &mut Vec<f32>) {
    let [channels, _, height, width] = latent.shape;
    for top in (0..height).step_by(patch) {
        for left in (0..width).step_by(patch) {
            for c in 0..channels {
                for row in top..top + patch {
                    let start = (c * height + row) * width + left;
                    into.extend_from_slice(&latent.values[start..start + patch]);
                }
            }
        }
    }
}

/// Inverse of [`pack`].
pub(super) fn unpack(
    tokens: &[f32],
    [rows, columns]: Grid,
    channels: usize,
    patch: usize,
) -> Latent {
    let (height, width) = (rows * patch, columns * patch);
    let mut latent = Latent::zeros([channels, 1, height, width]);
    let mut source = tokens.chunks_exact(patch);
    for top in (0..height).step_by(patch) {
        for left in (0..width).step_by(patch) {
            for c in 0..channels {
                for row in top..top + patch {
                    let start = (c * height + row) * width + left;
                    if let Some(values) = source.next() {
                        latent.values[start..start + patch].copy_from_slice(values);
                    }
                }
            }
        }
    }
    latent
}

/// Positions (frame, row, column) of the tokens of picture `frame`, centred on the grid: rows run from
/// `-⌈rows/2⌉` to `⌊rows/2⌋ - 1`, columns likewise.
pub(super) fn picture_positions(frame: usize, [rows, columns]: Grid) -> Vec<[i32; 3]> {
    let centred = |i: usize, n: usize| i as i32 - (n - n / 2) as i32;
    let mut positions = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            positions.push([frame as i32, centred(row, rows), centred(column, columns)]);
        }
    }
    positions
}

/// Positions of `tokens` text tokens beside pictures of these grids: they go on along the diagonal, from half the largest
/// side.
pub(super) fn text_positions(tokens: usize, grids: &[Grid]) -> Vec<[i32; 3]> {
    let start = grids
        .iter()
        .flatten()
        .map(|side| side / 2)
        .max()
        .unwrap_or(0);
    (0..tokens).map(|j| [(start + j) as i32; 3]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_channels_outermost_and_comes_back() {
        let values: Vec<f32> = (0..2 * 4 * 6).map(|i| i as f32).collect();
        let latent = Latent {
            shape: [2, 1, 4, 6],
            values,
        };
        let mut tokens = Vec::new();
        pack(&latent, 2, &mut tokens);
        assert_eq!(tokens[..8], [0.0, 1.0, 6.0, 7.0, 24.0, 25.0, 30.0, 31.0]);
        assert_eq!(tokens[8], 2.0);
        assert_eq!(unpack(&tokens, [2, 3], 2, 2), latent);
    }

    #[test]
    fn positions_are_centred_and_text_lies_beyond_them() {
        let rows: Vec<i32> = picture_positions(1, [5, 1]).iter().map(|p| p[1]).collect();
        assert_eq!(rows, [-3, -2, -1, 0, 1]);
        assert_eq!(picture_positions(0, [2, 2])[0], [0, -1, -1]);
        assert_eq!(text_positions(2, &[[5, 4], [3, 9]]), [[4; 3], [5; 3]]);
    }
}
