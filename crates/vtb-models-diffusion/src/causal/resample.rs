//! Halving and doubling sides and frames.

use burn::tensor::{Int, Tensor, TensorData};
use vtb_nn::loader::Loader;
use vtb_nn::ops::{Grid, linear};

use super::layers::{Conv, TIME_TAPS, Taps, bias, params};
use super::memory::Slot;
use super::{Frames, Memory};

/// What halves or doubles the sides of frames, and their number where there is a convolution along time. The first frame
/// of a clip stays one frame.
#[derive(Debug, Clone)]
pub(crate) struct Resample {
    conv: Conv,
    grid: Grid,
    time: Option<TimeConv>,
}

impl Resample {
    /// Halves sides, and frames where `time` says so. With [`Taps::Last`] the convolution along time, which a first frame
    /// passes by, must be in the file and is let go.
    pub(crate) fn down(loader: &Loader<'_>, channels: usize, time: bool, taps: Taps) -> Self {
        Self {
            conv: Conv::flat(&loader.pp("resample.1"), channels, channels),
            grid: Grid::Halved,
            time: TimeConv::load(loader, channels, channels, time, taps),
        }
    }

    /// Doubles sides, and frames where `time` says so; from `input` to `output` channels.
    pub(crate) fn up(
        loader: &Loader<'_>,
        [input, output]: [usize; 2],
        time: bool,
        taps: Taps,
    ) -> Self {
        Self {
            conv: Conv::flat(&loader.pp("resample.1"), input, output),
            grid: Grid::Doubled,
            time: TimeConv::load(loader, input, 2 * input, time, taps),
        }
    }

    pub(crate) fn forward(&self, frames: Frames, memory: &mut Memory) -> Frames {
        let sides = |frames: Frames| -> Frames {
            let of = |x| self.conv.on_grid(x, self.grid);
            frames.into_iter().map(of).collect()
        };
        match (&self.time, self.grid) {
            (None, _) => sides(frames),
            (Some(time), Grid::Doubled) => sides(time.doubled(frames, memory.slot())),
            (Some(time), _) => time.halved(sides(frames), memory.slot()),
        }
    }
}

/// A convolution along time: three linear maps of a pixel.
#[derive(Debug, Clone)]
struct TimeConv {
    /// `[out, in]` each; the first sees the current frame.
    weights: Vec<Tensor<2>>,
    bias: Tensor<1>,
}

impl TimeConv {
    /// Stored as `[out, in, 3, 1, 1]`.
    fn load(
        loader: &Loader<'_>,
        input: usize,
        output: usize,
        time: bool,
        taps: Taps,
    ) -> Option<Self> {
        if !time {
            return None;
        }
        let loader = loader.pp("time_conv");
        let (stored, form) = ([output, input, TIME_TAPS, 1, 1], [output, input]);
        let count = match taps {
            Taps::All => TIME_TAPS,
            Taps::Last => 0,
        };
        let weights = params(&loader, "weight", stored, form, count, |all, back| {
            let tap = all.narrow(2, TIME_TAPS - 1 - back, 1);
            // By way of one axis: the values are moved once, here, and not in every pass.
            tap.reshape([output * input]).reshape(form)
        });
        let bias = bias(&loader, output);
        (taps == Taps::All).then_some(Self { weights, bias })
    }

    /// The current frame, and those before it as far as they are there.
    fn at(&self, frame: &Tensor<3>, past: [Option<&Tensor<3>>; 2]) -> Tensor<3> {
        let [height, width, channels] = frame.dims();
        let rows = |x: &Tensor<3>| x.clone().reshape([height * width, channels]);
        let mut y = linear(
            rows(frame),
            self.weights[0].clone(),
            Some(self.bias.clone()),
        );
        for (past, weight) in past.into_iter().zip(&self.weights[1..]) {
            if let Some(past) = past {
                y = y + linear(rows(past), weight.clone(), None);
            }
        }
        let out = y.dims()[1];
        y.reshape([height, width, out])
    }

    /// Of each two frames one; the first frame of the clip as it is.
    fn halved(&self, frames: Frames, slot: &mut Slot) -> Frames {
        let mut out = Vec::with_capacity(frames.len().div_ceil(2));
        for frame in frames {
            if slot.seen == 0 {
                out.push(frame.clone());
            } else if slot.seen.is_multiple_of(2) {
                out.push(self.at(&frame, [slot.back(1), slot.back(2)]));
            }
            slot.push(frame, TIME_TAPS - 1);
        }
        out
    }

    /// Of each frame two; the first frame of the clip as it is, and no context for those after it.
    fn doubled(&self, frames: Frames, slot: &mut Slot) -> Frames {
        let mut out = Vec::with_capacity(2 * frames.len());
        for frame in frames {
            if slot.seen == 0 {
                slot.seen = 1;
                out.push(frame);
                continue;
            }
            let both = self.at(&frame, [slot.back(1), slot.back(2)]);
            let channels = both.dims()[2] / 2;
            for half in 0..2 {
                out.push(both.clone().narrow(2, half * channels, channels));
            }
            slot.push(frame, TIME_TAPS - 1);
        }
        out
    }
}

