//! A small residual block, and values to fill it with.

use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vtb_nn::device::cpu_device;
use vtb_nn::loader::Loader;
use vtb_nn::ops::{Gelu, gelu, linear, rms_norm};

/// Width of the blocks.
pub(crate) const WIDTH: usize = 6;

/// `x + down(gelu(up(norm(x))))`, with or without biases.
#[derive(Module, Debug)]
pub(crate) struct Block {
    pub(crate) norm: Param<Tensor<1>>,
    pub(crate) up: Affine,
    pub(crate) down: Affine,
}

#[derive(Module, Debug)]
pub(crate) struct Affine {
    pub(crate) weight: Param<Tensor<2>>,
    pub(crate) bias: Option<Param<Tensor<1>>>,
}

#[derive(Module, Debug)]
pub(crate) struct Stack {
    pub(crate) blocks: Vec<Block>,
    pub(crate) scale: Param<Tensor<1>>,
}

impl Affine {
    fn load(loader: Loader<'_>, shape: [usize; 2], bias: bool) -> Self {
        Self {
            weight: loader.param("weight", shape),
            bias: bias.then(|| loader.param("bias", [shape[0]])),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        linear(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }
}

impl Block {
    pub(crate) fn load(loader: Loader<'_>, bias: bool) -> Self {
        Self {
            norm: loader.param("norm", [WIDTH]),
            up: Affine::load(loader.pp("up"), [2 * WIDTH, WIDTH], bias),
            down: Affine::load(loader.pp("down"), [WIDTH, 2 * WIDTH], bias),
        }
    }

    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let inner = self.up.forward(rms_norm(x.clone(), self.norm.val(), 1e-6));
        x + self.down.forward(gelu(inner, Gelu::Tanh))
    }
}

impl Stack {
    /// Three blocks; the middle one has biases.
    pub(crate) fn load(loader: Loader<'_>) -> Self {
        let block = |i| Block::load(loader.pp("blocks").pp(i), i == 1);
        Self {
            blocks: (0..3).map(block).collect(),
            scale: loader.param("scale", [1]),
        }
    }

    pub(crate) fn fresh(dtype: DType) -> Self {
        Self::load(Loader::fresh(&init, &cpu_device(), dtype))
    }
}

/// Values of a tensor from its name alone.
pub(crate) fn init(name: &str, shape: &[usize]) -> Vec<f32> {
    let seed = name
        .bytes()
        .fold(7u64, |s, b| s.wrapping_mul(31).wrapping_add(u64::from(b)));
    random(shape.iter().product(), seed)
}

/// `len` values in `[-0.8, 0.8)`.
pub(crate) fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-0.8f32..0.8)).collect()
}

/// A tensor outside autodiff.
pub(crate) fn tensor<const D: usize>(values: &[f32], shape: [usize; D], dtype: DType) -> Tensor<D> {
    Tensor::from_data(
        TensorData::new(values.to_vec(), shape),
        (&cpu_device(), dtype),
    )
}

/// Row-major values.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
