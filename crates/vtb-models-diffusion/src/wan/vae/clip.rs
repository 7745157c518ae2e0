//! Clips on the host, and their way to tensors and back.

use burn::tensor::{DType, Device, Tensor, TensorData};
use vtb_nn::NnError;

use super::config::COLOURS;
use crate::DiffusionError;

/// A clip on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// Colours, frames, height, width.
    pub shape: [usize; 4],
    /// Row-major values in -1..=1, as many as the shape says.
    pub values: Vec<f32>,
}

/// Frame `at` of values `[channels, frames, height, width]` in patches: `[height/p, width/p, channels·p²]`. A patch holds
/// its channels one after the other, of each the first column before the second (AutoencoderKLWan).
pub(super) fn patched(
    values: &[f32],
    [channels, frames, height, width]: [usize; 4],
    at: usize,
    patch: usize,
    (device, dtype): (&Device, DType),
) -> Tensor<3> {
    let (rows, columns) = (height / patch, width / patch);
    let mut out = Vec::with_capacity(channels * height * width);
    for row in 0..rows {
        for column in 0..columns {
            for c in 0..channels {
                let plane = &values[(c * frames + at) * height * width..];
                for dx in 0..patch {
                    for dy in 0..patch {
                        out.push(plane[(row * patch + dy) * width + column * patch + dx]);
                    }
                }
            }
        }
    }
    let data = TensorData::new(out, [rows, columns, channels * patch * patch]);
    Tensor::from_data(data, (device, dtype))
}

/// Inverse of [`patched`]: planes `[colours, height, width]` of one frame.
pub(super) fn unpatched(x: Tensor<3>, patch: usize) -> Result<Vec<f32>, DiffusionError> {
    let [rows, columns, channels] = x.dims();
    let values = host(x)?;
    let (height, width) = (rows * patch, columns * patch);
    let colours = channels / (patch * patch);
    let mut planes = vec![0.0; colours * height * width];
    let mut source = values.iter();
    for row in 0..rows {
        for column in 0..columns {
            for c in 0..colours {
                for dx in 0..patch {
                    for dy in 0..patch {
                        let at = (c * height + row * patch + dy) * width + column * patch + dx;
                        if let Some(value) = source.next() {
                            planes[at] = *value;
                        }
                    }
                }
            }
        }
    }
    Ok(planes)
}

/// Values of a tensor, row-major, in f32.
pub(super) fn host(x: Tensor<3>) -> Result<Vec<f32>, DiffusionError> {
    let values = x.cast(DType::F32).into_data().try_into_vec::<f32>();
    let fault = |e| NnError::input(format!("the result cannot be read: {e:?}"));
    Ok(values.map_err(fault)?)
}

impl Clip {
    /// Checks colours, sides and length against an autoencoder.
    ///
    /// # Errors
    /// Says what is wrong.
    pub(super) fn check(&self, factor: usize, frame_factor: usize) -> Result<(), DiffusionError> {
        let [colours, frames, height, width] = self.shape;
        let fault = if colours != COLOURS {
            format!("a clip of {colours} colours for an autoencoder of {COLOURS}")
        } else if frames == 0 || (frames - 1) % frame_factor != 0 {
            format!(
                "a clip of {frames} frames: the autoencoder takes 1 and {frame_factor} for each that follows, such as {} \
                 or {}",
                frames.saturating_sub(1) / frame_factor * frame_factor + 1,
                frames.saturating_sub(1).div_ceil(frame_factor) * frame_factor + 1
            )
        } else if height == 0 || width == 0 || height % factor != 0 || width % factor != 0 {
            format!(
                "a clip of {height}×{width} pixels (height × width): the autoencoder takes sides that are multiples of \
                 {factor}; scale or crop it"
            )
        } else if self.shape.iter().product::<usize>() != self.values.len() {
            format!(
                "a clip of shape {:?} comes with {} values",
                self.shape,
                self.values.len()
            )
        } else {
            return Ok(());
        };
        Err(DiffusionError::input(fault))
    }
}

#[cfg(test)]
mod tests {
    use vtb_nn::device::cpu_device;

    use super::*;

    #[test]
    fn columns_of_a_patch_come_before_rows_and_patches_come_back() {
        let values: Vec<f32> = (0..2 * 2 * 4 * 2).map(|i| i as f32).collect();
        let device = cpu_device();
        let x = patched(&values, [2, 2, 4, 2], 1, 2, (&device, DType::F32));
        assert_eq!(x.dims(), [2, 1, 8]);
        let got = host(x.clone()).unwrap();
        assert_eq!(got[..8], [8.0, 10.0, 9.0, 11.0, 24.0, 26.0, 25.0, 27.0]);
        let back = unpatched(x, 2).unwrap();
        assert_eq!(back[..8], values[8..16]);
        assert_eq!(back[8..], values[24..]);
    }
}
