//! Causal layers over the frames of clips, shared by the autoencoders of Qwen-Image (one frame) and Wan (many).
//!
//! A clip is a list of frames, each `[height, width, channels]`. A layer that looks back keeps what it needs of the frames
//! it has seen in a [`Memory`], so a clip may be run in pieces of any length: the results are those of the whole.

mod layers;
mod memory;
mod resample;

pub(crate) use layers::{Conv, Middle, Norm, Pointwise, ResBlock, Taps};
pub(crate) use memory::Memory;
pub(crate) use resample::{AvgDown, DupUp, Resample};

use burn::tensor::Tensor;
use vtb_nn::velocity::Latent;

/// Frames one after the other, `[height, width, channels]` each.
pub(crate) type Frames = Vec<Tensor<3>>;

/// Sums of frames.
pub(crate) fn added(frames: Frames, others: Frames) -> Frames {
    let pairs = frames.into_iter().zip(others);
    pairs.map(|(x, y)| x + y).collect()
}

/// `change(value, mean, deviation)` of every value of a latent, whose channels have these means and deviations.
pub(crate) fn each_channel(
    latent: &mut Latent,
    mean: &[f64],
    deviation: &[f64],
    change: impl Fn(f32, f32, f32) -> f32,
) {
    let len = latent.shape[1] * latent.frame_len();
    let constants = mean.iter().zip(deviation);
    for (values, (mean, std)) in latent.values.chunks_mut(len.max(1)).zip(constants) {
        let (mean, std) = (*mean as f32, *std as f32);
        for value in values {
            *value = change(*value, mean, std);
        }
    }
}
