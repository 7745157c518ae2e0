//! An autoencoder that works untrained: its weights are written down, not learnt.
//!
//! Architecture and files are those of the published one. Residual branches and attention add nothing, so the networks are
//! linear up to their heads, and every picture is seen as what it lacks to white: zero padding is then a white surrounding.
//!
//! The encoder turns colours into brightness and two differences and every 8×8 block into Haar-like coefficients: of
//! brightness eight, of each difference four, from the mean down. The heads normalise over channels and apply SiLU. One
//! channel holds a constant so large that the norm is all but constant, the gain undoes it, and signals come twice, with
//! both signs: `silu(x) - silu(-x) = x`. The decoder is described in [`super::upsampling`].

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use vtb_nn::checkpoint::{MemorySource, save_safetensors};

use super::upsampling::{KINDS, chain};
use crate::qwen_image::vae::{VaeConfig, tensors};
use crate::{DiffusionError, files};

/// Channels of a latent.
const Z: usize = 16;
/// The constant channel of the heads. Signals are at most 2, so norms vary by less than a thousandth.
const CONSTANT: f32 = 256.0;
/// Deviations are e^-10: as good as none for who draws from them.
const LOG_VARIANCE: f32 = -20.0;

/// Brightness, red less green, and these two less blue, from red, green and blue.
const OPPONENT: [[f32; 3]; 3] = [
    [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0],
    [0.5, -0.5, 0.0],
    [0.25, 0.25, -0.5],
];
/// Inverse of [`OPPONENT`].
const COLOURS: [[f32; 3]; 3] = [
    [1.0, 1.0, 2.0 / 3.0],
    [1.0, -1.0, 2.0 / 3.0],
    [1.0, 0.0, -4.0 / 3.0],
];

/// Kinds of a coefficient along an axis, as [`super::upsampling::KINDS`] counts them.
const MEAN: usize = 0;
const HALVES: usize = 1;
const ENDS: usize = 2;

/// What the latent channels hold: opponent colour, kind along y, kind along x.
const LATENT: [[usize; 3]; Z] = [
    [0, MEAN, MEAN],
    [0, MEAN, HALVES],
    [0, HALVES, MEAN],
    [0, HALVES, HALVES],
    [0, MEAN, ENDS],
    [0, ENDS, MEAN],
    [0, HALVES, ENDS],
    [0, ENDS, HALVES],
    [1, MEAN, MEAN],
    [1, MEAN, HALVES],
    [1, HALVES, MEAN],
    [1, HALVES, HALVES],
    [2, MEAN, MEAN],
    [2, MEAN, HALVES],
    [2, HALVES, MEAN],
    [2, HALVES, HALVES],
];

/// Means and deviations of the latent channels over pictures of mazes, half of them solved.
const MEANS: [f64; Z] = [
    -1.33, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
];
const DEVIATIONS: [f64; Z] = [
    0.84, 0.195, 0.195, 0.041, 0.11, 0.11, 0.016, 0.016, 0.105, 0.04, 0.04, 0.009, 0.073, 0.023,
    0.023, 0.0065,
];

/// The fewest channels at full size that hold the signals of every stage.
pub(super) const LEAST_BASE: usize = 14;

/// Writes a `vae` folder; `base` channels at full size.
pub(super) fn write(dir: &Path, base: usize) -> Result<(), DiffusionError> {
    if base < LEAST_BASE {
        return Err(DiffusionError::input(format!(
            "`vae_base` is {base}; the autoencoder needs at least {LEAST_BASE} channels"
        )));
    }
    let config = VaeConfig {
        base_dim: base,
        latents_mean: MEANS.to_vec(),
        latents_std: DEVIATIONS.to_vec(),
        ..VaeConfig::published()
    };
    let mut weights = Weights::of(&config)?;
    encoder(&mut weights, base);
    decoder(&mut weights, base);
    for (name, width) in [("quant_conv", 2 * Z), ("post_quant_conv", Z)] {
        weights.copy(name, width);
    }
    config.write(dir.join(files::CONFIG))?;
    weights.save(dir)
}

