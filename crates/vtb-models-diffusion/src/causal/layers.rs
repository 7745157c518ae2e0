//! Convolutions, norms, residual blocks and attention.
//!
//! A kernel has three taps along time, the last of which sees the current frame.

use burn::tensor::Tensor;
use vtb_nn::loader::Loader;
use vtb_nn::ops::{AttentionMask, Conv3x3, Grid, attention, linear, rms_norm};

use super::{Frames, Memory};

/// Taps of a kernel along time.
pub(super) const TIME_TAPS: usize = 3;

/// Forms of the tensor `name`, stored in the shape `stored`: `count` of them, each made by `change` from the whole and its
/// number. What the file lacks is noted by the loader, as are names where there is no file; one number that looks like the
/// form takes its place.
pub(super) fn params<const S: usize, const F: usize>(
    loader: &Loader<'_>,
    name: &str,
    stored: [usize; S],
    form: [usize; F],
    count: usize,
    change: impl Fn(Tensor<S>, usize) -> Tensor<F>,
) -> Vec<Tensor<F>> {
    let tensor = loader.param(name, stored).val();
    let found = loader.stored_shape(name).as_deref() == Some(&stored);
    let of = |number| match found {
        true => change(tensor.clone(), number),
        false => Tensor::<F>::zeros([1; F], (&tensor.device(), tensor.dtype())).expand(form),
    };
    (0..count).map(of).collect()
}

/// As [`params`] of a tensor that has one form.
fn param<const S: usize, const F: usize>(
    loader: &Loader<'_>,
    name: &str,
    stored: [usize; S],
    form: [usize; F],
    change: impl Fn(Tensor<S>) -> Tensor<F>,
) -> Tensor<F> {
    params(loader, name, stored, form, 1, |all, _| change(all)).remove(0)
}

pub(super) fn bias(loader: &Loader<'_>, len: usize) -> Tensor<1> {
    loader.param("bias", [len]).val()
}

/// Which taps along time a model needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taps {
    /// All of them: clips.
    All,
    /// The one that sees the current frame: of a single frame the others see only zeros.
    Last,
}

/// A convolution of 3×3 pixels, over three frames or one.
#[derive(Debug, Clone)]
pub(crate) struct Conv {
    /// `[out, 3, 3, in]` for every tap along time; the first sees the current frame, the next the one before it.
    weights: Vec<Tensor<4>>,
    bias: Tensor<1>,
    /// Zeros of the same length.
    no_bias: Tensor<1>,
}

impl Conv {
    /// Stored with taps along time, `[out, in, 3, 3, 3]`. Those that are kept are copied out, which lets go of the others.
    pub(crate) fn causal(loader: &Loader<'_>, input: usize, output: usize, taps: Taps) -> Self {
        let (stored, form) = ([output, input, TIME_TAPS, 3, 3], [output, 3, 3, input]);
        let kept = match taps {
            Taps::All => TIME_TAPS,
            Taps::Last => 1,
        };
        let weights = params(loader, "weight", stored, form, kept, |all, back| {
            let tap = all.narrow(2, TIME_TAPS - 1 - back, 1);
            let flat = tap.permute([0, 3, 4, 1, 2]).reshape([9 * input * output]);
            flat.reshape(form)
        });
        Self::with(weights, bias(loader, output))
    }

    /// Stored for single frames, `[out, in, 3, 3]`.
    pub(super) fn flat(loader: &Loader<'_>, input: usize, output: usize) -> Self {
        let (stored, form) = ([output, input, 3, 3], [output, 3, 3, input]);
        let weights = params(loader, "weight", stored, form, 1, |planes, _| {
            // By way of one axis: the values are moved once, here, and not in every pass.
            let flat = planes.permute([0, 2, 3, 1]).reshape([9 * input * output]);
            flat.reshape(form)
        });
        Self::with(weights, bias(loader, output))
    }

