//! Clips to moments of latents.

use vtb_nn::loader::Loader;

use super::VaeConfig;
use crate::causal::{AvgDown, Conv, Frames, Memory, Middle, Norm, ResBlock, Resample, Taps, added};

/// Stages of residual blocks, each with a shortcut around it and all but the last with a halving at its end; a middle and a
/// head.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    conv_in: Conv,
    down_blocks: Vec<Down>,
    mid_block: Middle,
    norm_out: Norm,
    conv_out: Conv,
}

/// One stage.
#[derive(Debug, Clone)]
struct Down {
    resnets: Vec<ResBlock>,
    downsampler: Option<Resample>,
    shortcut: AvgDown,
}

impl Down {
    fn load(
        loader: &Loader<'_>,
        [input, output]: [usize; 2],
        blocks: usize,
        halve: Option<bool>,
    ) -> Self {
        let block = |i| {
            let place = loader.pp(format!("resnets.{i}"));
            ResBlock::load(
                &place,
                if i == 0 { input } else { output },
                output,
                Taps::All,
            )
        };
        let place = loader.pp("downsampler");
        Self {
            resnets: (0..blocks).map(block).collect(),
            downsampler: halve.map(|time| Resample::down(&place, output, time, Taps::All)),
            shortcut: AvgDown {
                time: if halve == Some(true) { 2 } else { 1 },
                side: if halve.is_some() { 2 } else { 1 },
                output,
            },
        }
    }

    fn forward(&self, frames: Frames, memory: &mut Memory) -> Frames {
        let mut x = frames.clone();
        for block in &self.resnets {
            x = block.forward(x, memory);
        }
        if let Some(downsampler) = &self.downsampler {
            x = downsampler.forward(x, memory);
        }
        added(x, self.shortcut.forward(frames, memory))
    }
}

impl Encoder {
    pub(super) fn load(loader: &Loader<'_>, config: &VaeConfig) -> Self {
        let blocks = loader.pp("down_blocks");
        let mut width = config.base_dim;
        let mut down_blocks = Vec::new();
        for (stage, output) in config.widths().into_iter().enumerate() {
            let halve = config.temperal_downsample.get(stage).copied();
            let place = blocks.pp(stage);
            let count = config.num_res_blocks;
            down_blocks.push(Down::load(&place, [width, output], count, halve));
            width = output;
        }
        let conv =
            |name: &str, input, output| Conv::causal(&loader.pp(name), input, output, Taps::All);
        Self {
            conv_in: conv("conv_in", config.in_channels, config.base_dim),
            down_blocks,
            mid_block: Middle::load(&loader.pp("mid_block"), width, Taps::All),
            norm_out: Norm::causal(&loader.pp("norm_out"), width),
            conv_out: conv("conv_out", width, 2 * config.z_dim),
        }
    }

    /// Frames `[height, width, channels]` to `[height/f, width/f, 2·z]`.
    pub(super) fn forward(&self, frames: Frames, memory: &mut Memory) -> Frames {
        memory.rewind();
        let mut x = self.conv_in.forward(frames, memory);
        for stage in &self.down_blocks {
            x = stage.forward(x, memory);
        }
        let x = self.mid_block.forward(x, memory);
        self.conv_out.activated(x, &self.norm_out, None, memory)
    }
}
