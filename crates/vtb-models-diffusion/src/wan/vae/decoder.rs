//! Latents to clips.

use vtb_nn::loader::Loader;

use super::VaeConfig;
use crate::causal::{Conv, DupUp, Frames, Memory, Middle, Norm, ResBlock, Resample, Taps, added};

/// A middle, stages of residual blocks, all but the last with a doubling at its end and a shortcut around it, and a head.
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
    upsampler: Option<(Resample, DupUp)>,
}

impl Up {
    fn forward(&self, frames: Frames, memory: &mut Memory) -> Frames {
        let mut x = frames.clone();
        for block in &self.resnets {
            x = block.forward(x, memory);
        }
        match &self.upsampler {
            Some((upsampler, shortcut)) => {
                let x = upsampler.forward(x, memory);
                added(x, shortcut.forward(frames, memory))
            }
            None => x,
        }
    }
}

impl Decoder {
    pub(super) fn load(loader: &Loader<'_>, config: &VaeConfig) -> Self {
        let widths = config.decoder_widths();
        let first = widths[0];
        let blocks = loader.pp("up_blocks");
        let mut width = first;
        let mut up_blocks = Vec::new();
        for (stage, &output) in widths.iter().enumerate() {
            let place = blocks.pp(stage);
            let block = |i| {
                let input = if i == 0 { width } else { output };
                ResBlock::load(&place.pp(format!("resnets.{i}")), input, output, Taps::All)
            };
            let resnets = (0..=config.num_res_blocks).map(block).collect();
            // Frames are doubled in the opposite order.
            let time = config.temperal_downsample.iter().rev().nth(stage);
            let upsampler = time.map(|time| {
                let shortcut = DupUp {
                    time: if *time { 2 } else { 1 },
                    side: 2,
                    output,
                };
                let place = place.pp("upsampler");
                let upsampler = Resample::up(&place, [output, output], *time, Taps::All);
                (upsampler, shortcut)
            });
            width = output;
            up_blocks.push(Up { resnets, upsampler });
        }
        let conv =
            |name: &str, input, output| Conv::causal(&loader.pp(name), input, output, Taps::All);
        Self {
            conv_in: conv("conv_in", config.z_dim, first),
            mid_block: Middle::load(&loader.pp("mid_block"), first, Taps::All),
            up_blocks,
            norm_out: Norm::causal(&loader.pp("norm_out"), width),
            conv_out: conv("conv_out", width, config.out_channels),
        }
    }

    /// Frames `[height, width, z]` to `[f·height, f·width, channels]`.
    pub(super) fn forward(&self, frames: Frames, memory: &mut Memory) -> Frames {
        memory.rewind();
        let x = self.conv_in.forward(frames, memory);
        let mut x = self.mid_block.forward(x, memory);
        for stage in &self.up_blocks {
            x = stage.forward(x, memory);
        }
        self.conv_out.activated(x, &self.norm_out, None, memory)
    }
}