fn encoder(w: &mut Weights, base: usize) {
    for (colour, row) in OPPONENT.iter().enumerate() {
        for (i, value) in row.iter().enumerate() {
            w.tap("encoder.conv_in", [colour, i], [1, 1], *value);
        }
    }
    // What is missing to white, whose brightness is 1.
    w.bias("encoder.conv_in", 0, -1.0);

    // 2 pixels a value: means.
    for colour in 0..3 {
        for (y, x) in QUADRANTS {
            let conv = "encoder.down_blocks.2.resample.1";
            w.tap(conv, [colour, colour], [y, x], 0.25);
        }
    }
    w.copy("encoder.down_blocks.3.conv_shortcut", base);

    // 4 pixels a value: means, and of brightness the differences of the pairs along either axis.
    let quarters = [[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [2, 0, 0]];
    for (out, [colour, along_y, along_x]) in quarters.into_iter().enumerate() {
        for (y, x) in QUADRANTS {
            let sign = alternating(along_y, y) * alternating(along_x, x);
            let conv = "encoder.down_blocks.5.resample.1";
            w.tap(conv, [out, colour], [y, x], 0.25 * sign);
        }
    }
    w.copy("encoder.down_blocks.6.conv_shortcut", 2 * base);

    // 8 pixels a value: the latent, with both signs, and the constant. The ends less the middle are the difference of the
    // differences.
    let (last, mut gains) = ("encoder.down_blocks.8.resample.1", vec![0.0; 4 * base]);
    for (k, [colour, along_y, along_x]) in LATENT.into_iter().enumerate() {
        let finer = |kind| usize::from(kind == ENDS);
        let from = [colour, finer(along_y), finer(along_x)];
        let input = quarters.iter().position(|q| *q == from).unwrap_or_default();
        for (y, x) in QUADRANTS {
            let differs = |kind| usize::from(kind != MEAN);
            let sign = alternating(differs(along_y), y) * alternating(differs(along_x), x);
            w.tap(last, [k, input], [y, x], 0.25 * sign);
            w.tap(last, [Z + k, input], [y, x], -0.25 * sign);
        }
        w.tap("encoder.conv_out", [k, k], [1, 1], 1.0);
        w.tap("encoder.conv_out", [k, Z + k], [1, 1], -1.0);
        w.bias("encoder.conv_out", Z + k, LOG_VARIANCE);
    }
    w.bias(last, 2 * Z, CONSTANT);
    gains[..2 * Z].fill(undoing(4 * base));
    w.all("encoder.norm_out.gamma", gains);
}

fn decoder(w: &mut Weights, base: usize) {
    let [latent, first, second, third, head] = chain();
    let widths = [latent.len(), first.len(), second.len()];
    // Channels are opponent colour, place along y, place along x.
    let place = |n: usize, colour: usize, y: usize, x: usize| (colour * n + y) * n + x;
    for (k, [colour, along_y, along_x]) in LATENT.into_iter().enumerate() {
        for (a, of_y) in latent.iter().enumerate() {
            for (b, of_x) in latent.iter().enumerate() {
                let channels = [place(widths[0], colour, a, b), k];
                let plane = outer(of_y[along_y], of_x[along_x], 1.0);
                w.plane("decoder.conv_in", channels, plane);
            }
        }
    }
    let upsamplers = [(0, &first), (1, &second), (2, &third)];
    for (stage, taps) in upsamplers {
        let name = format!("decoder.up_blocks.{stage}.upsamplers.0.resample.1");
        let inputs = widths[stage];
        for (colour, i, j) in triples(3, inputs) {
            for (a, of_y) in taps.iter().enumerate() {
                for (b, of_x) in taps.iter().enumerate() {
                    let input = place(inputs, colour, i, j);
                    let output = place(taps.len(), colour, a, b);
                    w.plane(&name, [output, input], outer(of_y[i], of_x[j], 1.0));
                    if stage == 2 {
                        w.plane(&name, [3 + output, input], outer(of_y[i], of_x[j], -1.0));
                    }
                }
            }
        }
    }
    w.copy("decoder.up_blocks.1.resnets.0.conv_shortcut", 2 * base);
    w.bias("decoder.up_blocks.2.upsamplers.0.resample.1", 6, CONSTANT);
    let mut gains = vec![0.0; base];
    gains[..6].fill(undoing(base));
    w.all("decoder.norm_out.gamma", gains);
    for (colour, row) in COLOURS.iter().enumerate() {
        for (i, value) in row.iter().enumerate() {
            let taps = head[0][0];
            w.plane("decoder.conv_out", [colour, i], outer(taps, taps, *value));
            w.plane(
                "decoder.conv_out",
                [colour, 3 + i],
                outer(taps, taps, -value),
            );
        }
        w.bias("decoder.conv_out", colour, 1.0);
    }
}

/// The taps of a halving convolution that see the two by two values of its own.
const QUADRANTS: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// 1 for means; for differences 1, then -1.
fn alternating(difference: usize, place: usize) -> f32 {
    if difference * place == 1 { -1.0 } else { 1.0 }
}

/// The gain that undoes the norm of `width` channels: they are divided by their norm, the constant, and times √width.
fn undoing(width: usize) -> f32 {
    CONSTANT / (width as f32).sqrt()
}

fn outer(of_y: [f32; 3], of_x: [f32; 3], scale: f32) -> [[f32; 3]; 3] {
    of_y.map(|y| of_x.map(|x| y * x * scale))
}

fn triples(colours: usize, side: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..colours * side * side).map(move |i| (i / (side * side), i / side % side, i % side))
}