    fn with(weights: Vec<Tensor<4>>, bias: Tensor<1>) -> Self {
        Self {
            weights,
            no_bias: bias.zeros_like(),
            bias,
        }
    }

    pub(crate) fn forward(&self, frames: Frames, memory: &mut Memory) -> Frames {
        self.run(frames, None, None, memory)
    }

    /// Of the normalised frames after SiLU, `add` on top.
    pub(crate) fn activated(
        &self,
        frames: Frames,
        norm: &Norm,
        add: Option<Frames>,
        memory: &mut Memory,
    ) -> Frames {
        self.run(frames, Some(norm), add, memory)
    }

    /// One frame on another grid, without a look back.
    pub(super) fn on_grid(&self, x: Tensor<3>, grid: Grid) -> Tensor<3> {
        self.tap(0, x, grid, None, None)
    }

    fn run(
        &self,
        frames: Frames,
        norm: Option<&Norm>,
        add: Option<Frames>,
        memory: &mut Memory,
    ) -> Frames {
        let looks_back = self.weights.len() - 1;
        let mut add = add.into_iter().flatten();
        let slot = memory.slot();
        let of = |frame: Tensor<3>| {
            let mut y = self.tap(0, frame.clone(), Grid::Same, norm, add.next());
            for back in 1..=looks_back {
                if let Some(past) = slot.back(back) {
                    y = self.tap(back, past.clone(), Grid::Same, norm, Some(y));
                }
            }
            if looks_back > 0 {
                slot.push(frame, looks_back);
            }
            y
        };
        frames.into_iter().map(of).collect()
    }

    fn tap(
        &self,
        back: usize,
        x: Tensor<3>,
        grid: Grid,
        norm: Option<&Norm>,
        add: Option<Tensor<3>>,
    ) -> Tensor<3> {
        let conv = Conv3x3 {
            weight: &self.weights[back],
            bias: match back {
                0 => &self.bias,
                _ => &self.no_bias,
            },
            grid,
            norm: norm.map(|norm| (&norm.gain, norm.eps())),
            add,
        };
        conv.forward(x)
    }
}

/// A 1×1 convolution: a linear map of every pixel.
#[derive(Debug, Clone)]
pub(crate) struct Pointwise {
    /// `[out, in]`.
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl Pointwise {
    /// Stored as `[out, in, 1, 1, 1]`.
    pub(crate) fn causal(loader: &Loader<'_>, input: usize, output: usize) -> Self {
        Self::load(loader, [output, input, 1, 1, 1])
    }

    /// Stored as `[out, in, 1, 1]`.
    fn flat(loader: &Loader<'_>, input: usize, output: usize) -> Self {
        Self::load(loader, [output, input, 1, 1])
    }

    fn load<const S: usize>(loader: &Loader<'_>, stored: [usize; S]) -> Self {
        let form = [stored[0], stored[1]];
        let weight = param(loader, "weight", stored, form, |w| w.reshape(form));
        let bias = bias(loader, stored[0]);
        Self { weight, bias }
    }

    fn rows(&self, rows: Tensor<2>) -> Tensor<2> {
        linear(rows, self.weight.clone(), Some(self.bias.clone()))
    }

    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [height, width, channels] = x.dims();
        let rows = self.rows(x.reshape([height * width, channels]));
        let out = rows.dims()[1];
        rows.reshape([height, width, out])
    }
}

/// `√channels · gain ⊙ x / max(‖x‖, 1e-12)` over the channels of a pixel.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    gain: Tensor<1>,
}

impl Norm {
    /// Stored as `[channels, 1, 1, 1]`.
    pub(crate) fn causal(loader: &Loader<'_>, channels: usize) -> Self {
        Self::load(loader, [channels, 1, 1, 1])
    }

    /// Stored as `[channels, 1, 1]`.
    fn flat(loader: &Loader<'_>, channels: usize) -> Self {
        Self::load(loader, [channels, 1, 1])
    }

