//! Parts of encoder and decoder. Pictures are `[height, width, channels]`.
//!
//! Weights are stored for clips: a kernel has three taps along time, the last of which sees the current frame. Of a single
//! frame the others see only zeros, so that tap is all that is kept.

use burn::tensor::Tensor;
use vtb_nn::loader::Loader;
use vtb_nn::ops::{AttentionMask, Conv3x3, Grid, attention, linear, rms_norm};

/// Taps of a kernel along time.
const TIME_TAPS: usize = 3;

/// The tensor `name`, stored in the shape `stored`, brought into the shape `form` by `change`. What the file lacks is noted
/// by the loader, as are names where there is no file; one number that looks like the tensor takes its place.
fn param<const S: usize, const F: usize>(
    loader: &Loader<'_>,
    name: &str,
    stored: [usize; S],
    form: [usize; F],
    change: impl FnOnce(Tensor<S>) -> Tensor<F>,
) -> Tensor<F> {
    let tensor = loader.param(name, stored).val();
    if loader.stored_shape(name).as_deref() == Some(&stored) {
        return change(tensor);
    }
    Tensor::<F>::zeros([1; F], (&tensor.device(), tensor.dtype())).expand(form)
}

fn bias(loader: &Loader<'_>, len: usize) -> Tensor<1> {
    loader.param("bias", [len]).val()
}

/// A 3×3 convolution.
#[derive(Debug, Clone)]
pub(super) struct Conv {
    /// `[out, 3, 3, in]`.
    weight: Tensor<4>,
    bias: Tensor<1>,
}

impl Conv {
    /// Stored with taps along time, `[out, in, 3, 3, 3]`. The last tap is copied out, which lets go of the others.
    pub(super) fn causal(loader: &Loader<'_>, input: usize, output: usize) -> Self {
        let (stored, form) = ([output, input, TIME_TAPS, 3, 3], [output, 3, 3, input]);
        let weight = param(loader, "weight", stored, form, |all| {
            let last = all.narrow(2, TIME_TAPS - 1, 1);
            last.permute([0, 3, 4, 1, 2]).reshape(form)
        });
        let bias = bias(loader, output);
        Self { weight, bias }
    }

    /// Stored for single frames, `[out, in, 3, 3]`.
    fn flat(loader: &Loader<'_>, input: usize, output: usize) -> Self {
        let (stored, form) = ([output, input, 3, 3], [output, 3, 3, input]);
        let weight = param(loader, "weight", stored, form, |planes| {
            // By way of one axis: the values are moved once, here, and not in every pass.
            let flat = planes.permute([0, 2, 3, 1]).reshape([9 * input * output]);
            flat.reshape(form)
        });
        let bias = bias(loader, output);
        Self { weight, bias }
    }

    pub(super) fn forward(&self, x: Tensor<3>, grid: Grid) -> Tensor<3> {
        self.run(x, grid, None, None)
    }

    /// Of the normalised picture after SiLU, `add` on top.
    pub(super) fn activated(&self, x: Tensor<3>, norm: &Norm, add: Option<Tensor<3>>) -> Tensor<3> {
        self.run(x, Grid::Same, Some(norm), add)
    }

    fn run(
        &self,
        x: Tensor<3>,
        grid: Grid,
        norm: Option<&Norm>,
        add: Option<Tensor<3>>,
    ) -> Tensor<3> {
        let conv = Conv3x3 {
            weight: &self.weight,
            bias: &self.bias,
            grid,
            norm: norm.map(|norm| (&norm.gain, norm.eps())),
            add,
        };
        conv.forward(x)
    }
}

/// A 1×1 convolution: a linear map of every pixel.
#[derive(Debug, Clone)]
pub(super) struct Pointwise {
    /// `[out, in]`.
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl Pointwise {
    /// Stored as `[out, in, 1, 1, 1]`.
    pub(super) fn causal(loader: &Loader<'_>, input: usize, output: usize) -> Self {
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

    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [height, width, channels] = x.dims();
        let rows = self.rows(x.reshape([height * width, channels]));
        let out = rows.dims()[1];
        rows.reshape([height, width, out])
    }
}

/// `√channels · gain ⊙ x / max(‖x‖, 1e-12)` over the channels of a pixel.
#[derive(Debug, Clone)]
pub(super) struct Norm {
    gain: Tensor<1>,
}

impl Norm {
    /// Stored as `[channels, 1, 1, 1]`.
    pub(super) fn causal(loader: &Loader<'_>, channels: usize) -> Self {
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
pub(super) struct ResBlock {
    norm1: Norm,
    conv1: Conv,
    norm2: Norm,
    conv2: Conv,
    /// Where the number of channels changes.
    shortcut: Option<Pointwise>,
}

impl ResBlock {
    pub(super) fn load(loader: &Loader<'_>, input: usize, output: usize) -> Self {
        Self {
            norm1: Norm::causal(&loader.pp("norm1"), input),
            conv1: Conv::causal(&loader.pp("conv1"), input, output),
            norm2: Norm::causal(&loader.pp("norm2"), output),
            conv2: Conv::causal(&loader.pp("conv2"), output, output),
            shortcut: (input != output)
                .then(|| Pointwise::causal(&loader.pp("conv_shortcut"), input, output)),
        }
    }

    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let h = self.conv1.activated(x.clone(), &self.norm1, None);
        let x = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x),
            None => x,
        };
        self.conv2.activated(h, &self.norm2, Some(x))
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
pub(super) struct Middle {
    first: ResBlock,
    attention: Attention,
    second: ResBlock,
}

impl Middle {
    pub(super) fn load(loader: &Loader<'_>, channels: usize) -> Self {
        Self {
            first: ResBlock::load(&loader.pp("resnets.0"), channels, channels),
            attention: Attention::load(&loader.pp("attentions.0"), channels),
            second: ResBlock::load(&loader.pp("resnets.1"), channels, channels),
        }
    }

    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.first.forward(x);
        self.second.forward(self.attention.forward(x))
    }
}

/// What halves or doubles the sides of a picture.
#[derive(Debug, Clone)]
pub(super) struct Resample {
    conv: Conv,
    grid: Grid,
}

impl Resample {
    /// Halves sides. Where the file resamples time as well it holds a convolution along it, which a first frame passes by:
    /// it must be there and is let go.
    pub(super) fn down(loader: &Loader<'_>, channels: usize, time: bool) -> Self {
        if time {
            let _ = time_conv(loader, channels, channels);
        }
        Self {
            conv: Conv::flat(&loader.pp("resample.1"), channels, channels),
            grid: Grid::Halved,
        }
    }

    /// Doubles sides and halves channels.
    pub(super) fn up(loader: &Loader<'_>, channels: usize, time: bool) -> Self {
        if time {
            let _ = time_conv(loader, channels, 2 * channels);
        }
        Self {
            conv: Conv::flat(&loader.pp("resample.1"), channels, channels / 2),
            grid: Grid::Doubled,
        }
    }

    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.conv.forward(x, self.grid)
    }
}

/// Weight and bias of a convolution along time.
fn time_conv(loader: &Loader<'_>, input: usize, output: usize) -> (Tensor<5>, Tensor<1>) {
    let loader = loader.pp("time_conv");
    (
        loader
            .param("weight", [output, input, TIME_TAPS, 1, 1])
            .val(),
        loader.param("bias", [output]).val(),
    )
}
