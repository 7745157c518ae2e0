//! Pictures to moments of latents.

use burn::tensor::Tensor;
use vtb_nn::loader::Loader;

use super::VaeConfig;
use crate::causal::{Conv, Memory, Middle, Norm, ResBlock, Resample, Taps};

/// Stages of residual blocks with sides halved in between, a middle, and a head.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    conv_in: Conv,
    down_blocks: Vec<Down>,
    mid_block: Middle,
    norm_out: Norm,
    conv_out: Conv,
}

/// Blocks of all stages stand in one list.
#[derive(Debug, Clone)]
enum Down {
    Block(Box<ResBlock>),
    Halve(Box<Resample>),
}

impl Encoder {
    pub(super) fn load(loader: &Loader<'_>, config: &VaeConfig) -> Self {
        let widths = config.widths();
        let blocks = loader.pp("down_blocks");
        let mut down_blocks = Vec::new();
        let mut width = config.base_dim;
        for (stage, &output) in widths.iter().enumerate() {
            for _ in 0..config.num_res_blocks {
                let place = blocks.pp(down_blocks.len());
                down_blocks.push(Down::Block(Box::new(ResBlock::load(
                    &place,
                    width,
                    output,
                    Taps::Last,
                ))));
                width = output;
            }
            if let Some(&time) = config.temperal_downsample.get(stage) {
                let place = blocks.pp(down_blocks.len());
                down_blocks.push(Down::Halve(Box::new(Resample::down(
                    &place,
                    width,
                    time,
                    Taps::Last,
                ))));
            }
        }
        Self {
            conv_in: Conv::causal(
                &loader.pp("conv_in"),
                config.input_channels,
                config.base_dim,
                Taps::Last,
            ),
            down_blocks,
            mid_block: Middle::load(&loader.pp("mid_block"), width, Taps::Last),
            norm_out: Norm::causal(&loader.pp("norm_out"), width),
            conv_out: Conv::causal(&loader.pp("conv_out"), width, 2 * config.z_dim, Taps::Last),
        }
    }

    /// `[height, width, colours]` to `[height/f, width/f, 2·z]`.
    pub(super) fn forward(&self, picture: Tensor<3>) -> Tensor<3> {
        let memory = &mut Memory::default();
        let mut x = self.conv_in.forward(vec![picture], memory);
        for block in &self.down_blocks {
            x = match block {
                Down::Block(block) => block.forward(x, memory),
                Down::Halve(resample) => resample.forward(x, memory),
            };
        }
        let x = self.mid_block.forward(x, memory);
        let mut x = self.conv_out.activated(x, &self.norm_out, None, memory);
        x.remove(0)
    }
}