/// The shortcut around a stage that halves: means of blocks of `time` frames, `side`² pixels and neighbouring channels.
#[derive(Debug, Clone)]
pub(crate) struct AvgDown {
    pub(crate) time: usize,
    pub(crate) side: usize,
    /// Channels of the result, which divide those of a block.
    pub(crate) output: usize,
}

impl AvgDown {
    /// The first frame of a clip makes a block with black frames before it.
    pub(crate) fn forward(&self, frames: Frames, memory: &mut Memory) -> Frames {
        if self.time == 1 {
            let of = |frame: Tensor<3>| self.block(&[frame]);
            return frames.into_iter().map(of).collect();
        }
        let slot = memory.slot();
        let mut out = Vec::with_capacity(frames.len().div_ceil(self.time));
        for frame in frames {
            if slot.seen == 0 {
                let mut block = vec![frame.zeros_like(); self.time - 1];
                block.push(frame);
                out.push(self.block(&block));
                slot.seen = 1;
                continue;
            }
            slot.push(frame, self.time);
            if (slot.seen - 1).is_multiple_of(self.time) {
                out.push(self.block(&slot.frames));
                slot.frames.clear();
            }
        }
        out
    }

    /// Channels of a block lie as (channel, frame, row, column); each run of them becomes a channel of the result.
    fn block(&self, frames: &[Tensor<3>]) -> Tensor<3> {
        let [height, width, channels] = frames[0].dims();
        let (side, time) = (self.side, self.time);
        let (rows, columns) = (height / side, width / side);
        let cells = side * side;
        let group = channels * time * cells / self.output;
        if group.is_multiple_of(cells) {
            // Pixels of a frame share a run: their mean comes first, and little is left to be moved.
            let pooled = |x: &Tensor<3>| {
                let x = x.clone().reshape([rows, side, columns, side * channels]);
                let x = x.sum_dim(1).reshape([rows * columns, side, channels]);
                x.sum_dim(1).reshape([rows * columns, channels, 1])
            };
            let all = match frames {
                [one] => pooled(one),
                _ => Tensor::cat(frames.iter().map(pooled).collect(), 2),
            };
            let runs = all.reshape([rows * columns, self.output, group / cells]);
            let means = runs.sum_dim(2) / group as f32;
            return means.reshape([rows, columns, self.output]);
        }
        let parts = frames.iter().map(|x| {
            let x = x
                .clone()
                .reshape([rows, side, columns, side, channels])
                .permute([0, 2, 4, 1, 3]);
            x.reshape([rows * columns, channels, 1, cells])
        });
        let all = Tensor::cat(parts.collect(), 2);
        let means = all
            .reshape([rows * columns, self.output, group])
            .mean_dim(2);
        means.reshape([rows, columns, self.output])
    }
}

/// The shortcut around a stage that doubles: every channel, repeated, fills blocks of `time` frames and `side`² pixels.
#[derive(Debug, Clone)]
pub(crate) struct DupUp {
    pub(crate) time: usize,
    pub(crate) side: usize,
    /// Channels of the result.
    pub(crate) output: usize,
}

impl DupUp {
    /// Of the first frame of a clip only the last of its frames is kept.
    pub(crate) fn forward(&self, frames: Frames, memory: &mut Memory) -> Frames {
        let mut out = Vec::with_capacity(self.time * frames.len());
        if self.time == 1 {
            out.extend(frames.iter().map(|x| self.frame(x, 0)));
            return out;
        }
        let slot = memory.slot();
        for frame in frames {
            let first = match slot.seen {
                0 => self.time - 1,
                _ => 0,
            };
            out.extend((first..self.time).map(|t| self.frame(&frame, t)));
            slot.seen += 1;
        }
        out
    }

    fn frame(&self, x: &Tensor<3>, time: usize) -> Tensor<3> {
        let [height, width, channels] = x.dims();
        let (side, output) = (self.side, self.output);
        let repeats = output * self.time * side * side / channels;
        let source = |i: usize| {
            // In the order (row, column, channel) of the result.
            let (cell, channel) = (i / output, i % output);
            (((channel * self.time + time) * side * side + cell) / repeats) as i64
        };
        let sources: Vec<i64> = (0..side * side * output).map(source).collect();
        let count = sources.len();
        let sources = Tensor::<1, Int>::from_data(TensorData::new(sources, [count]), &x.device());
        let rows = x.clone().reshape([height * width, channels]);
        rows.select(1, sources)
            .reshape([height, width, side, side * output])
            .swap_dims(1, 2)
            .reshape([side * height, side * width, output])
    }
}
