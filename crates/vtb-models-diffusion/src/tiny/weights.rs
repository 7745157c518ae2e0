//! Numbers of autoencoders that are written down: what their latents hold, and the tensors they are written into.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use vtb_nn::checkpoint::{MemorySource, save_safetensors};

use crate::{DiffusionError, files};

/// Channels of the latent of a picture.
pub(super) const Z: usize = 16;
/// The constant channel of the heads. Signals are at most 2, so norms vary by less than a thousandth.
pub(super) const CONSTANT: f32 = 256.0;
/// Deviations are e^-10: as good as none for who draws from them.
pub(super) const LOG_VARIANCE: f32 = -20.0;

/// Brightness, red less green, and these two less blue, from red, green and blue.
pub(super) const OPPONENT: [[f32; 3]; 3] = [
    [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0],
    [0.5, -0.5, 0.0],
    [0.25, 0.25, -0.5],
];
/// Inverse of [`OPPONENT`].
pub(super) const COLOURS: [[f32; 3]; 3] = [
    [1.0, 1.0, 2.0 / 3.0],
    [1.0, -1.0, 2.0 / 3.0],
    [1.0, 0.0, -4.0 / 3.0],
];

/// Kinds of a coefficient along an axis, as [`super::upsampling::KINDS`] counts them.
pub(super) const MEAN: usize = 0;
pub(super) const HALVES: usize = 1;
pub(super) const ENDS: usize = 2;

/// What the latent channels hold: opponent colour, kind along y, kind along x.
pub(super) const LATENT: [[usize; 3]; Z] = [
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
pub(super) const MEANS: [f64; Z] = [
    -1.33, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
];
pub(super) const DEVIATIONS: [f64; Z] = [
    0.84, 0.195, 0.195, 0.041, 0.11, 0.11, 0.016, 0.016, 0.105, 0.04, 0.04, 0.009, 0.073, 0.023,
    0.023, 0.0065,
];

/// The taps of a halving convolution that see the two by two values of its own.
pub(super) const QUADRANTS: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// 1 for means; for differences 1, then -1.
pub(super) fn alternating(difference: usize, place: usize) -> f32 {
    if difference * place == 1 { -1.0 } else { 1.0 }
}

/// The gain that undoes the norm of `width` channels: they are divided by their norm, the constant, and times √width.
pub(super) fn undoing(width: usize) -> f32 {
    CONSTANT / (width as f32).sqrt()
}

pub(super) fn outer(of_y: [f32; 3], of_x: [f32; 3], scale: f32) -> [[f32; 3]; 3] {
    of_y.map(|y| of_x.map(|x| y * x * scale))
}

pub(super) fn triples(colours: usize, side: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..colours * side * side).map(move |i| (i / (side * side), i / side % side, i % side))
}

/// The channel of an opponent colour and a place along either axis, of `n` places.
pub(super) fn place(n: usize, colour: usize, y: usize, x: usize) -> usize {
    (colour * n + y) * n + x
}

/// All tensors of the file: gains 1, the rest 0, until they are set.
pub(super) struct Weights {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Weights {
    pub(super) fn of(shapes: BTreeMap<String, Vec<usize>>) -> Self {
        let blank = |(name, shape): (String, Vec<usize>)| {
            let value = if name.ends_with("gamma") { 1.0 } else { 0.0 };
            let values = vec![value; shape.iter().product()];
            (name, (shape, values))
        };
        let tensors = shapes.into_iter().map(blank).collect();
        Self { tensors }
    }

    pub(super) fn values(&mut self, name: String) -> (&[usize], &mut [f32]) {
        let (shape, values) = self.tensors.entry(name).or_default();
        (shape, values)
    }

    pub(super) fn all(&mut self, name: &str, values: Vec<f32>) {
        self.values(name.to_owned()).1.copy_from_slice(&values);
    }

    pub(super) fn bias(&mut self, conv: &str, channel: usize, value: f32) {
        self.values(format!("{conv}.bias")).1[channel] = value;
    }

    /// Where a number of a kernel stands. Kernels along time have taps before it, which single pictures do not use.
    fn place_of(shape: &[usize], [output, input]: [usize; 2], [y, x]: [usize; 2]) -> usize {
        let side = shape[shape.len() - 1];
        let frames = if shape.len() == 5 { shape[2] } else { 1 };
        let plane = (output * shape[1] + input) * frames + frames - 1;
        (plane * side + y) * side + x
    }

    /// Sets one number of a kernel.
    pub(super) fn tap(&mut self, conv: &str, channels: [usize; 2], at: [usize; 2], value: f32) {
        let (shape, values) = self.values(format!("{conv}.weight"));
        values[Self::place_of(shape, channels, at)] = value;
    }

    fn value(&mut self, conv: &str, channels: [usize; 2], at: [usize; 2]) -> f32 {
        let (shape, values) = self.values(format!("{conv}.weight"));
        values[Self::place_of(shape, channels, at)]
    }

    pub(super) fn plane(&mut self, conv: &str, channels: [usize; 2], plane: [[f32; 3]; 3]) {
        for (y, row) in plane.into_iter().enumerate() {
            for (x, value) in row.into_iter().enumerate() {
                self.tap(conv, channels, [y, x], value);
            }
        }
    }

    /// As [`Weights::plane`], added to what is there.
    pub(super) fn add_plane(&mut self, conv: &str, channels: [usize; 2], plane: [[f32; 3]; 3]) {
        for (y, row) in plane.into_iter().enumerate() {
            for (x, value) in row.into_iter().enumerate() {
                let old = self.value(conv, channels, [y, x]);
                self.tap(conv, channels, [y, x], old + value);
            }
        }
    }

    /// One number of a convolution along time; `back` frames before the current one.
    pub(super) fn time_tap(
        &mut self,
        conv: &str,
        [output, input]: [usize; 2],
        back: usize,
        value: f32,
    ) {
        let (shape, values) = self.values(format!("{conv}.weight"));
        values[(output * shape[1] + input) * shape[2] + shape[2] - 1 - back] = value;
    }

    /// A 1×1 convolution that hands the first `width` channels on.
    pub(super) fn copy(&mut self, conv: &str, width: usize) {
        for i in 0..width {
            self.tap(conv, [i, i], [0, 0], 1.0);
        }
    }

    pub(super) fn save(self, dir: &Path, what: &str) -> Result<(), DiffusionError> {
        let data = self
            .tensors
            .into_iter()
            .map(|(name, (shape, values))| (name, TensorData::new(values, shape)));
        let source = MemorySource::new(what, data.collect());
        let path = dir.join(format!("{}.safetensors", files::WEIGHTS_STEM));
        Ok(save_safetensors(path, &source, &BTreeMap::new())?)
    }
}
