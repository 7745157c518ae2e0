//! Latents of clips as tokens: patches of p×p of a frame, frame by frame, row by row, and their positions.

use vtb_nn::NnError;
use vtb_nn::velocity::Latent;

use super::config::MAX_POSITION;

/// Frames, rows and columns of tokens.
pub(super) type Grid = [usize; 3];

/// The grid of a latent of `channels` channels.
///
/// # Errors
/// The latent has other channels, no cells, sides that patches do not divide, more frames or tokens along a side than
/// there are positions, or not as many values as its shape says.
pub(super) fn grid_of(latent: &Latent, channels: usize, patch: usize) -> Result<Grid, NnError> {
    let [c, frames, height, width] = latent.shape;
    let fits = c == channels
        && frames > 0
        && height > 0
        && width > 0
        && height % patch == 0
        && width % patch == 0
        && latent.is_whole();
    if !fits {
        return Err(NnError::input(format!(
            "a latent of shape {:?} with {} values does not fit: expected [{channels}, frames, H, W] with H and W \
             multiples of {patch}",
            latent.shape,
            latent.values.len()
        )));
    }
    let grid = [frames, height / patch, width / patch];
    if let Some(side) = grid.into_iter().find(|side| *side > MAX_POSITION) {
        return Err(NnError::input(format!(
            "a latent of shape {:?} makes {side} tokens along an axis; the model has positions for {MAX_POSITION}",
            latent.shape
        )));
    }
    Ok(grid)
}

/// `[C, T, H, W]` to tokens `[T·(H/p)·(W/p), C·p²]`: the channel varies slowest, the column of the patch fastest.
pub(super) fn pack(latent: &Latent, patch: usize, into: &mut Vec<f32>) {
    let [channels, frames, height, width] = latent.shape;
    each_token(latent.shape, patch, |frame, top, left| {
        for c in 0..channels {
            for row in top..top + patch {
                let start = ((c * frames + frame) * height + row) * width + left;
                into.extend_from_slice(&latent.values[start..start + patch]);
            }
        }
    });
}

/// As [`pack`] in the order of the last layer: the row of the patch varies slowest, the channel fastest.
pub(super) fn pack_output(latent: &Latent, patch: usize, into: &mut Vec<f32>) {
    each_token(latent.shape, patch, |frame, top, left| {
        for_output(latent.shape, patch, (frame, top, left), |at| {
            into.push(latent.values[at]);
        });
    });
}

/// Inverse of [`pack_output`].
pub(super) fn unpack_output(
    tokens: &[f32],
    [frames, rows, columns]: Grid,
    channels: usize,
    patch: usize,
) -> Latent {
    let mut latent = Latent::zeros([channels, frames, rows * patch, columns * patch]);
    let (shape, mut source) = (latent.shape, tokens.iter());
    each_token(shape, patch, |frame, top, left| {
        for_output(shape, patch, (frame, top, left), |at| {
            if let Some(value) = source.next() {
                latent.values[at] = *value;
            }
        });
    });
    latent
}

fn each_token(
    [_, frames, height, width]: [usize; 4],
    patch: usize,
    mut f: impl FnMut(usize, usize, usize),
) {
    for frame in 0..frames {
        for top in (0..height).step_by(patch) {
            for left in (0..width).step_by(patch) {
                f(frame, top, left);
            }
        }
    }
}

fn for_output(
    [channels, frames, height, width]: [usize; 4],
    patch: usize,
    (frame, top, left): (usize, usize, usize),
    mut f: impl FnMut(usize),
) {
    for row in top..top + patch {
        for column in left..left + patch {
            for c in 0..channels {
                f(((c * frames + frame) * height + row) * width + column);
            }
        }
    }
}

/// Positions (frame, row, column) of all tokens, from 0 on each axis.
pub(super) fn positions([frames, rows, columns]: Grid) -> Vec<[i32; 3]> {
    let mut positions = Vec::with_capacity(frames * rows * columns);
    for frame in 0..frames {
        for row in 0..rows {
            for column in 0..columns {
                positions.push([frame, row, column].map(|p| p as i32));
            }
        }
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_in_with_channels_outermost_and_come_out_with_channels_innermost() {
        let latent = Latent {
            shape: [2, 2, 2, 4],
            values: (0..32).map(|i| i as f32).collect(),
        };
        let (mut tokens, mut output) = (Vec::new(), Vec::new());
        pack(&latent, 2, &mut tokens);
        assert_eq!(tokens[..8], [0.0, 1.0, 4.0, 5.0, 16.0, 17.0, 20.0, 21.0]);
        assert_eq!(tokens[8], 2.0, "the next column of tokens");
        assert_eq!(tokens[16], 8.0, "the next frame");
        pack_output(&latent, 2, &mut output);
        assert_eq!(output[..8], [0.0, 16.0, 1.0, 17.0, 4.0, 20.0, 5.0, 21.0]);
        assert_eq!(unpack_output(&output, [2, 1, 2], 2, 2), latent);
        assert_eq!(positions([2, 1, 2])[3], [1, 0, 1]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let latent = |shape: [usize; 4]| Latent::zeros(shape);
        assert_eq!(grid_of(&latent([2, 3, 4, 6]), 2, 2).unwrap(), [3, 2, 3]);
        for shape in [[3, 1, 2, 2], [2, 0, 2, 2], [2, 1, 3, 2], [2, 1025, 2, 2]] {
            assert!(grid_of(&latent(shape), 2, 2).is_err(), "{shape:?}");
        }
    }
}