/// All tensors of the file: gains 1, the rest 0, until they are set.
struct Weights {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Weights {
    fn of(config: &VaeConfig) -> Result<Self, DiffusionError> {
        let blank = |(name, shape): (String, Vec<usize>)| {
            let value = if name.ends_with("gamma") { 1.0 } else { 0.0 };
            let values = vec![value; shape.iter().product()];
            (name, (shape, values))
        };
        let tensors = tensors(config)?.into_iter().map(blank).collect();
        Ok(Self { tensors })
    }

    fn values(&mut self, name: String) -> (&[usize], &mut [f32]) {
        let (shape, values) = self.tensors.entry(name).or_default();
        (shape, values)
    }

    fn all(&mut self, name: &str, values: Vec<f32>) {
        self.values(name.to_owned()).1.copy_from_slice(&values);
    }

    fn bias(&mut self, conv: &str, channel: usize, value: f32) {
        self.values(format!("{conv}.bias")).1[channel] = value;
    }

    /// One number of a kernel. Kernels along time have taps before it, which single pictures do not use.
    fn tap(&mut self, conv: &str, [output, input]: [usize; 2], [y, x]: [usize; 2], value: f32) {
        let (shape, values) = self.values(format!("{conv}.weight"));
        let side = shape[shape.len() - 1];
        let frames = if shape.len() == 5 { shape[2] } else { 1 };
        let plane = (output * shape[1] + input) * frames + frames - 1;
        values[(plane * side + y) * side + x] = value;
    }

    fn plane(&mut self, conv: &str, channels: [usize; 2], plane: [[f32; 3]; 3]) {
        for (y, row) in plane.into_iter().enumerate() {
            for (x, value) in row.into_iter().enumerate() {
                self.tap(conv, channels, [y, x], value);
            }
        }
    }

    /// A 1×1 convolution that hands the first `width` channels on.
    fn copy(&mut self, conv: &str, width: usize) {
        for i in 0..width {
            self.tap(conv, [i, i], [0, 0], 1.0);
        }
    }

    fn save(self, dir: &Path) -> Result<(), DiffusionError> {
        let data = self
            .tensors
            .into_iter()
            .map(|(name, (shape, values))| (name, TensorData::new(values, shape)));
        let source = MemorySource::new("the tiny autoencoder", data.collect());
        let path = dir.join(format!("{}.safetensors", files::WEIGHTS_STEM));
        Ok(save_safetensors(path, &source, &BTreeMap::new())?)
    }
}

const _: () = assert!(KINDS == ENDS + 1);