    fn load<const S: usize>(loader: &Loader<'_>, stored: [usize; S]) -> Self {
        let form = [stored[0]];
        let gain = param(loader, "gamma", stored, form, |gain| gain.reshape(form));
        Self { gain }
    }

    /// The epsilon that makes an RMS norm of it: it differs from the bound on the norm only for pixels of that size, and
    /// zero stays zero.
    fn eps(&self) -> f32 {
        1e-24 / self.gain.dims()[0] as f32
    }
}

/// `shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))))))`.
#[derive(Debug, Clone)]
pub(crate) struct ResBlock {
    norm1: Norm,
    conv1: Conv,
    norm2: Norm,
    conv2: Conv,
    /// Where the number of channels changes.
    shortcut: Option<Pointwise>,
}

impl ResBlock {
    pub(crate) fn load(loader: &Loader<'_>, input: usize, output: usize, taps: Taps) -> Self {
        Self {
            norm1: Norm::causal(&loader.pp("norm1"), input),
            conv1: Conv::causal(&loader.pp("conv1"), input, output, taps),
            norm2: Norm::causal(&loader.pp("norm2"), output),
            conv2: Conv::causal(&loader.pp("conv2"), output, output, taps),
            shortcut: (input != output)
                .then(|| Pointwise::causal(&loader.pp("conv_shortcut"), input, output)),
        }
    }

    pub(crate) fn forward(&self, frames: Frames, memory: &mut Memory) -> Frames {
        let h = self
            .conv1
            .activated(frames.clone(), &self.norm1, None, memory);
        let frames = match &self.shortcut {
            Some(shortcut) => frames.into_iter().map(|x| shortcut.forward(x)).collect(),
            None => frames,
        };
        self.conv2.activated(h, &self.norm2, Some(frames), memory)
    }
}

/// Attention of every pixel to every other, one head as wide as the picture has channels.
#[derive(Debug, Clone)]
struct Attention {
    norm: Norm,
    to_qkv: Pointwise,
    proj: Pointwise,
}

impl Attention {
    fn load(loader: &Loader<'_>, channels: usize) -> Self {
        Self {
            norm: Norm::flat(&loader.pp("norm"), channels),
            to_qkv: Pointwise::flat(&loader.pp("to_qkv"), channels, 3 * channels),
            proj: Pointwise::flat(&loader.pp("proj"), channels, channels),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [height, width, channels] = x.dims();
        let pixels = height * width;
        let rows = x.reshape([pixels, channels]);
        let normed = rms_norm(rows.clone(), self.norm.gain.clone(), self.norm.eps());
        let qkv = self.to_qkv.rows(normed);
        let [q, k, v] = [0, 1, 2].map(|i| {
            let part = qkv.clone().narrow(1, i * channels, channels);
            part.reshape([1, pixels, 1, channels])
        });
        let mask = AttentionMask::full(1, pixels, pixels);
        let attended = attention(q, k, v, &mask, (channels as f32).sqrt().recip());
        let out = rows + self.proj.rows(attended.reshape([pixels, channels]));
        out.reshape([height, width, channels])
    }
}

/// The middle of encoder and decoder: residual block, attention, residual block.
#[derive(Debug, Clone)]
pub(crate) struct Middle {
    first: ResBlock,
    attention: Attention,
    second: ResBlock,
}

impl Middle {
    pub(crate) fn load(loader: &Loader<'_>, channels: usize, taps: Taps) -> Self {
        Self {
            first: ResBlock::load(&loader.pp("resnets.0"), channels, channels, taps),
            attention: Attention::load(&loader.pp("attentions.0"), channels),
            second: ResBlock::load(&loader.pp("resnets.1"), channels, channels, taps),
        }
    }

    pub(crate) fn forward(&self, frames: Frames, memory: &mut Memory) -> Frames {
        let frames = self.first.forward(frames, memory);
        let frames = frames.into_iter().map(|x| self.attention.forward(x));
        self.second.forward(frames.collect(), memory)
    }
}
