//! Latents to pictures.

use burn::tensor::Tensor;
use vtb_nn::loader::Loader;

use super::VaeConfig;
use crate::causal::{Conv, Memory, Middle, Norm, ResBlock, Resample, Taps};

/// A middle, stages of residual blocks with sides doubled in between, and a head.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    conv_in: Conv,
    mid_block: Middle,
    up_blocks: Vec<Up>,
    norm_out: Norm,
    conv_out: Conv,
}

/// One stage.
#[derive(Debug, Clone)]
struct Up {
    resnets: Vec<ResBlock>,
    /// Absent in the last stage.
    upsampler: Option<Resample>,
}

impl Decoder {
    pub(super) fn load(loader: &Loader<'_>, config: &VaeConfig) -> Self {
        let mut widths = config.widths();
        widths.reverse();
        let first = widths[0];
        let blocks = loader.pp("up_blocks");
        let mut width = first;
        let mut up_blocks = Vec::new();
        for (stage, &output) in widths.iter().enumerate() {
            let stage_loader = blocks.pp(stage);
            let resnets = (0..=config.num_res_blocks).map(|i| {
                let input = if i == 0 { width } else { output };
                ResBlock::load(
                    &stage_loader.pp(format!("resnets.{i}")),
                    input,
                    output,
                    Taps::Last,
                )
            });
            let resnets = resnets.collect();
            // Time is resampled in the opposite order.
            let time = config.temperal_downsample.iter().rev().nth(stage);
            let upsampler = time.map(|time| {
                let place = stage_loader.pp("upsamplers.0");
                Resample::up(&place, [output, output / 2], *time, Taps::Last)
            });
            width = output / 2;
            up_blocks.push(Up { resnets, upsampler });
        }
        Self {
            conv_in: Conv::causal(&loader.pp("conv_in"), config.z_dim, first, Taps::Last),
            mid_block: Middle::load(&loader.pp("mid_block"), first, Taps::Last),
            up_blocks,
            norm_out: Norm::causal(&loader.pp("norm_out"), config.widths()[0]),
            conv_out: Conv::causal(
                &loader.pp("conv_out"),
                config.widths()[0],
                config.input_channels,
                Taps::Last,
            ),
        }
    }

    /// `[height, width, z]` to `[f·height, f·width, colours]`.
    pub(super) fn forward(&self, latent: Tensor<3>) -> Tensor<3> {
        let memory = &mut Memory::default();
        let x = self.conv_in.forward(vec![latent], memory);
        let mut x = self.mid_block.forward(x, memory);
        for stage in &self.up_blocks {
            for block in &stage.resnets {
                x = block.forward(x, memory);
            }
            if let Some(upsampler) = &stage.upsampler {
                x = upsampler.forward(x, memory);
            }
        }
        let mut x = self.conv_out.activated(x, &self.norm_out, None, memory);
        x.remove(0)
    }
}
